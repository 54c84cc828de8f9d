"""What each step does to a row: pure rules, the same for both backends.

A backend loads the rows that a group of steps names, applies the steps to them one after another, and writes what has
changed, all in one transaction. A step that is refused changes nothing, and does not stop the others. Rows are never
changed in place: each rule puts a new one in the old one's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import BadRequestError
from .bookkeeping import existing, taken_over, write
from .recovery import left, plan_again, reap, reap_step, rejoin, settle, take_free
from .rows import ZERO, Books, Row
from .states import PurchaseState
from .steps import (
    Begin,
    Beginning,
    Begun,
    Delivered,
    Ended,
    Left,
    PlanAgain,
    Reap,
    Rejoin,
    Release,
    Settle,
    Step,
    Submitted,
    Submitting,
    Take,
    error_json,
)

LEFT: Final = "The call was stopped while its request was on its way."


def apply_step(books: Books, step: Step) -> object:
    """Apply one step to ``books``, and return its answer.

    Raises:
        BadRequestError: the key stands for another request, or there is no such budget. Nothing has changed.
        BudgetExceededError: the budget does not hold the price. Nothing has changed.
        LedgerError: the step does not follow from the state of its row, or another call has taken it over.
    """
    return _RULES[type(step)](books, step)


# --- begin ------------------------------------------------------------------------------------------------


def _begin(books: Books, step: Begin) -> Beginning:
    row = books.rows.get(step.id)
    if row is None:
        row = Row(step.key, step.index, step.digest, step.request, alias=step.alias, created_at=books.now)
        return _take(books, step, row)
    if row.digest not in ("", step.digest):  # work that was only planned has none: its references were not read yet
        raise key_reused(step.key)
    if row.claim == step.claim and row.state in ("claimed", "submitting"):
        return Beginning("buy", row)  # this very step, written a second time
    if row.state == "claimed" and row.worker == row.claim == books.worker:
        return _take(books, step, row)  # claimed by this process for the first of its calls
    if row.state in ("claimed", "submitting") and not books.is_alive(row):
        row = reap(books, row)
    if row.state in ("claimed", "submitting"):
        return Beginning("busy", row)
    if row.state == "failed" and row.billed != "no":
        return Beginning("charged", row)
    if row.state in ("planned", "failed"):
        return _take(books, step, row)
    if row.state == "unknown":
        return _begin_unknown(books, step, row)
    return _join(books, step, row)


def _take(books: Books, step: Begin, row: Row) -> Beginning:
    """Make the row this call's own: claimed, or submitting with its money reserved."""
    if step.peek:
        return Beginning("wait", row)
    taken = row.but(
        digest=step.digest,
        request=step.request,
        price=step.price,
        charge=None,
        budget=step.budget,
        account=step.account,
        worker=books.worker,
        claim=step.claim,
        attempts=row.attempts + 1,
        one_shot=step.one_shot,
        task_id=None,
        task=None,
        earlier_tasks=row.earlier_tasks_with(row.task_id),
        images=None,
        error=None,
        left=False,
        settled_at=None,
        unknown_since=None,
        begun_at=books.now if step.submit else None,
        alias=step.alias or row.alias,
    )
    write(books, row, taken, "submitting" if step.submit else "claimed")
    return Beginning("buy", taken)


def _begin_unknown(books: Books, step: Begin, row: Row) -> Beginning:
    since = row.updated_at if row.unknown_since is None else row.unknown_since
    due = row.settled_at is None and books.now - since >= step.settle_after and row.account == step.account
    if due:
        write(books, row, row.but(settled_at=books.now), "unknown")  # so that one call asks, not each
    return Beginning("unknown", row, settle=due)


def _join(books: Books, step: Begin, row: Row) -> Beginning:
    """The image is paid for. If nobody is at work on it, this call takes the work over."""
    kind: Begun = "join" if row.state == "submitted" else "done"
    orphan = kind == "join" and not books.is_alive(row) and row.account == step.account
    joined = row.but(joins=row.joins + 1)
    if orphan:
        joined.worker, joined.claim = books.worker, step.claim
    write(books, row, joined, row.state)
    return Beginning(kind, joined, owned=orphan, at_work=books.is_alive(row))


# --- on its way -------------------------------------------------------------------------------------------


def _submitting(books: Books, step: Submitting) -> Row:
    row = existing(books, step)
    if row.claim != step.claim:
        raise taken_over(step, billed="no")
    if row.state == "submitting" and row.one_shot == step.one_shot:
        return row
    changed = row.but(one_shot=step.one_shot, begun_at=books.now, worker=books.worker)
    return write(books, row, changed, "submitting")


def _submitted(books: Books, step: Submitted) -> Row:
    row = existing(books, step)
    if row.claim != step.claim:
        # Another call has begun anew. This task is paid for all the same: keep its id where a person finds it.
        if step.task_id not in (row.task_id, *row.earlier_tasks.split()):
            kept = row.but(earlier_tasks=row.earlier_tasks_with(step.task_id))
            kept.sunk += row.price or ZERO
            write(books, row, kept, row.state)
        raise taken_over(step)
    if row.task_id == step.task_id and row.state != "submitting":
        return row
    worker = books.worker if step.keep else None
    changed = row.but(task_id=step.task_id, task=step.task, error=None, worker=worker)
    return write(books, row, changed, "submitted")


def _delivered(books: Books, step: Delivered) -> Row:
    row = existing(books, step)
    state: PurchaseState = "saved" if step.saved or row.state == "saved" else "delivered"
    if row.state == "saved" and not step.saved:
        return row
    # Whoever polls a task may see its picture. The task of an earlier attempt says nothing about this one.
    known = row.state in ("submitted", "delivered", "saved", "unknown") and row.task_id == step.task_id
    if row.claim != step.claim and not known:
        raise taken_over(step)
    changed = row.but(images=step.images, error=None)
    if row.claim == step.claim and not step.keep:
        changed.worker = None
    return write(books, row, changed, state)


def _ended(books: Books, step: Ended) -> Row:
    row = existing(books, step)
    # Whoever polls a task may see that it failed; only the call that sent the request may say that it did not go well.
    if row.claim != step.claim and (row.state != "submitted" or row.task_id != step.task_id):
        raise taken_over(step)
    if row.state == step.state:
        return row
    return write(books, row, row.but(error=step.error, worker=None, unknown_since=books.now), step.state)


def _release(books: Books, step: Release) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or row.claim != step.claim or row.worker is None:
        return None
    changed = row.but(worker=None, left=row.left or step.left, error=step.error or row.error)
    if row.state == "submitting" and not step.unsent:
        changed.error = step.error or error_json("OutcomeUnknownError", LEFT, "maybe")
        changed.unknown_since = books.now
        return write(books, row, changed, "unknown")
    return write(books, row, changed, "planned" if row.state in ("claimed", "submitting") else row.state)


def key_reused(key: str) -> BadRequestError:
    """The error for a key that stands for another request."""
    return BadRequestError(
        f"the idempotency key {key!r} stands for another request",
        code="idempotency_key_reused",
        advice="Use a new key for a new request; the same key brings the same picture.",
    )


_RULES: Final[dict[type, Callable[[Books, Any], object]]] = {
    Begin: _begin,
    Submitting: _submitting,
    Submitted: _submitted,
    Delivered: _delivered,
    Ended: _ended,
    Release: _release,
    Left: left,
    Rejoin: rejoin,
    Reap: reap_step,
    Take: take_free,
    PlanAgain: plan_again,
    Settle: settle,
}
