"""The guard against buying twice: it recognises a second attempt at a request that may have been charged.

LiteLLM retries and falls back on its own. The class and the status of our errors turn most of that off. What is left
are retry policies by class, fallbacks to a model group that is this provider again, ``num_retries`` of
``completion``, and LiteLLM versions before 1.106, which retry everything. So the guard remembers a call that ended
with an unknown outcome, and the provider refuses a further attempt at the same request before it sends anything.

The guard recognises a request by LiteLLM's ids for it: the call id (the same in all attempts of a proxy or of
``completion``), or the trace id (of an asynchronous Router). Where LiteLLM keeps neither, it reads the list of failed
attempts that a Router carries along.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

_MAX_REMEMBERED: Final = 10_000
_METADATA: Final = ("metadata", "litellm_metadata")
_FAILED_ATTEMPTS: Final = "previous_models"
_EXCEPTION_CLASS: Final = "exception_type"
_CALL: Final = "call "
_TRACE: Final = "trace "


class RetryGuard:
    """Remembers requests whose outcome is unknown, in bounded memory. Safe to share between threads."""

    def __init__(self) -> None:
        self._descriptions: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, arguments: Mapping[str, Any], description: str) -> None:
        """Remember a call that may have been charged; ``description`` says what happened to it."""
        with self._lock:
            for request_id in _request_ids(arguments):
                self._descriptions[request_id] = description
                self._descriptions.move_to_end(request_id)
            while len(self._descriptions) > _MAX_REMEMBERED:
                self._descriptions.popitem(last=False)

    def earlier_attempt(self, arguments: Mapping[str, Any], unknown_outcomes: frozenset[str]) -> str | None:
        """The description of an earlier attempt at this very request, or None if this is the first.

        ``unknown_outcomes`` are the class names that stand for an unknown outcome in a Router's list of failed
        attempts.
        """
        failed = _failed_attempts(arguments)
        is_retry = _is_retry(arguments)
        with self._lock:
            known = {request_id: self._descriptions.get(request_id) for request_id in _request_ids(arguments)}
        for request_id, description in known.items():
            # A trace can span a user's whole session, so it proves something only about a retry.
            if description is not None and (request_id.startswith(_CALL) or is_retry or failed):
                return description
        # A caller who uses one metadata dict for several requests carries the list of the first to the next.
        if is_retry and any(attempt.get(_EXCEPTION_CLASS) in unknown_outcomes for attempt in failed[-1:]):
            return "An earlier attempt at this request may have been charged."
        return None


def _request_ids(arguments: Mapping[str, Any]) -> list[str]:
    ids = {_CALL: arguments.get("litellm_call_id"), _TRACE: arguments.get("litellm_trace_id")}
    return [f"{kind}{value}" for kind, value in ids.items() if value]


def _is_retry(arguments: Mapping[str, Any]) -> bool:
    metadata = _router_metadata(arguments)
    return any(
        (arguments.get("fallback_depth"), metadata.get("attempted_retries"), metadata.get("attempted_fallbacks"))
    )


def _failed_attempts(arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    attempts = _router_metadata(arguments).get(_FAILED_ATTEMPTS) or ()
    return [attempt for attempt in attempts if isinstance(attempt, Mapping)]


def _router_metadata(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a Router keeps its notes about this request: in one of two places, depending on LiteLLM's function."""
    for name in _METADATA:
        metadata = arguments.get(name)
        if isinstance(metadata, Mapping) and _FAILED_ATTEMPTS in metadata:
            return metadata
    found = arguments.get(_METADATA[1]) or arguments.get(_METADATA[0])
    return found if isinstance(found, Mapping) else {}
