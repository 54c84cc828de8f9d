"""The pictures in a batch's folder, as files: each has the name of its image."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..adapters import NotAPicture, inspect_picture
from ..results import GeneratedImage
from .items import IMAGES

_ENDINGS: Final = (".png", ".jpg", ".webp")


def picture_on_disk(directory: Path, name: str) -> GeneratedImage | None:
    """The picture of the image with this id, if its file is there. Blocks.

    A file gets its name in one step, after its bytes were checked, so it is whole.
    """
    for ending in _ENDINGS:
        path = directory / IMAGES / f"{name}{ending}"
        try:
            with path.open("rb") as file:
                found = inspect_picture(file)
        except (OSError, NotAPicture):
            continue
        return GeneratedImage(path=path, media_type=found.media_type, width=found.width, height=found.height)
    return None
