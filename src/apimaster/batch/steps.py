"""What goes into the ledger and what is counted in it: steps, sums, kinds, and the error for all that goes wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ..errors import APIMasterError
from .items import State


class LedgerError(APIMasterError):
    """The ledger can't be read or written, or a step does not follow from the one before. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Step:
    """One image goes to ``state``. ``durable`` steps have to do with money: they survive a power cut."""

    id: str
    state: State
    fields: Mapping[str, object] = field(default_factory=dict)
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Sum:
    """How many images are in a state at a price, and what earlier attempts of theirs may have cost."""

    state: State
    listed: bool
    price: Decimal | None
    count: int
    sunk: Decimal


@dataclass(frozen=True, slots=True)
class Kind:
    """So many planned images in a row that are alike."""

    model: str
    resolution: str | None
    price: Decimal | None
    count: int


@contextlib.contextmanager
def told(path: Path | None) -> Iterator[None]:
    """SQLite's own errors in words that say what they are about."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger{f' {path}' if path else ''} can't be used: {error}.") from error
