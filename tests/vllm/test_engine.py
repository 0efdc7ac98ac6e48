"""The vLLM engine beyond the conformance of all engines (tests/conformance): seeds, ends, limits, adapters, workers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks import verifiers
from benchmarks.engines import Chunk, Completion, get
from benchmarks.engines.base import encode
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.dataset_run import DatasetRun
from benchmarks.evaluation.stage import Asked, evaluate_datasets
from benchmarks.seeds import derive
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


# ------------------------------------------------------------------------------------------------ independence


def long_texts(engine, keys: Sequence[str]) -> list[str]:
    """What is sampled for chunks of the same prompt, as far as it is long enough to tell two samples apart."""
    for key in keys:
        engine.submit(Chunk(PROMPTS[:1], 32, 0, key), HOT)
    texts = []
    while engine.in_progress:
        texts += [c.text for _, (row,) in engine.collect() for c in row if c.tokens >= 15]
    return texts


def test_no_two_samples_repeat_across_requests_rounds_and_a_restart(folder):
    """So hot that all 25 tokens are about equally likely: two alike of 15 tokens or more have a chance of 1e-15 or so.

    With fewer than a thousand samples, any two are alike with a chance below 1e-9, which is the false-alarm rate. The
    second engine is that of an evaluation that goes on after a kill: its seed is hashed from what is stored.
    """
    texts = []
    for stored in (0, 192):
        engine = make(folder, seed=derive("stream", "question", stored))
        texts += long_texts(engine, [f"round0-{i}" for i in range(6)])
        texts += long_texts(engine, [f"round1-{i}" for i in range(3)])
        engine.close()
    assert len(texts) > 200
    assert len(set(texts)) == len(texts)


def test_the_same_seed_repeats_the_stream(folder):
    """So the test above can fail: engines of the same seed that get the same requests do repeat samples."""
    streams = []
    for _ in range(2):
        engine = make(folder, seed=3)
        streams.append(long_texts(engine, ["a", "b"]))
        engine.close()
    assert streams[0] == streams[1]


def test_the_process_keeps_its_generators(engine):
    """Neither does the engine disturb the process's random numbers, nor the process the engine's."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    found = []
    for key in ("a", "b"):
        torch.manual_seed(5)
        found.append(long_texts(engine, [key]))
        assert torch.equal(torch.rand(3), expected)
    assert not set(found[0]) & set(found[1])


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


def test_what_the_checkpoint_suggests_does_not_count(folder, tmp_path):
    suggested = make_folder(tmp_path / "m", do_sample=True, top_k=1, repetition_penalty=9.0, temperature=0.1)
    chunk = Chunk(PROMPTS, 8, 5, "a")
    assert sampled_once(suggested, chunk, SAMPLING) == sampled_once(folder, chunk, SAMPLING)


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


def test_a_closed_engine_leaves_room_for_another(folder):
    chunk = Chunk(PROMPTS, 4, 5, "a")
    first, second = (sampled_once(folder, chunk, SAMPLING) for _ in range(2))
    assert first == second, "each is seeded alike"


def test_the_process_keeps_its_cores_and_threads(folder):
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    sampled_once(folder, Chunk(PROMPTS, 1, 5, "a"), SAMPLING)
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, threads)


@pytest.mark.slow
def test_workers_draw_from_streams_of_their_own(folder):
    """Data parallel: two processes with an engine each. The false-alarm rate is that of the test of one engine."""
    chunks = [Chunk(PROMPTS[:1], 32, 0, f"c{i}") for i in range(8)]
    with EnginePool(EngineSpec("vllm", str(folder), settings={**SETTINGS, "max_num_seqs": 64}), workers=2) as pool:
        found = {chunk.key: sampled for chunk, sampled in pool.run(chunks, HOT)}
        assert pool.description == "vllm 0.30.0"
        assert len(pool._workers) == 2
    assert found.keys() == {chunk.key for chunk in chunks}
    texts = [c.text for (row,) in found.values() for c in row if c.tokens >= 15]
    assert len(texts) > 60
    assert len(set(texts)) == len(texts)


def test_an_evaluation_that_is_killed_goes_on(folder, tmp_path):
    """All datasets in one stream. What is stored stays, no sample is repeated, and each round is whole."""
    problems = [Problem(f"p{i}", PROMPTS[0], "24", {"numbers": [4, 6]}) for i in range(4)]
    asked = [Asked(name, problems, verifiers.get("countdown"), 1, tmp_path / name) for name in ("test", "ood")]
    settings = {"design": DESIGN, "sampling": HOT, "prompt_template": "raw", "seed": 0}

    def evaluate():
        with EnginePool(EngineSpec("vllm", str(folder), settings=SETTINGS), workers=1) as pool:
            return evaluate_datasets(pool, asked, **settings)

    def keep(run, *parts, original=DatasetRun.keep, left=[9]):  # noqa: B006  the list counts over all runs
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        original(run, *parts)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DatasetRun, "keep", keep)
        evaluate()
    results = evaluate()
    assert set(results[0].counts.n_N) == {64}
    assert 0 < results[0].sampled + results[1].sampled < 8 * 64
    rows = [row for one in asked for row in pq.read_table(one.folder / "completions.parquet").to_pylist()]
    assert sorted((r["problem_id"], r["sample"]) for r in rows) == sorted(
        (f"p{i % 4}", s) for i in range(8) for s in range(64)
    )
    texts = [row["text"] for row in rows if row["tokens"] >= 15]
    assert len(set(texts)) == len(texts) > 100
