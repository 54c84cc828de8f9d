"""The bill: every charge and refund, exact, in the order in which they happened.

The gateway charges when it accepts a job and refunds the charge when the job fails. A request that it refuses never
appears here. A test proves what was paid with ``total``, ``charges``, ``refunds`` and ``standing``.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, Literal

ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the bill.

    Attributes:
        kind: ``"charge"`` or ``"refund"``.
        amount: US dollars, positive for both kinds; 0 if the vendor has published no price for the model.
        images: how many pictures the line is for.
        model: the model id as it was sent.
        resolution: ``0.5K``, ``1K``, ``2K`` or ``4K``.
        job_id: the image job; a one-shot call has one, too, although its response does not name it.
        request_id: the ``x-request-id`` of the request that was charged.
        key: which of the emulator's keys sent the request, counted from 0.
        at: unix seconds.
    """

    kind: Literal["charge", "refund"]
    amount: Decimal
    images: int
    model: str
    resolution: str
    job_id: str
    request_id: str
    key: int
    at: float

    def as_json(self) -> dict[str, Any]:
        """A JSON object; the amount is text, so it stays exact."""
        return {**asdict(self), "amount": str(self.amount)}


class Bill:
    """Charges and refunds; safe to read from any thread while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._total = ZERO

    def add(self, entry: Entry) -> None:
        """Add one line."""
        with self._lock:
            self._entries.append(entry)
            self._total += entry.amount if entry.kind == "charge" else -entry.amount

    def clear(self) -> None:
        """Remove every line."""
        with self._lock:
            self._entries.clear()
            self._total = ZERO

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every line, oldest first."""
        with self._lock:
            return tuple(self._entries)

    @property
    def charges(self) -> tuple[Entry, ...]:
        """Every charge, refunded or not."""
        return tuple(entry for entry in self.entries if entry.kind == "charge")

    @property
    def refunds(self) -> tuple[Entry, ...]:
        """Every refund."""
        return tuple(entry for entry in self.entries if entry.kind == "refund")

    @property
    def standing(self) -> tuple[Entry, ...]:
        """The charges that were not refunded: what the client has paid for."""
        entries = self.entries
        refunded = {entry.job_id for entry in entries if entry.kind == "refund"}
        return tuple(entry for entry in entries if entry.kind == "charge" and entry.job_id not in refunded)

    @property
    def total(self) -> Decimal:
        """US dollars: charges minus refunds."""
        with self._lock:
            return self._total

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def as_json(self, last: int = 1000) -> dict[str, Any]:
        """Totals and the latest lines as a JSON object, with amounts as text."""
        entries = self.entries
        return {
            "total": str(self.total),
            "currency": "USD",
            "charges": sum(entry.kind == "charge" for entry in entries),
            "refunds": sum(entry.kind == "refund" for entry in entries),
            "standing": len(self.standing),
            "entries": [entry.as_json() for entry in entries[-last:]],
        }
