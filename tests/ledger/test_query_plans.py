"""What a purchase asks of SQLite is looked up by an index: it must not take longer the more a ledger holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apimaster.ledger.backend import Worker
from apimaster.ledger.schema import Where
from apimaster.ledger.sqlite import SQLiteBackend
from apimaster.ledger.steps import Begin, Delivered, Ended, Reap, Release, Settle, Step, Submitted

KEYS = ("one", "two", "three")
PARTIAL = re.compile("purchase_(unknown|planned|owned)$")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SQLiteBackend]:
    made = SQLiteBackend(tmp_path / "ledger.db")
    yield made
    made.close()


def for_each(step: Callable[[str], Step]) -> list[Step]:
    return [step(key) for key in KEYS]


GROUPS = {
    "Begin": for_each(
        lambda key: Begin(key=key, claim=key, digest="d", request="{}", price=None, budget=None, account="a")
    ),
    "Submitted": for_each(lambda key: Submitted(key=key, claim=key, task_id=key, task="{}")),
    "Delivered": for_each(lambda key: Delivered(key=key, claim=key, task_id=key, images="[]")),
    "Ended": for_each(lambda key: Ended(key=key, claim=key, task_id=key, state="failed", error="{}")),
    "Release": for_each(lambda key: Release(key=key, claim=key)),
    "Reap": for_each(lambda key: Reap(key=key)),
    "Settle": for_each(lambda key: Settle(key=key, state="submitted", task_id=key, task="{}")),
}

LOOKED_UP = {
    "its key": Where(key="one"),
    "its image": Where(key="one", index=0),
    "several keys": Where(keys=KEYS),
    "keys that begin alike": Where(key_prefix="o"),
    "a task": Where(task_id="one"),
    "several tasks": Where(task_ids=KEYS),
    "an alias": Where(alias="one", states=("submitted", "delivered"), account="a"),
    "unknown": Where(states=("unknown",)),
    "planned": Where(states=("planned",)),
    "those of a batch with a process at work": Where(key_prefix="o", owned=True),
}


def scans(backend: SQLiteBackend, run: Callable[[], object]) -> list[str]:
    """The statements among those of ``run`` that read all purchases. A partial index is no more than was asked for."""
    statements: list[str] = []
    backend.connection.set_trace_callback(statements.append)  # with the values in them
    run()
    backend.connection.set_trace_callback(None)
    assert any("purchase" in each for each in statements)
    found = []
    for each in statements:
        if "purchase" in each:
            plan = backend.connection.execute(f"EXPLAIN QUERY PLAN {each}").fetchall()
            found += [each for *_, detail in plan if detail.startswith("SCAN purchase") and not PARTIAL.search(detail)]
    return found


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_of_steps_looks_its_rows_up(name: str, backend: SQLiteBackend) -> None:
    worker = Worker()
    backend.apply(GROUPS["Begin"], worker, lease=60, beat=True)
    assert scans(backend, lambda: backend.apply(GROUPS[name], worker, lease=60, beat=True)) == []


@pytest.mark.parametrize("name", LOOKED_UP)
def test_what_calls_ask_is_looked_up(name: str, backend: SQLiteBackend) -> None:
    def ask() -> Any:
        return backend.rows(LOOKED_UP[name], None, 10)

    assert scans(backend, ask) == []


def test_the_rows_of_dead_processes_are_looked_up(backend: SQLiteBackend) -> None:
    assert scans(backend, lambda: backend.orphans(60)) == []
