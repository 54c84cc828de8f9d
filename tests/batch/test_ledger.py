"""A batch in a ledger: lists are entered once, money is exact, and a folder keeps its ledger and its name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster.batch.image_list import ImageListBuilder, PlannedImage
from apimaster.batch.items import BatchItem
from apimaster.batch.ledger import BatchLedger
from apimaster.batch.place import Place, place_of, read_items
from apimaster.batch.remembered import written
from apimaster.batch.tally import Tally
from apimaster.errors import BadRequestError, LedgerError
from apimaster.ledger import Ledger
from apimaster.ledger.location import parse
from apimaster.ledger.steps import Begin, Delivered, Ended, Reap, Release, Step, Submitted, Take, error_json

PRICE = Decimal("0.0375")
REQUEST = '{"prompt": "x", "model": "m"}'


def planned(*entries: Any) -> list[PlannedImage]:
    builder = ImageListBuilder()
    for number, entry in enumerate(entries, start=1):
        builder.add(number, entry)
    return builder.finish()


def enter(batch: BatchLedger, *entries: Any) -> int:
    new = batch.lines.update_list(planned(*entries))
    batch.enter_planned()
    batch.set_limits(None, None)
    return new


def begin(batch: BatchLedger, name: str) -> Begin:
    fields: dict[str, Any] = {"digest": "d", "request": REQUEST, "price": PRICE, "account": "a"}
    return Begin(key=batch.key(name), claim=name, budget=batch.budget_name, **fields)


def end(batch: BatchLedger, name: str, state: Any, task_id: str | None = None) -> Step:
    error = error_json("ContentPolicyError" if state == "failed" else "OutcomeUnknownError", "It ended.", "maybe")
    return Ended(key=batch.key(name), claim=name, state=state, error=error, task_id=task_id)


def ids(items: list[BatchItem]) -> list[str]:
    return [item.id for item in items]


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[BatchLedger]:
    (tmp_path / "album").mkdir()
    opened, _ = place_of(tmp_path / "album").open()
    enter(opened, {"prompt": "x", "id": "a"}, {"prompt": "y", "id": "b", "resolution": "4K", "tags": ["t"]})
    yield opened
    opened.close()


def test_an_image_is_a_purchase_of_the_ledger(batch: BatchLedger, tmp_path: Path) -> None:
    picture = f'[{{"path": "{tmp_path}/elsewhere/images/b.png", "width": 4, "height": 5, "deviations": ["smaller"]}}]'
    steps = [
        Take(key=batch.key("b")),
        replace(begin(batch, "b"), price=2 * PRICE),
        Submitted(key="album/b", claim="b", task_id="t1", task='{"id": "t1", "model": "m"}'),
        Delivered(key="album/b", claim="b", images=picture, saved=True),
    ]
    for step in steps:
        batch.store.take([step])
    found = batch.item("b")
    assert (found.state, found.path, found.width, found.attempts, found.billed) == (
        "saved",
        "images/b.png",
        4,
        1,
        "yes",
    )
    assert found.task is not None
    assert found.task.id == "t1"
    assert (found.price, found.cost, found.tags, found.deviations) == (
        Decimal("0.075"),
        Decimal("0.075"),
        ("t",),
        ("smaller",),
    )
    assert BatchItem.model_validate_json(found.model_dump_json()).path == found.path
    budget = batch.limits()
    assert budget is not None
    assert (budget.usd, budget.images) == (Decimal("0.075"), 1)


def test_what_is_claimed_is_planned_for_the_batch(batch: BatchLedger) -> None:
    batch.store.take([Take(key=batch.key("a"))])
    assert batch.item("a").state == "planned"
    assert [(each.state, each.count) for each in batch.counts()] == [("planned", 1), ("planned", 1)]
    assert ids(batch.planned(None)[0]) == ["b"], "a process has taken the other one"


def test_images_are_submitted_in_the_order_of_the_list(batch: BatchLedger) -> None:
    enter(batch, *[{"prompt": f"p{number}", "id": f"{99 - number}"} for number in range(60)])
    assert ids(batch.planned(None)[0]) == [f"{99 - number}" for number in range(60)]


def test_an_image_whose_submit_died_is_unknown_and_counts_as_spent(batch: BatchLedger) -> None:
    batch.store.take([begin(batch, "a")])
    assert batch.recover() == 1
    found = batch.item("a")
    assert (found.state, found.billed, found.cost) == ("unknown", "maybe", PRICE)
    assert ids(batch.planned(None)[0]) == ["b"]
    assert batch.recover() == 0


def test_retrying_an_unknown_image_keeps_its_cost_and_its_task(batch: BatchLedger) -> None:
    for name in "ab":
        batch.store.take([begin(batch, name)])
    task = Submitted(key=batch.key("a"), claim="a", task_id="t1", task='{"id": "t1", "model": "m"}')
    batch.store.take([task, end(batch, "a", "unknown", "t1"), end(batch, "b", "failed")])
    assert (batch.retry("failed"), batch.retry("unknown")) == (1, 1)
    found = batch.item("a")
    assert (found.state, found.sunk, found.cost, found.task) == ("planned", PRICE, PRICE, None)
    assert batch.item("b").sunk == 0
    tally = Tally(batch.counts(), 0.0)
    assert (tally.spent, tally.to_come) == (PRICE, 2 * PRICE)
    budget = batch.limits()
    assert budget is not None
    assert (budget.usd, budget.images) == (PRICE, 0)


def test_what_somebody_found_to_be_charged_is_unknown_and_not_bought_again_with_the_failed(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    batch, ledger = place.open()
    enter(batch, {"prompt": "x", "id": "a"})
    batch.store.take([begin(batch, "a"), Reap(key=batch.key("a"), dead="nobody"), end(batch, "a", "unknown")])
    ledger.resolve(batch.key("a"), charged=True)
    assert (batch.item("a").state, batch.item("a").billed, batch.item("a").cost) == ("unknown", "yes", PRICE)
    assert (batch.retry("failed"), batch.retry("unknown")) == (0, 1)
    batch.close()


def test_a_second_list_adds_sets_aside_and_never_changes(batch: BatchLedger) -> None:
    assert enter(batch, {"prompt": "x", "id": "a"}, {"prompt": "z", "id": "c"}) == 1
    assert ids(batch.planned(None)[0]) == ["a", "c"]
    assert Tally(batch.counts(), 0.0).set_aside == 1
    assert enter(batch, {"prompt": "y", "id": "b", "resolution": "4K"}) == 0
    assert ids(batch.planned(None)[0]) == ["b"]
    for changed in ({"prompt": "other", "id": "b"}, {"prompt": "x", "id": "A"}):
        with pytest.raises(BadRequestError, match="another request"):
            batch.lines.update_list(planned(changed))
    assert ids(batch.planned(None)[0]) == ["b"], "a refused list changes nothing"


def test_what_is_paid_for_is_collected_whatever_the_list_says(batch: BatchLedger) -> None:
    batch.store.take([begin(batch, "a")])
    task = Submitted(key=batch.key("a"), claim="a", task_id="t1", task='{"id": "t1", "model": "m"}')
    batch.store.take([task])
    enter(batch, {"prompt": "z", "id": "c"})
    assert ids(batch.under_way(None)[0]) == [], "its call goes on"
    assert batch.is_anything_open(set()) == (True, True), "the new one is free, and a call is at work on the other"
    assert batch.is_anything_open({"c"}) == (False, True)
    batch.store.take([Release(key=batch.key("a"), claim="a")])
    assert ids(batch.under_way(None)[0]) == ["a"]
    assert batch.is_anything_open({"a", "c"}) == (False, False)


def test_planned_groups_are_in_order(batch: BatchLedger) -> None:
    enter(batch, *[{"prompt": f"p{number}", "resolution": tier} for number, tier in enumerate(["2K", "2K", "1K"])])
    assert [(group.resolution, group.price, group.count) for group in batch.planned_groups()] == [
        ("2K", Decimal("0.05"), 2),
        ("1K", PRICE, 1),
    ]


def test_a_run_that_died_while_it_entered_its_list_is_completed(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    batch, _ = place.open()
    batch.lines.update_list(planned({"prompt": "x", "id": "a"}, {"prompt": "y", "id": "b"}))
    batch.close()
    assert [item.state for item in read_items(tmp_path)] == ["planned", "planned"]
    batch, _ = place.open()
    batch.enter_planned()
    batch.enter_planned()
    batch.set_limits(Decimal(1), None)
    assert ids(batch.planned(None)[0]) == ["a", "b"]
    batch.close()


def test_reading_needs_a_batch_and_a_known_version(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    with pytest.raises(BadRequestError, match="no batch"):
        place.read()
    Ledger.open(tmp_path / "ledger.db").close()
    with pytest.raises(BadRequestError, match="no batch"):
        place.read()
    place.open()[0].close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for make in (place.read, place.open, place.copy):
        with pytest.raises(BadRequestError, match="newer version"):
            make()
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    for make in (place.read, place.open, place.copy):
        with pytest.raises(LedgerError, match="can't be used"):
            make()


def test_a_copy_in_memory_changes_nothing(batch: BatchLedger, tmp_path: Path) -> None:
    copy = place_of(tmp_path / "album").copy()
    enter(copy, {"prompt": "z", "id": "c"})
    assert len(list(copy.items())) == 3
    copy.close()
    assert len(list(batch.items())) == 2


# --- which ledger, which name -----------------------------------------------------------------------------


def test_a_folder_keeps_the_ledger_that_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "spring").mkdir()
    (tmp_path / "own").mkdir()
    with Ledger.open(tmp_path / "shared.db") as shared, Ledger.open(tmp_path / "other.db") as other:
        batch, ledger = Place(tmp_path / "spring", shared).open()
        assert ledger is shared
        enter(batch, {"prompt": "x", "id": "a"})
        assert [row.key for row in shared.purchases()] == ["spring/a"]
        batch.close()
        assert [item.id for item in read_items(tmp_path / "spring")] == ["a"], "it remembers the shared ledger"
        with pytest.raises(BadRequestError, match="are in"):
            Place(tmp_path / "spring", other).open()
        batch, ledger = Place(tmp_path / "spring", default=other).open()
        assert [item.id for item in batch.items()] == ["a"]
        assert ledger is Ledger.shared(tmp_path / "shared.db")
        batch.close()
        batch, _ = Place(tmp_path / "own").open()
        enter(batch, {"prompt": "x", "id": "a"})
        batch.close()
        batch, ledger = Place(tmp_path / "own", default=shared).open()
        assert ledger not in (shared, other)
        batch.close()
        with pytest.raises(BadRequestError, match="are in"):
            Place(tmp_path / "own", shared).open()
        with Ledger.open("sqlite://") as memory, pytest.raises(BadRequestError, match="in memory"):
            Place(tmp_path / "own", memory)


def test_two_batches_in_one_ledger_never_meet(tmp_path: Path) -> None:
    folders = [tmp_path / "one" / "album", tmp_path / "two" / "album"]
    with Ledger.open(tmp_path / "shared.db") as shared:
        for folder in folders:
            folder.mkdir(parents=True)
        batch, _ = Place(folders[0], shared).open()
        enter(batch, {"prompt": "x", "id": "a"})
        batch.close()
        for make in (Place(folders[1], shared).open, Place(folders[1], shared).copy):
            with pytest.raises(BadRequestError, match="holds a batch 'album' already"):
                make()
        batch, _ = Place(folders[1], shared, name="album 2").open()
        enter(batch, {"prompt": "y", "id": "a"})
        assert [item.request.prompt for item in batch.items()] == ["y"]
        assert [each.count for each in batch.counts()] == [1]
        batch.close()
        assert [row.key for row in shared.purchases()] == ["album/a", "album 2/a"]
        copy = Place(folders[1]).copy()
        assert [item.state for item in copy.items()] == ["planned"]
        copy.close()
        with pytest.raises(BadRequestError, match="is called 'album 2'"):
            Place(folders[1], name="another").open()


@pytest.mark.parametrize("name", ["", " ", "a/b", "x" * 201, "a\nb"])
def test_a_name_is_a_short_text(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequestError, match="name must be"):
        place_of(tmp_path, name=name)


def test_a_folder_remembers_no_password() -> None:
    url = "postgresql://images:secret@db.example:5432/shop?sslmode=require&password=secret"
    assert written(parse(url)) == "postgresql://images@db.example:5432/shop?sslmode=require"
    assert written(parse("postgresql:///shop?host=/tmp")) == "postgresql:///shop?host=%2Ftmp"
