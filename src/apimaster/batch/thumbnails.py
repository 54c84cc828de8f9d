"""Small versions of large pictures for the gallery, if Pillow is installed. One thread makes them beside the run.

Without Pillow the gallery shows the pictures themselves, a screenful at a time. If a thumbnail can't be made, the
gallery does without it; the run waits for none.
"""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .items import BatchItem

THUMBS: Final = "thumbs"
MAX_SIDE: Final = 480
"""Pixels of the longer side: a tile of the gallery on a screen with double density."""

_MIN_BYTES: Final = 96 * 1024
"""Smaller pictures serve as their own thumbnails."""

_CLOSE_SECONDS: Final = 10.0
_END: Final = ""


def thumbnail_of(path: str) -> str:
    """Where the thumbnail of a picture is, both relative to the batch's folder."""
    return f"{THUMBS}/{Path(path).name}.webp"


class Thumbnails:
    """Makes thumbnails one after the other on a thread that starts with the first one.

    Args:
        directory: the batch's folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pillow_installed = importlib.util.find_spec("PIL") is not None
        self._deadline = float("inf")

    def add(self, path: str) -> None:
        """Queue a thumbnail of a picture."""
        if not self._pillow_installed:
            return
        self._queue.put(path)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="apimaster-thumbnails", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Spend some seconds on the queued thumbnails, and leave out the rest."""
        if self._thread is not None:
            self._deadline = time.monotonic() + _CLOSE_SECONDS
            self._queue.put(_END)
            self._thread.join(_CLOSE_SECONDS + 5.0)

    def _work(self) -> None:
        while (path := self._queue.get()) != _END and time.monotonic() < self._deadline:
            with contextlib.suppress(Exception):  # a decoder may raise anything about a picture
                make_thumbnail(self._directory, path)


def make_thumbnail(directory: Path, path: str) -> bool:
    """Make one thumbnail, if the picture is large and has none; gives whether it did. Blocking; needs Pillow.

    Raises:
        OSError: the picture can't be read, or the thumbnail can't be written.
    """
    from PIL import Image

    source, place = directory / path, directory / thumbnail_of(path)
    if source.stat().st_size < _MIN_BYTES or place.exists():
        return False
    place.parent.mkdir(exist_ok=True)
    part = place.with_suffix(".part")
    try:
        with Image.open(source) as picture:
            picture.draft("RGB", (MAX_SIDE, MAX_SIDE))  # JPEG: decoded small at once
            picture.thumbnail((MAX_SIDE, MAX_SIDE))
            picture.convert("RGBA" if "A" in picture.getbands() else "RGB").save(part, format="WEBP", quality=80)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return True


def make_missing_thumbnails(directory: Path, items: Iterable[BatchItem]) -> None:
    """Make the thumbnails that are missing. Blocking; does nothing without Pillow."""
    if importlib.util.find_spec("PIL") is None:
        return
    for item in items:
        if item.path is not None:
            with contextlib.suppress(Exception):  # a decoder may raise anything about a picture
                make_thumbnail(directory, item.path)
