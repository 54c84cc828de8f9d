"""The texts that a model reads: short, without links and without base64, and with advice on what to do next.

A text about an error is worded from the error's facts: its class, ``billed``, ``retryable``, the tasks, and ``advice``
where the advice is meant for whoever wrote the request. It says three things, each once: what happened, whether it was
charged, and whether to try again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from langchain_core.tools import ToolException

from apimaster import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ContentPolicyError,
    DownloadError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResultExpiredError,
    TaskTimeoutError,
)
from apimaster.adapters import describe_charge, sentence

if TYPE_CHECKING:
    from apimaster import ImageFailure, Task

    from .records import StoredImage

_MAX_REASON_LENGTH: Final = 240
_QUERY: Final = re.compile(r"(?<=[^\s?])\?[^\s'\"]*")  # of a URL: it may hold a signature


class ImageToolError(ToolException):
    """The error that a tool raises. LangChain turns it into an error message for the model.

    Attributes:
        error: the core's error, with ``billed``, ``retryable`` and ``tasks``.
        results: of ``batch`` and ``abatch``: for each input its result, or its error. Else empty.
    """

    def __init__(self, error: APIMasterError) -> None:
        super().__init__(explain(error))
        self.error = error
        self.results: list[Any] = []

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.error,))


def describe(
    images: Sequence[StoredImage],
    failures: Sequence[ImageFailure] = (),
    *,
    replayed: bool = False,
    attachments: Sequence[str] = (),
) -> str:
    """The pictures that arrived, what they are made from, those that did not arrive, and what to do next."""
    lines = [_describe_image(image) for image in images]
    if attachments:
        lines.append(f"Made from {', '.join(attachments)}.")
    if replayed:
        lines.append("This was made before, and is not paid for again.")
    lines += [_describe_failure(failure) for failure in failures]
    example = images[0].id
    lines.append(
        f"The application keeps and shows the picture: mention it by its id, make up no link. To change it or build "
        f'on it, pass reference_images=["{example}"].'
    )
    return "\n".join(lines)


def describe_task(task: Task, *, replayed: bool = False, attachments: Sequence[str] = ()) -> str:
    """A task that is not finished."""
    source = f" It is made from {', '.join(attachments)}." if attachments else ""
    before = "This was started before, and is not paid for again. " if replayed else ""
    percent = "" if task.progress is None else f", {task.progress:.0f} % done"
    state = "waiting its turn" if task.status == "queued" else "being drawn"
    return (
        f"{before}Task {task.id} is {state}{percent}.{source} It is paid for: do not ask for the same picture again. "
        f'Go on with other work, then collect it with get_image(task_id="{task.id}").'
    )


def artifact(
    images: Sequence[StoredImage],
    *,
    model: str,
    cost: Decimal | None,
    tasks: Sequence[str],
    failures: Sequence[ImageFailure] = (),
    status: str = "succeeded",
    replayed: bool = False,
) -> dict[str, Any]:
    """The facts for the application: plain JSON, which a checkpoint keeps as it is."""
    return {
        "status": status,
        "model": model,
        "replayed": replayed,
        "cost_usd": None if cost is None else str(cost),
        "tasks": list(tasks),
        "images": [image.as_artifact() for image in images],
        "failures": [
            {
                "error": failure.error,
                "message": _reason(failure.message),
                "billed": failure.billed,
                "task": failure.task.id if failure.task is not None else None,
            }
            for failure in failures
        ],
    }


def explain(error: APIMasterError) -> str:
    """What happened, whether it was or may have been charged, and whether trying again is wise."""
    reason = _reason(error.message)
    charge = describe_charge(error.billed)
    tasks = [task.id for task in error.tasks if task.id]
    match error:
        case TaskTimeoutError():
            return (
                f"The picture is not finished yet, and it is paid for. {_collect(tasks)} "
                "Do not ask for the same picture again."
            )
        case ResultExpiredError():
            return (
                f"{reason} {charge} It has expired: it can't be fetched any more. Do not ask for the same picture "
                "again by yourself: it would be paid for twice. Tell the user."
            )
        case DownloadError():  # its message says that the picture was made
            return (
                f"{reason} {charge} {_collect(tasks)} "
                "Do not ask for the same picture again: it would be paid for twice."
            )
        case OutcomeUnknownError(code="purchase_under_way"):
            return (
                "Another run of this tool call is making the picture, and it is not finished yet. "
                "Do not ask for the same picture again: it would be paid for twice."
            )
        case OutcomeUnknownError(code="purchase_unknown"):  # its message says that nobody knows
            return (
                f"{reason} Do not try again by yourself: the picture could be paid for twice. "
                "Tell the user, and let the user decide."
            )
        case _ if error.billed == "maybe":
            return (
                f"Nobody knows what became of this request: {reason} {charge} Do not try again by yourself: "
                "the picture could be paid for twice. Tell the user, and let the user decide."
            )
        case _ if error.billed == "yes":  # for example, a revoked key: the gateway answers no more questions
            return (
                f"The picture is paid for, but could not be collected: {reason} {_collect(tasks)} "
                "Do not ask for the same picture again; tell the user."
            )
        case ContentPolicyError():
            return (
                f"The request was refused by content moderation: {reason} {charge} Do not try "
                "the same again, it will be refused: change the prompt or the reference images, or tell the user."
            )
        case BudgetExceededError():
            return (
                f"The application's budget for pictures does not allow this: {reason} {charge} "
                "Do not try again; tell the user."
            )
        case AuthenticationError() | PermissionDeniedError() | InsufficientBalanceError():
            return (
                f"The application's account can't make this picture ({_account_fault(error)}). {charge} "
                "Trying again does not help; tell the user."
            )
        case LedgerError():  # its message may name a folder, which is nothing for a prompt
            return f"The application's ledger of purchases can't be used. {charge} Do not try again; tell the user."
        case RateLimitError():
            when = "later" if error.retry_after is None else f"in {error.retry_after:.0f} seconds"
            return f"Too many requests at the moment. {charge} Trying again {when} is fine."
        case GenerationFailedError():
            advice = _try_once_more(error, "change the request or tell the user")
            return f"The picture could not be made: {reason} The charge was given back. {advice}"
        case InternalServerError() | APIConnectionError():
            return f"The image service could not be used: {reason} {charge} {_try_once_more(error, 'tell the user')}"
        case NotFoundError():
            return f"Not found: {reason} {charge} Trying the same again does not help. {error.advice}".strip()
        case BadRequestError():
            return f"The request was not accepted: {reason} {charge} Do not try the same again. {error.advice}".strip()
    advice = "Trying again is fine." if error.retryable else "Do not try again; tell the user."
    return f"The picture could not be made: {reason} {charge} {advice}"


def _account_fault(error: APIMasterError) -> str:
    if isinstance(error, AuthenticationError):
        return "its API key is missing or not accepted"
    if isinstance(error, PermissionDeniedError):
        return "its API key may not use this model"
    return "no balance is left"


def _try_once_more(error: APIMasterError, otherwise: str) -> str:
    # Where several images failed, one of them may have failed for good.
    if not error.retryable:
        return f"Do not try the same again: {otherwise}."
    return f"Trying once more is fine; if it fails again, {otherwise}."


def _collect(tasks: Sequence[str]) -> str:
    if not tasks:
        return "There is no task to ask about it."
    if len(tasks) == 1:
        return f'Collect it later, at no further charge, with get_image(task_id="{tasks[0]}").'
    return f"Collect them later, at no further charge, with get_image: {', '.join(tasks)}."


def _describe_image(image: StoredImage) -> str:
    facts = []
    if image.width and image.height:
        kind = (image.media_type or "").removeprefix("image/").upper()
        facts.append(f"{image.width}×{image.height} {kind}".strip())
    if image.aspect_ratio and image.aspect_ratio != "auto":
        facts.append(image.aspect_ratio)
    if image.resolution:
        facts.append(image.resolution)
    if image.cost_usd is not None:
        facts.append(f"${image.cost_usd}")
    line = f"{image.id}: {', '.join(facts)}." if facts else f"{image.id}."
    return " ".join([line, *(f"Note: {_reason(each)}" for each in image.deviations)])


def _describe_failure(failure: ImageFailure) -> str:
    # Not ``describe_charge`` for "no": the pictures beside this one were charged.
    charge = "It was not charged." if failure.billed == "no" else describe_charge(failure.billed)
    if failure.billed == "maybe":
        advice = "Do not ask for it again by yourself."
    elif failure.billed == "yes":
        advice = _collect([failure.task.id] if failure.task is not None and failure.task.id else [])
    else:
        advice = "Trying once more is fine." if failure.retryable else "Do not try the same again."
    return f"One more did not arrive: {_reason(failure.message)} {charge} {advice}"


def _reason(text: str) -> str:
    """The core's or the gateway's own words, as one short line, since they go into a prompt."""
    line = _QUERY.sub("?…", " ".join(text.split()))
    if len(line) > _MAX_REASON_LENGTH:
        line = f"{line[: _MAX_REASON_LENGTH - 1]}…"
    return sentence(line)
