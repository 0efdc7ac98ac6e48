"""What a reference means, what is said of one that means nothing, and which files are the source of a class."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import algorithms
from benchmarks import tasks, verifiers
from benchmarks.errors import UsageError
from tests.benchmarks.outside.own import ALGORITHM, install, write, write_task

TWO = ALGORITHM + ALGORITHM.partition("\n\n\n")[2].replace("Mine", "Other").replace('"mine"', '"other"')


def refusal(reference: object) -> str:
    with pytest.raises(UsageError) as error:
        algorithms.find(str(reference))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """What a test puts on Python's path, it takes away again."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def test_a_file_and_its_class(tmp_path):
    path = write(tmp_path)
    for reference in (path, f"{path}:Mine"):
        found = algorithms.find(str(reference))
        assert (found.name, found.made_by.__name__, found.reference) == ("mine", "Mine", f"{path}:Mine")
        assert found.origin == str(path) and found.source is not None and found.source.files == {"mine.py": ALGORITHM}
    made = algorithms.get(str(path), scale=2.0)
    assert made.name == "mine" and made.scale == 2.0
    with pytest.raises(UsageError, match="algorithm 'mine' has no setting 'scael'; it has: scale"):
        algorithms.get(str(path), scael=1)


def test_relative_to_the_working_directory(tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert algorithms.find("mine.py").reference == f"{path}:Mine"


def test_a_class_of_several(tmp_path):
    path = write(tmp_path, text=TWO)
    assert algorithms.find(f"{path}:Other").name == "other"
    assert refusal(path).endswith("has 2 algorithms, so choose one: mine.py:Mine, mine.py:Other.")
    assert "Did you mean 'Other'?" in refusal(f"{path}:Othr")


def test_what_a_file_imports_is_not_its_own(tmp_path):
    path = write(tmp_path, text="from algorithms.grpo import GRPO\n" + ALGORITHM)
    assert algorithms.find(str(path)).name == "mine"


def test_a_module_and_a_built_in_one_by_its_module(tmp_path, monkeypatch):
    write(tmp_path, "one_module_of_a_user.py")
    monkeypatch.chdir(tmp_path)
    found = algorithms.find("one_module_of_a_user:Mine")
    assert (found.name, found.reference) == ("mine", "one_module_of_a_user:Mine")
    assert found.source is not None and set(found.source.files) == {"one_module_of_a_user.py"}
    assert algorithms.find("algorithms.grpo:GRPO") == algorithms.find("grpo")
    assert algorithms.find("grpo").source is None


def test_no_such_file(tmp_path):
    write(tmp_path)
    assert refusal(tmp_path / "mien.py").endswith("mien.py. Did you mean 'mine.py'? Known: mine.py.")
    assert "its folder does not exist" in refusal(tmp_path / "no" / "mine.py")
    assert refusal(f"{tmp_path}/mine").endswith("the name of a file ends in .py.")


def test_a_forgotten_ending(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert refusal("mine").endswith("Did you mean the file 'mine.py'?")
    assert "Did you mean 'grpo'?" in refusal("grop") and "my_algorithm.py" in refusal("grop")
    assert "Did you mean 'base'?" in refusal("bsae")


@pytest.mark.parametrize(
    "text, words",
    [
        ("import os\nx = 1 / 0\n", "raises on import: ZeroDivisionError: division by zero (line 2)."),
        ("import sys\nsys.exit(3)\n", "raises on import: SystemExit: 3 (line 2)."),
        ("from . import y\n", "(beside a file that is named by its path, import y, not from . import y)."),
        ("x = (\n", "is not valid Python: '(' was never closed (line 1)."),
        ("import no_such_module_here\n", "ModuleNotFoundError: No module named 'no_such_module_here' (line 1)."),
        ("x = 1\n", "has no algorithm: expected a class that inherits from Algorithm."),
    ],
)
def test_a_file_that_is_no_algorithm(tmp_path, text, words):
    path = write(tmp_path, text=text)
    assert refusal(path).startswith(str(path)) and refusal(path).endswith(words)


@pytest.mark.parametrize(
    "name, words",
    [
        ('"grpo"', "is the name of a built-in algorithm: choose another name."),
        ('"base"', "has a meaning of its own: choose another name."),
        ('"a/b"', "has the name 'a/b': expected letters"),
        ('".."', "has the name '..': expected letters"),
        ("3", "has the name 3: expected letters"),
    ],
)
def test_a_name_that_cannot_be(tmp_path, name, words):
    assert words in refusal(write(tmp_path, text=ALGORITHM.replace('"mine"', name)))


def test_a_module_that_is_not_there():
    assert refusal("no_such_package.module:X").startswith("there is no module 'no_such_package'")
    assert refusal("algorithms.base:Nothing").startswith("unknown algorithm of module algorithms.base 'Nothing'")


# ------------------------------------------------------------------------------------------------ entry points


def test_what_a_package_offers(tmp_path, monkeypatch):
    write(tmp_path, "offered_package/__init__.py", "")
    write(tmp_path, "offered_package/kind.py")
    write(tmp_path, "offered_package/unused.py", "x = 1\n")
    install(monkeypatch, tmp_path, "[rlvr_gap.algorithms]\nmine = offered_package.kind:Mine\ngrpo = a:B\nwrong = x y\n")
    found = algorithms.find("mine")
    assert (found.reference, found.origin) == ("mine", "package rlvr-mine 1.2")
    assert found.source is not None
    assert set(found.source.files) == {"offered_package/__init__.py", "offered_package/kind.py"}
    assert "mine" in algorithms.known()
    assert algorithms.find("grpo").origin == "built in"
    assert "expected package.module:Class" in refusal("wrong")
    assert "Did you mean 'mine'?" in refusal("mien")


def test_a_package_that_calls_a_class_by_another_name(tmp_path, monkeypatch):
    write(tmp_path, "misnamed_package.py")
    install(monkeypatch, tmp_path, "[rlvr_gap.algorithms]\nyours = misnamed_package:Mine\n")
    assert "rlvr-mine 1.2 offers 'yours', but the name of its class misnamed_package:Mine is 'mine'" in refusal("yours")


def test_two_packages_that_offer_one_name(tmp_path, monkeypatch):
    for name in ("one", "two"):
        install(monkeypatch, tmp_path / name, "[rlvr_gap.algorithms]\nmine = x:Mine\n", name)
    assert refusal("mine") == "algorithm 'mine' is offered by one 1.2 and two 1.2: uninstall one of them."


# ------------------------------------------------------------------------------------------------ source

WITH_HELPERS = "import own_helper_a\nfrom own_package.inner import f\nimport json, random\n" + ALGORITHM


def write_helpers(folder: Path, text: str = "") -> Path:
    write(folder, "own_helper_a.py", "import own_helper_b\n")
    write(folder, "own_helper_b.py", f"VALUE = '{text}'\n")
    write(folder, "own_package/__init__.py", "")
    write(folder, "own_package/inner.py", "from . import deeper\ndef f(): import own_late\n")
    write(folder, "own_package/deeper.py", "from .. import nothing\n" if text == "broken" else "")
    write(folder, "own_late.py", "")
    write(folder, "not_imported.py", "")
    write(folder, "json.py", "raise SystemExit\n")  # Python's own wins, so this is not what is imported
    return write(folder, text=WITH_HELPERS)


@pytest.fixture
def forget(monkeypatch):
    """Helpers of one test are not those of the next."""
    from benchmarks.outside import load

    monkeypatch.setattr(load, "_roots", {})
    yield
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_modules_beside_it_are_its_source(tmp_path, forget):
    source = algorithms.find(str(write_helpers(tmp_path))).source
    assert source is not None and set(source.files) == {
        "mine.py", "own_helper_a.py", "own_helper_b.py", "own_late.py",
        "own_package/__init__.py", "own_package/inner.py", "own_package/deeper.py",
    }  # fmt: skip
    assert source.to_json()["sha256"] == source.sha256 and len(source.sha256) == 64


def test_a_changed_helper_is_another_source_and_is_imported_again(tmp_path, forget):
    one = algorithms.find(str(write_helpers(tmp_path, "x"))).source
    assert sys.modules["own_helper_b"].VALUE == "x"
    two = algorithms.find(str(write_helpers(tmp_path, "y"))).source
    assert sys.modules["own_helper_b"].VALUE == "y"
    assert one is not None and two is not None and one.sha256 != two.sha256
    assert {name for name in one.files if one.hashes[name] != two.hashes[name]} == {"own_helper_b.py"}


def test_a_sign_that_changes_within_a_second(tmp_path):
    """Neither size nor time of the file says that it changed; the class must be the new one all the same."""
    path = write(tmp_path)
    kinds = [algorithms.find(str(write(tmp_path, text=text))).made_by for text in (ALGORITHM, ALGORITHM)]
    assert kinds[0] is kinds[1]
    write(tmp_path, text=ALGORITHM.replace("= 1.0", "= 2.0"))
    assert algorithms.get(str(path)).scale == 2.0 and kinds[0]().scale == 1.0


def test_the_same_of_a_helper(tmp_path, forget):
    for text in ("x", "y", "z"):  # of the same size, within a second
        algorithms.find(str(write_helpers(tmp_path, text)))
        assert text == sys.modules["own_helper_b"].VALUE


def test_the_same_text_elsewhere_has_the_same_hash(tmp_path):
    one, two = (algorithms.find(str(write(tmp_path / name))).source for name in ("a", "b"))
    assert one is not None and two is not None and one.sha256 == two.sha256


def test_helpers_of_two_folders_are_not_confused(tmp_path, forget):
    algorithms.find(str(write_helpers(tmp_path / "a")))
    message = refusal(write_helpers(tmp_path / "b"))
    assert "own_helper_a" in message and str(tmp_path / "a") in message and "rename one" in message


def test_the_project_is_not_the_users(tmp_path):
    """A file at the root of a checkout does not own the packages beside it."""
    write(tmp_path, "algorithms/base.py", "")
    source = algorithms.find(str(write(tmp_path))).source
    assert source is not None and set(source.files) == {"mine.py"}


# ------------------------------------------------------------------------------------------------ tasks and verifiers


def test_a_task_and_a_verifier(tmp_path):
    path = write_task(tmp_path)
    task = tasks.get(str(path))
    verifier = verifiers.get(task.verifier, tasks.find(str(path)).folder)
    assert (task.name, verifier.name) == ("my_task", "my_verifier")
    assert str(task.version).startswith("2@") and str(verifier.version).startswith("1@")
    assert len(str(task.version)) == 2 + 16
    assert tasks.get("countdown").version == 2 and verifiers.get("countdown").version == 1


def test_a_task_that_does_not_say_enough(tmp_path):
    path = write(
        tmp_path, "t.py", "from benchmarks.tasks.base import Task\nclass T(Task):\n    name = 't'\n    VERSION = 1\n"
    )
    with pytest.raises(UsageError, match="has no verifier, which every task says of itself"):
        tasks.get(str(path))
