"""Every error that a caller can meet.

APIMasterError            .message  .billed "no" | "maybe" | "yes"  .advice  .retryable  .status_code  .code  .task
├─ APIConnectionError       nothing was sent
├─ BadRequestError          400, 413, 422, and every local check (also a ValueError)
│   ├─ ContentPolicyError     moderation, refusal
│   └─ ReferenceImageError    unreadable, too large, too many, wrong kind, forbidden place
├─ AuthenticationError      401, or no key at all
├─ PermissionDeniedError    403: the key may not use this model
├─ InsufficientBalanceError 402, or 403 insufficient_user_quota
├─ NotFoundError            404: wrong base URL, or unknown task
├─ RateLimitError           429, with .retry_after in seconds
├─ InternalServerError      the gateway said so, in JSON: refunded
├─ GenerationFailedError    the task ended as failed: refunded
├─ NoImageError             success, but nothing in it
├─ OutcomeUnknownError      sent, with an unknown outcome: .billed == "maybe"
├─ TaskTimeoutError         the wait ended, the task goes on: .task resumes it (also a TimeoutError)
├─ DownloadError            .billed == "yes": never generate again for this
│   └─ ResultExpiredError
├─ BudgetExceededError      a limit of the caller's own: nothing was sent
└─ LedgerError              the ledger can't be read or written

Facts and advice are apart: ``message`` says what happened and nothing else, ``billed`` what it cost, ``advice`` what to
do next. ``str(error)`` puts the three together. Code that needs to know something reads an attribute, never a text.

``retryable`` means: asking again cannot pay twice and may well succeed. Which reply becomes which error is a table in
``_wire/errors.py``; this module knows nothing of HTTP beyond a status to show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from .results import GeneratedImage, ImageFailure, Task

Billed = Literal["no", "maybe", "yes"]

_CHARGE: Final[dict[Billed, str]] = {
    "no": "Nothing was charged.",
    "maybe": "It may have been charged.",
    "yes": "It was charged.",
}
_LOOK_FIRST: Final = (
    "Look at the account's usage log before you ask again, since a second request may be a second charge."
)
_TRY_AGAIN: Final = "Try again."


def describe_charge(billed: Billed) -> str:
    """``billed`` as a sentence: ``Nothing was charged.``, ``It may have been charged.``, ``It was charged.``"""
    return _CHARGE[billed]


def sentence(text: str) -> str:
    """``text`` as a sentence: stripped, and with a full stop at its end if it has no end of its own."""
    stripped = text.strip()
    return stripped if stripped.endswith((".", "!", "?", "…")) else f"{stripped}."


def paragraph(message: str, billed: Billed, advice: str) -> str:
    """What happened, what it cost and what to do next, as one paragraph."""
    return " ".join(filter(None, (sentence(message), describe_charge(billed), advice)))


class APIMasterError(Exception):
    """Base of every error of this package.

    Attributes:
        message: what happened, without what it cost and without advice.
        billed: whether the account was charged: ``"no"``, ``"maybe"`` or ``"yes"``.
        advice: what to do next, in one sentence; empty where nothing can be said.
        retryable: True where the same call may be made again without the risk of paying twice.
        status_code: HTTP status of the reply, or None where there was none.
        code: the gateway's own error code, as text, if it sent one.
        request_id: the gateway's id of the request, for its support, if it sent one.
        task: the task that this concerns; ``client.wait(error.task)`` picks it up again.
        tasks: all tasks that are known and not collected, where several images were asked for.
        failures: one entry per failed image, where several images were asked for.
    """

    billed: Billed = "no"
    retryable: bool = False
    advice: str = ""

    def __init__(
        self,
        message: str,
        *,
        billed: Billed | None = None,
        retryable: bool | None = None,
        advice: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        task: Task | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if billed is not None:
            self.billed = billed
        if retryable is not None:
            self.retryable = retryable
        if advice is not None:
            self.advice = advice
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.task = task
        self.tasks: tuple[Task, ...] = () if task is None else (task,)
        self.failures: tuple[ImageFailure, ...] = ()

    @property
    def has_own_advice(self) -> bool:
        """Whether ``advice`` was written for this very error. Otherwise it is the same for all errors of its class."""
        return "advice" in self.__dict__

    def __str__(self) -> str:
        return paragraph(self.message, self.billed, self.advice)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments don't pickle by themselves; process pools and queues need it.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(kind: type[APIMasterError], message: str, state: dict[str, object]) -> APIMasterError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class APIConnectionError(APIMasterError):
    """Nothing was sent: the connection never opened (DNS, connect, TLS, pool)."""

    retryable = True
    advice = "Check the network and the base URL, then try again."


class BadRequestError(APIMasterError, ValueError):
    """The request was refused, by the gateway (400, 413, 422) or by a check on this side. Nothing was billed.

    Attributes:
        about_pictures: whether the gateway's words say that it does not take the pictures of the request as they are.
    """

    advice = "Correct the request."
    about_pictures: bool = False


class ContentPolicyError(BadRequestError):
    """Moderation refused the prompt or a reference image. Nothing was billed."""

    advice = "Change the prompt or the reference images: the same request would be refused again."


class ReferenceImageError(BadRequestError):
    """A reference image is unreadable, too large, of the wrong kind, one too many, or from a forbidden place."""

    advice = "Correct or replace the reference image."


class AuthenticationError(APIMasterError):
    """There is no key, or the gateway does not accept it (401)."""

    advice = "Check the API key (APIMASTER_API_KEY)."


class PermissionDeniedError(APIMasterError):
    """The key may not use this model (403)."""

    advice = "Use another model, or a key that may use this one."


class InsufficientBalanceError(APIMasterError):
    """The account has no balance left (402, or 403 ``insufficient_user_quota``)."""

    advice = "Top up the account, then try again."


class NotFoundError(APIMasterError):
    """The base URL is wrong, or the task is unknown (404)."""

    advice = "Check the base URL, or the task's id and model."


class RateLimitError(APIMasterError):
    """Too many requests (429). ``retry_after`` is in seconds, or None if the gateway did not say."""

    retryable = True
    advice = "Try again later."

    def __init__(self, message: str, *, retry_after: float | None = None, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base class checks the names
        self.retry_after = retry_after
        if retry_after is not None and "advice" not in details:
            self.advice = f"Try again in {retry_after:.0f} s." if retry_after >= 1 else _TRY_AGAIN


class InternalServerError(APIMasterError):
    """The gateway refused or failed, and said so in JSON (500, 502, 503): what was reserved is given back."""

    retryable = True
    advice = _TRY_AGAIN


class GenerationFailedError(APIMasterError):
    """The task ended as failed. The charge was given back."""

    retryable = True
    advice = "Try again, and change the request if it fails once more."


class NoImageError(APIMasterError):
    """The gateway reported success, and there was no picture in its answer."""

    billed = "maybe"
    advice = _LOOK_FIRST


class OutcomeUnknownError(APIMasterError):
    """The request went out, and its outcome is unknown: a second request may be a second charge."""

    billed = "maybe"
    advice = _LOOK_FIRST


class TaskTimeoutError(APIMasterError, TimeoutError):
    """The wait ended and the task goes on, already paid for: ``client.wait(error.task)`` picks it up again."""

    billed = "yes"
    advice = "Continue with client.wait(error.task), which is free: a new request would be a second charge."


class DownloadError(APIMasterError):
    """The picture exists and is paid for, and could not be fetched or saved: never generate again for this.

    ``images`` holds the pictures with their URLs; ``client.download(image, path)`` tries again.
    """

    billed = "yes"
    retryable = False
    advice = "Try client.download(image, path), which is free: to generate the picture again would be a second charge."

    def __init__(self, message: str, *, images: tuple[GeneratedImage, ...] = (), **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base class checks the names
        self.images = images


class ResultExpiredError(DownloadError):
    """The result URL has expired and the gateway holds no durable copy."""

    advice = "The picture can't be fetched any more: to generate it again would be a second charge."


class BudgetExceededError(APIMasterError):
    """A limit that the caller set would be exceeded. Nothing was sent."""

    advice = "Raise the limit, or wait until images that are under way have failed and freed their share of it."


class LedgerError(APIMasterError):
    """The ledger can't be read or written, or a step does not follow from the state of a purchase.

    Before a request this costs nothing, because nothing is sent without a row in the ledger.
    """

    advice = "Make the ledger writable again, then ask once more with the same key."
