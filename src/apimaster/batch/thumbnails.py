"""Small versions of large pictures for the gallery, made where Pillow is installed, on one thread, beside the run.

Without Pillow the gallery shows the pictures themselves, a screenful at a time. A thumbnail that can't be made is
left out; nothing ever waits for one.
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
SIDE: Final = 480
"""Pixels of the longer side: a tile of the gallery on a screen with double density."""

_SMALL: Final = 96 * 1024
"""Pictures of fewer bytes are as good as their own thumbnails."""

_PATIENCE: Final = 10.0
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
        self._able = importlib.util.find_spec("PIL") is not None
        self._ends = float("inf")

    def add(self, path: str) -> None:
        """Have one made of a picture, some time."""
        if not self._able:
            return
        self._queue.put(path)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="apimaster-thumbnails", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Finish what takes no longer than some seconds, and leave the rest."""
        if self._thread is not None:
            self._ends = time.monotonic() + _PATIENCE
            self._queue.put(_END)
            self._thread.join(_PATIENCE + 5.0)

    def _work(self) -> None:
        while (path := self._queue.get()) != _END and time.monotonic() < self._ends:
            with contextlib.suppress(Exception):  # whatever a decoder may say about a picture
                make(self._directory, path)


def make(directory: Path, path: str) -> bool:
    """Make one thumbnail, if the picture is large and has none. Blocking; needs Pillow.

    Raises:
        OSError: the picture can't be read or the thumbnail not written.
    """
    from PIL import Image

    source, place = directory / path, directory / thumbnail_of(path)
    if source.stat().st_size < _SMALL or place.exists():
        return False
    place.parent.mkdir(exist_ok=True)
    part = place.with_suffix(".part")
    try:
        with Image.open(source) as picture:
            picture.draft("RGB", (SIDE, SIDE))  # JPEG: decoded small at once
            picture.thumbnail((SIDE, SIDE))
            picture.convert("RGBA" if "A" in picture.getbands() else "RGB").save(part, format="WEBP", quality=80)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return True


def make_missing(directory: Path, items: Iterable[BatchItem]) -> None:
    """Make the thumbnails that are missing. Blocking; does nothing without Pillow."""
    if importlib.util.find_spec("PIL") is None:
        return
    for item in items:
        if item.path is not None:
            with contextlib.suppress(Exception):  # whatever a decoder may say about a picture
                make(directory, item.path)
