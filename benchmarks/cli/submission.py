"""The command `submit`: checked runs for the published leaderboard."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import Failure

RECORDS = Path("leaderboards/records")


def submit(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, the base's first; with --check of submissions.")],
    to: Annotated[Path, typer.Option("--to", help="Where submissions are collected.")] = RECORDS,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the run in place of another of the same cell.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only check runs, or what was submitted; write nothing.")
    ] = False,
) -> None:
    """Check runs, and write what belongs on the leaderboard into a folder for a pull request.

    It reads the record, compares it with its counts, its completions, its training log and its base, and judges a
    random sample of the completions again. docs/submit.md says what is checked and what is written. With --check, it
    also says of each run what share of its verdicts could still be wrong, although all of the sample were right.
    """
    from benchmarks.progress import Progress
    from benchmarks.runs.submission import check as checked
    from benchmarks.runs.submission import submit as write

    found = [folder for path in runs for folder in _runs(path)]
    failed: list[str] = []
    added: list[Path] = []
    with Progress() as progress, progress.stage("check", len(found), "runs") as stage:
        for folder in found:
            try:
                if check:
                    progress.say(f"{folder}: passed. {_bounds(checked(folder).agreed)}")
                else:
                    target, is_new = write(folder, to, replace)
                    progress.say(f"{folder}: {'written to' if is_new else 'is already in'} {target}.")
                    added += [target] if is_new else []
            except Failure as error:
                failed.append(str(error))
            stage.advance(1)
    for line in _for_changelog(added):
        print(f"Say so in leaderboards/CHANGELOG.md: {line}")
    for reason in failed:
        print(f"refused: {reason}", file=sys.stderr)
    if failed:
        raise Failure(f"{len(failed)} of {len(found)} runs were refused.")
    print(f"{len(found)} runs passed.")


def _for_changelog(added: Sequence[Path]) -> list[str]:
    """The items that the changelog needs for what was written."""
    from leaderboards.changelog import missing, of_run

    return missing("", map(of_run, added))


def _bounds(agreed: Mapping[str, int]) -> str:
    """Says what share of the verdicts can be wrong. `agreed`: evaluation -> verdicts that were judged again."""
    from benchmarks.runs.submission import most_wrong

    if not agreed:
        return "It has no completions."
    by_number: dict[int, list[str]] = defaultdict(list)
    for name, number in agreed.items():
        by_number[number].append(name)
    said = []
    for number, names in by_number.items():
        each = " each" if len(names) > 1 else ""
        said.append(
            f"{', '.join(names)}: {number} of {number} verdicts{each} are the same when judged again, so at most "
            f"{100 * most_wrong(number):.1f} % of all are wrong"
        )
    return f"{'; '.join(said)} (95 % confidence)."


def _runs(path: Path) -> list[Path]:
    """The folder itself, or the runs up to two folders below it; bases first, because others are measured from them."""
    from leaderboards.load import find_records

    found = [record.parent for record in find_records(path)]
    found = [folder for folder in found if not folder.name.startswith(".")]  # what another process is about to write
    return sorted(found, key=lambda folder: (not folder.name.startswith("base"), folder)) or [path]
