"""The files that `rlvr-gap new-algorithm`, `new-task` and `new-verifier` write to start from."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from benchmarks.errors import Failure, UsageError

TEMPLATES = Path(__file__).parent / "templates"


def write_template(kind: str, name: str, folder: Path) -> Path:
    """Writes NAME.py into `folder` and returns its path. The name may be given with its .py.

    UsageError for a name that cannot be a module, and for a file that is there already: nothing is overwritten.
    """
    name = name.removesuffix(".py")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name) or keyword.iskeyword(name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or f"my_{kind}"
        raise UsageError(f"'{name}' cannot be the name of a file in Python: expected small letters, such as {near}.")
    made_by = "".join(part.capitalize() for part in name.split("_"))
    text = (TEMPLATES / f"{kind}.py.txt").read_text(encoding="utf-8")
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(Template(text).substitute(NAME=name, CLASS=made_by))
    except FileExistsError as error:
        raise UsageError(f"{path} exists already: choose another name, or remove it.") from error
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}.") from error
    return path
