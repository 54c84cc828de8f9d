"""What the gateway's usage log says of purchases that nobody knows the outcome of. Pure.

The log (docs/endpoint.md, "The account's own books") tells what each charge was for, and which task has the picture. A
charge counts for one purchase only, and never for a task that the ledger knows already.

* A purchase that has a task already: only the charge of that task says anything of it, and its absence proves nothing.
* One or more purchases and charges that fit each other, and no others: matched. Equal requests may take each other's
  place; different ones that the log can't tell apart may not.
* More charges than purchases that they fit: nobody can tell which is whose, so the purchases stay unknown.
* Fewer charges than purchases: nobody gets one before its own would have shown. A charge that is given away counts as
  known from then on, and would prove that the others were not charged.
* A purchase with a mask gets no charge: the log names no masks, so that the charge may be for another one.
* A charge that fits, and that may be that of a purchase whose request is out at this moment: look again soon.
* A purchase that no charge fits was not charged, if the log can prove it: it is alive (it holds another purchase of
  this ledger from about that time), it is not behind (it holds those that were bought next), it reaches back far
  enough, and enough time has passed.
* A purchase that an older version made does not say which account bought it. A charge that fits is its own all the
  same, but no log proves that it was not charged: it may be another account's log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..catalog import same_model
from ..results import GeneratedImage, Task
from .matching import (
    HAVE_PICTURES,
    Candidate,
    Rival,
    charges_of,
    connected,
    divided,
    once_a_task,
    request_of,
    true_cost,
)
from .purchase import images_json, images_of, task_json
from .rows import Row
from .steps import Settle, error_json
from .usage_log import Log, bought_later, clock, is_cut_off, not_shown, still_to_wait

if TYPE_CHECKING:
    from ..account import Charge

_OTHERS_MAY_SHOW: Final = "the charge that fits may be that of another purchase of the same, which may still show"


@dataclass(slots=True)
class _Group:
    """Purchases that share charges, and who gets which. ``stay``: why all of them stay unknown; "": they don't."""

    members: list[Candidate]
    pairs: list[tuple[Candidate, Charge]]
    stay: str = ""
    soon: bool = False

    def without_charge(self) -> list[Candidate]:
        owners = [] if self.stay else [owner for owner, _ in self.pairs]
        return [each for each in self.members if not any(each is owner for owner in owners)]


def settle_steps(unknown: Sequence[Row], log: Log) -> list[Settle]:
    """A step for each unknown purchase, and one for each known purchase whose true charge differs from its price."""
    seen, steps = _known_charges(log, unknown)
    offset, times = clock(log)
    missing = not_shown(log)
    readable, newer = [], []
    for row in unknown:
        request = request_of(row)
        if request is None:
            newer.append(row)
            steps.append(_says_nothing(row, "a newer version of apimaster bought it, which has to look it up"))
        else:
            readable.append(Candidate(row, request, log.gateway))
    steps += [_of_own_task(each, log) for each in readable if each.row.task_id is not None]
    candidates = [each for each in readable if each.row.task_id is None]
    in_reply = [row for row in log.known if row.task_id is None and row.state in HAVE_PICTURES]
    of_bytes = [row for row in in_reply if not any(image.url for image in images_of(row))]
    slow = any(not row.one_shot for row in in_reply)
    free = once_a_task([charge for charge in log.charges if id(charge) not in seen])
    on_their_way = [Rival.of(row) for row in log.on_their_way]
    unnamed = [Rival.of(row) for row in (*newer, *of_bytes)]
    for each in candidates:
        each.slow = slow  # a channel that answers a submit with the picture charges it when it is drawn
        each.look_at(free, offset)
        each.compare_with(on_their_way, unnamed, offset)
    groups = [group for members in connected(candidates) for group in _groups(members, log, offset)]
    _withhold(groups, log)
    given = {id(charge) for group in groups if not group.stay for _, charge in group.pairs}
    for group in groups:
        if group.stay:
            steps += [replace(_stays(each, group.stay), soon=group.soon) for each in group.members]
            continue
        steps += [_matched(owner, charge) for owner, charge in group.pairs]
        for each in group.without_charge():
            each.nearby = [charge for charge in each.nearby if id(charge) not in given]
            steps.append(_absent(each, log, offset, times, missing))
    return steps


# --- which charges count --------------------------------------------------------------------------------------------


def _known_charges(log: Log, unknown: Sequence[Row]) -> tuple[set[int], list[Settle]]:
    """Which charges belong to purchases that the ledger knows, and the true charges of these."""
    tasks = {row.task_id: row for row in log.known if row.task_id is not None}
    earlier = {task for row in (*log.known, *unknown) for task in row.earlier_tasks.split()}
    pictures = {image.url: row for row in log.known if row.task_id is None for image in images_of(row) if image.url}
    seen: set[int] = set()
    steps = []
    for charge in log.charges:
        row = tasks.get(charge.task_id or "") or pictures.get(charge.result_url or "")
        if (
            row is not None
            or charge.task_id in earlier
            or not log.pruned.isdisjoint((charge.task_id, charge.result_url))
        ):
            seen.add(id(charge))
        if (
            row is not None
            and charge.kind == "charge"
            and not charge.refunded
            and true_cost(charge) not in (None, row.cost)
        ):
            steps.append(Settle(key=row.key, index=row.index, charge=charge.cost))
    return seen, steps


# --- who gets which -------------------------------------------------------------------------------------------------


def _groups(members: list[Candidate], log: Log, offset: float) -> list[_Group]:
    """Purchases that share charges: in one group, or those that wait for theirs apart from the others."""
    charges = charges_of(members)
    same = len({each.row.digest or each.row.request for each in members}) == 1
    pairs = divided(members)
    if charges and any(each.request.mask is not None for each in members):
        return [_Group(members, [], f"a charge may be it, and the log names no masks: {_names(charges)}")]
    if any(each.vague for each in members):
        return [_Group(members, [], "the log has a charge that does not say what it was for")]
    if any(each.contested for each in members):
        reason = "a charge that fits may be that of another purchase, which is on its way"
        return [_Group(members, [], reason, soon=True)]
    if any(each.of_another for each in members):
        return [_Group(members, [], "a charge that fits may be that of another purchase, which does not name its own")]
    if pairs is None or (charges and not same and len(members) > 1):
        return [_Group(members, [], f"several charges may be it: {_names(charges)}")]
    group = _Group(members, pairs)
    if not (pairs and (group.without_charge() or any(charge.refunded for _, charge in pairs))):
        return [group]
    if is_cut_off(log, min(each.begun for each in members), offset):  # the charge of one of them may be lost there
        return [_Group(members, [], "the log does not reach back to all of those that a charge may be")]
    # Each charge goes to whoever may have been charged for the shortest time. So whoever waits longer takes none away
    # from those whose charge would have shown by now.
    over = [each for each in members if still_to_wait(each, log) <= 0]
    waiting = _Group([each for each in members if still_to_wait(each, log) > 0], [])
    if waiting.members:
        _wait_for(waiting, max(still_to_wait(each, log) for each in waiting.members), log)
    return [_Group(over, [pair for pair in pairs if any(pair[0] is each for each in over)]), waiting]


def _withhold(groups: Sequence[_Group], log: Log) -> None:
    """Give nobody a charge whose own one may still show, if the charge may be that of one that goes without.

    Without its own, the charge of that other one would be one of those that the ledger knows.
    """
    again = True
    while again:
        wanted = {id(charge) for group in groups for each in group.without_charge() for charge in each.nearby}
        again = False
        for group in groups:
            waits = [still_to_wait(owner, log) for owner, charge in group.pairs if id(charge) in wanted]
            if not group.stay and max(waits, default=0.0) > 0:
                _wait_for(group, max(waits), log)
                again = True


def _wait_for(group: _Group, wait: float, log: Log) -> None:
    """Let all of a group stay unknown for so many seconds."""
    group.stay = f"{_OTHERS_MAY_SHOW}: look again in {wait:.0f} s"
    group.soon = wait <= log.settle_after


# --- verdicts -------------------------------------------------------------------------------------------------------


def _of_own_task(each: Candidate, log: Log) -> Settle:
    """What the log says of a purchase whose task is known: it was accepted, and its picture was not saved."""
    own = (charge for charge in log.charges if charge.kind == "charge" and charge.task_id == each.row.task_id)
    charge = next(own, None)
    return _stays(each, "the log does not hold the charge of its task") if charge is None else _matched(each, charge)


def _matched(each: Candidate, charge: Charge) -> Settle:
    row = each.row
    model = charge.model if charge.model and same_model(charge.model, each.request.model) else each.request.model
    task = None if charge.task_id is None else Task(id=charge.task_id, model=model)
    step = Settle(key=row.key, index=row.index)
    if task is not None:
        step = replace(step, task_id=task.id, task=task_json(task))
    if charge.refunded:  # with its task: this charge is used up, and is nobody else's
        error = error_json("GenerationFailedError", "The generation failed, as the usage log says: refunded.", "no")
        return replace(step, state="failed", error=error)
    if task is not None:
        return replace(step, state="submitted", charge=true_cost(charge))
    if charge.result_url is not None:
        images = images_json((GeneratedImage(url=charge.result_url),))
        return replace(step, state="delivered", images=images, charge=true_cost(charge))
    return _stays(each, "it was charged, and the log does not name its picture")


def _absent(each: Candidate, log: Log, offset: float, times: Sequence[float], missing: Sequence[Row]) -> Settle:
    row = each.row
    if not row.account:
        return _stays(each, "the log does not hold it, and an older version bought it, perhaps for another account")
    wait = still_to_wait(each, log)
    if wait > 0:
        return _stays(each, f"the charge may still show in the log: look again in {wait:.0f} s")
    if each.nearby:  # a long upload, a process that was stopped, or one that has got the charge of another
        early = all(charge.at - offset < each.begun for charge in each.nearby)
        return _stays(each, f"a charge that is too {'early' if early else 'late'} may be it: {_names(each.nearby)}")
    if is_cut_off(log, each.begun, offset):
        return _stays(each, "the log does not reach back to it")
    if each.unreadable:
        return _stays(each, "the log has a row that can't be read, and that may be its charge")
    if not any(each.is_from_about_its_time(time) for time in times):
        return _stays(each, "the log holds no other purchase of this ledger from about that time, so it proves nothing")
    later = bought_later(each, missing)
    if later is not None:
        return _stays(each, f"the log is behind: it does not hold {later.task_id} yet, which was bought later")
    error = error_json("InternalServerError", "It was not charged: the usage log does not hold it.", "no")
    return Settle(key=row.key, index=row.index, state="failed", error=error)


def _names(charges: Sequence[Charge]) -> str:
    return ", ".join(charge.task_id or charge.request_id or "a one-shot call" for charge in charges)


def _stays(each: Candidate, reason: str) -> Settle:
    return _says_nothing(each.row, reason)


def _says_nothing(row: Row, reason: str) -> Settle:
    return Settle(key=row.key, index=row.index, error=error_json("OutcomeUnknownError", reason, "maybe"))
