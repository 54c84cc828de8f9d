"""What was asked of the emulator: every request, without its key and without its pictures.

Polls come by the thousand, so a record keeps references to what the server has anyway and is only spelled out
when somebody looks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass(frozen=True, slots=True)
class ReferenceSeen:
    """A reference image as it arrived. ``sha256`` and ``size`` are None for a URL, which is never fetched."""

    kind: str
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request and what became of it.

    Attributes:
        number: counted from 1.
        id: the ``x-request-id`` of the reply.
        origin: ``"gateway"`` or ``"cdn"``, the second origin.
        route: ``sync``, ``submit``, ``poll``, ``models``, ``download``, ``output``, ``chat`` or ``other``.
        method, path, query: as they came.
        key: which of the emulator's keys it held, from 0; None for none or a wrong one.
        had_authorization: whether it held an ``Authorization`` header of any kind.
        at: unix seconds.
        status: HTTP status of the reply; None while there is none, or if the connection was cut.
        fault: the name of the fault that was played.
        task_id: the job that it began or asked for.
        body: the JSON body, its data URIs abbreviated.
        body_size: bytes of the body.
        references: the reference images, in order.
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
    key: int | None = None
    had_authorization: bool = False
    status: int | None = None
    fault: str | None = None
    task_id: str | None = None
    body: Any = None
    body_size: int = 0
    references: tuple[ReferenceSeen, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """Header names in lower case, with what is secret blotted out."""
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
        }


class Records:
    """The latest requests, oldest first; safe to read from any thread."""

    def __init__(self, history: int, wall: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._kept: deque[RecordedRequest] = deque(maxlen=history)
        self._count = 0
        self._wall = wall

    def begin(self, scope: Mapping[str, Any], route: str, origin: str = "gateway") -> RecordedRequest:
        """Note a request that has just come in."""
        with self._lock:
            self._count += 1
            record = RecordedRequest(
                number=self._count,
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                at=self._wall(),
                raw_headers=scope["headers"],
                origin=origin,
                route=route,
            )
            self._kept.append(record)
            return record

    def clear(self) -> None:
        """Forget them all and count from 1 again."""
        with self._lock:
            self._kept.clear()
            self._count = 0

    @property
    def count(self) -> int:
        """How many there have been, also those no longer kept."""
        return self._count

    def all(self) -> list[RecordedRequest]:
        """Those that are kept, oldest first."""
        with self._lock:
            return list(self._kept)
