"""How a policy is trained. Add an algorithm: a file here, and a line in `ALGORITHMS`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from benchmarks.errors import UsageError
from benchmarks.registry import lookup

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


def get(name: str, **settings: object) -> Algorithm:
    """The algorithm called `name`, with its own settings.

    Unknown name or setting: ValueError that lists the known ones. A value out of range: ValueError that says which.
    """
    algorithm = lookup(ALGORITHMS, name, "algorithm")
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
