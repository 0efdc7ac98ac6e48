"""Checks of what an algorithm computes. Each yields a sentence for each thing that it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from algorithms.base import Algorithm, NeedsCritic, NeedsRefill, Rollouts
from algorithms.conformance.batches import SEEDS, B, G, P, T, batch, batches, for_algorithm, per_token, same, tensors
from algorithms.conformance.objective import COMMON, Findings
from benchmarks.errors import UsageError

TOLERANCE = 1e-5
"""Of advantages, between batches whose groups or rows are in another order, or that are padded further."""


def is_float_of_the_right_shape(algorithm: Algorithm) -> Findings:
    """Advantages are float32, one per row or one per token."""
    for rollouts in (*batches(algorithm), *_of_other_group_sizes(algorithm)):
        rows = len(rollouts.rewards_B)
        advantages: object = algorithm.advantages(rollouts)
        if not isinstance(advantages, Tensor):
            yield f"advantages returns a {type(advantages).__name__}, expected a Tensor"
        elif tuple(advantages.shape) not in ((rows,), (rows, T)):
            shape = tuple(advantages.shape)
            yield f"advantages has the shape {shape}, expected (B,) = ({rows},) or (B, T) = ({rows}, {T})"
        elif advantages.dtype != torch.float32:
            yield f"advantages is of type {advantages.dtype}, expected torch.float32"
        elif advantages.requires_grad:
            yield "advantages carries a gradient: use .detach() on what it comes from"


def _of_other_group_sizes(algorithm: Algorithm) -> Iterator[Rollouts]:
    """Draws batches of other group sizes, if the algorithm's own check accepts these."""
    for group_size in (2, 4, 16):
        try:
            algorithm.check(COMMON.model_copy(update={"group_size": group_size}))
        except UsageError:
            continue
        yield for_algorithm(algorithm, batch(0, group_size))


def is_finite(algorithm: Algorithm) -> Findings:
    """No advantage is infinite or NaN; groups of equal rewards are the usual cause (a division by their zero std)."""
    drawn = (batch(0, rewards_B=torch.full((B,), value), valid_B=None) for value in (0.0, 1.0))
    equal = (for_algorithm(algorithm, rollouts) for rollouts in drawn)
    for rollouts in (*batches(algorithm), *equal):
        finite = algorithm.advantages(rollouts).isfinite()
        if not finite.all():
            group = int((~finite).nonzero()[0, 0]) // G
            rewards = [round(reward, 3) for reward in rollouts.rewards_PG[group].tolist()]
            yield f"advantages is not finite in a group with the rewards {rewards}; look for a division by zero"


def is_zero_where_nothing_counts(algorithm: Algorithm) -> Findings:
    """Rows whose verifier failed, and padding, have the advantage 0."""
    nothing = for_algorithm(algorithm, batch(0, valid_B=torch.zeros(B, dtype=torch.bool)))
    for rollouts in (*batches(algorithm), nothing):
        advantages = algorithm.advantages(rollouts)
        invalid_B = ~rollouts.valid_PG.flatten()
        if (advantages[invalid_B] != 0).any():
            yield "advantages is not 0 on rows that are not valid (valid_B); rollouts.per_row(...) makes it so"
        elif advantages.ndim == 2 and (advantages[rollouts.mask_BT == 0] != 0).any():
            yield "advantages is not 0 on padding (mask_BT); multiply by rollouts.valid_mask_BT"


def is_not_moved_by_what_does_not_count(algorithm: Algorithm) -> Findings:
    """Whatever stands in rows that are not valid and in padding, the others get the same advantages."""
    for rollouts in batches(algorithm):
        assert rollouts.valid_B is not None and rollouts.correct_B is not None
        values_BT = rollouts.values_BT
        noise = replace(
            rollouts,
            rewards_B=torch.where(rollouts.valid_B, rollouts.rewards_B, 1e3),
            correct_B=torch.where(rollouts.valid_B, rollouts.correct_B, ~rollouts.correct_B),
            values_BT=None if values_BT is None else torch.where(rollouts.valid_mask_BT > 0, values_BT, 1e3),
        )
        if not torch.equal(algorithm.advantages(noise), algorithm.advantages(rollouts)):
            yield (
                "advantages of valid rows depends on rewards, verdicts or values of rows that are not valid; "
                "use rollouts.rewards_PG and rollouts.valid_PG"
            )


def does_not_depend_on_padding(algorithm: Algorithm) -> Findings:
    """Columns of padding at the end of the batch change nothing: how wide it is depends on the longest completion."""
    for rollouts in batches(algorithm):
        wider = {
            name: torch.cat([value, torch.zeros(len(value), 3, dtype=value.dtype)], 1)
            for name, value in tensors(rollouts).items()
            if name.endswith("_BT")
        }
        narrow, wide = algorithm.advantages(rollouts), algorithm.advantages(replace(rollouts, **wider))  # type: ignore[arg-type]
        if not torch.allclose(wide[:, :T] if wide.ndim == 2 else wide, narrow, atol=TOLERANCE, rtol=0):
            yield "advantages depends on how far the batch is padded; use rollouts.mask_BT and not the width"


def has_one_advantage_for_one_ratio(algorithm: Algorithm) -> Findings:
    """Where all tokens of a completion share a ratio, they share an advantage; TRL would not say that they do not."""
    if algorithm.objective.ratio != "sequence":
        return
    for rollouts in batches(algorithm):
        advantages = algorithm.advantages(rollouts)
        if advantages.ndim == 2 and not torch.equal(advantages, advantages[:, :1] * rollouts.mask_BT):
            yield "advantages differs between the tokens of a completion, but pins has ratio = 'sequence'"


def is_pure(algorithm: Algorithm) -> Findings:
    """Nothing that is passed in is changed, and the same batch gives the same advantages."""
    for rollouts in batches(algorithm):
        before = {name: value.clone() for name, value in tensors(rollouts).items()}
        saved, _ = torch.get_rng_state(), torch.rand(1)  # a state that setting a seed does not lead to
        generator = torch.get_rng_state()
        first = algorithm.advantages(rollouts).clone()
        drew = not torch.equal(torch.get_rng_state(), generator)
        second = algorithm.advantages(rollouts)
        torch.set_rng_state(saved)
        changed = [name for name, value in tensors(rollouts).items() if not same(value, before[name])]
        if changed:
            yield f"advantages changes its input {', '.join(changed)}; work on copies (x + y instead of x += y)"
        elif not torch.equal(second, first):
            yield "advantages returns something else when it is called again with the same batch"
        elif drew:
            yield "advantages uses torch's random generator, or sets its seed, which changes what is sampled afterwards"


def _order_matters(algorithm: Algorithm, rollouts: Rollouts, order_B: Tensor, order_P: Tensor) -> bool:
    moved: dict[str, Any] = {
        name: value[order_P if name.endswith("_P") else order_B] for name, value in tensors(rollouts).items()
    }
    expected = algorithm.advantages(rollouts)[order_B]
    return not torch.allclose(algorithm.advantages(replace(rollouts, **moved)), expected, atol=TOLERANCE, rtol=0)


def order_of_groups_does_not_matter(algorithm: Algorithm) -> Findings:
    """A prompt's completions get the same advantages wherever the prompt stands in the batch."""
    for rollouts, order in zip(
        batches(algorithm), ([2, 0, 1], [1, 2, 0], [2, 1, 0], [0, 2, 1], [1, 0, 2]), strict=True
    ):
        order_P = torch.tensor(order)
        if _order_matters(algorithm, rollouts, (order_P[:, None] * G + torch.arange(G)).flatten(), order_P):
            yield "advantages depends on the order of the groups in the batch"


def order_within_a_group_does_not_matter(algorithm: Algorithm) -> Findings:
    """Likewise for the place of a completion in its group."""
    for rollouts in batches(algorithm):
        if _order_matters(algorithm, rollouts, torch.arange(B).view(P, G).flip(1).flatten(), torch.arange(P)):
            yield "advantages depends on the order of the completions in a group"


def nothing_said_means_all_valid(algorithm: Algorithm) -> Findings:
    """`valid_B=None` means that all rows are valid."""
    for seed in SEEDS:
        everything = for_algorithm(algorithm, batch(seed, valid_B=torch.ones(B, dtype=torch.bool)))
        unsaid = algorithm.advantages(replace(everything, valid_B=None))
        if not torch.equal(unsaid, algorithm.advantages(everything)):
            yield "advantages with valid_B=None differs from those with all rows valid; use rollouts.valid_PG"


def right_is_worth_more_than_wrong(algorithm: Algorithm) -> Findings:
    """Of two completions of a prompt that differ in nothing but the verdict, the right one gets more.

    This is asked of groups with 1 to G - 1 right completions: more in one of these cases at least, and less in none,
    since an algorithm may leave out groups that are too easy or too hard for it.
    """
    pairs = [_right_and_wrong(algorithm, right) for right in range(1, G)]
    worse = next(((right, wrong) for right, wrong in pairs if right < wrong), None)
    if worse is None and all(right == wrong for right, wrong in pairs):
        worse = pairs[0]
    if worse is not None:
        yield f"a right completion is not worth more than a wrong one of its group ({worse[0]:g} and {worse[1]:g})"


def _right_and_wrong(algorithm: Algorithm, right: int) -> tuple[float, float]:
    """Returns the least advantage of a right and the largest of a wrong one, at the token where they are closest.

    Each group has `right` right completions.
    """
    mask_BT = (torch.arange(T).repeat(B, 1) < 3).long()
    correct_B = (torch.arange(G) < right).repeat(P)
    values_BT = torch.randn(1, T, generator=torch.Generator().manual_seed(right)).expand(B, T)
    rollouts = batch(
        0, rewards_B=algorithm.shape(correct_B.float(), mask_BT.sum(1), T), correct_B=correct_B, mask_BT=mask_BT,
        values_BT=values_BT, greedy_rewards_P=torch.zeros(P), valid_B=None,
    )  # fmt: skip
    advantages_BT = per_token(algorithm.advantages(for_algorithm(algorithm, rollouts)))[:, :3]
    right_T, wrong_T = advantages_BT[correct_B].amin(0), advantages_BT[~correct_B].amax(0)
    token = int((right_T - wrong_T).argmin())
    return float(right_T[token]), float(wrong_T[token])


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
        rollouts = for_algorithm(algorithm, batch(0))
        targets_BT = algorithm.value_targets(rollouts)
        if tuple(targets_BT.shape) != (B, T) or not targets_BT.isfinite().all():
            yield f"value_targets must be finite and (B, T) = ({B}, {T}); it is {tuple(targets_BT.shape)}"
        elif (targets_BT[rollouts.valid_mask_BT == 0] != 0).any():
            yield "value_targets is not 0 on padding and on rows that are not valid"
    if isinstance(algorithm, NeedsRefill):
        correct_PG, valid_PG = torch.arange(B).view(P, G) < 12, torch.ones(P, G, dtype=torch.bool)
        signal_P = algorithm.has_signal(correct_PG, valid_PG)
        if tuple(signal_P.shape) != (P,) or signal_P.dtype != torch.bool:
            yield f"has_signal must be bool and (P,) = ({P},); it is {signal_P.dtype} and {tuple(signal_P.shape)}"
