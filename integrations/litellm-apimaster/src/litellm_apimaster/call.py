"""What the caller said, word for word.

LiteLLM calls a custom image handler with ``optional_params``, from which it has dropped ``size``, ``n``, ``quality``,
``response_format`` and ``user`` (on edits ``mask`` and ``extra_body`` too) without a word. The keyword arguments of the
call survive in the caching handler that hangs on the logging object; arguments given by position survive only on the
stack, in the frame of LiteLLM's own function, which is still there while a handler's method is being called.

Nothing else in this package knows where LiteLLM keeps them.
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

# The attribute lost its underscore between 1.80 and 1.106.
_CACHING_HANDLERS: Final = ("llm_caching_handler", "_llm_caching_handler")
_DOORS: Final = frozenset({"image_generation", "image_edit"})
_DOORS_MODULE: Final = "litellm.images.main"
_FRAMES_UP: Final = 12
_BY_NAME: Final = frozenset({"prompt", "messages"})


def said(logging_obj: object, optional_params: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of the call, a deployment's ``litellm_params`` already merged below them by LiteLLM's Router.

    Must be called while LiteLLM's own function is on the stack: from a plain method, not from inside a coroutine.
    Where this LiteLLM keeps the arguments somewhere else, that is logged as a warning at every call.
    """
    kept = _kept(logging_obj)
    found = {} if kept is None else dict(kept)
    if not _BY_NAME & found.keys():
        found |= _on_the_stack()
    if kept is None:
        _log.warning(
            "LiteLLM %s does not keep the arguments of a call where this package knows to look. %s "
            "Please report this version.",
            _litellm_version(),
            "They were read from the call stack instead."
            if found
            else "size, n, quality, response_format and mask are LOST; extra_body is lost on edits.",
        )
    # A hook may have changed what LiteLLM still hands over; that is newer than what was said.
    return found | {name: value for name, value in optional_params.items() if value is not None}


@lru_cache(maxsize=4096)
def is_foreign(name: str) -> bool:
    """Whether an argument of this name is not LiteLLM's own: a provider parameter, known or unknown."""
    return bool(filter_out_litellm_params({name: None}))


def _kept(logging_obj: object) -> Mapping[str, Any] | None:
    for name in _CACHING_HANDLERS:
        kept = getattr(getattr(logging_obj, name, None), "request_kwargs", None)
        if isinstance(kept, Mapping):
            return kept
    return None


def _on_the_stack() -> dict[str, Any]:
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES_UP):
        if frame is None:
            break
        code = frame.f_code
        if code.co_name in _DOORS and frame.f_globals.get("__name__") == _DOORS_MODULE:
            values = frame.f_locals
            named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            rest = values.get("kwargs")
            return {name: values[name] for name in named if name in values} | (rest if isinstance(rest, dict) else {})
        frame = frame.f_back
    return {}


def _litellm_version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "(unknown version)"
