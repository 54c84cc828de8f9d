"""The guard against buying twice: which calls are a second attempt at something that may have been paid for.

LiteLLM repeats and falls back on its own. Most of that is turned off by the class and status of our errors; what is
left are retry policies by class, fallbacks to a model group that is this provider again, ``num_retries`` of
``completion``, and LiteLLM versions before 1.106, which repeat everything. So a call that ended with an unknown
outcome is remembered, and a further attempt at the same request is refused before anything is sent.

A request is known again by LiteLLM's ids for it: the call id (the same in all attempts of a proxy or of
``completion``), the trace id (of an asynchronous Router), or, where neither is kept, by the list of failed attempts
that a Router carries along.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

_REMEMBERED: Final = 10_000
_METADATA: Final = ("metadata", "litellm_metadata")
_FAILED_ATTEMPTS: Final = "previous_models"
_FAILED_AS: Final = "exception_type"
_CALL: Final = "call "
_TRACE: Final = "trace "


class Repeats:
    """Remembers requests whose outcome nobody knows, in bounded memory. Safe to share between threads."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, arguments: Mapping[str, Any], account: str) -> None:
        """A call ended and may have been billed; ``account`` is the sentence that says so."""
        with self._lock:
            for name in _ids(arguments):
                self._seen[name] = account
                self._seen.move_to_end(name)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

    def earlier(self, arguments: Mapping[str, Any], class_names: frozenset[str]) -> str | None:
        """What was said about an earlier attempt at this very request, or None if this is the first.

        ``class_names`` are the errors that stand for an unknown outcome in a Router's list of failed attempts.
        """
        failed = _failed_attempts(arguments)
        repeated = _is_repeated(arguments)
        with self._lock:
            known = {name: self._seen.get(name) for name in _ids(arguments)}
        for name, account in known.items():
            # A trace can span a whole session of a user's, so it says something only about a repeated attempt.
            if account is not None and (name.startswith(_CALL) or repeated or failed):
                return account
        # The list outlives the request where a caller uses one metadata dict for many.
        if repeated and any(attempt.get(_FAILED_AS) in class_names for attempt in failed[-1:]):
            return "An earlier attempt at this request may have been billed."
        return None


def _ids(arguments: Mapping[str, Any]) -> list[str]:
    ids = {_CALL: arguments.get("litellm_call_id"), _TRACE: arguments.get("litellm_trace_id")}
    return [f"{kind}{value}" for kind, value in ids.items() if value]


def _is_repeated(arguments: Mapping[str, Any]) -> bool:
    metadata = _bucket(arguments)
    return any(
        (arguments.get("fallback_depth"), metadata.get("attempted_retries"), metadata.get("attempted_fallbacks"))
    )


def _failed_attempts(arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = _bucket(arguments).get(_FAILED_ATTEMPTS) or ()
    return [attempt for attempt in listed if isinstance(attempt, Mapping)]


def _bucket(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a Router keeps its notes about this request: in one of two places, depending on the door."""
    for name in _METADATA:
        bucket = arguments.get(name)
        if isinstance(bucket, Mapping) and _FAILED_ATTEMPTS in bucket:
            return bucket
    found = arguments.get(_METADATA[1]) or arguments.get(_METADATA[0])
    return found if isinstance(found, Mapping) else {}
