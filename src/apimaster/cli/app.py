"""The command line as a whole: which commands there are, and how each of them ends.

Every command returns an exit code or raises; ``run`` passes what it raises to ``error_output``. A person sees a
traceback only if ``APIMASTER_DEBUG`` is set.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import APIMasterError
from .account import account
from .batch.app import register as register_batch
from .doctor import doctor
from .emulator import emulator
from .error_output import report_bug, report_stop, report_usage_error
from .exit_codes import BUG, OK
from .generate import generate
from .ledger.app import register as register_ledger
from .models import cost, models
from .printing import print_result
from .probe.app import probe
from .resume import CommandStopped
from .signals import stop_signals
from .task import task
from .upload import upload
from .webhooks.app import register as register_webhooks

# Newer versions of typer contain a copy of click, older ones use the package: this is the class in both.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="apimaster",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (generate, upload, task, account, models, cost, emulator, doctor, probe):
    app.command()(_command)
register_batch(app)
register_ledger(app)
register_webhooks(app)


def _print_version(requested: bool) -> None:
    if requested:
        print_result(f"apimaster {version('apimaster')}")
        raise typer.Exit(OK)


@app.callback()
def _about(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Images from APIMaster, such as Nano Banana 2: each is charged at most once."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    _prepare_process()
    try:
        code = _run_command(arguments, as_json="--json" in options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe (`| head`) has ended. Without this, Python reports it again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BUG
    return code


def _prepare_process() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # for a character that can't be shown: better "?" than a crash
    # The commands print what matters of the client's log; without a handler, Python would print it once more.
    logging.getLogger("apimaster").addHandler(logging.NullHandler())
    if threading.current_thread() is threading.main_thread():
        for number in stop_signals():  # so that SIGTERM loses no more than Ctrl-C
            signal.signal(number, signal.default_int_handler)


def _run_command(arguments: Sequence[str], *, as_json: bool) -> int:
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name="apimaster", standalone_mode=False)
    except CommandStopped as stop:
        return report_stop(stop, as_json=as_json)
    except APIMasterError as error:
        return report_stop(CommandStopped(error), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return report_stop(CommandStopped(None), as_json=as_json)
    except _UsageError as fault:
        return report_usage_error(fault, as_json=as_json)
    except Exception as fault:
        if os.environ.get("APIMASTER_DEBUG"):
            raise
        return report_bug(fault, as_json=as_json)
    return code if isinstance(code, int) else OK
