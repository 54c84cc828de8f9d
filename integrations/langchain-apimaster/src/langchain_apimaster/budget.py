"""What a toolkit may spend, and has spent: a view of a budget in the ledger.

The ledger does the counting: an image counts from the moment before its request goes out, and stops counting only if it
is certain that it was not charged.
"""

from __future__ import annotations

import hashlib
import os
from decimal import Decimal
from typing import TYPE_CHECKING

from apimaster.ledger import Budget as LedgerBudget

if TYPE_CHECKING:
    from .open_ledger import OpenLedger
    from .store import Store


class Budget:
    """The budget of a toolkit. Its properties read the ledger, so they block; they raise ``LedgerError``.

    Args:
        ledger: the ledger that counts.
        name: the budget's name in the ledger, if somebody else makes it; None: this toolkit makes it.
        kind: the toolkit, or the name of a single tool.
        usd: the most that may be spent, in US dollars; None for no limit.
        max_images: the most images that may be made; None for no limit.
    """

    def __init__(
        self,
        ledger: OpenLedger,
        name: str | None = None,
        kind: str = "toolkit",
        usd: Decimal | None = None,
        max_images: int | None = None,
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._kind = kind
        self._usd = usd
        self._max_images = max_images
        self._is_own = name is None
        self._made_in = 0  # a process; another one may have a ledger of its own, in memory

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        if self._name is None:
            self._name = _own_name(self._ledger.store, self._kind, self._usd, self._max_images)
        return self._name

    def make(self) -> None:
        """Make the budget in the ledger, unless it is there. Its limits stay as they are."""
        if self._is_own and self._made_in != os.getpid():
            if self._found() is None:
                self._ledger.get().set_budget(self.name, usd=self._usd, images=self._max_images)
            self._made_in = os.getpid()

    @property
    def limit_usd(self) -> Decimal | None:
        """The limit in US dollars, or None if there is none."""
        return self._read().max_usd

    @property
    def max_images(self) -> int | None:
        """The limit in images, or None if there is none."""
        return self._read().max_images

    @property
    def spent_usd(self) -> Decimal:
        """US dollars counted so far, including running tasks and unknown outcomes."""
        return self._read().usd

    @property
    def images(self) -> int:
        """Images counted so far, including running tasks and unknown outcomes."""
        return self._read().images

    @property
    def remaining_usd(self) -> Decimal | None:
        """US dollars left, or None if there is no limit."""
        return self._read().left

    @property
    def remaining_images(self) -> int | None:
        """Images left, or None if there is no limit."""
        budget = self._read()
        return None if budget.max_images is None else budget.max_images - budget.images

    def _read(self) -> LedgerBudget:
        return self._found() or LedgerBudget(name=self.name, max_usd=self._usd, max_images=self._max_images)

    def _found(self) -> LedgerBudget | None:
        return next((each for each in self._ledger.get().budgets() if each.name == self.name), None)

    def __repr__(self) -> str:
        name = f"{self._kind}'s own" if self._name is None else self._name
        return f"Budget({name!r}, usd={self._usd}, max_images={self._max_images})"


def _own_name(store: Store, kind: str, usd: Decimal | None, max_images: int | None) -> str:
    """The name of the budget that all toolkits of this kind with this store, namespace and limits share.

    A toolkit with other limits counts for itself: so no toolkit can change the limit of another.
    """
    limits = [f"${usd.normalize():f}"] if usd is not None else []
    limits += [f"{max_images} images"] if max_images is not None else []
    facts = "\n".join((store.namespace, store.location))
    return f"langchain {kind}, {' and '.join(limits) or 'no limit'}, {hashlib.sha256(facts.encode()).hexdigest()[:12]}"
