"""The caller's limits. Pure and exact: money is set aside before a submit and given back only when it is sure
that nothing was charged. So what the gateway can have charged never exceeds what is set aside here."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ..errors import BadRequestError
from .items import NOTHING


def read_limit(value: Decimal | int | str | float | None, name: str = "max_cost") -> Decimal | None:
    """A limit in US dollars, exact: a float counts as what it prints as.

    Raises:
        BadRequestError: it is not an amount of 0 or more.
    """
    if value is None:
        return None
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise BadRequestError(f"{name} must be an amount in US dollars, 0 or more, such as 2.50, not {value!r}")
    return amount


class Budget:
    """What may still be spent in a folder, over all runs.

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
        spent: Decimal = NOTHING,
        images: int = 0,
    ) -> None:
        self.max_cost = max_cost
        self.max_images = max_images
        self.spent = spent
        self.images = images

    def allows(self, price: Decimal | None) -> bool:
        """Whether one more image at ``price`` fits. One without a known price never fits under ``max_cost``."""
        if self.max_images is not None and self.images >= self.max_images:
            return False
        if self.max_cost is None:
            return True
        return price is not None and self.spent + price <= self.max_cost

    def reserve(self, price: Decimal | None) -> bool:
        """Set one image at ``price`` aside, if it fits."""
        if not self.allows(price):
            return False
        self.spent += price or NOTHING
        self.images += 1
        return True

    def give_back(self, price: Decimal | None) -> None:
        """It is sure that this image was not charged, or was refunded."""
        self.spent -= price or NOTHING
        self.images -= 1

    def fitting(self, prices: list[tuple[Decimal | None, int]]) -> tuple[int, Decimal]:
        """How many of these images fit, taken in order as (price, how many), and what they cost."""
        count, cost = 0, NOTHING
        for price, wanted in prices:
            fits = wanted
            if self.max_images is not None:
                fits = min(fits, max(0, self.max_images - self.images - count))
            if self.max_cost is not None:
                left = self.max_cost - self.spent - cost
                fits = 0 if price is None or left < 0 else min(fits, int(left // price)) if price else fits
            count += fits
            cost += (price or NOTHING) * fits
            if fits < wanted:
                break
        return count, cost
