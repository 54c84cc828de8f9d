"""What the steps of a probe share: the client, raw requests, and the transcript that both are recorded in."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from ... import APIMaster
from ...adapters import BadSetting, ForbiddenAddress, check_public_url
from ...ledger.location import LEDGER_VARIABLE
from ...settings import find_base_url, find_key
from ..printing import print_message
from .recorder import Recorder
from .redaction import Redactor
from .transcript_file import TranscriptFile

_IN_MEMORY: Final = "sqlite://"
_TIMEOUT: Final = 60.0
_EVERY: Final = 5.0
"""Seconds between two lines about a step that takes long."""
_LARGEST: Final = 16 * 1024 * 1024


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Tell the person every few seconds that the block goes on."""
    ended, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(_EVERY):
            print_message(f"  {time.monotonic() - begun:5.1f} s  {what}")

    teller = threading.Thread(target=tell, name="apimaster-probe-progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


class _Buyer(APIMaster):
    """A client that sends a purchase once in one form: that the gateway refuses it is a fact, too."""

    def __init__(self, key: Any, **settings: Any) -> None:
        super().__init__(key, **settings)
        self._context = dataclasses.replace(self._context, repeats=False)


class Session:
    """A client whose requests are recorded, and raw requests where the client would send none of that shape.

    Use it as a context manager.

    Attributes:
        buyer: repeats nothing, in no other form either, so that a purchase is sent once.
        waiter: waits and downloads, which costs nothing and may be repeated.

    Raises:
        AuthenticationError: there is no key.
        BadRequestError: the base URL is not one.
    """

    def __init__(self, file: TranscriptFile, base_url: str | None) -> None:
        key, _ = find_key(env=os.environ)
        self._key = key.get_secret_value()
        self.base_url, _ = find_base_url(base_url, env=os.environ)
        self.file = file
        self.redactor = Redactor(self.base_url, (self._key,))
        self.recorder = Recorder(self.redactor, file.add)
        self._http = httpx.Client(transport=self.recorder, trust_env=False, timeout=_TIMEOUT)
        # A ledger would take the pictures of a probe for those of somebody else's purchases.
        ledger = _IN_MEMORY if os.environ.get(LEDGER_VARIABLE) else None
        settings: dict[str, Any] = {"base_url": self.base_url, "http_client": self._http, "ledger": ledger}
        self.buyer = _Buyer(key, max_retries=0, **settings)
        self.waiter = APIMaster(key, **settings)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.buyer.close()
        self.waiter.close()
        self._http.close()

    @contextmanager
    def step(self, name: str, what: str = "") -> Iterator[None]:
        """Record what is sent in the block under this name, and tell the person with ``what``."""
        before, self.recorder.step = self.recorder.step, name
        try:
            with _progress(what or name.replace("_", " ")):
                if what:
                    print_message(f"… {what}")
                yield
        finally:
            self.recorder.step = before

    def raw(self, method: str, path: str, *, key: str | None = "", **content: Any) -> httpx.Response | None:
        """Send one request below the base URL, or beside it if ``path`` begins with ``/api/``; never repeated.

        Args:
            method: of HTTP.
            path: with its slash, and its query.
            key: another key than the user's; None: no key.
            content: ``json``, ``content`` or ``files``, as for httpx.

        Returns:
            The reply; None if there was none, which the transcript says.
        """
        base = self.base_url.removesuffix("/v1") if path.startswith("/api/") else self.base_url
        headers = {} if key is None else {"Authorization": f"Bearer {key or self._key}"}
        return self._send(method, base + path, headers, content)

    def get_without_key(self, url: str) -> httpx.Response | None:
        """Fetch a URL that the gateway named, if it is one that a client may fetch."""
        own = urlsplit(self.base_url).hostname or ""
        try:
            if urlsplit(url).hostname != own:
                check_public_url(url)
        except (ForbiddenAddress, ValueError):
            return None
        return self._send("GET", url, {}, {})

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: Mapping[str, Any]
    ) -> httpx.Response | None:
        try:
            with self._http.stream(method, url, headers=dict(headers), **content) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _LARGEST:
                        return None
            return httpx.Response(response.status_code, content=bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, BadSetting):
            return None
