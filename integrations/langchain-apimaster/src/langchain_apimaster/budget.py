"""What a toolkit may spend: reserved before a request is sent, given back if nothing was charged.

An image counts from the moment before its request goes out, and stops counting only if it is certain that it was not
charged. An unknown outcome counts as spent, because the money may be gone.
"""

from __future__ import annotations

import threading
from decimal import Decimal

from apimaster import BudgetExceededError


class Budget:
    """Counts images and US dollars. Safe to share between threads.

    Args:
        usd: the most that may be spent, in US dollars; None for no limit.
        max_images: the most images that may be made; None for no limit.
    """

    def __init__(self, usd: Decimal | None = None, max_images: int | None = None) -> None:
        self.limit_usd = usd
        self.max_images = max_images
        self._lock = threading.Lock()
        self._usd = Decimal(0)
        self._images = 0
        # The price of each counted task, so that a task that fails later is given back, and only once.
        self._tasks: dict[str, Decimal | None] = {}

    @property
    def spent_usd(self) -> Decimal:
        """US dollars counted so far, including running tasks and unknown outcomes."""
        return self._usd

    @property
    def images(self) -> int:
        """Images counted so far, including running tasks and unknown outcomes."""
        return self._images

    @property
    def remaining_usd(self) -> Decimal | None:
        """US dollars left, or None if there is no limit."""
        return None if self.limit_usd is None else self.limit_usd - self._usd

    @property
    def remaining_images(self) -> int | None:
        """Images left, or None if there is no limit."""
        return None if self.max_images is None else self.max_images - self._images

    def reserve(self, count: int, price: Decimal | None) -> None:
        """Count ``count`` images at ``price`` US dollars each: all of them, or none if they don't fit.

        Raises:
            BudgetExceededError: too little is left, or the price is not known and the budget is in dollars.
        """
        with self._lock:
            if self.max_images is not None and self._images + count > self.max_images:
                left = self.max_images - self._images
                raise BudgetExceededError(
                    f"{count} more would be over the limit of {self.max_images} images; {left} {_images(left)} left"
                )
            if self.limit_usd is not None:
                if price is None:
                    raise BudgetExceededError(
                        "the price of this model is not known, so a budget in dollars can't be enforced"
                    )
                left_usd = self.limit_usd - self._usd
                if price * count > left_usd:
                    raise BudgetExceededError(
                        f"this would cost ${price * count}, and ${left_usd} of ${self.limit_usd} is left"
                    )
            self._images += count
            self._usd += (price or 0) * count

    def give_back(self, count: int, price: Decimal | None) -> None:
        """Undo a ``reserve``: these images were not charged."""
        with self._lock:
            self._take_off(count, price)

    def remember(self, task: str, price: Decimal | None) -> None:
        """Note the price at which ``task`` was counted; this counts nothing."""
        with self._lock:
            self._tasks.setdefault(task, price)

    def forget(self, task: str) -> None:
        """``task`` was delivered: it can't be refunded any more."""
        with self._lock:
            self._tasks.pop(task, None)

    def refund(self, task: str) -> None:
        """Stop counting ``task``, if it was counted here and not refunded yet."""
        with self._lock:
            if task in self._tasks:
                self._take_off(1, self._tasks.pop(task))

    def _take_off(self, count: int, price: Decimal | None) -> None:
        self._images -= count
        self._usd -= (price or 0) * count

    def __repr__(self) -> str:
        return (
            f"Budget(spent_usd={self._usd}, images={self._images}, usd={self.limit_usd}, max_images={self.max_images})"
        )

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def _images(count: int) -> str:
    return "image is" if count == 1 else "images are"
