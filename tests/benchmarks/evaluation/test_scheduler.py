"""The scheduler alone: the groups are those of a barrier after each round, whatever the order of arrival."""

from __future__ import annotations

import random

import pytest

from benchmarks.evaluation.scheduler import Group, Scheduler


def with_barriers(starts: list[int], stops: list[int], widths: list[int]) -> list[Group]:
    """What a barrier after each round gives: problem i takes part in rounds starts[i] to stops[i] - 1."""
    groups = []
    for number, width in enumerate(widths):
        here = [position for position, stop in enumerate(stops) if starts[position] <= number < stop]
        groups += [Group(number, tuple(here[i : i + width])) for i in range(0, len(here), width)]
    return groups


def replay(starts: list[int], stops: list[int], widths: list[int], rng: random.Random, at_once: int) -> list[Group]:
    """The groups that are taken if at most `at_once` are sampled at the same time and end in any order."""
    lacking = [start if start < stop else None for start, stop in zip(starts, stops, strict=True)]
    scheduler = Scheduler(lacking, widths)
    taken: list[Group] = []
    sampled: list[Group] = []
    while not scheduler.done:
        while len(sampled) < at_once and (group := scheduler.take()) is not None:
            taken.append(group)
            sampled.append(group)
        assert sampled, "nothing is sampled and nothing can be: the schedule is stuck"
        group = sampled.pop(rng.randrange(len(sampled)))
        for position in group.positions:
            following = group.round + 1
            scheduler.arrived(position, following if following < stops[position] else None)
    assert scheduler.take() is None and not sampled
    return taken


@pytest.mark.parametrize("seed", range(40))
def test_groups_are_those_of_barriers_in_any_order_of_arrival(seed):
    """Half of the time some rounds are there already, as after a re-grade."""
    rng = random.Random(seed)
    rounds = rng.randint(1, 4)
    stops = [rng.randint(0, rounds) for _ in range(rng.randint(0, 40))]
    widths = [rng.choice([1, 2, 3, 8, 100]) for _ in range(rounds)]
    starts = [rng.randint(0, stop) if seed % 2 else 0 for stop in stops]
    taken = replay(starts, stops, widths, rng, at_once=rng.choice([1, 2, 5, 1000]))
    assert sorted(taken) == with_barriers(starts, stops, widths)


def test_alone_a_problem_waits_for_no_other():
    scheduler = Scheduler([0, 0, 0], [1, 1])
    for _ in range(3):
        scheduler.take()
    scheduler.arrived(2, 1)
    assert scheduler.take() == Group(1, (2,))


def test_a_group_waits_only_for_the_problems_before_its_last_one():
    """Five problems in twos. 0 and 2 go on, 1 stops: their group is settled, though 3 and 4 are still sampled."""
    scheduler = Scheduler([0] * 5, [2, 2])
    assert [scheduler.take() for _ in range(4)] == [Group(0, (0, 1)), Group(0, (2, 3)), Group(0, (4,)), None]
    scheduler.arrived(2, 1)
    scheduler.arrived(0, 1)
    assert scheduler.take() is None  # whether 1 takes part is open
    scheduler.arrived(1, None)
    assert scheduler.take() == Group(1, (0, 2))
    scheduler.arrived(3, None)
    assert scheduler.take() is None
    scheduler.arrived(4, 1)
    assert scheduler.take() == Group(1, (4,))


def test_lower_rounds_come_first():
    scheduler = Scheduler([1, 0, 1, 0], [1, 1])
    taken = [scheduler.take() for _ in range(4)]
    assert taken == [Group(0, (1,)), Group(0, (3,)), Group(1, (0,)), Group(1, (2,))]


def test_a_round_cannot_come_back():
    scheduler = Scheduler([1], [1, 1])
    with pytest.raises(ValueError, match="lacked round 1 and cannot lack round 0"):
        scheduler.arrived(0, 0)
    scheduler.arrived(0, None)
    scheduler.arrived(0, None)
    with pytest.raises(ValueError, match="lacked round None"):
        scheduler.arrived(0, 1)
