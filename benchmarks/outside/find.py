"""From a name or a reference to a class, and where it comes from."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.errors import UsageError, unknown
from benchmarks.outside.load import load_file, load_module
from benchmarks.outside.source import Source, built_in_code
from benchmarks.registry import lookup

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A name that can also be the name of a folder of runs."""
_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<attribute>\w+))?")


@dataclass(frozen=True)
class Kind:
    """Something of which users may bring their own."""

    name: str
    """In messages: `algorithm`."""
    table: Mapping[str, str]
    """The built-in ones: name -> "module:Class"."""
    base: str
    """The class that all of them inherit from, as "module:Class"."""
    group: str
    """The group of entry points in which installed packages offer theirs."""
    reserved: tuple[str, ...] = ()
    """Names that mean something else where this kind is named."""
    also: tuple[str, ...] = ()
    """Those of them that a command accepts in place of a name of this kind."""
    needs: tuple[str, ...] = ()
    """What a class must say of itself, beside its name."""


@dataclass(frozen=True)
class Found:
    """A class, under its name."""

    name: str
    made_by: type[Any]
    reference: str
    """What finds it again from any working directory: its name, `package.module:Class`, or a whole path."""
    origin: str
    """Where it comes from, for people."""
    source: Source | None = None
    """None for what is built in."""
    folder: Path | None = None
    """The folder of its file, against which references in it are resolved. None for what is built in."""

    @property
    def code(self) -> dict[str, str]:
        """Hashes of the code that it consists of, by file: its own, and that of the built-in classes it inherits from.

        Comments, docstrings and layout do not count.
        """
        built_in = {
            name: digest
            for top in ("algorithms", "benchmarks")
            for name, digest in built_in_code(typing.cast(Hashable, self.made_by), top).items()
        }
        return built_in | ({} if self.source is None else self.source.hashes)


@dataclass(frozen=True)
class Offer:
    """What an installed package offers. Nothing of it is imported yet."""

    name: str
    value: str
    """`package.module:Class`."""
    package: str
    """The distribution with its version."""


def offers(kind: Kind) -> list[Offer]:
    """Returns what installed packages offer, in order of names."""
    found = importlib.metadata.entry_points(group=kind.group)
    named = [
        Offer(one.name, one.value, f"{one.dist.name} {one.dist.version}" if one.dist else "an installed package")
        for one in found
    ]
    return sorted(set(named), key=lambda offer: (offer.name, offer.package))


def is_file(reference: str) -> bool:
    """Whether the reference names a file, with or without a class in it."""
    return _FILE.fullmatch(reference) is not None


def find(kind: Kind, reference: str, folder: Path | None = None) -> Found:
    """Returns the class that a name or a reference means. UsageError if there is none, or not one that can be used.

    A relative path is resolved against `folder`, by default the working directory.
    """
    if reference in kind.table:
        return Found(reference, lookup(kind.table, reference, kind.name), reference, "built in")
    offered = [offer for offer in offers(kind) if offer.name == reference]
    if len(offered) > 1:
        packages = " and ".join(offer.package for offer in offered)
        raise UsageError(f"{kind.name} '{reference}' is offered by {packages}: uninstall one of them.")
    if offered:
        return _offered(kind, offered[0])
    if (match := _FILE.fullmatch(reference)) is not None:
        return _from_file(kind, _path(match["path"], folder or Path.cwd()), match["attribute"])
    if (built_in := next((name for name, value in kind.table.items() if value == reference), None)) is not None:
        return find(kind, built_in)
    if _MODULE.fullmatch(reference):
        return _from_module(kind, reference)
    raise _unknown(kind, reference)


def _unknown(kind: Kind, reference: str) -> UsageError:
    if "/" in reference:
        return UsageError(f"there is no {kind.name} '{reference}': the name of a file ends in .py.")
    error = unknown(kind.name, reference, [*kind.table, *kind.also, *(offer.name for offer in offers(kind))])
    if Path(f"{reference}.py").is_file():
        return UsageError(f"unknown {kind.name} '{reference}'. Did you mean the file '{reference}.py'?")
    return UsageError(f"{error} One of your own is named by its file, my_{kind.name}.py, or as package.module:Class.")


def _path(text: str, folder: Path) -> Path:
    path = (folder / Path(text).expanduser()).absolute()
    if path.is_file():
        return path
    there = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else None
    if there is None:
        raise UsageError(f"there is no file {path}: its folder does not exist.")
    raise UsageError(f"there is no file {path}. {str(unknown('file', path.name, there)).partition('. ')[2]}")


# ------------------------------------------------------------------------------------------------ the three ways


def _from_file(kind: Kind, path: Path, attribute: str | None) -> Found:
    module, source = load_file(path)
    own = _own_classes(kind, module)
    if attribute is None and len(own) != 1:
        if not own:
            base = kind.base.partition(":")[2]
            raise UsageError(f"{path} has no {kind.name}: expected a class that inherits from {base}.")
        choices = ", ".join(f"{path.name}:{name}" for name in own)
        raise UsageError(f"{path} has {len(own)} {kind.name}s, so choose one: {choices}.")
    if attribute is not None and attribute not in own:
        raise unknown(f"{kind.name} of {path}", attribute, own)
    made_by = own[attribute or next(iter(own))]
    return _checked(kind, made_by, f"{path}:{made_by.__name__}", str(path), source, path.parent)


def _from_module(kind: Kind, reference: str, origin: str = "") -> Found:
    name, _, attribute = reference.partition(":")
    module, source = load_module(name)
    made_by = getattr(module, attribute, None)
    if not _fits(kind, made_by):
        raise unknown(f"{kind.name} of module {name}", attribute, _own_classes(kind, module))
    folder = Path(module.__file__ or "").resolve().parent
    return _checked(kind, made_by, reference, origin or f"module {name}", source, folder)


def _offered(kind: Kind, offer: Offer) -> Found:
    if not _MODULE.fullmatch(offer.value):
        raise UsageError(f"{offer.package} offers '{offer.name}' as '{offer.value}': expected package.module:Class.")
    found = _from_module(kind, offer.value, f"package {offer.package}")
    if found.name != offer.name:
        raise UsageError(
            f"{offer.package} offers '{offer.name}', but the name of its class {offer.value} is '{found.name}': "
            "the two must agree."
        )
    return Found(found.name, found.made_by, found.name, found.origin, found.source, found.folder)


def _own_classes(kind: Kind, module: ModuleType) -> dict[str, type[Any]]:
    """Returns the classes of this kind that the module defines itself, by name; not those that it imports."""
    return {
        name: value
        for name, value in vars(module).items()
        if _fits(kind, value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def _fits(kind: Kind, value: object) -> bool:
    module, _, attribute = kind.base.partition(":")
    base = getattr(importlib.import_module(module), attribute)
    return isinstance(value, type) and issubclass(value, base) and value is not base


def _checked(kind: Kind, made_by: Any, reference: str, origin: str, source: Source, folder: Path) -> Found:
    """Refuses a class whose name cannot name a folder or means something else already."""
    name = getattr(made_by, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{made_by.__name__} of {origin} has the name {name!r}: expected letters, digits, '.', '_' and '-', "
            f'such as name = "my_{kind.name}", since folders are called after it.'
        )
    if name in kind.table or name in kind.reserved:
        what = f"is the name of a built-in {kind.name}" if name in kind.table else "has a meaning of its own"
        raise UsageError(f"{made_by.__name__} of {origin} has the name '{name}', which {what}: choose another name.")
    for needed in kind.needs:
        if not hasattr(made_by, needed) and needed not in getattr(made_by, "__dataclass_fields__", ()):
            raise UsageError(f"{made_by.__name__} of {origin} has no {needed}, which every {kind.name} says of itself.")
    return Found(name, made_by, reference, origin, source, folder)
