"""Each charge is reported by one call, also if the ledger can't be reached while a call reports."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from decimal import Decimal
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.errors import LedgerError
from apimaster.ledger import Ledger
from apimaster.ledger.schema import Where
from apimaster.ledger.spend import cost_to_report

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
