"""What each step does to a row: pure rules, the same for both backends.

A backend loads the rows that a group of steps names, applies the steps to them one after another, and writes what has
changed, all in one transaction. A step that is refused changes nothing, and does not stop the others. Rows are never
changed in place: each rule puts a new one in the old one's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .bookkeeping import existing, taken_over, write
from .digest import key_reused
from .recovery import (
    left,
    not_looked,
    plan_again,
    reap,
    reap_step,
    rejoin,
    report,
    settle,
    take_free,
    unreported,
)
from .rows import ZERO, Books, Row
from .settling_due import settling_is_due
from .states import PurchaseState
from .steps import (
    Begin,
    Beginning,
    Begun,
    Delivered,
    Ended,
    Left,
    NotLooked,
    PlanAgain,
    Reap,
    Rejoin,
    Release,
    Report,
    Reported,
    Settle,
    Step,
    Submitted,
    Submitting,
    Take,
    Unreported,
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
    if not step.submit:
        return _claim(books, step, row)
    if row is None:
        row = Row(step.key, step.index, step.digest, step.request, alias=step.alias, created_at=books.now)
        return _take(books, step, row)
    # Work that was only planned has no digest: its references were not read yet.
    if row.digest not in ("", step.digest, *step.same_digests):
        raise key_reused(step.key)
    if row.claim == step.claim and row.state in ("claimed", "submitting"):
        return _take_up(books, step, row)
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


def _claim(books: Books, step: Begin, row: Row | None) -> Beginning:
    """The call asks for this image when it has read its references; if it is free, nobody else buys it meanwhile."""
    if row is None:
        row = Row(step.key, step.index, step.digest, step.request, alias=step.alias, created_at=books.now)
        row.price, row.account = step.price, step.account
    elif row.claim == step.claim and row.state == "claimed":
        return Beginning("buy", row)  # this very step, written a second time
    elif row.state in ("claimed", "submitting") and row.worker != row.claim and not books.is_alive(row):
        row = reap(books, row)
    if row.id in books.rows and (row.state, row.billed) != ("failed", "no"):
        return Beginning("busy", row)
    # All else stays what an earlier attempt left: the call may still be refused.
    taken = row.but(worker=books.worker, claim=step.claim, attempts=row.attempts + 1, left=False)
    taken.alias = step.alias or row.alias
    return Beginning("buy", write(books, row, taken, "claimed"))


def _take(books: Books, step: Begin, row: Row, *, claimed: bool = False) -> Beginning:
    """Make the row this call's own: claimed, or submitting with its money reserved.

    ``claimed``: this call has claimed it before.
    """
    if step.peek and (step.alias is None or row.worker == row.claim == books.worker):
        return Beginning("wait", row)  # it is found as it is: by its key, for which others wait as well
    state = _state_after(step)
    taken = row.but(
        digest=step.digest,
        request=step.request,
        price=step.price,
        charge=None,
        budget=step.budget,
        account=step.account,
        worker=books.worker,
        claim=step.claim,
        attempts=row.attempts + (not claimed),
        one_shot=step.one_shot,
        task_id=None,
        task=None,
        earlier_tasks=row.earlier_tasks_with(row.task_id),
        images=None,
        error=None,
        left=claimed and row.left,
        settled_at=None,
        unknown_since=None,
        begun_at=books.now if state == "submitting" else None,
        alias=step.alias or row.alias,
    )
    write(books, row, taken, state)
    return Beginning("wait" if step.peek else "buy", taken)


def _take_up(books: Books, step: Begin, row: Row) -> Beginning:
    """It is this call's own: its turn has come, or this very step is written a second time."""
    if row.state == "claimed" and _state_after(step) == "submitting":
        return _take(books, step, row, claimed=True)
    return Beginning("wait" if step.peek else "buy", row)


def _state_after(step: Begin) -> PurchaseState:
    return "submitting" if step.submit and not step.peek else "claimed"


def _begin_unknown(books: Books, step: Begin, row: Row) -> Beginning:
    due = row.account in ("", step.account) and settling_is_due(row, books.now, step.settle_after)
    if due:
        write(books, row, row.but(settled_at=books.now), "unknown")  # so that one call asks, not each
    return Beginning("unknown", row, settle=due, asked_at=books.now)


def _join(books: Books, step: Begin, row: Row) -> Beginning:
    """The image is paid for. If nobody is at work on it, this call takes the work over."""
    kind: Begun = "join" if row.state == "submitted" else "done"
    orphan = kind == "join" and not books.is_alive(row) and row.account in ("", step.account)
    joined = row.but(joins=row.joins + 1)
    if orphan:
        joined.worker, joined.claim = books.worker, step.claim
    write(books, row, joined, row.state)
    return Beginning(kind, joined, owned=orphan, at_work=books.is_alive(row))


# --- on its way -------------------------------------------------------------------------------------------


def _submitting(books: Books, step: Submitting) -> Row | None:
    row = existing(books, step)
    # What settling has given a task, or found charged, must not be bought again, even by the call that began it.
    again = row.state in ("claimed", "submitting", "planned", "failed", "unknown") and row.task_id is None
    if row.claim != step.claim or not again or (row.state == "failed" and row.billed != "no"):
        return None
    changed = row.but(
        one_shot=step.one_shot, begun_at=books.now, worker=books.worker, error=None, unknown_since=None, settled_at=None
    )
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
    earlier = row.earlier_tasks_with(row.task_id)  # settling has taken another charge for this call's
    worker = books.worker if step.keep else None
    changed = row.but(task_id=step.task_id, task=step.task, error=None, worker=worker, earlier_tasks=earlier)
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
    if row.claim == step.claim:
        changed.worker = books.worker if step.keep else None  # who is late is at work on it all the same
    return write(books, row, changed, state)


def _ended(books: Books, step: Ended) -> Row:
    row = existing(books, step)
    # Whoever polls a task may see that it failed; only the call that sent the request may say that it did not go well,
    # unless settling has found its task meanwhile.
    polled = row.state == "submitted" and row.task_id == step.task_id
    sent = row.claim == step.claim and row.task_id in (None, step.task_id)
    if row.state == "saved" and row.task_id == step.task_id:
        return row  # another call has saved the picture, so this error is of no account
    if not polled and not sent:
        raise taken_over(step)
    if row.state == step.state:
        return row
    return write(books, row, row.but(error=step.error, worker=None, unknown_since=books.now), step.state)


def _release(books: Books, step: Release) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or row.claim != step.claim:
        return None
    over: PurchaseState = "failed" if step.over else "planned"
    changed = row.but(worker=None, left=row.left or step.left, error=step.error or row.error)
    if step.unsent and row.task_id is None and row.state in ("claimed", "submitting", "unknown"):
        return write(books, row, changed, over)  # also if the process was taken for dead: it knows better
    if row.worker is None:
        return None
    if row.state == "submitting":
        changed.error = step.error or error_json("OutcomeUnknownError", LEFT, "maybe")
        changed.unknown_since = books.now
        return write(books, row, changed, "unknown")
    return write(books, row, changed, over if row.state == "claimed" else row.state)


_RULES: Final[dict[type, Callable[[Books, Any], object]]] = {
    Begin: _begin,
    Submitting: _submitting,
    Submitted: _submitted,
    Delivered: _delivered,
    Ended: _ended,
    Release: _release,
    Left: left,
    Rejoin: rejoin,
    Report: report,
    Reported: report,
    Unreported: unreported,
    Reap: reap_step,
    Take: take_free,
    PlanAgain: plan_again,
    Settle: settle,
    NotLooked: not_looked,
}
