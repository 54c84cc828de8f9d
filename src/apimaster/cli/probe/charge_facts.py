"""The facts about what the pictures of a probe have cost, and what the gateway's books say of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from ...catalog import spec_for
from ...emulator.recorded import PURCHASES, QUOTA_PER_DOLLAR, charged, member, objects
from ...emulator.transcript import Transcript
from ..printing import dollars
from .fact import Fact, Seen, differs, holds, not_seen, verdict
from .plan import NEXT_RESOLUTION, RESOLUTION, bought_at


def _charges(transcript: Transcript) -> Seen:
    found = charged(transcript)
    price = spec_for(transcript.model).price(bought_at(transcript))
    if not found or price is None:
        return not_seen("the log shows no charge of this probe")
    amounts = sorted(set(found.values()))
    return verdict(amounts == [price], ", ".join(dollars(amount) for amount in amounts))


def _once(transcript: Transcript) -> Seen:
    delivered = [each.step for each in transcript.purchases if each.state == "delivered"]
    rows = [row.get("<own>") for row in _own_rows(transcript) if row.get("type") == 2]
    if not delivered or not rows:
        return not_seen("the log shows no charge of this probe")
    wrong = [step for step in delivered if rows.count(step) != 1]
    return verdict(not wrong, f"{len(rows)} charges for {len(delivered)} pictures")


def _books_agree(transcript: Transcript) -> Seen:
    found = charged(transcript)
    steps = ("account_before_purchases", *(f"account_after_{step}" for step in PURCHASES))
    looks = [each for step in steps for each in transcript.all(step, "usage")]
    used = [value for each in looks if isinstance(value := member(each.body, "data", "total_used"), (int, float))]
    if len(used) < 2 or not found:
        return not_seen("log and figures were not both there")
    by_figures, by_log = Decimal(str(used[-1] - used[0])) / QUOTA_PER_DOLLAR, sum(found.values(), Decimal(0))
    return verdict(by_figures == by_log, f"{dollars(by_figures)} by the figures, {dollars(by_log)} by the log")


def _own_rows(transcript: Transcript) -> list[dict[str, Any]]:
    log = transcript.last("log", "log")
    return [] if log is None else [row for row in objects(member(log.body, "data") or []) if row.get("<own>")]


def _log_details(transcript: Transcript) -> Seen:
    rows = [row for row in _own_rows(transcript) if row.get("type") == 2]
    if not rows:
        return not_seen("the log shows no charge of this probe")
    with_task = {each.step for each in transcript.purchases if each.task_id}
    for row in rows:
        details = member(row, "other", "<json text>")
        asked = member(details, "request_data")
        missing = [name for name in ("model", "prompt", "n", "effective_resolution") if member(asked, name) is None]
        if row["<own>"] in with_task and member(details, "task_id") is None:
            missing.append("task_id")
        if missing:
            return differs(f"{row['<own>']}: without {', '.join(missing)}")
        if str(asked["effective_resolution"]).lower() != bought_at(transcript).lower():
            return differs(f"{row['<own>']}: charged as {asked['effective_resolution']}")
    return holds("task, model, prompt, n and effective_resolution")


CHARGE_FACTS: Final = tuple(
    Fact(name, section, belief, check, paid=True)
    for name, section, belief, check in (
        ("charge", "Price", f"{RESOLUTION} and {NEXT_RESOLUTION} cost the list price, $0.0375", _charges),
        ("charged_once", "The account's own books", "Each picture is charged once", _once),
        ("log_details", "The account's own books", "The row of a charge says what was asked for", _log_details),
        ("books_agree", "The account's own books", "The key's figures rise by what the log says", _books_agree),
    )
)
