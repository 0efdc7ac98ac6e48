"""The transformers engine: its decoding loop against `generate`'s own, its settings, and folders that are no models."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.engines.base import Chunk, check_lengths, encode
from benchmarks.engines.identity import identify
from benchmarks.engines.loading import load_model
from benchmarks.engines.transformers import TransformersEngine
from benchmarks.errors import Failure, UsageError
from benchmarks.settings import Sampling
from tests.benchmarks.tiny_model import CONTEXT, PROMPTS, make_folder

FALSE_ALARM = 1e-4
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=30)


@pytest.fixture(params=["own loop", "generate's loop"])
def engine(request, folder):
    engine = TransformersEngine(str(folder))
    assert engine.compact
    engine.compact = request.param == "own loop"
    return engine


def sampled_ids(engine: TransformersEngine, chunk: Chunk, sampling: Sampling) -> torch.Tensor:
    """The new ids of every row, prompt-major, before they become text. Prompts in the order of the engine's batches."""
    seen: list[list[int]] = []
    reader, watch = engine._reader(sampling.stops)
    assert watch is None
    read = reader.read
    reader.read = lambda ids: seen.append(ids) or read(ids)
    engine.sample(chunk, sampling)
    del reader.read
    return torch.tensor([row + [0] * (sampling.max_new_tokens - len(row)) for row in seen])


def by_length(engine: TransformersEngine) -> tuple[str, ...]:
    """PROMPTS in the order in which the engine batches them."""
    return tuple(sorted(PROMPTS, key=lambda p: -len(engine.tokenizer(p)["input_ids"])))


@torch.no_grad()
def log_probs(engine: TransformersEngine, prompt: str, ids: list[int]) -> torch.Tensor:
    """(T, V) of the next token along `ids`, by one forward pass without padding or cache."""
    start = engine.tokenizer(prompt)["input_ids"]
    logits = engine.model(torch.tensor([start + ids])).logits[0, len(start) - 1 : -1]
    return logits.double().log_softmax(dim=-1)


def test_every_step_has_the_models_distribution(engine):
    """Surprise minus its expectation, summed over all tokens of all rows: mean 0, and a normal law, if and only if
    each token is drawn from the model's distribution given the tokens before it, however rows are padded or dropped.
    """
    prompts = by_length(engine)
    rows = sampled_ids(engine, Chunk(prompts, 40, 5, "a"), SAMPLING).tolist()
    excess, variance, lengths = 0.0, 0.0, []
    for place, row in enumerate(rows):
        ids = row[: row.index(1) + 1] if 1 in row else row
        lengths.append(len(ids))
        log_p_TV = log_probs(engine, prompts[place // 40], ids)
        p_TV = log_p_TV.exp()
        mean_T = -(p_TV * log_p_TV).sum(-1)
        excess += float((-log_p_TV[range(len(ids)), ids] - mean_T).sum())
        variance += float(((p_TV * log_p_TV**2).sum(-1) - mean_T**2).sum())
    assert min(lengths) < 10 and max(lengths) == 30  # rows were dropped, and rows went on
    assert 2 * scipy.stats.norm.sf(abs(excess) / np.sqrt(variance)) > FALSE_ALARM


def test_own_loop_agrees_with_greedy_generate(folder):
    """With one token to choose from sampling is greedy: every copy is what `generate` finds for the prompt alone."""
    engine = TransformersEngine(str(folder))
    greedy = SAMPLING.model_copy(update={"top_k": 1})
    prompts = by_length(engine)
    rows = sampled_ids(engine, Chunk(prompts, 3, 5, "a"), greedy)
    for place, prompt in enumerate(prompts):
        ids = torch.tensor([engine.tokenizer(prompt)["input_ids"]])
        config = GenerationConfig(do_sample=False, max_new_tokens=30, eos_token_id=1, pad_token_id=0)
        expected = engine.model.generate(ids, generation_config=config)[0, ids.shape[1] :].tolist()
        expected += [0] * (30 - len(expected))
        assert rows[3 * place : 3 * place + 3].tolist() == [expected] * 3


def test_greedy_is_what_generate_finds(engine):
    """Also for several rows a prompt, which are then copies, and whatever is beside them in the batch."""
    greedy = SAMPLING.model_copy(update={"temperature": 0.0})
    prompts = by_length(engine)
    rows = sampled_ids(engine, Chunk(prompts, 3, 5, "a"), greedy)
    for place, prompt in enumerate(prompts):
        ids = torch.tensor([engine.tokenizer(prompt)["input_ids"]])
        config = GenerationConfig(do_sample=False, max_new_tokens=30, eos_token_id=1, pad_token_id=0)
        expected = engine.model.generate(ids, generation_config=config)[0, ids.shape[1] :].tolist()
        expected += [0] * (rows.shape[1] - len(expected))
        assert rows[3 * place : 3 * place + 3].tolist() == [expected] * 3


def out_of_memory_above(engine: TransformersEngine, rows: int) -> list[int]:
    """Makes the model run out of memory with more rows. Returns the list of the rows of each forward pass."""
    widths: list[int] = []

    def hook(module, args, kwargs):
        widths.append(len(kwargs["input_ids"]))
        if widths[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    engine.model.register_forward_pre_hook(hook, with_kwargs=True)
    return widths


def test_out_of_memory_halves_the_rows_and_goes_on(engine, folder, caplog):
    """Bit for bit what an engine gives that was made with the lower number; the record can say which it was."""
    chunk, more = Chunk(PROMPTS, 16, 5, "a"), Chunk(PROMPTS[:2], 16, 6, "b")
    fewer = TransformersEngine(str(folder), rows_at_once=(16 * len(PROMPTS)) // 4)
    fewer.compact = engine.compact
    expected = [fewer.sample(one, SAMPLING) for one in (chunk, more)]
    plain = engine.description
    widths = out_of_memory_above(engine, fewer.rows_at_once)
    assert [engine.sample(one, SAMPLING) for one in (chunk, more)] == expected
    assert engine.rows_at_once == fewer.rows_at_once
    assert sum(width > fewer.rows_at_once for width in widths) == 2, "two halvings, once and for all"
    assert engine.description == f"{plain} (rows_at_once {fewer.rows_at_once})" and fewer.description == plain
    assert len(caplog.records) == 2


def test_memory_for_no_row_at_all_is_a_failure(folder):
    engine = TransformersEngine(str(folder))
    out_of_memory_above(engine, 0)
    with pytest.raises(Failure, match="out of accelerator memory with a single row"):
        engine.sample(Chunk(PROMPTS[:1], 4, 5, "a"), SAMPLING)


def test_rows_that_end_are_dropped(folder):
    """The model sees fewer and fewer rows."""
    engine = TransformersEngine(str(folder))
    widths = []
    engine.model.register_forward_pre_hook(lambda m, a, k: widths.append(len(k["input_ids"])), with_kwargs=True)
    engine.sample(Chunk(PROMPTS, 16, 5, "a"), SAMPLING)
    assert widths[0] == len(PROMPTS)  # each prompt is run once
    assert widths[1] == 16 * len(PROMPTS)
    assert widths[-1] < 0.7 * widths[1]
    assert widths[1:] == sorted(widths[1:], reverse=True)


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 16])
def test_batches_cover_every_sample_once(folder, rows_at_once):
    engine = TransformersEngine(str(folder), rows_at_once=rows_at_once)
    found = engine.sample(Chunk(PROMPTS, 7, 5, "a"), SAMPLING)
    assert [len(row) for row in found] == [7] * len(PROMPTS)
    assert all(len(set(row)) >= 6 for row in found)


def test_what_the_checkpoint_suggests_does_not_count(folder, tmp_path):
    """A repetition penalty or top-k in generation_config.json would be filled in silently."""
    suggested = make_folder(tmp_path / "m", do_sample=True, top_k=1, repetition_penalty=9.0, temperature=0.1)
    chunk = Chunk(PROMPTS, 8, 5, "a")
    expected = TransformersEngine(str(folder)).sample(chunk, SAMPLING)
    assert TransformersEngine(str(suggested)).sample(chunk, SAMPLING) == expected


def test_every_end_of_the_checkpoint_ends_a_completion(copy):
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 5], "pad_token_id": 0}))
    engine = TransformersEngine(str(copy))
    assert engine.end_ids == [1, 5]
    rows = sampled_ids(engine, Chunk(PROMPTS, 50, 5, "a"), SAMPLING).tolist()
    ended = [row for row in rows if 5 in row]
    assert ended
    assert all(set(row[row.index(5) + 1 :]) <= {0} for row in ended)


def test_threads_and_the_global_generator_are_left_alone(engine):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    engine.threads = threads + 1
    engine.sample(Chunk(PROMPTS, 2, 5, "a"), SAMPLING)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_prompts_of_a_chat_template_get_no_second_start(folder):
    tokenizer = TransformersEngine(str(folder)).tokenizer
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    plain, chat = (encode(tokenizer, Chunk(PROMPTS, 2, 5, "a", chat=chat)) for chat in (False, True))
    assert plain == [[1, *ids] for ids in chat]


# ------------------------------------------------------------------------------------------------ what cannot be


def test_prompts_that_do_not_fit_are_refused(folder):
    engine = TransformersEngine(str(folder))
    long = SAMPLING.model_copy(update={"max_new_tokens": CONTEXT})
    with pytest.raises(UsageError, match=f"max_new_tokens {CONTEXT} exceed the model's context of {CONTEXT}"):
        engine.sample(Chunk(PROMPTS, 1, 5, "a"), long)
    with pytest.raises(UsageError, match="a prompt is empty"):
        engine.sample(Chunk(("",), 1, 5, "a"), SAMPLING)
    check_lengths([[1] * 10], CONTEXT - 10, CONTEXT)


def broken(change):
    """A folder and what is wrong with it."""
    return pytest.param(change, id=change.__name__)


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    return "has no tokenizer: expected tokenizer.json"


def no_config(folder):
    (folder / "config.json").unlink()
    return "is not a model: expected config.json"


def no_weights(folder):
    (folder / "model.safetensors").unlink()
    return "cannot load .* as a causal language model"


def more_layers(folder):
    edit(folder, num_hidden_layers=3)
    return r"not those of its config.json \(LlamaForCausalLM\): .* missing keys, the first is model.layers.2"


def fewer_layers(folder):
    edit(folder, num_hidden_layers=1)
    return "not those of its config.json .* unexpected keys, the first is model.layers.1"


def wider(folder):
    edit(folder, hidden_size=96)
    return "'.*model' as a causal language model|mismatched"


def another_architecture(folder):
    edit(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"])
    return "not those of its config.json|as a causal language model"


def no_language_model(folder):
    edit(folder, model_type="vit", architectures=["ViTModel"])
    return "cannot load .* as a causal language model"


def fewer_tokens(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {chr(i): i for i in range(300, 400)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return "has 125 tokens, its model only 25"


def no_end(folder):
    (folder / "generation_config.json").unlink()
    edit(folder, eos_token_id=None)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    return "has no end-of-sequence token"


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    "change",
    [
        broken(change)
        for change in (
            no_tokenizer, no_config, no_weights, more_layers, fewer_layers, wider,
            another_architecture, no_language_model, fewer_tokens, no_end,
        )
    ],
)  # fmt: skip
def test_broken_folders_are_named_in_one_line(copy, change):
    message = change(copy)
    with pytest.raises(UsageError, match=message) as caught:
        TransformersEngine(str(copy))
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


def test_half_written_weights(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Failure, match=r"^the weights in .* are damaged: [^\n]*$"):
        TransformersEngine(str(copy))


@pytest.mark.parametrize(
    "path, message", [("/no/such/folder", "does not exist"), ("no-such-model", "neither a folder")]
)
def test_models_that_are_not_there(path, message):
    with pytest.raises(UsageError, match=f"'{path}' .*{message}"):
        identify(path)


def test_unknown_dtype(folder):
    with pytest.raises(UsageError, match=r"unknown dtype 'bfloat'\. Did you mean 'bfloat16'"):
        load_model(str(folder), None, "bfloat", 25)


# ------------------------------------------------------------------------------------------------ adapters


def test_adapters_are_merged(folder, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).eval()
    adapted.save_pretrained(tmp_path)
    shutil.copy(folder / "tokenizer.json", tmp_path)
    shutil.copy(folder / "tokenizer_config.json", tmp_path)
    engine = TransformersEngine(str(tmp_path))
    ids = torch.tensor([[3, 4, 5, 6]])
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        merged, expected, base = (model(ids).logits for model in (engine.model, adapted, plain))
    torch.testing.assert_close(merged, expected, rtol=1e-3, atol=1e-4)
    assert (merged - base).abs().max() > 0.1
    assert not [name for name, _ in engine.model.named_modules() if "lora" in name]


def test_adapters_without_peft(copy, monkeypatch):
    (copy / "adapter_config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"pip install 'rlvr-gap\[peft\]'"):
        TransformersEngine(str(copy))
