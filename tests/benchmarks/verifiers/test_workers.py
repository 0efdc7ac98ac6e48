"""The pool of killable processes: it starts lazily, survives its workers, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.errors import Failure
from benchmarks.verifiers.workers import Reply, WorkerPool

ROOT = Path(__file__).parents[3]
PROBE = ("a",)


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


Make = Callable[[str], str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Writes a judge that does `body` and then answers in capitals, and returns its factory."""

    def write(body: str) -> str:
        text = f"import os\ndef judge(order):\n    {body}\n    return order.upper()\ndef make(): return judge\n"
        (tmp_path / "written.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return "written:make"

    return write


def test_replies_come_in_the_order_of_the_items(factory: str) -> None:
    pool = WorkerPool(factory, probe=PROBE, workers=2, timeout_s=0.5)
    orders = ["a", "die", "b", "raise", "spin", "chatter", "c", "\ud800 \u2028"]
    replies = pool.map([(order,) for order in orders])
    lost = {1: "died", 3: "LookupError", 4: "deadline"}
    assert replies == [Reply(lost=lost[i]) if i in lost else Reply(order.upper()) for i, order in enumerate(orders)]
    assert pool.map([]) == []
    pool.close()


def test_a_closed_pool_starts_anew(factory: str) -> None:
    pool = WorkerPool(factory, probe=PROBE, workers=1)
    first, second = pool.map([("pid",), ("pid",)])
    assert first == second and first.value is not None
    pool.close()
    pool.close()
    assert not alive(int(first.value))
    third = pool.map([("pid",)])[0]
    assert third.value not in (None, first.value)
    pool.close()


def test_a_worker_that_was_killed_while_idle_costs_no_item(factory: str) -> None:
    pool = WorkerPool(factory, probe=PROBE, workers=1)
    process = pool.map([("pid",)])[0].value
    subprocess.run(["kill", "-9", str(process)], check=True)
    await_death(int(str(process)))
    assert pool.map([("a",), ("b",)]) == [Reply("A"), Reply("B")]
    pool.close()


def test_no_process_starts_without_need(factory: str) -> None:
    pool = WorkerPool(factory, probe=PROBE, workers=4)
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
        WorkerPool("no_such_module:make", probe=PROBE, workers=1).map([("a",)])


@pytest.mark.parametrize(
    "body, reason",
    [
        ("import no_such_module", r"could not start: ModuleNotFoundError: No module named 'no_such_module'\."),
        ("os.kill(os.getpid(), 11)", r"could not start: exit code -11 \(SIGSEGV\)\."),
        ("raise MemoryError", r"could not start: MemoryError\."),
        ("bytearray(4 << 30)", r"could not start: MemoryError\."),
        ("while True: pass", r"could not start: not ready after 1 s\."),
    ],
)
def test_a_judge_that_fails_on_everything_is_a_failure(make: Make, body: str, reason: str) -> None:
    """Its factory works, so only the probe tells: without it, every item would be lost one by one."""
    with pytest.raises(Failure, match=reason):
        WorkerPool(make(body), probe=PROBE, workers=1, startup_s=60 if "pass" not in body else 1).map([("a",), ("b",)])


@pytest.mark.parametrize("last", ["b", "die"])
def test_a_machine_that_breaks_meanwhile_is_a_failure(make: Make, tmp_path: Path, last: str) -> None:
    """The item that died may have been the last one: a fresh worker must judge the probe before the reply counts."""
    broken = tmp_path / "broken"
    factory = make(
        f"if os.path.exists({str(broken)!r}): os._exit(4)\n"
        f"    if order == 'die': open({str(broken)!r}, 'w').close(); os._exit(3)"
    )
    with pytest.raises(Failure, match="could not start: exit code 4"):
        WorkerPool(factory, probe=PROBE, workers=1).map([("a",), ("die",), (last,)][: 2 + (last == "b")])


def test_a_full_disk_or_a_missing_module_is_a_failure_on_any_item(make: Make) -> None:
    factory = make(
        "if order == 'full': raise OSError(28, 'No space left on device')\n"
        "    if order == 'lazy': import no_such_module\n"
        "    if order == 'odd': raise FileNotFoundError(2, 'no such file', order)"
    )
    pool = WorkerPool(factory, probe=PROBE, workers=1)
    assert pool.map([("odd",), ("b",)]) == [Reply(lost="FileNotFoundError"), Reply("B")], "a text can cause this one"
    for order, reason in (("full", "No space left on device"), ("lazy", "No module named 'no_such_module'")):
        with pytest.raises(Failure, match=f"the judge '.*' does not work: .*{reason}"):
            pool.map([("a",), (order,), ("b",)])
    assert pool.map([("a",)]) == [Reply("A")], "the pool is still of use"
    pool.close()


def test_an_item_whose_worker_the_machine_killed_is_tried_again(make: Make, tmp_path: Path) -> None:
    """What the kernel does when memory is short: the worker is killed once, whatever it was doing."""
    marker = tmp_path / "killed"
    once = f"if order == 'b' and not os.path.exists({str(marker)!r}):\n"
    factory = make(once + f"        open({str(marker)!r}, 'w').close(); os.kill(os.getpid(), 9)")
    pool = WorkerPool(factory, probe=PROBE, workers=1)
    assert pool.map([("a",), ("b",), ("c",)]) == [Reply("A"), Reply("B"), Reply("C")]
    pool.close()


def test_a_machine_that_cannot_start_a_process_is_a_failure(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(Failure, match="could not start: Cannot allocate memory"):
        WorkerPool(factory, probe=PROBE, workers=1).map([("a",)])


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
pool = WorkerPool("obedient:make", probe=("a",), workers=1, timeout_s=2)
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
