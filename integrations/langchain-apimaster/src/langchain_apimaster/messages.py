"""What a model reads: short, without links and without base64, and with what to do next."""

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
    BudgetExceededError,
    ContentPolicyError,
    DownloadError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    TaskTimeoutError,
)

if TYPE_CHECKING:
    from apimaster import ImageFailure, Task

    from .records import StoredImage

_LONGEST_REASON: Final = 240
_QUERY: Final = re.compile(r"(?<=[^\s?])\?[^\s'\"]*")  # of a URL: that is where signatures are


class ImageToolError(ToolException):
    """What a tool raises: LangChain makes an error message for the model out of it.

    Attributes:
        error: the core's error, with ``billed``, ``retryable`` and ``tasks``.
    """

    def __init__(self, error: APIMasterError) -> None:
        super().__init__(explain(error))
        self.error = error

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.error,))


def describe(images: Sequence[StoredImage], failures: Sequence[ImageFailure] = ()) -> str:
    """The pictures that arrived, those that did not, and what to do next."""
    lines = [_line(image) for image in images]
    lines += [f"One more did not arrive: {_reason(each.message)} {_charge(each.billed)}" for each in failures]
    example = images[0].id
    lines.append(
        f"The application keeps and shows the picture: mention it by its id, make up no link. To change it or build "
        f'on it, pass reference_images=["{example}"].'
    )
    return "\n".join(lines)


def describe_task(task: Task) -> str:
    """A task that is not finished."""
    percent = "" if task.progress is None else f", {task.progress:.0f} % done"
    state = "waiting its turn" if task.status == "queued" else "being drawn"
    return (
        f"Task {task.id} is {state}{percent}. It is paid for: do not ask for the same picture again. "
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
) -> dict[str, Any]:
    """The facts for the application: plain JSON, which a checkpoint keeps as it is."""
    return {
        "status": status,
        "model": model,
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
    match error:
        case TaskTimeoutError():
            return (
                f"The picture is not finished yet, and it is paid for. {_collect(error)} "
                "Do not ask for the same picture again."
            )
        case DownloadError():
            return (
                f"The picture was made and paid for, but could not be saved: {reason} {_collect(error)} "
                "Do not ask for the same picture again: it would be paid for twice."
            )
        case OutcomeUnknownError() | NoImageError():
            return (
                f"Nobody knows what became of this request: {reason} It may have been charged. Do not try again by "
                "yourself: the picture could be paid for twice. Tell the user, and let the user decide."
            )
        case ContentPolicyError():
            return (
                f"The request was refused by content moderation: {reason} Nothing was charged. Do not try "
                "the same again, it will be refused: change the prompt or the reference images, or tell the user."
            )
        case _ if error.billed == "yes":  # the gateway refused to tell about a task: a revoked key, for example
            return (
                f"The picture is paid for, but could not be collected: {reason} {_collect(error)} "
                "Do not ask for the same picture again; tell the user."
            )
        case BudgetExceededError():
            return (
                f"The application's budget for pictures does not allow this: {reason} Nothing was charged. "
                "Do not try again; tell the user."
            )
        case AuthenticationError() | PermissionDeniedError() | InsufficientBalanceError():
            return (
                f"The application's account can't make this picture ({_NEEDS[type(error)]}). Nothing was charged. "
                "Trying again does not help; tell the user."
            )
        case RateLimitError():
            when = "later" if error.retry_after is None else f"in {error.retry_after:.0f} seconds"
            return f"Too many requests at the moment. Nothing was charged. Trying again {when} is fine."
        case GenerationFailedError():
            return (
                f"The picture could not be made: {reason} The charge was given back. Trying once more is fine; "
                "if it fails again, change the request or tell the user."
            )
        case InternalServerError() | APIConnectionError():
            return (
                f"The image service could not be used: {reason} Nothing was charged. Trying once more is fine; "
                "if it fails again, tell the user."
            )
        case NotFoundError():
            return f"Not found: {reason} Nothing was charged. Trying the same again does not help."
    advice = "Trying again is fine." if error.retryable else "Correct the request before trying again."
    return f"The request was not accepted: {reason} {_charge(error.billed)} {advice}"


_NEEDS: Final = {
    AuthenticationError: "its API key is missing or not accepted",
    PermissionDeniedError: "its API key may not use this model",
    InsufficientBalanceError: "no balance is left",
}


def _collect(error: APIMasterError) -> str:
    known = [task.id for task in error.tasks if task.id]
    if not known:
        return "There is no task to ask about it."
    if len(known) == 1:
        return f'Collect it later, at no further charge, with get_image(task_id="{known[0]}").'
    return f"Collect them later, at no further charge, with get_image: {', '.join(known)}."


def _line(image: StoredImage) -> str:
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


def _charge(billed: str) -> str:
    return {"no": "It was not charged.", "maybe": "It may have been charged.", "yes": "It was charged."}[billed]


def _reason(text: str) -> str:
    """The core's or the gateway's own words, on one line and not too long: they go into a prompt."""
    line = _QUERY.sub("?…", " ".join(text.split()))
    if len(line) > _LONGEST_REASON:
        line = f"{line[: _LONGEST_REASON - 1]}…"
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."
