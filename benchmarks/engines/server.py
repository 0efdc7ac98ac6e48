"""Samples from an OpenAI-compatible completions server: `vllm serve`, SGLang, or a router over many nodes.

    rlvr-gap evaluate MODEL --suite SUITE --engine server       # with engine.settings.url in the suite

This is how an evaluation spreads over nodes, by the data parallelism of the serving engines. MODEL is the folder or hub
id of the model that is served. It says what is evaluated: the identity of the evaluation is that of MODEL, as with
every other engine. That the server serves it is checked by name, because a server does not tell what its weights are:
the name or the path that `/v1/models` states must be MODEL, or else the setting `model` must name it.

If MODEL is not within reach here, prompts must be sent as text. The identity then is a hash of the name and the path
that the server states, which cannot tell two models of one name apart.

Each request has a seed by default. It is hashed from the evaluation, what of it is stored, and the request, so a server
that is restarted never repeats a sample. Without (`seeds: false`), vLLM samples a little faster, but the server must
then be started with another `--seed` each time.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.engines.base import (
    Chunk,
    Completion,
    Completions,
    StreamingEngine,
    check_finish_reason,
    check_lengths,
    encode,
)
from benchmarks.engines.identity import ModelRef, identify
from benchmarks.engines.server_client import CompletionsClient, Served
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.files import content_hash
from benchmarks.seeds import derive
from benchmarks.settings import Sampling, Stops
from benchmarks.stops import Reader

URL = "http://127.0.0.1:8000/v1"
TOKENS, TEXT = "tokens", "text"
_LOOK_S = 0.2
"""How long `collect` waits for an answer before it looks what else there is to do."""


@dataclass
class _Open:
    """A chunk in progress, and the samples of each of its prompts by the place of the request."""

    chunk: Chunk
    stops: Stops
    requests: int
    rows: dict[tuple[int, int], list[Completion]] = field(default_factory=dict)

    def completions(self) -> Completions:
        places = range(len(self.chunk.prompts))
        return [
            [c for place, first in sorted(self.rows) if place == i for c in self.rows[place, first]] for i in places
        ]


class ServerEngine(StreamingEngine):
    """Sends prompts to `url`. Every setting of the distribution is stated in every request.

    model: the name to ask for, if the server's name for the model is not MODEL. requests_in_flight: the most requests
    at once; give it as many as all serving engines run side by side. samples_per_request: the `n` of a request. With
    more than one, a request is as long as its longest sample, so fewer samples are in flight. prompts: "tokens" or
    "text". seeds: whether each request has one. timeout_s: of a request. patience_s: how long the server may fail.
    api_key_variable: the environment variable that holds the key.
    """

    name: ClassVar[str] = "server"
    uses_accelerators: ClassVar[bool] = False

    def __init__(
        self,
        model_path: str,
        revision: str | None = None,
        *,
        url: str = URL,
        model: str | None = None,
        requests_in_flight: int = 256,
        samples_per_request: int = 1,
        prompts: str = TOKENS,
        seeds: bool = True,
        timeout_s: float = 3600.0,
        patience_s: float = 600.0,
        api_key_variable: str = "OPENAI_API_KEY",
        seed: int = 0,
    ) -> None:
        if prompts not in (TOKENS, TEXT):
            raise unknown("value of prompts", prompts, (TOKENS, TEXT))
        self.samples_per_request = samples_per_request
        self.prompts, self.seed, self.seeds = prompts, seed, seeds
        self.tokenizer = _tokenizer(model_path, revision, needed=prompts == TOKENS)
        self.end_ids = [] if self.tokenizer is None else _end_ids(model_path, revision, self.tokenizer)
        self.client = CompletionsClient(
            url, os.environ.get(api_key_variable), requests_in_flight, timeout_s, patience_s
        )
        try:
            self.served = find_served(self.client, model_path, model)
        except BaseException:
            self.client.close()
            raise
        self.client.insist_on(self.served)
        self.version = self.client.version()
        self._in_progress = self._asked = 0
        self._answers: queue.SimpleQueue[tuple[_Open, int, int, int, Future[Any]]] = queue.SimpleQueue()
        self._empty: list[tuple[Chunk, Completions]] = []

    @classmethod
    def identify(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> ModelRef:
        """Returns the identity of MODEL, or a hash of what the server states if MODEL is not within reach here."""
        try:
            return identify(model_path, revision)
        except UsageError:
            if settings.get("prompts") != TEXT:
                raise
        client = CompletionsClient(settings.get("url", URL), patience_s=settings.get("patience_s", 600.0))
        try:
            served = find_served(client, model_path, settings.get("model"))
        finally:
            client.close()
        return ModelRef(model_path, revision, content_hash(["served", served.id, served.root]))

    @property
    def description(self) -> str:
        """What serves, with its version if it tells: "server vllm 0.30.0"."""
        return " ".join(filter(None, [self.name, self.served.owner, self.version]))

    @property
    def rows_in_flight(self) -> int:
        """As many as the requests that may be in flight ask for."""
        return self.client.in_flight * self.samples_per_request

    @property
    def unfinished_rows(self) -> int:
        """The samples of all requests that are not answered."""
        return self._asked

    @property
    def in_progress(self) -> int:
        """The number of chunks that are not yet given back."""
        return self._in_progress

    # ---------------------------------------------------------------- requests

    def submit(self, chunk: Chunk, sampling: Sampling) -> None:
        """Takes a chunk as `StreamingEngine.submit` says."""
        prompts = self._prompts(chunk, sampling)
        self._in_progress += 1
        if not chunk.rows:
            self._empty.append((chunk, [[] for _ in chunk.prompts]))
            return
        firsts = range(0, chunk.n, self.samples_per_request)
        progress = _Open(chunk, sampling.stops, len(firsts) * len(prompts))
        for place, prompt in enumerate(prompts):
            for first in firsts:
                n = min(self.samples_per_request, chunk.n - first)
                body = self._body(prompt, n, sampling, derive("server", self.seed, chunk.key, place, first) >> 1)
                self._asked += n
                self.client.complete(body, self._receiver(progress, place, first, n))

    def _receiver(self, progress: _Open, place: int, first: int, n: int) -> Any:
        return lambda future: self._answers.put((progress, place, first, n, future))

    def _prompts(self, chunk: Chunk, sampling: Sampling) -> Sequence[Any]:
        """Returns what is sent for each prompt of the chunk. UsageError if it does not fit."""
        if self.tokenizer is None:
            if chunk.chat:
                raise UsageError("a chat template needs the model's tokenizer, and the model is not within reach here.")
            return chunk.prompts
        ids = encode(self.tokenizer, chunk)
        check_lengths(ids, sampling.max_new_tokens, self.served.context)
        return ids if self.prompts == TOKENS or chunk.chat else chunk.prompts

    def _body(self, prompt: Any, n: int, sampling: Sampling, seed: int) -> dict[str, Any]:
        """States every setting, because a server fills what is open with what the checkpoint suggests."""
        return {
            "model": self.served.id, "prompt": prompt, "n": n, "stream": False, "echo": False,
            "max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False, "skip_special_tokens": False,
            "stop": sampling.stops.strings or None, "include_stop_str_in_output": True,
            "stop_token_ids": self.end_ids, "return_token_ids": True,
            **({"seed": seed} if self.seeds else {}),
        }  # fmt: skip

    # ---------------------------------------------------------------- answers

    def collect(self) -> list[tuple[Chunk, Completions]]:
        """Waits a moment for answers as `StreamingEngine.collect` says."""
        done, self._empty = self._empty, []
        wait = not done
        while True:
            try:
                progress, place, first, n, future = self._answers.get(timeout=_LOOK_S if wait else 0)
            except queue.Empty:
                break
            wait = False
            self._asked -= n
            progress.rows[place, first] = self._completions(future.result(), n, progress.stops)
            if len(progress.rows) == progress.requests:
                done.append((progress.chunk, progress.completions()))
        self._in_progress -= len(done)
        return done

    def _completions(self, answer: Any, n: int, stops: Stops) -> list[Completion]:
        """Returns the samples of one answer in their order. Failure for fewer than n, or for another model's."""
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            if answer.get("model", self.served.id) != self.served.id:
                raise Failure(f"{self.client.url} answered with model '{answer['model']}', not '{self.served.id}'.")
            if len(choices) != n:
                raise Failure(f"{self.client.url} gave {len(choices)} samples of a prompt where {n} were asked for.")
            return [self._completion(choice, answer.get("usage"), n, stops) for choice in choices]
        except (KeyError, TypeError, AttributeError) as error:
            raise Failure(f"{self.client.url} gave an answer without choices, text or finish_reason.") from error

    def _completion(self, choice: Any, usage: Any, n: int, stops: Stops) -> Completion:
        """Reads the ids of a sample, or its text where there are none or no tokenizer is within reach here."""
        check_finish_reason(self.name, choice["finish_reason"])
        finished, ids = choice["finish_reason"] == "stop", choice.get("token_ids")
        if ids is None and (n > 1 or not usage):
            raise UsageError(
                f"{self.client.url} does not tell the tokens of each sample: set samples_per_request to 1."
            )
        if ids is not None and self.tokenizer is not None:
            reader = Reader(self.tokenizer, stops, self.end_ids)
            return Completion.of(reader.read(ids), finished)
        tokens, raw = usage["completion_tokens"] if ids is None else len(ids), choice["text"]
        cut = stops.find(raw)
        return Completion(raw[:cut], tokens, finished or cut is not None, None if cut is None else raw, cut)

    def close(self) -> None:
        """Drops what is in progress; the server stops working on it."""
        self.client.close()


def find_served(client: CompletionsClient, model_path: str, name: str | None) -> Served:
    """Returns the server's entry for the model. UsageError if it serves others only."""
    there = client.models()
    for served in there:
        if served.id == name or (name is None and model_path in (served.id, served.root)):
            return served
    if name is not None:
        raise unknown(f"model of {client.url}", name, [served.id for served in there])
    for served in there:
        if served.root and Path(served.root).expanduser().resolve() == Path(model_path).expanduser().resolve():
            return served
    names = ", ".join(f"'{served.id}'" for served in there) or "nothing"
    raise UsageError(
        f"{client.url} serves {names}, not '{model_path}': if it is the same model, set the engine setting model."
    )


def _end_ids(model_path: str, revision: str | None, tokenizer: Any) -> list[int]:
    from benchmarks.engines.loading import stated_end_ids

    return stated_end_ids(model_path, revision, tokenizer)


def _tokenizer(model_path: str, revision: str | None, needed: bool) -> Any:
    from benchmarks.engines.loading import load_tokenizer

    try:
        return load_tokenizer(model_path, revision)
    except UsageError:
        if needed:
            raise
        return None
