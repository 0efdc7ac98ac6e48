"""What every algorithm must keep to, as checks that say in a sentence what is wrong. It trains nothing.

    rlvr-gap check-algorithm my_algorithm.py

A check is a function of an algorithm that yields a sentence for each thing it finds. Batches are drawn at random from a
fixed seed, some rows of them invalid and one of them empty. Nothing here is statistical: an algorithm that keeps to the
contract (`algorithms/base.py`) is never found at fault by chance, except that sums in another order may differ by
`TOLERANCE`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from torch import Tensor

from algorithms.base import Algorithm, NeedsCritic, NeedsRefill, Rollouts, Surrogate
from algorithms.config import config_fields, describe
from algorithms.settings import Settings
from benchmarks.errors import UsageError
from benchmarks.outside import one_line

P, G, T = 3, 4, 6
B = P * G
SEEDS = range(5)
TOLERANCE = 1e-5
"""Of advantages, between batches whose groups or rows are in another order."""
COMMON = Settings.model_validate(
    {
        "budget": {"steps": 5}, "prompts_per_step": P, "group_size": G, "mini_batches_per_step": 2,
        "learning_rate": 1e-3, "save_every_steps": 5,
        "sampling": {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_new_tokens": T},
    }
)  # fmt: skip
"""What a suite that says nothing of the objective asks for."""

Findings = Iterator[str]


def batch(seed: int, **changes: Any) -> Rollouts:
    """Draws a batch with everything that any algorithm needs, some rows of it invalid, one of them empty."""
    draw = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(1, T + 1, (B,), generator=draw)
    valid_B = torch.rand(B, generator=draw) < 0.8
    lengths_B[0], valid_B[0], valid_B[1] = 0, False, True
    correct_B = torch.rand(B, generator=draw) < 0.4
    parts = {
        "rewards_B": correct_B.float(),
        "mask_BT": (torch.arange(T) < lengths_B[:, None]).long(),
        "group_size": G,
        "greedy_rewards_P": (torch.rand(P, generator=draw) < 0.4).float(),
        "values_BT": torch.randn(B, T, generator=draw),
        "correct_B": correct_B,
        "valid_B": valid_B,
    }
    return Rollouts(**{**parts, **changes})


def batches() -> Iterator[Rollouts]:
    """Draws a batch for each of `SEEDS`."""
    return (batch(seed) for seed in SEEDS)


def tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    """Returns the tensors of a batch by name."""
    values = {field.name: getattr(rollouts, field.name) for field in fields(rollouts)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def per_token(advantages: Tensor) -> Tensor:
    """Returns (B, T) of what may be (B,)."""
    return advantages if advantages.ndim == 2 else advantages[:, None].expand(-1, T)


# ------------------------------------------------------------------------------------------------ advantages


def is_float_of_the_right_shape(algorithm: Algorithm) -> Findings:
    """Advantages are float32, one per row or one per token."""
    for rollouts in batches():
        advantages: object = algorithm.advantages(rollouts)
        if not isinstance(advantages, Tensor):
            yield f"advantages returns a {type(advantages).__name__}, expected a Tensor"
        elif tuple(advantages.shape) not in ((B,), (B, T)):
            yield f"advantages has the shape {tuple(advantages.shape)}, expected (B,) = ({B},) or (B, T) = ({B}, {T})"
        elif advantages.dtype != torch.float32:
            yield f"advantages is of type {advantages.dtype}, expected torch.float32"


def is_finite(algorithm: Algorithm) -> Findings:
    """No advantage is infinite or NaN; groups of equal rewards are the usual cause (a division by their zero std)."""
    equal = (batch(0, rewards_B=torch.full((B,), value), valid_B=None) for value in (0.0, 1.0))
    for rollouts in (*batches(), *equal):
        if not algorithm.advantages(rollouts).isfinite().all():
            rewards = rollouts.rewards_PG.tolist()
            yield f"advantages is not finite for the rewards {rewards}; look for a division by zero"


def is_zero_where_nothing_counts(algorithm: Algorithm) -> Findings:
    """Rows whose verifier failed, and padding, have the advantage 0."""
    for rollouts in (*batches(), batch(0, valid_B=torch.zeros(B, dtype=torch.bool))):
        advantages = algorithm.advantages(rollouts)
        invalid_B = ~rollouts.valid_PG.flatten()
        if (advantages[invalid_B] != 0).any():
            yield "advantages is not 0 on rows that are not valid (valid_B); rollouts.per_row(...) makes it so"
        elif advantages.ndim == 2 and (advantages[rollouts.mask_BT == 0] != 0).any():
            yield "advantages is not 0 on padding (mask_BT); multiply by rollouts.valid_mask_BT"


def is_not_moved_by_what_does_not_count(algorithm: Algorithm) -> Findings:
    """Whatever stands in rows that are not valid and in padding, the others get the same advantages."""
    for rollouts in batches():
        assert rollouts.valid_B is not None and rollouts.values_BT is not None and rollouts.correct_B is not None
        noise = replace(
            rollouts,
            rewards_B=torch.where(rollouts.valid_B, rollouts.rewards_B, 1e3),
            correct_B=torch.where(rollouts.valid_B, rollouts.correct_B, ~rollouts.correct_B),
            values_BT=torch.where(rollouts.valid_mask_BT > 0, rollouts.values_BT, 1e3),
        )
        if not torch.equal(algorithm.advantages(noise), algorithm.advantages(rollouts)):
            yield (
                "advantages of valid rows depends on rewards, verdicts or values of rows that are not valid; "
                "use rollouts.rewards_PG and rollouts.valid_PG"
            )


def is_pure(algorithm: Algorithm) -> Findings:
    """Nothing that is passed in is changed, and the same batch gives the same advantages."""
    for rollouts in batches():
        before = {name: value.clone() for name, value in tensors(rollouts).items()}
        first = algorithm.advantages(rollouts).clone()
        changed = [name for name, value in tensors(rollouts).items() if not torch.equal(value, before[name])]
        if changed:
            yield f"advantages changes its input {', '.join(changed)}; work on copies (x + y instead of x += y)"
        elif not torch.equal(algorithm.advantages(rollouts), first):
            yield "advantages returns something else when it is called again with the same batch"


def _order_matters(algorithm: Algorithm, rollouts: Rollouts, order_B: Tensor, order_P: Tensor) -> bool:
    moved: dict[str, Any] = {
        name: value[order_P if name.endswith("_P") else order_B] for name, value in tensors(rollouts).items()
    }
    expected = algorithm.advantages(rollouts)[order_B]
    return not torch.allclose(algorithm.advantages(replace(rollouts, **moved)), expected, atol=TOLERANCE, rtol=0)


def order_of_groups_does_not_matter(algorithm: Algorithm) -> Findings:
    """A prompt's completions get the same advantages wherever the prompt stands in the batch."""
    for rollouts, order in zip(batches(), ([2, 0, 1], [1, 2, 0], [2, 1, 0], [0, 2, 1], [1, 0, 2]), strict=True):
        order_P = torch.tensor(order)
        if _order_matters(algorithm, rollouts, (order_P[:, None] * G + torch.arange(G)).flatten(), order_P):
            yield "advantages depends on the order of the groups in the batch"


def order_within_a_group_does_not_matter(algorithm: Algorithm) -> Findings:
    """Likewise for the place of a completion in its group."""
    for rollouts in batches():
        if _order_matters(algorithm, rollouts, torch.arange(B).view(P, G).flip(1).flatten(), torch.arange(P)):
            yield "advantages depends on the order of the completions in a group"


def nothing_said_means_all_valid(algorithm: Algorithm) -> Findings:
    """`valid_B=None` means that all rows are valid."""
    for seed in SEEDS:
        everything = batch(seed, valid_B=torch.ones(B, dtype=torch.bool))
        unsaid = algorithm.advantages(replace(everything, valid_B=None))
        if not torch.equal(unsaid, algorithm.advantages(everything)):
            yield "advantages with valid_B=None differs from those with all rows valid; use rollouts.valid_PG"


def right_is_worth_more_than_wrong(algorithm: Algorithm) -> Findings:
    """Of two completions of a prompt that differ in nothing but the verdict, the right one gets more."""
    mask_BT = (torch.arange(T).repeat(B, 1) < 3).long()
    correct_B = torch.tensor([True, False]).repeat(B // 2)
    lengths_B = mask_BT.sum(1)
    for seed in SEEDS:
        values_BT = torch.randn(P, T, generator=torch.Generator().manual_seed(seed)).repeat_interleave(G, 0)
        rewards_B = algorithm.shape(correct_B.float(), lengths_B, T)
        rollouts = batch(
            seed, rewards_B=rewards_B, correct_B=correct_B, mask_BT=mask_BT, values_BT=values_BT, valid_B=None
        )
        advantages_BT = per_token(algorithm.advantages(rollouts))[:, :3]
        if not (advantages_BT[0::2] > advantages_BT[1::2]).all():
            right, wrong = float(advantages_BT[0, 0]), float(advantages_BT[1, 0])
            yield f"a right completion is not worth more than a wrong one of its group ({right:g} and {wrong:g})"


def shapes_rewards_row_by_row(algorithm: Algorithm) -> Findings:
    """Training rewards are finite, one per row, and `shape` changes nothing that is passed in."""
    rewards_B, lengths_B = torch.tensor([0.0, 1.0] * (B // 2)), torch.arange(B) % T + 1
    before = rewards_B.clone(), lengths_B.clone()
    shaped = algorithm.shape(rewards_B, lengths_B, T)
    if tuple(shaped.shape) != (B,):
        yield f"shape returns the shape {tuple(shaped.shape)}, expected (B,) = ({B},)"
    elif not shaped.isfinite().all():
        yield "shape returns rewards that are not finite"
    if not (torch.equal(rewards_B, before[0]) and torch.equal(lengths_B, before[1])):
        yield "shape changes its input; work on copies"


def keeps_to_its_capabilities(algorithm: Algorithm) -> Findings:
    """A critic's targets are (B, T) and 0 on padding; which groups have signal is (P,) bool."""
    if isinstance(algorithm, NeedsCritic):
        rollouts = batch(0)
        targets_BT = algorithm.value_targets(rollouts)
        if tuple(targets_BT.shape) != (B, T) or not targets_BT.isfinite().all():
            yield f"value_targets must be finite and (B, T) = ({B}, {T}); it is {tuple(targets_BT.shape)}"
        elif (targets_BT[rollouts.valid_mask_BT == 0] != 0).any():
            yield "value_targets is not 0 on padding and on rows that are not valid"
    if isinstance(algorithm, NeedsRefill):
        correct_PG, valid_PG = torch.arange(B).view(P, G) < 6, torch.ones(P, G, dtype=torch.bool)
        signal_P = algorithm.has_signal(correct_PG, valid_PG)
        if tuple(signal_P.shape) != (P,) or signal_P.dtype != torch.bool:
            yield f"has_signal must be bool and (P,) = ({P},); it is {signal_P.dtype} and {tuple(signal_P.shape)}"


# ------------------------------------------------------------------------------------------------ its settings


def says_what_it_is(algorithm: Algorithm) -> Findings:
    """It has a docstring, a name and the paper that it is from (or a word on where the idea is from)."""
    kind = type(algorithm)
    if not (kind.__dict__.get("__doc__") or "").strip() or (kind.__doc__ or "").startswith(f"{kind.__name__}("):
        yield f"class {kind.__name__} has no docstring: say in a line what it does"
    paper = getattr(algorithm, "paper", None)
    if not isinstance(paper, str) or not paper.strip():
        yield f'class {kind.__name__} has no paper: write paper: ClassVar[str] = "arXiv 2503.20783", or "unpublished"'


def is_a_frozen_value(algorithm: Algorithm) -> Findings:
    """It holds settings and no state: a frozen dataclass, equal to another one with the same settings."""
    kind = type(algorithm)
    if not is_dataclass(kind) or "__dataclass_params__" not in vars(kind):
        yield f"class {kind.__name__} is not a dataclass: write @dataclass(frozen=True) above it"
    elif not vars(kind)["__dataclass_params__"].frozen:
        yield f"class {kind.__name__} is not frozen: write @dataclass(frozen=True) above it"
    elif (again := replace(algorithm)) != algorithm or hash(again) != hash(algorithm):
        yield f"two {kind.__name__}() with the same settings differ"


def declares_its_settings(algorithm: Algorithm) -> Findings:
    """Whatever can be set is a field with a type, which pydantic validates, and with a valid default."""
    kind = type(algorithm)
    declared = {field.name for field in fields(algorithm)}
    annotations = {name for base in kind.__mro__ for name in inspect.get_annotations(base)}
    for base in kind.__mro__[:-1]:
        for name, value in vars(base).items():
            plain = not name.startswith("_") and not callable(value) and not isinstance(value, property | classmethod)
            if plain and not isinstance(value, staticmethod) and name not in annotations | declared:
                yield f"'{name}' is no declared setting: write {name}: {type(value).__name__} = {value!r}"
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(algorithm):
        if hints[field.name] in (Any, object):
            yield f"setting '{field.name}' is of any type, so nothing validates it: give it the type that it has"
    try:
        TypeAdapter(kind).validate_python({f.name: getattr(algorithm, f.name) for f in fields(algorithm)}, strict=False)
    except PydanticSchemaGenerationError as error:
        yield f"a setting has a type that cannot be validated: {str(error).splitlines()[0]}"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        yield f"the default of setting '{'.'.join(map(str, first['loc']))}' is not valid: {first['msg']}"


def records_its_settings(algorithm: Algorithm) -> Findings:
    """A record holds the settings as JSON, so they must survive it."""
    for name, value in describe(algorithm)["settings"].items():
        try:
            back = json.loads(json.dumps(value, allow_nan=False))
            survives = back == (list(value) if isinstance(value, tuple) else value)
        except (TypeError, ValueError):
            survives = False
        if not survives:
            yield f"setting '{name}' does not survive JSON ({value!r}): use numbers, strings, bools, lists or null"


# ------------------------------------------------------------------------------------------------ objective


def pins_what_exists(algorithm: Algorithm) -> Findings:
    """What it pins are fields of `Surrogate`, with values that the objective knows."""
    known = [field.name for field in fields(Surrogate)]
    wrong = [name for name in algorithm.pins() if name not in known]
    for name in wrong:
        yield f"pins has '{name}', which is no part of the objective; it has: {', '.join(known)}"
    if not wrong:
        try:
            replace(Surrogate(), **algorithm.pins()).trl_config()
        except (KeyError, ValueError, TypeError) as error:
            yield f"pins has a value that the objective does not know: {error}"


def states_the_objective_in_full(algorithm: Algorithm) -> Findings:
    """A `trl_config` of its own says everything that the common one does, since TRL's defaults are never relied on."""
    missing = sorted(set(Surrogate().trl_config()) - set(algorithm.trl_config()))
    if missing:
        yield f"trl_config leaves {', '.join(missing)} to TRL's default: start from super().trl_config()"


def is_known_to_trl(algorithm: Algorithm) -> Findings:
    """Every setting in `trl_config` is a field of TRL's GRPOConfig, which accepts them together."""
    from algorithms.train import refusal, trl_fields

    unknown = sorted(set(algorithm.trl_config()) - trl_fields())
    for name in unknown:
        yield f"trl_config sets '{name}', which TRL's GRPOConfig does not have"
    if not unknown and (reason := refusal(algorithm, COMMON)) is not None:
        yield f"TRL's GRPOConfig refuses the settings: {reason}"


def trains_at_common_settings(algorithm: Algorithm) -> Findings:
    """A suite that says nothing of the objective is accepted."""
    try:
        config_fields(algorithm, COMMON, folder="out", seed=1, processes=1, accelerator=False)
    except UsageError as error:
        yield f"it refuses a suite with the common settings: {error}"


Checks = Mapping[str, Callable[[Algorithm], Findings]]


def _by_name(*checks: Callable[[Algorithm], Findings]) -> Checks:
    return {check.__name__: check for check in checks}


OF_ITSELF = _by_name(
    says_what_it_is, is_a_frozen_value, declares_its_settings, records_its_settings, pins_what_exists,
    states_the_objective_in_full, is_known_to_trl, trains_at_common_settings, shapes_rewards_row_by_row,
    keeps_to_its_capabilities,
)  # fmt: skip
SHAPE = _by_name(is_float_of_the_right_shape)
OF_ADVANTAGES = _by_name(
    is_finite, is_zero_where_nothing_counts, is_not_moved_by_what_does_not_count, is_pure,
    order_of_groups_does_not_matter, order_within_a_group_does_not_matter, nothing_said_means_all_valid,
    right_is_worth_more_than_wrong,
)  # fmt: skip
CHECKS: Checks = {**OF_ITSELF, **SHAPE, **OF_ADVANTAGES}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    check: str
    """A name in `CHECKS`."""
    sentence: str


def findings(algorithm: Algorithm) -> list[Finding]:
    """Runs all checks. A check that raises is a finding too.

    Of advantages whose shape is wrong, nothing else is said.
    """
    found = [*run(OF_ITSELF, algorithm), *(shape := run(SHAPE, algorithm))]
    return found if shape else [*found, *run(OF_ADVANTAGES, algorithm)]


def run(checks: Checks, algorithm: Algorithm) -> list[Finding]:
    """Runs some checks and reports each sentence of a check once."""
    return [Finding(name, said) for name, check in checks.items() for said in dict.fromkeys(_said(check, algorithm))]


def _said(check: Callable[[Algorithm], Findings], algorithm: Algorithm) -> Findings:
    try:
        yield from check(algorithm)
    except Exception as error:  # noqa: BLE001  the algorithm is a user's, and may raise anything
        yield f"it raises {one_line(error)}"
