"""The rule of stops, on texts and on token ids."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks import verifiers
from benchmarks.settings import Stops
from benchmarks.stops import Reader, StopWatch
from benchmarks.tasks import Problem, prompts

PAD, END, USER = 0, 1, 2
WORDS = ["<pad>", "<end>", "<|im_end|>", "\\boxed{5}", "\n", "Hum", "an:", " What", "x", "Human: y"]


def tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """Whole words, of which the first three are special."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="x"))
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", extra_special_tokens=["<|im_end|>"]
    )


def reader(*before: str, after: tuple[str, ...] = ()) -> Reader:
    return Reader(tokenizer(), Stops(before=before, after=after), [END])


def ids(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


@pytest.mark.parametrize(
    ("stops", "text", "cut"),
    [
        (Stops(), "a", None),
        (Stops(before=("b",)), "abcb", 1),
        (Stops(after=("b",)), "abcb", 2),
        (Stops(before=("bcd", "c")), "abcd", 2),  # c is complete before bcd is
        (Stops(before=("c", "bc")), "abcd", 1),  # both end with c, and bc starts first
        (Stops(before=("b",), after=("c",)), "acb", 2),
        (Stops(before=("x",)), "abc", None),
    ],
)
def test_the_stop_that_ends_first_counts(stops, text, cut):
    assert stops.find(text) == cut


def test_a_stop_over_several_tokens_ends_with_the_last_of_them():
    read = reader("\nHuman:").read(ids("\\boxed{5}", "\n", "Hum", "an:", " What", "x", "<end>"))
    assert (read.text, read.tokens, read.finished) == ("\\boxed{5}", 4, True)
    assert (read.raw, read.cut) == ("\\boxed{5}\nHuman:", len("\\boxed{5}"))


def test_a_stop_inside_of_a_token_leaves_the_rest_of_it_in_the_raw_text():
    read = reader("Human:").read(ids("x", "Human: y", "x"))
    assert (read.text, read.tokens, read.raw, read.cut) == ("x", 2, "xHuman: y", 1)


def test_a_special_token_is_a_stop_by_its_text():
    read = reader("<|im_end|>").read(ids("x", "<pad>", "x", "<|im_end|>", "x"))
    assert (read.text, read.tokens, read.finished) == ("xx", 4, True)
    assert (read.raw, read.special) == ("x<pad>x<|im_end|>", ("<pad>", "<|im_end|>"))


def test_special_tokens_stay_in_the_raw_text_alone():
    read = reader().read(ids("x", "<|im_end|>", "x", "<end>", "x"))
    assert (read.text, read.raw, read.tokens, read.finished) == ("xx", "x<|im_end|>x", 4, True)
    assert read.cut is None


def test_a_completion_that_meets_neither_end_nor_stop_is_not_finished():
    read = reader("\nHuman:").read(ids("x", "\n", "Hum"))
    assert (read.text, read.tokens, read.finished, read.cut) == ("x\nHum", 3, False, None)


def test_an_end_before_a_stop_hides_it():
    read = reader("Human:").read(ids("x", "<end>", "Human: y"))
    assert (read.text, read.finished, read.cut) == ("x", True, None)


def test_only_tokens_that_can_complete_a_stop_are_looked_at():
    flags = reader("\nHuman:").completing(12)
    assert [word for word, flag in zip(WORDS, flags, strict=False) if flag] == ["an:", "Human: y"]
    assert flags[10:] == [False, False]  # rows of the model that are no tokens


@pytest.mark.parametrize("new", [1, 3])
def test_a_watch_finds_the_rows_that_have_just_stopped(new):
    """Also where it looks only after every third token."""
    made = reader("\nHuman:")
    watch = StopWatch(made, torch.tensor(made.completing(len(WORDS))))
    prompt = ids("Human: y")
    rows = [ids("x", "\n", "Hum", "an:"), ids("x", "x", "Hum", "an:"), ids("x", "x", "x", "x")]
    found = watch.look(torch.tensor([prompt + row for row in rows]), 1, new)
    assert found.tolist() == [True, False, False]


def byte_level() -> PreTrainedTokenizerFast:
    """A token for each byte: a character outside of ASCII is several tokens."""
    alphabet = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<pad>")


@pytest.mark.parametrize("stop", ["问题：", "é\n", "Human:"])
def test_a_stop_of_characters_of_several_tokens(stop):
    words = byte_level()
    made = Reader(words, Stops(before=(stop,)), [words.eos_token_id])
    sampled = words("答案：5é?" + stop + "再见", add_special_tokens=False)["input_ids"]
    last = len(words("答案：5é?" + stop, add_special_tokens=False)["input_ids"])
    read = made.read(sampled)
    assert (read.text, read.tokens) == ("答案：5é?", last)
    flags = made.completing(len(words))
    stops = [t for t in range(1, len(sampled) + 1) if flags[sampled[t - 1]] and made.stopped(sampled[:t])]
    assert stops[0] == last


GOLD = Problem("a", "1 + 4?", "5")
WENT_ON = "\\boxed{5}\nHuman: What is 2+2?\nAssistant: \\boxed{4}"


def test_a_base_model_that_goes_on_into_another_turn_is_judged_by_its_own_answer():
    verifier = verifiers.get("math")
    stops = prompts.find("boxed").stops
    assert verifier.verify(GOLD, WENT_ON) == "wrong"
    assert verifier.verify(GOLD, WENT_ON[: stops.find(WENT_ON)]) == "correct"
    verifier.close()


def test_an_answers_closing_tag_is_read():
    verifier, stops = verifiers.get("math"), prompts.find("think-answer").stops
    text = "<think> 1 + 4 </think> <answer> 5 </answer> User: and 2 + 2? <answer> 4 </answer>"
    assert text[: stops.find(text)].endswith("</answer>")
    assert verifier.verify(GOLD, text[: stops.find(text)]) == "correct"
    verifier.close()
