"""How a command ends early: one paragraph on stderr, or with ``--json`` one JSON object on stdout, and an exit code.

The paragraph says what happened (the error's message), what it cost, and what to do next. ``error.advice`` speaks to
Python code as well (``client.wait(error.task)``), so the command words its own advice from the error's facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..batch import InvalidLines
from ..errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    Billed,
    DownloadError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResultExpiredError,
    describe_charge,
    paragraph,
    sentence,
)
from ..results import ImageFailure
from ..settings import KEY_VARIABLES, WHERE_TO_GET_A_KEY
from .exit_codes import BUG, INTERRUPTED, UNKNOWN_IDS, USAGE, exit_code
from .printing import print_json, print_message
from .resume import CommandStopped

HOW_TO_SET_A_KEY: Final = f"Put a key from the console at {WHERE_TO_GET_A_KEY} into {KEY_VARIABLES[0]}."
_WHICH_KEY: Final = "`apimaster doctor` shows which key is used and where it comes from."
_LOOK_FIRST: Final = OutcomeUnknownError.advice
_ADVICE_IF_FREE: Final[tuple[tuple[type[APIMasterError], str], ...]] = (
    (AuthenticationError, _WHICH_KEY),
    (PermissionDeniedError, "`apimaster models` lists what this key may use."),
    (InsufficientBalanceError, "Top up the account, then run the same command again."),
    (NotFoundError, "`apimaster doctor` checks the base URL."),
    (APIConnectionError, "`apimaster doctor` finds out why; it is safe to run the same command again."),
    (InternalServerError, "It is safe to run the same command again."),
    (GenerationFailedError, "It is safe to run the same command again; if it fails once more, change the prompt."),
)
"""For errors that cost nothing. A class that is not listed has advice of its own that fits a command too."""


_ADVICE_OF_A_LEDGER: Final = {
    "purchase_unknown": "Settle it with `apimaster ledger settle`, then run the same command again.",
    "purchase_under_way": "Run the same command again: it joins that purchase.",
    "purchase_charged": "Use a new idempotency key to buy the image again.",
    "another_account": "Run the same command again with the API key that bought it.",
}
"""By the code of an error that a purchase in a ledger ends with. With the same key, nothing is bought twice."""


def command_advice(error: APIMasterError, *, resume_with: str = "") -> str:
    """What a user of the command can do next.

    Args:
        error: what ended the command.
        resume_with: the command that picks up what was paid for, such as ``apimaster task``; empty if nothing does.
    """
    if error.code in _ADVICE_OF_A_LEDGER:
        return _ADVICE_OF_A_LEDGER[error.code]
    if error.billed == "maybe":
        return error.advice if isinstance(error, (NoImageError, OutcomeUnknownError)) else _LOOK_FIRST
    if error.billed == "yes":
        if resume_with:
            return f"Pick it up with `{resume_with}`, which is free: a new request would be a second charge."
        return error.advice if isinstance(error, ResultExpiredError) else "A new request would be a second charge."
    if isinstance(error, RateLimitError):
        later = "later" if not error.retry_after else f"in {error.retry_after:.0f} s"
        return f"It is safe to run the same command again {later}."
    if isinstance(error, AuthenticationError) and error.status_code is None:
        return f"{HOW_TO_SET_A_KEY} {_WHICH_KEY}"  # there is no usable key here: the command did not ask the gateway
    if isinstance(error, NotFoundError) and error.code in UNKNOWN_IDS and error.has_own_advice:
        return error.advice  # it names what to use instead of this id
    return next((advice for kind, advice in _ADVICE_IF_FREE if isinstance(error, kind)), error.advice)


def error_paragraph(
    error: APIMasterError, *, advice: str | None = None, resume_with: str = "", local: bool = False
) -> str:
    """What happened, what it cost, and what to do next.

    Args:
        error: what ended the command.
        advice: replaces that of ``command_advice``.
        resume_with: as for ``command_advice``.
        local: whether it is about something on this machine only, so that nobody asks what it cost.
    """
    if advice is None:
        advice = command_advice(error, resume_with=resume_with)
    if isinstance(error, InvalidLines):  # a line for each fault
        return f"{error.message}\n{describe_charge(error.billed)} {advice}"
    if local:
        return f"{sentence(error.message)} {advice}"
    parts = [paragraph(error.message, error.billed, advice)]
    if isinstance(error, DownloadError):
        parts += [f"It is at {image.url}" for image in error.images if image.url and image.path is None]
    return " ".join(parts)


def failure_paragraph(failure: ImageFailure) -> str:
    """The same for one image of several; what can be picked up is printed below it."""
    advice = _LOOK_FIRST if failure.billed == "maybe" else ""
    return paragraph(failure.message, failure.billed, advice)


def error_document(
    error: APIMasterError, code: int, *, resume: Sequence[str] = (), advice: str | None = None, resume_with: str = ""
) -> dict[str, Any]:
    """An error as the JSON object that ``--json`` prints."""
    if advice is None:
        advice = command_advice(error, resume_with=resume_with)
    body: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "billed": error.billed,
        "advice": advice,
        "retryable": error.retryable,
        "status_code": error.status_code,
        "code": error.code,
        "request_id": error.request_id,
        "task": None if error.task is None else error.task.model_dump(mode="json"),
        "tasks": [task.model_dump(mode="json") for task in error.tasks],
        "failures": [failure.model_dump(mode="json") for failure in error.failures],
        "images": [image.model_dump(mode="json") for image in error.images] if isinstance(error, DownloadError) else [],
        "resume": list(resume),
        "exit_code": code,
    }
    return {"error": body}


def report_stop(stop: CommandStopped, *, as_json: bool) -> int:
    """Report a command that failed or was interrupted, and give its exit code."""
    code = INTERRUPTED if stop.error is None else exit_code(stop.error)
    if as_json:
        print_json(_stop_document(stop, code))
    else:
        print_message(_stop_paragraph(stop))
    for path in stop.saved:
        print_message(f"Saved before that: {path}")
    for command in stop.resume:
        print_message(f"To pick it up: {command}")
    if stop.emulated:
        print_message("This was the emulator, which has ended with the command: no money was spent.")
    return code


def report_usage_error(fault: Exception, *, as_json: bool) -> int:
    """Report a command line that typer refused."""
    context = getattr(fault, "ctx", None)
    message = str(getattr(fault, "format_message", lambda: fault)())
    message = message.replace("Value error, ", "")  # how pydantic, which typer may use, words any fault of a value
    command = context.command_path if context is not None else "apimaster"
    if context is not None and message == context.get_help():  # a group without a subcommand
        if as_json:
            message = f"{command} needs a subcommand"
        else:
            print_message(message)
            return USAGE
    if message:  # empty if there was no command at all: typer has printed the help
        _report("UsageError", message, f"`{command} --help` lists what there is.", USAGE, as_json=as_json)
    return USAGE


def report_bug(fault: Exception, *, as_json: bool) -> int:
    """Report a fault of this program in one line, with a way to see more."""
    kind = type(fault).__name__
    message = f"This is a fault of the apimaster command itself: {kind}: {fault}"
    _report(kind, message, "With APIMASTER_DEBUG=1 it shows where.", BUG, as_json=as_json)
    return BUG


def _stop_paragraph(stop: CommandStopped) -> str:
    if stop.error is not None:
        paragraph = error_paragraph(stop.error, advice=stop.advice, resume_with=_resume_with(stop), local=stop.local)
        return f"Error: {paragraph}"
    return f"{_interrupted_message(stop)} {_interrupted_advice(stop)}".strip()


def _stop_document(stop: CommandStopped, code: int) -> dict[str, Any]:
    if stop.error is not None:
        resume_with = _resume_with(stop)
        return error_document(stop.error, code, resume=stop.resume, advice=stop.advice, resume_with=resume_with)
    billed = _billed_at_interrupt(stop)
    return {
        "error": {
            "type": "Interrupted",
            "message": _interrupted_message(stop),
            "billed": billed,
            "advice": _interrupted_advice(stop),
            "retryable": billed == "no",
            "resume": list(stop.resume),
            "saved": list(stop.saved),
            "exit_code": code,
        }
    }


def _resume_with(stop: CommandStopped) -> str:
    return "apimaster task" if stop.resume else ""


def _billed_at_interrupt(stop: CommandStopped) -> Billed:
    if stop.emulated:
        return "no"
    return "yes" if stop.resume else "maybe" if stop.unconfirmed else "no"


def _interrupted_message(stop: CommandStopped) -> str:
    parts = ["Interrupted."]  # with what it cost, since some images may be paid for and others not
    if stop.resume:
        parts.append("What was submitted goes on and is paid for.")
    if stop.unconfirmed and not stop.emulated:
        parts.append("A request may have gone out without an answer, and may be charged.")
    return " ".join(parts)


def _interrupted_advice(stop: CommandStopped) -> str:
    parts = []
    if stop.resume:
        parts.append(f"Pick it up with `{_resume_with(stop)}`, which is free.")
    if stop.unconfirmed and not stop.emulated:
        parts.append(_LOOK_FIRST)
    return " ".join(parts)


def _report(kind: str, message: str, advice: str, code: int, *, as_json: bool) -> None:
    if as_json:
        facts = {"type": kind, "message": message, "billed": "no", "advice": advice, "retryable": False}
        print_json({"error": {**facts, "exit_code": code}})
    else:
        print_message(f"Error: {sentence(message)} {advice}")
