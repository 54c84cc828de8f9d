"""The tools' logic without I/O: written once, carried out twice.

``_run`` and ``_arun`` must do the same. So what a tool does is a generator that yields one of two steps and is sent
the answer, in the way of the core's own flows:

=======  ==============================================  =====================================
step     what ``run`` does                               what ``arun`` does
=======  ==============================================  =====================================
Ask      calls a method of ``apimaster.APIMaster``       awaits that of ``AsyncAPIMaster``
Disk     calls a blocking function                       calls it in a thread
=======  ==============================================  =====================================

Whatever goes wrong in a step is thrown into the generator, a cancelled task included, so that it can put its books
in order.
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


class Listener(Protocol):
    """Hears of a call's progress, in the colour of the client that reports it."""

    def tell(self, progress: Progress) -> None:
        """For a blocking client."""

    async def atell(self, progress: Progress) -> None:
        """For an asyncio client."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Call ``method`` of the client; ``listener`` becomes its ``on_progress``."""

    method: str
    subject: object
    arguments: dict[str, Any] = field(default_factory=dict)
    listener: Listener | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """Run a function that may block: files, decoding, whatever an event loop must not wait for."""

    function: Callable[[], object]


Step = Ask | Disk

# What comes back depends on the step, which a type can't say.
Flow: TypeAlias = Generator[Step, Any, T]


class Clients(Protocol):
    """Where a step finds its client, made when it is first needed."""

    def blocking(self) -> object:
        """An ``APIMaster``."""

    async def awaitable(self) -> object:
        """An ``AsyncAPIMaster``, or an ``APIMaster`` where the application gave only that."""


def run(flow: Flow[T], clients: Clients) -> T:
    """Carry ``flow`` out on this thread."""
    answer: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            step = flow.send(answer) if thrown is None else flow.throw(thrown)
            answer = thrown = None
            try:
                answer = step.function() if isinstance(step, Disk) else _ask(clients.blocking(), step)
            except BaseException as error:  # noqa: BLE001  # the flow decides, also about Ctrl-C: it keeps books
                thrown = error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


async def arun(flow: Flow[T], clients: Clients) -> T:
    """Carry ``flow`` out on the running event loop, which it never blocks."""
    answer: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            step = flow.send(answer) if thrown is None else flow.throw(thrown)
            answer = thrown = None
            try:
                if isinstance(step, Disk):
                    answer = await asyncio.to_thread(step.function)
                else:
                    answer = await _await(await clients.awaitable(), step)
            except BaseException as error:  # noqa: BLE001  # the same for a cancelled task
                thrown = error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        flow.close()


def _ask(client: object, step: Ask) -> object:
    arguments = step.arguments if step.listener is None else {**step.arguments, "on_progress": step.listener.tell}
    return getattr(client, step.method)(step.subject, **arguments)


async def _await(client: object, step: Ask) -> object:
    method = getattr(client, step.method)
    if not inspect.iscoroutinefunction(method):
        return await asyncio.to_thread(_ask, client, step)
    arguments = step.arguments if step.listener is None else {**step.arguments, "on_progress": step.listener.atell}
    return await cast("Awaitable[object]", method(step.subject, **arguments))
