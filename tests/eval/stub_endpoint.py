"""A chat endpoint on this machine that answers as it is told, and a clock, for tests of the judge."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One HTTP response; ``hang`` keeps the connection open without a byte until the stub is closed."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    hang: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; ``headers`` in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def material(self) -> dict[str, str]:
        """The request and the answer that are to be graded."""
        return json.loads(self.body["messages"][1]["content"])


def says(text: str | None, finish: str = "stop", refusal: str | None = None) -> Answer:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}
    return Answer(json.dumps(body))


def grades(score: Any, reason: str = "because") -> Answer:
    """A reply as the rubric asks for it."""
    return says(json.dumps({"reason": reason, "score": score}))


def fails(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **error: Any) -> Answer:
    """An error in the shape that OpenAI's endpoint gives it."""
    return Answer(json.dumps({"error": {"message": message, **error}}), status, headers or {})


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class StubEndpoint:
    """Serves ``answers`` in turn, the last one for ever, or what ``answers`` makes of each request.

    A context manager; ``url`` is the base address, ``seen`` what arrived.
    """

    def __init__(self, answers: Sequence[Answer] | Callable[[Seen], Answer]) -> None:
        self.answers = answers
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                stub.respond(self, Seen(self.path, headers, body))

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def respond(self, handler: BaseHTTPRequestHandler, seen: Seen) -> None:
        """Record a request and answer it."""
        with self._lock:
            self.seen.append(seen)
            turn = len(self.seen)
        answer = self.answers(seen) if callable(self.answers) else self.answers[min(turn, len(self.answers)) - 1]
        if answer.hang:
            self.closing.wait(30)
            return
        data = answer.body.encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Type": answer.kind, "Content-Length": str(len(data)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def __enter__(self) -> StubEndpoint:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
