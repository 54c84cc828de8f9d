"""One call through any of the clients, so that one test serves all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.emulator import Emulator
from apimaster.errors import APIMasterError

DOORS: Final = ("sync", "async", "aiohttp")
MODELS: Final = ("gemini-3.1-flash-image-preview", "gemini-3.1-flash-image", "gemini-nano-banana-2.1")
"""What the contract is tested with: both spellings of one model, and its successor."""


class Door:
    """Calls a method of a new client, blocking, whatever kind of client it is."""

    def __init__(self, kind: str, emu: Emulator, **settings: Any) -> None:
        self.kind = kind
        self.emu = emu
        self.settings = {"api_key": emu.api_key, "base_url": emu.base_url} | settings

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        if self.kind == "sync":
            with APIMaster(**self.settings) as client:
                return getattr(client, method)(*args, **options)
        return self.run(lambda client: getattr(client, method)(*args, **options))

    def run(self, work: Callable[[AsyncAPIMaster], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            transport = "aiohttp" if self.kind == "aiohttp" else "httpx"
            async with AsyncAPIMaster(**self.settings, transport=transport) as client:
                return await work(client)

        return asyncio.run(call())

    def error(self, method: str, *args: Any, **options: Any) -> APIMasterError:
        """The error that the call ends in."""
        try:
            outcome = self(method, *args, **options)
        except APIMasterError as error:
            return error
        raise AssertionError(f"{method} was to fail and answered {outcome!r}")
