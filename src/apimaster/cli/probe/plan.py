"""What a probe would buy, and whether its limit allows that."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ...catalog import Resolution, spec_for
from ...emulator.transcript import Transcript
from ...errors import BadRequestError
from ..printing import dollars

RESOLUTION: Final = "0.5K"
NEXT_RESOLUTION: Final = "1K"
"""Bought where the gateway refuses 0.5K, as one of its channels does; the list price is the same."""
REFUSED: Final = "half_k"
"""The step of a purchase at 0.5K that was refused."""
DEAREST_KNOWN: Final = {
    "0.5K": Decimal("0.045"),
    "1K": Decimal("0.067"),
    "2K": Decimal("0.101"),
    "4K": Decimal("0.151"),
}
"""US dollars: the highest published price of a picture by resolution (docs/endpoint.md, "Price")."""
ASPECT_RATIO: Final = "1:1"
PLAN: Final = {
    "submit": "one picture by submit",
    "one_shot": "one picture in one shot",
    "edit": "one edit of an uploaded picture",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a probe would buy, in this order.

    Attributes:
        limit: US dollars, the most that it may spend.
        price: US dollars, the list price of each picture.
        steps: names of `PLAN`.
    """

    limit: Decimal
    price: Decimal
    steps: tuple[str, ...]

    def dearest(self, resolution: Resolution, *seen: Decimal | None) -> Decimal:
        """US dollars: what a picture may cost, by the dearest price known and those that were seen."""
        return max(self.price, DEAREST_KNOWN[resolution], *(each for each in seen if each is not None))


def plan_for(limit: Decimal, model: str) -> Plan:
    """As many of the purchases as the limit allows.

    Raises:
        BadRequestError: the limit is below what one picture may cost, or the price is not known.
    """
    prices = [spec_for(model).price(each) for each in (RESOLUTION, NEXT_RESOLUTION)]
    known = [each for each in prices if each is not None]
    if len(known) < len(prices):
        raise BadRequestError(f"the price of {model} is not known, so a limit can't be kept")
    price = max(known)
    plan = Plan(limit, price, tuple(PLAN)[: min(len(PLAN), int(limit / price))])
    dearest = plan.dearest(RESOLUTION)
    if limit < dearest:
        raise BadRequestError(
            f"--spend {limit} is less than one picture may cost ({dollars(dearest)})",
            advice=f"--spend {dearest * len(PLAN)} is enough for {len(PLAN)} pictures; without --spend it is free.",
        )
    return plan


def bought_at(transcript: Transcript) -> str:
    """The resolution of the pictures that the probe bought."""
    return RESOLUTION if transcript.first(REFUSED) is None else NEXT_RESOLUTION
