"""The GRPOConfig fields that this project leaves alone, each with its reason.

With `config.py` this covers every field: a new one in TRL fails the conformance test until somebody decides.
"""

from __future__ import annotations

LEFT_ALONE: dict[str, tuple[str, ...]] = {
    "belongs to a loss or an estimator that no algorithm here uses": (
        "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg",
        "vespo_lambda_neg", "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target",
        "vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
        "vllm_importance_sampling_cap", "ref_model_mixup_alpha", "ref_model_sync_steps", "label_smoothing_factor",
        "neftune_noise_alpha", "router_aux_loss_coef",
    ),
    "TRL's or the Trainer's evaluation: ours is benchmarks/evaluation/stage.py": (
        "eval_strategy", "eval_steps", "eval_delay", "per_device_eval_batch_size", "prediction_loss_only",
        "eval_on_start", "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps",
        "include_for_metrics", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval", "num_generations_eval",
        "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "do_eval", "do_predict", "do_train",
        "label_names",
    ),
    "logging and publishing, which cannot move a weight": (
        "log_on_each_node", "log_level", "log_level_replica", "trackio_space_id", "trackio_bucket_id",
        "trackio_static_space_id", "push_to_hub", "hub_token", "hub_private_repo",
        "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision", "log_multimodal",
        "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo", "include_num_input_tokens_seen",
        "logging_first_step", "debug", "skip_memory_metrics",
    ),
    "who follows a training while it runs, set from `TrainSpec.reports`": ("report_to", "run_name", "project"),
    "set by max_steps, by our own schedule over the budget, or by our own checkpoints": (
        "num_train_epochs", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "generation_batch_size",
        "save_steps", "save_total_limit", "save_on_each_node", "save_only_model", "resume_from_checkpoint",
        "enable_jit_checkpoint", "restore_callback_states_from_checkpoint", "ignore_data_skip",
    ),
    "how data is fed: prompts are text in memory, ordered by TRL's sampler and the seed": (
        "data_seed", "dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory",
        "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
        "dataloader_in_order", "remove_unused_columns", "train_sampling_strategy", "length_column_name",
    ),
    "the machine's business, through accelerate: how it computes and not what": (
        "accelerator_config", "parallelism_config", "ddp_find_unused_parameters", "ddp_bucket_cap_mb",
        "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend", "ddp_timeout", "local_rank", "tf32",
        "torch_compile", "torch_compile_backend", "torch_compile_mode", "use_liger_kernel", "liger_kernel_config",
        "torch_empty_cache_steps", "auto_find_batch_size", "average_tokens_across_devices", "full_determinism",
        "ds3_gather_for_generation", "pad_to_multiple_of", "activation_checkpointing",
        "activation_checkpointing_kwargs", "use_cache", "cache_implementation", "gradient_checkpointing_kwargs",
    ),
    "tools, chat, and models of other kinds: prompts are rendered before they come here": (
        "chat_template_kwargs", "max_tool_calling_iterations", "optim_args", "optim_target_modules",
        "use_transformers_continuous_batching", "transformers_continuous_batching_config",
        "use_transformers_paged", "model_init_kwargs", "vllm_structured_outputs_regex",
    ),
    "how vLLM is run; a suite's `vllm` section sets it where it is used": (
        "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_server_base_url", "vllm_server_host",
        "vllm_server_port", "vllm_server_timeout", "vllm_group_port", "vllm_gpu_memory_utilization",
        "vllm_max_model_length", "vllm_tensor_parallel_size",
    ),
    "only set where the suite asks for it": ("fsdp", "fsdp_config", "deepspeed"),
}  # fmt: skip
