"""The rules of rows whose call or process is gone, or may be.

Who frees them, who takes them over, who reports their cost, and what settling says of them.
"""

from __future__ import annotations

from typing import Final

from ..catalog import SUBMIT_TIMEOUT
from .bookkeeping import write
from .rows import REPORTED_BY_VERSION_2, Books, Row
from .steps import Left, NotLooked, PlanAgain, Reap, Rejoin, Report, Settle, Take, Unreported, error_json

DIED: Final = "The process that bought it ended between sending the request and recording the answer."
UNSENT: Final = "The process that was to buy it ended before it sent the request."


def left(books: Books, step: Left) -> Row | None:
    """Note that the caller of this purchase has gone away."""
    row = books.rows.get(step.id)
    return None if row is None else write(books, row, row.but(left=True), row.state)


def rejoin(books: Books, step: Rejoin) -> Row | None:
    """Give the purchase to a caller that came back, if nobody else has taken it since it was read."""
    row = books.rows.get(step.id)
    if row is None or (row.joins, row.left) != (step.joins, step.left):
        return None
    return write(books, row, row.but(joins=row.joins + 1, left=False), row.state)


def report(books: Books, step: Report) -> Row | None:
    """Let this call report the cost, if it is the first one to ask. Who is at work on the purchase stays so."""
    row = books.rows.get(step.id)
    if row is None or not (row.state in ("delivered", "saved") or (step.paid and row.billed == "yes")):
        return None
    by = row.reported or _reported_by_version_2(row)
    if by is not None:
        return row if by == step.claim else None
    return write(books, row, row.but(reported=step.claim), row.state)


def _reported_by_version_2(row: Row) -> str | None:
    """The report that a process of version 2 has made since the tables were brought up to date: in the claim."""
    return row.claim if row.claim is not None and row.claim.startswith(REPORTED_BY_VERSION_2) else None


def unreported(books: Books, step: Unreported) -> Row | None:
    """Let another call report the cost, if it was this one that was to."""
    row = books.rows.get(step.id)
    if row is None or row.reported != step.claim:
        return None
    return write(books, row, row.but(reported=None, left=True), row.state)


def reap_step(books: Books, step: Reap) -> Row | None:
    """Free the row if its worker is dead."""
    row = books.rows.get(step.id)
    if row is None or row.worker is None or (books.is_alive(row) and row.worker != step.dead):
        return None
    return reap(books, row)


def reap(books: Books, row: Row) -> Row:
    """Free a row whose worker is dead. The claim stays: a worker that was only slow may still come with its task."""
    freed = row.but(worker=None)
    if row.state == "submitting":
        freed.error = error_json("OutcomeUnknownError", DIED, "maybe")
        # Before each attempt its process asks whether the purchase is still its own: so none begins after this.
        begun = books.now if row.begun_at is None else row.begun_at
        freed.unknown_since = min(books.now, begun + SUBMIT_TIMEOUT)
        return write(books, row, freed, "unknown")
    if row.state != "claimed":
        return write(books, row, freed, row.state)
    if row.claim == row.worker:  # work of a batch: it stays work
        return write(books, row, freed, "planned")
    freed.error = error_json("APIConnectionError", UNSENT, "no")
    return write(books, row, freed, "failed")


def take_free(books: Books, step: Take) -> Row | None:
    """Give the row to this process, if there is work on it and nobody is at it."""
    row = books.rows.get(step.id)
    if row is None or row.worker == row.claim == books.worker:
        return row  # this very step, written a second time
    if books.is_alive(row):
        return None
    if row.worker is not None:
        row = reap(books, row)
    if row.state not in ("planned", "submitted", "delivered"):
        return None
    taken = row.but(worker=books.worker, claim=books.worker)
    return write(books, row, taken, "claimed" if row.state == "planned" else row.state)


def plan_again(books: Books, step: PlanAgain) -> Row | None:
    """Make a row that ended badly work again. What it may have cost stays in its budget."""
    row = books.rows.get(step.id)
    if row is None or row.state not in ("failed", "unknown"):
        return None
    planned = row.but(
        earlier_tasks=row.earlier_tasks_with(row.task_id),
        digest="",
        worker=None,
        claim=None,
        task_id=None,
        task=None,
        images=None,
        error=None,
        charge=None,
        settled_at=None,
        unknown_since=None,
        sunk=row.counted()[0],
        reported=None if row.counted()[1] else row.reported,
    )
    return write(books, row, planned, "planned")


def settle(books: Books, step: Settle) -> Row | None:
    """Write what the usage log, or a person, says. Nothing, if the row was pruned meanwhile."""
    row = books.rows.get(step.id)
    if row is None:
        return None
    if step.begun_at is not None and row.begun_at != step.begun_at:
        return row  # it has been bought again since the log was read
    given = step.images if step.task_id is None else step.task_id
    may_end = row.state == "unknown" or (step.by_hand and row.state == "submitted" and not books.is_alive(row))
    if step.state is not None and given is not None and may_end:
        if books.owners.get(given, row.id) != row.id:  # who settles at the same time has read another log
            return write(books, row, row.but(settled_at=None), row.state)
        books.owners[given] = row.id
    changed = row.but(settled_at=None if step.soon else books.now)
    if step.charge is not None:
        changed.charge = step.charge
    if step.state is None or not may_end:
        if step.error is not None and row.state == "unknown":
            changed.error = step.error
        return write(books, row, changed, row.state)
    changed.error = step.error if step.state == "failed" else None
    changed.worker = None
    if step.task_id is not None:
        changed.earlier_tasks = row.earlier_tasks_with(row.task_id if row.task_id != step.task_id else None)
        changed.task_id, changed.task = step.task_id, step.task
    changed.images = step.images or row.images
    return write(books, row, changed, step.state, billed=step.billed)


def not_looked(books: Books, step: NotLooked) -> Row | None:
    """Nobody has looked for it: the next call with its key may ask. Nothing, if somebody else has looked since."""
    row = books.rows.get(step.id)
    if row is None or row.state != "unknown" or row.settled_at != step.asked_at:
        return None
    return write(books, row, row.but(settled_at=step.settled_at), row.state)
