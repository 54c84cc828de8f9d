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
from .ledger import BatchLedger
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
    """Keeps manifest, gallery and thumbnails of ``directory`` up to date while the block runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thumbnails = Thumbnails(directory)
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
            write_outputs(self._directory)
        except Exception:
            _log.exception("the gallery of %s could not be written; the batch goes on", self._directory)
            raise


def write_outputs(directory: Path) -> None:
    """Write manifest and gallery of a folder from its ledger. Blocking.

    Raises:
        BadRequestError: there is no batch in it.
        OSError: a file can't be written.
    """
    ledger = BatchLedger.open_read_only(directory)
    try:
        write_atomically(directory / MANIFEST, manifest.as_jsonl(ledger.items()))
        write_atomically(directory / GALLERY, gallery.render(directory, ledger.items()))
    finally:
        ledger.close()


def write_atomically(path: Path, pieces: Iterable[str]) -> None:
    """Write ``pieces`` to ``path`` so that a reader sees the old file or the new one, and nothing in between."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
