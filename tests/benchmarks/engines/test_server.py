"""The server engine against a server that fails, stalls, lies and restarts. tests/vllm has a real one."""

from __future__ import annotations

import itertools
import threading

import pytest

from benchmarks.engines import Chunk
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.engines.server import ServerEngine
from benchmarks.engines.transformers import TransformersEngine
from benchmarks.errors import Failure, UsageError
from benchmarks.settings import Sampling, Stops
from tests.benchmarks.engines.fake_server import FakeServer
from tests.benchmarks.tiny_model import PROMPTS, make_folder

SAMPLING = Sampling(temperature=0.6, top_p=0.95, top_k=0, max_new_tokens=12)
CHUNK = Chunk(PROMPTS[:2], 5, 0, "a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(make_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("benchmarks.engines.server_client._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("benchmarks.engines.server_client._LONGEST_PAUSE_S", 0.05)


def sample(server: FakeServer, folder: str, chunk: Chunk = CHUNK, **settings: object):
    engine = ServerEngine(folder, url=server.url, **{"samples_per_request": 5, **settings})
    try:
        return engine.sample(chunk, SAMPLING)
    finally:
        engine.close()


# ------------------------------------------------------------------------------------------------ what is sent


def test_every_setting_of_the_distribution_is_stated(folder):
    with FakeServer(folder) as server:
        found = sample(server, folder, Chunk(PROMPTS[:1], 5, 0, "a"), samples_per_request=5)
        (body,) = server.bodies
    assert [len(row) for row in found] == [5]
    expected = {
        "model": folder, "n": 5, "max_tokens": 12, "temperature": 0.6, "top_p": 0.95, "top_k": -1, "min_p": 0.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "min_tokens": 0,
        "ignore_eos": False, "stop_token_ids": [1], "stream": False, "echo": False,
    }  # fmt: skip
    assert {name: body[name] for name in expected} == expected
    assert body["prompt"] == TransformersEngine(folder).tokenizer(PROMPTS[0])["input_ids"]


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_stop_ends_a_completion_by_the_common_rule(folder, with_ids):
    """Also where the server tells no ids, or does not stop by itself. One token is one character here."""
    asked = SAMPLING.model_copy(update={"stops": Stops(before=("7",), after=("55",))})
    text = "12355678"
    answer = {"choices": [{"index": 0, "text": text, "finish_reason": "length"}], "usage": {"completion_tokens": 8}}
    if with_ids:
        answer["choices"][0]["token_ids"] = TransformersEngine(folder).tokenizer(text, add_special_tokens=False)[
            "input_ids"
        ]
    with FakeServer(folder, faults=lambda number, body: answer) as server:
        engine = ServerEngine(folder, url=server.url)
        ((found,),) = engine.sample(Chunk(PROMPTS[:1], 1, 0, "a"), asked)
        engine.close()
        assert server.bodies[0]["stop"] == ["7", "55"] and server.bodies[0]["include_stop_str_in_output"] is True
    assert (found.text, found.cut, found.finished) == ("12355", 5, True)
    assert found.tokens == (5 if with_ids else 8)


def test_prompts_as_text(folder):
    with FakeServer(folder) as server:
        sample(server, folder, prompts="text")
        assert {body["prompt"] for body in server.bodies} == set(PROMPTS[:2])


def test_samples_are_split_over_requests_and_put_together_in_order(folder):
    with FakeServer(folder) as server:
        found = sample(server, folder, samples_per_request=2)
        assert sorted(body["n"] for body in server.bodies) == [1, 1, 2, 2, 2, 2]
    assert [len(row) for row in found] == [5, 5]
    assert all(c.tokens == len(c.text) + c.finished for row in found for c in row)


def test_no_two_requests_share_a_seed(folder):
    """Nor do two engines that were seeded otherwise, as before and after a kill. vLLM gives sample i the seed + i."""
    with FakeServer(folder) as server:
        for seed in (0, 1):
            sample(server, folder, samples_per_request=1, seed=seed)
        seeds = sorted(body["seed"] for body in server.bodies)
        assert len(seeds) == 20 and min(b - a for a, b in itertools.pairwise(seeds)) > 256
        sample(server, folder, seeds=False)
        assert "seed" not in server.bodies[-1]


def test_requests_in_flight_are_bounded(folder):
    """Each of the first three waits until three are there, so the bound is reached, and a fourth would be seen."""
    together = threading.Barrier(3)

    def wait(number, body):
        if number < 3:
            together.wait(30)

    with FakeServer(folder, faults=wait) as server:
        sample(server, folder, Chunk(PROMPTS, 4, 0, "a"), requests_in_flight=3, samples_per_request=1)
        assert server.most_at_once == 3


# ------------------------------------------------------------------------------------------------ a server that fails


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", {"choices": None}])
def test_what_can_pass_is_tried_again(folder, fault):
    """All but an answer in another form, which is no accident."""
    with FakeServer(folder, faults=lambda number, body: fault if number in (0, 2, 3) else None) as server:
        if isinstance(fault, dict):
            with pytest.raises(Failure, match="gave an answer without choices"):
                sample(server, folder)
            return
        found = sample(server, folder)
        assert len(server.bodies) == 5
        assert [len(row) for row in found] == [5, 5]
        assert len({str(sorted(body.items())) for body in server.bodies}) == 2, "the same requests, seeds included"


def test_a_stall_is_ended_by_the_timeout(folder):
    with FakeServer(folder, faults=lambda number, body: "stall" if number == 0 else None) as server:
        assert [len(row) for row in sample(server, folder, timeout_s=0.3)] == [5, 5]
        assert len(server.bodies) == 3


def test_a_server_that_never_recovers_is_one_line(folder):
    line = r"has not answered for 0.2 s: HTTP 500: fault 500\.$"
    with FakeServer(folder, faults=lambda *_: 500) as server, pytest.raises(Failure, match=line) as caught:
        sample(server, folder, patience_s=0.2)
    assert "\n" not in str(caught.value)


def test_a_restart_is_waited_for(folder):
    with FakeServer(folder) as server:
        engine = ServerEngine(folder, url=server.url)
        server.stop()
        engine.submit(CHUNK, SAMPLING)
        assert engine.collect() == []
        server.start()
        while not (done := engine.collect()):
            pass
        assert [len(row) for row in done[0][1]] == [5, 5]
        engine.close()


def test_a_restart_with_another_model_is_refused(folder):
    """The server drops the only request, and then serves something else."""
    with FakeServer(folder, faults=lambda number, body: "drop" if number == 0 else None) as server:
        engine = ServerEngine(folder, url=server.url)
        server.model = "another"
        with pytest.raises(Failure, match=r"serves another model now \(another\) than it did before"):
            engine.sample(Chunk(PROMPTS[:1], 1, 0, "a"), SAMPLING)
        engine.close()


def test_a_refusal_is_not_tried_again(folder):
    with FakeServer(folder, faults=lambda number, body: 400) as server:
        with pytest.raises(UsageError, match=r"refused a request \(HTTP 400\): fault 400"):
            sample(server, folder, Chunk(PROMPTS[:1], 1, 0, "a"))
        assert len(server.bodies) == 1


@pytest.mark.parametrize("reason", ["abort", "error", None])
def test_samples_that_neither_stopped_nor_hit_the_limit_are_a_failure(folder, reason):
    choice = {"index": 0, "text": "", "finish_reason": reason, "token_ids": [5]}
    line = f"finish_reason {reason!r}, where 'stop' or 'length' is expected"
    with FakeServer(folder, faults=lambda *_: {"choices": [choice]}) as server, pytest.raises(Failure, match=line):
        sample(server, folder, Chunk(PROMPTS[:1], 1, 0, "a"))


def test_missing_samples_are_never_padded(folder):
    choice = {"index": 0, "text": "", "finish_reason": "stop", "token_ids": [1]}
    line = "gave 1 samples of a prompt where 5 were asked for"
    with FakeServer(folder, faults=lambda *_: {"choices": [choice]}) as server, pytest.raises(Failure, match=line):
        sample(server, folder)


def test_a_server_that_does_not_tell_tokens(folder):
    """It can be asked for one sample at a time: then the total is that of the sample."""

    def plain(number, body):
        choices = [{"index": i, "text": "2+2", "finish_reason": "stop"} for i in range(body["n"])]
        return {"choices": choices, "usage": {"completion_tokens": 4}}

    with FakeServer(folder, faults=plain) as server:
        with pytest.raises(UsageError, match="set samples_per_request to 1"):
            sample(server, folder)
        found = sample(server, folder, samples_per_request=1)
    assert {(c.text, c.tokens, c.finished) for row in found for c in row} == {("2+2", 4, True)}


# ------------------------------------------------------------------------------------------------ which model


def test_the_served_model_must_be_the_one_that_is_asked_for(folder):
    with FakeServer("other") as server:
        with pytest.raises(UsageError, match=f"serves 'other', not '{folder}'"):
            ServerEngine(folder, url=server.url)
        with pytest.raises(UsageError, match=r"unknown model of .* 'othr'\. Did you mean 'other'"):
            ServerEngine(folder, url=server.url, model="othr")
        engine = ServerEngine(folder, url=server.url, model="other")
        assert engine.description == "server fake 1"
        engine.close()
    with FakeServer("name", root=f"{folder}/") as server:
        engine = ServerEngine(folder, url=server.url)
        assert engine.served.id == "name"
        engine.close()


def test_the_identity_is_that_of_the_folder(folder):
    with FakeServer(folder) as server:
        settings = {"url": server.url}
        assert ServerEngine.identify(folder, None, settings) == TransformersEngine.identify(folder, None, {})


def test_a_model_out_of_reach_is_known_by_what_the_server_states(folder):
    """With text alone: there is no tokenizer."""
    with FakeServer("away", root="/there/away") as server:
        settings = {"url": server.url, "prompts": "text"}
        first = ServerEngine.identify("away", None, settings)
        assert first.hash and first.revision is None
        server.root = "/elsewhere/away"
        assert ServerEngine.identify("away", None, settings).hash != first.hash
        with pytest.raises(UsageError):
            ServerEngine.identify("away", None, {"url": server.url})
        engine = ServerEngine("away", **settings)
        assert {c.text for row in engine.sample(CHUNK, SAMPLING) for c in row} == {"t"}
        with pytest.raises(UsageError, match="a chat template needs the model's tokenizer"):
            engine.submit(Chunk(PROMPTS, 1, 0, "a", chat=True), SAMPLING)
        engine.close()


def test_prompts_that_do_not_fit_are_refused_before_they_are_sent(folder):
    with FakeServer(folder) as server:
        engine = ServerEngine(folder, url=server.url)
        with pytest.raises(UsageError, match="exceed the model's context of 64"):
            engine.submit(CHUNK, SAMPLING.model_copy(update={"max_new_tokens": 64}))
        engine.close()
        assert not server.bodies


def test_nobody_there_is_one_line(folder):
    server = FakeServer(folder)
    server.stop()
    with pytest.raises(Failure, match=r"has not answered for 0.1 s") as caught:
        ServerEngine(folder, url=server.url, patience_s=0.1)
    assert "\n" not in str(caught.value)


def test_one_process_is_enough(folder):
    """However many cores there are. Closing it with requests in flight drops them."""
    with FakeServer(folder, faults=lambda number, body: "stall") as server:
        pool = EnginePool(EngineSpec("server", folder, settings={"url": server.url}))
        assert pool.workers == 1 and pool.streams
        pool.submit(CHUNK, SAMPLING)
        assert pool.collect() == []
        pool.close()
        assert pool.outstanding == 0


def test_an_address_that_is_none(folder):
    with pytest.raises(UsageError, match="expected one like http://127"):
        ServerEngine(folder, url="localhost:8000")
