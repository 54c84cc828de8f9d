"""A ``WebhookWaiter`` that listens on loopback, registered with an emulator and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from apimaster.emulator import Emulator
from apimaster.emulator.server import Server, listen
from apimaster.webhooks import WebhookWaiter


def register(emu: Emulator, url: str) -> tuple[str, str]:
    """Register an endpoint; returns its id and its secret."""
    found = post(emu, "/webhook-endpoints", {"url": url})
    return found["endpoint"]["id"], found["signing_secret"]


def post(emu: Emulator, path: str, content: Any = None) -> Any:
    """What the emulator answers to a request of the account."""
    headers = {"authorization": f"Bearer {emu.api_key}"}
    reply = httpx.post(f"{emu.base_url}{path}", json=content, headers=headers, timeout=30, trust_env=False)
    reply.raise_for_status()
    return reply.json()


@contextmanager
def listening_waiter(emu: Emulator, **settings: Any) -> Iterator[WebhookWaiter]:
    """A waiter whose ASGI application is served over HTTP; the emulator has verified it."""
    socket = listen("127.0.0.1", 0)
    endpoint_id, secret = register(emu, f"http://127.0.0.1:{socket.getsockname()[1]}/")
    waiter = WebhookWaiter(secret, endpoint_id=endpoint_id, **settings)
    server = Server(waiter.asgi, [socket])
    server.start()
    try:
        post(emu, f"/webhook-endpoints/{endpoint_id}/verify")
        yield waiter
    finally:
        server.stop()
