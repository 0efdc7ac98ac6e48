"""A folder of as many records as a benchmark asks for, like the published ones in kind and size.

The counts of a new run are those of two published runs, each problem from one of the two by chance, so that no two runs
are alike and every problem stopped in a state in which problems stop. Its log, settings and costs are those of the
first. Half of the algorithms' runs have the variant "tuned".
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from algorithms import ALGORITHMS
from benchmarks.files import file_sha256, write_json_atomic
from benchmarks.records.schema import BASE
from benchmarks.statistics.counts import NOT_CORRECT, SOUND, Counts, read_counts, write_counts

SOURCE = Path(__file__).resolve().parents[2] / "leaderboards" / "records"


def write_many(folder: Path, records: int, source: Path = SOURCE) -> None:
    """Writes a base and `records` - 1 runs of all algorithms, with as many seeds as that takes."""
    bases = sorted(source.glob(f"*/{BASE}/record.json"))
    suite = bases[0].parent.parent
    runs = sorted(path.parent for path in suite.glob("*/record.json") if path.parent.name != BASE)
    shutil.copytree(suite / BASE, folder / BASE, ignore=shutil.ignore_patterns("*.parquet"))
    rng = np.random.default_rng(0)
    labels = [(name, variant) for name in ALGORITHMS for variant in (None, "tuned")]
    for number in range(records - 1):
        algorithm, variant = labels[number % len(labels)]
        one, other = (runs[i] for i in rng.choice(len(runs), 2, replace=False))
        cell = {"algorithm": algorithm, "variant": variant, "seed": number // len(labels)}
        _write_run(folder / f"{algorithm}-{variant}-s{cell['seed']}", cell, (one, other), folder / BASE, rng)


def _write_run(
    folder: Path, cell: dict[str, Any], parents: tuple[Path, Path], base: Path, rng: np.random.Generator
) -> None:
    shutil.copytree(parents[0], folder, ignore=shutil.ignore_patterns("*.parquet", "record.json"))
    record = json.loads((parents[0] / "record.json").read_text(encoding="utf-8"))
    record["cell"] |= cell
    record["points"] = {}
    for dataset, evaluation in record["evaluations"].items():
        path = evaluation["counts"]["path"]
        mixed = _mixed(read_counts(parents[0] / path), read_counts(parents[1] / path), rng)
        write_counts(folder / path, mixed)
        evaluation["counts"]["sha256"] = file_sha256(folder / path)
        evaluation["completions_file"] = None
        _restate(record, dataset, read_counts(base / path), mixed)
    write_json_atomic(folder / "record.json", record, durable=False)


def _mixed(one: Counts, other: Counts, rng: np.random.Generator) -> Counts:
    """Each problem from one of the two."""
    theirs = {problem: i for i, problem in enumerate(other.problem_ids)}
    picked = [(other, theirs[p]) if rng.random() < 0.5 else (one, i) for i, p in enumerate(one.problem_ids)]
    columns = {name: [side.extra[name][i] for side, i in picked] for name in one.extra}
    n, c = (np.array([getattr(side, name)[i] for side, i in picked]) for name in ("n_N", "c_N"))
    return Counts(one.problem_ids, n, c, one.design, columns, one.header)


def _restate(record: dict[str, Any], dataset: str, base: Counts, counts: Counts) -> None:
    """Writes into the record what its new counts give, as far as the site checks it."""
    evaluation, sound = record["evaluations"][dataset], counts.judged_by("sound")
    verdicts = {name: int(np.sum(counts.extra[name])) for name in NOT_CORRECT}
    evaluation["verdicts"] = {"correct": int(counts.c_N.sum()), **verdicts}
    evaluation["completions"] = int(counts.n_N.sum())
    evaluation["sound"]["correct"], evaluation["chains"] = int(np.sum(counts.extra[SOUND])), None
    for place, side in ((evaluation, counts), (evaluation["sound"], sound)):
        place["pass_at_k"] = {k: float(side.pass_at_k(int(k)).mean()) for k in place["pass_at_k"]}
    for gaps, of_base, trained in (("gap", base, counts), ("sound_gap", base.judged_by("sound"), sound)):
        gap = record[gaps][dataset]
        base_1, base_k = (float(of_base.pass_at_k(k).mean()) for k in (1, gap["k"]))
        own_1, own_k = (float(trained.pass_at_k(k).mean()) for k in (1, gap["k"]))
        gap |= {"base_pass_at_1": base_1, "base_pass_at_k": base_k, "gap": base_k - own_1}
        gap |= {"trained_pass_at_1": own_1, "trained_pass_at_k": own_k}
