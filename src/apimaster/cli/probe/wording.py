"""The lines of a probe, for a person and for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...emulator.transcript import Transcript
from ..printing import dollars, one_line
from .fact import Outcome, State
from .plan import ASPECT_RATIO, PLAN, RESOLUTION, Plan

_LABELS: Final[dict[State, str]] = {"holds": "holds", "differs": "DIFFERS", "not seen": "not seen"}


def fact_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """The facts below the heading of docs/endpoint.md that says them, two lines for each."""
    lines: list[str] = []
    for section in dict.fromkeys(outcome.fact.section for outcome in outcomes):
        lines += ["", f'docs/endpoint.md, "{section}"']
        for outcome in outcomes:
            if outcome.fact.section == section:
                lines.append(f"{_LABELS[outcome.seen.state]:>8}  {outcome.fact.belief}")
                lines.append(f"{'':>8}  seen: {one_line(outcome.seen.text)}")
    return lines


def sum_line(outcomes: Sequence[Outcome]) -> str:
    """How many facts hold, differ, and were not seen."""
    count = {state: sum(outcome.seen.state == state for outcome in outcomes) for state in _LABELS}
    text = f"{count['holds']} facts hold, {count['differs']} differ, {count['not seen']} were not seen."
    if count["differs"]:
        names = ", ".join(outcome.fact.name for outcome in outcomes if outcome.seen.state == "differs")
        return f"{text} Different: {names}."
    if count["not seen"]:
        return f"{text} Nothing differs; what was not seen could not be checked."
    return text


def plan_lines(plan: Plan) -> list[str]:
    """What a probe would buy."""
    lines = [f"{PLAN[step]}, {ASPECT_RATIO} at {RESOLUTION}: {dollars(plan.price)}" for step in plan.steps]
    total = plan.price * len(plan.steps)
    return [
        "The probe buys, at list prices:",
        *(f"  {line}" for line in lines),
        f"Together {dollars(total)}; the limit is {dollars(plan.limit)}. A picture may cost more than the list says:",
        "before each purchase the probe counts the dearest known price, and stops before the sum could pass the limit.",
    ]


def purchase_lines(transcript: Transcript) -> list[str]:
    """What became of each purchase."""
    words = {
        "sent": "no reply was recorded: it may be charged; look at `apimaster account` before you buy it again",
        "task": "paid for, and not here yet",
        "delivered": "delivered",
        "failed": "failed; its charge is given back",
        "refused": "refused, not charged",
        "unknown": "unknown: it may be charged; look at `apimaster account` before you buy it again",
    }
    lines = []
    for each in transcript.purchases:
        task = f" (task {each.task_id})" if each.task_id else ""
        lines.append(f"{PLAN.get(each.step, f'a picture at {RESOLUTION}')}: {words[each.state]}{task}")
    return lines


def document(transcript: Transcript, outcomes: Sequence[Outcome], *, path: str, code: int) -> dict[str, Any]:
    """The probe as one JSON object."""
    return {
        "ok": code == 0,
        "facts": [outcome.document() for outcome in outcomes],
        "purchases": [
            {"step": each.step, "state": each.state, "list_price": each.list_price, "task_id": each.task_id or None}
            for each in transcript.purchases
        ],
        "model": transcript.model,
        "transcript": path,
        "exit_code": code,
    }
