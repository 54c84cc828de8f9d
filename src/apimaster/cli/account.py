"""``apimaster account``: what the key may still spend, and what it was charged for, from the gateway's own books."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar

import typer

from .. import Account, APIMasterError, AsyncAPIMaster, Charge, Charges, NotFoundError, RateLimitError
from . import options
from .client_runner import Endpoint, run_with_client
from .error_output import error_paragraph
from .exit_codes import OK
from .ledger.place import moment_option
from .printing import aligned, dollars, moment, one_line, print_json, print_message, print_result, shortened
from .resume import CommandStopped, ResumeCommand

T = TypeVar("T")

_NO_BOOKS: Final = (
    "Look at the account in the console of the gateway; if the base URL may be wrong, `apimaster doctor` checks it."
)
_PROMPT_LENGTH: Final = 50
_LATEST: Final = 20
_NONE: Final = "No charges yet."
_NONE_SINCE: Final = "No charges since then."


def account(
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="COUNT",
            min=0,
            help="How many charges, the latest first; 0: none; default: 20, with --since all.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Charges since: 30m, 2h, 3d, or a date.")
    ] = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Print what the key may still spend, and its latest charges.

    Both come from the gateway's own books. It costs nothing.
    """

    if limit is None and since is None:
        limit = _LATEST
    after = None if since is None else moment_option("--since", since)

    async def work(client: AsyncAPIMaster) -> tuple[Account | APIMasterError, Charges | APIMasterError]:
        figures = await _or_missing(client.account())
        return figures, (await _or_missing(client.charges(since=after)) if limit != 0 else Charges())

    figures, charges = run_with_client(work, Endpoint(base_url=base_url), resume=ResumeCommand("."))
    if isinstance(figures, APIMasterError) and (isinstance(charges, APIMasterError) or limit == 0):
        missing = figures if isinstance(charges, tuple) else charges
        raise CommandStopped(missing, advice=_advice(missing))
    shown = None if isinstance(charges, APIMasterError) else charges[:limit]
    if as_json:
        print_json(
            {
                "account": figures.model_dump(mode="json") if isinstance(figures, Account) else None,
                "charges": None if shown is None else [charge.model_dump(mode="json") for charge in shown],
                "complete": charges.complete if since is not None and isinstance(charges, Charges) else None,
            }
        )
    else:
        if isinstance(figures, Account):
            print_result(_balance(figures))
        if shown is not None and limit != 0:
            for line in aligned([_cells(charge) for charge in shown]) or [_NONE if since is None else _NONE_SINCE]:
                print_result(line)
    if since is not None and isinstance(charges, Charges) and not charges.complete:
        print_message("The usage log holds the newest 1,000 rows, and does not reach back that far.")
    for each in (figures, charges):
        if isinstance(each, APIMasterError):
            print_message(error_paragraph(each, advice=_advice(each)))
    return OK


async def _or_missing(call: Awaitable[T]) -> T | APIMasterError:
    """What ``call`` gives, or why the gateway does not tell: one half of the books is still worth printing."""
    try:
        return await call
    except (NotFoundError, RateLimitError) as error:
        return error


def _advice(error: APIMasterError) -> str | None:
    return _NO_BOOKS if isinstance(error, NotFoundError) else None


def _balance(figures: Account) -> str:
    name = one_line(figures.name or "this key")
    parts = []
    if figures.unlimited:
        parts.append("no limit of its own, so the account's balance is the limit")
    elif figures.available is not None:
        granted = f" of {dollars(figures.granted)}" if figures.granted is not None else ""
        parts.append(f"{dollars(figures.available)}{granted} left")
    if figures.used is not None:
        parts.append(f"{dollars(figures.used)} used")
    if figures.expires_at is not None:
        parts.append(f"expires {moment(figures.expires_at)}")
    return f"{name}: {', '.join(parts) or 'no figures'}"


def _cells(charge: Charge) -> tuple[str, ...]:
    cells = (
        moment(charge.at) if charge.at else "no date",
        f"{charge.kind}, refunded" if charge.refunded else charge.kind,
        dollars(charge.cost),
        charge.model or "",
        charge.aspect_ratio or "",
        charge.effective_resolution or charge.resolution or "",
        charge.task_id or "",
        shortened(charge.prompt or charge.content or "", _PROMPT_LENGTH),
    )
    return tuple(map(one_line, cells))
