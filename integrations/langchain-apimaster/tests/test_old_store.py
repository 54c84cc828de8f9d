"""The records of versions before the ledger are taken over once: what those versions bought is not bought again.

``old_store.json`` holds the files of a store as such a version wrote them, with the store's folder and the ids of two
tasks left open. One file is damaged, and one call was cut off by a kill in the middle of a line.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.ledger import Ledger
from apimaster.ledger.schema import Where
from langchain_apimaster.migration import call_key, migrate
from langchain_apimaster.store import Store

FILES = json.loads((Path(__file__).parent / "old_store.json").read_text(encoding="utf-8"))
THREAD: Any = {"configurable": {"thread_id": "thread-1"}}
PURCHASES = 7
PROGRAM = """
import sys
from apimaster.ledger import Ledger
from langchain_apimaster.migration import migrate
from langchain_apimaster.store import Store

place, folder = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with Ledger.open(place) as ledger:
    print(migrate(Store(folder), ledger))
"""


DIES_AFTER = """
import os, signal, sys
from apimaster.ledger import Ledger, sqlite
from langchain_apimaster.migration import migrate
from langchain_apimaster.store import Store

apply, left = sqlite.SQLiteBackend.apply, [int(sys.argv[3])]
def dying(*args, **options):
    answers = apply(*args, **options)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers
sqlite.SQLiteBackend.apply = dying
with Ledger.open(sys.argv[1]) as ledger:
    migrate(Store(sys.argv[2]), ledger)
"""


@dataclass
class OldStore:
    """A store in the old form, and the tasks in it that nobody has collected."""

    folder: Path
    submitted: str
    waiting: str


@pytest.fixture
def old(emu: Any, tmp_path: Path, png: bytes) -> OldStore:
    folder = tmp_path / "store"
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        made = OldStore(folder, client.submit("a dog").id, client.submit("a fox").id)
    tasks = {"{store}": str(folder), "{submitted}": made.submitted, "{waiting}": made.waiting}
    for name, text in FILES.items():
        for mark, value in tasks.items():
            name, text = name.replace(mark, value), text.replace(mark, value)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if "/images/" in name:
            (folder / json.loads(text)["name"]).write_bytes(png)
    return made


def states(ledger: Ledger) -> list[str]:
    return sorted(purchase.state for purchase in ledger.purchases())


def test_each_call_finds_what_it_bought(emu: Any, old: OldStore, tools: Any, tool_call: Any) -> None:
    before = len(emu.bill.charges)
    for by_name in (tools(), tools()):
        first = by_name["generate_image"].invoke(
            tool_call("generate_image", prompt="a cat", n=2, resolution="0.5K"), THREAD
        )
        assert [image["id"] for image in first.artifact["images"]] == ["img_gdvylgzk4n7s", "img_vmougves73fq"]
        assert (first.artifact["cost_usd"], first.artifact["replayed"]) == ("0", True)
        task = by_name["submit_image"].invoke(tool_call("submit_image", "call_2", prompt="a dog"), THREAD)
        assert task.artifact["tasks"] == [old.submitted]
        assert "is not paid for again" in task.content
        unsure = by_name["generate_image"].invoke(tool_call("generate_image", "call_3", prompt="a bird"), THREAD)
        assert "no reply came back" in unsure.content
        assert "Do not try again by yourself" in unsure.content
        one_shot = by_name["generate_image"].invoke(tool_call("generate_image", "call_4", prompt="a fish"), THREAD)
        assert [image["id"] for image in one_shot.artifact["images"]] == ["img_2wva4b4smzyh"]
        late = by_name["generate_image"].invoke(tool_call("generate_image", "call_5", prompt="a fox"), THREAD)
        assert late.artifact["tasks"] == [old.waiting]
        assert Path(late.artifact["images"][0]["path"]).exists()
        cut = by_name["generate_image"].invoke(tool_call("generate_image", "call_6", prompt="a wolf"), THREAD)
        assert "cut off while its request was on its way" in cut.content
    collected = by_name["get_image"].invoke(tool_call("get_image", task_id=old.submitted))
    assert collected.artifact["images"][0]["cost_usd"] == "0.0375"
    assert len(emu.bill.charges) == before


def test_with_a_budget_of_the_ledger(emu: Any, old: OldStore, tools: Any, tool_call: Any, tmp_path: Path) -> None:
    before = len(emu.bill.charges)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.set_budget("marketing", images=0)
        tool = tools(ledger=ledger, budget="marketing")["generate_image"]
        assert tool.invoke(tool_call("generate_image", "call_4", prompt="a fish"), THREAD).status == "success"
    assert len(emu.bill.charges) == before


def test_other_calls_buy(emu: Any, old: OldStore, tools: Any, tool_call: Any) -> None:
    before = len(emu.bill.charges)
    tool = tools()["generate_image"]
    call = tool_call("generate_image", "call_4", prompt="a fish")
    tool.invoke(call)
    tool.invoke(call, {"configurable": {"thread_id": "thread-2"}})
    tool.invoke(call, {"configurable": {"thread_id": "thread-1", "apimaster_fresh": "1"}})
    tools(namespace="tenant")["generate_image"].invoke(call, THREAD)
    assert len(emu.bill.charges) == before + 4


def test_a_resolved_call_buys(emu: Any, old: OldStore, make_toolkit: Any, tool_call: Any) -> None:
    toolkit = make_toolkit()
    call = tool_call("generate_image", "call_6", prompt="a wolf")
    tool = toolkit.get_tools()[0]
    assert tool.invoke(call, THREAD).status == "error"
    (cut,) = [each for each in toolkit.open_ledger.purchases(state="unknown") if "cut off" in each.error.message]
    toolkit.open_ledger.resolve(cut.key, charged=False)
    assert tool.invoke(call, THREAD).status == "success"
    assert tool.invoke(call, THREAD).artifact["replayed"]


def test_settling_never_calls_them_free(emu: Any, old: OldStore, tmp_path: Path) -> None:
    """Whose key bought them is not known, and neither is when: a log without their charges proves nothing."""
    with (
        Ledger.open(tmp_path / "ledger.db", settle_after=0) as ledger,
        APIMaster(emu.api_key, base_url=emu.base_url, ledger=ledger) as client,
    ):
        migrate(Store(old.folder), ledger)
        client.generate("a goat", resolution="0.5K")
        found = client.settle()
        assert (len(found.still_unknown), found.recovered, found.not_charged) == (2, (), ())
        for purchase in found.still_unknown:
            assert purchase.error is not None
            assert "an older version bought it" in purchase.error.message


def test_it_happens_once_and_leaves_the_files(old: OldStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.read_bytes() for path in (old.folder / ".apimaster").rglob("*.json")}
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert migrate(Store(old.folder), ledger)
        assert caplog.text.count("damaged.json of the store") == 1
        assert states(ledger) == ["saved"] * 3 + ["submitted"] * 2 + ["unknown"] * 2
        caplog.clear()
        assert migrate(Store(old.folder), ledger)
        assert (len(list(ledger.purchases())), caplog.text) == (PURCHASES, "")
        ledger.prune(0)
        migrate(Store(old.folder), ledger)
        assert len(list(ledger.purchases())) == PURCHASES - 3, "what was pruned stays away"
    for path, content in before.items():
        assert path.read_bytes() == content
    with Ledger.open(tmp_path / "another.db") as another:
        assert migrate(Store(old.folder), another)
        assert len(list(another.purchases())) == PURCHASES


@pytest.mark.parametrize("where", ["folder", "elsewhere"])
def test_another_ledger_at_the_same_place_takes_them_over(
    where: str, emu: Any, old: OldStore, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    """As a second machine has it that shares the store, or a container that begins with an empty disk."""
    store = old.folder if where == "folder" else f"local://{old.folder}"
    before = len(emu.bill.charges)
    for machine in ("one", "two"):
        toolkit = make_toolkit(store=store, ledger=tmp_path / "ledger.db")
        message = toolkit.get_tools()[0].invoke(tool_call("generate_image", "call_4", prompt="a fish"), THREAD)
        assert (message.status, message.artifact["replayed"]) == ("success", True), machine
        assert len(list(toolkit.open_ledger.purchases())) == PURCHASES
        toolkit.open_ledger.close()
        (tmp_path / machine).mkdir()
        for file in tmp_path.glob("ledger.db*"):
            file.rename(tmp_path / machine / file.name)
    assert len(emu.bill.charges) == before


def test_another_store_at_the_same_place_is_taken_over(old: OldStore, tmp_path: Path) -> None:
    """As a second machine has it that shares the ledger; its store even has the marker of a version before this one."""
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        migrate(Store(old.folder), ledger)
        old.folder.rename(tmp_path / "of machine one")
        calls = old.folder / ".apimaster" / "calls"
        calls.mkdir(parents=True)
        source = tmp_path / "of machine one" / ".apimaster" / "calls"
        (calls / "another.json").write_bytes(
            next(path for path in source.iterdir() if "damaged" not in path.name).read_bytes()
        )
        marker = (
            old.folder / ".apimaster" / "migrated" / f"{hashlib.sha256(ledger.name.encode()).hexdigest()[:16]}.json"
        )
        marker.parent.mkdir()
        marker.write_text(json.dumps({"ledger": ledger.name}))
        migrate(Store(old.folder), ledger)
        assert any(purchase.key.endswith("call-another") for purchase in ledger.purchases())
        assert len(list(ledger.purchases())) > PURCHASES


def test_records_that_an_older_version_adds_later_are_taken_over(old: OldStore, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        migrate(Store(old.folder), ledger)
        before = {(each.key, each.index): each.updated_at for each in ledger.purchases()}
        calls = old.folder / ".apimaster" / "calls"
        first = next(path for path in sorted(calls.iterdir()) if "damaged" not in path.name)
        (calls / "late.json").write_bytes(first.read_bytes())
        migrate(Store(old.folder), ledger)
        after = {(each.key, each.index): each.updated_at for each in ledger.purchases()}
        assert {key for key, _ in after.keys() - before.keys()} == {call_key("late")}
        assert before.items() <= after.items(), "the others are not written again"


def test_a_store_without_old_records_gets_no_marker(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert not migrate(Store(tmp_path / "new"), ledger)
    assert not (tmp_path / "new").exists()


def test_a_store_elsewhere(old: OldStore, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for _ in range(2):
            assert migrate(Store(f"local://{old.folder}"), ledger)
        assert len(list(ledger.purchases())) == PURCHASES


@pytest.mark.slow
def test_a_migration_that_was_cut_off_is_continued(old: OldStore, tmp_path: Path) -> None:
    calls = sorted((old.folder / ".apimaster" / "calls").iterdir())
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        migrate(Store(old.folder), ledger)
        expected = states(ledger)
    for stop in range(1, 20):
        place = tmp_path / f"ledger-{stop}.db"
        cut = subprocess.run(
            [sys.executable, "-c", DIES_AFTER, str(place), str(old.folder), str(stop)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if cut.returncode == 0:
            break
        assert cut.returncode == -9, cut.stderr
        with Ledger.open(place, lease=0) as ledger:
            ledger.reap()
            migrate(Store(old.folder), ledger)
            assert states(ledger) == expected
    assert stop > 1
    assert calls == sorted((old.folder / ".apimaster" / "calls").iterdir())


@pytest.mark.slow
def test_several_processes_do_it_at_the_same_time(old: OldStore, tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    with Ledger.open(place) as ledger:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(place), str(old.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in processes] == ["True\n"] * 3
        assert states(ledger) == ["saved"] * 3 + ["submitted"] * 2 + ["unknown"] * 2
        rows = list(ledger.rows(Where()))
        assert [row.worker for row in rows] == [None] * PURCHASES
