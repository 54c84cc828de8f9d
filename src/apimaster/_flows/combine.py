"""Combine the outcomes of a call's images into one result, or into the most serious error.

A result holds the images that succeeded and names those that failed; a call raises only if all failed. A picture that
was made and could not be downloaded is in both: in ``images``, with its URL, and in ``failures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ..errors import APIMasterError, Billed, DownloadError
from ..request import ImageRequest
from ..results import GeneratedImage, ImageFailure, ImageResult, Task


@dataclass(frozen=True, slots=True)
class Delivery:
    """One image that was delivered, with its pictures and its task.

    ``replayed``: an earlier call bought it, or another one did, with ``request``; ``cost``: US dollars as the ledger
    knows them, None for the list price; ``charged``: that is what the usage log says; ``counted``: another call reports
    that cost; ``model``: the id that was sent, if there is no task that names it.
    """

    images: tuple[GeneratedImage, ...]
    task: Task | None
    request: ImageRequest | None = None
    replayed: bool = False
    cost: Decimal | None = None
    counted: bool = False
    charged: bool = False
    model: str | None = None


# Of several errors, a call raises the one that costs most if the caller ignores it.
_WEIGHT: Final[dict[Billed, int]] = {"maybe": 2, "yes": 1, "no": 0}


def combine(
    outcomes: Sequence[Delivery | APIMasterError],
    *,
    request: ImageRequest | None,
    model: str,
    price: Decimal | None,
    price_list: str = "",
) -> ImageResult:
    """One result for all images of a call, in the order of the request.

    ``price`` is US dollars per image by ``price_list``: a task is one charge, however many pictures it delivers.

    Raises:
        APIMasterError: every image failed; the error names all their tasks and failures.
    """
    images: list[GeneratedImage] = []
    tasks: list[Task] = []
    failures: list[ImageFailure] = []
    costs: list[Decimal | None] = []
    counted: list[Decimal | None] = []
    by_list = False
    sent: str | None = None
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, APIMasterError):
            failures.append(ImageFailure.of(index, outcome))
        pictures = outcome.images if isinstance(outcome, (Delivery, DownloadError)) else ()
        if pictures:
            cost = outcome.cost if isinstance(outcome, Delivery) and outcome.cost is not None else price
            costs.append(cost)
            charged = isinstance(outcome, Delivery) and outcome.charged
            by_list |= cost is not None and cost == price and not charged
            if isinstance(outcome, Delivery) and outcome.counted:
                counted.append(cost)
            if sent is None and isinstance(outcome, Delivery):
                sent = outcome.model if outcome.task is None else outcome.task.model
        first = len(images)
        images.extend(picture.model_copy(update={"index": first + offset}) for offset, picture in enumerate(pictures))
        if outcome.task is not None:
            tasks.append(outcome.task)
    errors = [outcome for outcome in outcomes if isinstance(outcome, APIMasterError)]
    if len(errors) == len(outcomes):
        raise worst(errors, images, tasks, failures)
    return ImageResult(
        images=tuple(images),
        cost=_sum(costs),
        replayed=all(outcome.replayed for outcome in outcomes if isinstance(outcome, Delivery)),
        replayed_cost=_sum(counted) or Decimal(0),
        model=sent or model,
        tasks=tuple(tasks),
        failures=tuple(failures),
        request=request,
        price_list=price_list or None if by_list else None,
    )


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """The sum, or None if an amount is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def worst(
    errors: Sequence[APIMasterError],
    images: Sequence[GeneratedImage],
    tasks: Sequence[Task],
    failures: Sequence[ImageFailure],
) -> APIMasterError:
    """The most serious error, completed with the tasks and failures of the others: a task id must never get lost."""
    error = max(errors, key=lambda each: _WEIGHT[each.billed])
    if len(errors) > 1:
        error.message = f"None of {len(errors)} images arrived. The most serious reason: {error.message}"
        error.args = (error.message,)
        error.tasks = tuple(tasks)
        error.failures = tuple(failures)
        # A retry is safe only if it is safe for all of them: another image of this call may be paid for.
        error.retryable = all(each.retryable for each in errors)
        if isinstance(error, DownloadError):
            error.images = tuple(images)
    return error
