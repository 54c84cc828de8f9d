"""One client, other options for some of its calls."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.errors import BadRequestError, InternalServerError

TASK = {"data": [{"status": "submitted", "task_id": "task_1"}]}
DONE = {"data": {"status": "succeeded", "result": {"images": [{"url": "https://example.com/a.png"}]}}}


class Gateway(BaseHTTPRequestHandler):
    """Answers 503 to the first ``refusals`` purchases and to the first poll."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]
    refusals: int

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        posts = sum(method == "POST" for method, _ in self.note("POST"))
        self.answer(503 if posts <= self.refusals else 200, TASK)

    def do_GET(self) -> None:
        polls = sum(method == "GET" for method, _ in self.note("GET"))
        self.answer(503 if polls == 1 else 200, DONE)

    def note(self, method: str) -> list[tuple[str, dict[str, str]]]:
        self.seen.append((method, {name.lower(): value for name, value in self.headers.items()}))
        return self.seen

    def answer(self, status: int, body: object) -> None:
        data = json.dumps({"error": {"message": "not now", "type": "server_error"}} if status == 503 else body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def gateway():
    handler = type("Handler", (Gateway,), {"seen": [], "refusals": 0})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_extra_headers_go_on_the_calls_of_the_new_client_alone(gateway):
    handler, url = gateway
    with APIMaster("k-1", base_url=url) as client:
        client.with_options(extra_headers={"traceparent": "00-1"}).generate("a cat")
        client.generate("a cat")
    traced = [headers.get("traceparent") for _, headers in handler.seen]
    assert traced == ["00-1", "00-1", "00-1", None, None]
    assert {headers["authorization"] for _, headers in handler.seen} == {"Bearer k-1"}


def test_purchases_are_not_retried_and_polls_still_are(gateway):
    handler, url = gateway
    handler.refusals = 1
    with APIMaster("k-1", base_url=url) as client:
        with pytest.raises(InternalServerError):
            client.with_options(purchase_retries=0).generate("a cat")
        assert len(client.with_options(purchase_retries=0).generate("a cat").images) == 1
    assert [method for method, _ in handler.seen] == ["POST", "POST", "GET", "GET"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Authorization": "Bearer other"}, "can't be set"),
        ({"host": "example.com"}, "can't be set"),
        ({"x-a": "one\r\nx-b: two"}, "not a header"),
        ({"x a": "one"}, "not a header"),
        ({"x-a": "é"}, "not a header"),
    ],
)
def test_a_header_that_may_not_be_set_is_refused(headers, words):
    with APIMaster("k-1") as client, pytest.raises(BadRequestError, match=words):
        client.with_options(extra_headers=headers)


def test_a_negative_number_of_retries_is_refused():
    with pytest.raises(BadRequestError, match="purchase_retries must be a whole number"):
        AsyncAPIMaster("k-1").with_options(purchase_retries=-1)
