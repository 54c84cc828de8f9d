"""The tools' logic without I/O: written once as flows, carried out by two drivers.

``_run`` and ``_arun`` must do the same. So what a tool does is a generator, a flow, which yields one of two operations
and is sent the outcome. The core's own flows work in the same way.

===========  ============================================  ======================================
operation    what ``run`` does                             what ``arun`` does
===========  ============================================  ======================================
CallClient   calls a method of ``apimaster.APIMaster``     awaits that of ``AsyncAPIMaster``
RunBlocking  calls a blocking function                     calls it in a thread
===========  ============================================  ======================================

A driver throws every error of an operation into the flow, cancellation included, so that the flow can note before it
ends that the call failed. What the call has bought by then is in the ledger, which the client writes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from apimaster import Progress

T = TypeVar("T")


class ProgressListener(Protocol):
    """Receives the progress of a client call."""

    def report(self, progress: Progress) -> None:
        """For a blocking client."""

    async def areport(self, progress: Progress) -> None:
        """For an asyncio client."""


@dataclass(frozen=True, slots=True)
class CallClient:
    """Call ``method`` of the client with ``subject``; ``listener`` becomes its ``on_progress``."""

    method: str
    subject: object
    arguments: dict[str, Any] = field(default_factory=dict)
    listener: ProgressListener | None = None


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """Run a function that may block: on files, or on decoding a picture."""

    function: Callable[[], object]


Operation = CallClient | RunBlocking

# The type of an outcome depends on the operation, which ``Generator`` can't express.
Flow: TypeAlias = Generator[Operation, Any, T]


class Clients(Protocol):
    """Where a driver finds its client. A client is made when the first operation needs it."""

    def sync_client(self) -> object:
        """An ``APIMaster``."""

    async def async_client(self) -> object:
        """An ``AsyncAPIMaster``, or an ``APIMaster`` where the application gave only that."""


def run(flow: Flow[T], clients: Clients) -> T:
    """Carry ``flow`` out on this thread."""
    outcome: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            operation = flow.send(outcome) if thrown is None else flow.throw(thrown)
            outcome = thrown = None
            try:
                if isinstance(operation, RunBlocking):
                    outcome = operation.function()
                else:
                    outcome = _call(clients.sync_client(), operation)
            except BaseException as error:  # noqa: BLE001  # Ctrl-C too: the flow notes the failure first
                thrown = error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


async def arun(flow: Flow[T], clients: Clients) -> T:
    """Carry ``flow`` out on the running event loop, and never block it."""
    outcome: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            operation = flow.send(outcome) if thrown is None else flow.throw(thrown)
            outcome = thrown = None
            try:
                if isinstance(operation, RunBlocking):
                    outcome = await asyncio.to_thread(operation.function)
                else:
                    outcome = await _acall(await clients.async_client(), operation)
            except BaseException as error:  # noqa: BLE001  # cancellation too, for the same reason
                thrown = error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


def _call(client: object, operation: CallClient) -> object:
    arguments = operation.arguments
    if operation.listener is not None:
        arguments = {**arguments, "on_progress": operation.listener.report}
    return getattr(client, operation.method)(operation.subject, **arguments)


async def _acall(client: object, operation: CallClient) -> object:
    method = getattr(client, operation.method)
    if not inspect.iscoroutinefunction(method):
        return await asyncio.to_thread(_call, client, operation)
    arguments = operation.arguments
    if operation.listener is not None:
        arguments = {**arguments, "on_progress": operation.listener.areport}
    return await cast("Awaitable[object]", method(operation.subject, **arguments))
