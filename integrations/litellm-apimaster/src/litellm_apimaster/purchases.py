"""Which purchase in the ledger a call belongs to: a new one, or one that an earlier attempt began.

==========================================  ============================================================
the call                                    its purchase
==========================================  ============================================================
has an idempotency key                      the one with this key and caller, else a new one
is a Router's retry or fallback             the one that the attempt before it began, unless that cost nothing
is a client's retry, marked as such         one of the same caller with the same body, under way or ended within
                                            15 minutes; bought again if it cost nothing
is anything else, a first attempt           a new one
==========================================  ============================================================

All of it is in the ledger, so it holds for every worker and every proxy that shares one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from apimaster import ImageRequest, ImageResult
from apimaster.errors import OutcomeUnknownError
from apimaster.ledger import Ledger
from apimaster.ledger.default_place import default_place
from apimaster.ledger.location import LEDGER_VARIABLE, data_folder
from apimaster.ledger.rows import Row
from apimaster.ledger.schema import Where
from apimaster.ledger.steps import Left, Rejoin

from .errors import UNKNOWN_OUTCOMES
from .identity import BY_A_RETRY, Identity
from .responses import Bought, ImageContent
from .spend_report import SpendReport

OVERTAKEN_BY: Final = 10.0
"""Seconds by which a client's retry may have begun to buy before its first attempt does."""

RETRY_WINDOW: Final = 900.0
"""Seconds since the last step of a purchase within which a client's retry finds it; one under way has more time."""
_LONGEST_CALL: Final = 7200.0  # seconds in which a client, its retries included, gives up
_UNDER_WAY: Final = frozenset({"claimed", "submitting", "submitted"})


@dataclass(frozen=True, slots=True)
class Plan:
    """How to buy, or whom to join.

    Attributes:
        ledger: the ledger.
        key: the purchase's key in it.
        alias: another name by which a later attempt finds it.
        request: what goes to the gateway.
        asked: what the key stands for.
        call_id: LiteLLM's call id, for the log.
    """

    ledger: Ledger
    key: str
    alias: str | None
    request: ImageRequest
    asked: ImageRequest
    call_id: str

    def bought(self, result: ImageResult, contents: Sequence[ImageContent]) -> Bought:
        """What the call has got."""
        return Bought(result, contents, self.key, self.report(result))

    def report(self, result: ImageResult | None) -> SpendReport:
        """What the call reports as the cost; ``result`` None: it has failed."""
        return SpendReport(self.ledger, self.key, result, self.request.n)

    def caller_left(self) -> None:
        """The caller went away, and the purchase goes on. Does not wait."""
        self.ledger.take(Left(key=self.key))


def open_ledger() -> Ledger:
    """The ledger of this process: ``APIMASTER_LEDGER``, else SQLite in the user's data directory, else memory.

    Raises:
        BadRequestError: ``APIMASTER_LEDGER`` is not a place.
    """
    place = os.environ.get(LEDGER_VARIABLE, "").strip()
    return Ledger.shared(place or default_place(data_folder() / "litellm"))


def plan_purchase(request: ImageRequest, identity: Identity, *, buy_again: bool) -> Plan:
    """Find the purchase of a call. Blocking: it reads the ledger if an earlier call may have begun it with another key.

    With the call's own key there is nothing to find: the ledger decides who buys and who joins.

    Args:
        request: what goes to the gateway.
        identity: the call's names.
        buy_again: the operator lets LiteLLM retry what may have been charged, at a further charge.

    Raises:
        LedgerError: the ledger can't be read. Nothing was sent.
    """
    ledger = open_ledger()
    plan = Plan(ledger, identity.key, identity.alias, request, identity.asked, identity.call_id)
    if identity.named:
        return plan
    row: Row | None = None
    if identity.router_retry and not buy_again:
        row = _of_attempt_before(ledger, identity)
    elif identity.client_retries and identity.alias is not None:
        row = _of_client(ledger, identity.alias, identity.client_retries)
    elif identity.in_proxy and identity.alias is not None:
        row = _of_overtaking_retry(ledger, identity.alias, identity.call_id)
    if row is not None:
        return replace(plan, key=row.key)
    if buy_again:
        return replace(plan, key=f"{plan.key}/{secrets.token_hex(4)}")
    return plan


def _of_attempt_before(ledger: Ledger, identity: Identity) -> Row | None:
    """What the attempt before bought, or may have bought, where a Router gives each attempt a call id of its own.

    Raises:
        OutcomeUnknownError: the attempt before may have been charged, and LiteLLM tells nothing by which to find it.
    """
    rows = _first_images(ledger, Where(key=identity.key))
    if not rows and identity.alias is not None and not identity.in_proxy:
        rows = _first_images(ledger, Where(alias=identity.alias))[-1:]
    if not rows and identity.after in UNKNOWN_OUTCOMES:
        raise OutcomeUnknownError("An earlier attempt at this request may have been charged, so it is not sent again.")
    return next(filter(_is_bought, rows), None)


def _of_client(ledger: Ledger, alias: str, retries: int) -> Row | None:
    """The purchase that a client's retry belongs to; each of several equal ones goes to one client."""
    while True:
        now = ledger.call(lambda backend: backend.now()).result()
        rows = [
            row
            for row in _first_images(ledger, Where(alias=alias, since=now - _LONGEST_CALL))
            if row.state in _UNDER_WAY or row.updated_at >= now - RETRY_WINDOW
        ]
        if not rows:
            return None
        found = min(rows, key=lambda row: _preference(row, retries))
        if ledger.take(Rejoin(key=found.key, joins=found.joins, left=found.left)).result() is not None:
            return found


def _of_overtaking_retry(ledger: Ledger, alias: str, call_id: str) -> Row | None:
    """What the retry of a client bought because this, its first attempt, came too late.

    A proxy that is busy may look at a request when its client has given up and asked another proxy. Each such purchase
    is that of one first attempt; a request that comes later is a new one.
    """
    now = ledger.call(lambda backend: backend.now()).result()
    for row in _first_images(ledger, Where(alias=alias, since=now - OVERTAKEN_BY)):
        name = f"litellm first attempt of {row.key}"
        if row.key.endswith(BY_A_RETRY) and _is_bought(row) and ledger.note(name) is None:
            ledger.set_note(name, call_id)
            if ledger.note(name) == call_id:
                return row
    return None


def _preference(row: Row, retries: int) -> tuple[bool, bool, bool, int, float]:
    """Which of several equal purchases a client's retry takes: the smallest.

    One whose client has gone comes first, then those under way, the oldest first. Of those that have ended, well or
    not, the newest comes first: an older one has probably reached its client. A first retry prefers a purchase that no
    retry has joined; a later one has joined one before.
    """
    under_way = row.state in _UNDER_WAY
    return (
        not row.left,
        not under_way,
        retries > 1 and row.joins == 0,
        row.joins,
        row.created_at if under_way else -row.created_at,
    )


def _first_images(ledger: Ledger, where: Where) -> list[Row]:
    """The first image of each purchase, oldest first."""
    return list(ledger.rows(replace(where, index=0)))


def _is_bought(row: Row) -> bool:
    """Whether it is charged, or may be, or is about to be."""
    return row.billed != "no" or row.state == "claimed"
