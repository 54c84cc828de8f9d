"""The group ``apimaster ledger``: list, show, resolve, settle, budget, prune."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from typing import Annotated

import typer

from ...errors import BadRequestError
from ...ledger import Budget, Ledger, Purchase, PurchaseState
from .. import options
from ..exit_codes import OK
from ..printing import moment, print_json, print_message, print_result
from .place import moment_option, open_ledger
from .settle import settle_and_print
from .wording import budget_lines, no_budget, no_purchase, purchase_facts, purchase_lines

ledger_app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    help="Who bought what, once: purchases, their outcomes, and budgets.",
    rich_markup_mode=None,
)

_Key = Annotated[str, typer.Argument(metavar="KEY", help="The idempotency key.", show_default=False)]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; needed if nobody can answer.")]
_LIFTED = "none"


def register(app: typer.Typer) -> None:
    """Add the group to the ``apimaster`` command."""
    app.add_typer(ledger_app, name="ledger")


@ledger_app.command("list")
def list_purchases(
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only this state; repeat it for several.")
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", metavar="NAME", help="Only this budget's.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Asked for since: 30m, 2h, 3d, or a date.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", min=0, help="At most so many; 0: all.")] = 50,
    ledger: options.LedgerPlace = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each purchase.")] = False,
) -> int:
    """List purchases, the newest first. Each is one image."""
    states: tuple[PurchaseState, ...] | None = tuple(state) if state else None  # type: ignore[arg-type]
    after = None if since is None else moment_option("--since", since)
    with open_ledger(ledger) as opened:
        found = opened.purchases(state=states, budget=budget, since=after, newest_first=True)
        shown = islice(found, limit or None)
        empty = True
        if as_json:
            for purchase in shown:
                print_json(purchase.model_dump(mode="json"))
                empty = False
        else:
            for line in purchase_lines(shown):
                print_result(line)
                empty = False
        if empty and budget is not None and all(each.name != budget for each in opened.budgets()):
            raise no_budget(budget)
    if empty and not as_json:
        print_message("No such purchases.")
    return OK


@ledger_app.command("show")
def show(key: _Key, ledger: options.LedgerPlace = None, as_json: options.AsJson = False) -> int:
    """Show everything about the images of one key, and what to do next."""
    with open_ledger(ledger) as opened:
        found = sorted(opened.purchases(key=key), key=lambda each: each.index)
    if not found:
        raise no_purchase(key)
    _print_facts(found, as_json=as_json)
    return OK


@ledger_app.command("resolve")
def resolve(
    key: _Key,
    charged: Annotated[
        bool | None,
        typer.Option("--charged/--not-charged", help="It was charged and is lost, or was not.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="It is this task: the key collects its picture.")
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", metavar="N", min=0, help="One image of the call, from 0.")
    ] = None,
    ledger: options.LedgerPlace = None,
    as_json: options.AsJson = False,
) -> int:
    """Say what became of an unknown purchase, when you have found out yourself."""
    if (charged is None) == (task is None):
        raise BadRequestError("resolve takes one of --charged, --not-charged and --task")
    with open_ledger(ledger) as opened:
        found = opened.resolve(key, index=index, charged=charged, task=task)
    _print_facts(found, as_json=as_json)
    return OK


@ledger_app.command("settle")
def settle(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="These only; without: all unknown purchases.")
    ] = None,
    save_to: Annotated[
        str | None, typer.Option("--save-to", metavar="DIR", help="Save the pictures that are found here.")
    ] = None,
    ledger: options.LedgerPlace = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Find out what became of unknown purchases, from the gateway's usage log. It costs nothing.

    The exit code is 7 if something is still unknown, and 2 if the ledger does not hold a key; the others are settled.
    """
    with open_ledger(ledger) as opened:
        return settle_and_print(opened, keys or (), save_to=save_to, base_url=base_url, as_json=as_json)


@ledger_app.command("budget")
def budget(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One budget; without: all.", show_default=False)
    ] = None,
    usd: Annotated[
        str | None, typer.Option("--usd", metavar="AMOUNT", help="Limit it to so many US dollars, or to none.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="COUNT", help="Limit it to so many images, or to none.")
    ] = None,
    ledger: options.LedgerPlace = None,
    as_json: options.AsJson = False,
) -> int:
    """Show budgets, make one, or change its limits. What counts against it stays."""
    setting = usd is not None or images is not None
    if setting and name is None:
        raise BadRequestError("--usd and --images need the name of a budget")
    with open_ledger(ledger, make=setting) as opened:
        if name is not None and setting:
            found: tuple[Budget, ...] = (_set_budget(opened, name, usd, images),)
        else:
            found = tuple(each for each in opened.budgets() if name in (None, each.name))
    if name is not None and not found:
        raise no_budget(name)
    if as_json:
        print_json({"budgets": [each.model_dump(mode="json") for each in found]})
        return OK
    for line in budget_lines(found):
        print_result(line)
    if not found:
        print_message("No budgets.")
    return OK


@ledger_app.command("prune")
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="WHEN", help="30d, 12h, or a date.", show_default=False)
    ],
    yes: _Yes = False,
    ledger: options.LedgerPlace = None,
    as_json: options.AsJson = False,
) -> int:
    """Remove purchases that ended: delivered, saved or failed. A removed key buys again; budgets keep their count."""
    before = moment_option("--older-than", older_than)
    with open_ledger(ledger) as opened:
        if not yes:
            _ask(f"Remove the purchases that ended before {moment(before.timestamp())}? Their keys will buy again.")
        removed = opened.prune(before)
    if as_json:
        print_json({"pruned": removed})
    else:
        print_result(f"{removed} purchases removed")
    return OK


def _print_facts(purchases: Sequence[Purchase], *, as_json: bool) -> None:
    """Everything about these purchases, and what to do next."""
    if as_json:
        print_json({"purchases": [purchase.model_dump(mode="json") for purchase in purchases]})
        return
    for purchase in purchases:
        for line in purchase_facts(purchase):
            print_result(line)


def _set_budget(ledger: Ledger, name: str, usd: str | None, images: str | None) -> Budget:
    """Set what is given; a limit that is not given stays as it is."""
    before = next((each for each in ledger.budgets() if each.name == name), None)
    max_usd: Decimal | str | None = before.max_usd if before is not None else None
    max_images = before.max_images if before is not None else None
    if usd is not None:
        max_usd = None if usd == _LIFTED else usd.removeprefix("$")
    if images is not None:
        if images != _LIFTED and not (images.isascii() and images.isdigit()):
            raise BadRequestError(f"--images is {images!r}; accepted: a whole number, 0 or more, or {_LIFTED}")
        max_images = None if images == _LIFTED else int(images)
    return ledger.set_budget(name, usd=max_usd, images=max_images)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise BadRequestError("prune asks before it removes anything, and nobody can answer", advice="Add --yes.")
    typer.confirm(question, abort=True, err=True)
