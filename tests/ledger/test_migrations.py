"""A ledger of an earlier version, opened by this one: its rows are there, and what can't be upgraded is refused.

Most tests make the way to a version that comes after this one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError, LedgerError
from apimaster.ledger import Ledger
from apimaster.ledger.migrations import MIGRATIONS, Migration, pending_statements
from apimaster.ledger.schema import VERSION, Where
from apimaster.ledger.spend import cost_to_report

NEXT = Migration(
    sqlite=(
        'ALTER TABLE purchase ADD COLUMN "unknown_since" REAL',
        'CREATE INDEX purchase_by_task ON purchase ("task_id") WHERE "task_id" IS NOT NULL',
    ),
    postgres=(
        'ALTER TABLE apimaster.purchase ADD COLUMN "unknown_since" double precision',
        'CREATE INDEX purchase_by_task ON apimaster.purchase ("task_id") WHERE "task_id" IS NOT NULL',
    ),
)
BROKEN = Migration(
    sqlite=(*NEXT.sqlite, "INSERT INTO nowhere VALUES (1)"), postgres=(*NEXT.postgres, "INSERT INTO nowhere VALUES (1)")
)
"""Fails after its other statements: as if the process were killed there, nothing of it may stay."""


def run_sql(place: str, *statements: str) -> list[tuple[object, ...]]:
    """Statements on the database itself; the rows of the last one."""
    if place.startswith("sqlite"):
        connection = sqlite3.connect(place.removeprefix("sqlite:///"))
        try:
            with connection:
                return [connection.execute(each).fetchall() for each in statements][-1]
        finally:
            connection.close()
    with psycopg.connect(place) as database:
        found = [database.execute(each) for each in statements][-1]  # type: ignore[arg-type]
        return found.fetchall() if found.description else []


def version(place: str) -> object:
    query = "PRAGMA user_version" if place.startswith("sqlite") else "SELECT max(version) FROM apimaster.version"
    return run_sql(place, query)[0][0]


def set_version(place: str, number: int) -> None:
    sqlite = place.startswith("sqlite")
    run_sql(place, f"PRAGMA user_version = {number}" if sqlite else f"UPDATE apimaster.version SET version = {number}")


def take_back(place: str) -> None:
    """What ``NEXT`` adds is not in the tables yet."""
    schema = "" if place.startswith("sqlite") else "apimaster."
    run_sql(
        place,
        f"DROP INDEX {schema}purchase_by_task",
        f'ALTER TABLE {schema}purchase DROP COLUMN "unknown_since"',
    )


def raise_version(monkeypatch: pytest.MonkeyPatch, migrations: dict[int, Migration], to: int = VERSION + 1) -> None:
    monkeypatch.setattr("apimaster.ledger.migrations.MIGRATIONS", migrations)
    monkeypatch.setattr("apimaster.ledger.migrations.VERSION", to)


@pytest.fixture
def earlier(place: str, emulator: Emulator, client_for: Callable[[Ledger], APIMaster]) -> str:
    """The place of a ledger of the version before the next one, with a picture and a budget in it."""
    with Ledger.open(place) as ledger:
        ledger.set_budget("b", usd=1)
        client_for(ledger).generate("a castle", idempotency_key="k", budget="b")
    take_back(place)
    return place


def test_a_ledger_of_an_earlier_version_keeps_its_purchases(
    earlier: str, emulator: Emulator, client_for: Callable[[Ledger], APIMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_version(monkeypatch, {VERSION: NEXT})
    with Ledger.open(earlier) as ledger:
        assert version(earlier) == VERSION + 1
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.budget, purchase.request.prompt) == ("delivered", "b", "a castle")
        assert ledger.budgets()[0].images == 1
        client = client_for(ledger)
        assert client.generate("a castle", idempotency_key="k", budget="b").replayed
        assert not client.generate("a house", idempotency_key="l", budget="b").replayed
    Ledger.open(earlier).close()
    assert version(earlier) == VERSION + 1
    assert len(emulator.bill.charges) == 2


def test_several_versions_are_made_up_for_at_once(earlier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Migration(sqlite=(NEXT.sqlite[number],), postgres=(NEXT.postgres[number],)) for number in range(2))
    raise_version(monkeypatch, {VERSION: first, VERSION + 1: second}, to=VERSION + 2)
    with Ledger.open(earlier) as ledger:
        assert ledger.get("k") is not None
    assert version(earlier) == VERSION + 2


def test_of_many_that_open_it_at_once_one_upgrades_it(earlier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_version(monkeypatch, {VERSION: NEXT})
    with ThreadPoolExecutor(8) as pool:
        for ledger in pool.map(lambda _: Ledger.open(earlier), range(8)):
            assert ledger.get("k") is not None
            ledger.close()
    assert version(earlier) == VERSION + 1


def test_an_upgrade_that_fails_in_the_middle_leaves_the_earlier_version(
    earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_version(monkeypatch, {VERSION: BROKEN})
    with pytest.raises(LedgerError, match="nowhere"):
        Ledger.open(earlier)
    assert version(earlier) == VERSION
    raise_version(monkeypatch, {VERSION: NEXT})
    with Ledger.open(earlier) as ledger:
        assert ledger.get("k") is not None


@pytest.mark.parametrize(("gap", "old"), [(VERSION, VERSION), (VERSION + 1, VERSION)])
def test_a_version_without_a_way_to_this_one_is_refused(
    earlier: str, monkeypatch: pytest.MonkeyPatch, gap: int, old: int
) -> None:
    known = {VERSION: NEXT, VERSION + 1: NEXT}
    del known[gap]
    raise_version(monkeypatch, known, to=VERSION + 2)
    with pytest.raises(BadRequestError, match=f"tables of version {old}") as caught:
        Ledger.open(earlier)
    assert f"an earlier apimaster that knows version {old}" in caught.value.advice
    assert version(earlier) == old, "and nothing of it is changed"


def test_version_1_is_never_taken_for_this_one(place: str) -> None:
    Ledger.open(place).close()
    set_version(place, 1)
    with pytest.raises(BadRequestError, match=r"ledger of a batch|tables of version 1"):
        Ledger.open(place)
    assert version(place) == 1


def test_version_2_marked_what_was_reported_in_the_place_of_the_claim(
    place: str, client_for: Callable[[Ledger], APIMaster]
) -> None:
    with Ledger.open(place) as ledger:
        client_for(ledger).generate("a castle", n=2, idempotency_key="k")
    table = "purchase" if place.startswith("sqlite") else "apimaster.purchase"
    run_sql(
        place,
        f'ALTER TABLE {table} DROP COLUMN "reported"',
        f'UPDATE {table} SET "claim" = \'reported-0123\' WHERE "index" = 1',
    )
    set_version(place, 2)
    with Ledger.open(place) as ledger:
        first, second = ledger.rows(Where(key="k"))
        assert (first.reported, second.reported, second.claim) == (None, "0123", None)
        assert first.claim is not None
        assert cost_to_report(ledger, Where(key="k"), None) == first.price
        assert cost_to_report(ledger, Where(key="k"), None) == 0
    assert version(place) == VERSION


def test_there_is_a_way_from_each_version_to_this_one() -> None:
    assert sorted(MIGRATIONS) == list(range(2, VERSION))
    for start, postgres in ((each, backend) for each in range(2, VERSION) for backend in (True, False)):
        assert pending_statements(start, "name", postgres=postgres)
    assert pending_statements(VERSION, "name", postgres=True) == []


def test_a_refused_file_is_let_go(tmp_path: Path) -> None:
    place = tmp_path / "purchases.db"
    Ledger.open(place).close()
    set_version(f"sqlite:///{place}", VERSION + 1)
    with pytest.raises(BadRequestError, match="newer version"):
        Ledger.open(place)
    assert [each.name for each in tmp_path.iterdir()] == ["purchases.db"], "its connection is closed"
