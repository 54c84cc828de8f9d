"""A job: everything that one call needs, worked out before anything is sent.

Built in the plain method that LiteLLM calls, so that it happens in LiteLLM's worker thread and not on an event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from apimaster import ImageRequest
from apimaster.errors import APIMasterError, BadRequestError

from . import chat, errors, params, pictures_in
from .call import said
from .clients import Account, account
from .forms import unfolded
from .health import is_check

# Through the proxy, a caller is somebody else, and must not name a file of this machine.
_BY_PROXY: Final = "proxy_server_request"


@dataclass(frozen=True, slots=True)
class Job:
    """One call.

    Attributes:
        arguments: all that was said, LiteLLM's internals included.
        model: the model id, as the caller wrote it.
        account: whose key, and where.
        request: what is wanted; None for a health check.
        inline: whether the pictures come back inside the answer.
        timeout: seconds for the whole call, or None for the core's default.
        headers: further HTTP headers for the gateway.
        purchase_retries: how often the core may repeat a purchase that cost nothing, or None for its default.
        logging: LiteLLM's logging object.
    """

    arguments: Mapping[str, Any]
    model: str
    account: Account
    request: ImageRequest | None
    inline: bool
    timeout: float | None
    headers: Mapping[str, str]
    purchase_retries: int | None
    logging: Any

    def tuned(self, client: Any) -> Any:
        """The client with this call's own options."""
        if not self.headers and self.purchase_retries is None:
            return client
        return client.with_options(extra_headers=self.headers, purchase_retries=self.purchase_retries)

    def announce(self) -> None:
        """LiteLLM's log line before a call: what is wanted, without key and pictures."""
        if self.request is None:
            return
        shown = self.request.model_dump(mode="json", exclude_none=True, exclude={"prompt", "references"})
        self.logging.pre_call(
            input=self.request.prompt,
            api_key="",
            additional_args={
                "complete_input_dict": shown | {"references": len(self.request.references)},
                "api_base": self.account.base_url,
            },
        )

    def report(self, reply: str) -> None:
        """LiteLLM's log line after a call."""
        if self.request is not None:
            self.logging.post_call(input=self.request.prompt, api_key="", original_response=reply)


def image_job(handed: Mapping[str, Any]) -> Job:
    """The job behind an image call, from what LiteLLM hands to a custom handler."""
    with _translating(handed["model"]):
        arguments = unfolded(said(handed["logging_obj"], handed["optional_params"]), params.LISTS)
        if is_check(arguments):
            return _job(handed, arguments, None)
        images = pictures_in.files(handed.get("image"), local_paths=_BY_PROXY not in arguments)
        order = params.read(
            arguments,
            model=handed["model"],
            prompt=handed["prompt"] or "",
            images=images,
            unsupported_here=frozenset(),
        )
        return _job(handed, arguments, order)


def chat_job(handed: Mapping[str, Any]) -> Job:
    """The job behind a chat call."""
    arguments = said(handed["logging_obj"], handed["optional_params"])
    with _translating(handed["model"]):
        if is_check(arguments):
            return _job(handed, arguments, None)
        turn = chat.last_turn(handed["messages"])
        order = params.read(
            chat.parameters(arguments),
            model=handed["model"],
            prompt=turn.prompt,
            images=list(turn.pictures),
            unsupported_here=chat.UNSUPPORTED,
        )
        return _job(handed, arguments, order)


def _job(handed: Mapping[str, Any], arguments: Mapping[str, Any], order: params.Order | None) -> Job:
    return Job(
        arguments=arguments,
        model=handed["model"],
        account=account(handed.get("api_key"), handed.get("api_base") or arguments.get("base_url")),
        request=None if order is None else order.request,
        inline=order is not None and order.inline,
        timeout=seconds(handed.get("timeout")),
        headers=_headers(arguments),
        purchase_retries=_retries(arguments.get("max_retries")),
        logging=handed["logging_obj"],
    )


def seconds(timeout: Any) -> float | None:
    """A deadline out of LiteLLM's ``timeout``: a number, an ``httpx.Timeout`` (its read timeout), or None.

    Raises:
        BadRequestError: it is none of these.
    """
    if timeout is not None and hasattr(timeout, "read") and hasattr(timeout, "connect"):
        timeout = timeout.read
    if timeout is None:
        return None
    try:
        return float(timeout)
    except (TypeError, ValueError):
        raise BadRequestError(f"timeout must be a number of seconds, not {timeout!r}") from None


def _headers(arguments: Mapping[str, Any]) -> dict[str, str]:
    """``extra_headers``, over ``headers``, which LiteLLM uses for the same."""
    found: dict[str, str] = {}
    for name in ("headers", "extra_headers"):
        given = arguments.get(name)
        if isinstance(given, Mapping):
            found |= {str(key): str(value) for key, value in given.items() if value is not None}
    return found


def _retries(value: Any) -> int | None:
    # A Router repeats by itself and says so with 0 here.
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@contextmanager
def _translating(model: str) -> Iterator[None]:
    """Nothing has been sent yet: whatever the core finds wrong is free."""
    try:
        yield
    except APIMasterError as error:
        raise errors.translated(error, model=model, retry_unknown=False) from error
