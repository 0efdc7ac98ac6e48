"""Resources of a cluster's jobs: from a suite, from a file, and as SLURM gets them."""

from __future__ import annotations

import pytest

from benchmarks.errors import UsageError
from benchmarks.launchers.resources import Resources, load
from benchmarks.launchers.slurm import parameters


def test_a_file_is_laid_over_the_suite(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("time_min: 30\ngpus: 2\n")
    found = load(path, Resources(partition="gpu", time_min=600))
    assert (found.partition, found.time_min, found.gpus, found.processes) == ("gpu", 30, 2, 2)
    path.write_text("")
    assert load(path, Resources(partition="gpu")) == Resources(partition="gpu")


@pytest.mark.parametrize(
    "text, words",
    [
        ("partitoin: gpu", "unknown key 'partitoin'. Did you mean 'partition'"),
        ("gpus: -1", "gpus: "),
        ("time_min: 1\nsignal_s: 60", "signal_s = 60 is not below the time limit of 60 s"),
        ("sbatch: {job-name: mine}", "sbatch has a job name"),
        ("- 1", "expected keys and values"),
        ("a: [", "is not YAML"),
        ("gpus: 2\ngpus: 4", "'gpus' stands on line 1 and again on line 2"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, text, words):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load(path, Resources())
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_as_slurm_gets_them():
    found = parameters(Resources(gpus=8, nodes=2, memory_gb=900, qos="high", sbatch={"nice": 5}), ["12", "13"])
    assert found["dependency"] == "afterok:12:13" and found["gpus_per_node"] == 8 and found["nodes"] == 2
    assert found["additional_parameters"] == {"requeue": True, "kill-on-invalid-dep": "yes", "nice": 5}
    assert not {"partition", "account", "constraint", "cpus_per_task"} & set(found)
    assert "dependency" not in parameters(Resources())
