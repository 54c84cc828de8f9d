"""One image of a batch, as the ledger knows it and as a caller gets it.

A line of the list becomes ``n`` items. Each of them is a task, a charge and a file of its own.

=============  =========================================================  ==================
state          what it means                                              counts as spent
=============  =========================================================  ==================
planned        nothing was sent                                           no
submitting     the submit is about to go out, or is out                   yes
submitted      there is a task id; it is paid for                         yes
delivered      the picture is made; its URL is known                      yes
saved          the picture is on disk                                     yes
failed         refused, or failed and refunded                            no
unknown        it may be paid for, and there is no picture                yes
=============  =========================================================  ==================
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from ..errors import Billed
from ..ledger.states import PurchaseState
from ..request import ImageRequest
from ..results import Task

State = Literal["planned", "submitting", "submitted", "delivered", "saved", "failed", "unknown"]

STATES: Final[tuple[State, ...]] = ("planned", "submitting", "submitted", "delivered", "saved", "failed", "unknown")
SPENT: Final[frozenset[State]] = frozenset({"submitting", "submitted", "delivered", "saved", "unknown"})
"""States in which the image is charged, or may be."""
ENDED: Final[frozenset[State]] = frozenset({"saved", "failed", "unknown"})

IMAGES: Final = "images"
"""The folder of the pictures, inside of the batch's."""

ZERO: Final = Decimal(0)


def batch_state(state: PurchaseState, billed: Billed) -> State:
    """The state of an image whose purchase is in this state.

    ``claimed`` is planned: nothing was sent. What somebody found to be charged without a picture is unknown here: it is
    spent, and only ``--retry-unknown`` buys it again.
    """
    if state == "claimed":
        return "planned"
    return "unknown" if state == "failed" and billed != "no" else state


def request_json(request: ImageRequest) -> str:
    """A request as the folder stores it: every field that is set, and always the model, in one fixed order."""
    return request.model_dump_json(exclude_none=True)


class BatchItem(BaseModel):
    """One image of a batch.

    Attributes:
        id: unique in its folder; it names the picture's file.
        line: the line of the list that it came from, from 1; for requests given in Python, their position.
        request: its request, with ``n`` = 1.
        tags: the caller's own labels.
        state: ``"planned"``, ``"submitting"``, ``"submitted"``, ``"delivered"``, ``"saved"``, ``"failed"`` or
            ``"unknown"``.
        price: US dollars that this image costs, exact; None if the model's price is not published.
        task: the gateway's task, once there is one.
        error: what went wrong (``message`` of the error).
        error_type: the class of the error, for example ``"GenerationFailedError"``.
        billed: whether money was spent on it: ``"no"``, ``"maybe"`` or ``"yes"``.
        path: the picture, relative to the batch's folder, with forward slashes; None until it is saved.
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``, read from the bytes.
        width: pixels, read from the bytes.
        height: pixels, read from the bytes.
        deviations: how the picture differs from the request, one sentence each.
        attempts: how often it was submitted.
        sunk: US dollars that earlier attempts may have cost (after ``retry_unknown``).
        submitted_at: unix seconds of the last submit.
        finished_at: unix seconds at which the image was saved, failed or became unknown.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    line: int
    request: ImageRequest
    tags: tuple[str, ...] = ()
    state: State = "planned"
    price: Decimal | None = None
    task: Task | None = None
    error: str | None = None
    error_type: str | None = None
    billed: Billed = "no"
    path: str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    deviations: tuple[str, ...] = ()
    attempts: int = 0
    sunk: Decimal = ZERO
    submitted_at: float | None = None
    finished_at: float | None = None

    @property
    def cost(self) -> Decimal | None:
        """US dollars that it cost or may have cost, earlier attempts included; None if not known."""
        if self.state not in SPENT:
            return self.sunk
        return None if self.price is None else self.price + self.sunk

    def changed(self, **fields: Any) -> BatchItem:
        """A copy with these fields, unchecked."""
        return self.model_copy(update=fields)
