"""What the documentation says exists: links, make targets, commands and their options, suites, the version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
SUITES = {path.stem for path in (ROOT / "benchmarks" / "suites").glob("*.yaml")}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

FENCED = re.compile(r"^(?P<fence>```+|~~~+)[^\n]*\n(?P<code>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(?P<code>[^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str) -> list[str]:
    """Fenced code, continued lines joined and comments left out."""
    found = (match["code"].replace("\\\n", " ") for match in FENCED.finditer(text))
    return [re.sub(r"(^|\s)#.*", "", block) for block in found]


def code(text: str) -> str:
    """All code of a page, inline too; so that prose may say that something will make sense."""
    return "\n".join([*blocks(text), *(match["code"] for match in INLINE.finditer(FENCED.sub("", text)))])


def prose(text: str) -> str:
    return INLINE.sub("", FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """What a heading is called in an address."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(FENCED.sub("", text)))
    return {heading.replace(" ", "-") for heading in plain}


def commands(text: str) -> list[str]:
    """What follows `rlvr-gap` on the lines of code that run it."""
    lines = (line for block in blocks(text) for line in block.splitlines())
    found = (re.match(r"\s*(?:\$ )?(?:\S*/)?rlvr-gap\s+([^|>&;]+)", line) for line in lines)
    return [match[1].strip() for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in (match["target"] for match in LINK.finditer(prose(read(page)))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # another host's business
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(read(there))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code(read(page)))) <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_suites_exist(page: Path) -> None:
    text = code(read(page))
    named = re.findall(r"(?:SUITE=|--suite[ =])([a-z][\w.-]*)", text) + re.findall(r"\bsuites/([\w.-]+)\.yaml", text)
    assert {name for name in named if not name.endswith((".yaml", ".yml"))} <= SUITES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    wrong = [f"rlvr-gap {line}: {problem}" for line in commands(read(page)) if (problem := misfit(line))]
    assert not wrong


def misfit(line: str) -> str | None:
    """What the command line would not understand in `line`; None where it is as documented."""
    import typer

    from benchmarks.__main__ import app

    root = typer.main.get_command(app)
    name, *_ = line.split()
    known = getattr(root, "commands", {})
    if name not in known and not name.startswith("-"):
        return f"no command '{name}'; there are: {', '.join(sorted(known))}"
    command = known.get(name, root)
    if hasattr(command, "commands"):  # a group, such as sweep
        command = command.commands.get(line.split()[1] if " " in line else "", command)
    options = {"--help"}.union(*(parameter.opts + parameter.secondary_opts for parameter in command.params))
    unknown = sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line)) - options)
    return f"no option {', '.join(unknown)}" if unknown else None


def test_every_command_has_help() -> None:
    import typer
    from typer.testing import CliRunner

    from benchmarks.__main__ import app

    commands = typer.main.get_command(app).commands
    groups = [f"{name} {one}" for name, group in commands.items() for one in getattr(group, "commands", ())]
    for name in ["", *commands, *groups]:
        result = CliRunner().invoke(app, [*name.split(), "--help"])
        assert result.exit_code == 0, f"rlvr-gap {name} --help: {result.output}"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE)) == TARGETS


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title", "authors", "references"} <= citation.keys()


def test_exact_pins_are_the_constraints() -> None:
    """Two files say which trl: they must not drift apart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {pin for pin in wanted if "==" in pin} <= constraints


def test_the_reading_of_pages() -> None:
    text = "# A b: `c`\n\nIt will make sense.\n\n```sh\n$ rlvr-gap gap \\\n --k 4 | head\nmake test  # make all\n```\n"
    assert commands(text) == ["gap   --k 4"]
    assert re.findall(r"\bmake ([a-z]+)", code(text)) == ["test"]
    assert anchors(text) == {"a-b-c"}


def test_the_lock_is_the_constraints() -> None:
    """uv gets what pip gets; torch and the packages of its CUDA build are left to whoever installs."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {_package(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)}
    pinned = (
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
    )
    constraints = {_package(name): version for name, version in pinned}
    assert "torch" not in locked and len(locked) > 50
    assert {name: version for name, version in locked.items() if constraints.get(name, version) != version} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {_package(re.split(r"[^\w-]", one)[0]) for one in project["dependencies"]}
    assert wanted - {"torch"} <= locked.keys(), "run make lock"


def test_the_lock_names_no_registry() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "://" in line or "/" in line or line.startswith("-")] == []


def _package(name: str) -> str:
    """As package registries compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
