"""The manifest: one flat record per image, always with the same columns of the same types.

Money is text, because text is exact; times are ISO 8601 in UTC; lists hold texts. So a tool that makes Parquet from
JSON lines or CSV gets the same table from every batch.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final, Literal

from .items import BatchItem

ManifestFormat = Literal["jsonl", "csv"]

COLUMNS: Final[dict[str, Callable[[BatchItem], Any]]] = {
    "id": lambda item: item.id,
    "line": lambda item: item.line,
    "state": lambda item: item.state,
    "prompt": lambda item: item.request.prompt,
    "model": lambda item: item.request.model,
    "aspect_ratio": lambda item: item.request.aspect_ratio,
    "resolution": lambda item: item.request.resolution,
    "references": lambda item: [str(reference) for reference in item.request.references],
    "mask": lambda item: None if item.request.mask is None else str(item.request.mask),
    "google_search": lambda item: item.request.google_search,
    "google_image_search": lambda item: item.request.google_image_search,
    "tags": lambda item: list(item.tags),
    "price_usd": lambda item: amount_text(item.price),
    "cost_usd": lambda item: amount_text(item.cost),
    "billed": lambda item: item.billed,
    "path": lambda item: item.path,
    "media_type": lambda item: item.media_type,
    "width": lambda item: item.width,
    "height": lambda item: item.height,
    "deviations": lambda item: list(item.deviations),
    "task_id": lambda item: item.task.id or None if item.task is not None else None,
    "error": lambda item: item.error,
    "error_type": lambda item: item.error_type,
    "attempts": lambda item: item.attempts,
    "submitted_at": lambda item: _iso_time(item.submitted_at),
    "finished_at": lambda item: _iso_time(item.finished_at),
}


def record(item: BatchItem) -> dict[str, Any]:
    """One image as a flat record."""
    return {name: read(item) for name, read in COLUMNS.items()}


def as_jsonl(items: Iterable[BatchItem]) -> Iterator[str]:
    """One JSON object per line."""
    for item in items:
        yield json.dumps(record(item), ensure_ascii=False) + "\n"


def as_csv(items: Iterable[BatchItem]) -> Iterator[str]:
    """A header and one row per image; ``|`` joins the entries of a list."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # as in RFC 4180
    writer.writerow(COLUMNS)
    for item in items:
        yield _drain(text)
        writer.writerow([_cell(value) for value in record(item).values()])
    yield _drain(text)


def _drain(text: io.StringIO) -> str:
    written = text.getvalue()
    text.seek(0)
    text.truncate()
    return written


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "|".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def amount_text(amount: Decimal | None) -> str | None:
    """US dollars as exact text, without needless zeros."""
    return None if amount is None else f"{amount.normalize():f}"


def _iso_time(unix: float | None) -> str | None:
    if unix is None:
        return None
    return datetime.fromtimestamp(unix, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
