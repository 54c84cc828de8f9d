"""How purchases and budgets are printed, and what to do next about a purchase."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from ...catalog import DEFAULT_MODEL
from ...errors import BadRequestError
from ...ledger import Budget, Purchase
from ..printing import aligned, dollars, moment, one_line, shortened

_ROWS_AT_ONCE: Final = 500  # their columns are aligned with each other
_PROMPT_LENGTH: Final = 50
_KEY_LENGTH: Final = 40
_NEXT: Final = {
    "planned": "Nothing was sent. Ask with this key to buy it.",
    "claimed": "A process prepares the request; nothing was sent. Ask with this key to wait for it.",
    "submitting": "Its request is on its way. Ask with this key to wait for it; don't buy it with another key.",
    "delivered": "The picture is made and paid for. Ask with this key to get it without a charge.",
    "saved": "Nothing is left to do. Ask with this key to get the same picture without a charge.",
}


def purchase_name(purchase: Purchase) -> str:
    """Its key and index, as messages name it."""
    return f"{one_line(purchase.key)} [{purchase.index}]"


def no_purchase(*keys: str) -> BadRequestError:
    """The error for keys that the ledger does not hold."""
    names = ", ".join(map(repr, keys))
    return BadRequestError(f"the ledger holds no purchase {names}", advice="`apimaster ledger list` shows the newest.")


def no_budget(name: str) -> BadRequestError:
    """The error for a budget that the ledger does not hold."""
    make = shlex.join(["apimaster", "ledger", "budget", name, "--usd", "10"])
    return BadRequestError(f"the ledger has no budget {name!r}", advice=f"`{make}` makes it.")


def purchase_lines(purchases: Iterable[Purchase]) -> Iterator[str]:
    """A line for each purchase, in columns."""
    rest = iter(purchases)
    while part := list(islice(rest, _ROWS_AT_ONCE)):
        yield from aligned([_cells(purchase) for purchase in part])


def _cells(purchase: Purchase) -> tuple[str, ...]:
    return (
        moment(purchase.created_at),
        purchase.state,
        _cost(purchase),
        f"{shortened(purchase.key, _KEY_LENGTH)} [{purchase.index}]",
        one_line(purchase.budget or ""),
        purchase.task.id if purchase.task is not None else "",
        shortened(purchase.request.prompt, _PROMPT_LENGTH),
    )


def _cost(purchase: Purchase) -> str:
    amount = dollars(purchase.cost)
    return f"{amount}?" if purchase.billed == "maybe" else amount


def purchase_facts(purchase: Purchase) -> Iterator[str]:
    """Everything about one purchase, a fact a line, and what to do next."""
    request = purchase.request
    yield f"{purchase_name(purchase)}: {purchase.state}"
    facts = [
        ("prompt", one_line(request.prompt)),
        ("asked for", ", ".join(filter(None, (request.model, request.aspect_ratio, request.resolution)))),
        (
            "charged",
            {"no": "no", "maybe": f"maybe, {dollars(purchase.cost)}", "yes": dollars(purchase.cost)}[purchase.billed],
        ),
        ("budget", one_line(purchase.budget or "")),
        ("task", purchase.task.id if purchase.task is not None else ""),
        ("earlier tasks", ", ".join(purchase.earlier_tasks)),
        ("attempts", str(purchase.attempts)),
        ("brought again", f"{purchase.joins} times" if purchase.joins else ""),
        ("asked at", moment(purchase.created_at)),
        ("sent at", moment(purchase.submitted_at) if purchase.submitted_at is not None else ""),
        ("changed at", moment(purchase.updated_at)),
        *(("picture", one_line(str(image.path or image.url or "inside the reply"))) for image in purchase.images),
        ("error", one_line(purchase.error.message) if purchase.error is not None else ""),
        ("next", next_step(purchase)),
    ]
    yield from aligned([(f"  {name}", value) for name, value in facts if value])


def next_step(purchase: Purchase) -> str:
    """What a user of the command can do next about a purchase."""
    if purchase.state == "unknown":
        settle = shlex.join(["apimaster", "ledger", "settle", purchase.key])
        resolve = shlex.join(["apimaster", "ledger", "resolve", purchase.key, "--index", str(purchase.index)])
        return f"`{settle}` asks the gateway's usage log; if you have found out yourself: `{resolve} --not-charged`."
    if purchase.state == "submitted" and purchase.task is not None:
        words = ["apimaster", "task", purchase.task.id, "--wait"]
        if purchase.task.model != DEFAULT_MODEL:
            words += ["--model", purchase.task.model]
        return f"It is paid for. `{shlex.join(words)}` picks it up, and so does asking with this key."
    if purchase.state == "failed":
        if purchase.billed == "no":
            return "Nothing was charged. Ask with this key to buy it again."
        return "It was charged, and its picture is lost. Use a new key to buy it again."
    return _NEXT.get(purchase.state, "")


def budget_lines(budgets: Iterable[Budget]) -> list[str]:
    """A line for each budget, in columns."""
    return aligned([_budget_cells(budget) for budget in budgets])


def _budget_cells(budget: Budget) -> tuple[str, ...]:
    usd = f"{dollars(budget.usd)} of {dollars(budget.max_usd)}" if budget.max_usd is not None else dollars(budget.usd)
    images = f"{budget.images} of {budget.max_images}" if budget.max_images is not None else str(budget.images)
    left = "" if budget.left is None else f"{dollars(budget.left)} left"
    return (one_line(budget.name), usd, f"{images} images", left)
