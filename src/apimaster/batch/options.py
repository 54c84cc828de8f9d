"""What a caller may set for a run, checked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ..errors import BadRequestError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a batch, and how far.

    Attributes:
        concurrency: images under way at once, at most.
        timeout: seconds for one image, waiting included; None: by resolution.
        max_cost: US dollars that the folder may cost over all runs, exact; None: no limit, or that of the last run.
        max_images: images that the folder may pay for over all runs; None: likewise.
        retry_failed: plan failed images again; they cost nothing so far.
        retry_unknown: plan unknown images again; each may be charged a second time.
        continue_elsewhere: go on at another gateway than before; all that an emulator drew is bought.
        emulated: this is an emulator that ends with the command.
    """

    concurrency: int = 32
    timeout: float | None = None
    max_cost: Decimal | None = None
    max_images: int | None = None
    retry_failed: bool = False
    retry_unknown: bool = False
    continue_elsewhere: bool = False
    emulated: bool = False


def check_options(
    *,
    concurrency: int = 32,
    timeout: float | None = None,
    max_cost: Decimal | int | str | float | None = None,
    max_images: int | None = None,
    retry_failed: bool = False,
    retry_unknown: bool = False,
    continue_elsewhere: bool = False,
    emulated: bool = False,
) -> RunOptions:
    """The options, checked.

    Raises:
        BadRequestError: one is not accepted.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise BadRequestError(f"concurrency must be a whole number, 1 or more, not {concurrency!r}")
    if max_images is not None and (isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 0):
        raise BadRequestError(f"max_images must be a whole number, 0 or more, not {max_images!r}")
    return RunOptions(
        concurrency=concurrency,
        timeout=timeout,
        max_cost=read_max_cost(max_cost),
        max_images=max_images,
        retry_failed=retry_failed,
        retry_unknown=retry_unknown,
        continue_elsewhere=continue_elsewhere,
        emulated=emulated,
    )


def read_max_cost(value: Decimal | int | str | float | None) -> Decimal | None:
    """A limit in US dollars, exact: a float counts as the amount that it prints as.

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
        raise BadRequestError(f"max_cost must be an amount in US dollars, 0 or more, such as 2.50, not {value!r}")
    return amount
