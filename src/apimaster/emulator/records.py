"""The requests that the emulator has received, without their keys and without the bytes of their pictures.

Polls come by the thousand. So a record keeps references to what the server holds anyway, and builds its headers and
its JSON only when somebody reads them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass(frozen=True, slots=True)
class ReceivedReference:
    """A reference image of a request. ``sha256`` and ``size`` are None for a URL, which the emulator never
    fetches, unless it is that of an upload."""

    kind: str
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request and the response to it.

    Attributes:
        number: counted from 1.
        id: the ``x-request-id`` of the response.
        id_headers: the headers of the response that hold it.
        origin: ``"gateway"`` or ``"cdn"``, the second origin.
        route: ``sync``, ``submit``, ``poll``, ``models``, ``download``, ``output``, ``chat``,
            ``upload``, ``uploaded``, ``usage``, ``log``, ``pricing``, ``webhooks`` or ``other``.
        method, path, query: as received.
        key: which of the emulator's keys the request held, counted from 0; None for no key or a wrong one.
        had_authorization: whether the request had an ``Authorization`` header of any kind.
        at: unix seconds.
        status: HTTP status of the response; None before the response, or if the connection was cut.
        fault: the name of the fault that happened.
        task_id: the job that the request started or asked for.
        body: the JSON body, with its data URIs abbreviated.
        body_size: bytes of the body.
        references: the reference images, in order.
        mask: the picture that marks what to change in the first of them.
    """

    number: int
    method: str
    path: str
    query: str
    at: float
    raw_headers: list[tuple[bytes, bytes]] = field(repr=False)
    origin: str = "gateway"
    route: str = "other"
    id: str = ""
    id_headers: tuple[str, ...] = ("x-request-id", "x-oneapi-request-id")
    key: int | None = None
    had_authorization: bool = False
    status: int | None = None
    fault: str | None = None
    task_id: str | None = None
    body: Any = None
    body_size: int = 0
    references: tuple[ReceivedReference, ...] = ()
    mask: ReceivedReference | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names in lower case; the secret ones read ``[removed]``."""
        found: dict[str, str] = {}
        for name, value in self.raw_headers:
            text = name.decode("latin-1").lower()
            found[text] = "[removed]" if text in _SECRET_HEADERS else value.decode("latin-1")
        return found

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        names = ("number", "id", "at", "origin", "route", "method", "path", "query", "key", "had_authorization")
        more = ("status", "fault", "task_id", "body", "body_size")
        return {
            **{name: getattr(self, name) for name in names + more},
            "headers": self.headers,
            "references": [asdict(reference) for reference in self.references],
            "mask": None if self.mask is None else asdict(self.mask),
        }


class RequestLog:
    """The latest requests, oldest first; safe to read from any thread."""

    def __init__(self, history: int, unix_time: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._kept: deque[RecordedRequest] = deque(maxlen=history)
        self._count = 0
        self._unix_time = unix_time

    def add(self, scope: Mapping[str, Any], route: str, origin: str = "gateway") -> RecordedRequest:
        """Record a request that has just come in."""
        with self._lock:
            self._count += 1
            record = RecordedRequest(
                number=self._count,
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                at=self._unix_time(),
                raw_headers=scope["headers"],
                origin=origin,
                route=route,
            )
            self._kept.append(record)
            return record

    def clear(self) -> None:
        """Forget all requests and count from 1 again."""
        with self._lock:
            self._kept.clear()
            self._count = 0

    @property
    def count(self) -> int:
        """How many requests came in, including those that are no longer kept."""
        return self._count

    def all(self) -> list[RecordedRequest]:
        """The requests that are kept, oldest first."""
        with self._lock:
            return list(self._kept)
