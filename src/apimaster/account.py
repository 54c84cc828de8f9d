"""The account's own books: what a key may spend, and the charges of its usage log."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from typing_extensions import Self

ChargeKind = Literal["charge", "refund", "error", "other"]


class _Frozen(BaseModel):
    # The validators are built at their first use: to build them here would be a good part of the import time.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Charge(_Frozen):
    """One row of the usage log.

    The row of a task appears when it is submitted, that of a one-shot call when its picture is done, even if the client
    has lost the connection long before.

    Attributes:
        at: when the gateway wrote the row, in unix seconds; 0 if the row has no date.
        kind: ``"charge"``, ``"refund"``, ``"error"`` (a failed call, not charged), or ``"other"``.
        model: the model id.
        cost: US dollars, exact, positive for charges and refunds alike; 0 if the row names no amount.
        seconds: how long the gateway worked on the call, in seconds.
        request_id: the gateway's id of the request, as in ``error.request_id``.
        task_id: the id of the task; None after a one-shot call.
        prompt: the prompt, as it was sent.
        aspect_ratio: the aspect ratio or the pixels, as they were sent; None if they were not.
        resolution: ``0.5K``, ``1K``, ``2K`` or ``4K``, as it was asked for; None if it was not.
        effective_resolution: the resolution that the gateway charged for, spelled in the same way.
        image_urls: the URLs of the reference images, those of uploads included; pictures that went out inside the
            request are not listed.
        result_url: the URL of the picture, once it is done.
        refunded: whether this charge was given back since; the refund has a row of its own.
        content: the gateway's own note on the row.
    """

    at: int
    kind: ChargeKind
    model: str | None = None
    cost: Decimal
    seconds: float | None = None
    request_id: str | None = None
    task_id: str | None = None
    prompt: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    effective_resolution: str | None = None
    image_urls: tuple[str, ...] = ()
    result_url: str | None = None
    refunded: bool = False
    content: str | None = None


class Charges(tuple[Charge, ...]):
    """Rows of the usage log, newest first: a tuple that knows whether it holds all of them.

    Attributes:
        complete: False if the log may have held more: it keeps the newest 1,000 rows, and all of these are younger than
            the time that was asked for.
    """

    complete: bool

    def __new__(cls, rows: Iterable[Charge] = (), complete: bool = True) -> Self:
        """Hold these rows."""
        made = super().__new__(cls, rows)
        made.complete = complete
        return made


class Account(_Frozen):
    """What a key may spend, and has spent.

    Attributes:
        name: the name of the key in the console.
        granted: US dollars, exact: all that the key was ever allowed to spend; None if the key has no limit of its own.
        used: US dollars, exact: what it has spent.
        available: US dollars, exact: what it may still spend; None if the key has no limit of its own.
        unlimited: whether the key has no limit of its own. Then the account's balance is the limit, which the gateway
            does not tell.
        expires_at: when the key expires, in unix seconds; None if it does not.
    """

    name: str | None = None
    granted: Decimal | None = None
    used: Decimal | None = None
    available: Decimal | None = None
    unlimited: bool = False
    expires_at: int | None = None
