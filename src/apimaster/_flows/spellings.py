"""Which spelling of a model's id the gateway takes: what one client has found out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_ASK_AGAIN: Final = 60.0  # seconds; the gateway may have changed what it offers by then, or can say it


@dataclass(slots=True)
class Spellings:
    """What one client knows of the gateway's ids. Safe to use from any thread.

    Attributes:
        listed: the ids of the gateway's catalogue when it was asked; None if it was not, or did not say.
        noted: models that the log has been told of.
    """

    listed: Sequence[str] | None = None
    noted: set[str] = field(default_factory=set)
    _chosen: dict[str, str] = field(default_factory=dict)
    _asking: bool = False
    _asked_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def to_send(self, model: str) -> str:
        """The id to send for this one: another spelling if the gateway has taken that before."""
        return self._chosen.get(model, model)

    def choose(self, tried: Sequence[str]) -> None:
        """The gateway has taken the last of these ids of one model, and none of the others."""
        *others, taken = tried
        self._chosen.update(dict.fromkeys(others, taken))
        self._chosen.pop(taken, None)

    def may_ask(self, now: float) -> bool:
        """Whether this call is the one to ask; then it must call ``answered``."""
        with self._lock:
            recently = self._asked_at is not None and now < self._asked_at + _ASK_AGAIN
            if self._asking or recently:
                return False
            self._asking = True
            return True

    def answered(self, listed: Sequence[str] | None, asked_at: float | None) -> None:
        """What the gateway lists, or None if it did not say; ``asked_at`` is None if the question was not put."""
        with self._lock:
            self.listed = listed
            self._asked_at = asked_at
            self._asking = False

    @property
    def is_asked(self) -> bool:
        """Whether another call is asking just now."""
        return self._asking
