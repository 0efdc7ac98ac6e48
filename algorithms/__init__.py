"""How a policy is trained. To add an algorithm, add a file here and a line in `ALGORITHMS`.

An algorithm may also live outside of this package: every function here that takes a name also takes a reference to a
user's own (`benchmarks/outside/`, docs/extend.md).
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from benchmarks.errors import UsageError
from benchmarks.outside import Found, Kind, offers
from benchmarks.outside import find as find_outside

if TYPE_CHECKING:
    from algorithms.base import Algorithm

ALGORITHMS = {
    "ppo": "algorithms.ppo:PPO",
    "grpo": "algorithms.grpo:GRPO",
    "reinforce_pp": "algorithms.reinforce_pp:ReinforcePP",
    "reinforce_pp_baseline": "algorithms.reinforce_pp:ReinforcePPBaseline",
    "rloo": "algorithms.rloo:RLOO",
    "remax": "algorithms.remax:ReMax",
    "dapo": "algorithms.dapo:DAPO",
    "dr_grpo": "algorithms.dr_grpo:DrGRPO",
    "psr": "algorithms.signed_reinforcement:PSR",
    "nsr": "algorithms.signed_reinforcement:NSR",
    "w_reinforce": "algorithms.signed_reinforcement:WReinforce",
    "maxrl": "algorithms.maxrl:MaxRL",
    "lite_ppo": "algorithms.lite_ppo:LitePPO",
    "pass_at_k_training": "algorithms.pass_at_k_training:PassAtKTraining",
    "gspo": "algorithms.gspo:GSPO",
    "cispo": "algorithms.cispo:CISPO",
    "prorl": "algorithms.prorl:ProRL",
    "raft": "algorithms.raft:RAFT",
}


KIND = Kind(
    "algorithm", ALGORITHMS, "algorithms.base:Algorithm", "rlvr_gap.algorithms", reserved=("base", "external"),
    also=("base",),
)  # fmt: skip


def find(reference: str) -> Found:
    """Returns the class of an algorithm by its name, its file or `package.module:Class`, or raises UsageError."""
    return find_outside(KIND, reference)


def known() -> list[str]:
    """Returns the names of the built-in algorithms and of those that installed packages offer."""
    return [*ALGORITHMS, *(offer.name for offer in offers(KIND))]


def get(reference: str, **settings: object) -> Algorithm:
    """Returns the algorithm that `reference` names, with its own settings.

    Raises UsageError (a ValueError): for an unknown name or setting it lists the known ones, and for a value out of
    range it says which. What else can be wrong with a reference is in `benchmarks/outside/find.py`.
    """
    return make(find(reference), **settings)


def make(found: Found, **settings: object) -> Algorithm:
    """Returns the algorithm of a class that was found, with its own settings; the errors of `get`."""
    name, algorithm = found.name, found.made_by
    known = [field.name for field in fields(algorithm) if field.name != "surrogate"]
    for key in settings:
        if key not in [*known, "surrogate"]:
            raise UsageError(f"algorithm '{name}' has no setting '{key}'; it has: {', '.join(known) or 'none'}.")
    try:
        return TypeAdapter(algorithm).validate_python(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"algorithm '{name}', setting {key}: {first['msg']}, got {first['input']!r}.") from error
