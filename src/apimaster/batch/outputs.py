"""What a batch writes to its folder beside the pictures and the ledger: manifest, gallery, thumbnails.

All of it comes from the ledger and can be made again at any time. So nothing here may stop a run: it logs a fault and
the run goes on. It writes a file under another name and renames it when it is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import gallery, manifest
from .items import BatchItem
from .place import Place
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

MANIFEST: Final = "manifest.jsonl"
GALLERY: Final = "index.html"
_REWRITE_SECONDS: Final = 60.0
"""Between two rewrites while a run goes on."""

_log = logging.getLogger("apimaster")


class Outputs:
    """Keeps manifest, gallery and thumbnails of a batch up to date while the block runs.

    Other processes that run the batch write the same files, each of them whole.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._thumbnails = Thumbnails(place.directory)
        self._task: asyncio.Task[None] | None = None
        # The thread of a cancelled task goes on writing: the lock makes the end of the run write after it.
        self._writing = threading.Lock()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._rewrite_regularly())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thumbnails.close)

    def add_saved(self, item: BatchItem) -> None:
        """Queue a thumbnail of a picture that is on disk."""
        if item.path is not None:
            self._thumbnails.add(item.path)

    def write(self) -> None:
        """Write manifest and gallery now. Blocking."""
        with contextlib.suppress(Exception), self._writing:
            self._write()

    async def _rewrite_regularly(self) -> None:
        while True:
            await asyncio.sleep(_REWRITE_SECONDS)
            await asyncio.to_thread(self.write)

    def _write(self) -> None:
        try:
            write_outputs(self._place)
        except Exception:
            _log.exception("the gallery of %s could not be written; the batch goes on", self._place.directory)
            raise


def write_outputs(place: Place) -> None:
    """Write manifest and gallery of a folder from its batch. Blocking.

    Raises:
        BadRequestError: there is no batch in it.
        OSError: a file can't be written.
    """
    directory = place.directory
    with place.reading() as batch:
        write_atomically(directory / MANIFEST, manifest.as_jsonl(batch.items()))
        write_atomically(directory / GALLERY, gallery.render(directory, batch.items()))


def write_atomically(path: Path, pieces: Iterable[str]) -> None:
    """Write ``pieces`` to ``path`` so that a reader sees the old file or the new one, and nothing in between."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
