"""One thing that ``apimaster doctor`` found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from .exit_codes import OK

State = Literal["right", "odd", "wrong"]

_MARKS: Final[dict[State, str]] = {"right": "ok", "odd": "odd", "wrong": "WRONG"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it.

    Attributes:
        subject: for example ``"key"``.
        state: ``"right"``; ``"odd"`` may be meant that way; ``"wrong"`` can't work.
        detail: what was found.
        advice: what to do; empty where nothing has to be done, or ``detail`` says it.
        exit_code: of the command, if this is the first finding that is wrong.
    """

    subject: str
    state: State
    detail: str
    advice: str = ""
    exit_code: int = OK

    def line(self) -> str:
        """For people."""
        return f"{_MARKS[self.state]:>5}  {self.subject}: {self.detail}{' ' if self.advice else ''}{self.advice}"

    def facts(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)
