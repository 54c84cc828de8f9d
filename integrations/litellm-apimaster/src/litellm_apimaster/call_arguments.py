"""Every argument that the caller of LiteLLM passed, unchanged.

LiteLLM calls a custom image handler with ``optional_params``, from which it has silently dropped ``size``, ``n``,
``quality``, ``response_format`` and ``user`` (before 1.110), and on edits also ``mask`` and ``extra_body``. LiteLLM
keeps the keyword arguments of the call in the caching handler of its logging object. Positional arguments survive only
on the stack, in the frame of LiteLLM's own function, which is still there while LiteLLM calls a method of the handler.

No other module of this package knows where LiteLLM keeps them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from litellm.utils import filter_out_litellm_params

if TYPE_CHECKING:
    from types import FrameType

_log = logging.getLogger("litellm_apimaster")

FROM_PROXY: Final = "proxy_server_request"
"""LiteLLM's argument that holds the client's request: the client of a proxy is somebody else than its operator."""

# The attribute lost its underscore between 1.80 and 1.106.
_CACHING_HANDLERS: Final = ("llm_caching_handler", "_llm_caching_handler")
_ENTRY_POINTS: Final = frozenset({"image_generation", "image_edit"})
_ENTRY_POINTS_MODULE: Final = "litellm.images.main"
_MAX_FRAMES: Final = 12
# Every call needs one of these. If neither was passed by name, the call has positional arguments.
_REQUIRED: Final = frozenset({"prompt", "messages"})


def arguments_of_call(logging_obj: object, optional_params: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of the call. LiteLLM's Router has already filled in the ``litellm_params`` of its deployment.

    Call this while LiteLLM's own function is on the stack: from a plain method, not from inside a coroutine.
    If this LiteLLM keeps the arguments somewhere else, every call logs a warning.
    """
    cached = _cached_arguments(logging_obj)
    found = {} if cached is None else dict(cached)
    if not _REQUIRED & found.keys():
        found |= _stack_arguments()
    if cached is None:
        _log.warning(
            "LiteLLM %s does not keep the arguments of a call where this package knows to look. %s "
            "Please report this version.",
            litellm_version(),
            "They were read from the call stack instead."
            if found
            else "size, n, quality, response_format and mask may be LOST; extra_body may be lost on edits.",
        )
    # A hook may have changed what LiteLLM passes on; that is newer than the caller's own value.
    return found | {name: value for name, value in optional_params.items() if value is not None}


def body_of_client(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a client of the proxy has sent, before the proxy and its hooks changed it; empty outside a proxy."""
    client = arguments.get(FROM_PROXY)
    body = client.get("body") if isinstance(client, Mapping) else None
    return body if isinstance(body, Mapping) else {}


@lru_cache(maxsize=4096)
def is_provider_parameter(name: str) -> bool:
    """Whether ``name`` is not one of LiteLLM's own arguments, and so is meant for the provider."""
    return bool(filter_out_litellm_params({name: None}))


def _cached_arguments(logging_obj: object) -> Mapping[str, Any] | None:
    for name in _CACHING_HANDLERS:
        arguments = getattr(getattr(logging_obj, name, None), "request_kwargs", None)
        if isinstance(arguments, Mapping):
            return arguments
    return None


def _stack_arguments() -> dict[str, Any]:
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        if code.co_name in _ENTRY_POINTS and frame.f_globals.get("__name__") == _ENTRY_POINTS_MODULE:
            values = frame.f_locals
            named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            rest = values.get("kwargs")
            return {name: values[name] for name in named if name in values} | (rest if isinstance(rest, dict) else {})
        frame = frame.f_back
    return {}


def litellm_version() -> str:
    """The version of LiteLLM, as a warning names it."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "(unknown version)"
