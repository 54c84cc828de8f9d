"""What each step does to a row: pure rules, the same for both backends.

A backend loads the rows that a group of steps names, applies the steps to them one after another, and writes what has
changed, all in one transaction. A step that is refused changes nothing, and does not stop the others. Rows are never
changed in place: each rule puts a new one in the old one's place.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from ..errors import BadRequestError, Billed, BudgetExceededError, LedgerError
from .rows import ZERO, Books, BudgetRow, Row
from .states import BILLED, TRANSITIONS, PurchaseState
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

DIED: Final = "The process that bought it ended between sending the request and recording the answer."
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
        row = _reap(books, row)
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
    _write(books, row, taken, "submitting" if step.submit else "claimed")
    return Beginning("buy", taken)


def _begin_unknown(books: Books, step: Begin, row: Row) -> Beginning:
    since = row.updated_at if row.unknown_since is None else row.unknown_since
    due = row.settled_at is None and books.now - since >= step.settle_after and row.account == step.account
    if due:
        _write(books, row, row.but(settled_at=books.now), "unknown")  # so that one call asks, not each
    return Beginning("unknown", row, settle=due)


def _join(books: Books, step: Begin, row: Row) -> Beginning:
    """The image is paid for. If nobody is at work on it, this call takes the work over."""
    kind: Begun = "join" if row.state == "submitted" else "done"
    orphan = kind == "join" and not books.is_alive(row) and row.account == step.account
    joined = row.but(joins=row.joins + 1)
    if orphan:
        joined.worker, joined.claim = books.worker, step.claim
    _write(books, row, joined, row.state)
    return Beginning(kind, joined, owned=orphan, at_work=books.is_alive(row))


# --- on its way -------------------------------------------------------------------------------------------


def _submitting(books: Books, step: Submitting) -> Row:
    row = _existing(books, step)
    if row.claim != step.claim:
        raise _taken_over(step, billed="no")
    if row.state == "submitting" and row.one_shot == step.one_shot:
        return row
    changed = row.but(one_shot=step.one_shot, begun_at=books.now, worker=books.worker)
    return _write(books, row, changed, "submitting")


def _submitted(books: Books, step: Submitted) -> Row:
    row = _existing(books, step)
    if row.claim != step.claim:
        # Another call has begun anew. This task is paid for all the same: keep its id where a person finds it.
        if step.task_id not in (row.task_id, *row.earlier_tasks.split()):
            kept = row.but(earlier_tasks=row.earlier_tasks_with(step.task_id))
            kept.sunk += row.price or ZERO
            _write(books, row, kept, row.state)
        raise _taken_over(step)
    if row.task_id == step.task_id and row.state != "submitting":
        return row
    worker = books.worker if step.keep else None
    changed = row.but(task_id=step.task_id, task=step.task, error=None, worker=worker)
    return _write(books, row, changed, "submitted")


def _delivered(books: Books, step: Delivered) -> Row:
    row = _existing(books, step)
    state: PurchaseState = "saved" if step.saved or row.state == "saved" else "delivered"
    if row.state == "saved" and not step.saved:
        return row
    # Whoever polls a task may see its picture. The task of an earlier attempt says nothing about this one.
    known = row.state in ("submitted", "delivered", "saved", "unknown") and row.task_id == step.task_id
    if row.claim != step.claim and not known:
        raise _taken_over(step)
    changed = row.but(images=step.images, error=None)
    if row.claim == step.claim and not step.keep:
        changed.worker = None
    return _write(books, row, changed, state)


def _ended(books: Books, step: Ended) -> Row:
    row = _existing(books, step)
    # Whoever polls a task may see that it failed; only the call that sent the request may say that it did not go well.
    if row.claim != step.claim and (row.state != "submitted" or row.task_id != step.task_id):
        raise _taken_over(step)
    if row.state == step.state:
        return row
    return _write(books, row, row.but(error=step.error, worker=None, unknown_since=books.now), step.state)


def _release(books: Books, step: Release) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or row.claim != step.claim or row.worker is None:
        return None
    changed = row.but(worker=None, left=row.left or step.left, error=step.error or row.error)
    if row.state == "submitting" and not step.unsent:
        changed.error = step.error or error_json("OutcomeUnknownError", LEFT, "maybe")
        changed.unknown_since = books.now
        return _write(books, row, changed, "unknown")
    return _write(books, row, changed, "planned" if row.state in ("claimed", "submitting") else row.state)


def _left(books: Books, step: Left) -> Row | None:
    row = books.rows.get(step.id)
    return None if row is None else _write(books, row, row.but(left=True), row.state)


def _rejoin(books: Books, step: Rejoin) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or (row.joins, row.left) != (step.joins, step.left):
        return None
    return _write(books, row, row.but(joins=row.joins + 1, left=False), row.state)


def _reap_step(books: Books, step: Reap) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or row.worker is None or (books.is_alive(row) and row.worker != step.dead):
        return None
    return _reap(books, row)


def _reap(books: Books, row: Row) -> Row:
    """Free a row whose worker is dead. The claim stays: a worker that was only slow may still come with its task."""
    freed = row.but(worker=None)
    if row.state == "submitting":
        freed.error = error_json("OutcomeUnknownError", DIED, "maybe")
        freed.unknown_since = books.now - books.lease  # it has given no sign of life since
        return _write(books, row, freed, "unknown")
    return _write(books, row, freed, "planned" if row.state == "claimed" else row.state)


def _take_free(books: Books, step: Take) -> Row | None:
    row = books.rows.get(step.id)
    if row is None or row.worker == row.claim == books.worker:
        return row  # this very step, written a second time
    if books.is_alive(row):
        return None
    if row.worker is not None:
        row = _reap(books, row)
    if row.state not in ("planned", "submitted", "delivered"):
        return None
    taken = row.but(worker=books.worker, claim=books.worker)
    return _write(books, row, taken, "claimed" if row.state == "planned" else row.state)


def _plan_again(books: Books, step: PlanAgain) -> Row | None:
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
    )
    return _write(books, row, planned, "planned")


def _settle(books: Books, step: Settle) -> Row | None:
    row = _existing(books, step)
    changed = row.but(settled_at=books.now)
    if step.charge is not None:
        changed.charge = step.charge
    if step.state is None or row.state != "unknown":
        if step.error is not None and row.state == "unknown":
            changed.error = step.error
        return _write(books, row, changed, row.state)
    changed.error = step.error if step.state == "failed" else None
    changed.worker = None
    if step.task_id is not None:
        changed.task_id, changed.task = step.task_id, step.task
    changed.images = step.images or row.images
    return _write(books, row, changed, step.state, billed=step.billed)


# --- parts ------------------------------------------------------------------------------------------------


def _existing(books: Books, step: Step) -> Row:
    row = books.rows.get(step.id)
    if row is None:
        raise LedgerError(f"The ledger holds no purchase {step.key!r} [{step.index}]", billed="maybe")
    return row


def _taken_over(step: Step, billed: Billed = "maybe") -> LedgerError:
    return LedgerError(f"Another call has taken over the purchase {step.key!r} [{step.index}]", billed=billed)


def _write(books: Books, before: Row, after: Row, state: PurchaseState, billed: Billed | None = None) -> Row:
    """Put ``after`` in the place of ``before`` in ``state``; count the difference in its budget.

    ``before`` may be new: a row that the ledger does not hold yet.
    """
    new = before.id not in books.rows
    if state != before.state and state not in TRANSITIONS[before.state]:
        raise LedgerError(f"The purchase {before.key!r} [{before.index}] is {before.state}; it can't become {state}")
    if billed is not None or state != before.state:
        after.billed = billed or BILLED[state]
    after.state = state
    if new or state != before.state:
        after.updated_at = books.now
    _count(books, before, after, check=state == "submitting" != before.state)
    books.rows[after.id] = after
    (books.added if new else books.changed).add(after.id)
    return after


def _count(books: Books, before: Row, after: Row, *, check: bool) -> None:
    """Move what the purchase takes of its budget from what it was to what it is."""
    (usd_before, images_before), (usd, images) = before.counted(), after.counted()
    if before.budget is not None and before.budget != after.budget:
        _add(books, before.budget, -usd_before, -images_before)
        usd_before, images_before = ZERO, 0
    if after.budget is None:
        return
    if check:
        check_budget(_budget(books, after.budget), after.price, usd - usd_before, images - images_before)
    _add(books, after.budget, usd - usd_before, images - images_before)


def _add(books: Books, name: str, usd: Decimal, images: int) -> None:
    if usd or images:
        budget = _budget(books, name)
        budget.usd += usd
        budget.images += images
        books.touched.add(name)


def check_budget(budget: BudgetRow, price: Decimal | None, usd: Decimal, images: int) -> None:
    """Make sure that ``usd`` dollars more and ``images`` more fit.

    Raises:
        BudgetExceededError: they do not.
    """
    if budget.max_images is not None and budget.images + images > budget.max_images:
        raise BudgetExceededError(
            f"The budget {budget.name!r} of {budget.max_images} images holds {budget.images} already"
        )
    if budget.max_usd is None:
        return
    if price is None:
        raise BudgetExceededError(f"The budget {budget.name!r} is in dollars, and the price of this image is not known")
    if budget.usd + usd > budget.max_usd:
        raise BudgetExceededError(
            f"The budget {budget.name!r} of ${budget.max_usd} has ${budget.max_usd - budget.usd} left; "
            f"this image costs ${price}"
        )


def _budget(books: Books, name: str) -> BudgetRow:
    budget = books.budgets.get(name)
    if budget is None:
        raise BadRequestError(
            f"the ledger has no budget {name!r}",
            code="no_such_budget",
            advice=f"Make it first: ledger.set_budget({name!r}, usd=…), or apimaster ledger budget {name} --usd …",
        )
    return budget


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
    Left: _left,
    Rejoin: _rejoin,
    Reap: _reap_step,
    Take: _take_free,
    PlanAgain: _plan_again,
    Settle: _settle,
}
