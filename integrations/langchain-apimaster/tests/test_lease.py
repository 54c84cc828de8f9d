"""A tool call outlives the ledger's lease, and LangGraph dispatches it again in another process meanwhile.

The lease is a second here, and the graph's checkpoints are in SQLite: the second process goes on from
there, as a worker of LangGraph's platform does with a run that takes minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apimaster.emulator import Emulator
from apimaster.ledger import Ledger
from apimaster.ledger.schema import Where

pytestmark = pytest.mark.slow

HEARTBEAT, LEASE = 0.1, 1.0
PROGRAM = """
import json, sys
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from apimaster.ledger import Ledger, sqlite
from apimaster.ledger.steps import Begin
from langchain_apimaster import APIMasterToolkit

apply = sqlite.SQLiteBackend.apply
def watched(self, steps, worker, **options):
    answers = apply(self, steps, worker, **options)
    if any(isinstance(step, Begin) for step in steps):
        print("asked", flush=True)  # whether it may buy
    return answers
sqlite.SQLiteBackend.apply = watched

options, place, ledger, database = json.loads(sys.argv[1])
call = {"name": "generate_image", "args": {"prompt": "a cat"}, "id": "call_0"}
first = {"messages": [HumanMessage("Draw", id="h1"), AIMessage("", tool_calls=[call], id="ai1")]}
with Ledger.open(place, **ledger) as opened, SqliteSaver.from_conn_string(database) as saver:
    with APIMasterToolkit(**options, ledger=opened) as toolkit:
        graph = StateGraph(MessagesState).add_node("tools", ToolNode(toolkit.get_tools())).add_edge(START, "tools")
        print("ready", flush=True)
        begin = sys.stdin.readline().strip() == "begin"
        config = {"configurable": {"thread_id": "one"}}
        state = graph.compile(checkpointer=saver).invoke(first if begin else None, config)
message = state["messages"][-1]
print(json.dumps([message.status, message.text, message.artifact]))
"""


class Worker:
    """A process that runs the graph."""

    def __init__(self, *settings: Any) -> None:
        pipe = subprocess.PIPE
        arguments = [sys.executable, "-c", PROGRAM, json.dumps(settings)]
        self._process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def wait_for(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{line}\n", self._process.communicate()[1]

    def start(self, *, how: str) -> None:
        self.wait_for("ready")
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how}\n")
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait while this process is at work."""
        until = time.monotonic() + 60
        while not condition():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < until
            time.sleep(0.005)

    def answer(self) -> tuple[str, str, Any]:
        text, errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, errors
        status, content, artifact = json.loads(text.splitlines()[-1])
        return status, content, artifact

    def end(self) -> None:
        if self._process.poll() is None:
            self.send(signal.SIGKILL)
        self._process.communicate()


@contextmanager
def two_workers(gateway: Emulator, folder: Path) -> Iterator[tuple[Worker, Worker, Ledger]]:
    options = {"api_key": gateway.api_key, "base_url": gateway.base_url, "store": str(folder / "store")}
    timing = {"heartbeat": HEARTBEAT, "lease": LEASE, "settle_after": 0}
    place = folder / "ledger.db"
    workers = [Worker(options, str(place), timing, str(folder / "threads.db")) for _ in range(2)]
    try:
        with Ledger.open(place, heartbeat=HEARTBEAT, lease=LEASE, settle_after=0) as ledger:
            yield workers[0], workers[1], ledger
    finally:
        for worker in workers:
            worker.end()


def longer_than_the_lease() -> Callable[[], bool]:
    until = time.monotonic() + 2 * LEASE
    return lambda: time.monotonic() > until


def states(ledger: Ledger) -> list[str]:
    ledger.reap()  # as every process does that waits for one of them
    return [purchase.state for purchase in ledger.purchases()]


@pytest.mark.parametrize(("dialect", "state"), [("tracked", "submitted"), ("no_async", "submitting")])
def test_a_picture_that_takes_longer_than_the_lease(dialect: str, state: str, tmp_path: Path) -> None:
    with (
        Emulator(pictures="plain", latency="manual", dialect=dialect) as gateway,
        two_workers(gateway, tmp_path) as (first, second, ledger),
    ):
        first.start(how="begin")
        first.wait_until(lambda: len(gateway.jobs) == 1 and states(ledger) == [state])
        owner = next(ledger.rows(Where())).worker
        second.start(how="go on")
        second.wait_for("asked")
        second.wait_until(longer_than_the_lease())
        assert states(ledger) == [state], "the first one's signs of life keep it"
        assert next(ledger.rows(Where())).worker == owner
        gateway.finish()
        answers = [first.answer(), second.answer()]
        assert [status for status, *_ in answers] == ["success"] * 2, answers
        assert answers[0][2]["images"] == answers[1][2]["images"]
        assert sorted(artifact["cost_usd"] for *_, artifact in answers) == ["0", "0.0375"]
        assert [artifact["replayed"] for *_, artifact in answers] == [False, True]
        assert "This was made before, and is not paid for again." in answers[1][1]
        assert (len(gateway.bill.charges), states(ledger)) == (1, ["saved"])
        assert len(list((tmp_path / "store").glob("*.png"))) == 1


def test_the_first_process_is_stopped_for_longer_than_the_lease(tmp_path: Path) -> None:
    with (
        Emulator(pictures="plain", latency="manual") as gateway,
        two_workers(gateway, tmp_path) as (first, second, ledger),
    ):
        first.start(how="begin")
        first.wait_until(lambda: bool(gateway.requests_to("poll")))
        first.send(signal.SIGSTOP)
        first.wait_until(longer_than_the_lease())
        second.start(how="go on")
        gateway.finish()
        later = second.answer()
        assert states(ledger) == ["saved"]
        first.send(signal.SIGCONT)
        earlier = first.answer()
        assert (earlier[0], later[0]) == ("success", "success"), (earlier, later)
        assert earlier[2]["images"] == later[2]["images"]
        assert sorted([earlier[2]["cost_usd"], later[2]["cost_usd"]]) == ["0", "0.0375"]
        assert (len(gateway.bill.charges), states(ledger)) == (1, ["saved"])
        assert len(list((tmp_path / "store").glob("*.png"))) == 1


def test_it_is_stopped_while_its_request_is_on_its_way(tmp_path: Path) -> None:
    """Nobody knows then what became of the request, and no second one goes out."""
    with (
        Emulator(pictures="plain", latency="manual", dialect="no_async") as gateway,
        two_workers(gateway, tmp_path) as (first, second, ledger),
    ):
        first.start(how="begin")
        first.wait_until(lambda: len(gateway.jobs) == 1 and states(ledger) == ["submitting"])
        first.send(signal.SIGSTOP)
        first.wait_until(lambda: states(ledger) == ["unknown"])
        second.start(how="go on")
        status, text, _ = second.answer()
        assert status == "error"
        assert "Do not try again by yourself" in text
        gateway.finish()
        first.send(signal.SIGCONT)
        status, text, artifact = first.answer()
        assert (status, artifact["cost_usd"], states(ledger)) == ("success", "0.0375", ["saved"]), text
        assert (len(gateway.bill.charges), len(gateway.jobs)) == (1, 1)
