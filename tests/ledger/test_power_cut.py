"""What survives a power cut: with which setting each transaction commits, as the database itself sees it.

SQLite tells each statement that it runs; in PostgreSQL a deferred trigger looks at the setting when the commit begins.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger
from apimaster.ledger.steps import (
    Begin,
    Delivered,
    Ended,
    Left,
    NotLooked,
    Release,
    Settle,
    Step,
    Submitted,
    Submitting,
    error_json,
)

REQUEST = '{"prompt": "a castle", "model": "gemini-3.1-flash-image-preview"}'
TASK = '{"id": "t", "model": "m"}'
ERROR = error_json("InternalServerError", "It went wrong.", "no")
BEGIN = Begin(key="k", claim="c", digest="d", request=REQUEST, price=Decimal("0.0375"), budget=None, account="a")
TRIGGER = """
CREATE TABLE seen (at integer GENERATED ALWAYS AS IDENTITY, transaction xid8, setting text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.seen (transaction, setting)
    SELECT pg_current_xact_id(), current_setting('synchronous_commit')
    WHERE NOT EXISTS (SELECT 1 FROM public.seen WHERE transaction = pg_current_xact_id());
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON apimaster.purchase
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
"""


class Commits:
    """Whether each transaction that changes purchases is flushed to the disk before its commit is answered."""

    def __init__(self, ledger: Ledger, place: str) -> None:
        self._ledger = ledger
        self._place = place
        self._flushed: list[bool] = []
        if place.startswith("sqlite"):
            ledger.call(self._trace).result()
        else:
            with psycopg.connect(place) as database:
                database.execute(TRIGGER)

    def flushed(self) -> list[bool]:
        """One for each transaction since the last call, oldest first."""
        if self._place.startswith("sqlite"):
            mode = self._ledger.call(lambda each: _synchronous(each)).result()
            assert mode == self._mode, "the trace is what the database does"
            found, self._flushed = self._flushed, []
            return found
        with psycopg.connect(self._place) as database:
            settings = database.execute("SELECT setting FROM seen ORDER BY at").fetchall()
            database.execute("DELETE FROM seen")
        assert {setting for (setting,) in settings} <= {"on", "off"}
        return [setting == "on" for (setting,) in settings]

    def _trace(self, backend: Any) -> None:
        (journal,) = backend.connection.execute("PRAGMA journal_mode").fetchone()
        assert journal == "wal"
        self._mode = _synchronous(backend)
        self._writes = False
        backend.connection.set_trace_callback(self._see)

    def _see(self, statement: str) -> None:
        if statement.startswith("PRAGMA synchronous ="):
            self._mode = {"FULL": 2, "NORMAL": 1}[statement.split()[-1]]
        elif statement.startswith("BEGIN"):
            self._writes = False
        elif statement.startswith(("INSERT INTO purchase", "UPDATE purchase", "DELETE FROM purchase")):
            self._writes = True
        elif statement == "COMMIT" and self._writes:
            self._flushed.append(self._mode == 2)


def _synchronous(backend: Any) -> int:
    (mode,) = backend.connection.execute("PRAGMA synchronous").fetchone()
    return int(mode)


CASES: list[tuple[str, list[Step], Step, bool]] = [
    ("the request goes out", [], BEGIN, True),
    ("it goes out again", [BEGIN], Submitting(key="k", claim="c", one_shot=True), True),
    ("a task", [BEGIN], Submitted(key="k", claim="c", task_id="t", task=TASK), True),
    ("a picture without a task", [BEGIN], Delivered(key="k", claim="c", images="[]"), True),
    ("it failed", [BEGIN], Ended(key="k", claim="c", state="failed", error=ERROR), True),
    ("nobody knows", [BEGIN], Ended(key="k", claim="c", state="unknown", error=ERROR), True),
    (
        "it is settled",
        [BEGIN, Ended(key="k", claim="c", state="unknown", error=ERROR)],
        Settle(key="k", state="submitted", task_id="t", task=TASK),
        True,
    ),
    (
        "the picture of a task",  # a poll, which is free, would find it again
        [BEGIN, Submitted(key="k", claim="c", task_id="t", task=TASK)],
        Delivered(key="k", claim="c", images="[]", task_id="t"),
        False,
    ),
    (
        "the picture of a task, saved",
        [BEGIN, Submitted(key="k", claim="c", task_id="t", task=TASK)],
        Delivered(key="k", claim="c", images="[]", task_id="t", saved=True),
        False,
    ),
    ("it is given back", [BEGIN], Release(key="k", claim="c", unsent=True), False),
    ("the caller has gone", [BEGIN], Left(key="k"), False),
    (
        "the log could not be read",
        [BEGIN, Ended(key="k", claim="c", state="unknown", error=ERROR)],
        NotLooked(key="k", asked_at=None, settled_at=5.0),
        False,
    ),
]


@pytest.mark.parametrize(("before", "step", "flushed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_steps_that_concern_money_are_flushed(place: str, before: list[Step], step: Step, flushed: bool) -> None:
    with Ledger.open(place, heartbeat=3600) as ledger:
        for each in before:
            ledger.take(each).result()
        commits = Commits(ledger, place)
        ledger.take(step).result()
        assert commits.flushed() == [flushed]


def test_a_setting_does_not_outlive_its_transaction(place: str) -> None:
    """The connection is the same: what does not need a flush before or after must not take it away."""
    with Ledger.open(place, heartbeat=3600) as ledger:
        commits = Commits(ledger, place)
        for number in range(3):
            ledger.take(replace(BEGIN, key=f"k{number}")).result()
            ledger.take(Left(key=f"k{number}")).result()
        assert commits.flushed() == [True, False] * 3


def test_a_group_with_one_step_that_concerns_money_is_flushed(place: str) -> None:
    with Ledger.open(place, heartbeat=3600) as ledger:
        ledger.take(BEGIN).result()
        commits = Commits(ledger, place)
        group: list[Step] = [Left(key="k"), Submitted(key="k", claim="c", task_id="t", task=TASK), Left(key="k")]
        worker = ledger._writer.get().worker
        ledger.call(lambda each: each.apply(group, worker, lease=60.0, beat=False)).result()
        assert commits.flushed() == [True]


@pytest.mark.parametrize(
    ("mode", "dialect", "expected"),
    [
        ("async", "tracked", [True, True, False, False]),  # submitting, submitted, delivered, saved
        ("sync", "tracked", [True, True, True]),  # submitting, delivered, saved: no poll would find it again
    ],
)
def test_the_steps_of_a_call(
    place: str, emulator: Emulator, tmp_path: Path, mode: Any, dialect: str, expected: list[bool]
) -> None:
    emulator.dialect = dialect
    with (
        Ledger.open(place, heartbeat=3600) as ledger,
        APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client,
    ):
        commits = Commits(ledger, place)
        client.generate("a castle", idempotency_key="k", mode=mode, save_to=tmp_path / "castle.png")
        assert commits.flushed() == expected
