"""`rlvr-gap show`: the estimates and problems of a run, the completions of a problem, and what is refused."""

from __future__ import annotations

import sys

import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as program
from benchmarks.runs.model_run import ModelRun
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import BASE_MODELS, parse
from tests.benchmarks.micro import data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of two datasets, one of which shares an id with the other."""
    changes = {
        "engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}},
        "evaluation.datasets.few": {"task": "countdown", "split": "test", "problems": 2},
    }
    run = ModelRun(parse(data(changes)), str(BASE_MODELS / "countdown"), Place(tmp_path_factory.mktemp("r")), name="m")
    run.run()
    return run.folder


@pytest.fixture
def cli(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *map(str, arguments)])
        capsys.readouterr()
        return program._run(), *capsys.readouterr()

    return call


def stored(folder):
    return pq.read_table(folder / "eval/test/completions.parquet").to_pylist()


def test_without_a_problem_it_lists_them(cli, folder):
    code, out, err = cli("show", folder)
    ids = {row["problem_id"] for row in stored(folder)}
    assert (code, err) == (0, "") and all(problem_id in out for problem_id in ids)
    assert "pass@8" in out and "Cover@0.5" in out and "maj@2" in out
    assert "more problems" not in out
    code, out, _ = cli("show", folder, "--dataset", "few", "--limit", 1)
    assert code == 0 and "1 more problems: --limit 2 shows all" in out


def test_a_problem_with_its_completions(cli, folder, tmp_path):
    rows = stored(folder)
    one = rows[-1]["problem_id"]
    mine = [row for row in rows if row["problem_id"] == one]
    code, out, err = cli("show", folder, "--dataset", "test", "--problem", one, "--html", tmp_path / "p.html")
    assert (code, err) == (0, "") and f"test, problem {one}" in out and "gold" in out
    assert all(f"sample {row['sample']}  {row['verdict']}" in out for row in mine)
    page = (tmp_path / "p.html").read_text()
    assert page.count("<details") == len(mine)
    code, out, _ = cli("show", folder, "--dataset", "test", "--problem", one, "--verdict", "wrong")
    assert code == 0 and out.count("  wrong  ") == sum(row["verdict"] == "wrong" for row in mine)
    assert "  correct  " not in out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--verdict", "corect"], ["unknown verdict 'corect'", "mean 'correct'"]),
        (["--dataset", "tset"], ["unknown dataset", "mean 'test'"]),
        (["--problem", "no-such"], ["unknown problem 'no-such'", "The nearest of 6"]),
        (["--full"], ["name a --problem as well"]),
    ],
)
def test_what_is_refused_is_one_line(cli, folder, arguments, words):
    code, _, err = cli("show", folder, *arguments)
    assert code == 2 and len(err.splitlines()) == 1 and all(word in err for word in words)


def test_a_problem_of_two_datasets_needs_one_to_be_named(cli, folder):
    code, _, err = cli("show", folder, "--problem", stored(folder)[0]["problem_id"])
    shared = {row["problem_id"] for row in pq.read_table(folder / "eval/few/completions.parquet").to_pylist()}
    assert (code == 2 and "choose a --dataset" in err) == (stored(folder)[0]["problem_id"] in shared)


def test_it_is_no_run(cli, tmp_path):
    code, _, err = cli("show", tmp_path)
    assert code == 2 and "is not the folder of a run" in err
