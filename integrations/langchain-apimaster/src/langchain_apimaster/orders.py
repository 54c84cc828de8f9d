"""The flows that spend money: generate and wait, or hand in a task.

Both go the same way: take up an earlier run of the same call, if there was one; check everything that can be checked;
count the money; write down that the request goes out; send it; write down what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from apimaster import APIMasterError, ImageRequest, ImageResult, Task

from .booking import Delivered, book_error, deliver, note_task
from .collecting import take_up
from .progress import Reporter
from .steps import Ask, Disk, Flow

if TYPE_CHECKING:
    from .calling import Call
    from .ledger import Entry
    from .studio import Studio


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model asked for, with the application's own choices in place.

    Attributes:
        arguments: as the model gave them: what a replay of the call has in common with it.
        fields: of the ``ImageRequest``, without references.
        references: words of the model, which ``Sources`` must allow.
        given: references of the application, taken as they are.
    """

    arguments: dict[str, Any]
    fields: dict[str, Any]
    references: tuple[str, ...] = ()
    given: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """A request that may go out: checked, counted, written down. ``price`` is US dollars per image, if known."""

    request: ImageRequest
    price: Decimal | None


def buy(studio: Studio, call: Call, wish: Wish) -> Flow[Delivered]:
    """Generate images and wait for them.

    Raises:
        APIMasterError: none arrived.
    """
    count = wish.fields["n"]
    with studio.ledger.entry(call, wish.arguments, studio.model, count) as entry:
        order: _Order | None = yield Disk(lambda: _prepare(studio, call, wish, entry))
        if order is None:
            return (yield from take_up(studio, call, entry))
        reporter = Reporter(call, lambda index, task: note_task(studio, entry, index, task, order.price))
        try:
            result: ImageResult = yield Ask("generate", order.request, studio.handling(), reporter)
        except APIMasterError as error:
            yield from book_error(studio, entry, error, count, order.price)
            raise
        return (yield from deliver(studio, entry, result, order.request, order.price))


def hand_in(studio: Studio, call: Call, wish: Wish) -> Flow[Delivered]:
    """Submit one image and come back with its task, or with the picture where the gateway answered with that.

    Raises:
        APIMasterError: it was not accepted, or nobody knows.
    """
    with studio.ledger.entry(call, wish.arguments, studio.model, 1) as entry:
        order: _Order | None = yield Disk(lambda: _prepare(studio, call, wish, entry))
        if order is None:
            job = entry.record.jobs[0]
            if job.state != "task" or job.task is None:
                return (yield from take_up(studio, call, entry))
            known = yield Disk(lambda: studio.store.task(job.task or ""))
            return _handed_in(known or Task(id=job.task, model=entry.record.model))
        reporter = Reporter(call, lambda index, task: note_task(studio, entry, index, task, order.price))
        try:
            task: Task = yield Ask("submit", order.request, {}, reporter)
            if task.id:
                return _handed_in(task)
            # Finished already: all that is left to do is to save the picture.
            result: ImageResult = yield Ask("wait", task, studio.handling(), Reporter(call))
        except APIMasterError as error:
            yield from book_error(studio, entry, error, 1, order.price)
            raise
        return (yield from deliver(studio, entry, result, order.request, order.price))


def _handed_in(task: Task) -> Delivered:
    return Delivered(model=task.model, tasks=(task.id,), going_on=task)


def _prepare(studio: Studio, call: Call, wish: Wish, entry: Entry) -> _Order | None:
    """All that comes before the request goes out; None where this call was made before. Blocks.

    It is one step, since each costs an event loop a trip to a thread.
    """
    if entry.earlier() is not None:
        return None
    references = studio.sources(call).resolve(wish.references) if wish.references else wish.given
    request = ImageRequest(**wish.fields, references=references)
    studio.choices.check(request)
    price = request.spec.price(request.resolution)
    studio.budget.reserve(request.n, price)
    try:
        entry.begin()
    except BaseException:
        studio.budget.give_back(request.n, price)  # nothing was sent
        raise
    return _Order(request, price)
