"""``index.html``: the batch as one page that opens from disk, with everything in it but the pictures.

The page is a template of the package. Each image goes into it as a short JSON list, and the page's script draws only
what is on the screen, so that five thousand entries scroll like fifty.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .items import BatchItem
from .manifest import record
from .thumbnails import THUMBS, thumbnail_of

_TITLE: Final = "@@TITLE@@"
_DATA: Final = "@@DATA@@"
_FIELDS: Final = (
    "id",
    "line",
    "state",
    "prompt",
    "model",
    "aspect_ratio",
    "resolution",
    "references",
    "mask",
    "google_search",
    "google_image_search",
    "tags",
    "cost_usd",
    "billed",
    "path",
    "media_type",
    "width",
    "height",
    "deviations",
    "task_id",
    "error",
    "finished_at",
)
"""The values of each list, in this order; one more after them names the thumbnail."""


def render(directory: Path, items: Iterable[BatchItem]) -> Iterator[str]:
    """The page, piece by piece. Blocking: lists the thumbnails on disk."""
    template = files(__package__).joinpath("gallery.html").read_text(encoding="utf-8")
    before, _, after = template.replace(_TITLE, html.escape(directory.absolute().name)).partition(_DATA)
    thumbs = {path.name for path in (directory / THUMBS).glob("*.webp")}
    yield before
    yield _as_json([*_FIELDS, "thumbnail"])
    for item in items:
        facts = record(item)
        thumbnail = None if item.path is None else thumbnail_of(item.path)
        exists = thumbnail is not None and thumbnail.rpartition("/")[2] in thumbs
        yield ",\n" + _as_json([*(_shorten(facts[name]) for name in _FIELDS), thumbnail if exists else 0])
    yield after


def _shorten(value: Any) -> Any:
    """0 for an empty value: the shortest value that is false in JavaScript."""
    return 0 if value is None or value == [] or value is False else value


def _as_json(value: Any) -> str:
    # "</script>" would end the script element early, and "<!--" would change how a browser reads it.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
