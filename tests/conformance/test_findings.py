"""Each check of an algorithm can fail: here is an algorithm that breaks it, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from algorithms.base import Algorithm as Base
from algorithms.base import CriticSettings, NeedsCritic, NeedsGreedyBaseline, NeedsRefill, Rollouts, Surrogate
from algorithms.conformance import CHECKS, OF_ADVANTAGES, findings
from benchmarks.errors import UsageError


@dataclass(frozen=True)
class Sound(Base):
    """Reward minus the group's mean."""

    name: ClassVar[str] = "sound_one"
    paper: ClassVar[str] = "unpublished"
    factor: float = 1.0

    def advantages(self, rollouts: Rollouts) -> Tensor:
        return rollouts.per_row(self.factor * (rollouts.rewards_PG - rollouts.group_mean_P1()))


BROKEN: list[tuple[str, type[Base], str]] = []
"""(check, an algorithm that breaks it, words of the sentence)."""


def breaks(check: str, words: str):
    """The class below breaks that check, and perhaps others."""

    def add(kind: type) -> type:
        BROKEN.append((check, kind, words))
        return kind

    return add


@breaks("is_float_of_the_right_shape", "has the shape (3, 8), expected (B,) = (24,) or (B, T) = (24, 6)")
class Grouped(Sound):
    def advantages(self, rollouts):
        return rollouts.rewards_PG


@breaks("is_float_of_the_right_shape", "is of type torch.float64, expected torch.float32")
class Double(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts).double()


@breaks("is_float_of_the_right_shape", "returns a list, expected a Tensor")
class Listed(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts).tolist()


@breaks("is_float_of_the_right_shape", "it raises RuntimeError: no luck (test_findings.py, line")
class Raises(Sound):
    def advantages(self, rollouts):
        raise RuntimeError("no luck")


@breaks("is_float_of_the_right_shape", "it raises RuntimeError: shape '[-1, 8]' is invalid")
class HardCoded(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts) + 0 * rollouts.rewards_B.view(-1, 8).mean(1).repeat_interleave(8)


@breaks("is_float_of_the_right_shape", "it raises TypeError: 'NoneType'")
class TakesWhatItDoesNotAskFor(Sound):
    def advantages(self, rollouts):
        return rollouts.per_row(rollouts.rewards_PG - rollouts.greedy_rewards_P[:, None])


@breaks("is_float_of_the_right_shape", "carries a gradient")
class WithGradient(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts).requires_grad_()


@breaks("is_finite", "is not finite")
class TrustsGreedy(NeedsGreedyBaseline, Sound):
    def advantages(self, rollouts):
        return rollouts.per_row(rollouts.rewards_PG - rollouts.greedy_rewards_P[:, None])


@breaks("does_not_depend_on_padding", "depends on how far the batch is padded")
class OverWidth(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts) / rollouts.mask_BT.shape[1]


@breaks("has_one_advantage_for_one_ratio", "differs between the tokens of a completion, but pins has ratio")
class EachTokenUnderOneRatio(Sound):
    def pins(self) -> Mapping[str, Any]:
        return {"ratio": "sequence"}

    def advantages(self, rollouts):
        return super().advantages(rollouts)[:, None] * rollouts.mask_BT.cumsum(1) * rollouts.mask_BT


@breaks("is_pure", "uses torch's random generator, or sets its seed")
class Seeds(Sound):
    def advantages(self, rollouts):
        torch.manual_seed(0)
        return super().advantages(rollouts)


@breaks("leaves_the_rest_to_the_suite", "trl_config sets 'learning_rate', which is the suite's to set")
class OwnRate(Sound):
    def trl_config(self):
        return {**super().trl_config(), "learning_rate": 1.0}


@breaks("follows_the_suite", "a suite's kl_coefficient = 0.01 changes nothing")
class Deaf(Sound):
    def trl_config(self):
        return Surrogate().trl_config()


@breaks("pins_what_exists", "pins has clip_range = -1.0, which cannot be: Input should be greater than 0")
class PinsBelowZero(Sound):
    def pins(self) -> Mapping[str, Any]:
        return {"clip_range": -1.0}


@breaks("pins_what_exists", "pins has clip_range = '0.2', which cannot be: Input should be a valid number")
class PinsText(Sound):
    def pins(self) -> Mapping[str, Any]:
        return {"clip_range": "0.2"}


@breaks("is_finite", "is not finite in a group with the rewards [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]")
class Divides(Sound):
    def advantages(self, rollouts):
        std_P1 = rollouts.rewards_PG.std(1, keepdim=True)
        return rollouts.per_row((rollouts.rewards_PG - rollouts.group_mean_P1()) / std_P1)


@breaks("is_zero_where_nothing_counts", "is not 0 on rows that are not valid")
class Everywhere(Sound):
    def advantages(self, rollouts):
        return (rollouts.rewards_PG - rollouts.group_mean_P1() + 0.5).flatten()


@breaks("is_zero_where_nothing_counts", "is not 0 on padding")
class OnPadding(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts)[:, None].expand_as(rollouts.mask_BT)


@breaks("is_not_moved_by_what_does_not_count", "depends on rewards, verdicts or values of rows that are not valid")
class Contaminated(Sound):
    def advantages(self, rollouts):
        mean_P1 = rollouts.rewards_B.view(-1, rollouts.group_size).mean(1, keepdim=True)
        return rollouts.per_row(rollouts.rewards_PG - mean_P1)


@breaks("is_pure", "changes its input rewards_B; work on copies")
class InPlace(Sound):
    def advantages(self, rollouts):
        rollouts.rewards_B.sub_(0.5)
        return super().advantages(rollouts)


@breaks("is_pure", "returns something else when it is called again")
class Noisy(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts) + rollouts.per_row(1e-3 * torch.rand_like(rollouts.rewards_PG))


@breaks("order_of_groups_does_not_matter", "depends on the order of the groups")
class FirstIsDouble(Sound):
    def advantages(self, rollouts):
        weights_P1 = torch.arange(1.0, rollouts.rewards_PG.shape[0] + 1)[:, None]
        return rollouts.per_row(weights_P1 * (rollouts.rewards_PG - rollouts.group_mean_P1()))


@breaks("order_within_a_group_does_not_matter", "depends on the order of the completions in a group")
class FirstOfGroup(Sound):
    def advantages(self, rollouts):
        weights_G = torch.arange(1.0, rollouts.group_size + 1)
        return rollouts.per_row(weights_G * (rollouts.rewards_PG - rollouts.group_mean_P1()))


@breaks("nothing_said_means_all_valid", "it raises AttributeError: 'NoneType'")
class AsksForValid(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts) * rollouts.valid_B.float()


@breaks("nothing_said_means_all_valid", "with valid_B=None differs from those with all rows valid")
class OtherWithoutValid(Sound):
    def advantages(self, rollouts):
        return super().advantages(rollouts) * (2.0 if rollouts.valid_B is None else 1.0)


@breaks(
    "right_is_worth_more_than_wrong",
    "a right completion is not worth more than a wrong one of its group (-0.875 and 0.125)",
)
class Backwards(Sound):
    def advantages(self, rollouts):
        return -super().advantages(rollouts)


@breaks("shapes_rewards_row_by_row", "shape returns the shape (), expected (B,) = (24,)")
class OneReward(Sound):
    def shape(self, rewards_B, lengths_B, limit):
        return rewards_B.mean()


@breaks("shapes_rewards_row_by_row", "shape returns rewards that are not finite")
class LogReward(Sound):
    def shape(self, rewards_B, lengths_B, limit):
        return rewards_B.log()


@breaks("shapes_rewards_row_by_row", "shape changes its input")
class ShapesInPlace(Sound):
    def shape(self, rewards_B, lengths_B, limit):
        return rewards_B.mul_(2)


@breaks("keeps_to_its_capabilities", "value_targets must be finite and (B, T)")
class RowTargets(NeedsCritic, Sound):
    def critic(self):
        return CriticSettings(1.0, 0.5, 0)

    def value_targets(self, rollouts):
        return rollouts.rewards_B


@breaks("keeps_to_its_capabilities", "value_targets is not 0 on padding")
class TargetsOnPadding(RowTargets):
    def value_targets(self, rollouts):
        return torch.ones_like(rollouts.values_BT)


@breaks("keeps_to_its_capabilities", "has_signal must be bool and (P,)")
class CountsSignal(NeedsRefill, Sound):
    def has_signal(self, correct_PG, valid_PG):
        return correct_PG.sum(1)


@breaks("says_what_it_is", "class Silent has no docstring")
@dataclass(frozen=True)
class Silent(Sound):
    pass


@breaks("says_what_it_is", "class Unsourced has no paper")
class Unsourced(Sound):
    paper: ClassVar[str] = " "


@breaks("is_a_frozen_value", "class Undecorated is not a dataclass: write @dataclass(frozen=True)")
class Undecorated(Sound):
    """It would have no settings of its own."""

    beta: float = 1.0


class Unequal(Sound):
    """Two of them differ."""

    def __eq__(self, other):
        return self is other

    __hash__ = Sound.__hash__


BROKEN.append(("is_a_frozen_value", dataclass(frozen=True, eq=False)(Unequal), "with the same settings differ"))


@breaks("declares_its_settings", "'beta' is no declared setting: write beta: float = 0.5")
class Undeclared(Sound):
    beta = 0.5


@breaks("declares_its_settings", "setting 'anything' is of any type")
@dataclass(frozen=True)
class AnyType(Sound):
    anything: Any = 1


@breaks("declares_its_settings", "the default of setting 'count' is not valid")
@dataclass(frozen=True)
class WrongDefault(Sound):
    count: int = "many"  # type: ignore[assignment]


class Unknown:
    """A type that pydantic does not know."""


THING = Unknown()


@breaks("declares_its_settings", "a setting has a type that cannot be validated")
@dataclass(frozen=True)
class UnknownType(Sound):
    thing: Unknown = THING


@breaks("records_its_settings", "setting 'limit' does not survive JSON (inf)")
@dataclass(frozen=True)
class Endless(Sound):
    limit: float = float("inf")


@breaks("records_its_settings", "setting 'names' does not survive JSON")
@dataclass(frozen=True)
class OfASet(Sound):
    names: frozenset[str] = frozenset({"a"})


@breaks("pins_what_exists", "pins has 'clip', which is no part of the objective; it has: clip_range")
class PinsNothing(Sound):
    """It pins what is not there."""

    def pins(self) -> Mapping[str, Any]:
        return {"clip": 0.1}


@breaks("pins_what_exists", "pins has a value that the objective does not know")
class PinsUnknownLoss(Sound):
    def pins(self) -> Mapping[str, Any]:
        return {"loss": "no_such_mean"}


@breaks("states_the_objective_in_full", "trl_config leaves beta, delta")
class Forgetful(Sound):
    def trl_config(self):
        return {key: value for key, value in super().trl_config().items() if key not in ("beta", "delta")}


@breaks("is_known_to_trl", "trl_config sets 'bet', which TRL's GRPOConfig does not have")
class UnknownToTrl(Sound):
    def trl_config(self):
        return {**super().trl_config(), "bet": 0.1}


@breaks("is_known_to_trl", "TRL's GRPOConfig refuses the settings")
class RefusedByTrl(Sound):
    def trl_config(self):
        return {**super().trl_config(), "auto_find_batch_size": True}


@breaks("trains_at_common_settings", "it refuses a suite with the common settings: it wants more")
class Demanding(Sound):
    def check(self, settings):
        raise UsageError("it wants more.")


@pytest.mark.parametrize("check, kind, words", BROKEN, ids=[kind.__name__ for _, kind, _ in BROKEN])
def test_it_is_found(check: str, kind: type[Base], words: str) -> None:
    said = [one.sentence for one in findings(kind()) if one.check == check]
    assert any(words in sentence for sentence in said), said
    assert all("\n" not in sentence for sentence in said)


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings(Sound()) == []


def test_of_a_wrong_shape_nothing_else_is_said() -> None:
    assert not {one.check for one in findings(Grouped())} & set(OF_ADVANTAGES)


def test_of_an_unknown_pin_one_thing_is_said() -> None:
    assert [one.check for one in findings(PinsNothing())] == ["pins_what_exists"]


class OnlyHardGroups(Sound):
    """Groups of which half or more are right teach nothing, as in pass@k training: that is no mistake."""

    def advantages(self, rollouts):
        hard_P1 = rollouts.group_mean_P1() < 0.5
        return rollouts.per_row(torch.where(hard_P1, rollouts.rewards_PG - rollouts.group_mean_P1(), 0.0))


def test_groups_may_be_left_out() -> None:
    assert findings(OnlyHardGroups()) == []


def test_a_setting_with_another_value_is_still_sound() -> None:
    assert findings(replace(Sound(), factor=2.0)) == []
