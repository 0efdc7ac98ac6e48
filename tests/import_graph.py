"""The import graph between rooms, read from the source: what the architecture test checks, and figures of it.

    python -m tests.import_graph [FOLDER]    rooms, floors, arrows, circles and lengths of functions of a checkout

A room is `algorithms`, `leaderboards`, `rlvr_gap`, or a folder or a module right under `benchmarks`. Imports count
wherever they stand in a file, in functions and under TYPE_CHECKING too. A module that is imported by a name made at run
time is not seen: that is how the literal tables (`benchmarks/registry.py`) keep one member from importing the others.
"""

from __future__ import annotations

import ast
import functools
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("algorithms", "benchmarks", "leaderboards", "rlvr_gap")
Graph = Mapping[str, frozenset[str]]
"""Room -> the rooms that it imports."""


def sources(root: Path = ROOT) -> dict[str, Path]:
    """Dotted name -> file, of every module of the packages under `root`."""
    return {module_of(path, root): path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}


def module_of(path: Path, root: Path = ROOT) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The parsed source."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """What is imported anywhere in the tree, by dotted name; `from a import b` gives both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """`benchmarks.runs.grid` -> `benchmarks.runs`; `algorithms.dapo` -> `algorithms`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "benchmarks" else parts[0]


def room_graph(root: Path = ROOT) -> Graph:
    """Which room imports which others. `benchmarks` itself holds nothing and is left out."""
    modules = sources(root)
    graph: dict[str, set[str]] = {room_of(module): set() for module in modules if module != "benchmarks"}
    for module, path in modules.items():
        for name in imports(tree_of(path), module, path.name == "__init__.py"):
            target = room_of(name)
            if target in graph and module != "benchmarks" and target != room_of(module):
                graph[room_of(module)].add(target)
    return {room: frozenset(targets) for room, targets in graph.items()}


def reachable(graph: Graph, room: str) -> set[str]:
    """Every room that `room` imports, directly or through others; itself only if there is a circle."""
    found: set[str] = set()
    queue = list(graph[room])
    while queue:
        if (here := queue.pop()) not in found:
            found.add(here)
            queue.extend(graph[here])
    return found


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """The sets of rooms that import one another in a circle."""
    below = {room: reachable(graph, room) for room in graph}
    return sorted({tuple(r for r in sorted(graph) if r in below[room] and room in below[r]) for room in graph} - {()})


def floors(graph: Graph) -> int:
    """The number of rooms on the longest way down that meets no room twice; a circle counts as one room."""
    below = {room: reachable(graph, room) for room in graph}

    @functools.cache
    def height(room: str) -> int:
        return 1 + max((height(r) for r in below[room] if room not in below[r]), default=0)

    return max(map(height, graph))


def function_lengths(root: Path = ROOT) -> list[int]:
    """Lines of every function of the packages, signature included, ascending."""
    return sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in sources(root).values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def main(root: Path) -> None:
    """Prints the figures of a checkout."""
    graph, lengths = room_graph(root), function_lengths(root)
    print(f"rooms {len(graph)}, floors {floors(graph)}, arrows {sum(map(len, graph.values()))}")
    print(f"circles {len(circles(graph))}: {'; '.join(' <-> '.join(one) for one in circles(graph)) or 'none'}")
    print(
        f"functions {len(lengths)}: median {statistics.median(lengths):g} lines, "
        f"90 % at most {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}"
    )
    for room in sorted(graph):
        print(f"{room}: {' '.join(sorted(graph[room]))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
