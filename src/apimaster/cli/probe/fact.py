"""What a fact of a probe is: something that this package believes about the endpoint, and what a gateway showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from ...emulator.recorded import member
from ...emulator.transcript import Exchange, Transcript

State = Literal["holds", "differs", "not seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a transcript shows about a fact.

    Attributes:
        state: ``"holds"``, ``"differs"``, or ``"not seen"`` if it could not be checked.
        text: what was seen, or why nothing was.
    """

    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a probe.

    Attributes:
        name: a stable id.
        section: the heading of docs/endpoint.md that says it.
        belief: what is believed, as a sentence without its full stop.
        check: a pure function of the transcript.
        paid: only a probe that buys pictures can see it.
    """

    name: str
    section: str
    belief: str
    check: Callable[[Transcript], Seen]
    paid: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fact, and what was seen."""

    fact: Fact
    seen: Seen

    def document(self) -> dict[str, str]:
        """The outcome for ``--json``."""
        return {
            "name": self.fact.name,
            "section": self.fact.section,
            "belief": self.fact.belief,
            "seen": self.seen.text,
            "state": self.seen.state,
        }


NOT_ASKED: Final = Seen("not seen", "no reply was recorded")


def holds(text: str) -> Seen:
    """It is as believed."""
    return Seen("holds", text)


def differs(text: str) -> Seen:
    """It is not."""
    return Seen("differs", text)


def not_seen(text: str) -> Seen:
    """It could not be checked."""
    return Seen("not seen", text)


def verdict(as_believed: bool, text: str) -> Seen:
    """It is as believed, or not."""
    return holds(text) if as_believed else differs(text)


_PASSING: Final = frozenset({408, 429, 502, 504, *range(520, 531)})


def passing(reply: Exchange) -> bool:
    """Whether a reply says nothing about the gateway: too many requests, or a proxy in front that gave up."""
    return reply.status in _PASSING


def passing_fault(reply: Exchange) -> Seen:
    """What such a reply shows."""
    return not_seen(f"{reply_text(reply)}: this passes; run the probe again later")


# --- reading a transcript ---------------------------------------------------------------------------------


def reply_text(reply: Exchange) -> str:
    """A reply in a few words: status, form, and the code of an error."""
    error = member(reply.body, "error")
    if isinstance(error, dict):
        words = [f"{name} {error[name]}" for name in ("type", "code") if error.get(name) not in (None, "")]
        return f"HTTP {reply.status}, JSON error{': ' if words else ''}{', '.join(words)}"
    if isinstance(reply.body, dict):
        failed = reply.body.get("success") is False
        form = "a picture" if "<picture>" in reply.body else f"JSON{' with success false' if failed else ''}"
    else:
        form = {"<html>": "HTML", "<nothing>": "no body", "<text>": "a text"}.get(str(reply.body), "another body")
    return f"HTTP {reply.status}, {form}"


def is_error(reply: Exchange) -> bool:
    """Whether a reply is an error in the gateway's envelope."""
    return isinstance(member(reply.body, "error", "message"), str)
