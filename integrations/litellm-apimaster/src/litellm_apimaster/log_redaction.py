"""Keeps base64 out of what LiteLLM hands to its loggers.

Langfuse, S3, spend logs and the like get the arguments and the response of a call that succeeded. Before them, LiteLLM
asks every callback whether it would like to change what they see. This one puts a short text in the place of pictures,
in the calls of this provider only.

The caller has the same objects. So nothing is changed in place: whatever holds a picture is copied.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import litellm
from litellm.integrations.custom_logger import CustomLogger
from pydantic import BaseModel

from .call_arguments import FROM_PROXY
from .params import PROVIDER

_log = logging.getLogger("litellm_apimaster")

_BASE64_FIELD: Final = "b64_json"
_LITELLM_PARAMS: Final = "litellm_params"
_METADATA: Final = ("metadata", "litellm_metadata")
_HIDDEN: Final = "hidden_params"
# LiteLLM puts the chunks of a stream together after the first of them was logged, and counts the tokens of the request.
_WHOLE_STREAM: Final = ("complete_streaming_response", "async_complete_streaming_response")
_MARK: Final = ";base64,"
_DATA_URI: Final = re.compile(r"data:[\w.+/-]{0,80};base64,\s*([A-Za-z0-9+/_=%-]*)")
# A picture in a request may have any name, or none. It begins as the image formats do, or is longer than any word.
_START: Final = re.compile(
    r"(data:[\w.+/-]{0,80};base64,)?(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD|[A-Za-z0-9+/_=\r\n-]{1024})"
)
_MAX_DEPTH: Final = 40


class LogRedaction(CustomLogger):
    """Changes what LiteLLM's loggers get. It logs nothing itself."""

    def logging_hook(self, kwargs: dict[str, Any], result: Any, call_type: str) -> tuple[dict[str, Any], Any]:
        """What loggers see of a blocking call: its arguments, and its response or a chunk of it."""
        try:
            return _redact(kwargs, result)
        except Exception:  # noqa: BLE001  # it would keep the call from all loggers, and its cost from the spend
            _log.exception("base64 could not be left out of what LiteLLM logs")
            return kwargs, result

    async def async_logging_hook(
        self, kwargs: dict[str, Any], result: Any, call_type: str
    ) -> tuple[dict[str, Any], Any]:
        """The same of an asyncio call."""
        return self.logging_hook(kwargs, result, call_type)

    def __call__(self, *_: Any, **__: Any) -> None:
        """Nothing.

        At a process's first call, and never again, LiteLLM 1.80 prepares for the kinds of callbacks that there are.
        Routers made later add functions. This object can be called like one, so LiteLLM is prepared for them.
        """


_callback: Final = LogRedaction()


def register_log_redaction() -> None:
    """Make sure that LiteLLM asks before it logs. Cheap, as each call does it: configurations replace the lists."""
    for callbacks in (litellm.success_callback, litellm._async_success_callback):
        if _callback not in callbacks:
            callbacks.append(_callback)


def without_base64(value: Any) -> Any:
    """The value with a short text in the place of each picture; the value itself if there is none."""
    return _without_base64(value, None, 0)


def _redact(kwargs: dict[str, Any], result: Any) -> tuple[dict[str, Any], Any]:
    if kwargs.get("custom_llm_provider") != PROVIDER:
        return kwargs, result
    if kwargs.get("stream") is not True or any(kwargs.get(name) is not None for name in _WHOLE_STREAM):
        # LiteLLM's own parameters hold objects of other callbacks and of the proxy: only what may hold a picture.
        params = kwargs.get(_LITELLM_PARAMS)
        if isinstance(params, Mapping):
            changes = _changes_of_params(params)
            kwargs[_LITELLM_PARAMS] = {**params, **changes} if changes else params
        kwargs.update(_changes({name: value for name, value in kwargs.items() if name != _LITELLM_PARAMS}, 0))
    return kwargs, _response_without_base64(result)


def _changes_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    changes = _changes({FROM_PROXY: params.get(FROM_PROXY)}, 0)
    for name in _METADATA:
        metadata = params.get(name)
        if isinstance(metadata, Mapping) and (notes := _changes({_HIDDEN: metadata.get(_HIDDEN)}, 0)):
            changes[name] = {**metadata, **notes}  # LiteLLM's notes about the response
    return changes


def _response_without_base64(response: Any) -> Any:
    """The same for the response, and for LiteLLM's notes about it, which hold the parameters of the call."""
    shown = without_base64(response)
    notes = getattr(shown, f"_{_HIDDEN}", None)
    shown_notes = without_base64(notes)
    if shown_notes is not notes:
        shown = shown.model_copy() if shown is response else shown
        setattr(shown, f"_{_HIDDEN}", shown_notes)
    return shown


def _without_base64(value: Any, name: object, depth: int) -> Any:
    if isinstance(value, str):
        return _left_out(len(value)) if name == _BASE64_FIELD and value else _text_without_base64(value)
    if depth == _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        changes = _changes(value, depth)
        return {**value, **changes} if changes else value
    if isinstance(value, (list, tuple)):
        items = [_without_base64(item, None, depth + 1) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    if isinstance(value, BaseModel):
        changes = _changes({**value.__dict__, **(value.model_extra or {})}, depth)
        return value.model_copy(update=changes) if changes else value
    return value


def _changes(fields: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    new = {name: _without_base64(value, name, depth + 1) for name, value in fields.items()}
    return {name: value for name, value in new.items() if value is not fields[name]}


def _text_without_base64(text: str) -> str:
    # The start decides: to look at every character of many megabytes would hold up the event loop.
    if (start := _START.match(text)) and " " not in text:
        return _left_out(len(text) - len(start[1] or ""))
    if _MARK in text:
        return _DATA_URI.sub(lambda found: _left_out(len(found[1])), text)
    return text


def _left_out(length: int) -> str:
    return f"(base64 of {length:,} characters left out)"
