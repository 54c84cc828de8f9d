"""A receiver of webhooks as an ASGI application, for any framework and server that speaks ASGI.

It reads one ``POST`` at a time, up to 1 MB, and answers as ``handle`` says. How long a client may take to send it is
the server's matter.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Answer: TypeAlias = tuple[int, bytes]
Handle: TypeAlias = Callable[[bytes, Mapping[str, str]], "Answer | Awaitable[Answer]"]

MAX_BODY: Final = 1024 * 1024
"""Bytes of the largest delivery that is read."""


class WebhookApp:
    """An ASGI application that hands each delivery to ``handle``, a plain or async function of body and headers."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one connection of the server."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await _respond(send, *await self._answer(scope, receive))

    async def _answer(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Message]]
    ) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            return 405, _error("A delivery is a POST.")
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, _error("The delivery broke off.")
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                return 413, _error(f"A delivery has at most {MAX_BODY} bytes.")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = self._handle(bytes(body), headers)
        return answer if isinstance(answer, tuple) else await answer


async def _lifespan(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _respond(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(b"allow", b"POST")] if status == 405 else []
    headers += [(b"connection", b"close")] if status == 413 else []  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()
