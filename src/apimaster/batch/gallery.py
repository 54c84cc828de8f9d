"""``index.html``: the batch as one page that opens from disk, with everything in it but the pictures.

The page is a template of the package; the images' facts go into it as JSON, one short list per image, and its own
script draws only what is on the screen, so five thousand entries scroll like fifty.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .export import record
from .items import BatchItem
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
"""In this order in each list; behind them, whether there is a thumbnail."""


def page(directory: Path, items: Iterable[BatchItem]) -> Iterator[str]:
    """The page, piece by piece. Blocking: looks which thumbnails are there."""
    template = files(__package__).joinpath("gallery.html").read_text(encoding="utf-8")
    before, _, after = template.replace(_TITLE, html.escape(directory.absolute().name)).partition(_DATA)
    thumbs = {path.name for path in (directory / THUMBS).glob("*.webp")}
    yield before
    yield _as_json([*_FIELDS, "thumbnail"])
    for item in items:
        facts = record(item)
        thumbnail = None if item.path is None else thumbnail_of(item.path)
        known = thumbnail is not None and thumbnail.rpartition("/")[2] in thumbs
        yield ",\n" + _as_json([*(_short(facts[name]) for name in _FIELDS), thumbnail if known else 0])
    yield after


def _short(value: Any) -> Any:
    """Nothing at all is a 0, which is the shortest thing that JavaScript takes for nothing."""
    return 0 if value is None or value == [] or value is False else value


def _as_json(value: Any) -> str:
    # Inside a script element only "<" could end it early, or "<!--" change how it is read.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
