"""The vLLM engine beyond the conformance of all engines (tests/conformance): seeds, ends, limits, adapters, workers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.engines import Chunk, Completion, get
from benchmarks.engines.base import encode
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.plan import PlannedChunk, Question, plan_round
from benchmarks.settings import Sampling
from benchmarks.statistics.passk import SequentialDesign
from benchmarks.tasks import Problem
from tests.benchmarks.tiny_model import CONTEXT, PROMPTS, make_folder
from tests.vllm.common import SETTINGS, needs_vllm

pytestmark = needs_vllm
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=30)
HOT = SAMPLING.model_copy(update={"temperature": 2.0})
GREEDY = SAMPLING.model_copy(update={"top_k": 1})
DESIGN = SequentialDesign((16, 32, 64), stop_after=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A folder of its own, to be changed."""
    return shutil.copytree(folder, tmp_path / "model")


@pytest.fixture(scope="module")
def engine(folder):
    engine = make(folder)
    yield engine
    engine.close()


def make(folder: Path, **settings: object):
    return get("vllm")(str(folder), None, **{**SETTINGS, **settings})


def sampled_once(folder: Path, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
    """By an engine that is made for it and closed again."""
    engine = make(folder)
    try:
        return engine.sample(chunk, sampling)
    finally:
        engine.close()


# ------------------------------------------------------------------------------------------------ seeds


def planned() -> list[PlannedChunk]:
    """All rounds of four problems that have the same prompt, in chunks of two problems or less."""
    problems = [Problem(f"p{i}", PROMPTS[0], "24", {}) for i in range(4)]
    question = Question(
        dataset="test", model="m", problems="h", n_problems=4, task_version=1, verifier="countdown",
        task_revision=None, verifier_version=1, prompt_template="raw", prompts="p", chat=False, sampling={},
        design=DESIGN.to_json(), seed=0, engine="vllm", engine_version="1", precision="float32", rows_per_batch=32,
    )  # fmt: skip
    return [chunk for number in range(3) for chunk in plan_round(question, problems, number, DESIGN)]


def test_no_two_samples_repeat_across_prompts_chunks_and_rounds(engine):
    """So hot that all tokens are about equally likely: two alike of 15 tokens or more are one in 10**15 or so."""
    chunks = [p.chunk for p in planned()]
    assert len(chunks) > 6
    texts = [c.text for chunk in chunks for row in engine.sample(chunk, HOT) for c in row if c.tokens >= 15]
    assert len(texts) > 100
    assert len(set(texts)) == len(texts)


def test_seeds_of_all_requests_are_apart(engine):
    """vLLM seeds sample i of a request with seed + i: no two requests' ranges meet, in 64 bits or in 32.

    torch's generator on a CPU takes the low 32 bits of a seed.
    """
    requests = [(p.chunk, place) for p in planned() for place in range(len(p.chunk.prompts))]
    seeds = [engine._parameters(chunk, place, SAMPLING).seed + i for chunk, place in requests for i in range(chunk.n)]
    assert len({seed % 2**32 for seed in seeds}) == len(seeds) == 4 * 64


def test_samples_of_a_request_have_consecutive_seeds(engine, monkeypatch):
    """What the docstring of the engine says of vLLM."""
    chunk = Chunk(PROMPTS[:1], 4, 5, "a")
    together = engine.sample(chunk, SAMPLING)[0]
    first = engine._parameters(chunk, 0, SAMPLING).seed
    for i, completion in enumerate(together):
        monkeypatch.setattr("benchmarks.engines.vllm.derive", lambda *parts, seed=first + i: seed << 1)
        assert engine.sample(Chunk(PROMPTS[:1], 1, 5, "a"), SAMPLING) == [[completion]]


# ------------------------------------------------------------------------------------------------ tokens and ends


def test_tokens_and_finish_reasons(engine):
    """One token is one character (a box is one), the end is one more, and what is cut off has all its tokens."""
    found = [c for row in engine.sample(Chunk(PROMPTS, 64, 5, "a"), SAMPLING) for c in row]
    assert {c.finished for c in found} == {True, False}
    pad = 0
    for c in found:
        characters = len(c.text.replace("\\boxed{", "#"))
        pad += c.tokens - characters - c.finished  # sampled padding is a token that leaves no text
        assert characters + c.finished <= c.tokens <= SAMPLING.max_new_tokens
        assert c.finished or c.tokens == SAMPLING.max_new_tokens
    assert pad < 0.1 * sum(c.tokens for c in found)


def test_an_end_at_the_limit_is_an_end(engine):
    one = HOT.model_copy(update={"max_new_tokens": 1})
    found = [c for row in engine.sample(Chunk(PROMPTS, 100, 5, "a"), one) for c in row]
    ended = [c for c in found if c.finished]
    assert ended
    assert {(c.text, c.tokens) for c in ended} == {("", 1)}


def test_every_end_of_the_checkpoint_ends_a_completion(copy):
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 5], "pad_token_id": 0}))
    engine = make(copy)
    found = [c for row in engine.sample(Chunk(PROMPTS, 50, 5, "a"), SAMPLING) for c in row]
    fifth = engine.tokenizer.decode([5])
    engine.close()
    ended = [c for c in found if fifth in c.text]
    assert len(ended) > 10
    assert all(c.finished and c.text.index(fifth) == len(c.text) - 1 for c in ended)


def test_what_the_checkpoint_suggests_does_not_count(engine, tmp_path):
    suggested = make_folder(tmp_path / "m", do_sample=True, top_k=1, repetition_penalty=9.0, temperature=0.1)
    chunk = Chunk(PROMPTS, 8, 5, "a")
    assert sampled_once(suggested, chunk, SAMPLING) == engine.sample(chunk, SAMPLING)


def test_greedy_agrees_with_transformers(engine, folder):
    """With one token to choose from sampling is greedy: texts, token counts and ends are the same to the letter."""
    chunk = Chunk(PROMPTS, 2, 5, "a")
    assert engine.sample(chunk, GREEDY) == get("transformers")(str(folder)).sample(chunk, GREEDY)


def test_float32_is_the_default_on_a_cpu(folder, engine):
    """As in the other engine: vLLM's own default would turn float32 weights into bfloat16."""
    assert engine.llm.llm_engine.model_config.dtype == torch.float32


# ------------------------------------------------------------------------------------------------ the rest


def test_prompts_of_a_chat_template_get_no_second_start(engine, monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "tokenizer", lambda prompt, **settings: asked.append(settings) or {"input_ids": [3]})
    for chat in (False, True):
        encode(engine.tokenizer, Chunk(PROMPTS[:1], 1, 5, "a", chat=chat))
    assert asked == [{"add_special_tokens": True}, {"add_special_tokens": False}]


def test_prompts_that_do_not_fit_are_refused(engine):
    long = SAMPLING.model_copy(update={"max_new_tokens": CONTEXT})
    with pytest.raises(UsageError, match=f"max_new_tokens {CONTEXT} exceed the model's context of {CONTEXT}"):
        engine.sample(Chunk(PROMPTS, 1, 5, "a"), long)
    with pytest.raises(UsageError, match="a prompt is empty"):
        engine.sample(Chunk(("",), 1, 5, "a"), SAMPLING)


def test_what_vllm_does_not_take_is_said(engine):
    with pytest.raises(UsageError, match=r"^vllm cannot sample like this: temperature must be in \[0, 2\], got 3.0"):
        engine.sample(Chunk(PROMPTS, 1, 5, "a"), SAMPLING.model_copy(update={"temperature": 3.0}))


def test_adapters_are_applied(folder, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    adapted.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    chunk = Chunk(PROMPTS, 1, 5, "a")
    merged, plain = (get("transformers")(str(path)).sample(chunk, GREEDY) for path in (tmp_path, folder))
    assert sampled_once(tmp_path, chunk, GREEDY) == merged
    assert merged != plain


def no_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "vllm cannot load '.*model'"


def no_language_model(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["NoSuchModel"], "model_type": "no"}))
    return "vllm cannot load '.*model'"


def half_the_weights(folder: Path) -> str:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return "the weights in '.*model' are damaged"


@pytest.mark.parametrize("change", [no_weights, no_language_model, half_the_weights])
def test_broken_folders_are_named_in_one_line(copy, change):
    message = change(copy)
    with pytest.raises((UsageError, Failure), match=message) as caught:
        make(copy)
    assert "\n" not in str(caught.value)


def test_a_closed_engine_leaves_room_for_another(folder, engine):
    chunk = Chunk(PROMPTS, 4, 5, "a")
    expected = engine.sample(chunk, SAMPLING)
    assert [sampled_once(folder, chunk, SAMPLING) for _ in range(2)] == [expected] * 2


def test_the_process_keeps_its_cores_and_threads(folder):
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    sampled_once(folder, Chunk(PROMPTS, 1, 5, "a"), SAMPLING)
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, threads)


@pytest.mark.slow
def test_workers_do_not_move_a_number(folder, engine):
    """Data parallel: two processes with an engine each give the samples of one."""
    chunks = [Chunk(PROMPTS[i : i + 2], 8, i, f"c{i}") for i in (0, 2)]
    spec = EngineSpec("vllm", str(folder), settings=SETTINGS)
    with EnginePool(spec, workers=2) as pool:
        found = {chunk.key: sampled for chunk, sampled in pool.run(chunks, SAMPLING)}
        assert pool.description == engine.description
    assert found == {chunk.key: engine.sample(chunk, SAMPLING) for chunk in chunks}
