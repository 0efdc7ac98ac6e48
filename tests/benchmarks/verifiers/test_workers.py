"""The pool of killable processes: it starts lazily, survives its workers, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.errors import Failure
from benchmarks.verifiers.workers import Reply, WorkerPool

ROOT = Path(__file__).parents[3]


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A judge that does what its item says."""
    (tmp_path / "obedient.py").write_text(
        "import os, sys\n"
        "def judge(order):\n"
        "    if order == 'pid': return str(os.getpid())\n"
        "    if order == 'die': os._exit(3)\n"
        "    if order == 'raise': raise LookupError(order)\n"
        "    if order == 'chatter': print(order * 100_000); print(order * 100_000, file=sys.stderr)\n"
        "    while order == 'spin': pass\n"
        "    return order.upper()\n"
        "def make(): return judge\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "obedient:make"


def test_replies_come_in_the_order_of_the_items(factory: str) -> None:
    pool = WorkerPool(factory, workers=2, timeout_s=0.5)
    orders = ["a", "die", "b", "raise", "spin", "chatter", "c", "\ud800 \u2028"]
    replies = pool.map([(order,) for order in orders])
    lost = {1: "died", 3: "LookupError", 4: "deadline"}
    assert replies == [Reply(lost=lost[i]) if i in lost else Reply(order.upper()) for i, order in enumerate(orders)]
    assert pool.map([]) == []
    pool.close()


def test_a_closed_pool_starts_anew(factory: str) -> None:
    pool = WorkerPool(factory, workers=1)
    first, second = pool.map([("pid",), ("pid",)])
    assert first == second and first.value is not None
    pool.close()
    pool.close()
    assert not alive(int(first.value))
    third = pool.map([("pid",)])[0]
    assert third.value not in (None, first.value)
    pool.close()


def test_a_worker_that_was_killed_while_idle_costs_no_item(factory: str) -> None:
    pool = WorkerPool(factory, workers=1)
    process = pool.map([("pid",)])[0].value
    subprocess.run(["kill", "-9", str(process)], check=True)
    await_death(int(str(process)))
    assert pool.map([("a",), ("b",)]) == [Reply("A"), Reply("B")]
    pool.close()


def test_no_process_starts_without_need(factory: str) -> None:
    pool = WorkerPool(factory, workers=4)
    assert len({reply.value for reply in pool.map([("pid",)] * 1)}) == 1
    assert len(pool._workers) == 1
    pool.close()


def test_workers_do_not_import_torch() -> None:
    code = "import sys, benchmarks.verifiers.math_worker as j; j.make_judge(); print('torch' in sys.modules)"
    assert run(code) == ["False"]


def test_the_parent_imports_neither_torch_nor_sympy() -> None:
    code = (
        "import sys; from benchmarks import verifiers as v; v.get('math'); print({'torch', 'sympy'} & set(sys.modules))"
    )
    assert run(code) == ["set()"]


def test_workers_that_cannot_start_are_a_failure_and_not_an_error() -> None:
    with pytest.raises(Failure, match=r"could not start: ModuleNotFoundError: No module named 'no_such_module'"):
        WorkerPool("no_such_module:make", workers=1).map([("a",)])


def run(code: str) -> list[str]:
    """What a fresh interpreter prints, in words."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_death(process: int) -> None:
    for _ in range(600):
        if not alive(process):
            return
        time.sleep(0.1)
    pytest.fail(f"process {process} was left behind")


SCRIPT = """
import os, signal, sys, threading, time
sys.path.insert(0, {folder!r})
from benchmarks.verifiers.workers import WorkerPool
pool = WorkerPool("obedient:make", workers=1, timeout_s=2)
print(pool.map([("pid",)])[0].value, flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "raise SystemExit(1)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start(); pool.map([('spin',)])",
    ],
)
@pytest.mark.usefixtures("factory")
def test_no_worker_outlives_its_parent(tmp_path: Path, end: str) -> None:
    script = SCRIPT.format(folder=str(tmp_path), end=end)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    await_death(int(done.stdout.split()[0]))


@pytest.mark.usefixtures("factory")
def test_a_forked_child_has_workers_of_its_own(tmp_path: Path) -> None:
    end = "child = os.fork()\nprint(pool.map([('pid',)])[0].value, flush=True)\nif not child: sys.exit()\nos.wait()"
    end += "\nprint(pool.map([('pid',)])[0].value)"
    script = SCRIPT.format(folder=str(tmp_path), end=end)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    printed = Counter(done.stdout.split())
    assert sorted(printed.values()) == [1, 3], "three times the parent's own worker, once the child's"
