"""Each charge is reported by one call, also if the ledger can't be reached while a call reports."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.errors import LedgerError, TaskTimeoutError
from apimaster.ledger import Ledger
from apimaster.ledger.schema import Where
from apimaster.ledger.spend import cost_to_report, take_report_back

PRICE = Decimal("0.0375")
NOTHING = Decimal(0)


def away(*_: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(LedgerError("The ledger can't be reached."))
    return future


@pytest.fixture
def bought(ledger: Ledger, client_for: Callable[..., APIMaster]) -> Ledger:
    client_for(ledger).generate("a castle", n=2, idempotency_key="k")
    return ledger


def test_the_first_call_reports_what_it_has_got(bought: Ledger) -> None:
    where = Where(key="k")
    assert [cost_to_report(bought, where, NOTHING, images=images) for images in (1, 2, 2)] == [PRICE, PRICE, NOTHING]


@pytest.mark.parametrize(
    ("own", "next_one"),
    [
        (2 * PRICE, NOTHING),  # the buyer has reported it
        (None, NOTHING),  # without a figure, a list price is taken
        (NOTHING, 2 * PRICE),  # it has joined, and reported nothing: that is left to another call
    ],
)
@pytest.mark.parametrize("what", ["call", "take"])
def test_a_call_that_reports_while_the_ledger_is_away(
    bought: Ledger, monkeypatch: pytest.MonkeyPatch, own: Decimal | None, next_one: Decimal, what: str
) -> None:
    if what == "call":
        monkeypatch.setattr(bought, "call", away)
    else:
        take = bought.take

        def lost(step: Any) -> Future[Any]:
            return take(step) if step.owed else away()

        monkeypatch.setattr(bought, "take", lost)
    assert cost_to_report(bought, Where(key="k"), own, images=2) == own
    monkeypatch.undo()
    assert cost_to_report(bought, Where(key="k"), NOTHING, images=2) == next_one


def test_a_call_that_knows_the_task_alone_reports_once(bought: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(bought.rows(Where(key="k", index=1)))
    take = bought.take
    monkeypatch.setattr(bought, "take", lambda step: take(step) if step.owed else away())
    assert cost_to_report(bought, Where(task_id=row.task_id), PRICE) == PRICE
    monkeypatch.undo()
    assert cost_to_report(bought, Where(key="k"), NOTHING, images=2) == PRICE, "the other image of this key"


def test_what_is_paid_for_and_under_way_is_reported_once(
    ledger: Ledger, place: str, client_for: Callable[..., APIMaster], emulator: Emulator
) -> None:
    """By the call whose wait ended, or by one of another process that collects the picture."""
    emulator.latency = "manual"
    where = Where(key="k")
    with pytest.raises(TaskTimeoutError):
        client_for(ledger).generate("a castle", n=2, idempotency_key="k", timeout=0.3)
    assert cost_to_report(ledger, where, NOTHING, images=2) == NOTHING, "there is no picture"
    assert cost_to_report(ledger, where, NOTHING, images=1, claim="first", paid=True) == PRICE
    take_report_back(ledger, "k", "first", images=1)
    assert cost_to_report(ledger, where, NOTHING, images=1, paid=True) == PRICE
    emulator.latency = 0
    emulator.finish()
    with Ledger.open(place) as other:
        assert client_for(other).generate("a castle", n=2, idempotency_key="k").replayed
        assert cost_to_report(other, where, NOTHING, images=2) == PRICE, "the other image of this key"
    assert cost_to_report(ledger, where, NOTHING, images=2, paid=True) == NOTHING
    assert len(emulator.bill.charges) == 2


def test_of_calls_that_end_at_once_one_reports(
    ledger: Ledger, place: str, client_for: Callable[..., APIMaster]
) -> None:
    """In one process and in others: some with the picture, some without."""
    client_for(ledger).generate("a castle", idempotency_key="k")
    with Ledger.open(place) as other, ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(cost_to_report, opened, Where(key="k"), NOTHING, images=1, paid=paid)
            for opened in (ledger, other)
            for paid in (True, False) * 4
        ]
        assert sorted(each.result() or NOTHING for each in asked) == [NOTHING] * 15 + [PRICE]
