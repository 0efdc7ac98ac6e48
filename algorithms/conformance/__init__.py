"""What every algorithm must keep to, as checks that say in a sentence what is wrong. Nothing is trained here.

    rlvr-gap check-algorithm my_algorithm.py

A check is a function of an algorithm that yields a sentence for each thing that it finds. No check is statistical: an
algorithm that keeps to the contract (`algorithms/base.py`) is never found at fault by chance, except that sums in
another order may differ by `advantages.TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from algorithms.base import Algorithm
from algorithms.conformance import advantages, objective
from algorithms.conformance.objective import Findings
from benchmarks.outside import one_line

Checks = Mapping[str, Callable[[Algorithm], Findings]]


def _by_name(*checks: Callable[[Algorithm], Findings]) -> Checks:
    return {check.__name__: check for check in checks}


OF_ITSELF = _by_name(
    objective.says_what_it_is, objective.is_a_frozen_value, objective.declares_its_settings,
    objective.records_its_settings, advantages.shapes_rewards_row_by_row, advantages.keeps_to_its_capabilities,
)  # fmt: skip
PINS = _by_name(objective.pins_what_exists)
OF_THE_OBJECTIVE = _by_name(
    objective.states_the_objective_in_full, objective.leaves_the_rest_to_the_suite, objective.follows_the_suite,
    objective.is_known_to_trl, objective.trains_at_common_settings, advantages.has_one_advantage_for_one_ratio,
)  # fmt: skip
SHAPE = _by_name(advantages.is_float_of_the_right_shape)
OF_ADVANTAGES = _by_name(
    advantages.is_finite, advantages.is_zero_where_nothing_counts, advantages.is_not_moved_by_what_does_not_count,
    advantages.does_not_depend_on_padding, advantages.is_pure, advantages.order_of_groups_does_not_matter,
    advantages.order_within_a_group_does_not_matter, advantages.nothing_said_means_all_valid,
    advantages.right_is_worth_more_than_wrong,
)  # fmt: skip
CHECKS: Checks = {**OF_ITSELF, **PINS, **OF_THE_OBJECTIVE, **SHAPE, **OF_ADVANTAGES}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    check: str
    """A name in `CHECKS`."""
    sentence: str


def findings(algorithm: Algorithm) -> list[Finding]:
    """Runs all checks. A check that raises is a finding too.

    Where pins are wrong, nothing is said of the objective that they make, and likewise of advantages of a wrong shape.
    """
    found = run(OF_ITSELF, algorithm)
    for first, rest in ((PINS, OF_THE_OBJECTIVE), (SHAPE, OF_ADVANTAGES)):
        wrong = run(first, algorithm)
        found += wrong or run(rest, algorithm)
    return found


def run(checks: Checks, algorithm: Algorithm) -> list[Finding]:
    """Runs some checks and reports each sentence of a check once."""
    return [Finding(name, said) for name, check in checks.items() for said in dict.fromkeys(_said(check, algorithm))]


def _said(check: Callable[[Algorithm], Findings], algorithm: Algorithm) -> Findings:
    try:
        yield from check(algorithm)
    except Exception as error:  # noqa: BLE001  the algorithm is a user's, and may raise anything
        yield f"it raises {one_line(error)}"
