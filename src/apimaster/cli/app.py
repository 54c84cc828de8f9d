"""The command line as a whole: which commands there are, and how each of them ends.

Every command returns an exit code or raises; ``run`` has whatever was raised told by ``ending``. No traceback reaches a
person unless ``APIMASTER_DEBUG`` is set.
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
from . import error_output, printing
from .batch.app import register as register_batch
from .doctor import doctor
from .emulator import emulator
from .exit_codes import BUG, OK
from .generate import generate
from .models import cost, models
from .resume import Stopped
from .task import task

# Newer versions of typer carry click inside themselves, older ones use the package: this is the class in both.
_CommandLineFault: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="apimaster",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (generate, task, models, cost, emulator, doctor):
    app.command()(_command)
register_batch(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.say(f"apimaster {version('apimaster')}")
        raise typer.Exit(OK)


@app.callback()
def _about(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Nano Banana 2 images from APIMaster, with exact cost and no second charge."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    _settle()
    try:
        code = _carry_out(arguments, as_json="--json" in options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BUG
    return code


def _settle() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # where a sign can't be shown, a question mark is better than a crash
    # What the client logs (a picture of another size, say) is told where it belongs; unhandled, it would come twice.
    logging.getLogger("apimaster").addHandler(logging.NullHandler())
    if threading.current_thread() is threading.main_thread():
        # What stops a container or a CI job shall lose no more than Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _carry_out(arguments: Sequence[str], *, as_json: bool) -> int:
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name="apimaster", standalone_mode=False)
    except Stopped as stop:
        return error_output.stopped(stop, as_json=as_json)
    except APIMasterError as error:
        return error_output.stopped(Stopped(error), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return error_output.stopped(Stopped(None), as_json=as_json)
    except _CommandLineFault as fault:
        return error_output.wrong_command_line(fault, as_json=as_json)
    except Exception as fault:
        if os.environ.get("APIMASTER_DEBUG"):
            raise
        return error_output.bug(fault, as_json=as_json)
    return code if isinstance(code, int) else OK
