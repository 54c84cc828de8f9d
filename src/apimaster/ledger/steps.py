"""The steps of purchases: what a call, a dead process or the usage log says of one. ``rules.py`` has their rules.

Every step may be taken twice: if a commit's answer got lost, the group is written again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal, TypeAlias

from ..errors import Billed
from .rows import Row, RowId

Begun = Literal["buy", "join", "done", "busy", "unknown", "charged", "wait"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The answer to ``Begin``: what the caller has to do, and a copy of the row.

    ========  ==================================================================================
    kind
    ========  ==================================================================================
    buy       send the request: the row is this call's own
    join      the task is known: poll it; ``owned``: nobody else is at work on it
    done      the picture is made
    busy      another call is sending the request: ask again in a moment
    unknown   nobody knows; ``settle``: ask the usage log now, which nobody else does since ``asked_at``
    charged   a person found out that it was charged, and that there is no picture
    wait      it may be bought, and it is not its turn: only the group writer sees this
    ========  ==================================================================================

    ``at_work``: a living process is at work on it.
    """

    kind: Begun
    row: Row
    owned: bool = False
    settle: bool = False
    asked_at: float | None = None
    at_work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step of the purchase of one image. ``claim`` is the id of the call that takes it."""

    key: str
    index: int = 0
    claim: str = ""

    durable: ClassVar[bool] = True
    """Whether it must survive a power cut: it concerns money."""
    owed: ClassVar[bool] = True
    """Whether it must be written sooner or later, even if the ledger can't be written now."""

    @property
    def id(self) -> RowId:
        return (self.key, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin(_Step):
    """Somebody asks for this image: buy it, or join the purchase that there is.

    It writes ``submitting``, and reserves the money. Without ``submit`` it only claims the row, before the references
    are read: the digest is empty, the request names no references, and unless the answer is to buy, nothing has
    changed. With ``peek`` the answer is to wait if it may buy, and then the row is claimed too if it has an alias. It
    may wait ``wait`` seconds for its turn. ``same_digests`` are those of the same request under other spellings of its
    model's id.
    """

    digest: str
    request: str
    price: Decimal | None
    budget: str | None
    account: str
    submit: bool = True
    one_shot: bool = False
    alias: str | None = None
    settle_after: float = 60.0
    peek: bool = False
    wait: float = float("inf")
    same_digests: tuple[str, ...] = ()

    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitting(_Step):
    """The request goes out once more, or as a one-shot call instead.

    The answer is the row; None if the purchase is not this call's any more: its process was taken for dead, and
    another call, or settling, has gone on with it. Then nothing may be sent.
    """

    one_shot: bool = False

    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(_Step):
    """The gateway has a task for it. ``keep`` says whether this call goes on to wait for it."""

    task_id: str
    task: str
    keep: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(_Step):
    """The picture is made; with ``saved``, it is in a place of the caller's.

    Any call that polled the task may say so; ``task_id`` is that task, None after a one-shot call.
    """

    images: str
    task_id: str | None = None
    saved: bool = False
    keep: bool = False

    durable: ClassVar[bool] = False  # a poll of the task, which is free, would find it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(_Step):
    """It failed, which cost nothing, or nobody knows what became of it.

    Any call that polled the task may say so; ``task_id`` is that task, None if there was none.
    """

    state: Literal["failed", "unknown"]
    error: str
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(_Step):
    """The call stops its work on this purchase.

    ``left``: its caller went away; ``unsent``: its request did not go out, and then ``over`` says that it has failed
    rather than that it is work as before; ``error``: why it stopped.
    """

    left: bool = False
    unsent: bool = False
    over: bool = False
    error: str | None = None

    durable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(_Step):
    """The caller that waits for it has gone away, and the purchase goes on: one that comes back looks for such rows."""

    durable: ClassVar[bool] = False
    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin(_Step):
    """A caller that came back takes this purchase for the one that it lost, if nobody else has since it was read.

    ``joins`` and ``left`` are those of the row that the caller has read. The answer is the row, or None.
    """

    joins: int
    left: bool

    durable: ClassVar[bool] = False
    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(_Step):
    """The call reports what this picture cost, unless another one does. ``claim`` is the report's own.

    For adapters whose spend is added up elsewhere: each charge must be reported once, whichever of several calls lives
    to do so. The answer is the row, or None if another call has taken that on, or if there is no picture yet. With
    ``paid``, it need not be made: it is enough that it is charged.
    """

    paid: bool = False

    durable: ClassVar[bool] = False
    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Report):
    """The same of a call that has reported a cost already, because the ledger could not be asked."""

    owed: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreported(_Step):
    """The call that was to report the cost ended before it did. ``claim`` is that of its ``Report``.

    The next one to ask reports it. Its caller has gone, too.
    """

    durable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reap(_Step):
    """Its worker seems to be dead: free it, or find that nobody knows. ``dead``: this worker is dead for certain."""

    dead: str | None = None

    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Take(_Step):
    """This process takes an image on which nobody is at work: planned, or paid for and not saved.

    It is then claimed by the process (``claim`` is the worker's id), and the first of its calls that begins may buy it.
    The answer is the row, or None if there is nothing to take.
    """

    durable: ClassVar[bool] = False
    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAgain(_Step):
    """An image that failed, or of which nobody knows, is work again; what it may have cost stays in its budget.

    The answer is the row, or None if it is in another state.
    """

    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(_Step):
    """What the usage log, or a person, says of a purchase.

    Attributes:
        state: where it goes from ``unknown``; None: it stays there, or is known already.
        reason: why it stays unknown; recorded.
        charge: the true charge in US dollars; None: not known.
        billed: overrides what the state says.
        begun_at: when the attempt went out of which it speaks: it says nothing of a later one. None: of whichever.
        soon: nothing is said yet: it may be looked for again at once.
        by_hand: a person says so, also of a purchase that has a task, while nobody is at work on it.
    """

    state: Literal["submitted", "delivered", "failed"] | None = None
    task_id: str | None = None
    task: str | None = None
    images: str | None = None
    error: str | None = None
    charge: Decimal | None = None
    billed: Billed | None = None
    begun_at: float | None = None
    soon: bool = False
    by_hand: bool = False

    owed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLooked(_Step):
    """The usage log could not be read for the call that was to ask at ``asked_at``: nobody has looked.

    ``settled_at``: when somebody last did. The reason why the purchase is unknown stays what it was.
    """

    asked_at: float | None
    settled_at: float | None

    durable: ClassVar[bool] = False
    owed: ClassVar[bool] = False


Step: TypeAlias = (
    Begin
    | Submitting
    | Submitted
    | Delivered
    | Ended
    | Release
    | Left
    | Rejoin
    | Report
    | Reported
    | Unreported
    | Reap
    | Take
    | PlanAgain
    | Settle
    | NotLooked
)


def must_survive_power_cut(steps: Sequence[Step]) -> bool:
    """Whether one of a group of steps must. A picture that came without a task can't be found again by a poll."""
    return any(step.durable or (isinstance(step, Delivered) and step.task_id is None) for step in steps)


def error_json(kind: str, message: str, billed: Billed) -> str:
    """An error as a row stores it: the JSON of an ``ImageFailure``."""
    return json.dumps({"index": 0, "error": kind, "message": message, "billed": billed, "retryable": False})
