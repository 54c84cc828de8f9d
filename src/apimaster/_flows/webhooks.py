"""Manage webhook endpoints, read events: which of the calls may be sent again, and what their errors mean.

==============================  ======================  ========================================================
call                            sent again              if its answer is lost
==============================  ======================  ========================================================
list, events, event,            after any passing       it is asked again
capabilities                    fault
verify, enable, disable         after any passing       it is sent again: the second time changes nothing more
                                fault
create                          only if it was never    an endpoint may exist whose secret nobody has
rotate                          sent                    the secret may be another one, which nobody has
redeliver                       only if it was never    it may count as one of the few of a day
                                sent
==============================  ======================  ========================================================

All of them are free. What an error advises depends on the call, so the advice is written here, and not by the status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from .._wire import webhooks as wire
from .._wire.errors import NO_SUCH_MODEL
from .._wire.messages import Unreadable
from ..errors import (
    APIMasterError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
)
from ..settings import hint_for_404
from ..webhooks.endpoints import (
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookCapabilities,
    WebhookEndpoint,
    WebhookEventDetails,
    WebhookEventSummary,
    WebhookOutcomeUnknownError,
    WebhookSecretNotSavedError,
)
from ..webhooks.secrets import REPLACED_FOR, NewSecret, SecretFile
from .context import Context
from .operations import Call, Flow, Instant, Now, Reply, RunBlocking
from .other_spelling import other_spelling
from .send import ASK_TIMEOUT, act, ask

T = TypeVar("T")

VERIFY_TIMEOUT: Final = 90.0
"""Seconds for one verification: meanwhile the gateway waits for the receiver's answer to the challenge."""

_NO_ROUTE: Final = "This gateway manages no webhooks by API key: register the endpoint in its console."
_NO_ENDPOINT: Final = "client.webhooks.list() shows the ids of the endpoints that this key may manage."
_NO_EVENT: Final = "client.webhooks.events() shows the ids of the events."
_OTHER_KEY: Final = "Use a key that may manage the webhooks of this account."
_ASK_AGAIN: Final = "Try again; if it stays like this, look at the webhooks in the console of the gateway."


@dataclass(frozen=True, slots=True)
class _Advice:
    """What to do next after an error of one call; an empty text leaves it to the error.

    ``missing``: a 404. ``lost``: nobody knows whether the change was made. ``limited``: a 429 without a time, which is
    a limit that waiting does not lift soon. ``refused``: a 400 or 409.
    """

    missing: str
    lost: str = ""
    limited: str = ""
    refused: str = ""


_CREATE: Final = _Advice(
    _NO_ROUTE,
    lost=(
        "client.webhooks.list() shows whether there is a new endpoint; client.webhooks.rotate(id) gives it a secret "
        "that you see. A second create may make a second endpoint."
    ),
    limited=(
        "An account may have 20 webhook endpoints, however long you wait: use one that client.webhooks.list() shows, "
        "or remove one in the console of the gateway."
    ),
)
_ROTATE: Final = _Advice(
    _NO_ENDPOINT,
    lost="client.webhooks.list() shows the key_id of the endpoint's secret. If you don't have that one, rotate again.",
)
_REDELIVER: Final = _Advice(
    _NO_EVENT,
    lost="client.webhooks.deliveries(id) shows whether a delivery was started.",
    limited=(
        "The gateway redelivers an event 5 times a day: ask for the task itself, client.wait(task), which is free."
    ),
    refused=(
        "client.webhooks.deliveries(id) shows whether a delivery is under way; an event can be redelivered for 30 days."
    ),
)
_VERIFY: Final = _Advice(
    _NO_ENDPOINT,
    refused=(
        "Start a receiver at the endpoint's URL that checks the signature and answers 200 with the challenge, then "
        "verify again."
    ),
)


def create(context: Context, url: str, file: SecretFile | None, timeout: float) -> Flow[CreatedWebhookEndpoint]:
    """Register ``url``, which is checked already. ``file``: where the secret is saved; ``timeout`` in seconds.

    Raises:
        WebhookOutcomeUnknownError: the endpoint may exist, and its secret is lost.
        WebhookSecretNotSavedError: it exists, and the error holds the only copy of its secret.
        RateLimitError: the account has as many endpoints as it may have.
        APIMasterError: as the reply says.
    """
    if file is not None:
        yield RunBlocking(lambda: file.prepare(None))
    lost = "The request for a new webhook endpoint went out, and no answer came back"
    reply = yield from _change(context, wire.create_call(url), timeout, lost, _CREATE)
    endpoint, secret = wire.read_created(reply)
    if endpoint is None or secret is None:
        name = None if endpoint is None else endpoint.id
        raise WebhookOutcomeUnknownError(
            f"The gateway made the webhook endpoint {name or ''} and its reply holds no {'secret' if name else 'id'}",
            advice=f"client.webhooks.rotate({name!r}) gives it a new secret." if name else _CREATE.lost,
            endpoint_id=name,
            status_code=reply.status,
        )
    made = CreatedWebhookEndpoint(endpoint=endpoint, signing_secret=secret)
    if file is not None:
        yield from _save(file, NewSecret(endpoint.id, endpoint.key_id or "", secret.get_secret_value(), url), made)
    return made


def rotate(context: Context, endpoint_id: str, file: SecretFile | None, timeout: float) -> Flow[RotatedWebhookSecret]:
    """Give an endpoint a new secret; the old one stays valid for 24 hours. The arguments are as for ``create``.

    Raises:
        WebhookOutcomeUnknownError: the secret may be a new one, which is lost.
        WebhookSecretNotSavedError: it is a new one, and the error holds its only copy.
        NotFoundError: there is no such endpoint.
        APIMasterError: as the reply says.
    """
    if file is not None:
        yield RunBlocking(lambda: file.prepare(endpoint_id))
    lost = f"The request for a new secret of the endpoint {endpoint_id} went out, and no answer came back"
    reply = yield from _change(context, wire.rotate_call(endpoint_id), timeout, lost, _ROTATE, endpoint_id)
    now: Instant = yield Now()
    made = wire.read_rotated(reply, endpoint_id, until=now.wall + REPLACED_FOR)
    if made is None:
        raise WebhookOutcomeUnknownError(
            f"The gateway replaced the secret of the endpoint {endpoint_id}, and its reply does not hold the new one",
            advice=f"client.webhooks.rotate({endpoint_id!r}) gives it another.",
            endpoint_id=endpoint_id,
            status_code=reply.status,
        )
    if file is not None:
        new = NewSecret(
            endpoint_id,
            made.key_id or "",
            made.signing_secret.get_secret_value(),
            rotated=True,
            previous_key_id=made.previous_key_id,
            previous_valid_until=made.previous_valid_until,
        )
        yield from _save(file, new, made)
    return made


def redeliver(context: Context, event_id: str, timeout: float) -> Flow[None]:
    """Ask the gateway to deliver an event once more.

    Raises:
        WebhookOutcomeUnknownError: it may have been asked for.
        RateLimitError: it was asked for too often today.
        BadRequestError: a delivery is under way, or the event is too old.
        NotFoundError: there is no such event.
        APIMasterError: as the reply says.
    """
    lost = f"The request to deliver the event {event_id} again went out, and no answer came back"
    yield from _change(context, wire.redeliver_call(event_id), timeout, lost, _REDELIVER)


def endpoints(context: Context, timeout: float) -> Flow[tuple[WebhookEndpoint, ...]]:
    """All endpoints that the key may manage."""
    return (yield from _read(context, wire.list_call(), wire.read_endpoints, timeout, _Advice(_NO_ROUTE)))


def verify(context: Context, endpoint_id: str, timeout: float) -> Flow[WebhookEndpoint]:
    """Have the gateway send the challenge now.

    Raises:
        BadRequestError: the receiver did not answer as it should; the message says how.
        NotFoundError: there is no such endpoint.
        APIMasterError: as the reply says.
    """
    reply = yield from _ask(context, wire.verify_call(endpoint_id), timeout, _VERIFY, attempt=VERIFY_TIMEOUT)
    return (yield from _after(context, reply, endpoint_id, timeout, {"verified": True}))


def enable(context: Context, endpoint_id: str, timeout: float, *, enabled: bool) -> Flow[WebhookEndpoint]:
    """Turn an endpoint on, which resumes the deliveries that wait, or off.

    Raises:
        NotFoundError: there is no such endpoint.
        APIMasterError: as the reply says.
    """
    call = wire.enable_call(endpoint_id, enabled=enabled)
    reply = yield from _ask(context, call, timeout, _Advice(_NO_ENDPOINT))
    return (yield from _after(context, reply, endpoint_id, timeout, {"enabled": enabled}))


def events(
    context: Context, timeout: float, *, task_id: str | None, status: str | None, limit: int, offset: int
) -> Flow[tuple[WebhookEventSummary, ...]]:
    """A part of the events."""
    call = wire.events_call(task_id=task_id, status=status, limit=limit, offset=offset)
    return (yield from _read(context, call, wire.read_events, timeout, _Advice(_NO_ROUTE)))


def event(context: Context, event_id: str, timeout: float) -> Flow[WebhookEventDetails]:
    """One event, with what is delivered and every attempt."""
    call, advice = wire.event_call(event_id), _Advice(_NO_EVENT)
    return (yield from _read(context, call, lambda reply: wire.read_event(reply, event_id), timeout, advice))


def capabilities(context: Context, model: str, timeout: float) -> Flow[WebhookCapabilities]:
    """Whether tasks of a model can report their end, by the spelling of its id that the gateway offers."""
    sent = context.spellings.to_send(model)
    found: WebhookCapabilities | None = None
    refusal: APIMasterError | None = None
    try:
        found = yield from _capabilities(context, sent, timeout)
    except APIMasterError as error:
        refusal = error
        if error.code != NO_SUCH_MODEL:
            raise
    if found is not None and found.supported:
        return found
    now: Instant = yield Now()
    other = yield from other_spelling(context, sent, (sent,), now.monotonic + timeout)
    if other is not None and sent not in (context.spellings.listed or ()):
        return (yield from _capabilities(context, other, timeout))
    if found is None:
        assert refusal is not None
        raise refusal
    return found


def _capabilities(context: Context, model: str, timeout: float) -> Flow[WebhookCapabilities]:
    call = wire.capabilities_call(model)
    return (
        yield from _read(context, call, lambda reply: wire.read_capabilities(reply, model), timeout, _Advice(_NO_ROUTE))
    )


def _after(
    context: Context, reply: Reply, endpoint_id: str, timeout: float, known: Mapping[str, bool]
) -> Flow[WebhookEndpoint]:
    """The endpoint after a change. If the reply does not hold it, the list does."""
    found = wire.read_endpoint(reply, endpoint_id)
    if found is None:
        listed = yield from endpoints(context, timeout)
        found = next((each for each in listed if each.id == endpoint_id), WebhookEndpoint(id=endpoint_id))
    # What the gateway says counts; where it says nothing, it has at least accepted the change.
    return found.model_copy(update={name: value for name, value in known.items() if getattr(found, name) is None})


def _change(
    context: Context, call: Call, timeout: float, lost: str, advice: _Advice, endpoint_id: str | None = None
) -> Flow[Reply]:
    """A change that must not be made twice. ``lost``: what to say if its answer is."""
    now: Instant = yield Now()
    try:
        return (yield from act(context, call, deadline=now.monotonic + timeout))
    except OutcomeUnknownError as error:
        raise WebhookOutcomeUnknownError(
            f"{lost}: {error.message}" if error.status_code is None else f"{lost} (HTTP {error.status_code})",
            advice=advice.lost,
            endpoint_id=endpoint_id,
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
        ) from None
    except InternalServerError as error:
        # It may have failed after it had begun: nobody promises that nothing was made.
        error.retryable, error.advice = False, advice.lost
        raise
    except RateLimitError as error:
        if advice.limited and error.retry_after is None:
            error.retryable, error.advice = False, advice.limited
        raise
    except APIMasterError as error:
        raise _advised(context, error, advice) from None


def _read(context: Context, call: Call, read: Callable[[Reply], T], timeout: float, advice: _Advice) -> Flow[T]:
    reply = yield from _ask(context, call, timeout, advice)
    try:
        return read(reply)
    except Unreadable as error:
        raise InternalServerError(
            f"The reply about webhooks can't be read: {error}.", advice=_ASK_AGAIN, status_code=reply.status
        ) from None


def _ask(context: Context, call: Call, timeout: float, advice: _Advice, *, attempt: float = ASK_TIMEOUT) -> Flow[Reply]:
    now: Instant = yield Now()
    try:
        return (yield from ask(context, call, deadline=now.monotonic + timeout, timeout=attempt))
    except APIMasterError as error:
        raise _advised(context, error, advice) from None


def _advised(context: Context, error: APIMasterError, advice: _Advice) -> APIMasterError:
    """The error with the advice for this call; that of its class speaks of images and models."""
    if isinstance(error, NotFoundError):
        error.advice = hint_for_404(context.base_url) or advice.missing
    elif isinstance(error, PermissionDeniedError):
        error.advice = _OTHER_KEY
    elif isinstance(error, BadRequestError) and advice.refused:
        error.advice = advice.refused
    return error


def _save(file: SecretFile, new: NewSecret, made: CreatedWebhookEndpoint | RotatedWebhookSecret) -> Flow[None]:
    try:
        yield RunBlocking(lambda: file.save(new))
    except (OSError, BadRequestError) as error:
        reason = error.message if isinstance(error, BadRequestError) else error.strerror or str(error)
        raise WebhookSecretNotSavedError(
            f"The secret of the endpoint {new.endpoint_id} can't be saved at {file.path}: {reason}", result=made
        ) from None
