"""The source of a class: the text of its file and of its own modules that this file imports.

Imports are read from the text (`ast`), also those inside functions. A module that is imported by a name made at run
time (`importlib.import_module(name)`) is not seen, and neither are data files.

Two texts are the same code if their syntax trees are, without docstrings: comments and layout change no number.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError


@dataclass(frozen=True)
class Source:
    """Some files, as they were when they were read."""

    files: Mapping[str, str]
    """Path relative to the folder that imports start from -> text."""

    @property
    def sha256(self) -> str:
        """64 hex digits over the names and texts of all files."""
        digest = hashlib.sha256()
        for name, text in sorted(self.files.items()):
            digest.update(f"{name}\x1f{_sha256(text)}\x1e".encode())
        return digest.hexdigest()

    @property
    def hashes(self) -> dict[str, str]:
        """Returns 16 hex digits over each file's code, by name."""
        return {name: code_hash(text) for name, text in sorted(self.files.items())}

    def to_json(self) -> dict[str, object]:
        """Returns the hash and all texts, for a record."""
        return {"sha256": self.sha256, "files": dict(sorted(self.files.items()))}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def code_hash(text: str) -> str:
    """Returns 16 hex digits over the code of a text of Python, which are the same in every version of Python."""
    return _sha256(repr(_bare(ast.parse(text))))[:16]


def _bare(node: Any) -> Any:
    """The syntax tree as nested tuples, without positions, docstrings and what is empty.

    Newer versions of Python have fields that older ones lack, which are empty where older code is read.
    """
    if isinstance(node, list):
        return tuple(map(_bare, node))
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    return (type(node).__name__, *((name, _bare(value)) for name, value in fields.items()))


@functools.cache
def built_in_code(made_by: type[Any], top: str) -> Mapping[str, str]:
    """Returns the hashes of the project's own code behind a class and those that it inherits from, by file.

    It is the code of the classes' files, and of the files beside them that these import. `top` is the project's package
    that counts.
    """
    found: dict[str, str] = {}
    for base in made_by.__mro__:
        if base.__module__.partition(".")[0] == top:
            file = Path(inspect.getfile(base)).resolve()
            found |= code_of_room(file, file.parents[base.__module__.count(".")])
    return found


def code_of_room(file: Path, root: Path) -> dict[str, str]:
    """Returns the hashes of a file's code and of what it imports from its own folder, by file.

    Tables of names (`__init__.py`) change no number.
    """
    top, beside = file.relative_to(root).parts[0], file.parent.relative_to(root).as_posix()
    return {
        name: digest
        for name, digest in read_source(file, root, top.__eq__).hashes.items()
        if name.rpartition("/")[0] == beside and not name.endswith("__init__.py")
    }


def read_source(file: Path, root: Path, is_own: Callable[[str], bool]) -> Source:
    """Reads `file` and, transitively, the modules below `root` that it imports.

    `is_own` says whether a top-level name means a module below `root`. Raises UsageError for a file that cannot be read
    or parsed.
    """
    texts: dict[str, str] = {}
    waiting = [file, *_packages_above(file, root)]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name not in texts:
            texts[name] = read(path)
            for module in _imports(_parse(texts[name], path), path, root):
                if is_own(module.partition(".")[0]):
                    waiting += _files_of(module, root)
    return Source(texts)


def read(path: Path) -> str:
    """Returns the text of a file of Python. UsageError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: it is not UTF-8 text.") from error


def _parse(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text, str(path))
    except (SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        message = error.msg if isinstance(error, SyntaxError) else error
        raise UsageError(f"{path} is not valid Python: {message}{line}.") from error


def _packages_above(file: Path, root: Path) -> list[Path]:
    """Returns the `__init__.py` files that Python runs before a module of a package."""
    folders = [folder for folder in file.parents if folder != root and root in folder.parents]
    return [path for folder in folders if (path := folder / "__init__.py").is_file()]


def _imports(tree: ast.Module, path: Path, root: Path) -> Iterator[str]:
    """Returns the dotted names that are imported; of `from a import b` both a and a.b."""
    package = path.relative_to(root).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (name for name in [base, *(f"{base}.{alias.name}" for alias in node.names)] if name)


def _files_of(module: str, root: Path) -> list[Path]:
    """Returns the files that importing a dotted name below `root` runs: its packages and the module itself."""
    parts = module.split(".")
    found = []
    for end in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:end])
        found += [path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()]
    return found
