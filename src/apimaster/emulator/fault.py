"""One thing that goes wrong: where, what goes on the wire, and whether the job was accepted all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, get_args

Place = Literal["generate", "task", "poll", "download", "output"]
PLACES: Final[tuple[str, ...]] = get_args(Place)
Wire = Literal["reply", "cut", "hang", "slow", "truncate", "endless", "picture", "outcome"]

HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: what it is called in scripts, on the command line and in the records.
        place: where it happens by itself; a script may move it with ``on=``.
        wire: what goes on the wire: a whole reply, a cut connection, silence, a slow or a truncated body, an endless
            one, a picture that is not the right one, or (``outcome``) nothing here: the job ends in another way.
        status: HTTP status.
        message, type, code: the JSON error; without a message the body is ``body``.
        body: the body where it is not a JSON error.
        content_type: of ``body``.
        headers: further headers.
        retry_after: the ``Retry-After`` header: seconds, or ``"date:30"`` for an HTTP date in 30 seconds.
        accepted: the job was taken and charged, and goes on.
        refunded: taken, failed and given back at once.
        seconds: how long a slow body takes.
        reset: a cut is a TCP reset instead of an orderly end.
        location: target of a redirect; ``"cdn"`` means the emulator's second origin.
        picture: how a delivered picture is wrong.
        outcome: how the job ends.
        reason: what a failed task says of itself: text, an object, or None.
    """

    name: str
    place: Place
    wire: Wire = "reply"
    status: int = 200
    message: str | None = None
    type: str = "new_api_error"
    code: str | int | None = None
    body: str = ""
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | str | None = None
    accepted: bool = False
    refunded: bool = False
    seconds: float = 1.0
    reset: bool = False
    location: str | None = None
    picture: Literal["html", "wrong_pixels", "wrong_format", "cut_short", "empty"] | None = None
    outcome: Literal["failed", "cancelled", "never", "no_image"] | None = None
    reason: str | Mapping[str, Any] | None = None

    def changed(self, options: Mapping[str, Any]) -> Fault:
        """The same fault with some attributes set otherwise.

        Raises:
            ValueError: there is no such attribute.
        """
        accepted = {item.name for item in fields(self)} - {"name", "place"}
        unknown = set(options) - accepted
        if unknown:
            raise ValueError(f"fault option {min(unknown)!r} is not known; accepted: {', '.join(sorted(accepted))}")
        return replace(self, **options)
