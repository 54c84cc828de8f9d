"""The ledger: transitions in order only, crashes marked, lists reconciled, money exact."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster.batch.image_list import ImageListBuilder, PlannedImage
from apimaster.batch.items import BatchItem
from apimaster.batch.ledger import BatchLedger
from apimaster.batch.ledger_records import Transition
from apimaster.batch.ledger_writer import LedgerWriter
from apimaster.batch.tally import Tally
from apimaster.errors import BadRequestError, LedgerError
from apimaster.results import GeneratedImage, Task

TASK = Task(id="task_1", model="gemini-3.1-flash-image-preview")


def planned(*entries: Any) -> list[PlannedImage]:
    builder = ImageListBuilder()
    for number, entry in enumerate(entries, start=1):
        builder.add(number, entry)
    return builder.finish()


def item(ledger: BatchLedger, name: str) -> BatchItem:
    return next(each for each in ledger.items() if each.id == name)


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = BatchLedger.open(tmp_path)
    opened.update_list(
        planned({"prompt": "x", "id": "a"}, {"prompt": "y", "id": "b", "resolution": "4K", "tags": ["t"]})
    )
    yield opened
    opened.close()


def test_an_image_goes_through_all_states(ledger: BatchLedger) -> None:
    done = TASK.model_copy(update={"status": "succeeded", "images": (GeneratedImage(url="https://x.example/1"),)})
    for transition in (
        Transition("b", "submitting", {"submitted_at": 1.0}, durable=True),
        Transition("b", "submitted", {"task": TASK, "billed": "yes"}, durable=True),
        Transition("b", "delivered", {"task": done}),
        Transition("b", "saved", {"path": "images/b.png", "width": 4, "height": 5, "deviations": ["smaller"]}),
    ):
        ledger.apply([transition])
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
def test_a_transition_that_does_not_follow_is_refused_with_its_whole_commit(ledger: BatchLedger, state: Any) -> None:
    with pytest.raises(LedgerError, match="'a'"):
        ledger.apply([Transition("b", "submitting"), Transition("a", state)])
    assert {each.state for each in ledger.items()} == {"planned"}


def test_nothing_is_submitted_twice_from_one_plan(ledger: BatchLedger) -> None:
    ledger.apply([Transition("a", "submitting")])
    with pytest.raises(LedgerError):
        ledger.apply([Transition("a", "submitting")])


def test_a_transition_sets_only_known_columns(ledger: BatchLedger) -> None:
    with pytest.raises(LedgerError, match="can't set price"):
        ledger.apply([Transition("a", "submitting", {"price": "0"})])


def test_an_image_whose_submit_died_is_unknown_and_counts_as_spent(ledger: BatchLedger) -> None:
    ledger.apply([Transition("a", "submitting")])
    assert ledger.recover() == 1
    found = item(ledger, "a")
    assert (found.state, found.billed, found.cost) == ("unknown", "maybe", Decimal("0.0375"))
    assert [each.id for _, each in ledger.planned()] == ["b"]
    assert ledger.recover() == 0


def test_retrying_an_unknown_image_keeps_its_cost_and_its_task(ledger: BatchLedger) -> None:
    ledger.apply([Transition("a", "submitting"), Transition("b", "submitting")])
    ledger.apply(
        [Transition("a", "unknown", {"task": TASK, "billed": "maybe"}), Transition("b", "failed", {"error": "no"})]
    )
    assert (ledger.retry("failed"), ledger.retry("unknown")) == (1, 1)
    found = item(ledger, "a")
    assert (found.state, found.sunk, found.cost, found.task) == ("planned", Decimal("0.0375"), Decimal("0.0375"), None)
    assert item(ledger, "b").sunk == 0
    tally = Tally(ledger.state_counts(), 0.0)
    assert (tally.spent, tally.to_come) == (Decimal("0.0375"), Decimal("0.1125"))
    rows = ledger._connection.execute("SELECT earlier_tasks FROM items ORDER BY id").fetchall()
    assert rows == [("task_1",), ("",)]


def test_a_second_list_adds_sets_aside_and_never_changes(ledger: BatchLedger) -> None:
    assert ledger.update_list(planned({"prompt": "x", "id": "a"}, {"prompt": "z", "id": "c"})) == 1
    assert [each.id for _, each in ledger.planned()] == ["a", "c"]
    assert Tally(ledger.state_counts(), 0.0).set_aside == 1
    assert ledger.update_list(planned({"prompt": "y", "id": "b", "resolution": "4K"})) == 0
    assert [each.id for _, each in ledger.planned()] == ["b"]
    for changed in ({"prompt": "other", "id": "b"}, {"prompt": "x", "id": "A"}):
        with pytest.raises(BadRequestError, match="another request"):
            ledger.update_list(planned(changed))
    assert [each.id for _, each in ledger.planned()] == ["b"], "a refused list changes nothing"


def test_what_is_paid_for_is_collected_whatever_the_list_says(ledger: BatchLedger) -> None:
    ledger.apply([Transition("a", "submitting")])
    ledger.apply([Transition("a", "submitted", {"task": TASK})])
    ledger.update_list(planned({"prompt": "z", "id": "c"}))
    assert [each.id for _, each in ledger.under_way()] == ["a"]


def test_planned_groups_are_in_order(ledger: BatchLedger) -> None:
    ledger.update_list(
        planned(*[{"prompt": f"p{number}", "resolution": tier} for number, tier in enumerate(["2K", "2K", "1K"])])
    )
    assert [(group.resolution, group.price, group.count) for group in ledger.planned_groups()] == [
        ("2K", Decimal("0.05"), 2),
        ("1K", Decimal("0.0375"), 1),
    ]


def test_reading_needs_a_ledger_and_a_known_version(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="no batch"):
        BatchLedger.open_read_only(tmp_path)
    BatchLedger.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for make in (BatchLedger.open_read_only, BatchLedger.open, BatchLedger.copy_in_memory):
        with pytest.raises(BadRequestError, match="newer version"):
            make(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="can't be used"):
        BatchLedger.open(tmp_path)


def test_a_copy_in_memory_changes_nothing(ledger: BatchLedger, tmp_path: Path) -> None:
    copy = BatchLedger.copy_in_memory(tmp_path)
    copy.update_list(planned({"prompt": "z", "id": "c"}))
    copy.close()
    assert len(list(ledger.items())) == 2


def test_the_writer_commits_together_and_in_order(tmp_path: Path) -> None:
    async def work() -> tuple[int, list[str]]:
        writer = LedgerWriter(tmp_path)
        await writer.open()
        await writer.query(
            lambda ledger: ledger.update_list(planned(*[{"prompt": "x", "id": f"i{n}"} for n in range(200)]))
        )
        gate = threading.Event()
        blocked = asyncio.ensure_future(writer.query(lambda ledger: gate.wait(10)))
        writes = [asyncio.ensure_future(writer.write(Transition(f"i{n}", "submitting"))) for n in range(200)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(blocked, *writes)
        states = await writer.query(lambda ledger: [each.state for each in ledger.items()])
        commits = writer.commits
        await writer.close()
        await writer.close()
        with pytest.raises(LedgerError, match="closed"):
            await writer.write(Transition("i0", "submitted"))
        return commits, states

    commits, states = asyncio.run(work())
    assert commits <= 3
    assert states == ["submitting"] * 200


def test_after_a_broken_commit_nothing_more_is_written(tmp_path: Path) -> None:
    async def work() -> None:
        writer = LedgerWriter(tmp_path)
        await writer.open()
        await writer.query(lambda ledger: ledger.update_list(planned({"prompt": "x", "id": "a"})))
        with pytest.raises(LedgerError, match="does not lead there"):
            await writer.write(Transition("a", "saved"))
        with pytest.raises(LedgerError, match="after one that failed"):
            await writer.write(Transition("a", "submitting"))
        assert await writer.query(lambda ledger: [each.state for each in ledger.items()]) == ["planned"]
        await writer.close()

    asyncio.run(work())
