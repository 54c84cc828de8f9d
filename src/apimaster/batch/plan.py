"""What a run will do and cost, before it does it. Pure: made from the ledger's counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..errors import BadRequestError
from .items import ZERO
from .ledger_records import PlannedGroup, StateCount
from .options import RunOptions
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        sums: all images of the folder, counted by state and price.
        kinds: the images to submit, grouped by model, resolution and price, in the order in which they are sent.
        terms: the options of the run, with the limits that apply.
        new: images that the folder did not know before.
        died: images that a dead process left in ``submitting``: now unknown.
        retried_failed: failed images that are planned again.
        retried_unknown: unknown images that are planned again.
        spent: US dollars that the folder has spent, or may have.
        spent_images: images that are paid for, or may be.
        planned: images to submit.
        cost: US dollars for those, as far as their prices are known.
        unpriced: how many of those have no known price.
        under_way: images that are paid for and not saved.
        saved: images on disk.
        failed: images that failed, at no cost.
        unknown: images that may be paid for, without a picture.
        set_aside: planned images of an earlier list, which this run does not submit.
        fits: how many of the planned images the limits allow.
        fits_cost: US dollars for those.
    """

    sums: tuple[StateCount, ...]
    kinds: tuple[PlannedGroup, ...]
    terms: RunOptions
    new: int
    died: int
    retried_failed: int
    retried_unknown: int
    spent: Decimal
    spent_images: int
    planned: int
    cost: Decimal
    unpriced: int
    under_way: int
    saved: int
    failed: int
    unknown: int
    set_aside: int
    fits: int
    fits_cost: Decimal

    @property
    def nothing_to_do(self) -> bool:
        """True if there is nothing to submit and nothing under way."""
        return not self.planned and not self.under_way


def make_plan(
    counts: Sequence[StateCount],
    groups: Sequence[PlannedGroup],
    options: RunOptions,
    *,
    new: int = 0,
    died: int = 0,
    retried_failed: int = 0,
    retried_unknown: int = 0,
) -> Plan:
    """The plan for these counts.

    Raises:
        BadRequestError: there is a cost limit, and an image without a known price.
    """
    tally = Tally(counts, 0.0)
    unpriced = sum(group.count for group in groups if group.price is None)
    if options.max_cost is not None and unpriced:
        models = ", ".join(sorted({group.model for group in groups if group.price is None}))
        raise BadRequestError(
            f"max_cost can't be kept: the price of {models} is not known ({unpriced} of the images)",
            advice="Limit the number of images instead, or use another model.",
        )
    fits, fits_cost = count_affordable(
        [(group.price, group.count) for group in groups],
        None if options.max_images is None else options.max_images - tally.spent_images,
        None if options.max_cost is None else options.max_cost - tally.spent,
    )
    return Plan(
        sums=tuple(counts),
        kinds=tuple(groups),
        terms=options,
        new=new,
        died=died,
        retried_failed=retried_failed,
        retried_unknown=retried_unknown,
        spent=tally.spent,
        spent_images=tally.spent_images,
        planned=tally.counts["planned"],
        cost=tally.to_come,
        unpriced=unpriced,
        under_way=tally.counts["submitted"] + tally.counts["delivered"],
        saved=tally.counts["saved"],
        failed=tally.counts["failed"],
        unknown=tally.counts["unknown"],
        set_aside=tally.set_aside,
        fits=fits,
        fits_cost=fits_cost or ZERO,
    )


def count_affordable(
    groups: Sequence[tuple[Decimal | None, int]], images: int | None, cost: Decimal | None
) -> tuple[int, Decimal]:
    """How many of these images fit, in order as (price, how many), and what they cost together.

    Args:
        groups: the images, while their price stays the same.
        images: how many may be bought; None: no limit.
        cost: US dollars that may be spent; None: no limit. Under a limit, no image without a known price fits.
    """
    count, spent = 0, ZERO
    for price, planned in groups:
        fits = planned
        if images is not None:
            fits = min(fits, max(0, images - count))
        if cost is not None:
            left = cost - spent
            fits = 0 if price is None or left < 0 else min(fits, int(left // price)) if price else fits
        count += fits
        spent += (price or ZERO) * fits
        if fits < planned:
            break
    return count, spent
