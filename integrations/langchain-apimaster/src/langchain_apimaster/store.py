"""The store: pictures and their records, so that the ids of pictures work in the next turn and in other processes.

Result URLs expire, so every picture is saved as it arrives. The store's folder holds the pictures, named after their
tasks, and three kinds of small JSON files:

==================================  ============================================================================
``.apimaster/images/img_….json``    a picture, found by the id that models use
``.apimaster/tasks/task_….json``    a task, written before the wait for it begins
``.apimaster/calls/<key>.json``     what a tool call asked for, and a line for each step: a replay pays nothing
==================================  ============================================================================

Several processes may share a store. Everything in this module blocks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError

from apimaster import BadRequestError, Task
from apimaster.adapters import is_reserved_file_name

from .files import files_at
from .records import IMAGE_ID, CallRecord, ImageRecord, StoredImage, image_id

if TYPE_CHECKING:
    from apimaster import GeneratedImage, ImageRequest

_R = TypeVar("_R", bound=BaseModel)
_log = logging.getLogger("langchain_apimaster")
_FILE_NAME: Final = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-]{1,120}")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_STORE_ADVICE: Final = "Tell the user: the application's store needs repair."


def default_place() -> Path:
    """A folder in the user's data directory, where each system keeps such folders."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "apimaster" / "langchain"


class Store:
    """Pictures and records in one folder.

    Args:
        place: the folder, or an fsspec URL of one; None for a folder in the user's data directory.
    """

    def __init__(self, place: str | os.PathLike[str] | None = None) -> None:
        given = os.fspath(default_place() if place is None else place)
        self.place = given if "://" in given else os.path.expanduser(given)
        self._files = files_at(self.place)

    @property
    def save_to(self) -> str:
        """The folder as the client's ``save_to``: with the slash at its end that marks a folder."""
        return self.place if self.place.endswith("/") else f"{self.place}/"

    def keep_image(
        self, image: GeneratedImage, *, request: ImageRequest | None, model: str, cost: Decimal | None
    ) -> StoredImage:
        """Give a saved picture its id, and write its record."""
        path = "" if image.path is None else os.fspath(image.path)
        if path and "://" not in path:
            path = os.path.abspath(path)  # a later process may have another working directory
        stored = StoredImage(
            id=image_id(image.task_id, image.output_index),
            path=path,
            url=image.url,
            expires_at=image.expires_at,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            aspect_ratio=None if request is None else request.aspect_ratio,
            resolution=None if request is None else request.resolution,
            cost_usd=None if cost is None else str(cost),
            model=model,
            task=image.task_id or None,
            deviations=image.deviations,
            name=os.path.basename(path),
        )
        with self._logged("images", stored.id):
            self._files.write(_record_path("images", stored.id), _json_line(stored))
        return stored

    def image(self, id: str) -> StoredImage | None:  # noqa: A002  # the word that models and callers use
        """The picture with this id, or None if the store does not have it."""
        data = self._read("images", id) if IMAGE_ID.fullmatch(id) else None
        return None if data is None else _parsed(StoredImage, data, "images", id)

    def content(self, image: StoredImage) -> Path | bytes:
        """The picture itself: a path if the file is on this machine, else the bytes.

        Raises:
            BadRequestError: the file is gone.
        """
        path = self._files.local(image.name)
        if path is not None and path.is_file():
            return path
        data = self._files.read(image.name) if path is None else None
        if data is None:
            raise BadRequestError(
                f"the file of {image.id} is no longer in the store", advice="Use another picture, or make a new one."
            )
        return data

    def images_of(self, task: str) -> tuple[StoredImage, ...]:
        """The pictures of a task that the store has already."""
        found: list[StoredImage] = []
        while (image := self.image(image_id(task, len(found)))) is not None:
            found.append(image)
        return tuple(found)

    def keep_task(self, task: Task) -> None:
        """Write the record of a task."""
        name = task_file_name(task.id)
        with self._logged("tasks", name):
            self._files.write(_record_path("tasks", name), task.model_dump_json(exclude_none=True).encode())

    def task(self, id: str) -> Task | None:  # noqa: A002  # the same
        """The task with this id, or None if the store does not have it."""
        name = task_file_name(id)
        data = self._read("tasks", name)
        found = None if data is None else _parsed(Task, data, "tasks", name)
        # Where the file system ignores case, the file may belong to an id that differs in case alone.
        return found if found is not None and found.id == id else None

    def call(self, key: str) -> CallRecord | None:
        """What the tool call ``key`` asked for, or None if it was never made."""
        data = self._read("calls", key)
        if data is None:
            return None
        first, *rest = data.split(b"\n")
        record = _parsed(CallRecord, first, "calls", key)
        for line in filter(None, rest):
            try:
                changed = json.loads(line)
                record.image_records[changed["index"]] = ImageRecord(**changed["job"])
            except (ValueError, LookupError, TypeError):  # noqa: PERF203  # a killed process wrote half a line
                continue
        return record

    def begin_call(self, key: str, record: CallRecord) -> None:
        """Write the record of a tool call, before its request is sent.

        Raises:
            BadRequestError: the store can't be written. Without a record, a replay would buy a second time.
        """
        try:
            self._files.write(_record_path("calls", key), _json_line(record))
        except OSError as wrong:
            raise BadRequestError(
                f"the application's store can't be written: {wrong.strerror or wrong}", advice=_STORE_ADVICE
            ) from wrong

    def keep_image_record(self, key: str, record: CallRecord, index: int) -> None:
        """Write down how far one image of a tool call came."""
        changed = {"index": index, "job": record.image_records[index].model_dump(mode="json", exclude_none=True)}
        with self._logged("calls", key):
            self._files.append(_record_path("calls", key), json.dumps(changed).encode() + b"\n", _json_line(record))

    def forget_call(self, key: str) -> None:
        """Remove the record of a tool call that ended without a charge, so that the same call may buy."""
        with self._logged("calls", key):
            self._files.remove(_record_path("calls", key))

    @contextmanager
    def _logged(self, kind: str, name: str) -> Iterator[None]:
        # At this point a picture may be paid for already: an error of the store must not keep it from the caller.
        try:
            yield
        except OSError:
            _log.exception("the store at %s could not be written: %s", self.place, _record_path(kind, name))

    def _read(self, kind: str, name: str) -> bytes | None:
        try:
            return self._files.read(_record_path(kind, name))
        except OSError as wrong:
            raise BadRequestError(
                f"the application's store can't be read: {wrong.strerror or wrong}", advice=_STORE_ADVICE
            ) from wrong


def _parsed(model: type[_R], data: bytes, kind: str, name: str) -> _R:
    try:
        return model.model_validate_json(data)
    except ValidationError as wrong:
        raise BadRequestError(
            f"the application's store holds a damaged record: {_record_path(kind, name)}", advice=_STORE_ADVICE
        ) from wrong


def _json_line(record: BaseModel) -> bytes:
    return record.model_dump_json(exclude_none=True, by_alias=True).encode() + b"\n"


def _record_path(kind: str, name: str) -> str:
    return f".apimaster/{kind}/{name}.json"


def task_file_name(task_id: str) -> str:
    """A file name, without its ending, for a task id, which comes from the gateway or from a model.

    Each id has a name of its own. An id that is no plain file name on every system is hashed; so is an id that looks
    like such a hash, because it could be the hash of another id.
    """
    is_plain = _FILE_NAME.fullmatch(task_id) and not _DIGEST.fullmatch(task_id) and not is_reserved_file_name(task_id)
    return task_id if is_plain else hashlib.sha256(task_id.encode()).hexdigest()
