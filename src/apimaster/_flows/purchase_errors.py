"""The errors of a call that finds its image in the ledger and can neither buy nor collect it."""

from __future__ import annotations

from typing import Final

from ..errors import BadRequestError, NoImageError, OutcomeUnknownError, TaskTimeoutError, sentence
from ..ledger.purchase import failure_of, task_of
from ..ledger.rows import Row
from ..request import ImageRequest

_UNDER_WAY: Final = "purchase_under_way"
_UNKNOWN: Final = "purchase_unknown"


def unknown(row: Row, note: str = "") -> OutcomeUnknownError:
    """Nobody knows whether it was charged. ``note``: why the usage log could not be asked just now."""
    failure = failure_of(row)
    reason = "" if failure is None else f": {failure.message}"
    known = sentence(f"Nobody knows whether the purchase {row.key!r} [{row.index}] was charged{reason}")
    return OutcomeUnknownError(
        f"{known} The usage log told nothing: {sentence(note)}" if note else known,
        code=_UNKNOWN,
        advice="Settle it with client.settle(key) or `apimaster ledger settle`, then ask again with the same key.",
        task=task_of(row),
    )


def charged(row: Row) -> NoImageError:
    """A person has found out that it was charged, and that its picture is lost."""
    failure = failure_of(row)
    return NoImageError(
        "" if failure is None else failure.message,
        billed="yes",
        code="purchase_charged",
        advice="Use a new idempotency key to buy the image again.",
    )


def under_way(row: Row) -> OutcomeUnknownError:
    """Another call is buying it, and the time ran out."""
    return OutcomeUnknownError(
        f"The time ran out while another call was buying {row.key!r} [{row.index}].",
        code=_UNDER_WAY,
        advice="Ask again with the same key: it joins that purchase.",
        task=task_of(row),
    )


def of_another_account(row: Row, request: ImageRequest) -> TaskTimeoutError:
    """Another API key bought it, so this one can't poll its task."""
    return TaskTimeoutError(
        f"The purchase {row.key!r} [{row.index}] belongs to another account of the gateway, and is not collected yet.",
        code="another_account",
        advice="Ask again with the same key and the API key that bought it.",
        task=task_of(row, request),
    )


def no_ledger(what: str) -> BadRequestError:
    """A client without a ledger was asked for something that needs one."""
    return BadRequestError(
        f"{what} needs a ledger, and this client has none",
        advice="Give it one: APIMaster(ledger=…), or APIMASTER_LEDGER in the environment.",
    )
