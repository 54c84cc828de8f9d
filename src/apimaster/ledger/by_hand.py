"""What a person tells a ledger: an amount of money, and what became of a purchase."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any, Final

from ..errors import BadRequestError
from ..results import Task
from .purchase import purchase_from, task_json
from .rows import Row
from .steps import Settle, error_json


class Unset(Enum):
    """The value of an argument that was not given, where None has a meaning."""

    UNSET = "not given"


UNSET: Final = Unset.UNSET


def dollars(name: str, value: Decimal | str | float) -> Decimal:
    """An amount of US dollars, exact: a float counts as it is written.

    Raises:
        BadRequestError: it is negative, or not a number.
    """
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise BadRequestError(f"{name} must be an amount of US dollars, 0 or more, not {value!r}")
    return amount


def resolved(row: Row, charged: bool | None, task: Task | str | None) -> Settle:
    """The step that records what a person has found out: that it was charged or not, or its task.

    Raises:
        BadRequestError: the task has no id.
    """
    of: dict[str, Any] = {"key": row.key, "index": row.index, "begun_at": row.begun_at, "by_hand": True}
    if task is not None:
        known = task if isinstance(task, Task) else Task(id=task.strip(), model=purchase_from(row).request.model)
        if not known.id or len(known.id.split()) != 1:
            raise BadRequestError(f"task must be a task or its id, not {task!r}")
        return Settle(state="submitted", task_id=known.id, task=task_json(known), **of)
    if charged:
        error = error_json("NoImageError", "It was charged, and its picture is lost, as somebody found out.", "yes")
        return Settle(state="failed", error=error, billed="yes", **of)
    error = error_json("InternalServerError", "It was not charged, as somebody found out.", "no")
    return Settle(state="failed", error=error, **of)
