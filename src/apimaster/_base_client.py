"""The base of the blocking and the asyncio client: their settings, and the checks of their arguments."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from pydantic import SecretStr

from ._drivers.httpx import HttpxCodec, checked
from ._flows.context import Context
from ._flows.image_run import CallOptions
from ._flows.retry import RetryPolicy
from ._polling.history import History
from ._polling.rate_limit import RateLimiter
from ._references.reference import Reference
from ._storage.target import Target
from .catalog import model_id, spec_for, spellings
from .errors import APIMasterError, BadRequestError, ReferenceImageError
from .ledger import arguments
from .ledger.digest import account_of
from .ledger.location import LEDGER_VARIABLE
from .request import ImageRequest, Mode, ReferenceLike, ReferencesBy
from .results import OnProgress, Task
from .settings import resolve

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from typing_extensions import Self

    from .ledger import Ledger
    from .webhooks import WebhookWaiter

_MODES: Final = get_args(Mode)
_REFERENCES_BY: Final = get_args(ReferencesBy)
_ASK_TIMEOUT: Final = 60.0


class BaseClient:
    """Everything but the I/O."""

    _takes_async_callbacks = False

    def __init__(
        self,
        api_key: str | SecretStr | None,
        base_url: str | None,
        model: str,
        timeout: float | None,
        max_retries: int,
        max_polls_per_second: float | None,
        ledger: Ledger | str | os.PathLike[str] | None,
        webhook_waiter: WebhookWaiter | None,
        references_by: ReferencesBy,
    ) -> None:
        self._settings = resolve(api_key, base_url)
        self._codec = HttpxCodec(self._settings)
        self._timeout = _seconds(timeout)
        self.model = _model(model)
        rate_limiter = RateLimiter(max_polls_per_second)
        self._context = Context(
            self._settings.base_url,
            RetryPolicy(_count("max_retries", max_retries)),
            History(),
            rate_limiter,
            ledger=_resolved(ledger),
            account=account_of(self._settings.base_url, self._settings.api_key.get_secret_value()),
            waiter=_waiter(webhook_waiter),
            references_by=_references_by(references_by),
        )

    @property
    def ledger(self) -> Ledger | None:
        """The ledger that this client writes its purchases into; None if it has none."""
        return cast("Ledger | None", self._context.ledger)

    @property
    def base_url(self) -> str:
        """The gateway's URL, as the client uses it."""
        return self._settings.base_url

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often this client retries a request after a fault that provably cost nothing, and after which pauses."""
        return self._context.policy

    def with_options(
        self,
        *,
        extra_headers: Mapping[str, str] | None = None,
        purchase_retries: int | None = None,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        purchase_alias: str | None = None,
        purchase_asked: ImageRequest | None = None,
        plan_again: Callable[[APIMasterError], bool] | None = None,
        flush_pictures: bool | None = None,
        webhook_waiter: WebhookWaiter | None = None,
        references_by: ReferencesBy | None = None,
    ) -> Self:
        """The same client with other options. Both share connections, the poll rate, the uploads and the history of
        durations.

        To close one is to close both.

        Args:
            extra_headers: HTTP headers for every call to the gateway (never for downloads), such as those of a tracer.
            purchase_retries: retries of a call that buys, after a fault that provably cost nothing; polls and
                downloads keep the client's own ``max_retries``. Set 0 if your own code retries.
            ledger: the ledger for its purchases.
            purchase_alias: another name by which adapters find its purchases in the ledger.
            purchase_asked: what the caller of an adapter asked for, if the adapter chooses the model or sizes: a key
                stands for this, and not for the request that goes out.
            plan_again: called with the error of a purchase that failed before there was a task, at no cost. True: it
                stays planned in the ledger, because your own code asks again; False: it has failed.
            flush_pictures: whether a picture must be on the disk (fsync) before its purchase counts as saved.
            webhook_waiter: the ``WebhookWaiter`` that tells this client how its tasks have ended.
            references_by: how local reference images go out, as for the constructor.

        Raises:
            BadRequestError: the client sets such a header itself, a header is not valid, the number is negative, or the
                ledger's place, the name, the waiter or ``references_by`` is not accepted.
        """
        changes: dict[str, Any] = {}
        if extra_headers is not None:
            changes["headers"] = checked(extra_headers)
        if purchase_retries is not None:
            changes["purchases"] = RetryPolicy(_count("purchase_retries", purchase_retries))
        if ledger is not None:
            changes["ledger"] = _resolved(ledger)
        if purchase_alias is not None:
            changes["alias"] = arguments.text("purchase_alias", purchase_alias)
        if purchase_asked is not None:
            changes["asked"] = purchase_asked
        if plan_again is not None:
            changes["plan_again"] = plan_again
        if flush_pictures is not None:
            changes["flush_pictures"] = flush_pictures
        if references_by is not None:
            changes["references_by"] = _references_by(references_by)
        if webhook_waiter is not None:
            changes["waiter"] = _waiter(webhook_waiter)
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._context = replace(self._context, **changes)
        return made

    @property
    def _ask_timeout(self) -> float:
        return _ASK_TIMEOUT if self._timeout is None else self._timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r}, model={self.model!r})"

    def __getstate__(self) -> object:
        raise TypeError(
            f"{type(self).__name__} holds a key and connections and can't be pickled; make one in each process"
        )

    def _request(self, prompt: str | ImageRequest, **changes: Any) -> ImageRequest:
        if changes.get("model") is None and not isinstance(prompt, ImageRequest):
            changes["model"] = self.model
        return ImageRequest.build(prompt, changes)

    def _edit_request(self, prompt: str | ImageRequest, **changes: Any) -> ImageRequest:
        request = self._request(prompt, **changes)
        if not request.references:
            raise ReferenceImageError(
                "an edit needs at least one reference image, and references is empty",
                advice="Pass the pictures to change as references=[…]; to draw from the text alone, call generate.",
            )
        return request

    def _call_options(
        self,
        timeout: float | None,
        save_to: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        budget: str | None = None,
        references_by: ReferencesBy | None = None,
    ) -> CallOptions:
        if on_progress is not None and not self._takes_async_callbacks and inspect.iscoroutinefunction(on_progress):
            raise BadRequestError("on_progress is an async function; this client takes a plain one")
        seconds = self._timeout if timeout is None else _seconds(timeout)
        return CallOptions(
            seconds,
            None if save_to is None else self._target(save_to),
            on_progress,
            key=None if idempotency_key is None else arguments.checked_key(idempotency_key),
            budget=None if budget is None else arguments.text("budget", budget),
            references_by=self._context.references_by if references_by is None else _references_by(references_by),
        )

    def _keys(self, keys: Sequence[str]) -> tuple[str, ...]:
        return arguments.checked_keys(keys)

    def _since(self, since: float | datetime | timedelta | None) -> Callable[[float], float] | None:
        return None if since is None else arguments.start("since", since)

    def _spellings(self, model: str | None) -> tuple[str, ...]:
        if model is None:
            return ()
        if not isinstance(model, str) or not model.strip():
            raise BadRequestError(f"model must be a model id, not {model!r}")
        return spellings(model.strip())

    def _target(self, place: str | os.PathLike[str]) -> Target:
        return Target.parse(place)

    def _mode(self, mode: Mode) -> Mode:
        if mode not in _MODES:
            raise BadRequestError(f"mode {mode!r} is not known; accepted: {', '.join(_MODES)}")
        return mode

    def _reference(self, picture: ReferenceLike) -> tuple[Reference, int]:
        """A picture to upload, and how large it may be."""
        return Reference.of(picture), spec_for(self.model).max_reference_bytes

    def _task(self, task: Task | str, model: str | None) -> Task:
        if isinstance(task, Task):
            return task if model is None else task.model_copy(update={"model": _model(model)})
        if not isinstance(task, str) or not task.strip():
            raise BadRequestError(f"task must be a task or its id, not {task!r}")
        return Task(id=task.strip(), model=self.model if model is None else _model(model))


def _resolved(ledger: Ledger | str | os.PathLike[str] | None) -> Ledger | None:
    """The ledger of a client: an object, a place, or what the environment names; None if there is none."""
    given = os.environ.get(LEDGER_VARIABLE, "").strip() if ledger is None else ledger
    if isinstance(given, str) and not given:
        return None
    from .ledger.ledger import Ledger  # with its threads and databases; most programs have no ledger

    return given if isinstance(given, Ledger) else Ledger.shared(given)


def _references_by(value: ReferencesBy) -> ReferencesBy:
    if value not in _REFERENCES_BY:
        raise BadRequestError(f"references_by {value!r} is not known; accepted: {', '.join(_REFERENCES_BY)}")
    return value


def _model(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise BadRequestError(f"model must be a model id or an alias, not {name!r}")
    return model_id(name.strip())


def _waiter(given: WebhookWaiter | None) -> WebhookWaiter | None:
    if given is None:
        return None
    from .webhooks import WebhookWaiter  # most programs have none

    if not isinstance(given, WebhookWaiter):
        raise BadRequestError(
            f"webhook_waiter must be a WebhookWaiter, not {type(given).__name__}",
            advice="Make one: apimaster.webhooks.WebhookWaiter(secret).",
        )
    return given


def _count(name: str, value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise BadRequestError(f"{name} must be a whole number, 0 or more, not {value!r}")
    return value


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    return arguments.seconds("timeout", timeout)
