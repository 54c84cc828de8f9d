"""The states of a purchase, and which state may follow which. One table, for every door and both backends.

=============  ==============================================================  ==================
state          what is known                                                   may be charged
=============  ==============================================================  ==================
planned        work that nobody has begun to buy                               no
claimed        a process prepares the request; nothing has been sent           no
submitting     the request is going out, or its reply is awaited               maybe
submitted      the gateway has a task for it                                   yes
delivered      the picture is made, and its URL is known                       yes
saved          the picture is in a place of the caller's                       yes
failed         it ended without a picture, and without a charge                no, unless resolved
unknown        it was sent, and nobody knows what became of it                 maybe
=============  ==============================================================  ==================

A row is written before the act that it announces: so at whatever moment a process dies, its row says which images may
be paid for.
"""

from __future__ import annotations

from typing import Final, Literal

from ..errors import Billed

PurchaseState = Literal["planned", "claimed", "submitting", "submitted", "delivered", "saved", "failed", "unknown"]

STATES: Final[tuple[PurchaseState, ...]] = (
    "planned",
    "claimed",
    "submitting",
    "submitted",
    "delivered",
    "saved",
    "failed",
    "unknown",
)

TRANSITIONS: Final[dict[PurchaseState, frozenset[PurchaseState]]] = {
    "planned": frozenset({"claimed", "submitting", "failed"}),
    "claimed": frozenset({"planned", "submitting", "failed"}),
    "submitting": frozenset({"planned", "submitted", "delivered", "saved", "failed", "unknown"}),
    "submitted": frozenset({"submitted", "delivered", "saved", "failed", "unknown"}),
    "delivered": frozenset({"delivered", "saved", "unknown"}),
    "saved": frozenset({"delivered", "saved"}),
    # After a failure the image may be bought again. Its process may come late, with a task or with no reply, if it was
    # taken for dead.
    "failed": frozenset({"planned", "claimed", "submitting", "submitted", "delivered", "unknown"}),
    # Settling, a late reply, or a person has found out what became of it.
    # A process that was taken for dead before its next attempt at the request may go on.
    "unknown": frozenset({"planned", "submitting", "submitted", "delivered", "saved", "failed", "unknown"}),
}
"""For each state, the states that may follow it."""

COUNTED: Final = frozenset({"submitting", "submitted", "delivered", "saved", "unknown"})
"""States that count against a budget: the image is charged, or may be."""

PRUNED: Final[tuple[PurchaseState, ...]] = ("delivered", "saved", "failed")
"""States that may be pruned: the purchase is over, and nothing is left to find out."""

BILLED: Final[dict[PurchaseState, Billed]] = {
    "planned": "no",
    "claimed": "no",
    "submitting": "maybe",
    "submitted": "yes",
    "delivered": "yes",
    "saved": "yes",
    "failed": "no",
    "unknown": "maybe",
}
"""What is known of the charge in each state. A failed purchase that a person resolved as charged is the exception."""
