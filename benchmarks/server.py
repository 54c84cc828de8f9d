"""A small, fast image gateway on loopback, for the benchmarks only: it must cost far less than the clients it serves.

    python benchmarks/server.py [--cpu N]      prints the port that it listens on

Strategy: one asyncio protocol per connection, one shared receive buffer (the loop has one thread, which uses up every
byte before the next read), request bodies counted and dropped, replies made of prepared bytes where possible. It speaks
just enough HTTP/1.1 for well-behaved clients; the emulator is there for everything else.

=========================================  ==========================================================
POST .../images/generations                an image, after ``latency`` seconds
POST .../uploads/images                    a URL, at once
POST .../images/generations/async          a task, finished after ``task_seconds`` (log-normal with ``sigma``)
                                           or, with ``at_once``, the finished image; after ``submit_latency`` seconds
GET  .../tasks/{id}                        the task, with progress figures if ``progress`` is 1
GET  .../models                            a catalogue of one
GET  /imgs/{anything}.png                  a real PNG of ``image_bytes`` bytes or a little more
GET  /_set?name=value&...                  sets one of the names above, and clears the counters
GET  /_facts                               counters, and when each task was finished, and when its event was sent

With ``webhook_port`` it posts a signed event to that port of this machine when a task has ended, over few connections.
=========================================  ==========================================================
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import math
import os
import random
import time
import zlib
from typing import Any
from urllib.parse import parse_qsl

SETTINGS: dict[str, float] = {
    "latency": 0.0,
    "submit_latency": 0.0,
    "task_seconds": 2.0,
    "at_once": 0.0,
    "sigma": 0.0,
    "progress": 1.0,
    "image_bytes": 2_000.0,
    "webhook_port": 0.0,
}
COUNTERS: dict[str, int] = {}
TASKS: dict[str, tuple[float, float]] = {}
NUMBERS = itertools.count()  # never the same again: a client may know the earlier task
SENT: dict[str, float] = {}
EVENTS: asyncio.Queue[str] = asyncio.Queue()
SECRET = b"whsec-benchmark"
SENDERS = 8
BUFFER = bytearray(256 * 1024)
BUFFER_VIEW = memoryview(BUFFER)
DICE = random.Random(20)
picture = b""
origin = ""


def png(size: int) -> bytes:
    """A grey PNG of at least ``size`` bytes: stored, not compressed, since noise does not compress."""
    side = max(1, math.isqrt(size))
    row = bytes(1) + random.Random(1).randbytes(side)
    chunks = [b"\x89PNG\r\n\x1a\n"]
    header = side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(row * side, 0)), (b"IEND", b"")):
        chunks.append(len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big"))
    return b"".join(chunks)


def answer(content: Any, status: bytes = b"200 OK") -> bytes:
    """A whole JSON response."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def submit() -> bytes:
    seconds = SETTINGS["task_seconds"]
    if SETTINGS["sigma"]:
        seconds *= math.exp(DICE.gauss(0.0, SETTINGS["sigma"]))
    now = time.time()
    name = f"task_{next(NUMBERS):06d}"
    TASKS[name] = (now, now + seconds)
    if SETTINGS["webhook_port"]:
        asyncio.get_running_loop().call_later(seconds, EVENTS.put_nowait, name)
    return answer({"code": 200, "data": [{"status": "submitted", "task_id": name}]})


def poll(name: str) -> bytes:
    if name not in TASKS:
        return answer({"error": {"message": "no such task", "type": "server_error"}}, b"404 Not Found")
    started, end = TASKS[name]
    now = time.time()
    if now >= end:
        images = [{"url": [f"{origin}/imgs/{name}.png"], "expires_at": int(now) + 86_400}]
        return answer(
            {"code": 200, "data": {"id": name, "status": "completed", "progress": 100, "result": {"images": images}}}
        )
    data: dict[str, Any] = {"id": name, "status": "in_progress"}
    if SETTINGS["progress"]:
        data["progress"] = int(100 * (now - started) / (end - started))
    return answer({"code": 200, "data": data})


def count(name: str, by: int = 1) -> None:
    COUNTERS[name] = COUNTERS.get(name, 0) + by


def respond(method: str, target: str, body_bytes: int) -> tuple[bytes, bytes, float]:
    """The head (or all) of the response, the rest of it, and the delay in seconds."""
    global picture
    path, _, query = target.partition("?")
    if method == "POST":
        count("body_bytes", body_bytes)
        if path.endswith("/uploads/images"):
            count("uploads")
            return answer({"url": f"{origin}/uploads/{COUNTERS['uploads']}.png"}), b"", 0.0
        if path.endswith("/async") and not SETTINGS["at_once"]:
            count("submits")
            return submit(), b"", SETTINGS["submit_latency"]
        count("one_shots")
        created = {"created": int(time.time()), "data": [{"url": f"{origin}/imgs/one.png"}]}
        return answer(created), b"", SETTINGS["latency"]
    if "/tasks/" in path:
        count("polls")
        return poll(path.rpartition("/")[2]), b"", 0.0
    if path.startswith("/imgs/"):
        count("downloads")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(picture)
        return head, picture, 0.0
    if path.endswith("/models"):
        return (
            answer({"object": "list", "data": [{"id": "gemini-3.1-flash-image-preview", "object": "model"}]}),
            b"",
            0.0,
        )
    if path == "/_set":
        SETTINGS.update({name: float(value) for name, value in parse_qsl(query)})
        picture = png(int(SETTINGS["image_bytes"]))
        COUNTERS.clear()
        TASKS.clear()
        SENT.clear()
        return answer(SETTINGS), b"", 0.0
    if path == "/_facts":
        return answer({**COUNTERS, "finished": {name: end for name, (_, end) in TASKS.items()}, "sent": SENT}), b"", 0.0
    return answer({"error": {"message": "not here", "type": "invalid_request_error"}}, b"404 Not Found"), b"", 0.0


class Connection(asyncio.BufferedProtocol):
    """Reads requests one after the other; ``missing`` is how much of the present body is still to come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.head = b""
        self.first_line = ""
        self.missing = 0
        self.length = 0
        self.in_body = False
        count("connections")

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        start = 0
        while start < nbytes or (self.in_body and not self.missing):
            if self.in_body:
                used = min(self.missing, nbytes - start)
                start += used
                self.missing -= used
                if self.missing:
                    return
                self.in_body = False
                self.reply()
                continue
            data = self.head + BUFFER_VIEW[start:nbytes].tobytes()
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.head = data
                return
            start += end + 4 - len(self.head)
            self.head = b""
            self.read_head(data[:end].decode("latin-1"))

    def read_head(self, text: str) -> None:
        self.first_line = text[: text.index("\r\n")]
        lower = text.lower()
        at = lower.find("\r\ncontent-length:")
        self.length = self.missing = int(lower[at + 17 :].split("\r\n", 1)[0]) if at >= 0 else 0
        self.in_body = True

    def reply(self) -> None:
        method, target, _ = self.first_line.split(" ", 2)
        head, rest, seconds = respond(method, target, self.length)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self.transport.write, head)
            return
        self.transport.write(head)
        if rest:
            self.transport.write(rest)


def event(name: str) -> bytes:
    """A whole request that reports the end of a task."""
    output = {"output_id": "0", "type": "image", "url": f"{origin}/v1/tasks/{name}/outputs/0/content"}
    data = {
        "task_id": name,
        "model": "gemini-3.1-flash-image-preview",
        "status": "completed",
        "task_url": f"{origin}/v1/tasks/{name}",
        "result": {"outputs": [output]},
        "error": None,
    }
    content = {"id": f"evt_{name}", "type": "task.completed", "api_version": "2026-10-03", "data": data}
    body = json.dumps(content).encode()
    now = b"%d" % time.time()
    signature = hmac.new(SECRET, now + b"." + body, hashlib.sha256).hexdigest().encode()
    return (
        b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-apimaster-timestamp: %b\r\n"
        b"x-apimaster-signature: v1=%b,kid=1\r\ncontent-length: %d\r\n\r\n%b" % (now, signature, len(body), body)
    )


async def deliver() -> None:
    """Send events one after the other over one connection, each when the last is answered."""
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    port = 0.0
    while True:
        name = await EVENTS.get()
        if name not in TASKS:
            continue  # of a run before
        if streams is None or port != SETTINGS["webhook_port"]:
            port = SETTINGS["webhook_port"]
            streams = await asyncio.open_connection("127.0.0.1", int(port))
        reader, writer = streams
        SENT[name] = time.time()
        writer.write(event(name))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        count("deliveries")


async def serve() -> None:
    global origin, picture
    picture = png(int(SETTINGS["image_bytes"]))
    listener = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    port = listener.sockets[0].getsockname()[1]
    origin = f"http://127.0.0.1:{port}"
    print(port, flush=True)
    senders = [asyncio.ensure_future(deliver()) for _ in range(SENDERS)]
    await asyncio.gather(listener.serve_forever(), *senders)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cpu", type=int)
    chosen = arguments.parse_args().cpu
    if chosen is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {chosen})
    asyncio.run(serve())
