"""Imports a module from outside together with its source, so that the text in a record is the text that ran."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from benchmarks.errors import UsageError
from benchmarks.outside.source import Source, read, read_source

PROJECT = ("algorithms", "benchmarks", "leaderboards", "rlvr_gap", "tests")
"""The project's own packages, which a file beside them does not own. A record names them by commit."""
_roots: dict[str, Path] = {}
"""Top-level name of a module that stands beside a loaded file -> the folder of that file."""


def load_file(path: Path) -> tuple[ModuleType, Source]:
    """Imports a file by its path. UsageError if it cannot be read, or raises on import.

    It may import modules that stand beside it, as a script may. The same text is imported only once in a process.
    """
    path = path.resolve()
    root = path.parent
    source = read_source(path, root, lambda name: _stands_in(name, root))
    name = f"rlvr_gap_outside_{source.sha256[:16]}_{path.stem}"
    module = sys.modules.get(name)
    if module is None or getattr(module, "__file__", None) != str(path):
        module = _run(name, path, source)
    return module, source


@functools.cache
def load_module(name: str) -> tuple[ModuleType, Source]:
    """Imports a module by its dotted name; the working directory counts as a place to import from.

    Its source is that of its top-level package, as far as it imports it. UsageError if it cannot be imported.
    """
    _append_to_path(Path.cwd())
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"there is no module '{error.name}' to import '{name}' from.") from error
        raise UsageError(f"module {name} raises on import: {one_line(error)}.") from error
    file = Path(module.__file__ or "")
    if file.suffix != ".py":
        raise UsageError(f"module {name} has no source in Python, so no record could say what it does.")
    top = name.partition(".")[0]
    file = file.resolve()
    root = file.parents[len(name.split(".")) - (0 if file.name == "__init__.py" else 1)]
    alone = top == name and file.name != "__init__.py" and "-packages" not in root.name  # of the user's own folder
    return module, read_source(file, root, lambda own: own == top or (alone and _stands_in(own, root)))


def one_line(error: BaseException, path: Path | None = None) -> str:
    """Returns an exception in one line, with the last line of `path` (by default, of any file) that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    passed = [frame for frame in frames if path is None or frame.filename == str(path)]
    where = f" ({'' if path else Path(passed[-1].filename).name + ', '}line {passed[-1].lineno})" if passed else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' * bool(text)}{text.rstrip('.')}{where}"


class _Loader(SourceFileLoader):
    """Compiles the text that is there. Python's cache goes by size and time, and misses a sign changed in a second."""

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder:
    """Imports the modules that stand beside a loaded file with `_Loader` as well."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        root = _roots.get(name.partition(".")[0])
        spec = None if root is None else PathFinder.find_spec(name, path or [*sys.path, str(root)])
        if spec is not None and spec.origin is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.origin)
        return spec


def _run(name: str, path: Path, source: Source) -> ModuleType:
    """Runs the file as the module `name`. Modules of its own that an earlier text imported are imported again."""
    _append_to_path(path.parent)
    own = {_top(file) for file in source.files} - {path.stem}
    for loaded in [key for key in sys.modules if key.partition(".")[0] in own]:
        del sys.modules[loaded]
    _roots.update(dict.fromkeys(own, path.parent))
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    spec = importlib.util.spec_from_loader(name, _Loader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    importlib.invalidate_caches()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[name]
        hint = " (beside a file that is named by its path, import y, not from . import y)"
        relative = hint if "relative import" in str(error) else ""
        raise UsageError(f"{path} raises on import: {one_line(error, path)}{relative}.") from error
    if read(path) != source.files[path.name]:
        raise UsageError(f"{path} changed while it was read: run the command again.")
    return module


def _top(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def _stands_in(name: str, root: Path) -> bool:
    """Whether `import name` in a file of the folder `root` means a module in that folder."""
    if name in PROJECT or name in sys.stdlib_module_names or not _is_module(name, root):
        return False
    if _roots.get(name, root) != root:
        raise UsageError(
            f"'{name}' stands in {root} and in {_roots[name]}: one command cannot import both, rename one."
        )
    return _in(PathFinder.find_spec(name, [*sys.path, str(root)]), root)


def _is_module(name: str, root: Path) -> bool:
    return (root / f"{name}.py").is_file() or (root / name).is_dir()


def _in(spec: ModuleSpec | None, root: Path) -> bool:
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    return any(root in Path(place).resolve().parents for place in places if place and place != "namespace")


def _append_to_path(folder: Path) -> None:
    """Lets Python import from the folder. It comes last, so that nothing in it hides a module that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
