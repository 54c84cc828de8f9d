"""Leased connections, over real sockets: reuse, release, and the meaning of each error.

Each scenario is written once, for the blocking and the asyncio client: ``Both`` gives them one interface. The server is
a thread per connection, so a blocking client may block the event loop that the scenario runs in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from ports import reserve_port

from apimaster._drivers.httpx import _AsyncBody, _SyncBody
from apimaster._transport import (
    build_aiohttp_client,
    build_async_client,
    build_client,
    clients,
    connect,
    shared_ssl_context,
    stream,
)
from apimaster._transport.idle_connections import IdleConnections
from apimaster._transport.lease import AsyncLeaseTransport, LeaseTransport
from apimaster._wire.json_body import StreamedBody

LONG = 20.0  # seconds: no test waits for it, it only ends one that hangs


class Server:
    """Runs ``handler(wire, number of the connection)`` in a thread for each connection to a loopback port."""

    def __init__(self, handler: Callable[[Wire, int], None]) -> None:
        self.handler = handler
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.wires: list[Wire] = []
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire = Wire(self.listener.accept()[0])
                self.wires.append(wire)
                self.threads.append(threading.Thread(target=self.serve, args=(wire, len(self.wires)), daemon=True))
                self.threads[-1].start()

    def serve(self, wire: Wire, number: int) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.handler(wire, number)
        wire.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for wire in list(self.wires):
            wire.close()
        for thread in list(self.threads):
            thread.join(LONG)


class Wire:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(LONG)
        self.rest = b""
        self.ended = threading.Event()

    def request(self, *, body: bool = True) -> tuple[str, dict[str, str]]:
        """The next request: its first line and its headers. Raises EOFError if the client has closed."""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.receive()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        missing = int(headers.get("content-length", 0)) - len(self.rest)
        while body and missing > 0:
            missing -= len(self.receive())
        self.rest = self.rest[:0] if body else self.rest
        return first, headers

    def receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            self.ended.set()
            raise EOFError
        return data

    def answer(self, content: object, *headers: str, status: str = "200 OK", length: int | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def echo(wire: Wire, number: int) -> None:
    """Answers every request with its line, its headers and the number of its connection."""
    count = 0
    while True:
        first, headers = wire.request()
        count += 1
        wire.answer({"connection": number, "request": count, "line": first, "headers": headers}, "set-cookie: a=1")


class Both:
    """One interface for a blocking and an asyncio client."""

    def __init__(self, client: httpx.Client | httpx.AsyncClient) -> None:
        self.client = client

    async def __call__(self, method: str, url: str, *, stream: bool = False, **options: Any) -> httpx.Response:
        options.setdefault("timeout", LONG)
        request = self.client.build_request(method, url, **options)
        if isinstance(self.client, httpx.Client):
            return self.client.send(request, stream=stream)
        return await self.client.send(request, stream=stream)

    async def get(self, url: str, **options: Any) -> httpx.Response:
        return await self("GET", url, **options)

    async def post(self, url: str, **options: Any) -> httpx.Response:
        return await self("POST", url, content=options.pop("content", b"{}"), **options)

    def pieces(self, count: int) -> Pieces | AsyncPieces:
        return Pieces(count) if isinstance(self.client, httpx.Client) else AsyncPieces(count)

    async def first_piece(self, response: httpx.Response) -> bytes:
        if isinstance(self.client, httpx.Client):
            return next(response.iter_raw())
        return await anext(response.aiter_raw())

    async def end(self, thing: Any) -> None:
        await thing.aclose() if isinstance(self.client, httpx.AsyncClient) else thing.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops them at the end."""
    servers: list[Server] = []

    def start(handler: Callable[[Wire, int], None] = echo) -> Server:
        servers.append(Server(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Build = Callable[..., httpx.Client | httpx.AsyncClient]


@pytest.fixture(params=["sync", "async"])
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Build:
    """``build_client`` or ``build_async_client``, with no proxy in the environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return build_client if request.param == "sync" else build_async_client


def run(scenario: Callable[[Both], Any], client: httpx.Client | httpx.AsyncClient) -> Any:
    """Run the scenario with the client, and close the client."""

    async def main() -> Any:
        both = Both(client)
        try:
            return await scenario(both)
        finally:
            await both.end(client)

    return asyncio.run(main())


# -- reuse ---------------------------------------------------------------------------------------------------------


def test_one_connection_serves_one_request_after_the_other(serve: Callable[..., Server], build: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> list[tuple[int, int]]:
        answers = [(await call(server.url)).json() for call in (both.get, both.post, both.get)]
        return [(answer["connection"], answer["request"]) for answer in answers]

    assert run(scenario, build()) == [(1, 1), (1, 2), (1, 3)]
    assert server.wires[0].ended.wait(LONG), "closing the client closes its connections"


def test_the_connection_that_was_used_last_is_taken_first(serve: Callable[..., Server], build: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> list[int]:
        responses = [await both.get(server.url, stream=True) for _ in range(3)]
        for response in responses:
            await (response.aread() if isinstance(both.client, httpx.AsyncClient) else to_coroutine(response.read()))
        again = [(await both.get(server.url)).json()["connection"] for _ in range(2)]
        return [len(server.wires), *again]

    assert run(scenario, build()) == [3, 3, 3]


async def to_coroutine(value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("idle_seconds", "method", "connections"),
    [(3.0, "POST", 1), (5.0, "POST", 2), (5.0, "GET", 1), (54.0, "GET", 1), (56.0, "GET", 2)],
)
def test_a_request_that_must_not_be_sent_twice_needs_a_fresh_connection(
    serve: Callable[..., Server], build: Build, idle_seconds: float, method: str, connections: int
) -> None:
    server = serve()
    now = [100.0]
    idle: Any = IdleConnections(clock=lambda: now[0])
    client: httpx.Client | httpx.AsyncClient
    if build is build_client:
        client = httpx.Client(transport=LeaseTransport(shared_ssl_context, idle=idle))
    else:
        client = httpx.AsyncClient(transport=AsyncLeaseTransport(shared_ssl_context, idle=idle))

    async def scenario(both: Both) -> int:
        await both.get(server.url)
        now[0] += idle_seconds
        return (await both(method, server.url)).json()["connection"]

    assert run(scenario, client) == connections
    if idle_seconds > 55:
        assert server.wires[0].ended.wait(10), "an expired connection is closed, not kept"


def test_a_connection_that_the_server_closed_is_not_used_for_a_paid_request(
    serve: Callable[..., Server], build: Build
) -> None:
    def once(wire: Wire, number: int) -> None:
        wire.request()
        wire.answer({"connection": number})

    server = serve(once)

    async def scenario(both: Both) -> list[int]:
        seen = []
        for number in range(3):
            seen.append((await both.post(server.url)).json()["connection"])
            server.threads[1 + number].join(LONG)  # the server has closed: the client must notice
        return seen

    assert run(scenario, build()) == [1, 2, 3]


def test_few_idle_connections_are_kept() -> None:
    class Fake:
        def __init__(self) -> None:
            self.cut = False

        def is_idle(self) -> bool:
            return True

        def has_expired(self) -> bool:
            return False

    import httpcore

    from apimaster._transport.idle_connections import PooledConnection

    now = [0.0]
    idle: Any = IdleConnections(max_idle=2, clock=lambda: now[0])
    cut: list[int] = []
    for number in range(4):
        now[0] += 1
        origin = httpcore.Origin(b"http", b"host%d" % (number % 2), 80)
        pooled: Any = PooledConnection(origin, Fake(), lambda number=number: cut.append(number))  # type: ignore[misc]
        idle.give_back(pooled)
    assert (cut, len(idle)) == ([0, 1], 2)
    now[0] += 56
    assert idle.take(httpcore.Origin(b"http", b"elsewhere", 80), max_age=55) is None
    assert (sorted(cut), len(idle)) == ([0, 1, 2, 3], 0)
    idle.close()
    idle.close()


def test_threads_share_a_client(serve: Callable[..., Server]) -> None:
    server = serve()
    with build_client() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post(server.url, content=b"{}").status_code, range(160)))
    assert answers == [200] * 160
    assert len(server.wires) <= 8


def test_connections_of_a_closed_loop_can_be_abandoned(
    serve: Callable[..., Server], recwarn: pytest.WarningsRecorder
) -> None:
    server = serve()
    client = build_async_client()

    async def call() -> int:
        return (await client.get(server.url)).json()["connection"]

    assert asyncio.run(call()) == 1
    client.abandon()
    assert server.wires[0].ended.wait(LONG)
    client.abandon()
    asyncio.run(client.aclose())


# -- limits, and the end of a lease --------------------------------------------------------------------------------


def test_requests_beyond_the_limit_wait_for_their_pool_timeout(serve: Callable[..., Server], build: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> int:
        leased = await both.get(server.url, stream=True)
        with pytest.raises(httpx.PoolTimeout):
            await both.get(server.url, timeout=httpx.Timeout(LONG, pool=0.01))
        await both.end(leased)
        await both.end(leased)  # a second close must not free a second place
        return (await both.get(server.url, timeout=httpx.Timeout(LONG, pool=0.01))).status_code

    assert run(scenario, build(max_connections=1)) == 200


FEW_FILES = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from apimaster._transport import build_async_client

async def main():
    async with build_async_client() as client:
        answers = await asyncio.gather(*(client.post(sys.argv[1], content=b"{}", timeout=20) for _ in range(150)))
        print({answer.status_code for answer in answers})

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_more_calls_than_the_process_may_open_files_wait_for_each_other(serve: Callable[..., Server]) -> None:
    server = serve()
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES, server.url], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{200}"
    assert len(server.wires) <= 48


def test_a_response_that_is_not_read_to_its_end_costs_its_connection(
    serve: Callable[..., Server], build: Build
) -> None:
    def endless(wire: Wire, number: int) -> None:
        wire.request()
        wire.answer(b"x" * 1000, length=10**9)
        wire.request()

    server = serve(endless)

    async def scenario(both: Both) -> bytes:
        response = await both.get(server.url, stream=True)
        piece = await both.first_piece(response)
        await both.end(response)
        await asyncio.sleep(0)  # asyncio closes sockets in its next round
        assert server.wires[0].ended.wait(LONG)
        second = await both.get(server.url, stream=True)
        await both.end(second)
        return piece[:1]

    assert run(scenario, build(max_connections=1)) == b"x"
    assert len(server.wires) == 2


def sockets_to(port: int) -> int:
    """How many sockets of this process are connected to ``port``: the clients' ends, not the server's."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process().net_connections("tcp"))


def hold(wire: Wire, *steps: Callable[[], object]) -> None:
    for step in steps:
        step()
    wire.ended.wait(LONG)


STAGES: dict[str, Callable[[Wire, int], None]] = {
    "before the head": lambda wire, number: hold(wire, wire.receive),
    "in the body": lambda wire, number: hold(wire, wire.request, lambda: wire.answer(b"x", length=99)),
    "while sending": lambda wire, number: hold(wire),
}


@pytest.mark.parametrize("stage", [*STAGES, "in the TLS handshake"])
def test_cancelled_tasks_leave_no_socket_behind(serve: Callable[..., Server], stage: str) -> None:
    server = serve(STAGES.get(stage, STAGES["while sending"]))
    url = server.url.replace("http:", "https:") if "TLS" in stage else server.url
    content = b"x" * 4_000_000 if stage == "while sending" else b"{}"

    async def scenario() -> int:
        async with build_async_client(max_connections=30) as client:
            tasks = [asyncio.create_task(client.post(url, content=content, timeout=None)) for _ in range(20)]
            while len(server.wires) < len(tasks):
                await asyncio.sleep(0.001)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert sockets_to(server.port) == len(tasks)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends)
            await asyncio.sleep(0)  # asyncio closes sockets in its next round
            return sockets_to(server.port)

    left = asyncio.run(scenario())
    for wire in server.wires:
        wire.ended.set()
    assert left == 0


def test_a_slow_reader_slows_the_sender_down(serve: Callable[..., Server]) -> None:
    sent = [0]

    def flood(wire: Wire, number: int) -> None:
        wire.request()
        wire.answer(b"", length=10**9)
        wire.sock.settimeout(0.2)
        for _ in range(1000):
            wire.sock.sendall(bytes(1_000_000))
            sent[0] += 1_000_000

    server = serve(flood)

    async def scenario(both: Both) -> int:
        response = await both.get(server.url, stream=True)
        while server.threads[1].is_alive():  # ends when the client reads nothing for 0.2 s
            await asyncio.sleep(0.01)
        stream: Any = response.extensions["network_stream"]
        await both.end(response)
        return sum(map(len, stream._unread))

    unread = run(scenario, build_async_client())
    assert unread <= stream.MAX_UNREAD + stream.READ_SIZE
    assert sent[0] < 100_000_000


# -- what an error means -------------------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    with reserve_port() as holder:
        yield holder.getsockname()[1]


def read_then(action: Callable[[Wire], object]) -> Callable[[Wire, int], None]:
    def handler(wire: Wire, number: int) -> None:
        wire.request()
        action(wire)

    return handler


SENT: dict[str, tuple[Callable[[Wire, int], None], tuple[type[httpx.TransportError], ...]]] = {
    "the server never answers": (read_then(lambda wire: wire.ended.wait(LONG)), (httpx.ReadTimeout,)),
    "the server hangs up": (read_then(Wire.close), (httpx.RemoteProtocolError,)),
    "the connection is reset": (read_then(Wire.reset), (httpx.ReadError, httpx.RemoteProtocolError)),
    "that is not HTTP": (read_then(lambda wire: wire.sock.sendall(b"220 mail\r\n\r\n")), (httpx.RemoteProtocolError,)),
    "half a head": (read_then(lambda wire: wire.sock.sendall(b"HTTP/1.1 200 OK\r\na")), (httpx.RemoteProtocolError,)),
    "half a body": (read_then(lambda wire: wire.answer(b"x", length=9)), (httpx.RemoteProtocolError,)),
}
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@pytest.mark.parametrize("case", SENT)
@pytest.mark.parametrize("make", [build_client, build_async_client, build_aiohttp_client])
def test_after_sending_no_error_says_that_nothing_was_sent(
    serve: Callable[..., Server], make: Build, case: str
) -> None:
    handler, expected = SENT[case]
    server = serve(handler)

    async def scenario(both: Both) -> None:
        with pytest.raises(httpx.TransportError) as caught:
            await both.post(server.url, timeout=httpx.Timeout(LONG, read=0.05 if "never" in case else LONG))
        for wire in server.wires:
            wire.ended.set()
        assert not isinstance(caught.value, NOT_SENT)
        assert isinstance(caught.value, expected)
        assert caught.value.__cause__ is not None

    run(scenario, make())
    assert len(server.wires) == 1, "a request that was sent is not sent again"


@pytest.mark.parametrize("make", [build_client, build_async_client, build_aiohttp_client])
def test_before_sending_every_error_says_so(make: Build, closed_port: int, full_listener: int) -> None:
    cases = [
        (f"http://127.0.0.1:{closed_port}/", httpx.ConnectError),
        (f"http://{'a' * 70}.invalid/", httpx.ConnectError),  # a label is too long: no resolver takes it
        (f"http://127.0.0.1:{full_listener}/", httpx.ConnectTimeout),
        ("ftp://127.0.0.1/", httpx.UnsupportedProtocol),
    ]

    async def scenario(both: Both) -> None:
        for url, expected in cases:
            with pytest.raises(expected):
                await both.post(url, timeout=httpx.Timeout(LONG, connect=0.05))

    run(scenario, make())


@pytest.fixture
def full_listener() -> Iterator[int]:
    """A port whose queue is full: the system does not answer further connections, so they time out."""
    if sys.platform != "linux":
        pytest.skip("other systems refuse connections that Linux ignores")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_an_invalid_header_is_not_sent(serve: Callable[..., Server], build: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> int:
        with pytest.raises(httpx.LocalProtocolError):
            await both.get(server.url, headers={"a": "b\r\nc: d"})
        return (await both.get(server.url)).status_code

    assert run(scenario, build()) == 200


def test_a_server_that_does_not_read_ends_in_a_write_timeout(serve: Callable[..., Server], build: Build) -> None:
    server = serve(STAGES["while sending"])

    async def scenario(both: Both) -> None:
        with pytest.raises(httpx.WriteTimeout):
            await both.post(server.url, content=bytes(16_000_000), timeout=httpx.Timeout(LONG, write=0.05))
        server.wires[0].ended.set()

    run(scenario, build())


class Pieces:
    """A body in pieces, as the references are sent."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            yield bytes(100_000)


class AsyncPieces:
    """The same for asyncio: an object with both kinds of iterator counts as a blocking one for httpx."""

    def __init__(self, count: int) -> None:
        self.pieces = Pieces(count)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("reads", [0, 3])
def test_a_refusal_in_the_middle_of_the_body_is_read(
    serve: Callable[..., Server], build: Build, reads: int, scheme: str, request: pytest.FixtureRequest
) -> None:
    def refuse(wire: Wire, number: int) -> None:
        wire.request(body=False)
        for _ in range(reads):
            wire.receive()
        wire.answer({"error": {"message": "too large"}}, "connection: close", status="413 Content Too Large")
        if scheme == "http":
            return  # closed with unread data in it: the client's side is reset
        with contextlib.suppress(EOFError):
            while True:  # over TLS a reset can overtake the answer, so careful servers read on for a while
                wire.receive()

    if scheme == "https":
        request.getfixturevalue("trusted")
        refuse = over_tls(request.getfixturevalue("certificate"), refuse)
    server = serve(refuse)

    async def scenario(both: Both) -> tuple[int, Any]:
        url = f"{scheme}://localhost:{server.port}/"
        response = await both.post(url, content=both.pieces(100), headers={"content-length": "10000000"})
        return response.status_code, response.json()["error"]["message"]

    assert run(scenario, build()) == (413, "too large")


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh certificate for the name ``localhost`` alone, with its key, in one file."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("there is no openssl command to make the certificate")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(
        [tool, "req", "-x509", "-nodes", "-days", "2", *kind, *subject, *names], check=True, capture_output=True
    )
    (folder / "both.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return folder / "both.pem"


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets new clients trust ``certificate``."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(clients, "_tls", None)


def over_tls(certificate: Path, handler: Callable[[Wire, int], None]) -> Callable[[Wire, int], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def secured(wire: Wire, number: int) -> None:
        wire.sock = context.wrap_socket(wire.sock, server_side=True)
        handler(wire, number)

    return secured


def test_tls_checks_the_name_and_trusts_the_certificates_of_the_environment(
    serve: Callable[..., Server], build: Build, certificate: Path, trusted: None
) -> None:
    server = serve(over_tls(certificate, echo))

    async def scenario(both: Both) -> tuple[int, int]:
        for _ in range(2):
            answer = await both.post(f"https://localhost:{server.port}/")
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            await both.post(f"https://127.0.0.1:{server.port}/")
        return answer.status_code, answer.json()["request"]

    assert run(scenario, build()) == (200, 2)


STRANGERS: dict[str, Callable[[Wire, int], object]] = {
    "speaks no TLS": lambda wire, number: wire.sock.sendall(b"no TLS here\r\n"),
    "hangs up": lambda wire, number: wire.close(),
    "hangs up after the hello": lambda wire, number: wire.receive(),
    "resets": lambda wire, number: (wire.receive(), wire.reset()),
    "is silent": lambda wire, number: wire.ended.wait(LONG),
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("make", [build_client, build_async_client, build_aiohttp_client])
def test_a_failed_tls_handshake_means_that_nothing_was_sent(
    serve: Callable[..., Server], make: Build, stranger: str
) -> None:
    server = serve(lambda wire, number: STRANGERS[stranger](wire, number) and None)

    async def scenario(both: Both) -> None:
        connect = 0.1 if "silent" in stranger else LONG
        with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
            await both.post(server.url.replace("http:", "https:"), timeout=httpx.Timeout(LONG, connect=connect))
        server.wires[0].ended.set()

    run(scenario, make())


def test_there_is_one_tls_context_and_only_when_it_is_needed(
    serve: Callable[..., Server], build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    made: list[ssl.SSLContext] = []
    original = httpx.create_ssl_context

    def counting() -> ssl.SSLContext:
        made.append(original())
        return made[-1]

    monkeypatch.setattr(clients, "_tls", None)
    monkeypatch.setattr(httpx, "create_ssl_context", counting)

    async def scenario(both: Both) -> int:
        return (await both.get(server.url)).status_code

    assert run(scenario, build()) == 200
    assert made == []
    with ThreadPoolExecutor(8) as pool:
        assert len({id(context) for context in pool.map(lambda _: shared_ssl_context(), range(64))}) == 1
    assert len(made) == 1


# -- connecting ------------------------------------------------------------------------------------------------------


def test_the_next_address_is_tried_when_one_refuses_or_is_silent(
    serve: Callable[..., Server], closed_port: int, full_listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setattr(connect, "NEXT_ADDRESS_AFTER", 0.01)

    async def port_reached(*ports: int) -> int:
        with await connect.connect_first([(socket.AF_INET, ("127.0.0.1", port)) for port in ports]) as sock:
            return int(sock.getpeername()[1])

    assert asyncio.run(port_reached(closed_port, server.port)) == server.port
    assert asyncio.run(port_reached(full_listener, server.port, server.port)) == server.port
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(port_reached(closed_port, closed_port))
    with pytest.raises(OSError, match="no address"):
        asyncio.run(port_reached())
    assert sockets_to(server.port) == 0


def test_requests_at_the_same_time_share_one_lookup(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    lookups: list[str] = []

    async def scenario() -> list[int]:
        loop = asyncio.get_running_loop()
        original = loop.getaddrinfo

        async def counting(host: Any, port: Any, **options: Any) -> Any:
            lookups.append(host)
            return await original("127.0.0.1", port, **options)

        monkeypatch.setattr(loop, "getaddrinfo", counting)
        async with build_async_client() as client:
            url = f"http://pictures.test:{server.port}/"
            tasks = [asyncio.create_task(client.get(url)) for _ in range(10)]
            await asyncio.sleep(0)
            tasks[0].cancel()  # the first one asked for the lookup; the others still get its answer
            answers = await asyncio.gather(*tasks[1:])
            return [answer.status_code for answer in answers]

    assert asyncio.run(scenario()) == [200] * 9
    assert lookups == ["pictures.test"]


# -- clients -------------------------------------------------------------------------------------------------------


def test_a_client_sends_its_name_and_keeps_no_cookies(serve: Callable[..., Server], build: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> list[dict[str, str]]:
        return [(await both.get(server.url)).json()["headers"] for _ in range(2)]

    first, second = run(scenario, build())
    assert first["user-agent"].startswith("apimaster-python")
    assert first == second
    assert "cookie" not in second
    with pytest.raises(RuntimeError, match="closed"):
        run(scenario, closed(build))
    with pytest.raises(AttributeError):
        build().cookies = httpx.Cookies()


def closed(build: Build) -> httpx.Client | httpx.AsyncClient:
    client = build()
    asyncio.run(client.aclose()) if isinstance(client, httpx.AsyncClient) else client.close()
    return client


@pytest.mark.parametrize("make", [build_client, build_async_client, build_aiohttp_client])
def test_a_proxy_gets_all_requests_but_those_to_excepted_hosts(
    serve: Callable[..., Server], make: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, direct = serve(), serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def scenario(both: Both) -> list[str]:
        await both.post(direct.url)
        return [(await both.get(url)).json()["line"] for url in ("http://pictures.test/cat", direct.url)]

    assert run(scenario, make()) == ["GET http://pictures.test/cat HTTP/1.1", "GET / HTTP/1.1"]
    assert (len(proxy.wires), len(direct.wires)) == (1, 1)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "apimaster._transport.aiohttp", raising=False)
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(ImportError, match=r"apimaster\[aiohttp\]"):
        build_aiohttp_client()


@pytest.mark.parametrize("make", [build_client, build_async_client, build_aiohttp_client])
def test_a_streamed_body_arrives_with_its_length(serve: Callable[..., Server], make: Build) -> None:
    server = serve()

    async def scenario(both: Both) -> dict[str, str]:
        body = both.pieces(5)
        for _ in range(2):  # the same body twice: it is an object, not a generator
            response = await both.post(server.url, content=body, headers={"content-length": "500000"})
        return response.json()["headers"]

    headers = run(scenario, make())
    assert headers["content-length"] == "500000"
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize("kind", [_SyncBody, _AsyncBody])
def test_an_upload_in_many_pieces_ends_at_its_limit(kind: type[_SyncBody] | type[_AsyncBody]) -> None:
    """httpx limits each write only; a submit that goes on for ever would be charged long after it was given up."""
    body = StreamedBody([b"a", b"b"])

    async def pieces(upload: _SyncBody | _AsyncBody) -> list[bytes]:
        if isinstance(upload, _SyncBody):
            return list(upload)
        return [piece async for piece in upload]

    assert asyncio.run(pieces(kind(body, time.monotonic() + 60))) == [b"a", b"b"]
    with pytest.raises(httpx.WriteTimeout, match="too long"):
        asyncio.run(pieces(kind(body, time.monotonic() - 1)))
