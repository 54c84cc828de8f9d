"""What a person or a script gets to see: one paragraph per error, one row per picture, one JSON object.

Results go to stdout, everything else to stderr, so that a pipe gets the results alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from ..errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    Billed,
    DownloadError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from ..results import ImageResult

_BILLED: Final[dict[Billed, str]] = {
    "no": "Nothing was charged.",
    "maybe": "It may have been charged: look at the account's usage log before you ask again.",
    "yes": "It is paid for: don't ask for it again.",
}
# An error's own text often says it already; twice in one paragraph is noise.
_ALREADY_SAID: Final = ("charge", "billed", "paid for")
_AGAIN: Final = "Running the same command again is safe."
_NEXT: Final[tuple[tuple[type[APIMasterError], str], ...]] = (
    (AuthenticationError, "`apimaster doctor` says which key is used and where it comes from."),
    (PermissionDeniedError, "`apimaster models` lists what this key may use."),
    (InsufficientBalanceError, "Then run the same command again."),
    (NotFoundError, "`apimaster doctor` checks the base URL."),
    (APIConnectionError, f"`apimaster doctor` finds out why. {_AGAIN}"),
    (RateLimitError, _AGAIN),
    (InternalServerError, _AGAIN),
    (GenerationFailedError, _AGAIN),
)


def paragraph(error: APIMasterError) -> str:
    """What happened, whether it was charged, and what to do next."""
    parts = [sentence(error.message, error.billed)]
    if isinstance(error, RateLimitError) and error.retry_after:
        parts.append(f"The gateway asks for a pause of {error.retry_after:.0f} s.")
    if error.billed == "no":
        parts += [advice for kind, advice in _NEXT if isinstance(error, kind)]
    if isinstance(error, DownloadError):
        parts += [f"It is at {image.url}" for image in error.images if image.url and image.path is None]
    return " ".join(parts)


def sentence(message: str, billed: Billed) -> str:
    """What happened and whether it was charged."""
    text = message.strip()
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return text if any(word in text.lower() for word in _ALREADY_SAID) else f"{text} {_BILLED[billed]}"


def error_document(error: APIMasterError, exit_code: int, resume: Sequence[str] = ()) -> dict[str, Any]:
    """An error as the JSON object that ``--json`` prints."""
    body: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "billed": error.billed,
        "retryable": error.retryable,
        "status_code": error.status_code,
        "code": error.code,
        "request_id": error.request_id,
        "task": None if error.task is None else error.task.model_dump(mode="json"),
        "tasks": [task.model_dump(mode="json") for task in error.tasks],
        "failures": [failure.model_dump(mode="json") for failure in error.failures],
        "images": [image.model_dump(mode="json") for image in getattr(error, "images", ())],
        "resume": list(resume),
        "exit_code": exit_code,
    }
    return {"error": body}


def rows(result: ImageResult) -> list[str]:
    """One line per picture: where it is, pixels, kind, cost; and a sum where there are several."""
    each = None if result.cost is None else result.cost / len(result.images)
    cells = [
        (
            str(image.path or image.url or "(no URL)"),
            f"{image.width}×{image.height}" if image.width else "",
            (image.media_type or "").removeprefix("image/").upper(),
            dollars(each),
        )
        for image in result.images
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    asked = result.request.n if result.request is not None else len(result.images)
    if asked > 1:
        lines.append(f"{len(result.images)} of {asked} images, {dollars(result.cost)}")
    return lines


def dollars(cost: Decimal | None) -> str:
    """``$0.0375`` or ``$0.10``: exact, with cents at least."""
    if cost is None:
        return "price unknown"
    exact = cost.normalize()
    cents = exact.quantize(Decimal("0.01"))
    return f"${cents if cents == exact else exact:f}"


def print_json(document: Any) -> None:
    """The one JSON object of ``--json``: on one line, so that a log keeps it together."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def flush() -> None:
    """Hand on what was said so far, also into a pipe."""
    sys.stdout.flush()


def note(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
