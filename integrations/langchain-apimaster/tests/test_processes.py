"""Several processes with the same tool calls: each picture is charged once, whoever is killed, in every budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from postgres import PostgresServer

from apimaster.emulator import Emulator
from apimaster.ledger import Ledger
from langchain_apimaster import APIMasterToolkit

pytestmark = pytest.mark.slow

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}
CALLS = 40

PROGRAM = """
import json, os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from apimaster.ledger import sqlite
from langchain_apimaster import APIMasterToolkit

settings = json.loads(sys.argv[1])
thread = {"configurable": {"thread_id": "thread-1"}}
toolkit = APIMasterToolkit(**settings["options"])
tool = toolkit.get_tools()[1 if "reference" in settings else 0]

def call(number):
    args = {"prompt": f"cat {number}"}
    if "reference" in settings:
        args["reference_images"] = [settings["reference"]]
    return {"type": "tool_call", "name": tool.name, "id": f"call_{number}", "args": args}

def draw(number):
    message = tool.invoke(call(number), thread)
    artifact = message.artifact or {"images": [{}]}
    image = artifact["images"][0]
    return [message.status, image.get("id"), image.get("path"), artifact.get("cost_usd"), message.content]

print("ready", flush=True)
sys.stdin.readline()
if "step" in settings:
    apply = sqlite.SQLiteBackend.apply
    def dying(self, steps, worker, **options):
        now = any(type(step).__name__ == settings["step"] for step in steps)
        if now and settings["when"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answers = apply(self, steps, worker, **options)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return answers
    sqlite.SQLiteBackend.apply = dying
if "opening" in settings:
    openings = []
    def watch(event, arguments):
        if event == "open" and str(arguments[0]).endswith(settings["reference"]):
            openings.append(arguments)
            if len(openings) == settings["opening"]:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
with ThreadPoolExecutor(settings.get("threads", 10)) as threads:
    first = settings.get("first", 0)
    print(json.dumps(list(threads.map(draw, range(first, first + settings["calls"])))))
"""


@contextmanager
def started(*options: dict[str, Any], **settings: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each of these options; all have imported everything and wait for the word to begin."""
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps({**settings, "options": each})],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for each in options
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
        yield children
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.communicate()


def let_go(children: list[subprocess.Popen[str]]) -> list[list[Any]]:
    """Start all at the same moment; what each got."""
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    printed = [child.communicate(timeout=120) for child in children]
    assert all(child.returncode == 0 for child in children), printed
    return [json.loads(text) for text, _ in printed]


def options_of(gateway: Emulator, store: str | Path, **others: Any) -> dict[str, Any]:
    return {"api_key": gateway.api_key, "base_url": gateway.base_url, "store": str(store), **others}


@pytest.mark.parametrize("where", ["folder", "elsewhere"])
def test_forty_calls_that_two_processes_get_at_once(where: str, tmp_path: Path) -> None:
    store = tmp_path / "store" if where == "folder" else f"local://{tmp_path}/store"
    with (
        Emulator(pictures="plain", latency="0.1-0.4") as gateway,
        started(*2 * [options_of(gateway, store)], calls=CALLS) as children,
    ):
        one, two = let_go(children)
        assert [text for status, *_, text in one + two if status != "success"] == []
        assert [each[:3] for each in one] == [each[:3] for each in two]
        assert len({identifier for _, identifier, *_ in one}) == CALLS
        assert sum(Decimal(cost) for *_, cost, _ in one + two) == gateway.bill.total == CALLS * Decimal("0.0375")
        assert len(gateway.bill.charges) == CALLS
        assert len(list((tmp_path / "store").glob("*.png"))) == CALLS


def test_two_machines_with_stores_of_their_own(tmp_path: Path) -> None:
    with PostgresServer() as server, Emulator(pictures="plain", latency="0.1-0.4") as gateway:
        place = server.new_database()
        machines = [options_of(gateway, tmp_path / name, ledger=place, budget_usd=2) for name in ("one", "two")]
        with started(*machines, calls=CALLS) as children:
            one, two = let_go(children)
        assert [each[:2] for each in one] == [each[:2] for each in two]
        assert len(gateway.bill.charges) == CALLS
        for (_, _, path, *_), (_, _, other, *_) in zip(one, two, strict=True):
            assert Path(path).read_bytes() == Path(other).read_bytes()
            assert (Path(path).parent.name, Path(other).parent.name) == ("one", "two")


def test_a_budget_holds_over_processes_and_restarts(tmp_path: Path) -> None:
    with Emulator(pictures="plain") as gateway:
        spent = []
        options = options_of(gateway, tmp_path / "store", budget_usd="1")
        for first in (0, 1000):
            with started(options, options, calls=CALLS, first=first) as children:
                answers = let_go(children)
            spent.append(gateway.bill.total)
            assert any("budget for pictures does not allow this" in each[4] for answer in answers for each in answer)
        assert spent == [26 * Decimal("0.0375")] * 2
        with APIMasterToolkit(**options) as toolkit:
            assert toolkit.budget.spent_usd == spent[0]
            toolkit.open_ledger.close()


@pytest.mark.parametrize(
    ("step", "when", "charges"),
    [
        ("Begin", "before", 1),  # nothing was sent: whoever comes next buys
        ("Begin", "after", 1),  # it may have been sent; the usage log proves that it was not
        ("Submitted", "before", 1),  # it was sent: the usage log has the task
        ("Submitted", "after", 1),
        ("Delivered", "before", 1),
        ("Delivered", "after", 1),
    ],
)
def test_killed_at_a_step(step: str, when: str, charges: int, tmp_path: Path, tool_call: Any) -> None:
    with Emulator(pictures="plain") as gateway:
        options = options_of(gateway, tmp_path / "store")
        with started(options, calls=1, step=step, when=when) as (child,):
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            child.wait(60)
            assert child.returncode == -9
        place = tmp_path / "store" / ".apimaster" / "ledger.db"
        with (
            Ledger.open(place, lease=0, settle_after=0) as ledger,
            APIMasterToolkit(**options, ledger=ledger) as toolkit,
        ):
            generate = toolkit.get_tools()[0]
            generate.invoke("another cat, so that the log shows that it is alive")
            call = tool_call("generate_image", "call_0", prompt="cat 0")
            messages = [generate.invoke(call, THREAD) for _ in range(2)]
            assert [message.status for message in messages] == ["success"] * 2, messages
            assert messages[0].artifact["images"] == messages[1].artifact["images"]
            assert [message.artifact["cost_usd"] for message in messages] == ["0.0375", "0"], "once, and not never"
            assert [purchase.state for purchase in ledger.purchases()] == ["saved"] * 2
        assert len(gateway.bill.charges) == charges + 1
        assert len(list((tmp_path / "store").glob("*.png"))) == 2


def test_killed_while_the_picture_is_made(tmp_path: Path, tool_call: Any) -> None:
    with Emulator(pictures="plain", latency="manual") as gateway:
        options = options_of(gateway, tmp_path / "store")
        with started(options, calls=1) as (child,):
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            while not gateway.requests_to("poll"):
                assert child.poll() is None
                time.sleep(0.001)
            os.kill(child.pid, 9)
            child.wait(60)
        gateway.finish()
        with APIMasterToolkit(**options) as toolkit:
            generate = toolkit.get_tools()[0]
            message = generate.invoke(tool_call("generate_image", "call_0", prompt="cat 0"), THREAD)
            assert message.status == "success"
            assert (message.artifact["replayed"], message.artifact["cost_usd"]) == (True, "0.0375"), "nobody else will"
            again = generate.invoke(tool_call("generate_image", "call_0", prompt="cat 0"), THREAD)
            assert (again.artifact["replayed"], again.artifact["cost_usd"]) == (True, "0")
            toolkit.open_ledger.close()
        assert len(gateway.bill.charges) == 1


@pytest.mark.parametrize("opening", range(1, 11))
def test_killed_while_its_reference_is_read(opening: int, tmp_path: Path, tool_call: Any, png: bytes) -> None:
    """It opens the file to check it, to know it by its bytes, and to send it, and is killed at one of these moments."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "cat.png").write_bytes(png)
    with Emulator(pictures="plain") as gateway:
        options = options_of(gateway, tmp_path / "store", allow_files_under=str(files))
        with started(options, calls=1, threads=1, reference="cat.png", opening=opening) as (child,):
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            child.wait(60)
            assert child.returncode == -9
        assert not gateway.bill.charges
        place = tmp_path / "store" / ".apimaster" / "ledger.db"
        with (
            Ledger.open(place, lease=0, settle_after=0) as ledger,
            APIMasterToolkit(**options, ledger=ledger) as toolkit,
        ):
            # Its key depends on its references, so there is no row until the tool has read them.
            ledger.reap()
            states = [(purchase.state, purchase.billed) for purchase in ledger.purchases()]
            assert states in ([], [("failed", "no")], [("unknown", "maybe")])
            # Then nobody knows at first; the usage log proves that nothing was charged.
            is_sending = states == [("unknown", "maybe")]
            assert is_sending == (opening > 8)
            assert is_sending or not gateway.requests
            generate, edit, *_ = toolkit.get_tools()
            if is_sending:
                generate.invoke("another cat, so that the log shows that it is alive")
            call = tool_call("edit_image", "call_0", prompt="cat 0", reference_images=["cat.png"])
            messages = [edit.invoke(call, THREAD) for _ in range(2)]
            assert [message.status for message in messages] == ["success"] * 2, messages
            assert messages[0].artifact["images"] == messages[1].artifact["images"]
            assert [message.artifact["cost_usd"] for message in messages] == ["0.0375", "0"]
        assert len(gateway.bill.charges) == 1 + is_sending
        assert len(list((tmp_path / "store").glob("*.png"))) == 1 + is_sending
