"""Writes results to stdout and everything else to stderr, so that a pipe gets only results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..results import ImageResult


def dollars(amount: Decimal | None) -> str:
    """``$0.0375``, ``$0.10`` or ``$1,234.50``: exact, with cents at least; None: ``price unknown``."""
    if amount is None:
        return "price unknown"
    exact = amount.normalize()
    cents = exact.quantize(Decimal("0.01"))
    return f"${cents if cents == exact else exact:,f}"


def result_rows(result: ImageResult) -> list[str]:
    """One row per picture: where it is, pixels, kind, cost; and a sum if there are several.

    What an earlier call with the same idempotency key has paid does not count again.
    """
    spent = None if result.cost is None else result.cost - result.replayed_cost
    each = None if spent is None else spent / len(result.images)
    cells = [
        (
            str(image.path or image.url or "(no URL)"),
            f"{image.width}×{image.height}" if image.width else "",
            (image.media_type or "").removeprefix("image/").upper(),
            dollars(each),
        )
        for image in result.images
    ]
    lines = aligned(cells)
    requested = result.request.n if result.request is not None else len(result.images)
    if requested > 1:
        lines.append(f"{len(result.images)} of {requested} images, {dollars(spent)}")
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row as a line, with its cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def moment(unix_time: float) -> str:
    """A time on this machine's clock, to the second."""
    try:
        return datetime.fromtimestamp(unix_time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a date that the system does not know
        return str(unix_time)


def one_line(text: str) -> str:
    """Without line breaks and control codes: a terminal would carry out what a prompt contains."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shortened(text: str, length: int) -> str:
    """The beginning of a text, in one line of at most ``length`` characters."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def print_result(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def print_json(document: Any) -> None:
    """One JSON object on stdout, in one line, so that a log keeps it together."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def print_price_list(price_list: str | None) -> None:
    """On stderr, which list the costs on stdout are from; nothing if they are from none."""
    if price_list:
        print_message(f"Cost by the {price_list}: the usage log says what was charged.")


def flush_results() -> None:
    """Deliver what stdout has so far, also into a pipe."""
    sys.stdout.flush()


def print_message(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
