"""How a command ends: one paragraph on stderr, or with ``--json`` one JSON object on stdout, and an exit code."""

from __future__ import annotations

from typing import Any

from . import printing
from .exit_codes import BUG, INTERRUPTED, USAGE, exit_code
from .resume import Stopped


def stopped(stop: Stopped, *, as_json: bool) -> int:
    """A command that failed or was interrupted."""
    error = stop.error
    code = INTERRUPTED if error is None else exit_code(error)
    if not as_json:
        printing.note(_interrupted(stop) if error is None else f"Error: {printing.paragraph(error)}")
    elif error is None:
        printing.print_json(_interrupted_document(stop))
    else:
        printing.print_json(printing.error_document(error, code, stop.resume))
    for place in stop.saved:
        printing.note(f"Saved before that: {place}")
    for command in stop.resume:
        printing.note(f"To pick it up: {command}")
    if stop.emulated:
        printing.note("This was the emulator, which has ended with the command: no money was spent.")
    return code


def wrong_command_line(fault: Exception, *, as_json: bool) -> int:
    """A command line that typer refused."""
    context = getattr(fault, "ctx", None)
    message = str(getattr(fault, "format_message", lambda: fault)())
    command = context.command_path if context is not None else "apimaster"
    if message:  # empty where there was no command at all: the help has been printed
        text = f"{message.rstrip('.')}. `{command} --help` lists what there is."
        _tell(text, "UsageError", USAGE, as_json=as_json)
    return USAGE


def bug(fault: Exception, *, as_json: bool) -> int:
    """A fault of this program: told in one line as well, with a way to see more."""
    text = f"This is a fault of the apimaster command itself: {type(fault).__name__}: {fault}."
    _tell(f"{text} With APIMASTER_DEBUG=1 it shows where.", type(fault).__name__, BUG, as_json=as_json)
    return BUG


def _interrupted(stop: Stopped) -> str:
    parts = ["Interrupted."]
    if stop.resume:
        parts.append("What was submitted goes on and is paid for; picking it up costs nothing more.")
    if stop.unsettled and not stop.emulated:
        parts.append(
            "A request may have gone out without an answer, and may be charged: look at the account's usage log "
            "before you ask again."
        )
    return " ".join(parts)


def _interrupted_document(stop: Stopped) -> dict[str, Any]:
    billed = "no"
    if not stop.emulated:
        billed = "yes" if stop.resume else "maybe" if stop.unsettled else "no"
    return {
        "error": {
            "type": "Interrupted",
            "message": _interrupted(stop),
            "billed": billed,
            "retryable": billed == "no",
            "resume": list(stop.resume),
            "saved": list(stop.saved),
            "exit_code": INTERRUPTED,
        }
    }


def _tell(message: str, kind: str, code: int, *, as_json: bool) -> None:
    if as_json:
        body = {"type": kind, "message": message, "billed": "no", "retryable": False, "exit_code": code}
        printing.print_json({"error": body})
    else:
        printing.note(f"Error: {message}")
