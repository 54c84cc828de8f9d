"""The store: pictures and their records, so that the ids of pictures work in the next turn and in other processes.

Result URLs expire, so every picture is saved as it arrives. The store's folder holds the pictures, named after their
tasks, and small JSON files, ``.apimaster/images/img_….json``: a picture, found by the id that models use. Purchases and
tasks are in the ledger, which lies in ``.apimaster`` too if nobody names another place for it.

A namespace has a folder of its own within the store. Beside the records of the whole store,
``.apimaster/owners/….json`` says which namespace a task belongs to, since a ledger that is pruned forgets it. Several
processes may share a store. Everything in this module blocks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from apimaster import BadRequestError
from apimaster.adapters import safe_file_stem
from apimaster.ledger.location import data_folder

from .files import files_at
from .records import IMAGE_ID, StoredImage, image_id

if TYPE_CHECKING:
    from apimaster import GeneratedImage, ImageRequest

_log = logging.getLogger("langchain_apimaster")
_STORE_ADVICE: Final = "Tell the user: the application's store needs repair."


def default_place() -> Path:
    """A folder in the user's data directory, where each system keeps such folders."""
    return data_folder() / "langchain"


class Store:
    """Pictures and records in one folder.

    Args:
        place: the folder, or an fsspec URL of one; None for a folder in the user's data directory.
        namespace: the tenant whose pictures these are; empty: there are no tenants.
    """

    def __init__(self, place: str | os.PathLike[str] | None = None, namespace: str = "") -> None:
        given = os.fspath(default_place() if place is None else place)
        self.namespace = namespace
        self.root = given if "://" in given else os.path.expanduser(given)
        self.place = f"{self.root.rstrip('/')}/{_folder_of(namespace)}" if namespace else self.root
        self._files = files_at(self.place)
        self._root_files = files_at(self.root)

    @property
    def location(self) -> str:
        """The place of the whole store, for all processes: a relative path as an absolute one."""
        return self.root if "://" in self.root else os.path.abspath(self.root)

    @property
    def records(self) -> Path | None:
        """The folder of the whole store's records, where the ledger may lie; None if the store is elsewhere."""
        return self._root_files.local(".apimaster")

    @property
    def save_to(self) -> str:
        """The folder as the client's ``save_to``: with the slash at its end that marks a folder."""
        return self.place if self.place.endswith("/") else f"{self.place}/"

    def keep_image(
        self,
        image: GeneratedImage,
        id: str,  # noqa: A002  # the word that models and callers use
        *,
        request: ImageRequest | None,
        model: str,
        cost: Decimal | None,
    ) -> StoredImage:
        """Write the record of a saved picture. A picture that has one already, and whose file is there, keeps it."""
        path = "" if image.path is None else os.fspath(image.path)
        if path and "://" not in path:
            path = os.path.abspath(path)  # a later process may have another working directory
        earlier = self._whole(id)
        if earlier is not None and earlier.path == path and self.has_file(earlier):
            return earlier
        stored = StoredImage(
            id=id,
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
        # The picture is paid for: an error of the store must not keep it from the caller.
        self.write(_record_path(id), stored.model_dump_json(exclude_none=True).encode() + b"\n")
        return stored

    def image(self, id: str) -> StoredImage | None:  # noqa: A002  # the word that models and callers use
        """The picture with this id, or None if the store does not have it."""
        if not IMAGE_ID.fullmatch(id):
            return None
        record = _record_path(id)
        data = self.read(record)
        if data is None:
            return None
        try:
            image = StoredImage.model_validate_json(data)
        except ValidationError as wrong:
            raise BadRequestError(
                f"the application's store holds a damaged record: {record}", advice=_STORE_ADVICE
            ) from wrong
        here = self._files.local(image.name)
        path = f"{self.place.rstrip('/')}/{image.name}" if here is None else os.path.abspath(here)
        # Another path shows that the store has been moved.
        return image if image.path == path or not image.name else image.model_copy(update={"path": path})

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

    def has_file(self, image: StoredImage) -> bool:
        """Whether the file of a picture is still there.

        Raises:
            BadRequestError: the store can't be read.
        """
        try:
            return self._files.exists(image.name)
        except OSError as wrong:
            raise _unreadable(wrong) from wrong

    def images_of(self, task: str) -> tuple[StoredImage, ...]:
        """The pictures of a task that the store has already."""
        found: list[StoredImage] = []
        while (image := self._whole(image_id(task, len(found)))) is not None:
            found.append(image)
        return tuple(found)

    def own_task(self, task: str) -> None:
        """Remember that a task belongs to this namespace; without one there is nothing to remember."""
        if not self.namespace:
            return
        record = json.dumps({"namespace": digest_of(self.namespace)}).encode() + b"\n"
        try:
            if not self._root_files.exists(_owner_path(task)):
                self._root_files.write(_owner_path(task), record)
        except OSError:  # the picture is paid for: an error of the store must not keep it from the caller
            _log.exception("the store at %s could not be written: the owner of task %s", self.root, task)

    def owner_of(self, task: str) -> str | None:
        """The digest of the namespace that a task belongs to, or None if no namespace of this store has collected it.

        Raises:
            BadRequestError: the store can't be read.
        """
        try:
            data = self._root_files.read(_owner_path(task))
        except OSError as wrong:
            raise _unreadable(wrong) from wrong
        if data is None:
            return None
        try:
            return str(json.loads(data)["namespace"])
        except (ValueError, LookupError, TypeError):
            return ""  # a killed process wrote half of it: somebody owns the task

    def _whole(self, id: str) -> StoredImage | None:  # noqa: A002  # the same
        """A picture whose record can be made anew: another process may be writing it, and not all storage is atomic."""
        try:
            return self.image(id)
        except BadRequestError as error:
            _log.warning("%s", error.message)
            return None

    def read(self, name: str) -> bytes | None:
        """A file of the store, or None if there is none.

        Raises:
            BadRequestError: the store can't be read.
        """
        try:
            return self._files.read(name)
        except OSError as wrong:
            raise _unreadable(wrong) from wrong

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder of the store.

        Raises:
            BadRequestError: the store can't be read.
        """
        try:
            return self._files.names(folder)
        except OSError as wrong:
            raise _unreadable(wrong) from wrong

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; if that fails, it is logged."""
        try:
            self._files.write(name, data)
        except OSError:
            _log.exception("the store at %s could not be written: %s", self.place, name)


def _unreadable(wrong: OSError) -> BadRequestError:
    return BadRequestError(f"the application's store can't be read: {wrong.strerror or wrong}", advice=_STORE_ADVICE)


def _record_path(id: str) -> str:  # noqa: A002  # the same
    return f".apimaster/images/{id}.json"


def _owner_path(task: str) -> str:
    return f".apimaster/owners/{hashlib.sha256(task.encode()).hexdigest()[:32]}.json"


def digest_of(namespace: str) -> str:
    """What stands for a namespace in names: of its folder, and of its purchases."""
    return hashlib.sha256(namespace.encode()).hexdigest()[:12]


def _folder_of(namespace: str) -> str:
    """The folder of a namespace: a name that people recognize, and a digest, since each must have one of its own."""
    return f"{safe_file_stem(namespace)[:40]}-{digest_of(namespace)}"
