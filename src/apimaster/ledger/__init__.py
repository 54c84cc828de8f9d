"""The ledger: one purchase, one row, whoever asks. See docs/ledger.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .states import STATES, TRANSITIONS, PurchaseState

if TYPE_CHECKING:
    from .ledger import Ledger
    from .purchase import Budget, Purchase, Settlement

__all__ = ["STATES", "TRANSITIONS", "Budget", "Ledger", "Purchase", "PurchaseState", "Settlement"]

_PLACES = {"Budget": "purchase", "Ledger": "ledger", "Purchase": "purchase", "Settlement": "purchase"}


def __getattr__(name: str) -> Any:
    # The flows import the rules of this package, and most programs have no ledger: threads and databases come later.
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
