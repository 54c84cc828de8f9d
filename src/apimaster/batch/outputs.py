"""What a batch leaves in its folder beside the pictures and the ledger: manifest, gallery, thumbnails.

All of it is made from the ledger and can be made again at any time, so nothing here may ever stop a run: a fault is
logged and the run goes on. Files are written beside their place and renamed.
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

from . import export, gallery
from .items import BatchItem
from .ledger import Ledger
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

MANIFEST: Final = "manifest.jsonl"
GALLERY: Final = "index.html"
_EVERY: Final = 60.0
"""Seconds between two rewrites while a run goes on."""

_log = logging.getLogger("apimaster")


class Outputs:
    """Keeps manifest, gallery and thumbnails of ``directory`` up to date while the block runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thumbnails = Thumbnails(directory)
        self._task: asyncio.Task[None] | None = None
        # A task that is cancelled leaves its thread writing: what the end of the run writes comes after that.
        self._writing = threading.Lock()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_up())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thumbnails.close)

    def saved(self, item: BatchItem) -> None:
        """A picture is on disk: it may get a thumbnail."""
        if item.path is not None:
            self._thumbnails.add(item.path)

    def write(self) -> None:
        """Write manifest and gallery now. Blocking."""
        with contextlib.suppress(Exception), self._writing:
            self._write()

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
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
        OSError: it can't be written.
    """
    ledger = Ledger.look(directory)
    try:
        replace(directory / MANIFEST, export.jsonl(ledger.items()))
        replace(directory / GALLERY, gallery.page(directory, ledger.items()))
    finally:
        ledger.close()


def replace(path: Path, pieces: Iterable[str]) -> None:
    """Write ``pieces`` to ``path`` in one step: a reader sees the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
