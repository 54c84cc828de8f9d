"""One call: everything that it needs, worked out before anything is sent.

The methods that LiteLLM calls build it before they return a coroutine. So it happens in LiteLLM's worker thread and
not on an event loop, and with LiteLLM's own function on the stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from litellm import constants

from apimaster import ImageRequest
from apimaster.errors import APIMasterError, BadRequestError, ReferenceImageError
from apimaster.request import ReferencesBy

from . import chat, errors, params
from .call_arguments import FROM_PROXY, arguments_of_call, body_of_client
from .clients import Account, resolve_account
from .identity import Identity, identify
from .multipart import is_form, nest_bracketed_fields
from .params import ParsedParams
from .reference_images import IMAGE, References, is_reference_name
from .stray_pictures import refuse_lost_pictures

# LiteLLM's proxy checks a deployment by calling it as a client would: that buys an image every few minutes. It tags
# these calls, and this package asks the gateway for its list of models instead, which is free and shows that the
# base URL answers and that the key is accepted.
_HEALTH_CHECK_TAG: Final = getattr(
    constants, "LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME", "litellm-internal-health-check"
)
_UPLOADS: Final = f"{IMAGE}[]"
_LITELLM_METADATA: Final = "litellm_metadata"  # LiteLLM's own; a client's tags are in ``metadata``


_OF_EVENTS: Final = ("litellm_call_id", "model_info", "api_base", FROM_PROXY, _LITELLM_METADATA)


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        arguments: all arguments of the call, LiteLLM's internal ones included.
        model: the model id, as the caller wrote it.
        account: the key and the base URL.
        request: the image request; None for a health check.
        identity: which request of which caller it is; None for a health check.
        inline: whether the response carries the images themselves instead of URLs.
        references_by: how local reference images go out, or None for the core's default.
        timeout: seconds for the whole call, or None for the core's default.
        headers: further HTTP headers for the gateway.
        purchase_retries: how often the core may repeat a purchase that cost nothing, or None for its default.
        logging: LiteLLM's logging object.
    """

    arguments: Mapping[str, Any]
    model: str
    account: Account
    request: ImageRequest | None
    identity: Identity | None
    inline: bool
    references_by: ReferencesBy | None
    timeout: float | None
    headers: Mapping[str, str]
    purchase_retries: int | None
    logging: Any

    def with_options(self, client: Any, **options: Any) -> Any:
        """The client with this call's headers and retries, and further options."""
        if self.headers:
            options["extra_headers"] = self.headers
        return client.with_options(purchase_retries=self.purchase_retries, references_by=self.references_by, **options)

    def log_request(self) -> None:
        """LiteLLM's log entry before a call: the request, without the key and the images."""
        if self.request is None:
            return
        shown = self.request.model_dump(mode="json", exclude_none=True, exclude={"prompt", "references", "mask"})
        if self.request.mask is not None:
            shown["mask"] = True
        self.logging.pre_call(
            input=self.request.prompt,
            api_key="",
            additional_args={
                "complete_input_dict": shown | {"references": len(self.request.references)},
                "api_base": self.account.base_url,
            },
        )

    def log_response(self, entry: str) -> None:
        """LiteLLM's log entry after a call."""
        if self.request is not None:
            self.logging.post_call(input=self.request.prompt, api_key="", original_response=entry)


def image_call(handler_arguments: Mapping[str, Any]) -> Call:
    """The call behind ``image_generation``, from what LiteLLM passes to a custom handler."""
    model = handler_arguments["model"]
    with _litellm_errors(model):
        given = _arguments(handler_arguments)
        from_form = is_form(given)
        if IMAGE in handler_arguments:  # an edit: the argument may be positional, and LiteLLM writes [None] for nothing
            images = [each for each in handler_arguments[IMAGE] or () if each is not None]
            given[IMAGE] = (given.get(IMAGE) or images) if images else None
            if images and from_form and not isinstance(given.get(_UPLOADS), str):
                given.pop(_UPLOADS, None)  # older proxies leave the last of these uploads there, too
        arguments = nest_bracketed_fields(given, is_reference_name, from_form=from_form)
        if _is_health_check(arguments):
            return _call(handler_arguments, arguments, None)
        sent = body_of_client(arguments)
        refuse_lost_pictures(sent)
        if params.STREAM in sent:  # a hook of the proxy may have dropped it, but the client waits for what it asked for
            arguments[params.STREAM] = sent[params.STREAM]
        reader = References(local_paths=FROM_PROXY not in arguments, from_form=from_form)
        parsed = params.parse(arguments, model=model, prompt=handler_arguments["prompt"] or "", reader=reader)
        return _call(handler_arguments, arguments, parsed)


def edit_call(handler_arguments: Mapping[str, Any]) -> Call:
    """The call behind ``image_edit``: the same with at least one picture. It is a purchase of that edit, or refused."""
    _name_for_events(handler_arguments)
    call = image_call(handler_arguments)
    if call.request is not None and not call.request.references:
        with _litellm_errors(call.model):
            raise ReferenceImageError(
                "an edit needs a picture, and there is none",
                advice="Hand it over as image: a file, bytes, an http(s) URL or a data URI. "
                "To draw from the text alone, use image_generation.",
            )
    return call


def _name_for_events(handler_arguments: Mapping[str, Any]) -> None:
    """Tell LiteLLM's events whose call this is. LiteLLM does so for all calls of a custom provider but edits."""
    arguments = _arguments(handler_arguments)
    # A Router writes its notes about an edit into LiteLLM's own metadata; events read them, and tags, from the other.
    notes: dict[str, Any] = {}
    for name in (_LITELLM_METADATA, "metadata"):
        given = arguments.get(name)
        notes |= given if isinstance(given, Mapping) else {}
    known = {name: arguments[name] for name in _OF_EVENTS if arguments.get(name) is not None}
    handler_arguments["logging_obj"].update_environment_variables(
        model=handler_arguments["model"],
        user=arguments.get("user"),
        optional_params={},
        litellm_params=known | {"metadata": notes},
        custom_llm_provider=params.PROVIDER,
    )


def chat_call(handler_arguments: Mapping[str, Any]) -> Call:
    """The call behind ``completion``."""
    model = handler_arguments["model"]
    with _litellm_errors(model):
        arguments = _arguments(handler_arguments)
        if _is_health_check(arguments):
            return _call(handler_arguments, arguments, None)
        chat.check_modalities(arguments)
        prompt = chat.prompt_of(handler_arguments["messages"])
        parsed = params.parse(
            chat.image_parameters(arguments),
            model=model,
            prompt=prompt.text,
            reader=References(local_paths=False),
            references=prompt.references,
            also_unsupported=chat.UNSUPPORTED,
        )
        return _call(handler_arguments, arguments, parsed)


def _arguments(handler_arguments: Mapping[str, Any]) -> dict[str, Any]:
    return arguments_of_call(handler_arguments["logging_obj"], handler_arguments["optional_params"])


def _is_health_check(arguments: Mapping[str, Any]) -> bool:
    metadata = arguments.get(_LITELLM_METADATA)
    return isinstance(metadata, Mapping) and _HEALTH_CHECK_TAG in (metadata.get("tags") or ())


def _call(handler_arguments: Mapping[str, Any], arguments: Mapping[str, Any], parsed: ParsedParams | None) -> Call:
    base_url = handler_arguments.get("api_base") or arguments.get("base_url")
    return Call(
        arguments=arguments,
        model=handler_arguments["model"],
        account=resolve_account(handler_arguments.get("api_key"), base_url),
        request=None if parsed is None else parsed.request,
        identity=None if parsed is None else identify(arguments, parsed.asked),
        inline=parsed is not None and parsed.inline,
        references_by=None if parsed is None else parsed.references_by,
        timeout=_seconds(handler_arguments.get("timeout")),
        headers=_headers(arguments),
        purchase_retries=_retries(arguments.get("max_retries")),
        logging=handler_arguments["logging_obj"],
    )


def _seconds(timeout: Any) -> float | None:
    """A deadline from LiteLLM's ``timeout``: a number, an ``httpx.Timeout`` (its read timeout), or None.

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
    """``extra_headers`` over ``headers``, which LiteLLM uses for the same."""
    found: dict[str, str] = {}
    for name in ("headers", "extra_headers"):
        given = arguments.get(name)
        if isinstance(given, Mapping):
            found |= {str(key): str(value) for key, value in given.items() if value is not None}
    return found


def _retries(value: Any) -> int | None:
    # A Router, which retries by itself, passes 0 here.
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@contextmanager
def _litellm_errors(model: str) -> Iterator[None]:
    """Turn the core's errors into LiteLLM's. Nothing has been sent yet, so nothing was charged."""
    try:
        yield
    except APIMasterError as error:
        raise errors.to_litellm(error, model=model, retry_unknown=False) from error
