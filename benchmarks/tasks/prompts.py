"""Named prompt templates, into which a problem's text is put before a model sees it.

think-answer, qwen-boxed and qwen25-math-cot are exactly those of the source paper (2504.13837, appendix E). It uses
think-answer for its comparison of six algorithms and the other two for the Qwen models. The last one, "chat", is the
tokenizer's own template, so it needs a tokenizer: `render_chat`.
"""

from __future__ import annotations

from typing import Any

from benchmarks.errors import UsageError, unknown

CHAT = "chat"

TEMPLATES = {
    "raw": "{question}",
    "boxed": "{question}\nPlease put your final answer within \\boxed{}.",
    "think-answer": (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {question} "
        "Assistant:"
    ),
    "qwen-boxed": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{question}\nPlease reason step "
        "by step, and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    ),
    "qwen25-math-cot": (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ),
}


def render(template: str, question: str) -> str:
    """Returns the prompt with `question` inserted literally. Raises `UsageError` for an unknown template."""
    if template == CHAT:
        raise UsageError(f"the template '{CHAT}' is the tokenizer's own: render_chat(tokenizer, question)")
    if template not in TEMPLATES:
        raise unknown("prompt template", template, [*TEMPLATES, CHAT])
    return TEMPLATES[template].replace("{question}", question)


def render_chat(tokenizer: Any, question: str) -> str:
    """Returns the prompt with `question` as the only user turn of the tokenizer's chat template.

    The prompt ends where the assistant's turn begins. It already holds the special tokens, so tokenize it with
    add_special_tokens=False. Raises `UsageError` if the tokenizer (transformers) has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        raise UsageError(f"the tokenizer of '{name}' has no chat template; use one of: {', '.join(TEMPLATES)}")
    turns = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
