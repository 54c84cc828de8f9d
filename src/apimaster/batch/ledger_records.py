"""What goes into the ledger beside images, and what is counted in it; the ledger's own error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from .items import State


@dataclass(frozen=True, slots=True)
class Transition:
    """One image goes to ``state``, and these ``fields`` change with it.

    ``durable`` transitions concern money: they survive a power cut.
    """

    id: str
    state: State
    fields: Mapping[str, object] = field(default_factory=dict)
    durable: bool = False


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many images are in a state at a price, and what earlier attempts at them may have cost (``sunk``)."""

    state: State
    listed: bool
    price: Decimal | None
    count: int
    sunk: Decimal


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """How many planned images in a row have the same model, resolution and price."""

    model: str
    resolution: str | None
    price: Decimal | None
    count: int
