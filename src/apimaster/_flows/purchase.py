"""What the ledger has to know of one image, and when: the record of a purchase.

``Record`` does nothing: it is the record of a call without a ledger. ``LedgerRecord`` writes each step before the act
that it announces. A step before the request that can't be written stops the purchase; a step after it does not, because
the image is paid for: it is logged and written later.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ..errors import APIMasterError, LedgerError, NoImageError
from ..ledger.purchase import failure_json, images_json, images_of, purchase_from, task_json, task_of
from ..ledger.rows import Row
from ..ledger.steps import Begin, Beginning, Delivered, Ended, NotLooked, Release, Step, Submitted, Submitting
from ..results import GeneratedImage, Task
from . import purchase_errors
from .operations import Await, Flow, Instant, Now, Sleep

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..ledger.backend import Backend
    from ..request import ImageRequest

T = TypeVar("T")
_log = logging.getLogger("apimaster")

_LEFT_OPEN: Final = ("model", "aspect_ratio", "resolution")
_PAUSES: Final = (0.05, 0.2)  # seconds between two looks at a purchase that another call is submitting


class LedgerLike(Protocol):
    """What the flows need of a ledger."""

    store_prompts: bool
    settle_after: float

    def take(self, step: Step) -> Future[Any]: ...
    def call(self, function: Callable[[Backend], T]) -> Future[T]: ...
    def start_reaping(self) -> Future[None]: ...
    def may_look(self, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Known:
    """An image that the ledger knows to be paid for: by an earlier call, or by another one under way.

    Attributes:
        task: its task, if there is one.
        images: its pictures, if they are made.
        cost: US dollars; None: the price list's.
        counted: whether another call reports the cost.
        request: what it was bought by.
        charged: whether the cost is what the usage log says.
    """

    task: Task | None
    images: tuple[GeneratedImage, ...]
    cost: Decimal | None
    counted: bool
    request: ImageRequest
    charged: bool = False


class TakenOver(Exception):
    """This call was taken for dead while it paused, and the ledger has gone on without it: begin again, to join."""


class Record:
    """The record of an image without a ledger: every step does nothing."""

    __slots__ = ()

    @property
    def joined(self) -> bool:
        """Whether another call bought the image."""
        return False

    def claim(self) -> Flow[None]:
        """Nobody else may buy the image while this call reads its references.

        Raises:
            LedgerError: the ledger can't be written. Nothing was sent.
        """
        return
        yield

    def begin(self, deadline: float, *, one_shot: bool) -> Flow[Known | None]:
        """None: buy it, and the ledger says so already. Otherwise it is paid for."""
        return None
        yield

    def goes_out(self) -> None:
        """The request goes out now: from here on, the image may be charged."""

    def cost_nothing(self) -> None:
        """What went out has cost nothing, and nothing more goes out before ``goes_out``."""

    def send_again(self, *, one_shot: bool) -> Flow[None]:
        """The request goes out once more: after a fault that cost nothing, or as a one-shot call.

        Raises:
            TakenOver: it must not, because the purchase is another call's by now.
        """
        return
        yield

    def pause(self, seconds: float, *, one_shot: bool) -> Flow[None]:
        """Wait between two attempts at the request.

        Raises:
            TakenOver: as ``send_again``.
        """
        yield Sleep(seconds)

    def submitted(self, task: Task, *, keep: bool = True) -> Flow[None]:
        """There is a task. ``keep``: this call waits for it."""
        return
        yield

    def delivered(self, images: Sequence[GeneratedImage], *, saved: bool = False, keep: bool = False) -> Flow[None]:
        """The pictures are made, or saved. ``keep``: this call goes on to save them."""
        return
        yield

    def failed(self, error: APIMasterError) -> Flow[None]:
        """The call ends with ``error``."""
        return
        yield

    def abandon(self) -> None:
        """The call is stopped, wherever it is. Must not wait."""


NO_RECORD: Final = Record()


@dataclass(slots=True)
class LedgerRecord(Record):
    """The record of one image in a ledger.

    Attributes:
        ledger: the ledger.
        begin_step: what the image is; ``claim`` is this call's own id.
        request: the request, to complete a task from the ledger.
        settle: asks the usage log what became of the account's unknown purchases; gives the reason if it can't be read.
        held: whether the ledger takes this call for the one at work on the image.
        has_task: whether the gateway has a task for it, or has answered with the pictures.
        task_id: that task; None after a one-shot call.
        sending: whether the request may have gone out.
        unwritten: a step after the request that is on its way into the ledger.
        joined: whether another call bought it.
        plan_again: whether an image that failed with this error, at no cost, stays planned; None: it has failed.
    """

    ledger: LedgerLike
    begin_step: Begin
    request: ImageRequest
    settle: Callable[[], Flow[str]]
    held: bool = False
    has_task: bool = False
    task_id: str | None = None
    sending: bool = False
    plan_again: Callable[[APIMasterError], bool] | None = None
    unwritten: Step | None = None
    joined: bool = False

    def claim(self) -> Flow[None]:
        step = replace(self.begin_step, submit=False)
        answer = yield from self._begin_with(step)
        self.held = answer.kind == "buy"

    def _begin_with(self, step: Begin) -> Flow[Beginning]:
        """Take a first step."""
        self.held = True  # if the flow is stopped while the step is on its way, it must be taken back
        try:
            answer: Beginning = yield Await(lambda: self.ledger.take(step))
        except APIMasterError as error:
            self.take_back(error)
            raise
        return answer

    def begin(self, deadline: float, *, one_shot: bool) -> Flow[Known | None]:
        """Wait until this call may buy, or the image is known to be paid for.

        Raises:
            BadRequestError: the key stands for another request, or the budget does not exist.
            BudgetExceededError: the budget does not hold the price.
            LedgerError: the ledger can't be written. Nothing was sent.
            OutcomeUnknownError: nobody knows whether an earlier call bought it.
        """
        pause, longest = _PAUSES
        asked = False
        while True:
            now: Instant = yield Now()
            step = self.begin_step = replace(self.begin_step, one_shot=one_shot, wait=deadline - now.monotonic)
            answer = yield from self._begin_with(step)
            row = answer.row
            self.held = answer.kind == "buy" or answer.owned
            self.has_task = row.task_id is not None and answer.kind != "buy"
            self.task_id = row.task_id if self.has_task else None
            self.joined = answer.kind in ("join", "done")
            if answer.kind == "buy":
                return None
            # A purchase of an older version does not say who bought it: a poll will show.
            elsewhere = answer.kind == "join" and row.account not in ("", step.account)
            if answer.kind in ("join", "done") and not elsewhere:
                _log.debug("purchase %s [%d]: %s, bought before", step.key, step.index, row.state)
                bought = self._bought(row)
                task, images, charged = task_of(row, bought), images_of(row), row.charge is not None
                return Known(task, images, row.cost, not answer.owned, bought, charged)
            if answer.kind == "charged":
                raise purchase_errors.charged(row)
            if answer.kind == "unknown":
                if not answer.settle:
                    raise purchase_errors.unknown(row)
                note = "" if asked else (yield from self.settle())
                if note or asked:  # it can't be read, or the next call may find out
                    asked_at, before = answer.asked_at, row.settled_at
                    undo = NotLooked(key=step.key, index=step.index, asked_at=asked_at, settled_at=before)
                    yield from record_step(self.ledger, undo)
                    raise purchase_errors.unknown(row, note)
                asked = True
                continue
            if elsewhere and not answer.at_work:
                raise purchase_errors.of_another_account(row, self._bought(row))
            now = yield Now()
            if now.monotonic + pause >= deadline:
                raise purchase_errors.under_way(row)
            yield Sleep(pause)
            pause = min(longest, pause * 1.5)

    def _bought(self, row: Row) -> ImageRequest:
        """The request, with the model and the sizes of the call that bought it: an adapter may have chosen them."""
        if row.request == self.begin_step.request:
            return self.request
        bought = purchase_from(row).request
        changes = {name: getattr(bought, name) for name in _LEFT_OPEN}
        if bought.model != self.request.model:
            changes["mask"] = bought.mask  # an adapter may have dropped it for one of the two
        return self.request.model_copy(update=changes)

    def goes_out(self) -> None:
        self.sending = True

    def cost_nothing(self) -> None:
        self.sending = False

    def send_again(self, *, one_shot: bool) -> Flow[None]:
        self.cost_nothing()
        begin = self.begin_step
        step = Submitting(key=begin.key, index=begin.index, claim=begin.claim, one_shot=one_shot)
        row: Row | None = yield Await(lambda: self.ledger.take(step))
        if row is None:
            self.held = False
            raise TakenOver

    def pause(self, seconds: float, *, one_shot: bool) -> Flow[None]:
        self.cost_nothing()
        yield Sleep(seconds)
        yield from self.send_again(one_shot=one_shot)

    def submitted(self, task: Task, *, keep: bool = True) -> Flow[None]:
        self.has_task, self.task_id = True, task.id
        yield from self._take(Submitted, task_id=task.id, task=task_json(task), keep=keep)
        self.held = keep

    def delivered(self, images: Sequence[GeneratedImage], *, saved: bool = False, keep: bool = False) -> Flow[None]:
        self.has_task = True
        made = images_json(tuple(images))
        yield from self._take(Delivered, images=made, task_id=self.task_id, saved=saved, keep=keep)
        self.held = self.held and keep

    def failed(self, error: APIMasterError) -> Flow[None]:
        text = failure_json(error, prompts=self.ledger.store_prompts)
        if error.billed == "no" and self.has_task and not ended_the_task(error):
            yield from self._release(text)  # the gateway refuses to tell, but the task goes on
        elif error.billed == "no":
            if self.held and not self.has_task and self.plan_again is not None and self.plan_again(error):
                yield from self._take(Release, unsent=True, error=text)
            elif self.held or self.has_task:
                yield from self._take(Ended, state="failed", error=text, task_id=self.task_id)
        elif isinstance(error, NoImageError) or not self.has_task:
            if self.held or self.has_task:
                yield from self._take(Ended, state="unknown", error=text, task_id=self.task_id)
        else:
            yield from self._release(text)
        self.held = False

    def abandon(self) -> None:
        if not self.held and self.unwritten is None:
            return
        self.held = False
        unsent = not (self.sending or self.has_task)
        with contextlib.suppress(LedgerError):  # it is closed
            if self.unwritten is not None:
                self.ledger.take(self.unwritten)  # once more does no harm, and a driver that stops may not have begun
            self._release_now(left=True, unsent=unsent, over=self.plan_again is None)

    def take_back(self, error: APIMasterError) -> None:
        """Nothing goes out, whatever the ledger has of it: its first step was refused, or what comes before failed."""
        if not self.held:
            return
        self.held = False
        reason = failure_json(error, prompts=self.ledger.store_prompts)
        with contextlib.suppress(LedgerError):  # it is closed
            self._release_now(unsent=True, over=self.plan_again is None, error=reason)

    def _release_now(self, **fields: Any) -> None:
        """Queue a release, and don't wait for it."""
        step = self.begin_step
        self.ledger.take(Release(key=step.key, index=step.index, claim=step.claim, **fields))

    def _release(self, error: str) -> Flow[None]:
        if self.held:
            yield from self._take(Release, error=error)

    def _take(self, kind: Callable[..., Step], **fields: object) -> Flow[None]:
        begin = self.begin_step
        self.unwritten = kind(key=begin.key, index=begin.index, claim=begin.claim, **fields)
        yield from record_step(self.ledger, self.unwritten)
        self.unwritten = None


def record_step(ledger: LedgerLike, step: Step) -> Flow[None]:
    """A step after the request: if it can't be written, the image is paid for all the same."""
    try:
        yield Await(lambda: ledger.take(step))
    except LedgerError as error:
        _log.warning("purchase %s [%d]: %s", step.key, step.index, error.message)


def ended_the_task(error: APIMasterError) -> bool:
    """Whether the gateway said that the task is over, without a picture."""
    return error.task is not None and error.task.status in ("failed", "succeeded")
