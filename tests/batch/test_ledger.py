"""The ledger: steps in order only, crashes marked, lists reconciled, money exact."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster.batch.items import BatchItem
from apimaster.batch.journal import Journal
from apimaster.batch.ledger import Ledger
from apimaster.batch.lines import Line, Reader
from apimaster.batch.steps import LedgerError, Step
from apimaster.batch.tally import Tally
from apimaster.errors import BadRequestError
from apimaster.results import GeneratedImage, Task

TASK = Task(id="task_1", model="gemini-3.1-flash-image-preview")


def lines(*entries: Any) -> list[Line]:
    reader = Reader()
    for number, entry in enumerate(entries, start=1):
        reader.add(number, entry)
    return reader.finish()


def item(ledger: Ledger, name: str) -> BatchItem:
    return next(each for each in ledger.items() if each.id == name)


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = Ledger.open(tmp_path)
    opened.enter(lines({"prompt": "x", "id": "a"}, {"prompt": "y", "id": "b", "resolution": "4K", "tags": ["t"]}))
    yield opened
    opened.close()


def test_an_image_goes_through_all_states(ledger: Ledger) -> None:
    done = TASK.model_copy(update={"status": "succeeded", "images": (GeneratedImage(url="https://x.example/1"),)})
    for step in (
        Step("b", "submitting", {"submitted_at": 1.0}, durable=True),
        Step("b", "submitted", {"task": TASK, "billed": "yes"}, durable=True),
        Step("b", "delivered", {"task": done}),
        Step("b", "saved", {"path": "images/b.png", "width": 4, "height": 5, "deviations": ["smaller"]}),
    ):
        ledger.apply([step])
    found = item(ledger, "b")
    assert (found.state, found.path, found.width, found.attempts, found.billed) == (
        "saved",
        "images/b.png",
        4,
        1,
        "yes",
    )
    assert found.task is not None
    assert (found.task.id, found.task.images[0].url) == ("task_1", "https://x.example/1")
    assert (found.price, found.cost, found.tags) == (Decimal("0.075"), Decimal("0.075"), ("t",))
    assert found.deviations == ("smaller",)
    assert BatchItem.model_validate_json(found.model_dump_json()).path == found.path


@pytest.mark.parametrize("state", ["submitted", "delivered", "saved", "failed", "unknown", "planned"])
def test_a_step_that_does_not_follow_is_refused_with_its_whole_commit(ledger: Ledger, state: Any) -> None:
    with pytest.raises(LedgerError, match="'a'"):
        ledger.apply([Step("b", "submitting"), Step("a", state)])
    assert {each.state for each in ledger.items()} == {"planned"}


def test_nothing_is_submitted_twice_from_one_plan(ledger: Ledger) -> None:
    ledger.apply([Step("a", "submitting")])
    with pytest.raises(LedgerError):
        ledger.apply([Step("a", "submitting")])


def test_columns_are_named_ones(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="can't set price"):
        ledger.apply([Step("a", "submitting", {"price": "0"})])


def test_what_died_in_a_submit_is_unknown_and_counts(ledger: Ledger) -> None:
    ledger.apply([Step("a", "submitting")])
    assert ledger.recover() == 1
    found = item(ledger, "a")
    assert (found.state, found.billed, found.cost) == ("unknown", "maybe", Decimal("0.0375"))
    assert [each.id for _, each in ledger.planned()] == ["b"]
    assert ledger.recover() == 0


def test_retrying_an_unknown_image_keeps_its_cost_and_its_task_on_the_books(ledger: Ledger) -> None:
    ledger.apply([Step("a", "submitting"), Step("b", "submitting")])
    ledger.apply([Step("a", "unknown", {"task": TASK, "billed": "maybe"}), Step("b", "failed", {"error": "no"})])
    assert (ledger.retry("failed"), ledger.retry("unknown")) == (1, 1)
    found = item(ledger, "a")
    assert (found.state, found.sunk, found.cost, found.task) == ("planned", Decimal("0.0375"), Decimal("0.0375"), None)
    assert item(ledger, "b").sunk == 0
    tally = Tally(ledger.sums(), 0.0)
    assert (tally.spent, tally.to_come) == (Decimal("0.0375"), Decimal("0.1125"))
    rows = ledger._connection.execute("SELECT earlier_tasks FROM items ORDER BY id").fetchall()
    assert rows == [("task_1",), ("",)]


def test_a_second_list_adds_sets_aside_and_never_changes(ledger: Ledger) -> None:
    assert ledger.enter(lines({"prompt": "x", "id": "a"}, {"prompt": "z", "id": "c"})) == 1
    assert [each.id for _, each in ledger.planned()] == ["a", "c"]
    assert Tally(ledger.sums(), 0.0).set_aside == 1
    assert ledger.enter(lines({"prompt": "y", "id": "b", "resolution": "4K"})) == 0
    assert [each.id for _, each in ledger.planned()] == ["b"]
    for changed in ({"prompt": "other", "id": "b"}, {"prompt": "x", "id": "A"}):
        with pytest.raises(BadRequestError, match="another request"):
            ledger.enter(lines(changed))
    assert [each.id for _, each in ledger.planned()] == ["b"], "a refused list changes nothing"


def test_what_is_paid_for_is_collected_whatever_the_list_says(ledger: Ledger) -> None:
    ledger.apply([Step("a", "submitting")])
    ledger.apply([Step("a", "submitted", {"task": TASK})])
    ledger.enter(lines({"prompt": "z", "id": "c"}))
    assert [each.id for _, each in ledger.under_way()] == ["a"]


def test_kinds_are_in_order(ledger: Ledger) -> None:
    ledger.enter(
        lines(*[{"prompt": f"p{number}", "resolution": tier} for number, tier in enumerate(["2K", "2K", "1K"])])
    )
    assert [(kind.resolution, kind.price, kind.count) for kind in ledger.kinds()] == [
        ("2K", Decimal("0.05"), 2),
        ("1K", Decimal("0.0375"), 1),
    ]


def test_looking_needs_a_ledger_and_a_known_version(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="no batch"):
        Ledger.look(tmp_path)
    Ledger.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for way in (Ledger.look, Ledger.open, Ledger.trial):
        with pytest.raises(BadRequestError, match="newer version"):
            way(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="can't be used"):
        Ledger.open(tmp_path)


def test_a_trial_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    trial = Ledger.trial(tmp_path)
    trial.enter(lines({"prompt": "z", "id": "c"}))
    trial.close()
    assert len(list(ledger.items())) == 2


def test_the_journal_commits_together_and_in_order(tmp_path: Path) -> None:
    async def work() -> tuple[int, list[str]]:
        journal = Journal(tmp_path)
        await journal.open()
        await journal.ask(lambda ledger: ledger.enter(lines(*[{"prompt": "x", "id": f"i{n}"} for n in range(200)])))
        gate = threading.Event()
        blocked = asyncio.ensure_future(journal.ask(lambda ledger: gate.wait(10)))
        steps = [asyncio.ensure_future(journal.write(Step(f"i{n}", "submitting"))) for n in range(200)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(blocked, *steps)
        states = await journal.ask(lambda ledger: [each.state for each in ledger.items()])
        commits = journal.commits
        await journal.close()
        await journal.close()
        with pytest.raises(LedgerError, match="closed"):
            await journal.write(Step("i0", "submitted"))
        return commits, states

    commits, states = asyncio.run(work())
    assert commits <= 3
    assert states == ["submitting"] * 200


def test_after_a_broken_commit_nothing_more_is_written(tmp_path: Path) -> None:
    async def work() -> None:
        journal = Journal(tmp_path)
        await journal.open()
        await journal.ask(lambda ledger: ledger.enter(lines({"prompt": "x", "id": "a"})))
        with pytest.raises(LedgerError, match="elsewhere"):
            await journal.write(Step("a", "saved"))
        with pytest.raises(LedgerError, match="out of order"):
            await journal.write(Step("a", "submitting"))
        assert await journal.ask(lambda ledger: [each.state for each in ledger.items()]) == ["planned"]
        await journal.close()

    asyncio.run(work())
