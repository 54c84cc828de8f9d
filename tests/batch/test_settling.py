"""A run asks the usage log at its start what became of unknown images: with processes that are killed for real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import forked
import pytest
from postgres import PostgresServer

from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch
from apimaster.batch.async_run import AsyncRun
from apimaster.batch.place import place_of
from apimaster.batch.settling import due_keys
from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger, Settlement
from apimaster.ledger.rows import Row

REQUESTS = [{"prompt": f"picture {number}", "id": f"p{number}", "resolution": "0.5K"} for number in range(6)]
BATCH = """
import asyncio, json, sys
from pathlib import Path
from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch
from apimaster.ledger import Ledger

async def main():
    folder, place, requests = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    folder.mkdir(exist_ok=True)
    with Ledger.open(place, settle_after=0) as ledger:
        async with AsyncAPIMaster() as client:
            await AsyncBatch(client, folder, timeout=30, ledger=ledger).run(requests).finish()

asyncio.run(main())
"""


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(gateway: Emulator, folder: Path, place: str) -> forked.Child:
    environment = {**os.environ, **gateway.env}
    words = ["-c", BATCH, str(folder), place, json.dumps(REQUESTS)]
    return forked.start(words, env=environment, stderr=subprocess.PIPE)


def run(gateway: Emulator, folder: Path, place: str | None = None, **options: Any) -> Settlement | None:
    """One run to its end, with a gateway whose log has each charge at once. Gives what it found out at its start."""
    settle_after = options.pop("settle_after", 0)

    async def work() -> Settlement | None:
        folder.mkdir(exist_ok=True)
        with Ledger.open(place or folder / "ledger.db", settle_after=settle_after) as ledger:
            async with AsyncAPIMaster(gateway.api_key, base_url=gateway.base_url) as client:
                going = AsyncBatch(client, folder, timeout=30, ledger=ledger).run(REQUESTS, **options)
                await going.finish()
                return going.settlement

    return asyncio.run(work())


def states(folder: Path) -> dict[str, str]:
    return {item.id: item.state for item in place_of(folder).items()}


def names(purchases: tuple[Any, ...]) -> list[str]:
    return [purchase.key.rpartition("/")[2] for purchase in purchases]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["its own", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    return str(tmp_path / "album" / "ledger.db")


def kill_in_the_middle(gateway: Emulator, folder: Path, place: str) -> None:
    """Kill a run with two requests on their way, of which the gateway has accepted one; four images are saved."""
    gateway.script("hang", prompt="picture 0")
    gateway.script("hang", prompt="picture 1", accepted=False)
    killed = start(gateway, folder, place)
    until(lambda: folder.exists() and len(list(folder.glob("images/p*.png"))) == 4)
    until(lambda: len(gateway.requests_to("submit")) == 6)
    killed.send_signal(signal.SIGKILL)
    killed.wait()


@pytest.mark.apimaster_emulator(pictures="small")
def test_what_a_killed_run_was_sending_is_found_out_by_the_next(
    apimaster_emulator: Emulator, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "album"
    kill_in_the_middle(apimaster_emulator, folder, place)
    assert len(apimaster_emulator.bill.charges) == 5
    found = run(apimaster_emulator, folder, place)
    assert found is not None
    assert (names(found.recovered), names(found.not_charged), found.still_unknown) == (["p0"], ["p1"], ())
    assert Counter(states(folder).values()) == {"saved": 5, "failed": 1}
    assert len(apimaster_emulator.bill.charges) == 5, "what was found is fetched, and bought by nobody"
    assert run(apimaster_emulator, folder, place, retry_failed=True) == Settlement(), "nothing is unknown"
    assert Counter(states(folder).values()) == {"saved": 6}
    assert len(apimaster_emulator.bill.charges) == 6
    assert len(apimaster_emulator.requests_to("log")) == 1


@pytest.mark.apimaster_emulator(pictures="small")
def test_several_processes_that_start_at_once_ask_and_buy_nothing_twice(
    apimaster_emulator: Emulator, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "album"
    kill_in_the_middle(apimaster_emulator, folder, place)
    children = [start(apimaster_emulator, folder, place) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        printed = list(pool.map(lambda child: child.communicate(60), children))
    assert [child.returncode for child in children] == [0, 0, 0], printed
    assert Counter(states(folder).values()) == {"saved": 5, "failed": 1}
    assert len(apimaster_emulator.bill.charges) == 5
    assert 1 <= len(apimaster_emulator.requests_to("log")) <= 3


def lose(gateway: Emulator, folder: Path) -> None:
    """Make p0 and p1 unknown: one is charged, and the other is not."""
    gateway.script("cut_after_acceptance", prompt="picture 0")
    gateway.script("cut_before_acceptance", prompt="picture 1")
    run(gateway, folder)
    assert Counter(states(folder).values()) == {"saved": 4, "unknown": 2}
    assert len(gateway.bill.charges) == 5


@pytest.mark.parametrize("fault", ["log_refused", "log_html_200", "log_429", "log_500", "log_garbage"])
@pytest.mark.apimaster_emulator(pictures="small")
def test_without_a_log_it_says_so_and_goes_on(apimaster_emulator: Emulator, tmp_path: Path, fault: str) -> None:
    lose(apimaster_emulator, tmp_path)
    apimaster_emulator.script({"fault": fault, "times": None})
    apimaster_emulator.script("task_failed", prompt="picture 6")
    REQUESTS.append({"prompt": "picture 6", "id": "p6", "resolution": "0.5K"})
    try:
        found = run(apimaster_emulator, tmp_path)
    finally:
        REQUESTS.pop()
    assert found is not None
    assert found.note
    assert names(found.still_unknown) == ["p0", "p1"]
    assert Counter(states(tmp_path).values()) == {"saved": 4, "unknown": 2, "failed": 1}, "the rest of the list"
    assert len(apimaster_emulator.requests_to("log")) == 1, "once"


@pytest.mark.apimaster_emulator(pictures="small")
def test_to_submit_unknown_images_again_it_asks_first(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    """What is found is not bought again; what was not charged is, and so is what the log can't tell."""
    lose(apimaster_emulator, tmp_path)
    run(apimaster_emulator, tmp_path, retry_unknown=True)
    assert Counter(states(tmp_path).values()) == {"saved": 6}
    assert len(apimaster_emulator.bill.charges) == 6


@pytest.mark.apimaster_emulator(pictures="small")
def test_what_the_log_cannot_tell_is_submitted_again_as_asked(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    lose(apimaster_emulator, tmp_path)
    apimaster_emulator.script({"fault": "log_500", "times": None})
    run(apimaster_emulator, tmp_path, retry_unknown=True)
    assert Counter(states(tmp_path).values()) == {"saved": 6}
    assert len(apimaster_emulator.bill.charges) == 7


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_charge_gets_time_to_show(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    lose(apimaster_emulator, tmp_path)
    assert run(apimaster_emulator, tmp_path, settle_after=60) == Settlement()
    assert apimaster_emulator.requests_to("log") == []
    assert Counter(states(tmp_path).values()) == {"saved": 4, "unknown": 2}


@pytest.mark.parametrize(
    ("begun", "unknown", "settled", "due"),
    [
        (930, 931, None, True),
        (930, 999, None, True),  # its process was found dead a moment ago
        (950, 951, None, False),
        (None, 931, None, False),  # it was made at 990, and nobody knows when its request went out
        (100, 101, 930, True),
        (100, 101, 990, False),  # another process that has just started has asked
    ],
)
def test_when_an_image_is_looked_up(begun: float | None, unknown: float, settled: float | None, due: bool) -> None:
    class OneImage:
        def now(self) -> float:
            return 1000

        def rows(self, states: object) -> Iterator[list[Row]]:
            times = {"begun_at": begun, "unknown_since": unknown, "settled_at": settled}
            yield [Row("album/castle", 0, "d", "{}", state="unknown", created_at=990, **times)]  # type: ignore[arg-type]

    assert due_keys(OneImage(), 60) == (["album/castle"] if due else [])  # type: ignore[arg-type]


@pytest.mark.apimaster_emulator(pictures="small")
@pytest.mark.parametrize("stop", [AsyncRun.halt, AsyncRun.abort])
@pytest.mark.parametrize("retry_unknown", [False, True])
def test_a_run_can_be_stopped_while_it_asks(
    apimaster_emulator: Emulator, tmp_path: Path, stop: Any, retry_unknown: bool
) -> None:
    lose(apimaster_emulator, tmp_path)
    apimaster_emulator.script("poll_hang", on="log")
    requests = [*REQUESTS, {"prompt": "one more"}]

    async def work() -> None:
        with Ledger.open(tmp_path / "ledger.db", settle_after=0) as ledger:
            async with AsyncAPIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
                going = AsyncBatch(client, tmp_path, ledger=ledger).run(requests, retry_unknown=retry_unknown)
                ended = asyncio.ensure_future(going.finish())
                await asyncio.to_thread(until, lambda: apimaster_emulator.requests_to("log"))
                stop(going)
                await asyncio.wait_for(asyncio.gather(ended, return_exceptions=True), 10)

    asyncio.run(work())
    assert Counter(states(tmp_path).values()) == {"saved": 4, "unknown": 2, "planned": 1}
    assert len(apimaster_emulator.bill.charges) == 5


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_command_says_what_it_found_out(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lose(apimaster_emulator, tmp_path)
    for name, value in apimaster_emulator.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Ledger, "open", partial(Ledger.open, settle_after=0))
    words = ["batch", "resume", str(tmp_path), "--yes"]
    apimaster_emulator.script("log_500")
    assert apimaster(words) == 7
    printed = capsys.readouterr().err
    assert printed.count("The usage log told nothing of 2 images: ") == 1
    assert f"apimaster batch resume {tmp_path} --yes asks the account's usage log" in " ".join(printed.split())
    assert apimaster([*words, "--json"]) == 6
    _, settled, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert settled == {"event": "settled", "recovered": 1, "not_charged": 1, "still_unknown": 0, "note": None}
    assert apimaster(words) == 6
    assert "usage log" not in capsys.readouterr().err, "nothing is unknown any more"


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_command_gives_the_reasons(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lose(apimaster_emulator, tmp_path)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.resolve(f"{tmp_path.name}/p0", charged=False)
    for name, value in apimaster_emulator.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Ledger, "open", partial(Ledger.open, settle_after=0))
    apimaster_emulator.reset()  # and with it its log: it proves nothing
    assert apimaster(["batch", "resume", str(tmp_path), "--yes"]) == 7
    printed = " ".join(capsys.readouterr().err.split())
    assert "The usage log was asked about unknown images: 1 still unknown." in printed
    assert "still unknown, 1 image: the log holds no other purchase of this ledger from about that time" in printed
