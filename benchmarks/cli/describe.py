"""Says in a line what is listed, read off the source: nothing is imported, so that listing needs no torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.outside import Kind, offers


def first_sentence(text: str) -> str:
    """Returns the first sentence of a docstring or description, in one line and without its full stop."""
    return re.split(r"(?<!\bal)(?<!\bDr)\.(?=\s|$)", " ".join(text.split()), maxsplit=1)[0]


def classes(table: Mapping[str, str]) -> dict[str, str]:
    """Name -> what the docstring of its class says; `table`: name -> "module:Class"."""
    return {name: _class(*value.partition(":")[::2]) for name, value in table.items()}


def modules(table: Mapping[str, str]) -> dict[str, str]:
    """Name -> what the docstring of its module says."""
    return {
        name: first_sentence(ast.get_docstring(_tree(value.partition(":")[0])) or "") for name, value in table.items()
    }


def offered(kind: Kind) -> dict[str, str]:
    """Name -> which package offers it. A built-in one hides it if it has the same name."""
    described = {}
    for offer in offers(kind):
        hidden = offer.name in kind.table
        name = f"({offer.name})" if hidden else offer.name
        described[name] = f"offered by {offer.package}: {offer.value}{', hidden by the built-in one' if hidden else ''}"
    return described


def _class(module: str, name: str) -> str:
    found = (node for node in _tree(module).body if isinstance(node, ast.ClassDef) and node.name == name)
    return next((first_sentence(ast.get_docstring(node) or "") for node in found), "")


@functools.cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
