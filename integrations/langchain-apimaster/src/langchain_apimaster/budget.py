"""What a toolkit may spend, and has spent: a view of a budget in the ledger.

The ledger does the counting: an image counts from the moment before its request goes out, and stops counting only if it
is certain that it was not charged.

All toolkits with the same store and namespace count in one budget, whatever their limits: who raises a limit does not
begin at zero. The limits in force are those that a toolkit brought last, unless somebody has changed them in the ledger
since. A note in the ledger says which ones a toolkit brought, so that these two can be told apart. A toolkit without
limits has a budget of its own, which refuses nothing.

Earlier versions had a budget for each limit. The one of them in which most was spent goes on, under its name.
"""

from __future__ import annotations

import hashlib
import json
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
            self._name = self._find_name()
        return self._name

    def make(self) -> None:
        """Make the budget in the ledger, or bring it the limits of this toolkit if they are new."""
        if self._is_own and self._made_in != os.getpid():
            ledger = self._ledger.get()
            found = self._found()
            if found is None or self._brings_limits():
                ledger.set_budget(self.name, usd=self._usd, images=self._max_images)
            if self._has_limits:
                ledger.set_note(self._note, json.dumps({"name": self.name, "limits": self._limits}))
            self._made_in = os.getpid()

    @property
    def limit_usd(self) -> Decimal | None:
        """The limit in US dollars, or None if there is none; another toolkit with the same store may change it."""
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

    @property
    def _has_limits(self) -> bool:
        return self._usd is not None or self._max_images is not None

    @property
    def _limits(self) -> str:
        return _legacy_name(self._ledger.store, self._kind, self._usd, self._max_images)

    @property
    def _note(self) -> str:
        return f"langchain budget {self._kind} {self._place}"

    def _noted(self) -> dict[str, str]:
        """The name of the budget, and the limits that a toolkit brought last; nothing if none has brought any."""
        noted: dict[str, str] = json.loads(self._ledger.get().note(self._note) or "{}")
        return noted

    def _find_name(self) -> str:
        if not self._has_limits:
            return self._limits
        if "name" in (noted := self._noted()):
            return noted["name"]
        begin, end = f"langchain {self._kind}, ", f", {_digest(self._ledger.store, self._ledger.store.location)}"
        without_limits = _legacy_name(self._ledger.store, self._kind, None, None)
        earlier = [
            each
            for each in self._ledger.get().budgets()
            if each.name.startswith(begin) and each.name.endswith(end) and each.name != without_limits
        ]
        if earlier:
            return max(earlier, key=lambda each: (each.usd, each.images, each.name)).name
        return f"{begin}{self._place}"

    @property
    def _place(self) -> str:
        """What tells the budgets of different stores apart in one ledger.

        A ledger within the store needs nothing: whichever path leads to the store, leads to its one budget. In another
        ledger it is the path without links, or the URL.
        """
        store = self._ledger.store
        if store.records is None:
            return _digest(store, store.location)
        records = os.path.realpath(store.records)
        is_within = os.path.dirname(os.path.realpath(self._ledger.get().name)) == records
        return _digest(store, "" if is_within else os.path.dirname(records))

    def _brings_limits(self) -> bool:
        """Whether the limits of this toolkit are others than those that one brought last."""
        if not self._has_limits:
            return False
        last = self._noted().get("limits", self.name)  # of an earlier version, the name says its limits
        return last != self._limits

    def _read(self) -> LedgerBudget:
        found = self._found()
        mine = {"max_usd": self._usd, "max_images": self._max_images}
        if found is None:
            return LedgerBudget(name=self.name, **mine)  # type: ignore[arg-type]
        if self._is_own and self._made_in != os.getpid() and self._brings_limits():
            return found.model_copy(update=mine)  # its first purchase will bring them
        return found

    def _found(self) -> LedgerBudget | None:
        return next((each for each in self._ledger.get().budgets() if each.name == self.name), None)

    def __repr__(self) -> str:
        name = f"{self._kind}'s own" if self._name is None else self._name
        return f"Budget({name!r}, usd={self._usd}, max_images={self._max_images})"


def _legacy_name(store: Store, kind: str, usd: Decimal | None, max_images: int | None) -> str:
    """The name that a budget without limits has, and that earlier versions gave each limit."""
    limits = [f"${usd.normalize():f}"] if usd is not None else []
    limits += [f"{max_images} images"] if max_images is not None else []
    return f"langchain {kind}, {' and '.join(limits) or 'no limit'}, {_digest(store, store.location)}"


def _digest(store: Store, place: str) -> str:
    facts = "\n".join((store.namespace, place))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
