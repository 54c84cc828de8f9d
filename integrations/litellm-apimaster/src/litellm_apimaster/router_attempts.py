"""An id that all attempts of one blocking call of a Router share, where LiteLLM gives them none.

LiteLLM keeps a trace id over the attempts of a Router's asynchronous calls and chats. The attempts of its blocking
``image_generation`` share neither that nor a call id. They do share two things:

- They run one after the other in one context. Up to 1.109 each call of the Router has a context of its own; since 1.110
  it is the context of the caller, where an id outlives the call.
- The Router hands ``metadata`` from one attempt to the next, to a fallback as a copy. Since 1.110 each call has a
  dictionary of its own; before, it is the caller's, who may pass the same one again.

So the first attempt writes an id into both, and a later one takes it if both hold it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

_METADATA: Final = "metadata"
_MARK: Final = "apimaster_attempts"
_current: Final[ContextVar[str | None]] = ContextVar("apimaster_attempts", default=None)


def shared_id(arguments: Mapping[str, Any], *, is_retry: bool) -> str | None:
    """The id of this call of a Router; None: it is no such call.

    Call this where LiteLLM calls the handler: in the context of the Router.

    Args:
        arguments: all arguments of the call.
        is_retry: whether the Router says that this is not its first attempt.
    """
    metadata = arguments.get(_METADATA)
    if not arguments.get("model_info") or not isinstance(metadata, dict):
        return None
    known = _current.get()
    if not is_retry or known is None or metadata.get(_MARK) != known:
        # A fallback from another provider is the first attempt here.
        known = secrets.token_hex(8)
        _current.set(known)
        metadata[_MARK] = known
    return known
