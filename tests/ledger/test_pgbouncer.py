"""A ledger behind PgBouncer in transaction mode, where nothing that relies on the session works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from pgbouncer import PgBouncer
from postgres import PostgresServer

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.errors import BudgetExceededError
from apimaster.ledger import Ledger


@pytest.fixture
def pooled(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a new database, through the pooler."""
    with PgBouncer(postgres) as pooler:
        yield pooler.url(postgres.new_database())


def test_many_ledgers_share_two_connections(pooled: str, emulator: Emulator) -> None:
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: Ledger.open(pooled), range(8)))

        def ask(ledger: Ledger) -> list[str | None]:
            with APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
                results = [client.generate(f"castle {number}", idempotency_key=f"k{number}") for number in range(10)]
            return [result.images[0].url for result in results]

        answers = list(pool.map(ask, ledgers))
    assert all(each == answers[0] for each in answers)
    assert len(emulator.bill.charges) == 10
    for ledger in ledgers:
        ledger.close()


def test_budgets_hold_behind_it(pooled: str, emulator: Emulator) -> None:
    with Ledger.open(pooled) as ledger, Ledger.open(pooled) as other:
        ledger.set_budget("b", usd="0.10")

        def spend(ledger: Ledger) -> int:
            refused = 0
            with APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
                for _ in range(5):
                    try:
                        client.generate("a castle", budget="b")
                    except BudgetExceededError:  # noqa: PERF203  # a refusal is one answer of several
                        refused += 1
            return refused

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(spend, (ledger, other))) == 8
        assert ledger.budgets()[0].usd == Decimal("0.075") == emulator.bill.total
