"""Synthetic runs, written through the project's own writers, and what reads a page of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.evaluation.completions import COMPLETIONS_SCHEMA, SAMPLE, Meta, write_tables
from benchmarks.files import file_sha256
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import Record, write_record
from benchmarks.records.training_log import FILE
from benchmarks.statistics.counts import Counts, write_counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.statistics.passk import Design, FixedDesign

N = 16
KS = (1, 2, 4, 8, 16)


def draw_counts(rate: float, n_problems: int, seed: int, design: Design | None = None, spread: float = 0.6) -> Counts:
    """Counts of problems whose success rates scatter around `rate`; the first problems are the easier ones."""
    design = design or FixedDesign(N)
    rng = np.random.default_rng(seed)
    p_N = np.clip(rng.beta(spread * rate / (1 - rate), spread, n_problems), 0, 1)
    n_N, c_N = [], []
    for p in np.sort(p_N)[::-1]:
        n = c = 0
        while (to := design.next_round(n, c)) is not None:
            c += int(rng.binomial(to - n, p))
            n = to
        n_N.append(n)
        c_N.append(c)
    n_N, c_N = np.array(n_N), np.array(c_N)
    verdicts = {"wrong": (n_N - c_N).tolist(), "truncated": [0] * n_problems, "error": [0] * n_problems}
    return Counts(tuple(f"p{i:04d}" for i in range(n_problems)), n_N, c_N, design, verdicts)


def evaluation(counts: Counts, folder: Path, dataset: str, ks: Sequence[int] = KS, **changes: Any) -> EvaluationRecord:
    """Writes the counts and returns the record's part about them."""
    path = folder / "eval" / dataset / "counts.jsonl"
    write_counts(path, counts)
    total, correct = int(counts.n_N.sum()), int(counts.c_N.sum())
    data = {
        "design": counts.design.to_json(),
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 96},
        "n_problems": len(counts.problem_ids),
        "problems_hash": "0123456789abcdef",
        "verdicts": {"correct": correct, "wrong": total - correct, "truncated": 0, "error": 0},
        **counts.dataset_pass_at_k(ks).to_json(),
        "tokens": 31 * total,
        "completions": total,
        "seconds": 61.5,
        "chains": {"checked": total, "sound": correct, "correct_checked": correct, "correct_sound": correct * 9 // 10},
        "counts": {"path": f"eval/{dataset}/counts.jsonl", "sha256": file_sha256(path)},
        "versions": {"task": 1, "verifier": 1},
        "engine": "transformers 5.23.0",
    }
    return EvaluationRecord.model_validate(data | changes)


def training(steps: int = 300, **changes: Any) -> dict[str, Any]:
    """What training cost."""
    data = {
        "steps": steps,
        "updates": 4 * steps,
        "completions": 256 * steps,
        "tokens": 256 * 33 * steps + 17,
        "discarded": {"completions": 0, "tokens": 0},
        "greedy": {"completions": 0, "tokens": 0},
        "token_passes": {"sampling": 2_534_417, "policy_forward": 3_100_003, "policy_backward": 3_000_001},
        "seconds": {"generate": 210.25, "verify": 3.5, "train": 305.0},
        "load": {"wall_seconds": 530.0, "load_average": 1.1, "other_cores": 0.01, "alone": True},
        "peak_memory_bytes": None,
        "diverged": False,
    }
    return data | changes


def write_run(
    root: Path,
    algorithm: str,
    counts: dict[str, Counts],
    base: dict[str, Counts] | None = None,
    *,
    seed: int | None = 0,
    variant: str | None = None,
    suite: tuple[str, str] = ("countdown", "aaaaaaaaaaaaaaaa"),
    base_hash: str | None = "bbbbbbbbbbbbbbbb",
    k: int = 16,
    ks: Sequence[int] = KS,
    evaluation_changes: dict[str, Any] | None = None,
    provenance_changes: dict[str, Any] | None = None,
    training_changes: dict[str, Any] | None = None,
    folder: str | None = None,
    **changes: Any,
) -> Path:
    """One cell, written to root/<cell>; returns its record.json. `base`: what the gaps are measured from."""
    is_base = base is None
    cell_folder = root / (
        folder or ("base" if is_base else f"{algorithm}-s{seed}" + (f"-{variant}" if variant else ""))
    )
    gaps = None if base is None else {d: sampling_efficiency_gap(base[d], counts[d], k).to_json() for d in counts}
    evaluations = {d: evaluation(c, cell_folder, d, ks, **(evaluation_changes or {})) for d, c in counts.items()}
    provenance = {
        "commit": "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567",
        "dirty": False,
        "versions": {"trl": "1.16.0", "torch": "2.13.0", "transformers": "5.23.0", "numpy": "2.4.6"},
        "command": f"rlvr-gap bench --algo {algorithm} --suite {suite[0]} --seed {seed}",
        "started": datetime(2026, 11, 20, 8, 0, tzinfo=UTC),
        "finished": datetime(2026, 11, 20, 8, 9, 30, tzinfo=UTC),
        "machine": {"cores": 2},
    }
    data = {
        "schema": 1,
        "suite": {"name": suite[0], "hash": suite[1]},
        "cell": {
            "algorithm": algorithm,
            "seed": None if is_base else seed,
            "variant": variant,
            "base_model": "embedded:countdown-1m",
            "base_hash": base_hash,
        },
        "settings": {"learning_rate": 5e-5},
        "provenance": provenance | (provenance_changes or {}),
        "training": None if is_base else training(**(training_changes or {})),
        "evaluations": {dataset: e.model_dump(mode="json") for dataset, e in evaluations.items()},
        "gap": gaps,
    }
    path = cell_folder / "record.json"
    write_record(path, Record.model_validate(data | changes))
    return path


def write_log(folder: Path, steps: int, seed: int = 0) -> Path:
    """The training log of a run: accuracy rises, entropy and length fall."""
    rng = np.random.default_rng(seed)
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for step in range(1, steps + 1):
        accuracy = float(np.clip(0.2 + 0.3 * step / steps + rng.normal(0, 0.02), 0, 1))
        line = {"step": step, "update": 4 * step, "accuracy": accuracy, "reward": accuracy, "loss": 0.01}
        line |= {"entropy": 0.2 - 0.1 * step / steps, "completions/mean_length": 35.0, "grad_norm": None}
        lines.append(json.dumps(line) + "\n")
    path.write_text("".join(lines))
    return path


def write_samples(run: Path, dataset: str, ids: list[str], text: str, answer: str | None = "5") -> Path:
    """Two stored completions of each problem, as a submission has them."""
    rows = [
        {"problem_id": one, "round": 0, "sample": i, "text": text, "verdict": "wrong", "answer": answer, "chain": False,
         "tokens": 7, "finished": i == 0, "seed": 3}
        for one in ids for i in (1, 0)
    ]  # fmt: skip
    path = run / "eval" / dataset / SAMPLE
    write_tables(path, [pa.Table.from_pylist(rows, COMPLETIONS_SCHEMA)], Meta("q", "sample", len(rows), 1.0, "e"))
    return path


class Elements(HTMLParser):
    """Every element with its attributes, and that all of them are closed in order."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def words(html: str) -> str:
    """The text of the page, without style, in one line."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)
    return " ".join(text.split())
