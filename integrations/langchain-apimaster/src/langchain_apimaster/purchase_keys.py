"""Which purchase a tool call is: the key under which the ledger knows it.

The key is a digest of everything by which the call is known: the namespace, the thread, the id of the assistant message
that holds the call, the id of the tool call, the tool, and the whole request with its references by their bytes. So a
resume, a redelivery or time travel finds its picture, and a fork with another prompt or attachment buys one. The
request counts by the preferred id of its model. Earlier versions took the id as the application had spelled it: a key
that was made by another id of the model is a former one.

A key of the application's, ``configurable={"idempotency_key": …}``, takes the place of thread, message and call id: a
queue that delivers a run again gives it others. LangChain passes one configuration to all calls of a run, so the key
stands for the run, and each different request in it is a purchase.

An id alone is not enough: some models count ``call_0``, ``call_1`` afresh in every conversation. A call whose thread
and message are unknown, and that has no ``idempotency_key`` of the application's, has a random key: it is in the ledger
and in its budget, and nothing but ``with_retry`` finds it again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .places import place_among_equals
from .store import digest_of

if TYPE_CHECKING:
    from .call import Call

PREFIX: Final = "langchain-"
_MAX_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class PurchaseKey:
    """The key of a call.

    Attributes:
        text: under which the ledger has its purchase.
        former: under which an earlier version may have bought it, the likeliest first; empty if there is no other.
    """

    text: str
    former: tuple[str, ...] = ()


class PurchaseKeys:
    """Gives each tool call its key. Safe to share between threads.

    Args:
        namespace: the tenant: it is a part of every key.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.prefix = prefix_of(namespace)
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, str] = OrderedDict()
        self._equal_calls: OrderedDict[str, int] = OrderedDict()

    @contextmanager
    def open(self, call: Call, requests: Sequence[str], equals: Sequence[int] = ()) -> Iterator[PurchaseKey]:
        """The key of a call, for as long as it runs.

        Args:
            call: the call.
            requests: the digests of everything that it asks for, by each id of its model, the preferred one first.
            equals: where in its message the calls stand that ask for the same. It counts under a key of the
                application's only.
        """
        if call.identity is None:
            with self._retried(call, requests[0]) as key:
                yield PurchaseKey(key)
            return
        known = self._by_message(call, [*call.identity], requests)
        if call.idempotency_key is None:
            yield PurchaseKey(known[0], tuple(known[1:]))
            return
        own = self._by_application(call, requests, equals)
        yield PurchaseKey(own[0], (*known, *own[1:]))

    def _by_message(self, call: Call, facts: list[object], requests: Sequence[str]) -> list[str]:
        """The keys by thread, message and call id, one for each digest of the request."""
        digests = [_digest([self.namespace, *facts, call.tool, request]) for request in requests]
        place: int | None = None
        if call.namesakes > 1 and call.dispatch is not None:
            place = call.dispatch  # LangGraph dispatches each call by itself, and tells its place
        elif call.equal_calls > 1:
            place = self._number(call, digests[0]) % call.equal_calls
        return [self.prefix + (each if place is None else _digest([each, place])) for each in digests]

    def _by_application(self, call: Call, requests: Sequence[str], equals: Sequence[int]) -> list[str]:
        """The keys by the application's own key, one for each digest of the request."""
        facts: list[object] = [self.namespace, "idempotency_key", call.idempotency_key, call.fresh, call.tool]
        digests = [_digest([*facts, request]) for request in requests]
        place = place_among_equals(call, equals, lambda: self._number(call, digests[0]))
        return [self.prefix + (_digest([each, place]) if place else each) for each in digests]

    def _number(self, call: Call, digest: str) -> int:
        """How many equal calls of this run were here before: each of one message is a purchase of its own.

        The calls run together, below one parent, and it does not matter which of them is which.
        """
        run = _digest([digest, call.parent_run_id])
        with self._lock:
            number = self._equal_calls.pop(run, 0)
            self._equal_calls[run] = number + 1
            if len(self._equal_calls) > _MAX_REMEMBERED:
                self._equal_calls.popitem(last=False)
        return number

    @contextmanager
    def _retried(self, call: Call, request: str) -> Iterator[str]:
        """The key of a call without an identity: that of the attempt before, if ``with_retry`` makes it again."""
        attempts = None if call.parent_run_id is None else _digest([call.parent_run_id, call.tool, request])
        key = f"{self.prefix}once-{secrets.token_hex(16)}"
        if attempts is None:
            yield key
            return
        with self._lock:
            before = self._failed.pop(attempts, None)
        if call.is_retry and before is not None:
            key = before
        try:
            yield key
        except BaseException:
            with self._lock:
                self._failed[attempts] = key
                if len(self._failed) > _MAX_REMEMBERED:
                    self._failed.popitem(last=False)
            raise

    def __getstate__(self) -> dict[str, object]:
        return {"namespace": self.namespace}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["namespace"])  # type: ignore[misc]


def prefix_of(namespace: str) -> str:
    """How the keys of a namespace begin."""
    return f"{PREFIX}{digest_of(namespace)}-"


def _digest(facts: list[object]) -> str:
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()[:40]
