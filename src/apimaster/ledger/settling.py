"""What the gateway's usage log says of purchases that nobody knows the outcome of. Pure.

The log (docs/endpoint.md, "The account's own books") tells what each charge was for, and which task has the picture. A
charge counts for one purchase only, and never for a task that the ledger knows already.

* A purchase that has a task already: only the charge of that task says anything of it, and its absence proves nothing.
* One or more purchases and charges that fit each other, and no others: matched, the earlier with the earlier. Equal
  requests may take each other's place; different ones that the log can't tell apart may not.
* A charge that fits, and that may be that of a purchase whose request is out at this moment: look again soon.
* More charges than purchases that they fit: nobody can tell which is whose, so the purchases stay unknown.
* A purchase that no charge fits was not charged, if the log can prove it: it is alive (it holds another purchase of
  this ledger from about that time), it reaches back far enough, and enough time has passed.
* A purchase that an older version made does not say which account bought it. A charge that fits is its own all the
  same, but no log proves that it was not charged: it may be another account's log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ..catalog import DEFAULT_RESOLUTION, one_shot_limit
from ..request import ImageRequest
from ..results import GeneratedImage, Task
from .digest import is_digest, text_digest
from .purchase import images_json, images_of, task_json
from .rows import Row
from .steps import Settle, error_json

if TYPE_CHECKING:
    from ..account import Charge

LOG_ROWS: Final = 1000
"""The log holds so many rows; if it has fewer, it reaches back to the first charge."""

SETTLE_AGAIN: Final = 600.0
"""Seconds between two looks into the usage log for one purchase: it may be read 15 times in 20 minutes."""
LOOK_FOR: Final = 3600.0
"""Seconds after which nobody looks for a purchase any more, unless somebody asks for it."""

_SLACK: Final = 30.0  # seconds by which the two clocks may differ after they were compared
_MAYBE_CHARGES: Final = ("charge", "other")
_ABOUT: Final = 900.0  # seconds: "about that time", for another purchase that proves that the log is alive


def settling_is_due(row: Row, now: float, settle_after: float) -> bool:
    """Whether to look into the usage log: once when it may hold the charge, again when a charge that is missing there
    proves something, and from then on every ten minutes.
    """
    begun = row.created_at if row.begun_at is None else row.begun_at
    over = row.updated_at if row.unknown_since is None else row.unknown_since
    if row.settled_at is None:
        return now - begun >= settle_after
    return row.settled_at < over + settle_after <= now or now - row.settled_at >= SETTLE_AGAIN


def look_is_due(row: Row, now: float, settle_after: float) -> bool:
    """The same for a row whose key nobody asks for: in the first hour."""
    over = row.updated_at if row.unknown_since is None else row.unknown_since
    return now - over < LOOK_FOR and settling_is_due(row, now, settle_after)


@dataclass(frozen=True, slots=True)
class Log:
    """The usage log, and what the ledger knows of it.

    Attributes:
        charges: all rows that the log gave.
        known: purchases of the same account, or of nobody knows which, whose tasks or pictures the log may name.
        now: unix seconds by the ledger's clock.
        settle_after: seconds after which a submit must be in the log.
        clock_offset: seconds by which the gateway's clock is ahead, as far as its replies show.
        on_their_way: purchases of the account whose requests were out when the log was read, or later.
    """

    charges: Sequence[Charge]
    known: Sequence[Row]
    now: float
    settle_after: float = 60.0
    clock_offset: float = 0.0
    on_their_way: Sequence[Row] = ()


@dataclass(slots=True)
class _Candidate:
    """An unknown purchase, its request, and the charges that it may be.

    ``later`` ones are too late to be it. ``contested``: one of them may be that of a purchase on its way. ``vague``:
    there is one that does not say what it was for; ``undated``: one that does not say when.
    """

    row: Row
    request: ImageRequest
    charges: list[Charge] = field(default_factory=list)
    later: list[Charge] = field(default_factory=list)
    contested: bool = False
    vague: bool = False
    undated: bool = False


def settle_steps(unknown: Sequence[Row], log: Log) -> list[Settle]:
    """A step for each unknown purchase, and one for each known purchase whose true charge differs from its price."""
    seen, steps = _known_charges(log)
    offset, times = _clock(log)
    free = [charge for charge in log.charges if charge.kind == "charge" and charge.at > 0 and id(charge) not in seen]
    # A row whose time can't be read was perhaps not read at all: then its kind says nothing either.
    undated = [each for each in log.charges if each.at <= 0 and each.kind in _MAYBE_CHARGES and id(each) not in seen]
    candidates = []
    for row in unknown:
        request = _request_of(row)
        if request is None:
            steps.append(_says_nothing(row, "a newer version of apimaster bought it, which has to look it up"))
        else:
            candidates.append(_Candidate(row, request))
    steps += [_of_own_task(each, log) for each in candidates if each.row.task_id is not None]
    candidates = [each for each in candidates if each.row.task_id is None]
    for each in candidates:
        for charge in free:
            if not _in_time(charge.at - offset, each):
                since = charge.at - offset - _latest(each)
                if 0 < since <= _ABOUT and charge.prompt is not None and _fits(charge, each.request):
                    each.later.append(charge)
                continue
            if charge.prompt is None:
                each.vague |= _may_be(charge, each.request)
            elif _fits(charge, each.request):
                each.charges.append(charge)
        each.undated = any(_may_be(charge, each.request) for charge in undated)
    for row in log.on_their_way:
        request, begun = _request_of(row), row.begun_at or row.created_at
        for each in candidates:
            each.contested |= each.row.id != row.id and any(
                charge.at - offset >= begun - _SLACK and (request is None or _fits(charge, request))
                for charge in each.charges
            )
    taken = {id(charge) for each in candidates for charge in each.charges}
    for each in candidates:
        each.later = [charge for charge in each.later if id(charge) not in taken]
    for group in _connected(candidates):
        steps += _settle_group(group, log, offset, times)
    return steps


def _known_charges(log: Log) -> tuple[set[int], list[Settle]]:
    """Which charges belong to purchases that the ledger knows, and the true charges of these."""
    tasks = {row.task_id: row for row in log.known if row.task_id is not None}
    earlier = {task for row in log.known for task in row.earlier_tasks.split()}
    urls = {image.url for row in log.known if row.task_id is None for image in images_of(row) if image.url}
    seen: set[int] = set()
    steps = []
    for charge in log.charges:
        row = tasks.get(charge.task_id or "")
        if row is not None or charge.task_id in earlier or charge.result_url in urls:
            seen.add(id(charge))
        if row is not None and charge.kind == "charge" and not charge.refunded and charge.cost != row.cost:
            steps.append(Settle(key=row.key, index=row.index, charge=charge.cost))
    return seen, steps


def _clock(log: Log) -> tuple[float, list[float]]:
    """Seconds by which the gateway's clock is ahead of the ledger's, and the times of the purchases that both know."""
    # What was taken over from an older version may not say when its request went out.
    own = (row for row in log.known if row.account)
    begun = {row.task_id: row.begun_at for row in own if row.task_id is not None and row.begun_at is not None}
    shared = [(charge.at, begun[charge.task_id]) for charge in log.charges if charge.task_id in begun]
    ahead = sorted(at - known for at, known in shared)
    offset = ahead[len(ahead) // 2] if ahead else log.clock_offset  # one odd pair must not count
    return offset, [known for _, known in shared]


def _may_be(charge: Charge, request: ImageRequest) -> bool:
    """Whether a charge may be for this request, as far as it says what it was for."""
    if charge.prompt is None:
        return charge.model in (None, request.model)
    return _fits(charge, request)


def _in_time(at: float, each: _Candidate) -> bool:
    begun = each.row.begun_at if each.row.begun_at is not None else each.row.created_at
    return begun - _SLACK <= at <= _latest(each) + _SLACK


def _latest(each: _Candidate) -> float:
    """When the log has the charge at the latest, if there is one."""
    since = each.row.unknown_since if each.row.unknown_since is not None else each.row.updated_at
    return since + (one_shot_limit(each.request.resolution) if each.row.one_shot else 0.0)


def _fits(charge: Charge, request: ImageRequest) -> bool:
    prompt = text_digest(charge.prompt or "") if is_digest(request.prompt) else charge.prompt
    resolution = charge.resolution or charge.effective_resolution or DEFAULT_RESOLUTION
    return (charge.model, prompt, charge.aspect_ratio, resolution) == (
        request.model,
        request.prompt,
        request.aspect_ratio,
        request.resolution or DEFAULT_RESOLUTION,
    )


def _connected(candidates: Sequence[_Candidate]) -> Iterable[list[_Candidate]]:
    """Purchases that share a charge, directly or through others."""
    left = list(candidates)
    while left:
        group = [left.pop(0)]
        charges = {id(charge) for charge in group[0].charges}
        while more := [each for each in left if charges & {id(charge) for charge in each.charges}]:
            for each in more:
                left.remove(each)
                charges |= {id(charge) for charge in each.charges}
            group += more
        yield group


def _settle_group(group: list[_Candidate], log: Log, offset: float, times: Sequence[float]) -> list[Settle]:
    charges = sorted({id(charge): charge for each in group for charge in each.charges}.values(), key=lambda c: c.at)
    group.sort(key=lambda each: each.row.begun_at or each.row.created_at)
    same = len({each.row.digest or each.row.request for each in group}) == 1
    if any(each.vague for each in group):
        return [_stays(each, "the log has a charge that does not say what it was for") for each in group]
    if any(each.contested for each in group):
        return [
            replace(_stays(each, "a charge that fits may be that of another purchase, which is on its way"), soon=True)
            for each in group
        ]
    if len(charges) > len(group) or (charges and not same and len(group) > 1):
        return [_stays(each, f"several charges may be it: {_names(charges)}") for each in group]
    steps, unsure = [], False
    for charge in charges:
        owner = next((each for each in group if charge in each.charges), None)
        if owner is not None:
            group.remove(owner)
            steps.append(_matched(owner, charge))
            unsure |= _still_to_wait(owner, log) > 0
    if unsure:  # that one's own charge may show later, and then this one was another's
        reason = "the charge that fits may be its own: another purchase of the same may still show in the log"
        return steps + [replace(_stays(each, reason), soon=True) for each in group]
    return steps + [_absent(each, log, offset, times) for each in group]


def _still_to_wait(each: _Candidate, log: Log) -> float:
    """Seconds until the lack of a charge counts; 0 or less: it does."""
    return _latest(each) + log.settle_after - log.now


def _of_own_task(each: _Candidate, log: Log) -> Settle:
    """What the log says of a purchase whose task is known: it was accepted, and its picture was not saved."""
    own = (charge for charge in log.charges if charge.kind == "charge" and charge.task_id == each.row.task_id)
    charge = next(own, None)
    return _stays(each, "the log does not hold the charge of its task") if charge is None else _matched(each, charge)


def _matched(each: _Candidate, charge: Charge) -> Settle:
    row = each.row
    if charge.refunded:
        error = error_json("GenerationFailedError", "The generation failed, as the usage log says: refunded.", "no")
        return Settle(key=row.key, index=row.index, state="failed", error=error)
    if charge.task_id is not None:
        task = Task(id=charge.task_id, model=each.request.model)
        return Settle(
            key=row.key,
            index=row.index,
            state="submitted",
            task_id=task.id,
            task=task_json(task),
            charge=charge.cost,
        )
    if charge.result_url is not None:
        images = images_json((GeneratedImage(url=charge.result_url),))
        return Settle(key=row.key, index=row.index, state="delivered", images=images, charge=charge.cost)
    return _stays(each, "it was charged, and the log does not name its picture")


def _absent(each: _Candidate, log: Log, offset: float, times: Sequence[float]) -> Settle:
    row = each.row
    begun = row.begun_at if row.begun_at is not None else row.created_at
    if not row.account:
        return _stays(each, "the log does not hold it, and an older version bought it, perhaps for another account")
    wait = _still_to_wait(each, log)
    # A row whose time can't be read has none, and tells nothing of how far the log reaches back.
    oldest = min((charge.at - offset for charge in log.charges if charge.at > 0), default=None)
    if wait > 0:
        return _stays(each, f"the charge may still show in the log: look again in {wait:.0f} s")
    if each.later:  # a long upload, or a process that was stopped
        return _stays(each, f"a charge that is too late may be it: {_names(each.later)}")
    if len(log.charges) >= LOG_ROWS and (oldest is None or oldest > begun - _SLACK):
        return _stays(each, "the log does not reach back to it")
    if each.undated:
        return _stays(each, "the log has a row that can't be read, and that may be its charge")
    if not any(begun - _ABOUT <= time <= _latest(each) + _ABOUT for time in times):
        return _stays(each, "the log holds no other purchase of this ledger from about that time, so it proves nothing")
    error = error_json("InternalServerError", "It was not charged: the usage log does not hold it.", "no")
    return Settle(key=row.key, index=row.index, state="failed", error=error)


def _names(charges: Sequence[Charge]) -> str:
    return ", ".join(charge.task_id or charge.request_id or "a one-shot call" for charge in charges)


def _stays(each: _Candidate, reason: str) -> Settle:
    return _says_nothing(each.row, reason)


def _says_nothing(row: Row, reason: str) -> Settle:
    return Settle(key=row.key, index=row.index, error=error_json("OutcomeUnknownError", reason, "maybe"))


def _request_of(row: Row) -> ImageRequest | None:
    """What a row asks for; None if this version can't read it: a newer one, which shares the ledger, wrote it."""
    try:
        return ImageRequest.model_validate_json(row.request)
    except ValueError:
        return None
