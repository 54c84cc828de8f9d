"""``apimaster emulator``: runs the gateway on this machine until Ctrl-C."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import BadRequestError
from .client_runner import import_emulator
from .exit_codes import OK
from .printing import dollars, flush_results, print_result
from .resume import CommandStopped

if TYPE_CHECKING:
    from ..emulator.options import Settings

_LATENCY: Final = "2-6"
_DIALECT: Final = "tracked"


def emulator(
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="On 127.0.0.1; 0 takes any free port.")] = 8788,
    latency: Annotated[
        str,
        typer.Option("--latency", metavar="SECONDS", help="How long an image job takes: 2, 2-6, '3 polls', manual."),
    ] = _LATENCY,
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="WORDS", help="tracked, legacy, mixed, or traits joined by +.")
    ] = _DIALECT,
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            metavar="WORDS",
            help="What the upstream channel refuses or changes: google, no_data_uris, several, …",
        ),
    ] = "any",
    request_limit: Annotated[
        float, typer.Option("--request-limit", metavar="MB", help="The largest request that is taken.")
    ] = 32,
    faults: Annotated[
        str | None, typer.Option("--faults", metavar="NAME=SHARE,…", help="What goes wrong, and how often.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option("--balance", metavar="DOLLARS", help="Balance of the account; default: no limit.")
    ] = None,
    webhook_pause: Annotated[
        float,
        typer.Option("--webhook-pause", metavar="SECONDS", help="Until a webhook that got no 2xx is sent again."),
    ] = 5.0,
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", help="For latencies and faults.")] = 0,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="PATH", help="Act as the gateway in this transcript of `apimaster probe`."),
    ] = None,
) -> int:
    """Run the gateway on this machine.

    It draws real pictures, keeps a bill, has faults on demand, and costs no money.
    A status page with requests, tasks, bill and pictures is at / in the browser.
    """
    emulator_class = import_emulator()
    try:
        given: Settings = {
            "port": port,
            "channel": channel,
            "request_limit": _bytes(request_limit),
            "faults": faults,
            "balance": balance,
            "webhook_pause": webhook_pause,
            "seed": seed,
        }
        if like is not None:
            given["like"] = like
        if like is None or latency != _LATENCY:  # what the command line says wins over the transcript
            given["latency"] = latency
        if like is None or dialect != _DIALECT:
            given["dialect"] = dialect
        made = emulator_class(**given)
    except ValueError as fault:
        advice = "`apimaster emulator --help` lists what there is."
        raise CommandStopped(BadRequestError(str(fault)), advice=advice, local=True) from None
    try:
        with made as running:
            root = running.base_url.removesuffix("/v1")
            print_result(f"The emulator listens at {root} (status page: the same address in a browser).")
            print_result("To use it, in another shell:")
            print_result(f"  export APIMASTER_BASE_URL={running.base_url} APIMASTER_API_KEY={running.api_key}")
            print_result('  apimaster generate "An orange cat at sunset, watercolor" -o cat.png')
            print_result("Ctrl-C ends it.")
            flush_results()
            threading.Event().wait()
    except KeyboardInterrupt:
        bill = made.bill
        print_result(
            f"{len(bill.charges)} charges, {len(bill.refunds)} refunds: "
            f"{dollars(bill.total)} at the gateway, nothing here."
        )
    except OSError as fault:
        advice = "Name another --port (0 takes any free one), or end the program that listens there."
        taken = BadRequestError(f"port {port} can't be used: {fault.strerror or fault}")
        raise CommandStopped(taken, advice=advice, local=True) from None
    return OK


def _bytes(megabytes: float) -> int:
    if not 0 < megabytes < 1e6:  # false for NaN, too
        raise ValueError(f"request limit {megabytes:g} is no number of megabytes; accepted: more than 0, such as 32")
    return int(megabytes * 1024 * 1024)
