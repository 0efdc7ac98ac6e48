"""A user's folder may be called `benchmarks` or `algorithms`: every way to start the project still imports its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.micro import write

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(ROOT / "rlvr_gap" / "__main__.py")
THEIRS = "raise RuntimeError('the folder of the user was imported')\n"


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A working directory with packages of the same names, two of which have an `__init__.py`."""
    for name in ("benchmarks", "algorithms", "leaderboards"):
        (tmp_path / name).mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text(THEIRS)
    (tmp_path / "algorithms" / "__init__.py").write_text(THEIRS)
    (tmp_path / "rlvr-gap").write_text("import sys\nfrom rlvr_gap.__main__ import main\nsys.exit(main())\n")
    return tmp_path


def start(folder: Path, *arguments: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    """Python in the folder. `path`: what stands for the place where the project is installed."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


WAYS = {
    "console script": (["rlvr-gap"], f".{os.pathsep}{ROOT}"),
    "module": (["-m", "rlvr_gap"], str(ROOT)),
    "file": ([PROGRAM], "."),
}


@pytest.mark.parametrize("way", WAYS)
def test_list(theirs, way):
    arguments, path = WAYS[way]
    done = start(theirs, *arguments, "list", path=path)
    assert done.returncode == 0, done.stderr
    assert "grpo" in done.stdout and "math500" in done.stdout


def test_workers_and_cells_of_a_grid(theirs):
    """The cell is a process of its own, and its samples come from another one."""
    suite = write(theirs, {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}})
    bench = ["bench", "--algo", "base", "--suite", str(suite), "--out", "runs", "--quiet"]
    done = start(theirs, "-m", "rlvr_gap", *bench)
    assert done.returncode == 0, done.stderr
    assert (theirs / "runs" / "micro" / "base" / "record.json").exists()


def test_no_process_is_started_by_a_name(theirs):
    """`-m benchmarks` in a working directory of the user's would be the user's package."""
    for package in ("algorithms", "benchmarks", "leaderboards"):
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(r'"-m",\s*"(benchmarks|rlvr_gap)"', path.read_text(encoding="utf-8")), path


def test_import_in_a_notebook(theirs):
    """Also what a verifier's worker imports, which is a process of its own."""
    code = (
        "import json, rlvr_gap as rg, benchmarks, algorithms; "
        "p = rg.Problem('a', '1 + 1?', '2'); "
        "v = rg.verifiers.get('math').verify(p, chr(92) + 'boxed{2}'); "
        "print(json.dumps([str(v), benchmarks.__file__, algorithms.__file__]))"
    )
    done = start(theirs, "-c", code)
    assert done.returncode == 0, done.stderr
    ours = [str(ROOT / name / "__init__.py") for name in ("benchmarks", "algorithms")]
    assert json.loads(done.stdout) == ["correct", *ours]


def test_another_package_of_the_name_is_one_clear_line(theirs):
    (theirs / "benchmarks" / "__init__.py").write_text("")
    done = start(theirs, "-c", "import benchmarks; import rlvr_gap")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: rlvr_gap has a package 'benchmarks', but another one was imported before it, from "
        f"{theirs / 'benchmarks' / '__init__.py'}: import rlvr_gap first, or rename the other one."
    )


def test_everything_that_is_promised_is_there():
    import rlvr_gap as rg

    for name in rg.__all__:
        assert getattr(rg, name).__name__.rpartition(".")[2] == name
    assert {*rg.__all__} <= {*dir(rg)}
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        rg.lod  # noqa: B018
