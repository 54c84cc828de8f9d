"""What a person tells a ledger: what became of a purchase."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from ..results import Task
from .purchase import purchase_from, task_json
from .rows import Row
from .steps import Settle, error_json


class Unset(Enum):
    """The value of an argument that was not given, where None has a meaning."""

    UNSET = "not given"


UNSET: Final = Unset.UNSET


def resolved(row: Row, charged: bool | None, task: Task | str | None) -> Settle:
    """The step that records what a person has found out: that it was charged or not, or its task, which is checked."""
    of: dict[str, Any] = {"key": row.key, "index": row.index, "begun_at": row.begun_at, "by_hand": True}
    if task is not None:
        known = task if isinstance(task, Task) else Task(id=task, model=purchase_from(row).request.model)
        return Settle(state="submitted", task_id=known.id, task=task_json(known), **of)
    if charged:
        error = error_json("NoImageError", "It was charged, and its picture is lost, as somebody found out.", "yes")
        return Settle(state="failed", error=error, billed="yes", **of)
    error = error_json("InternalServerError", "It was not charged, as somebody found out.", "no")
    return Settle(state="failed", error=error, **of)
