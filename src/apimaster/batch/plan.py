"""What a run will do and cost, told before it is done. Pure: made of the ledger's sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..errors import BadRequestError
from .budget import Budget, read_limit
from .items import NOTHING
from .steps import Kind, Sum
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Terms:
    """Limits of a folder, over all runs, and what is tried again.

    Attributes:
        max_cost: US dollars, exact; None: no limit, or the one of the last run.
        max_images: paid images; None: the same.
        retry_failed: plan failed images again; they cost nothing so far.
        retry_unknown: plan unknown images again; each may be charged a second time.
    """

    max_cost: Decimal | None = None
    max_images: int | None = None
    retry_failed: bool = False
    retry_unknown: bool = False


def read_terms(
    max_cost: Decimal | int | str | float | None, max_images: int | None, *, retry_failed: bool, retry_unknown: bool
) -> Terms:
    """Checked terms.

    Raises:
        BadRequestError: a limit is not one.
    """
    if max_images is not None and (isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 0):
        raise BadRequestError(f"max_images must be a whole number, 0 or more, not {max_images!r}")
    return Terms(read_limit(max_cost), max_images, retry_failed, retry_unknown)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        sums: all images of the folder by state and price.
        kinds: the images to be submitted by model, resolution and price, in the order in which they are sent.
        terms: the limits that hold.
        new: images that the folder did not know before.
        died: images that a dead process left in ``submitting``: now unknown.
        retried_failed: failed images that are planned again.
        retried_unknown: unknown images that are planned again.
        fits: how many of the planned images the limits allow.
        fits_cost: US dollars for those.
    """

    sums: tuple[Sum, ...]
    kinds: tuple[Kind, ...]
    terms: Terms
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
        """True where nothing is to be submitted and nothing is under way."""
        return not self.planned and not self.under_way


def make_plan(
    sums: Sequence[Sum],
    kinds: Sequence[Kind],
    terms: Terms,
    *,
    new: int,
    died: int,
    retried_failed: int,
    retried_unknown: int,
) -> Plan:
    """Put the ledger's sums together.

    Raises:
        BadRequestError: there is a cost limit, and an image whose price nobody knows.
    """
    tally = Tally(sums, 0.0)
    unpriced = sum(kind.count for kind in kinds if kind.price is None)
    if terms.max_cost is not None and unpriced:
        models = ", ".join(sorted({kind.model for kind in kinds if kind.price is None}))
        raise BadRequestError(
            f"max_cost can't be kept: the price of {models} is not known ({unpriced} image(s)). "
            "Use max_images instead, or another model."
        )
    budget = Budget(terms.max_cost, terms.max_images, spent=tally.spent, images=tally.spent_images)
    fits, fits_cost = budget.fitting([(kind.price, kind.count) for kind in kinds])
    return Plan(
        sums=tuple(sums),
        kinds=tuple(kinds),
        terms=terms,
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
        fits_cost=fits_cost or NOTHING,
    )
