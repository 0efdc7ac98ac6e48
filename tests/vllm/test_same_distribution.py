"""Both engines sample the same distribution from the embedded model, by their success rates problem by problem.

The test is exact: if the engines agree, the samples of a problem are exchangeable between them, so given a problem's
successes in both together those of one are hypergeometric. Its false-alarm rate is at most 1e-4 over seeds; the seeds
are fixed, so it fails always or never. That it can fail is shown beside it, at another temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks import tasks, verifiers
from benchmarks.engines import Chunk, Engine, get
from benchmarks.evaluation.grading import judge
from benchmarks.seeds import derive
from benchmarks.settings import Sampling
from benchmarks.suites.schema import BASE_MODELS
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict
from tests.vllm.common import SETTINGS, needs_vllm
from tests.vllm.two_samples import p_value

pytestmark = [*needs_vllm, pytest.mark.slow]
FALSE_ALARM = 1e-4
PROBLEMS, SAMPLES, AT_ONCE = 20, 256, 4
TEMPERATURE, ANOTHER = 1.0, 1.5
MODEL = str(BASE_MODELS / "countdown")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """Not of the test split: that is for results."""
    return tasks.get("countdown").load("validation")[:PROBLEMS]


@pytest.fixture(scope="module")
def by_transformers(problems) -> list[int]:
    return successes(get("transformers")(MODEL), problems, TEMPERATURE)


@pytest.fixture(scope="module")
def vllm():
    engine = get("vllm")(MODEL, None, **SETTINGS)
    yield engine
    engine.close()


def successes(engine: Engine, problems: Sequence[Problem], temperature: float) -> list[int]:
    """Right completions of each problem, of SAMPLES."""
    sampling = Sampling(temperature=temperature, top_p=1.0, top_k=0, max_new_tokens=96)
    verifier, found = verifiers.get("countdown"), []
    for start in range(0, len(problems), AT_ONCE):
        part = problems[start : start + AT_ONCE]
        seed = derive("the same distribution", engine.name, str(temperature), start)
        rows = engine.sample(Chunk(tuple(p.prompt for p in part), SAMPLES, seed, f"c{start}"), sampling)
        for problem, row in zip(part, rows, strict=True):
            verdicts, _ = judge(verifier, [problem] * len(row), [c.text for c in row], [c.finished for c in row])
            found.append(verdicts.count(Verdict.CORRECT))
    return found


def test_both_engines_succeed_as_often(vllm, problems, by_transformers):
    by_vllm = successes(vllm, problems, TEMPERATURE)
    p = p_value(by_transformers, by_vllm, SAMPLES)
    print(f"p = {p:.4f}; right of {SAMPLES}, transformers and vllm: {by_transformers} {by_vllm}")
    assert sum(0 < count < SAMPLES for count in by_transformers) > PROBLEMS / 2  # there is something to compare
    assert p > FALSE_ALARM


def test_another_temperature_is_noticed(vllm, problems, by_transformers):
    p = p_value(by_transformers, successes(vllm, problems, ANOTHER), SAMPLES)
    print(f"p = {p:.1e} at temperature {ANOTHER}")
    assert p < FALSE_ALARM
