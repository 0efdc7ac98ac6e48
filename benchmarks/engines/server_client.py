"""Talks to an OpenAI-compatible completions server: many requests at once, patiently, and always to the same model.

A request that fails for a reason that can pass (no connection, a timeout, HTTP 408, 429 or 5xx, an answer that is cut
off) is sent again after a pause that doubles each time. Only if no request at all has succeeded for `patience_s` does
the client give up. Before it sends a request again, it checks that the server still serves the same model, because a
server that was restarted may not.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

from benchmarks.errors import Failure, UsageError

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_CONNECT_S = 10.0
_CLOSE_S = 5.0


@dataclass(frozen=True)
class Served:
    """A model as `/v1/models` states it."""

    id: str
    root: str
    """What the server loaded it from. Empty if the server does not say."""
    owner: str
    context: int | None
    """The largest number of tokens of a prompt with its completion."""


class _Again(Exception):
    """The request failed for a reason that can pass."""


class CompletionsClient:
    """A client with an event loop in a thread of its own.

    url: of the API, such as http://127.0.0.1:8000/v1. key: sent as a bearer token. in_flight: the most requests at
    once. timeout_s: of one request. patience_s: how long the server may fail before this is an error.
    """

    def __init__(
        self, url: str, key: str | None = None, in_flight: int = 64, timeout_s: float = 3600, patience_s: float = 600
    ) -> None:
        self.url, self.in_flight, self.patience_s = url.rstrip("/"), in_flight, patience_s
        scheme, host = _address(url)
        self._settings: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "timeout": httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s), pool=None),
            "limits": httpx.Limits(max_connections=in_flight + 4),
            "verify": scheme == "https",  # without TLS there is nothing to verify, and certificates take long to load
            "trust_env": host not in ("127.0.0.1", "localhost", "::1"),  # a proxy cannot reach this machine's own
        }
        self._serves: Served | None = None
        self._failing_since: float | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="completions-client", daemon=True)
        self._thread.start()
        self._http, self._slots = self._do(self._open())

    async def _open(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        return httpx.AsyncClient(**self._settings), asyncio.Semaphore(self.in_flight)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # ---------------------------------------------------------------- what is served

    def models(self) -> list[Served]:
        """Returns what the server serves. Waits for a server that is starting. Failure if none comes."""
        found: list[Served] = self._do(self._patiently(self._models))
        return found

    def insist_on(self, served: Served) -> None:
        """Raises Failure from now on if, after a failed request, the server no longer serves this."""
        self._serves = served

    def version(self) -> str | None:
        """Returns the server's version, where it has vLLM's way of stating it."""
        try:
            response = self._do(self._http.get(f"{self.url.removesuffix('/v1')}/version", timeout=_CONNECT_S))
            return str(response.json()["version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    async def _models(self) -> list[Served]:
        answer = await self._answer(self._http.get(f"{self.url}/models", timeout=_CONNECT_S))
        try:
            return [
                Served(str(m["id"]), str(m.get("root") or ""), str(m.get("owned_by") or ""), m.get("max_model_len"))
                for m in answer["data"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise Failure(f"{self.url}/models does not list models: is it an OpenAI-compatible server?") from error

    async def _check_model(self) -> None:
        if self._serves is None:
            return
        there = await self._models()
        if self._serves not in there:
            names = ", ".join(model.id for model in there)
            raise Failure(f"{self.url} serves another model now ({names}) than it did before ({self._serves.id}).")

    # ---------------------------------------------------------------- completions

    def complete(self, body: dict[str, Any], done: Callable[[Future[Any]], None]) -> None:
        """Sends a request. `done` is called in the client's thread with the answer or with a Failure or UsageError."""
        asyncio.run_coroutine_threadsafe(self._complete(body), self._loop).add_done_callback(done)

    async def _complete(self, body: dict[str, Any]) -> Any:
        async with self._slots:
            return await self._patiently(lambda: self._answer(self._http.post(f"{self.url}/completions", json=body)))

    async def _patiently(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        for tries in itertools.count():
            try:
                if tries:
                    await self._check_model()
                answer = await attempt()
            except (_Again, httpx.RequestError) as error:
                self._give_up_late(error)
                pause = min(_FIRST_PAUSE_S * 2.0 ** min(tries, 30), _LONGEST_PAUSE_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # not all at once on a server that comes back
            else:
                self._failing_since = None
                return answer
        raise AssertionError("endless")

    def _give_up_late(self, error: Exception) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= self.patience_s:
            raise Failure(
                f"{self.url} has not answered for {self.patience_s:g} s: {str(error) or type(error).__name__}."
            ) from error

    async def _answer(self, request: Coroutine[Any, Any, httpx.Response]) -> Any:
        """Returns the JSON of a response. Raises `_Again` if it may yet come, and UsageError if it is refused."""
        response = await request
        if response.status_code in _PASSING:
            raise _Again(f"HTTP {response.status_code}: {_message(response)}")
        if response.is_error:
            raise UsageError(f"{self.url} refused a request (HTTP {response.status_code}): {_message(response)}.")
        try:
            return response.json()
        except ValueError as error:
            raise _Again(f"an answer is not JSON ({error})") from error

    def close(self) -> None:
        """Drops all requests, which a server then stops working on, and ends the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._drop(), self._loop)
            self._thread.join(_CLOSE_S)
        if not self._thread.is_alive() and not self._loop.is_closed():
            self._loop.close()

    async def _drop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()
        self._loop.call_soon(self._loop.stop)


def _address(url: str) -> tuple[str, str]:
    """Returns the address's scheme and host. UsageError if it is no address of a server."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"url '{url}' is not an address: expected one like http://127.0.0.1:8000/v1.")
    return parts.scheme, parts.hostname


def _message(response: httpx.Response) -> str:
    """Returns one line of what the server said."""
    try:
        data = response.json()
        found = data.get("message") or data["error"]["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        found = response.text
    return " ".join(str(found).split())[:300].rstrip(".") or "no message"
