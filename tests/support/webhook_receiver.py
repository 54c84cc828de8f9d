"""A receiver of webhooks on loopback: a real server in a thread, whose answers a test chooses."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from apimaster.webhooks import VERIFICATION, WebhookEvent, WebhookVerificationError, parse_webhook


@dataclass
class Received:
    """One request to the receiver."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: object = field(repr=False, default=None)

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON, whoever signed it."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def task_id(self) -> str:
        """The task that the body names."""
        found: str = self.document["data"]["task_id"]
        return found

    def event(self, secret: str | dict[str, str]) -> WebhookEvent:
        """The event, if the signature is right."""
        return parse_webhook(self.body, self.headers, secret)

    def is_genuine(self, secret: str | dict[str, str]) -> bool:
        """Whether the signature and its age are right."""
        try:
            self.event(secret)
        except WebhookVerificationError:
            return False
        return True


class Receiver:
    """Answers challenges, and records deliveries of events.

    Attributes:
        statuses: HTTP statuses of the next answers to events; then 200.
        answer_to: replaces the answer to a challenge: status and body.
        on_event: called in the server's thread before an event is answered.
    """

    def __init__(self, port: int = 0) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.answer_to: Callable[[str], tuple[int, bytes]] = lambda challenge: (
            200,
            json.dumps({"challenge": challenge}).encode(),
        )
        self.on_event: Callable[[Received], None] = lambda received: None
        self.received: list[Received] = []
        self.challenges: list[Received] = []
        self._open: set[socket.socket] = set()
        self._queue: queue.Queue[Received] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                receiver._open.add(self.connection)

            def finish(self) -> None:
                receiver._open.discard(self.connection)
                with contextlib.suppress(OSError):  # the test has ended in the middle of an answer
                    super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received = Received(self.path, dict(self.headers.items()), body, self.connection)
                if received.document["type"] == VERIFICATION:
                    receiver.challenges.append(received)
                    status, answer = receiver.answer_to(received.document["data"]["challenge"])
                else:
                    receiver.on_event(received)
                    receiver.received.append(received)
                    receiver._queue.put(received)
                    status, answer = receiver.statuses.pop(0) if receiver.statuses else 200, b"{}"
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def port(self) -> int:
        """On 127.0.0.1."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """The address to register."""
        return f"http://127.0.0.1:{self.port}/hook"

    def next(self, timeout: float = 10.0) -> Received:
        """The next event that nobody has taken yet; waits for it."""
        return self._queue.get(timeout=timeout)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        for connection in list(self._open):  # nor does it go on with connections that it has
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
