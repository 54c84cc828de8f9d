"""The gateway's usage log, and what it can prove: how far it reaches, and whether it is up to date. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .matching import ABOUT, SLACK, Candidate, begun_of
from .purchase import images_of
from .rows import Row

if TYPE_CHECKING:
    from ..account import Charge

LOG_ROWS: Final = 1000
"""The log holds so many rows; if it has fewer, it reaches back to the first charge."""


@dataclass(frozen=True, slots=True)
class Log:
    """The usage log, and what the ledger knows of it.

    Attributes:
        charges: all rows that the log gave.
        known: purchases of the same account, or of nobody knows which, whose tasks or pictures the log may name.
        now: unix seconds by the ledger's clock.
        settle_after: seconds after which a submit must be in the log.
        clock_offset: seconds by which the gateway's clock is ahead, as far as its replies show.
        on_their_way: purchases of the account whose requests were out when the log was read, or later.
        newest: the newest purchases of the account that have a task.
        gateway: host and port of the gateway, where uploads lie; empty if they are not known.
        pruned: tasks, and URLs of pictures without one, of purchases that the ledger does not hold any more.
    """

    charges: Sequence[Charge]
    known: Sequence[Row]
    now: float
    settle_after: float = 60.0
    clock_offset: float = 0.0
    on_their_way: Sequence[Row] = ()
    newest: Sequence[Row] = ()
    pruned: frozenset[str] = frozenset()
    gateway: str = ""


def clock(log: Log) -> tuple[float, list[float]]:
    """Seconds by which the gateway's clock is ahead of the ledger's, and the times of the purchases that both know."""
    # What was taken over from an older version may not say when its request went out.
    own = {row.task_id: row for row in log.known if row.account and row.begun_at is not None}
    shared = [
        (charge.at, own[charge.task_id])
        for charge in log.charges
        if charge.task_id is not None and charge.task_id in own and charge.kind == "charge" and charge.at > 0
    ]
    # A one-shot call without a task is known by its picture.
    drawn = {image.url: row for row in log.known if row.task_id is None and row.account for image in images_of(row)}
    shared += [
        (charge.at, drawn[charge.result_url])
        for charge in log.charges
        if charge.result_url is not None and charge.result_url in drawn and charge.kind == "charge" and charge.at > 0
    ]
    # What has no task is charged when its picture is drawn, and what was unknown may have the charge of another one.
    exact = [(at, row) for at, row in shared if row.task_id is not None and not row.one_shot]
    ahead = sorted(at - begun_of(row) for at, row in exact if row.unknown_since is None)
    offset = ahead[len(ahead) // 2] if ahead else log.clock_offset  # one odd pair must not count
    # One that was charged by another clock, before it was set right, says nothing of the log at its own time.
    return offset, [begun_of(row) for at, row in shared if abs(at - offset - begun_of(row)) <= ABOUT]


def still_to_wait(each: Candidate, log: Log) -> float:
    """Seconds until the lack of a charge counts; 0 or less: it does."""
    return each.latest + log.settle_after - log.now


def is_cut_off(log: Log, begun: float, offset: float) -> bool:
    """Whether the log may have lost a charge from that time: it holds so many rows and no more."""
    # A row whose time can't be read has none, and tells nothing of how far the log reaches back.
    oldest = min((charge.at - offset for charge in log.charges if charge.at > 0), default=None)
    return len(log.charges) >= LOG_ROWS and (oldest is None or oldest > begun - SLACK)


def not_shown(log: Log) -> list[Row]:
    """The newest purchases that the log should hold by now, and does not."""
    shown = {charge.task_id for charge in log.charges}
    return [
        row
        for row in log.newest
        # What was bought in another way shows at another time.
        if row.task_id is not None and row.account and not row.one_shot and row.unknown_since is None
        if row.begun_at is not None and row.begun_at <= log.now - log.settle_after and row.task_id not in shown
    ]


def bought_later(each: Candidate, missing: Sequence[Row]) -> Row | None:
    """The one of ``missing``, as ``not_shown`` gives them, that was bought after this purchase."""
    return next((row for row in missing if each.begun <= begun_of(row) <= each.latest + ABOUT), None)
