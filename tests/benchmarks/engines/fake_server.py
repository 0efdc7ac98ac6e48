"""A completions server in a thread, on the loopback address, that can fail, stall, lie and be restarted."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Faults = Callable[[int, dict[str, Any]], Any]
END = 1
"""The end of sequence of the tiny model."""


class FakeServer:
    """Answers with random tokens, and with an end after each token with a chance of one in eight.

    `faults`: called with the number of the request, from 0, and its body; what it returns is done instead of an answer:
    an HTTP status, "drop" (close the connection), "stall" (wait until `release` is set), or changes of the answer.
    """

    def __init__(
        self, model: str, root: str = "", faults: Callable[[int, dict], Any] = lambda number, body: None
    ) -> None:
        self.model, self.root, self.faults = model, root, faults
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.release = threading.Event()
        self._at_once, self._lock, self._port = 0, threading.Lock(), 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Starts to listen, after `stop` at the same address."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """An answer in vLLM's form."""
        choices = []
        for index in range(body["n"]):
            ids: list[int] = []
            chance = random.Random(str(body["prompt"])) if body["temperature"] == 0 else random
            while len(ids) < body["max_tokens"] and END not in ids:
                ids.append(END if chance.random() < 1 / 8 else chance.randrange(5, 15))
            reason = "stop" if ids[-1] == END else "length"
            choices.append({"index": index, "text": "t", "finish_reason": reason, "token_ids": ids})
        total = sum(len(choice["token_ids"]) for choice in choices)
        return {"model": self.model, "choices": choices[::-1], "usage": {"completion_tokens": total}}

    def stop(self) -> None:
        """Stops to listen."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.stop()


def _handler(outer: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            listed = {"id": outer.model, "root": outer.root, "owned_by": "fake", "max_model_len": 64}
            self.reply(200, {"version": "1"} if self.path == "/version" else {"data": [listed]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with outer._lock:
                number = len(outer.bodies)
                outer.bodies.append(body)
                outer._at_once += 1
                outer.most_at_once = max(outer.most_at_once, outer._at_once)
            try:
                self.answer(outer.faults(number, body), body)
            finally:
                with outer._lock:
                    outer._at_once -= 1

        def answer(self, fault: Any, body: dict[str, Any]) -> None:
            if fault in ("drop", "stall"):
                outer.release.wait(60 if fault == "stall" else 0)
                self.close_connection = True
                self.connection.close()
            else:
                said = {"error": {"message": f"fault {fault}"}} if isinstance(fault, int) else outer.say(body)
                self.reply(fault if isinstance(fault, int) else 200, said | (fault if isinstance(fault, dict) else {}))

        def reply(self, status: int, data: dict[str, Any]) -> None:
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *parts: object) -> None:
            """Nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client is gone
                self.close_connection = True

    return Handler
