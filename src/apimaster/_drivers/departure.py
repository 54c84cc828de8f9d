"""Whether a byte of a request may have left this machine: what decides if a failed purchase may have been charged.

The type of an exception does not tell: httpx raises the same ones before and after it sends. So httpcore, below our own
clients and most others, reports each step of a request (its ``trace`` extension), and this remembers the one that
counts.
"""

from __future__ import annotations

from typing import Any

import httpx


class Departure:
    """What is known of one request, until its response begins.

    Args:
        reports: whether the transport reports its steps for certain; a client of the caller's own may be anything.

    Attributes:
        left: True as soon as a byte of the request may have left.
        handed_over: True as soon as a client has got the request.
    """

    __slots__ = ("_left_before", "_reports", "_seen", "handed_over", "left")

    def __init__(self, *, reports: bool) -> None:
        self._reports = reports
        self._seen = False
        self._left_before = False
        self.handed_over = False
        self.left = False

    def hand_over(self, request: httpx.Request, *, asynchronous: bool) -> httpx.Request:
        """Follow ``request`` from here on; it goes to a client next."""
        request.extensions["trace"] = self._async_step if asynchronous else self._step
        self.handed_over = True
        return request

    def certainly_stayed(self) -> bool:
        """True if no byte of the request left, whatever failed."""
        return not self.left and (not self.handed_over or self._reports or self._seen)

    def _step(self, name: str, info: dict[str, Any]) -> None:
        self._seen = True
        if name.endswith("send_request_headers.started"):
            self._left_before = self.left  # a transport may try more than once
            # A request to open a tunnel goes to the proxy only, and holds nothing of ours.
            self.left = self.left or getattr(info.get("request"), "method", None) != b"CONNECT"
        elif name.endswith("send_request_headers.failed"):
            import httpcore  # at the first fault, since importing it takes time

            if isinstance(info.get("exception"), httpcore.LocalProtocolError):
                # A header that can't be written: h11 refuses it before it hands out a byte.
                self.left = self._left_before

    async def _async_step(self, name: str, info: dict[str, Any]) -> None:
        self._step(name, info)
