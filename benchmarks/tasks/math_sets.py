"""The published sets of mathematical problems, as a table of their sources and the columns that matter.

    benchmarks.tasks.get("math500").load("test")                          # from the hub
    benchmarks.tasks.get("math500", data_dir="~/problems").load("test")   # from a local copy

A local copy is a folder that holds `math500.jsonl` or `math500.parquet` (`gsm8k_train.jsonl` for a split of a set that
has several), or the dataset's folder in the layout of the hub (`MATH-500/`, `HuggingFaceH4/MATH-500/`, or the folder
itself). Without `data_dir` the set is loaded from where it was published, at the commit that its source pins, or at
`revision`. The files are kept in the hub's cache, so that a second use needs no network. `report` says which commit
that was, and its hash over ids and answers also identifies local data.

The published sets are kept as they are. A problem that occurs twice is reported but stays twice, with all copies in the
same split, so that n is the published number. Rows without an answer are left out and reported. Problem ids come from
the problem's text, so they are the same for every source and order.

omni-math-rule has no official split. Its problems are ordered by the content hash; the first 2,000 are "train" and the
other 821 are "test". A task with a "train" split can move `validation_size` of its problems to a split "validation",
again by hash. That is 256 for gsm8k, and 0 for omni-math-rule, whose 2,000 training problems follow the paper.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.errors import Failure, UsageError
from benchmarks.tasks import problem_files as data
from benchmarks.tasks import published
from benchmarks.tasks.base import Problem, Task

logger = logging.getLogger(__name__)


def _as_is(value: Any) -> str:
    return data.as_text(value)


def _after_hashes(value: Any) -> str:
    """Returns the final answer of a worked solution that ends in a line `#### 42`, or "" without such a line."""
    return data.as_text(value).rpartition("####")[2].strip() if "####" in data.as_text(value) else ""


@dataclass(frozen=True)
class Source:
    """Where a set comes from and how its rows are read."""

    parts: Mapping[str, str]
    """Maps our name of each part that is loaded in one piece to the hub's name of that split.

    The first one is the main part: a local file without a split in its name is that part.
    """
    revision: str
    """The commit that is loaded, on the hub or, for a `url`, of its repository."""
    dataset: str | None = None
    """The dataset's id on the hub."""
    config: str | None = None
    url: str | None = None
    """The address of a file with {revision} in it, for sets that are not published on the hub."""
    problem: tuple[str, ...] = ("problem", "question")
    """Possible columns of the problem. The first one that exists is used, because mirrors differ."""
    answer: tuple[str, ...] = ("answer",)
    extract: Callable[[Any], str] = _as_is
    keep: tuple[str, ...] = ()
    """Columns that are kept in `Problem.data` if they exist."""


@dataclass(frozen=True)
class MathSet(Task):
    """A published set. If it cannot be loaded, an error of one line says what to do."""

    VERSION: ClassVar[int] = 1
    verifier: ClassVar[str] = "math"
    splits: ClassVar[tuple[str, ...]] = ("test",)
    source: ClassVar[Source]
    train_rows: ClassVar[int | None] = None
    """How many problems of the only part are "train", if the set has no split of its own."""
    default_validation_size: ClassVar[int] = 0

    data_dir: str | None = None
    """A folder with a local copy. None loads from the hub."""
    revision: str | None = None
    """A branch, tag or commit. None takes the pinned commit. It does not apply to local copies.

    A branch or tag is resolved once, and the commit is remembered in the cache: later runs load the same.
    """
    validation_size: int | None = None
    """How many training problems are set aside as "validation". None takes the set's own default."""
    report: dict[str, data.Report] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Where each loaded part came from, and what was odd about it."""
    _parts: dict[str, list[Problem]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the settings and adds the split "validation" if there is one."""
        if self.data_dir is not None and self.revision is not None:
            raise UsageError(f"task '{self.name}': revision={self.revision!r} is for the hub, not for data_dir")
        size = self._validation_size
        if size < 0 or (size and "train" not in self.splits):
            raise UsageError(f"task '{self.name}': validation_size={size} needs a split 'train': it has {self.splits}")
        if size:
            object.__setattr__(self, "splits", (*self.splits, "validation"))

    @property
    def data_revision(self) -> str | None:
        """The commit that is loaded; None for a local copy. A branch or tag that cannot be resolved: Failure."""
        if self.data_dir is not None:
            return None
        asked, source = self.revision or self.source.revision, self.source
        if published.is_commit(asked):
            return asked
        if source.dataset is None:
            raise UsageError(f"task '{self.name}': revision={asked!r} must be a commit (40 hex digits) of {source.url}")
        return published.resolved_revision(source.dataset, asked)

    @property
    def _validation_size(self) -> int:
        return self.default_validation_size if self.validation_size is None else self.validation_size

    def load(self, split: str) -> list[Problem]:
        """Returns all problems of `split`, always in the same order. Raises ValueError for an unknown split."""
        if split == "validation" and "train" in self.splits and not self._validation_size:
            raise UsageError(
                f"task '{self.name}' has no split 'validation' by itself: validation_size=N takes N from 'train'"
            )
        return super().load(split)

    def _load(self, split: str) -> list[Problem]:
        if split == "test":
            return self._test()
        return _set_aside(self._train(), self._validation_size)[split]

    def _train(self) -> list[Problem]:
        return self._part("train") if self.train_rows is None else _by_hash(self._part("all"))[: self.train_rows]

    def _test(self) -> list[Problem]:
        if self.train_rows is None:
            return self._part("test")
        if len(self._part("all")) <= self.train_rows:
            raise Failure(
                f"task '{self.name}': more than {self.train_rows} problems were expected, found {self.report['all']}"
            )
        known = {data.content_id(problem.prompt) for problem in self._train()}
        rest = _by_hash(self._part("all"))[self.train_rows :]
        return [problem for problem in rest if data.content_id(problem.prompt) not in known]

    def _part(self, part: str) -> list[Problem]:
        """Returns all problems of one part, which is read only once."""
        if part not in self._parts:
            rows, where, revision = self._local(part) if self.data_dir is not None else self._hub(part)
            problems, report = data.build(
                self._entries(rows, where), source=where, revision=revision, keep_duplicates=True
            )
            if not problems:
                raise Failure(f"task '{self.name}': no problem with an answer in {where}")
            odd = report.duplicates or report.empty
            logger.log(logging.WARNING if odd else logging.INFO, "task '%s': %s", self.name, report)
            self.report[part], self._parts[part] = report, problems
        return self._parts[part]

    def _entries(self, rows: Sequence[data.FileRow], where: str) -> list[tuple[str, str, dict[str, Any]]]:
        problem = data.pick_column(rows, self.source.problem, where)
        answer = data.pick_column(rows, self.source.answer, where)
        return [
            (
                data.as_text(row.get(problem)),
                self.source.extract(row.get(answer)),
                {name: row[name] for name in self.source.keep if row.get(name) is not None},
            )
            for row in rows
        ]

    # -------------------------------------------------------------------------------------- local copies

    def _local(self, part: str) -> tuple[list[data.FileRow], str, None]:
        folder = Path(str(self.data_dir)).expanduser()
        if not folder.is_dir():
            raise UsageError(f"task '{self.name}': data_dir='{folder}' is not a folder")
        for file in (folder / name for name in self._file_names(part)):
            if file.is_file():
                return data.read_file(file), str(file), None
        for copy in self._hub_folders(folder):
            if _has_hub_layout(copy, self.source.parts[part]):
                return self._from_hub_layout(copy, part), str(copy), None
        found = ", ".join(data.data_files(folder)) or "nothing"
        raise UsageError(
            f"task '{self.name}': expected {self._file_name(part)} (or .parquet, or the hub's folder) in "
            f"data_dir='{folder}'; found: {found}"
        )

    def _file_name(self, part: str) -> str:
        """Returns the file name of a part that messages suggest."""
        is_main = part == next(iter(self.source.parts))
        return f"{self.name if is_main else f'{self.name}_{part}'}.jsonl".replace("-", "_")

    def _file_names(self, part: str) -> list[str]:
        """Returns file names of a part in order of preference; the main part may also lack the split's name."""
        stems = [f"{self.name}_{part}", f"{self.name}-{part}", f"{self.name}/{part}"]
        if part == next(iter(self.source.parts)):
            stems.append(self.name)
        spellings = dict.fromkeys(spelling for stem in stems for spelling in (stem, stem.replace("-", "_")))
        return [f"{stem}{suffix}" for stem in spellings for suffix in data.SUFFIXES]

    def _hub_folders(self, folder: Path) -> list[Path]:
        names = [self.name, *([self.source.dataset, self.source.dataset.split("/")[1]] if self.source.dataset else [])]
        return [folder / name for name in names] + [folder]

    def _from_hub_layout(self, folder: Path, part: str) -> list[data.FileRow]:
        config, inner = self.source.config, None
        if config and (folder / config).is_dir() and not (folder / "README.md").is_file():
            config, inner = None, config
        return self._load_dataset(str(folder), config, part, inner)

    # ----------------------------------------------------------------------------------------------- hub

    def _hub(self, part: str) -> tuple[list[data.FileRow], str, str | None]:
        revision = str(self.data_revision)
        if self.source.dataset is None:
            url = str(self.source.url).format(revision=revision)
            return self._download(url, revision, part), url, revision
        where = f"{self.source.dataset} on the hub"
        try:
            folder = published.snapshot(self.source.dataset, revision)
        except (OSError, ValueError) as error:  # the hub's own errors are OSErrors, and ValueErrors for wrong names
            raise self._no_data(self.source.dataset, part, error) from error
        return self._from_hub_layout(folder, part), where, revision

    def _load_dataset(self, path: str, config: str | None, part: str, data_dir: str | None) -> list[data.FileRow]:
        import datasets

        try:
            return list(datasets.load_dataset(path, config, split=self.source.parts[part], data_dir=data_dir))
        except Exception as error:  # the library raises dozens of unrelated types: all mean that there is no data
            raise self._no_data(path, part, error) from error

    def _download(self, url: str, revision: str, part: str) -> list[data.FileRow]:
        """Returns the rows of a JSONL file that is not on the hub."""
        try:
            return data.read_file(published.download(url, self.name, revision))
        except (OSError, ValueError) as error:
            raise self._no_data(url, part, error) from error

    def _no_data(self, where: str, part: str, error: Exception) -> Failure:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Failure(
            f"task '{self.name}': '{where}' could not be loaded ({reason}); a local copy is given as "
            f"data_dir=FOLDER, with {self._file_name(part)} in it"
        )


def _has_hub_layout(folder: Path, split: str) -> bool:
    """Tells whether a folder looks like a dataset: it has a card, a data folder, or files named after the split."""
    if not folder.is_dir():
        return False
    if (folder / "data").is_dir() or (folder / "README.md").is_file():
        return True
    return any(path.suffix in data.SUFFIXES for path in folder.rglob(f"{split}*"))


def _by_hash(problems: Sequence[Problem]) -> list[Problem]:
    """Orders problems by the hash of their text, whatever their order in the file. Copies of a text stay together."""
    return sorted(problems, key=lambda problem: problem.problem_id)


def _set_aside(train: Sequence[Problem], size: int) -> dict[str, list[Problem]]:
    """Sets `size` problems aside by a hash that is independent of the ids. The remaining ones keep their order."""
    if size >= len(train):
        raise UsageError(f"validation_size={size} leaves nothing of {len(train)} training problems")
    texts = {data.content_id(problem.prompt) for problem in train}
    chosen = set(sorted(texts, key=lambda key: hashlib.sha256(f"validation:{key}".encode()).hexdigest())[:size])
    parts: dict[str, list[Problem]] = {"train": [], "validation": []}
    for problem in train:
        parts["validation" if data.content_id(problem.prompt) in chosen else "train"].append(problem)
    return parts


# -------------------------------------------------------------------------------------------------- the table


class Math500(MathSet):
    """500 problems of MATH (Hendrycks et al. 2021, 2103.03874), the subset of Lightman et al. (2023, 2305.20050)."""

    name = "math500"
    source = Source(
        dataset="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        parts={"test": "test"},
        keep=("unique_id", "subject", "level"),
    )


class OmniMathRule(MathSet):
    """The 2,821 problems of Omni-MATH (Gao et al. 2024, 2410.07985) whose answers a rule can check."""

    name = "omni-math-rule"
    splits = ("train", "test")
    train_rows = 2_000
    source = Source(
        url="https://raw.githubusercontent.com/KbsdJames/omni-math-rule/{revision}/omni_math_rule.jsonl",
        revision="4793415ef37d31c9cdb4e5b82dbe172f76f8cf08",
        parts={"all": "train"},
        keep=("domain", "difficulty", "source"),
    )


class Aime24(MathSet):
    """The 30 problems of AIME I and II, 2024."""

    name = "aime24"
    source = Source(
        dataset="HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        parts={"test": "train"},
        keep=("id",),
    )


class Gsm8k(MathSet):
    """Grade-school word problems (Cobbe et al. 2021, 2110.14168): 7,473 train, 1,319 test."""

    name = "gsm8k"
    splits = ("train", "test")
    default_validation_size = 256
    source = Source(
        dataset="openai/gsm8k",
        revision="740312add88f781978c0658806c59bc2815b9866",
        config="main",
        parts={"test": "test", "train": "train"},
        problem=("question", "problem"),
        extract=_after_hashes,
    )


class Amc23(MathSet):
    """40 problems of AMC 12, 2023."""

    name = "amc23"
    source = Source(
        dataset="math-ai/amc23",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        parts={"test": "test"},
        problem=("question", "problem"),
        keep=("id",),
    )


class Minerva(MathSet):
    """272 undergraduate problems in science (Lewkowycz et al. 2022, 2206.14858)."""

    name = "minerva"
    source = Source(
        dataset="math-ai/minervamath",
        revision="ee46ddc498933b1977577953250ca5c66be64f96",
        parts={"test": "test"},
        problem=("question", "problem"),
    )


class OlympiadBench(MathSet):
    """The English text-only problems with a final answer of OlympiadBench (He et al. 2024, 2402.14008)."""

    name = "olympiadbench"
    source = Source(
        dataset="math-ai/olympiadbench",
        revision="4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84",
        parts={"test": "test"},
        problem=("question", "problem"),
        answer=("final_answer", "answer"),
        keep=("id", "subfield", "answer_type"),
    )
