"""One result of ``apimaster doctor``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from .exit_codes import OK

State = Literal["right", "odd", "wrong"]

_LABELS: Final[dict[State, str]] = {"right": "ok", "odd": "odd", "wrong": "WRONG"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, how it is, and what to do about it.

    Attributes:
        subject: for example ``"key"``.
        state: ``"right"``; ``"odd"``, which may be intended; ``"wrong"``, which can't work.
        detail: what was found.
        advice: what to do; empty if there is nothing to do.
        exit_code: of the command, if this is the first finding that is wrong.
    """

    subject: str
    state: State
    detail: str
    advice: str = ""
    exit_code: int = OK

    def line(self) -> str:
        """The finding for a person."""
        return f"{_LABELS[self.state]:>5}  {self.subject}: {self.detail}{' ' if self.advice else ''}{self.advice}"

    def document(self) -> dict[str, Any]:
        """The finding for ``--json``."""
        return asdict(self)
