"""What a folder may still spend. Pure and exact.

The batch reserves money before a submit, and releases it only when nothing was charged for certain. So the gateway
can't have charged more than is reserved here.
"""

from __future__ import annotations

from decimal import Decimal

from .items import ZERO


class Budget:
    """What the folder may still spend, over all runs.

    Args:
        max_cost: US dollars in all, or None for no limit.
        max_images: paid images in all, or None for no limit.
        spent: US dollars that are or may be spent already.
        images: images that are or may be paid for already.
    """

    def __init__(
        self,
        max_cost: Decimal | None = None,
        max_images: int | None = None,
        *,
        spent: Decimal = ZERO,
        images: int = 0,
    ) -> None:
        self.max_cost = max_cost
        self.max_images = max_images
        self.spent = spent
        self.images = images

    def allows(self, price: Decimal | None) -> bool:
        """Whether one more image at ``price`` fits. Under ``max_cost``, an image without a known price never fits."""
        if self.max_images is not None and self.images >= self.max_images:
            return False
        if self.max_cost is None:
            return True
        return price is not None and self.spent + price <= self.max_cost

    def reserve(self, price: Decimal | None) -> bool:
        """Reserve one image at ``price``, if it fits."""
        if not self.allows(price):
            return False
        self.spent += price or ZERO
        self.images += 1
        return True

    def release(self, price: Decimal | None) -> None:
        """Return what one image reserved: for certain it was not charged, or it was refunded."""
        self.spent -= price or ZERO
        self.images -= 1

    def count_affordable(self, groups: list[tuple[Decimal | None, int]]) -> tuple[int, Decimal]:
        """How many of these images fit, in order as (price, how many), and what they cost together."""
        count, cost = 0, ZERO
        for price, planned in groups:
            fits = planned
            if self.max_images is not None:
                fits = min(fits, max(0, self.max_images - self.images - count))
            if self.max_cost is not None:
                left = self.max_cost - self.spent - cost
                fits = 0 if price is None or left < 0 else min(fits, int(left // price)) if price else fits
            count += fits
            cost += (price or ZERO) * fits
            if fits < planned:
                break
        return count, cost
