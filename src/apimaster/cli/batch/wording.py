"""The plan and the end of a run in sentences, for the command line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ...batch.plan import Plan
from ..printing import dollars, one_line

if TYPE_CHECKING:
    from ...batch.tally import Tally
    from ...ledger import Settlement

_REASONS: Final = 3
"""Reasons that are printed at most, the most common ones."""


def image_count(count: int) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def plan_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """What the run submits: model, resolution, how many images, at what price; a row for each combination."""
    found: Counter[tuple[str, str | None, Decimal | None]] = Counter()
    for group in plan.kinds:
        found[group.model, group.resolution, group.price] += group.count
    return [
        (model, resolution or "1K", f"{count:,}", dollars(price) if price is None else f"× {dollars(price)}")
        for (model, resolution, price), count in found.items()
    ]


def plan_lines(plan: Plan) -> Iterator[str]:
    """What a run would do and cost."""
    rows = plan_rows(plan)
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for model, resolution, count, price in rows:
        yield f"  {model.ljust(widths[0])}  {resolution.ljust(widths[1])}  {count.rjust(widths[2])} {price}"
    cost = dollars(plan.cost) + (f", and {image_count(plan.unpriced)} without a known price" if plan.unpriced else "")
    yield f"To submit: {image_count(plan.planned)}, {cost}." if plan.planned else "There is nothing to submit."
    if plan.fits < plan.planned:
        yield f"{limit_sentence(plan)}: that is enough for {image_count(plan.fits)}, {dollars(plan.fits_cost)}."
    if plan.retried_unknown:
        yield (
            f"{image_count(plan.retried_unknown)} of these may be paid for already (unknown): "
            "to submit them again may be a second charge."
        )
    if plan.under_way:
        yield f"To collect: {image_count(plan.under_way)}, paid for already, at no further cost."
    done = [
        f"{count:,} {state}"
        for count, state in ((plan.saved, "saved"), (plan.failed, "failed"), (plan.unknown, "unknown"))
        if count
    ]
    if done:
        yield f"In this folder already: {', '.join(done)}; spent or possibly spent {dollars(plan.spent)}."
    if plan.died:
        yield f"{image_count(plan.died)} of these became unknown when the last run died in the middle of a submit."
    if plan.set_aside:
        yield f"Not in this list, so not submitted: {image_count(plan.set_aside)} of an earlier one."


def settlement_lines(found: Settlement) -> Iterator[str]:
    """What the usage log told of unknown images, at the start of a run."""
    if found.note:
        yield f"The usage log told nothing of {image_count(len(found.still_unknown))}: {one_line(found.note)}"
        return
    parts = [
        f"{count:,} {outcome}"
        for count, outcome in (
            (len(found.recovered), "paid for"),
            (len(found.not_charged), "not charged"),
            (len(found.still_unknown), "still unknown"),
        )
        if count
    ]
    yield f"The usage log was asked about unknown images: {', '.join(parts)}."
    reasons = Counter(purchase.error.message for purchase in found.still_unknown if purchase.error is not None)
    for reason, count in reasons.most_common(_REASONS):
        yield f"  still unknown, {image_count(count)}: {one_line(reason)}"


def limit_sentence(plan: Plan) -> str:
    """The limits of the folder."""
    parts = []
    if plan.terms.max_cost is not None:
        parts.append(dollars(plan.terms.max_cost))
    if plan.terms.max_images is not None:
        parts.append(image_count(plan.terms.max_images))
    return f"The limit is {' and '.join(parts)} for this folder" if parts else "There is no limit"


def end_lines(tally: Tally, resume: str) -> Iterator[str]:
    """How a run ended; ``resume`` is the command that goes on with it."""
    counts = tally.counts
    parts = [f"{counts['saved']:,} saved"]
    parts += [f"{counts[state]:,} {state}" for state in ("failed", "unknown") if counts[state]]
    if tally.running:
        parts.append(f"{tally.running:,} still under way")
    if counts["planned"]:
        parts.append(f"{counts['planned']:,} not submitted")
    certain = not counts["unknown"] and tally.spent_images == counts["saved"] + tally.running
    yield f"{', '.join(parts)}; {'spent' if certain else 'spent or possibly spent'} {dollars(tally.spent)}."
    if counts["failed"]:
        yield f"Failed images cost nothing: {resume} --retry-failed tries them again."
    if counts["unknown"]:
        yield (
            f"Unknown images may be paid for. A minute after their requests, {resume} asks the account's usage log; "
            "--retry-unknown submits again what that can't tell, which may be a second charge."
        )


def duration(seconds: float) -> str:
    """``45 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
