r"""Judges mathematical answers: compares the last `\boxed{}` or `<answer>` with the gold answer by math-verify.

The answer is found by this rule alone. A completion may state `\boxed{...}` and `<answer>...</answer>` any number of
times. Among those that are complete (braces balanced, not counting `\{` and `\}`; tag closed) and not empty, the one
that *starts* last is the answer, so the inner one wins if they are nested. An incomplete one states no answer, so an
earlier complete one stands. `\boxed 5` without braces and `\fbox` are not read, but `\\boxed{5}` is.

The answer is read as LaTeX from its first to its last character, without the `$` or `\(` around it and the full stop
behind it. Only in a sentence with delimited mathematics ("The least value is $5$.") the last such piece is read.

An answer is CORRECT if it equals the gold answer character for character or math-verify (gold first) finds them equal,
even if the completion was cut off later. An answer with an equality that cannot hold (`3=5`, `x=3=5`) equals nothing
but its own text; `x=5` and `2+3=5` equal 5. `\approx 5` is read as 5, and `3 \approx 5` equals nothing. An unequal or
missing answer is WRONG if the completion is finished, and TRUNCATED otherwise. It is ERROR if the comparison hit its
deadline or memory limit, or crashed. An answer longer than `max_answer_chars` is not a final answer: it counts as not
equal and is not parsed.

What the guard does NOT stop, beside what `workers` says of processes:
- An answer that restates the problem (`\sum_{i=1}^{100} i` for 5050) equals the gold answer, so it is CORRECT.
- math-verify ignores units, the base in `2516_8`, and upper and lower case of words, and it reads a bare word as a
  product of letters (`no` equals `on`; in `\text{}` it is a word). Decimals are compared to six places (small ones
  relative to their size).
- An answer can be made to run into the deadline on purpose. It then counts as ERROR and not as WRONG, and a training
  run leaves it out of its loss. `failures` counts such answers, and above 1 % a record is invalid.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.tasks.base import Problem
from benchmarks.verifiers.base import Verdict, Verifier
from benchmarks.verifiers.workers import Reply, WorkerPool

_TOKENS = re.compile(r"(?P<box>\\{1,2}boxed\s*\{)|\\.|[{}]", re.DOTALL)
_OPEN, _CLOSE = "<answer>", "</answer>"
_JUDGE = "benchmarks.verifiers.math_worker:make_judge"
_EQUAL = "equal"
_PROBE = (r"\frac{1}{2}", "0.5")
"""Two answers that any judge can compare, whatever it thinks of them."""
_Pair = tuple[str, str]
TIMEOUT_S = 10.0
"""Of 75 comparisons of functional answers, 72 took less than 4 s of processor time, one took 6.9 s, and two had not
ended after 20 s. A longer limit would therefore give hardly any more verdicts."""

logger = logging.getLogger(__name__)


class MathVerifier(Verifier):
    """Judges by the rule at the top of this file. It is thread-safe, and its worker processes start lazily.

    timeout_s: seconds of processor time for one comparison. memory_mb: address space of one worker process.
    workers: largest number of workers (None: one for each core, up to 8).
    memo_size: how many (gold, answer) pairs are remembered; the latest used ones stay.
    max_answer_chars: length of the longest text that is an answer (or twice the gold answer, if that is longer).
    judge: "module:factory" of the function that compares two answers, for tests and for other graders.
    """

    name: ClassVar[str] = "math"
    VERSION: ClassVar[int] = 2

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        workers: int | None = None,
        memory_mb: int = 2048,
        memo_size: int = 100_000,
        max_answer_chars: int = 1_000,
        judge: str = _JUDGE,
    ) -> None:
        self._pool = WorkerPool(judge, probe=_PROBE, timeout_s=timeout_s, workers=workers, memory_bytes=memory_mb << 20)
        self._memo: OrderedDict[_Pair, Reply] = OrderedDict()
        self._memo_size, self._max_answer_chars = memo_size, max_answer_chars
        self._lock = threading.Lock()
        self.failures: Counter[str] = Counter()
        """Comparisons that gave no result, by reason: "deadline", "died", "MemoryError", ..."""

    @classmethod
    def settings(cls, processes: int | None, seconds: float | None) -> dict[str, Any]:
        """See `Verifier.settings`."""
        return ({} if processes is None else {"workers": processes}) | (
            {} if seconds is None else {"timeout_s": seconds}
        )

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """Returns the verdict on one completion. Raises `Failure` if worker processes cannot start or judge."""
        return self.verify_many([problem], [text], [finished])[0]

    def verify_many(
        self, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[Verdict]:
        """Returns the verdicts in order. Compares each pair of gold and answer once. ValueError for unequal lengths."""
        flags = [True] * len(texts) if finished is None else finished
        rows = list(zip(problems, map(extract_answer, texts), flags, strict=True))
        pairs = {(problem.answer, answer) for problem, answer, _ in rows if answer is not None}
        replies = self._judge(sorted(pair for pair in pairs if self._trivial(*pair) is None))
        return [self._verdict(problem.answer, answer, flag, replies) for problem, answer, flag in rows]

    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the stated answer by the rule at the top of this file, with its white space collapsed."""
        answer = extract_answer(text)
        return None if answer is None else " ".join(answer.split())

    def close(self) -> None:
        """Kills the worker processes. The verifier can be used again and then starts new ones."""
        self._pool.close()

    def _trivial(self, gold: str, answer: str) -> bool | None:
        """Tells whether the two are equal if that needs no mathematics, otherwise returns None."""
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
        """Returns the replies on `pairs`, from memory if possible."""
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
        """Remembers replies that would repeat. This includes deadlines, which would otherwise cost time each round."""
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
    r"""Returns the stated answer by the rule at the top of this file, stripped, or None. Takes linear time."""
    stated = [*_boxes(text), *_tag(text)]
    return max(stated)[1] if stated else None


def _boxes(text: str) -> list[tuple[int, str]]:
    r"""Returns (start, content) of the complete, non-empty `\boxed{}` that starts last, or nothing."""
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
    """Returns (start, content) of the complete, non-empty `<answer>` that starts last, or nothing."""
    end = len(text)
    while (close := text.rfind(_CLOSE, 0, end)) >= 0 and (start := text.rfind(_OPEN, 0, close)) >= 0:
        first_close = text.find(_CLOSE, start)
        if content := text[start + len(_OPEN) : first_close].strip():
            return [(start, content)]
        end = start
    return []
