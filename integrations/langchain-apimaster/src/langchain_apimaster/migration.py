"""The records of versions before the ledger, taken over into it: JSON files about tool calls and tasks.

==================================  ============================================================================
``.apimaster/calls/<key>.json``     what a tool call asked for, and a line for each step
``.apimaster/tasks/<name>.json``    a task
==================================  ============================================================================

Each image of a call, and each task without one, becomes a purchase. The files stay as they are. Several processes may
do this at the same time, and one that is killed does no harm: every step may be taken twice, all in the name of one
call. A file that can't be understood is left out, with a line in the log.

The ledger itself notes which records it has, by a digest of their names: a new ledger at the place of another one, a
new store at the place of another one, and records that an older version has added since then are all noticed. What the
ledger has is not written again, and not even after it was pruned.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from apimaster import GeneratedImage, ImageRequest, Task
from apimaster.ledger.digest import stored_request
from apimaster.ledger.purchase import images_json, task_json
from apimaster.ledger.schema import Where
from apimaster.ledger.steps import Begin, Delivered, Ended, Release, Report, Step, Submitted, error_json

from .purchase_keys import prefix_of
from .records import TASK_ID, StoredImage

if TYPE_CHECKING:
    from apimaster.ledger import Ledger, Purchase

    from .store import Store

_log = logging.getLogger("langchain_apimaster")
_CLAIM: Final = "migration"
_AT_ONCE: Final = 8  # images that are submitting at once; the ledger lets 16 of a process
_CUT_OFF: Final = "An earlier run of this tool call was cut off while its request was on its way."


class _OldImage(BaseModel):
    """One image that a tool call asked for, as older versions kept it.

    ``sent``: no answer is known; ``task``: it has one; ``done``: ``images`` are ids of the store; ``failed``: without a
    charge; ``unsure``: it ended, may have been charged, and has no task.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    state: Literal["sent", "task", "done", "failed", "unsure"] = "sent"
    task: str | None = None
    images: tuple[str, ...] = ()
    error: str | None = None
    message: str | None = None
    billed: Literal["no", "maybe", "yes"] = "maybe"


class _OldCall(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    tool: str
    model: str
    images: list[_OldImage] = Field(validation_alias="jobs")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A purchase to take over, and the steps that lead to where it was."""

    begin: Begin
    steps: tuple[Step, ...]


def migrate(store: Store, ledger: Ledger) -> bool:
    """Take the records of a store over into ``ledger``, once; whether the ledger has any. Blocks.

    Raises:
        BadRequestError: the store can't be read.
        LedgerError: the ledger can't be written.
    """
    if store.namespace:
        return False  # older versions had no namespaces
    calls, tasks = store.names(".apimaster/calls"), store.names(".apimaster/tasks")
    records = hashlib.sha256(json.dumps([calls, tasks]).encode()).hexdigest()[:32]
    note = f"langchain records {records}"
    if (calls or tasks) and ledger.note(note) is None:
        entries = list(_entries(store, ledger, calls, tasks))
        for start in range(0, len(entries), _AT_ONCE):
            _take_over(ledger, entries[start : start + _AT_ONCE])
        ledger.set_note(note, store.place)
        _log.info(
            "The ledger %s has taken over %d purchases of the store at %s.", ledger.name, len(entries), store.place
        )
    return next(ledger.rows(Where(key_prefix=call_key(""))), None) is not None


def call_key(old_key: str) -> str:
    """The key in the ledger of a call that an older version made."""
    return f"{prefix_of('')}call-{old_key}"


def image_ids_of(ledger: Ledger, purchase: Purchase) -> list[str]:
    """The ids in the store of the pictures of such a call."""
    rows = ledger.rows(Where(key=purchase.key, index=purchase.index))
    return [each for row in rows for each in (row.alias or "").split()]


def _take_over(ledger: Ledger, entries: list[_Entry]) -> None:
    new = [entry for entry in entries if not _is_there(ledger, entry)]
    for future in [ledger.take(entry.begin) for entry in new]:
        future.result()
    for future in [ledger.take(step) for entry in new for step in entry.steps]:
        future.result()


def _is_there(ledger: Ledger, entry: _Entry) -> bool:
    found = ledger.get(entry.begin.key, entry.begin.index)
    if found is None:
        return False
    kinds = {type(step) for step in entry.steps}
    return (
        found.state in ("delivered", "saved", "failed")
        or (found.state == "submitted" and Delivered not in kinds)
        or (found.state == "unknown" and kinds == {Ended, Release} and found.error is not None)
    )


def _entries(store: Store, ledger: Ledger, calls: list[str], tasks: list[str]) -> Iterator[_Entry]:
    known = {task.id: task for name in tasks if (task := _task(store, f".apimaster/tasks/{name}")) is not None}
    of_calls: set[str] = set()
    for name in calls:
        path = f".apimaster/calls/{name}"
        data = store.read(path) or b""
        try:
            call = _call(data)
            key = call_key(name.removesuffix(".json"))
            found = [
                _entry(store, ledger, key, index, image, call.model, known) for index, image in enumerate(call.images)
            ]
        except ValueError as error:
            _leave_out(store, path, error)
            continue
        of_calls.update(image.task for image in call.images if image.task is not None)
        yield from found
    for task in known.values():
        if task.id not in of_calls and TASK_ID.fullmatch(task.id):
            image = _OldImage(state="task", task=task.id)
            yield _entry(store, ledger, f"{prefix_of('')}task-{task.id}", 0, image, task.model, known)


def _call(data: bytes) -> _OldCall:
    first, *rest = data.split(b"\n")
    call = _OldCall.model_validate_json(first)
    for line in filter(None, rest):
        try:
            changed = json.loads(line)
            call.images[changed["index"]] = _OldImage(**changed["job"])
        except (ValueError, LookupError, TypeError):  # noqa: PERF203  # a killed process wrote half a line
            continue
    return call


def _task(store: Store, path: str) -> Task | None:
    data = store.read(path) or b""
    try:
        return Task.model_validate_json(data)
    except ValueError as error:
        _leave_out(store, path, error)
        return None


def _leave_out(store: Store, path: str, error: ValueError) -> None:
    _log.warning("The record %s of the store at %s is left out.", path, store.place, exc_info=error)


def _entry(
    store: Store, ledger: Ledger, key: str, index: int, image: _OldImage, model: str, tasks: dict[str, Task]
) -> _Entry:
    task = None
    if image.task is not None:
        task = tasks.get(image.task) or Task(id=image.task, model=model)
    request = task.request if task is not None else None
    price = None if request is None else request.spec.price(request.resolution)
    request = request or ImageRequest(prompt="(an older version did not keep it)", model=model)
    stored = _stored(store, image)
    is_saved = (bool(stored) or image.state == "done") and image.state != "failed"
    steps: list[Step] = []

    def step(kind: Any, **fields: object) -> None:
        steps.append(kind(key=key, index=index, claim=_CLAIM, **fields))

    if image.state == "failed" or (task is None and image.state != "done"):
        ended = "failed" if image.state == "failed" else "unknown"
        error = error_json(image.error or "OutcomeUnknownError", image.message or _CUT_OFF, image.billed)
        step(Ended, state=ended, error=error)
    if task is not None and image.state != "failed":
        step(Submitted, task_id=task.id, task=task_json(task), keep=False)
    if is_saved:
        pictures = images_json(tuple(map(_generated, stored)))
        step(Delivered, images=pictures, task_id=image.task, saved=True)
    step(Release)
    if is_saved:
        step(Report)  # the older version has reported what it cost
    begin = Begin(
        key=key,
        index=index,
        claim=_CLAIM,
        digest=_CLAIM,
        request=stored_request(request, prompts=ledger.store_prompts),
        price=price,
        budget=None,
        account="",  # the records don't say whose key bought it: no account's usage log can prove that it was free
        one_shot=task is None and image.state == "done",  # by its picture, the usage log names its charge
        alias=" ".join(each.id for each in stored) or None,
    )
    return _Entry(begin, tuple(steps))


def _stored(store: Store, image: _OldImage) -> list[StoredImage]:
    """The pictures of an image in the store: a call that has a task wrote no line when they came."""
    if image.images:
        return [found for each in image.images if (found := store.image(each)) is not None]
    return [] if image.task is None else list(store.images_of(image.task))


def _generated(image: StoredImage) -> GeneratedImage:
    facts = {"url", "expires_at", "path", "media_type", "width", "height", "deviations"}
    return GeneratedImage(task_id=image.task, **image.model_dump(include=facts))
