"""What every engine must do. An engine joins with one class of one line; one that runs a real model with its own.

The statistical tests have a false-alarm rate of 1e-4 each, over seeds; the seed is fixed, so they fail always or never.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter

import numpy as np
import pytest
import scipy.stats

from benchmarks.engines import Chunk, Completion, Engine, get
from benchmarks.settings import Sampling, Stops
from tests.benchmarks.tiny_model import PROMPTS, make_folder

FALSE_ALARM = 1e-4
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(make_folder(tmp_path_factory.mktemp("tiny")))


class EngineConformance:
    """`name`: in `ENGINES`; `settings`: of the engine."""

    name: str
    settings: dict[str, object] = {}

    @pytest.fixture(scope="class")
    def engine(self, folder):
        engine = get(self.name)(folder, None, **self.settings)
        yield engine
        engine.close()

    def test_shapes(self, engine):
        found = engine.sample(Chunk(PROMPTS, 3, 1, "a"), SAMPLING)
        assert [len(row) for row in found] == [3] * len(PROMPTS)
        assert all(isinstance(completion, Completion) for row in found for completion in row)

    @pytest.mark.parametrize("prompts, n", [((), 4), (PROMPTS, 0)])
    def test_empty_chunk(self, engine, prompts, n):
        assert engine.sample(Chunk(prompts, n, 1, "a"), SAMPLING) == [[] for _ in prompts]

    def test_same_seed_same_samples(self, engine):
        chunk = Chunk(PROMPTS, 4, 7, "a")
        first = engine.sample(chunk, SAMPLING)
        engine.sample(Chunk(PROMPTS[:1], 9, 8, "b"), SAMPLING)  # what comes in between does not matter
        assert engine.sample(chunk, SAMPLING) == first

    def test_other_seed_other_samples(self, engine):
        first, second = (engine.sample(Chunk(PROMPTS, 4, seed, "a"), SAMPLING) for seed in (7, 8))
        assert all(a != b for a, b in zip(first, second, strict=True))

    def test_samples_of_a_prompt_are_not_copies(self, engine):
        samples = engine.sample(Chunk((PROMPTS[0], PROMPTS[0]), 16, 3, "a"), SAMPLING)
        assert all(len(set(row)) > 8 for row in samples)
        assert samples[0] != samples[1]

    def test_the_limit_cuts_off(self, engine):
        limit = SAMPLING.model_copy(update={"max_new_tokens": 3})
        found = [c for row in engine.sample(Chunk(PROMPTS, 64, 5, "a"), limit) for c in row]
        assert all(1 <= c.tokens <= 3 for c in found)
        assert all(c.tokens == 3 for c in found if not c.finished)
        assert any(not c.finished for c in found)

    def test_finished_ones_count_their_end(self, engine):
        long = SAMPLING.model_copy(update={"max_new_tokens": 40})
        found = [c for row in engine.sample(Chunk(PROMPTS, 64, 5, "a"), long) for c in row if c.finished]
        assert found
        # one token is one character, the end has none, and a box is one token; special tokens leave no text
        assert all(c.tokens >= len(c.text.replace("\\boxed{", "#")) + 1 for c in found)


STOPPING = SAMPLING.model_copy(
    update={"max_new_tokens": 30, "stops": Stops(before=("=7", "<pad>", "7)\n"), after=(":7", "(("))}
)
"""Over two and three tokens, at a special token, and both kinds."""


class ModelEngineConformance(EngineConformance):
    """For engines that sample from the checkpoint they are given."""

    def test_stops_end_completions_where_the_text_says(self, engine):
        """By the definition: the first token with which the text holds a stop is the last one, and it counts.

        One token is one character, or a box, or a special token.
        """
        found = [c for row in engine.sample(Chunk(PROMPTS, 100, 5, "a"), STOPPING) for c in row]
        stopped = [c for c in found if c.cut is not None]
        assert len(stopped) > 50 and len(found) - len(stopped) > 50
        for c in found:
            raw = c.text if c.raw is None else c.raw
            pieces = re.findall(r"<[a-z]+>|\\boxed\{|.", raw, re.DOTALL)
            held = [
                any(stop in "".join(pieces[: t + 1]) for stop in STOPPING.stops.strings) for t in range(len(pieces))
            ]
            assert held == [False] * (len(pieces) - (c.cut is not None)) + [True] * (c.cut is not None)
            if c.cut is not None:
                assert (c.tokens, c.finished) == (len(pieces), True)
            ended = next((stop for stop in STOPPING.stops.strings if raw.endswith(stop)), "")
            read = raw.removesuffix(ended) if ended in STOPPING.stops.before else raw
            assert c.text == re.sub("<pad>|<unk>", "", read)
        assert {stop for c in stopped for stop in STOPPING.stops.strings if c.raw.endswith(stop)} == {
            *STOPPING.stops.strings
        }

    def test_stops_are_met_by_the_same_token_in_every_engine(self, engine, folder):
        """Greedy: what one engine reads is what the definition makes of the other's completions without stops."""
        greedy = SAMPLING.model_copy(update={"top_k": 1, "max_new_tokens": 30})
        plain = [row[0] for row in get("transformers")(folder).sample(Chunk(PROMPTS, 1, 5, "a"), greedy)]
        for stops in (Stops(before=(")7",)), Stops(after=("7\n7",)), Stops(before=("<unk>",)), Stops(before=("77",))):
            asked = greedy.model_copy(update={"stops": stops})
            found = [row[0] for row in engine.sample(Chunk(PROMPTS, 1, 5, "a"), asked)]
            for c, whole in zip(found, plain, strict=True):
                everything = whole.text if whole.raw is None else whole.raw
                cut = stops.find(everything)
                assert (c.cut, c.finished) == (cut, cut is not None)
                raw = everything if cut is None else everything[: everything.find(stops.strings[0])] + stops.strings[0]
                assert (c.text if c.raw is None else c.raw) == raw

    @pytest.mark.parametrize(
        "temperature, top_p, top_k", [(1.0, 1.0, 0), (0.7, 1.0, 0), (1.3, 0.8, 0), (1.0, 1.0, 5), (0.8, 0.9, 7)]
    )
    def test_next_tokens_have_the_models_distribution(self, engine, folder, temperature, top_p, top_k):
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_new_tokens=1)
        samples = engine.sample(Chunk(PROMPTS, 2000, 11, "a"), sampling)
        for prompt, row in zip(PROMPTS, samples, strict=True):
            expected = _shares(folder, prompt, temperature, top_p, top_k)
            assert _p_value(Counter(map(_outcome, row)), expected) > FALSE_ALARM

    def test_the_test_can_fail(self, engine, folder):
        """The same frequencies against another temperature's distribution."""
        samples = engine.sample(Chunk(PROMPTS[:1], 2000, 11, "a"), SAMPLING.model_copy(update={"max_new_tokens": 1}))
        assert _p_value(Counter(map(_outcome, samples[0])), _shares(folder, PROMPTS[0], 1.3, 1.0, 0)) < FALSE_ALARM


def _outcome(completion: Completion) -> str:
    """What can be told of one token: its text, or its end, or that it is another special one."""
    return "end" if completion.finished else completion.text or "special"


def _shares(folder: str, prompt: str, temperature: float, top_p: float, top_k: int) -> dict[str, float]:
    """Outcome -> probability, from the model's logits, by the textbook definitions of the three settings."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(folder)
        logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].double().numpy() / temperature
    if top_k:
        logits[np.argsort(-logits)[top_k:]] = -np.inf
    p = np.exp(logits - logits.max())
    p /= p.sum()
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0  # the smallest set of the likeliest tokens whose sum reaches top_p
    names = [tokenizer.decode([i]) for i in range(len(p))]
    shares: Counter[str] = Counter()
    for i, share in enumerate(p / p.sum()):
        special = i in tokenizer.all_special_ids
        shares["end" if i == tokenizer.eos_token_id else "special" if special else names[i]] += share
    return dict(shares)


def _p_value(seen: Counter[str], expected: dict[str, float]) -> float:
    """Chi-square of the counts; outcomes that are expected less than five times are taken together."""
    n = sum(seen.values())
    impossible = [name for name in seen if expected.get(name, 0) == 0]
    if impossible:
        return 0.0
    common = [name for name, share in expected.items() if share * n >= 5]
    pairs = [(seen[name], expected[name] * n) for name in common]
    rest = (n - sum(count for count, _ in pairs), n - sum(share for _, share in pairs))
    observed, wanted = np.array([*pairs, rest] if rest[1] > 1e-9 * n else pairs).T
    return float(scipy.stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue)


class TestScripted(EngineConformance):
    name = "scripted"


class TestTransformers(ModelEngineConformance):
    name = "transformers"


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed here: make test-vllm")
class TestVllm(ModelEngineConformance):
    name = "vllm"
    settings = {"enforce_eager": True, "gpu_memory_utilization": 0.3, "dtype": "float32"}


def test_every_engine_is_here():
    from benchmarks.engines import ENGINES

    tested = {c.name for c in (TestScripted, TestTransformers, TestVllm)}
    assert tested == set(ENGINES)


def test_unknown_engines_are_named():
    with pytest.raises(ValueError, match=r"unknown engine 'transformer'.*Did you mean 'transformers'"):
        get("transformer")


def test_engines_state_their_version():
    assert isinstance(get("scripted")(), Engine)
    assert get("scripted")().description == "scripted 1"
