"""Put a changed row into the books, and count it in its budget: the end of every rule."""

from __future__ import annotations

from decimal import Decimal

from ..errors import BadRequestError, Billed, BudgetExceededError, LedgerError
from .rows import Books, BudgetRow, Row
from .states import BILLED, TRANSITIONS, PurchaseState
from .steps import Step


def existing(books: Books, step: Step) -> Row:
    """The row that a step names.

    Raises:
        LedgerError: there is none.
    """
    row = books.rows.get(step.id)
    if row is None:
        raise LedgerError(f"The ledger holds no purchase {step.key!r} [{step.index}]", billed="maybe")
    return row


def taken_over(step: Step) -> LedgerError:
    """The error for a step of a call that is not at work on the row any more."""
    return LedgerError(f"Another call has taken over the purchase {step.key!r} [{step.index}]", billed="maybe")


def write(books: Books, before: Row, after: Row, state: PurchaseState, billed: Billed | None = None) -> Row:
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
    moves = before.budget != after.budget
    new = (usd, images) if moves else (usd - usd_before, images - images_before)
    if check and after.budget is not None:
        _check_budget(_budget(books, after.budget), after.price, *new)  # first: a refusal changes nothing
    if moves and before.budget is not None:
        _add(books, before.budget, -usd_before, -images_before)
    if after.budget is not None:
        _add(books, after.budget, *new)


def _add(books: Books, name: str, usd: Decimal, images: int) -> None:
    if usd or images:
        budget = _budget(books, name)
        budget.usd += usd
        budget.images += images
        books.touched.add(name)


def _check_budget(budget: BudgetRow, price: Decimal | None, usd: Decimal, images: int) -> None:
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
        raise BudgetExceededError(
            f"The budget {budget.name!r} is in dollars, and the price of this image is not known",
            advice="Set its price in APIMASTER_CATALOG (docs/models.md), or use a budget in images.",
        )
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
