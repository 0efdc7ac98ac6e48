"""Who may import whom, and who must not know what, checked on the source: nothing here is imported or run.

`tests/rooms.py` has the tables. `tests/import_graph.py` reads the source, and says what it does not see.
"""

from __future__ import annotations

import ast
import functools
import re
import socket
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.import_graph import PACKAGES, ROOT, circles, imports, module_of, room_graph, sources, tree_of
from tests.rooms import ROOMS, RULES, Rule

SOURCES = sorted(path for folder in (*PACKAGES, "tests") for path in (ROOT / folder).rglob("*.py"))
OURS = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in PACKAGES]
TEXTS = sorted(
    path
    for pattern in ("*.md", "*.toml", "*.yaml", "*.html", "*.j2", "*.css", "*.js", "Makefile", "run")
    for folder in (".ci", "docs", "leaderboards/templates", *PACKAGES)
    for path in (ROOT / folder).rglob(pattern)
) + sorted(path for path in ROOT.glob("*") if path.suffix in {".md", ".toml", ".cff"} or path.name == "Makefile")

MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_FUNCTION = 60


NAME_NO_ALGORITHM = ("algorithms.trainer", "benchmarks.evaluation", "benchmarks.engines", "benchmarks.launchers")
TRL_ALONE_IN = {"algorithms.trainer", "algorithms.train"}
ONE_SUBCLASS_OF_TRL = re.compile(r"GRPO(Trainer|Config)")  # TRL's own names, which the trainer cannot avoid


# ------------------------------------------------------------------------------------------------ reading the source


MODULES = sources()


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


@functools.cache
def direct(module: str) -> frozenset[str]:
    """What a module of ours imports itself."""
    path = MODULES[module]
    return frozenset(imports(tree_of(path), module, path.name == "__init__.py"))


def run_by(name: str) -> list[str]:
    """Our modules that importing `name` runs: `benchmarks.tasks.Problem` -> `benchmarks.tasks`, `benchmarks`."""
    parts = name.split(".")
    return [module for end in range(len(parts), 0, -1) if (module := ".".join(parts[:end])) in MODULES]


def chains(module: str, but: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Everything that importing `module` reaches -> the modules on the way to it, `module` first."""
    found: dict[str, tuple[str, ...]] = {}
    seen = {module}
    queue = [(module, (module,))]
    while queue:
        here, way = queue.pop(0)
        for name in sorted(name for name in direct(here) if not within(name, but)):
            found.setdefault(name, way)
            for following in run_by(name):
                if following not in seen:
                    seen.add(following)
                    queue.append((following, (*way, following)))
    return found


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Identifiers and strings (docstrings too), with their lines."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for value in (getattr(node, field, None) for field in ("id", "attr", "name", "arg", "asname", "module")):
            if isinstance(value, str):
                yield line, value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, node.value


def algorithm_names() -> set[str]:
    """The keys of ALGORITHMS, read off the source."""
    known = {"ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"}
    path = MODULES.get("algorithms")
    for node in ast.walk(tree_of(path)) if path else ():
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            known |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    return known


def named(tree: ast.AST, exempt: re.Pattern[str] | None = None) -> list[str]:
    """Where the tree names an algorithm, in any spelling: `GRPOTrainer`, `use_dapo`, "reinforce++"."""
    names = [*(re.escape(name).replace("_", "[_ -]?") for name in algorithm_names()), r"reinforce\+\+"]
    pattern = re.compile(rf"(?<![a-z])({'|'.join(names)})", re.IGNORECASE)
    texts = ((line, exempt.sub("", text) if exempt else text) for line, text in words(tree))
    return [f"line {line}: {match[0]}" for line, text in texts for match in pattern.finditer(text)]


def dangers(tree: ast.AST) -> list[str]:
    """Calls that run what they read, and settings that allow it."""
    return [f"line {getattr(node, 'lineno', 0)}: {found}" for node in ast.walk(tree) for found in _dangers(node)]


def _dangers(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        pickles = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
        yield from (name for name in imports(node, "", False) if name.partition(".")[0] in pickles)
    elif isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called.removeprefix("builtins.") in {"eval", "exec"}:
            yield called
        if called == "torch.load" and keywords.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if keywords.get("trust_remote_code", "False") != "False":
            yield "trust_remote_code"
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        if any(key and ast.unparse(key) == "'trust_remote_code'" and ast.unparse(v) != "False" for key, v in pairs):
            yield "trust_remote_code"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ------------------------------------------------------------------------------------------------ the rules


def test_rooms_are_listed_from_the_ground_up() -> None:
    """A room may import what stands above it in the table: so there can be no circle, and no arrow upwards."""
    order = list(ROOMS)
    assert not {
        room: wrong
        for number, room in enumerate(order)
        if (wrong := sorted(allowed for allowed in ROOMS[room] if allowed not in order[:number]))
    }


def test_rooms_import_what_the_table_allows() -> None:
    """Nothing more, and nothing that is allowed and not used: the table is the plan of the house."""
    graph = room_graph()
    found = {room.removeprefix("benchmarks."): {r.removeprefix("benchmarks.") for r in graph[room]} for room in graph}
    assert not circles(graph)
    assert found == ROOMS


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles({room: frozenset(below) for room, below in graph.items()}) == [("a", "b", "c")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_imports(rule: Rule) -> None:
    broken = [
        f"{' -> '.join(way)} -> {name}"
        for module in MODULES
        if within(module, rule.who)
        for name, way in chains(module, rule.but).items()
        if within(name, rule.never) and (rule.through or len(way) == 1)
    ]
    assert not broken, f"{rule.name} ({rule.why}):\n" + "\n".join(broken)


def test_trl_has_one_home() -> None:
    users = {module for module in MODULES if any(within(name, ("trl",)) for name in direct(module))}
    assert users <= TRL_ALONE_IN, f"trl is imported outside {sorted(TRL_ALONE_IN)}"


@pytest.mark.parametrize("path", [path for path in OURS if within(module_of(path), NAME_NO_ALGORITHM)], ids=name_of)
def test_names_no_algorithm(path: Path) -> None:
    """What differs between algorithms is asked of `Algorithm`; what is measured is a model path."""
    assert not named(tree_of(path), ONE_SUBCLASS_OF_TRL if module_of(path) == "algorithms.trainer" else None)


@pytest.mark.parametrize("path", [path for path in OURS if module_of(path).startswith("algorithms")], ids=name_of)
def test_training_names_no_test_split(path: Path) -> None:
    assert not [line for line, text in words(tree_of(path)) if text in {"test", "ood"}]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_is_short_and_safe(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES_OF_A_FILE, f"{lines} lines: a file of this length is two files"
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f"{node.name} (line {node.lineno})": (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES_OF_A_FUNCTION}
    assert not dangers(tree_of(path))


@pytest.mark.parametrize("path", SOURCES + TEXTS, ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    text = path.read_text(encoding="utf-8")
    assert not [f"line {n}: {line.strip()}" for n, line in enumerate(text.splitlines(), 1) if marks.search(line)]
    assert not re.search(r"trust_remote_code\s*[:=]\s*true", text) or path.suffix == ".py"


def test_what_is_imported_is_declared() -> None:
    """Nothing is leant on that is only there because something else brought it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {re.split(r"[^\w-]", one)[0].replace("-", "_").lower() for one in wanted}
    other_names = {"pyyaml": "yaml", "markdown_it_py": "markdown_it"}
    declared |= {module for package, module in other_names.items() if package in declared}
    imported = {name.partition(".")[0] for module in MODULES for name in direct(module)}
    assert imported - set(sys.stdlib_module_names) - set(PACKAGES) <= declared


# ------------------------------------------------------------------------------------------------ the checks bite


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "import pickle",
        "from pickle import loads",
        "torch.load('a')",
        "torch.load('a', weights_only=False)",
        "load('a', trust_remote_code=True)",
        "settings = {'trust_remote_code': True}",
    ],
)
def test_dangers_are_seen(source: str) -> None:
    assert dangers(ast.parse(source))


@pytest.mark.parametrize("source", ["model.eval()", "torch.load('a', weights_only=True)", "f(trust_remote_code=False)"])
def test_harmless_is_let_pass(source: str) -> None:
    assert not dangers(ast.parse(source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b as c", {"a.b"}),
        ("def f():\n    from a.b import c", {"a.b", "a.b.c"}),
        ("from . import c", {"p.q", "p.q.c"}),
        ("from ..r import c", {"p.r", "p.r.c"}),
    ],
)
def test_imports_are_seen(source: str, expected: set[str]) -> None:
    assert set(imports(ast.parse(source), "p.q.m", is_package=False)) == expected


@pytest.mark.parametrize("source", ["class GRPOThing: ...", "f(use_dapo=1)", "x = 'REINFORCE++'", "def ppo(): ..."])
def test_algorithms_are_seen(source: str) -> None:
    assert named(ast.parse(source))


def test_words_that_only_look_like_algorithms() -> None:
    assert not named(ast.parse("supported = opposite_of('supports')"))
    assert not named(ast.parse("class A(GRPOTrainer): ..."), ONE_SUBCLASS_OF_TRL)


def test_chains_go_through_other_modules() -> None:
    """The import graph is not empty: records reaches pydantic through settings."""
    assert "benchmarks.files" in chains("benchmarks.records.schema")
    assert "pydantic" in chains("benchmarks.records.schema")


def test_network_is_out_of_reach() -> None:
    with socket.socket() as client, pytest.raises(BaseException, match="over the network"):
        client.connect(("192.0.2.1", 9))  # an address kept for documentation: nobody is there
