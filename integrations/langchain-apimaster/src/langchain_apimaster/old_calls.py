"""Tool calls that earlier versions made: their purchases are rows of the ledger with keys of their own.

Versions before the ledger kept records, which the ledger took over. Such a row says nothing of the whole request, so
the client can't compare it with one, and it does not collect it. A call that is made again finds its rows here, and
gets what they lead to. Later versions took the thread, the message and the call's id for a part of each key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import apimaster
from apimaster import APIMasterError, BadRequestError, ImageFailure, OutcomeUnknownError
from apimaster.ledger import Purchase
from apimaster.ledger.purchase import purchase_from
from apimaster.ledger.schema import Where

from .driver import Flow, RunBlocking
from .migration import call_key, image_ids_of
from .records import StoredImage
from .results import ToolResult

if TYPE_CHECKING:
    from .call import Call
    from .context import ToolContext

_NOT_SENT: Final = ("planned", "claimed")


def key_in_use(context: ToolContext, key: str, former: Sequence[str]) -> str:
    """The key under which to buy: the first former one under which something is paid for or may be. Blocks."""
    return next((each for each in former if _is_bought(context, each)), key)


def _is_bought(context: ToolContext, key: str) -> bool:
    found = context.ledger.get().purchases(key=key)
    return any(each.state not in _NOT_SENT and (each.state, each.billed) != ("failed", "no") for each in found)


def old_purchases(context: ToolContext, call: Call, arguments: Mapping[str, Any], key: str) -> list[Purchase]:
    """What an older version bought for this call; nothing if this version has bought it, or nothing stands. Blocks."""
    old_key = call.old_key(arguments)
    ledger = context.ledger.get()
    if old_key is None or context.keys.namespace or ledger.get(key) is not None:
        return []
    rows = sorted(ledger.rows(Where(key=call_key(old_key))), key=lambda row: row.index)
    found = [purchase_from(row).model_copy(update={"images": ()}) for row in rows]
    if all(purchase.state == "failed" and purchase.billed == "no" for purchase in found):
        return []
    return found


def resume_old_call(
    context: ToolContext, purchases: Sequence[Purchase], collect: Callable[[str], Flow[ToolResult]]
) -> Flow[ToolResult]:
    """What an older version bought; buy nothing.

    Raises:
        APIMasterError: there is nothing. Of several errors, it is the one after which a new request costs most.
    """
    images: list[StoredImage] = []
    errors: list[APIMasterError] = []
    failures: list[ImageFailure] = []
    cost: Decimal | None = Decimal(0)
    for purchase in purchases:
        try:
            if purchase.task is not None and purchase.state != "failed":
                collected = yield from collect(purchase.task.id)
                images += collected.images
                cost = None if cost is None or collected.cost is None else cost + collected.cost
            elif purchase.state == "saved":
                images += yield RunBlocking(lambda purchase=purchase: _from_store(context, purchase))  # type: ignore[misc]
            else:
                raise _error_of(purchase)
        except APIMasterError as error:  # noqa: PERF203  # one image's error must not cost the others
            errors.append(error)
            failures.append(ImageFailure.of(purchase.index, error))
    if not images:
        raise max(errors, key=lambda error: ("no", "yes", "maybe").index(error.billed))
    tasks = tuple(purchase.task.id for purchase in purchases if purchase.task is not None)
    model = purchases[0].request.model
    return ToolResult(tuple(images), model=model, tasks=tasks, cost=cost, failures=tuple(failures), replayed=True)


def _from_store(context: ToolContext, purchase: Purchase) -> list[StoredImage]:
    ids = image_ids_of(context.ledger.get(), purchase)
    found = [
        image for each in ids if (image := context.store.image(each)) is not None and context.store.has_file(image)
    ]
    if not found:
        raise BadRequestError(
            "the pictures of this tool call are no longer in the store",
            advice="Ask for a new picture only if the user agrees to pay for it.",
        )
    return found


def _error_of(purchase: Purchase) -> APIMasterError:
    failure = purchase.error
    if failure is None:
        return OutcomeUnknownError("An earlier run of this tool call was cut off while its request was on its way.")
    kind = getattr(apimaster, failure.error, OutcomeUnknownError)
    error: APIMasterError = kind(failure.message, billed=failure.billed)
    return error
