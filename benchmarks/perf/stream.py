"""Replays an evaluation of a large model on simulated GPUs, and compares its wall time with that of an ideal queue.

    python -m benchmarks.perf.stream [--problems 821 500] [--devices 8]

The clock is simulated and the scheduler is the real one. Completions are drawn once: how long they are (with a tail up
to the limit of 16,384 tokens) and whether they are right. Three ways take the same samples on the same devices:

- ideal    one queue over all devices, in which every request waits from the start, also those of later rounds;
- stream   `Scheduler`, with chunks as the engine vllm gets them; a round is queued when the one before is complete;
- barrier  chunks of so many rows, each given back before a device begins another, and a barrier after each round and
           each dataset; this is how the stage worked before it streamed.

A device runs up to 256 sequences side by side, and a step of all of them takes 8 ms and 0.066 ms for each, which is
about what a model of 7 billion parameters takes on an H100. Prompts, verification and files take no time here.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines.base import StreamingEngine
from benchmarks.evaluation.scheduler import Scheduler
from benchmarks.perf._simulated import TRAINED
from benchmarks.statistics.passk import SequentialDesign

DESIGN = SequentialDesign((64, 128, 256), 4)
LIMIT, MEDIAN, SPREAD, ENDLESS = 16_384, 900, 0.9, 0.03
"""Tokens: the limit, the median of a problem's median, the spread of logs, the share that never ends by itself."""
SLOTS, STEP_S, ROW_S = 256, 0.008, 0.000_066
CHUNK = StreamingEngine.rows_per_chunk
IN_FLIGHT = SLOTS + SLOTS // 4


@dataclass
class Device:
    """One engine with continuous batching: every running row gets one token a step, and waiting ones follow in turn."""

    time: float = 0.0
    tick: float = 0.0
    """Steps that have passed."""
    running: list[tuple[float, int, Any]] = field(default_factory=list)
    """The step at which each row ends, and what it belongs to."""
    waiting: deque[tuple[int, Any]] = field(default_factory=deque)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def rows(self) -> int:
        """What it holds."""
        return len(self.running) + len(self.waiting)

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return STEP_S + ROW_S * len(self.running)

    @property
    def ends(self) -> float:
        """When the next row ends, if nothing is added before."""
        return self.time + (self.running[0][0] - self.tick) * self.step_s if self.running else float("inf")

    def pass_to(self, time: float) -> None:
        """Lets time pass, up to `ends` at most."""
        if self.running:
            self.tick += (time - self.time) / self.step_s
        self.time = time

    def add(self, tokens: int, what: Any) -> None:
        """Adds a row, at the time up to which has passed."""
        self.waiting.append((tokens, what))
        self._fill()

    def pop(self) -> Any:
        """Ends the row that ends now, and returns what it belongs to."""
        what = heapq.heappop(self.running)[2]
        self._fill()
        return what

    def _fill(self) -> None:
        while self.waiting and len(self.running) < SLOTS:
            tokens, what = self.waiting.popleft()
            heapq.heappush(self.running, (self.tick + tokens, next(self.numbers), what))


@dataclass(frozen=True)
class Replay:
    """The completions of one dataset: N problems, n samples each."""

    tokens_Nn: NDArray[Any]
    correct_Nn: NDArray[Any]

    def lacking(self, problem: int, taken: int) -> int | None:
        """The round that a problem lacks after so many samples, or None if the design stops there."""
        target = DESIGN.next_round(taken, int(self.correct_Nn[problem, :taken].sum()))
        return None if target is None else DESIGN.rounds.index(target)


def draw(problems: int, rng: np.random.Generator) -> Replay:
    """Draws a dataset. Harder problems have longer completions, wrong ones too, and some never end by themselves."""
    latent_N1 = rng.standard_normal((problems, 1))
    shape = (problems, DESIGN.max_k)
    correct = rng.random(shape) < TRAINED.shares(latent_N1)
    logs = np.log(MEDIAN) - 0.5 * latent_N1 + 0.3 * ~correct + SPREAD * rng.standard_normal(shape)
    tokens = np.minimum(np.exp(logs).astype(int) + 1, LIMIT)
    return Replay(np.where(rng.random(shape) < ENDLESS, LIMIT, tokens), correct)


def run(devices: Sequence[Device], feed: Callable[[], None], ended: Callable[[Any], None]) -> float:
    """Lets the devices work until they have nothing left. `feed` adds rows, and `ended` hears of each that ends."""
    feed()
    while (device := min(devices, key=lambda d: d.ends)).running:
        now = device.ends
        for each in devices:
            each.pass_to(now)
        ended(device.pop())
        feed()
    return devices[0].time


def ideal(replays: Sequence[Replay], count: int) -> float:
    """Seconds with one queue over all devices that holds everything from the start."""
    queue = deque(tokens for replay in replays for i in range(len(replay.tokens_Nn)) for tokens in _all(replay, i))
    devices = [Device() for _ in range(count)]

    def feed() -> None:
        while queue and (device := min(devices, key=lambda d: d.rows)).rows < SLOTS:
            device.add(int(queue.popleft()), None)

    return run(devices, feed, lambda what: None)


def _all(replay: Replay, problem: int) -> NDArray[Any]:
    """The lengths of all samples that the design takes of a problem."""
    taken = 0
    while (number := replay.lacking(problem, taken)) is not None:
        taken = DESIGN.rounds[number]
    found: NDArray[Any] = replay.tokens_Nn[problem, :taken]
    return found


def stream(replays: Sequence[Replay], count: int) -> float:
    """Seconds with the real scheduler of each dataset, and devices that are fed as the pool feeds them."""
    widths = [1] * len(DESIGN.rounds)
    schedulers = [Scheduler([0] * len(replay.tokens_Nn), widths) for replay in replays]
    devices = [Device() for _ in range(count)]
    chunks: deque[tuple[int, int, int, int]] = deque()
    """Dataset, problem, first sample and the one after the last."""
    left: dict[tuple[int, int], int] = {}

    def look() -> bool:
        """Takes the group that is next, that of the lowest round, unless there is a chunk."""
        ready = [(min(s.waiting).round, place) for place, s in enumerate(schedulers) if s.waiting] if not chunks else []
        if ready:
            place = min(ready)[1]
            group = schedulers[place].take()
            assert group is not None
            first, last = (0, *DESIGN.rounds)[group.round], DESIGN.rounds[group.round]
            left[place, group.positions[0]] = last - first
            chunks.extend(
                (place, group.positions[0], start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)
            )
        return bool(chunks)

    def feed() -> None:
        while (device := min(devices, key=lambda d: d.rows)).rows < IN_FLIGHT and look():
            place, problem, first, last = chunks.popleft()
            for sample in range(first, last):
                device.add(int(replays[place].tokens_Nn[problem, sample]), (place, problem, last))

    def ended(what: Any) -> None:
        place, problem, last = what
        left[place, problem] -= 1
        if not left[place, problem]:
            target = next(n for n in DESIGN.rounds if n >= last)
            schedulers[place].arrived(problem, replays[place].lacking(problem, target))

    return run(devices, feed, ended)


def barrier(replays: Sequence[Replay], count: int, rows: int) -> float:
    """Seconds with chunks of so many rows, and a barrier after each chunk, round and dataset."""
    return sum(_round(replay, number, count, rows) for replay in replays for number in range(len(DESIGN.rounds)))


def _round(replay: Replay, number: int, count: int, rows: int) -> float:
    first, last = (0, *DESIGN.rounds)[number], DESIGN.rounds[number]
    here = [i for i in range(len(replay.tokens_Nn)) if first < len(_all(replay, i))]
    width = max(1, rows // (last - first))
    free = [0.0] * count
    for start in range(0, len(here), width):
        device = Device()
        for tokens in replay.tokens_Nn[here[start : start + width], first:last].ravel():
            device.add(int(tokens), None)
        heapq.heapreplace(free, free[0] + run([device], lambda: None, lambda what: None))
    return max(free)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.stream", description="Stream over ideal queue.")
    parser.add_argument("--problems", type=int, nargs="+", default=[821, 500], help="of each dataset")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rng = np.random.default_rng(given.seed)
    replays = [draw(problems, rng) for problems in given.problems]
    best = ideal(replays, given.devices)
    samples = sum(len(_all(replay, i)) for replay in replays for i in range(len(replay.tokens_Nn)))
    print(f"{samples} samples on {given.devices} devices, problems {given.problems}: ideal {best / 3600:.2f} h")
    ways = {"stream": stream(replays, given.devices)}
    ways |= {f"barrier, {rows} rows a chunk": barrier(replays, given.devices, rows) for rows in (512, 4096)}
    for name, seconds in ways.items():
        print(f"{name:28} {seconds / best:6.3f} of the ideal wall time")


if __name__ == "__main__":
    main()
