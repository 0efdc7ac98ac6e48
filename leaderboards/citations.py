"""Numbers of others that are cited from their papers: `leaderboards/cited/*.yaml`, a file for each table.

They stand apart from what was measured here: they have no counts, so nothing about them can be checked or estimated
again, and they have no intervals. The gap is computed here, from the numbers as they are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

import pandas as pd
import yaml
from pydantic import Field, ValidationError, model_validator

from benchmarks import strict_yaml
from benchmarks.errors import Failure
from benchmarks.files import read_text
from benchmarks.settings import Positive, Strict, require

CITED = Path(__file__).parent / "cited"
Percent = Annotated[Decimal, Field(ge=0, le=100)]
Text = Annotated[str, Field(min_length=1)]
Scores = dict[str, tuple[Percent, Percent]]
"""Dataset -> pass@1 and pass@k in per cent, as printed."""
COLUMNS = (
    "source", "url", "table", "dataset", "label", "is_base", "k", "n_problems", "seeds",
    "pass_at_1", "pass_at_k", "gap", "gain_at_1", "change_at_k", "rounding",
)  # fmt: skip


class Cited(Strict):
    """A table of a paper."""

    source: Text
    url: Annotated[str, Field(pattern=r"^https://")]
    table: Text
    about: Text
    checked: Text
    """When the numbers were compared, and with what."""
    k: Positive
    seeds: Positive
    datasets: dict[str, Positive]
    """Dataset -> number of problems."""
    base: Scores
    rows: dict[str, Scores]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for label, scores in {"base": self.base, **self.rows}.items():
            missing = sorted(self.datasets.keys() ^ scores.keys())
            require(not missing, f"the row '{label}' and 'datasets' do not agree on {', '.join(missing)}")
            for dataset, (first, last) in scores.items():
                require(first <= last, f"the row '{label}' has pass@1 {first} above pass@k {last} on {dataset}")
        return self


def load(folder: Path = CITED) -> tuple[Cited, ...]:
    """Returns the tables in the order of their file names. Raises Failure for a file that is not as it should be."""
    return tuple(_read(path) for path in sorted(folder.glob("*.yaml")))


def _read(path: Path) -> Cited:
    try:
        return Cited.model_validate(strict_yaml.load(read_text(path)))
    except yaml.YAMLError as error:
        raise Failure(f"{path} is not YAML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise Failure(f"{path}: {where + ': ' if where else ''}{first['msg']}.") from error


def frame(tables: Sequence[Cited]) -> pd.DataFrame:
    """A row for each table, dataset and model, the base first. Shares are fractions.

    gap = pass@k of the base - pass@1 of the row; gain_at_1 and change_at_k = row - base. A base has its own gap.
    `rounding`: both numbers of a difference were rounded, so that it can be off by up to this much.
    """
    rows = [row for table in tables for dataset in table.datasets for row in _rows(table, dataset)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(table: Cited, dataset: str) -> list[dict[str, Any]]:
    base_1, base_k = table.base[dataset]
    common = {"source": table.source, "url": table.url, "table": table.table, "dataset": dataset, "k": table.k}
    common |= {"n_problems": table.datasets[dataset], "seeds": table.seeds}
    found = []
    for label, scores in {"base": table.base, **table.rows}.items():
        first, last = scores[dataset]
        is_base = scores is table.base
        shares = {"pass_at_1": first, "pass_at_k": last, "gap": base_k - first}
        shares |= {} if is_base else {"gain_at_1": first - base_1, "change_at_k": last - base_k}
        shares["rounding"] = max(_last_digit(number) for number in (first, last, base_1, base_k))
        found.append({**common, "label": label, "is_base": is_base, **{k: float(v / 100) for k, v in shares.items()}})
    return found


def _last_digit(number: Decimal) -> Decimal:
    """Such as 0.1 for 26.1: both of two rounded numbers are off by up to half of it."""
    return Decimal((0, (1,), int(number.as_tuple().exponent)))
