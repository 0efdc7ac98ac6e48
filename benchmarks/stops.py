r"""Where a reader stops reading a completion: stop strings, and what they leave of a completion.

A stop string ends a completion. Text before a stop in `before` is read, and the stop is not (`\nHuman:`); a stop in
`after` is read too (`</answer>`, which closes the answer). Both engines and training's rollouts follow one rule:

1. Stops are looked for in the text with its special tokens, so `<|im_end|>` acts as the token of that text in every
   vocabulary that has one, and as plain text in the others. There are no stops by number, because the same number is
   another token in another vocabulary.
2. The stop whose last character comes first counts; of two that end together, the one that starts first.
3. The completion ends with the token that completes the stop. It is finished, and its tokens count to that one.
4. The end-of-sequence token ends a completion and, being special, leaves no text. All other special tokens stay in
   `raw`, and what a verifier reads is without them.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.settings import Stops

_MOST_TOKENS_OF_A_CHARACTER = 4
"""Bytes of UTF-8: a token has at least one byte."""


@dataclass(frozen=True)
class Reading:
    """What a completion's token ids say."""

    text: str
    """What a verifier reads: up to the stop, without special tokens."""
    tokens: int
    """Up to the one that ended the completion, which is included."""
    finished: bool
    """Ended by the end of sequence or by a stop, and not by the length limit."""
    raw: str
    """Everything up to the last token, special tokens included, except the end of sequence."""
    cut: int | None
    """The position in `raw` up to which it is read; None: no stop."""
    special: tuple[str, ...]
    """The special tokens that occur in `raw`."""


def without_special(text: str, special: Sequence[str]) -> str:
    """Returns the text without these special tokens."""
    for token in sorted(special, key=len, reverse=True):
        text = text.replace(token, "")
    return text


class Reader:
    """Turns token ids into text by the rule at the top of this file, for one tokenizer (transformers)."""

    def __init__(self, tokenizer: Any, stops: Stops, end_ids: Sequence[int]) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.end_ids = frozenset(end_ids)
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self.special_ids = {i for i, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self.tail = _MOST_TOKENS_OF_A_CHARACTER * max(map(len, stops.strings), default=0) + 4
        """More tokens than any stop spans."""

    def read(self, ids: Sequence[int]) -> Reading:
        """Returns what the ids say. What follows the end of sequence or a stop does not count."""
        end = next((place for place, i in enumerate(ids) if i in self.end_ids), None)
        keeps_end = end is not None and ids[end] not in self.special_ids
        sampled = list(ids[: end + keeps_end if end is not None else None])
        raw, cut = self._decode(sampled), None
        if self.stops.strings and self.stops.find(raw) is not None:
            end = bisect.bisect_left(range(len(sampled)), True, key=lambda t: self._stopped(sampled[: t + 1]))
            sampled = sampled[: end + 1]
            raw = self._decode(sampled)
            cut = self.stops.find(raw)
        special = self._special(sampled)
        text = raw if cut is None else raw[:cut]
        if special:
            text = without_special(text, special) if cut is not None else self._decode(sampled, skip_special=True)
        return Reading(text, len(ids) if end is None else end + 1, end is not None, raw, cut, special)

    def stopped(self, ids: Sequence[int], new: int = 1) -> bool:
        """Tells whether a stop is in the text and one of the last `new` tokens may have completed it."""
        return self._stopped(ids[-self.tail - new :]) and self._stopped(ids)

    def completing(self, vocabulary: int) -> list[bool]:
        """Returns, for each of the model's token ids, whether it can complete a stop: else no text is looked at."""
        size = min(len(self.tokenizer), vocabulary)
        anchor = self.tokenizer("a", add_special_tokens=False)["input_ids"][:1]
        prefix = len(self._decode(anchor))
        alone = self._decode_many([[i] for i in range(size)])
        inside = [text[prefix:] for text in self._decode_many([[*anchor, i] for i in range(size)])]
        found = [self._can_complete(a) or self._can_complete(b) for a, b in zip(alone, inside, strict=True)]
        return found + [False] * (vocabulary - size)  # a model may have more rows than its tokenizer has tokens

    def _can_complete(self, piece: str) -> bool:
        if "\ufffd" in piece:  # a part of a character, which only its neighbours complete
            return True
        return any(
            stop in piece or any(stop.endswith(piece[:n]) for n in range(1, min(len(piece), len(stop)) + 1))
            for stop in self.stops.strings
        )

    def _stopped(self, ids: Sequence[int]) -> bool:
        return self.stops.find(self._decode(ids)) is not None

    def _special(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._decode([i]) for i in dict.fromkeys(ids) if i in self.special_ids)

    def _decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=skip_special, clean_up_tokenization_spaces=False))

    def _decode_many(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return list(self.tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False))


class StopWatch:
    """Tells which rows of a batch have met a stop, while they are sampled. A `StoppingCriteria` of transformers.

    One watch serves one call of `generate`. It knows no torch: tensors come to it and leave it.
    """

    def __init__(self, reader: Reader, completing_V: Any) -> None:
        self.reader = reader
        self.completing_V = completing_V
        """`Reader.completing` as a tensor of bool on the device of the ids."""
        self.start: int | None = None

    def __call__(self, input_ids: Any, scores: Any = None, **_: Any) -> Any:
        """Returns a tensor of bool (B,) for ids (B, prompt + T), of which the last token is new."""
        if self.start is None:
            self.start = input_ids.shape[1] - 1
        return self.look(input_ids, self.start, 1)

    def look(self, ids_BT: Any, start: int, new: int) -> Any:
        """Returns a tensor of bool (B,). The completions begin at `start`, and their last `new` tokens are new."""
        stopped_B = self.completing_V[ids_BT[:, max(start, ids_BT.shape[1] - new) :]].any(dim=1)
        for place in stopped_B.nonzero()[:, 0].tolist():
            stopped_B[place] = self.reader.stopped(ids_BT[place, start:].tolist(), new)
        return stopped_B
