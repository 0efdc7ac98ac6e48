"""A sweep on a real SLURM of one node: its jobs share a study, are preempted, and end when the study is complete."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.records.study import StudySummary
from benchmarks.sweeps.summary import summarise
from tests.slurm.lab import Lab
from tests.sweeps.tiny import SWEEP

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def home(lab: Lab) -> Path:
    (found,) = (lab.runs / "sweeps").glob("grpo-*/study.json")
    return found.parent


def check(lab: Lab) -> StudySummary:
    """All trials have ended, each of them is one row of the study, and all fresh seeds were run."""
    summary = summarise(home(lab))
    ended = Counter(trial.state for trial in summary.trials)
    assert sum(ended.values()) == SWEEP["trials"] == ended["complete"] + ended["pruned"], ended
    assert summary.default is not None and len(summary.default.repeats) == SWEEP["repeats"]
    assert len(summary.finalists) == SWEEP["finalists"] and summary.selected is not None
    return summary


def logs(lab: Lab) -> str:
    return "\n".join(path.read_text() for path in sorted((lab.runs / "sweeps" / "logs").glob("*.log")))


def test_jobs_share_a_study_and_no_more_of_them_run_than_may(cluster, tmp_path):
    lab = Lab(tmp_path, cluster, {"sweep": SWEEP}, array_limit=1)
    sweep = ("sweep", "--algo", "grpo", "--storage", "journal", "--jobs", "3")
    planned = lab.submit(*sweep, "--dry-run")
    said, wrong = planned.communicate()
    assert planned.returncode == 0 and "3 workers (slurm)" in said and "array_parallelism=1" in said, wrong
    assert not lab.queue() and not lab.runs.exists(), "nothing was submitted"
    people = [lab.submit(*sweep) for _ in range(2)]
    told = ["".join(process.communicate()) for process in people]
    assert [process.returncode for process in people] == [0, 0], told
    running: list[Counter[str]] = []

    def all_have_ended() -> bool:
        jobs = [row.split() for row in lab.queue()]
        running.append(Counter(job.partition("_")[0] for job, state in jobs if state == "RUNNING"))
        return not jobs

    lab.wait("jobs that end by themselves", all_have_ended)
    assert max(count for arrays in running for count in arrays.values()) == 1, "one job of each array at a time"
    assert max(len(arrays) for arrays in running) == 2, "the two people's workers ran side by side"
    check(lab)
    assert logs(lab).count("$ rlvr-gap sweep-worker") == 6 and "Traceback" not in logs(lab), logs(lab)


def test_a_preempted_trial_goes_on_from_its_step(cluster, tmp_path):
    settings = SWEEP | {"trials": 1, "random_trials": 1, "rungs": [], "tokens": 6000}
    lab = Lab(tmp_path, cluster, {"sweep": settings, "training.save_every_steps": 1000})
    process = lab.submit("sweep", "--algo", "grpo", "--storage", "journal", "--jobs", "1")
    assert process.wait() == 0, process.communicate()
    train = home(lab) / "trials" / "trial-0000" / "train"
    log = train / "log.jsonl"
    lab.wait("two steps of the trial", lambda: log.exists() and len(log.read_text().splitlines()) >= 2)
    lab.say("sbatch", "-p", "high", "--exclusive", "-o", tmp_path / "high.out", "--wrap", "sleep 3")
    lab.wait("an empty queue", lambda: not lab.queue())
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1)), "every step once"
    summary = summarise(home(lab))
    (trial,) = summary.trials
    assert (trial.state, trial.steps) == ("complete", len(steps))
    assert logs(lab).count("$ rlvr-gap sweep-worker") == 2, "the job was queued again"
    first, second = (one.user_attrs for one in attempts(lab))
    assert first["reason"] == "interrupted" and second["folder"] == first["folder"]


def attempts(lab: Lab):
    import optuna

    from benchmarks.sweeps.storage import open_storage
    from benchmarks.sweeps.study_files import read_asked

    storage = open_storage("journal", home(lab))
    return optuna.load_study(study_name=read_asked(home(lab)).study, storage=storage).get_trials()
