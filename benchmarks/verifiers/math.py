r"""Mathematical answers: the last `\boxed{}` or `<answer>` of a completion, compared with the gold by math-verify.

The rule by which an answer is found, and the only one. A completion may state `\boxed{...}` and `<answer>...</answer>`
any number of times. Of those that are complete (braces balanced, `\{` and `\}` not counted; tag closed) and not empty,
the one that *starts* last is the answer; so the inner one wins when they are nested. One that is not complete
states no answer: an earlier complete one stands. `\boxed 5` without braces and `\fbox` are not read; `\\boxed{5}` is.

How an answer is read: as LaTeX from its first to its last character, without the `$` or `\(` around it and the full
stop behind it. Only in a sentence around delimited mathematics ("The least value is $5$.") the last such piece counts.

The verdict. The answer is the gold character for character, or math-verify (gold first) finds them equal: CORRECT,
also in a completion that was cut off later. Not equal, or no answer: WRONG if the completion is finished, else
TRUNCATED. Neither came to light because the comparison hit its deadline, its memory limit, or crashed: ERROR.
An answer longer than `max_answer_chars` is not a final answer: it counts as not equal, and nobody parses it.

What the guard does NOT stop, beside what `pool` says of processes:
- An answer that restates the problem (`\sum_{i=1}^{100} i` for 5050) is equal to the gold, and so it is CORRECT.
- math-verify ignores units, the base in `2516_8`, upper and lower case of words, and reads a bare word as a product
  of letters (`no` equals `on`; in `\text{}` it is a word). Decimals are compared to six places (small ones relative
  to their size).
- An answer can be made to run into the deadline on purpose. It then counts as ERROR, not as WRONG, which a
  training run leaves out of its loss; `failures` counts them, and above 1 % a record is invalid.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.tasks.base import Problem
from benchmarks.verifiers.base import Verdict, Verifier
from benchmarks.verifiers.workers import Reply, WorkerPool

_TOKENS = re.compile(r"(?P<box>\\{1,2}boxed\s*\{)|\\.|[{}]", re.DOTALL)
_OPEN, _CLOSE = "<answer>", "</answer>"
_JUDGE = "benchmarks.verifiers.math_worker:make_judge"
_EQUAL = "equal"
_Pair = tuple[str, str]

logger = logging.getLogger(__name__)


class MathVerifier(Verifier):
    """Judges by the rule at the top of this file. Safe to call from several threads; worker processes start lazily.

    timeout_s: seconds of processor time for one comparison. memory_mb: address space of one worker process.
    workers: how many of them at most (None: one for each core, up to 8).
    memo_size: how many (gold, answer) pairs are remembered, the latest used ones.
    max_answer_chars: the longest text that is an answer (or twice the gold, where that is longer).
    judge: "module:factory" of what compares two answers, for tests and for other graders.
    """

    name: ClassVar[str] = "math"
    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        *,
        timeout_s: float = 5.0,
        workers: int | None = None,
        memory_mb: int = 2048,
        memo_size: int = 100_000,
        max_answer_chars: int = 1_000,
        judge: str = _JUDGE,
    ) -> None:
        self._pool = WorkerPool(judge, timeout_s=timeout_s, workers=workers, memory_bytes=memory_mb << 20)
        self._memo: OrderedDict[_Pair, Reply] = OrderedDict()
        self._memo_size, self._max_answer_chars = memo_size, max_answer_chars
        self._lock = threading.Lock()
        self.failures: Counter[str] = Counter()
        """Comparisons that gave no result, by reason: "deadline", "died", "MemoryError", ..."""

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """The verdict on one completion. Worker processes that cannot start at all: `Failure`."""
        return self.verify_many([problem], [text], [finished])[0]

    def verify_many(
        self, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[Verdict]:
        """The verdicts, in order; each pair of gold and answer is compared once. Unequal lengths: ValueError."""
        flags = [True] * len(texts) if finished is None else finished
        rows = list(zip(problems, map(extract_answer, texts), flags, strict=True))
        pairs = {(problem.answer, answer) for problem, answer, _ in rows if answer is not None}
        replies = self._judge(sorted(pair for pair in pairs if self._trivial(*pair) is None))
        return [self._verdict(problem.answer, answer, flag, replies) for problem, answer, flag in rows]

    def close(self) -> None:
        """Kills the worker processes. The verifier can be used again: it then starts new ones."""
        self._pool.close()

    def _trivial(self, gold: str, answer: str) -> bool | None:
        """Whether they are equal, where that needs no mathematics; None where it does."""
        if not gold.strip():
            return None
        if answer == gold.strip():
            return True
        return False if len(answer) > max(self._max_answer_chars, 2 * len(gold)) else None

    def _verdict(self, gold: str, answer: str | None, finished: bool, replies: dict[_Pair, Reply]) -> Verdict:
        equal: bool | None = False
        if answer is not None:
            equal = self._trivial(gold, answer)
            if equal is None:
                reply = replies[gold, answer]
                if reply.lost is not None:
                    return Verdict.ERROR
                equal = reply.value == _EQUAL
        if equal:
            return Verdict.CORRECT
        return Verdict.WRONG if finished else Verdict.TRUNCATED

    def _judge(self, pairs: list[_Pair]) -> dict[_Pair, Reply]:
        """The replies on `pairs`, from memory where they are there."""
        known = self._recall(pairs)
        new = [pair for pair in pairs if pair not in known and pair[0].strip()]
        fresh = dict(zip(new, self._pool.map(new), strict=True)) if new else {}
        self._remember(fresh)
        without_gold = {pair: Reply(lost="empty gold") for pair in pairs if not pair[0].strip()}
        self._report({**fresh, **without_gold})
        return {**known, **fresh, **without_gold}

    def _recall(self, pairs: list[_Pair]) -> dict[_Pair, Reply]:
        with self._lock:
            known = {pair: self._memo[pair] for pair in pairs if pair in self._memo}
            for pair in known:
                self._memo.move_to_end(pair)
        return known

    def _remember(self, fresh: dict[_Pair, Reply]) -> None:
        """Keeps what would come out the same again: deadlines too, or a bomb would cost its seconds in each round."""
        with self._lock:
            self._memo.update((pair, reply) for pair, reply in fresh.items() if reply.lost != "died")
            while len(self._memo) > self._memo_size:
                self._memo.popitem(last=False)

    def _report(self, replies: dict[_Pair, Reply]) -> None:
        lost = Counter(reply.lost for reply in replies.values() if reply.lost is not None)
        if lost:
            self.failures.update(lost)
            reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
            logger.warning("math verifier: no result for %d of %d answers (%s)", lost.total(), len(replies), reasons)


def extract_answer(text: str) -> str | None:
    r"""The stated answer by the rule at the top of this file, stripped; None where there is none. Linear time."""
    stated = [*_boxes(text), *_tag(text)]
    return max(stated)[1] if stated else None


def _boxes(text: str) -> list[tuple[int, str]]:
    r"""(start, content) of the complete, non-empty `\boxed{}` that starts last, or nothing."""
    stack: list[tuple[int, int] | None] = []  # a box: where it and its content start; None: any other brace
    best: tuple[int, str] | None = None
    first = text.find("\\boxed")
    for token in _TOKENS.finditer(text, max(0, first - 1) if first >= 0 else len(text)):
        if token[0] == "}":
            opened = stack.pop() if stack else None
            if (
                opened
                and (best is None or opened[0] > best[0])
                and (content := text[opened[1] : token.start()].strip())
            ):
                best = (opened[0], content)
        elif token["box"]:
            stack.append((token.start(), token.end()))
        elif token[0] == "{":
            stack.append(None)
    return [best] if best else []


def _tag(text: str) -> list[tuple[int, str]]:
    """(start, content) of the complete, non-empty `<answer>` that starts last, or nothing."""
    end = len(text)
    while (close := text.rfind(_CLOSE, 0, end)) >= 0 and (start := text.rfind(_OPEN, 0, close)) >= 0:
        first_close = text.find(_CLOSE, start)
        if content := text[start + len(_OPEN) : first_close].strip():
            return [(start, content)]
        end = start
    return []
