"""What is counted in a batch. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .items import State


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
