"""``apimaster batch`` as people and scripts use it: in this process, and as a process that gets Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import forked
import pytest
from rich.console import Console

from apimaster.batch.place import read_items
from apimaster.cli.app import run as apimaster
from apimaster.cli.batch.display import LiveDisplay, PlainDisplay, panel, plain_line
from apimaster.emulator import Emulator

PROMPTS = [f"picture number {number}" for number in range(12)]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY", "APIMASTER_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "list.txt"
    path.write_text("\n".join(PROMPTS))
    return path


@pytest.fixture
def gateway(apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, listed: Path) -> Emulator:
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    return apimaster_emulator


def states(directory: Path) -> Counter[str]:
    return Counter(item.state for item in read_items(directory))


def test_a_look_first_costs_nothing_and_needs_no_key(listed: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert apimaster(["batch", "run", str(listed), "-o", str(out), "-r", "2k", "--max-cost", "0.20", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "gemini-3.1-flash-image-preview  2K  12 × $0.05" in printed.err
    assert "To submit: 12 images, $0.60." in printed.err
    assert "that is enough for 4 images, $0.20." in printed.err
    assert not out.exists()


def test_all_faults_of_a_list_at_once(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"prompt": ""}\n{"prompt": "x", "resolution": "9K"}\n')
    assert apimaster(["batch", "run", str(path), "-o", str(tmp_path / "out"), "--yes"]) == 2
    printed = capsys.readouterr().err
    assert "line 1: prompt is empty" in printed
    assert "line 2: resolution '9K'" in printed


def test_nobody_to_ask(gateway: Emulator, listed: Path, tmp_path: Path, capsys: Any) -> None:
    assert apimaster(["batch", "run", str(listed), "-o", str(tmp_path / "out")]) == 2
    assert "--yes" in capsys.readouterr().err
    assert len(gateway.requests) == 0
    assert not (tmp_path / "out").exists()


def test_without_a_key_it_says_so_before_it_asks(listed: Path, tmp_path: Path, capsys: Any) -> None:
    assert apimaster(["batch", "run", str(listed), "-o", str(tmp_path / "out"), "--yes"]) == 3
    assert "APIMASTER_API_KEY" in capsys.readouterr().err


@pytest.mark.apimaster_emulator(pictures="small")
def test_run_status_export_resume(gateway: Emulator, listed: Path, tmp_path: Path, capsys: Any) -> None:
    out = str(tmp_path / "out")
    gateway.script("task_failed", prompt=PROMPTS[3])
    gateway.script("proxy_504_html", prompt=PROMPTS[5])
    assert apimaster(["batch", "run", str(listed), "-o", out, "--yes", "-r", "512"]) == 7
    printed = capsys.readouterr().err
    assert "failed: picture-number-3" in printed
    assert "10 saved, 1 failed, 1 unknown" in printed
    assert f"Gallery: {out}/index.html" in printed

    assert apimaster(["batch", "status", out]) == 0
    printed = capsys.readouterr().out
    for part in ("saved", "10", "failed", "unknown", "$0.4125 spent or possibly spent", "not running"):
        assert part in printed
    assert apimaster(["batch", "status", out, "--watch"]) == 0
    assert apimaster(["batch", "status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["saved"] == 10

    assert apimaster(["batch", "resume", out, "--retry-failed", "--json", "--yes"]) == 7
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["plan", "image", "end"]
    assert (events[0]["planned"], events[1]["state"], events[2]["saved"]) == (1, "saved", 11)

    (tmp_path / "out" / "manifest.jsonl").unlink()
    assert apimaster(["batch", "export", out, "--gallery"]) == 0
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 12
    assert apimaster(["batch", "export", out]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12
    table = tmp_path / "table.csv"
    assert apimaster(["batch", "export", out, "-o", str(table)]) == 0
    assert table.read_text().startswith("id,line,state,prompt")
    assert apimaster(["batch", "export", out, "--gallery", "--format", "csv"]) == 2


@pytest.mark.apimaster_emulator(pictures="small")
def test_what_stopped_it_and_how_to_go_on_are_printed(
    gateway: Emulator, listed: Path, tmp_path: Path, capsys: Any
) -> None:
    out = str(tmp_path / "out")
    assert apimaster(["batch", "run", str(listed), "-o", out, "--yes", "--max-images", "2"]) == 4
    printed = capsys.readouterr().err
    assert (
        "Stopped: The limit is reached: 10 images not submitted. Raise the limit, then run the batch again." in printed
    )
    assert "2 saved, 10 not submitted; spent $0.075." in printed
    assert f"To go on: apimaster batch resume {out}" in printed
    gateway.script({"fault": "unauthorized", "times": 20})
    assert apimaster(["batch", "resume", out, "--yes", "--max-images", "99", "--json"]) == 3
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], end["error"]["type"], end["planned"]) == ("end", "AuthenticationError", 10)
    assert "`apimaster doctor`" in end["error"]["advice"]


def test_a_folder_without_a_batch(tmp_path: Path, capsys: Any) -> None:
    for command in ("status", "resume", "export"):
        assert apimaster(["batch", command, str(tmp_path)]) == 2
        assert "no batch in" in capsys.readouterr().err


def test_the_emulator_needs_no_key(listed: Path, tmp_path: Path, capsys: Any) -> None:
    listed.write_text("one picture")
    assert (
        apimaster(["batch", "run", str(listed), "-o", str(tmp_path / "out"), "--yes", "--emulator", "-r", "0.5K"]) == 0
    )
    assert "no money was spent" in capsys.readouterr().err
    assert states(tmp_path / "out") == {"saved": 1}


def process(*words: str) -> forked.Child:
    return forked.start(["-m", "apimaster.cli", *words], stderr=subprocess.PIPE)


def until(condition: Any, going: forked.Child) -> None:
    ends = time.monotonic() + 40
    while not condition():
        assert going.poll() is None, f"it has ended: {going.communicate()[1]}"
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C can't be sent to a process there")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_writes_down_what_is_under_way(
    gateway: Emulator, listed: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    out = tmp_path / "out"
    started = process("batch", "run", str(listed), "-o", str(out), "--yes", "--concurrency", "5")
    until(lambda: len(gateway.bill.charges) == 5, started)
    started.send_signal(kind)
    printed = started.communicate(timeout=20)[1]
    assert started.returncode == 130
    assert states(out) == {"submitted": 5, "planned": 7}
    assert f"To go on: apimaster batch resume {out}" in printed
    assert "5 still under way, 7 not submitted" in printed
    assert "Traceback" not in printed


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C can't be sent to a process there")
def test_an_interrupt_where_event_loops_take_no_signal_handlers(
    gateway: Emulator, listed: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError  # as on Windows

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "remove_signal_handler", refuse)
    out = tmp_path / "out"

    def press() -> None:
        while len(gateway.bill.charges) < 5:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        presser = threading.Thread(target=press)
        presser.start()
        assert apimaster(["batch", "run", str(listed), "-o", str(out), "--yes", "--concurrency", "5"]) == 130
        presser.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "as it was"
    finally:
        signal.signal(signal.SIGINT, before)
    assert states(out) == {"submitted": 5, "planned": 7}
    assert "5 still under way, 7 not submitted" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C can't be sent to a process there")
def test_two_interrupts_end_it_at_once(gateway: Emulator, listed: Path, tmp_path: Path) -> None:
    gateway.script({"fault": "hang", "times": 12})
    out = tmp_path / "out"
    started = process("batch", "run", str(listed), "-o", str(out), "--yes", "--concurrency", "3")
    until(lambda: len(gateway.bill.charges) == 2, started)  # as many submits as are on the wire at once
    started.send_signal(signal.SIGINT)
    assert started.stderr is not None
    assert any("Ctrl-C again ends it now" in line for line in started.stderr), "it says so before it has ended"
    assert started.poll() is None, "it waits for the answers to what it has sent"
    started.send_signal(signal.SIGINT)
    printed = started.communicate(timeout=60)[1]
    assert started.returncode == 130
    assert states(out) == {"unknown": 2, "planned": 10}
    assert "Traceback" not in printed


@pytest.mark.apimaster_emulator(pictures="small", latency=0.3)
@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals there")
def test_a_terminal_gets_the_panel(gateway: Emulator, listed: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = ["-m", "apimaster.cli", "batch", "run", str(listed), "-o", str(tmp_path / "out"), "--yes"]
    with forked.start(words, stderr=theirs, env=os.environ | {"TERM": "xterm-256color"}) as started:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # the other end is closed: that is how it ends
            while piece := os.read(ours, 1 << 16):
                printed += piece
    os.close(ours)
    assert started.returncode == 0
    text = printed.decode()
    for part in ("To submit: 12 images", "╭─", "12 of 12 · 100 %", "12 saved; spent $0.45."):
        assert part in text


BLOCKING = """
from apimaster import APIMaster
from apimaster.batch import Batch
with APIMaster() as client:
    for item in Batch(client, "out", concurrency=4).run([f"x {n}" for n in range(9)]):
        print(item)
"""


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C can't be sent to a process there")
def test_an_interrupt_in_blocking_code_loses_nothing(gateway: Emulator, tmp_path: Path) -> None:
    with forked.start(["-c", BLOCKING], stderr=subprocess.PIPE, cwd=tmp_path) as started:
        until(lambda: len(gateway.bill.charges) == 4, started)
        started.send_signal(signal.SIGINT)
        printed = started.communicate(timeout=20)[1]
    assert printed.rstrip().endswith("KeyboardInterrupt")
    assert states(tmp_path / "out") == {"submitted": 4, "planned": 5}


@pytest.mark.apimaster_emulator(pictures="small", latency=0.2)
def test_two_processes_on_one_folder(gateway: Emulator, listed: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    first = process("batch", "run", str(listed), "-o", str(out), "--yes", "--concurrency", "1")
    until(lambda: len(gateway.bill.charges) >= 1, first)
    assert apimaster(["batch", "status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running_in"] == f"process {first.pid} on {socket.gethostname()}"
    assert apimaster(["batch", "run", str(listed), "-o", str(out), "--yes"]) == 0
    assert "12 saved; spent $0.45." in capsys.readouterr().err
    printed = first.communicate(timeout=20)[1]
    assert first.returncode == 0
    assert "12 saved; spent $0.45." in printed
    assert len(gateway.bill.charges) == 12
    assert apimaster(["batch", "status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running_in"] is None


# --- the display ---------------------------------------------------------------------------------------


class Shown:
    """A run that does not change."""

    def __init__(self) -> None:
        from decimal import Decimal

        from apimaster.batch.ledger_records import StateCount
        from apimaster.batch.tally import Tally
        from apimaster.batch.throttle import Throttle

        price = Decimal("0.0375")
        zero = Decimal(0)
        self.tally = Tally([StateCount("planned", True, price, 1000, zero)], 0.0)
        for saved in (60, 100):
            counts = [
                StateCount("planned", True, price, 1000 - saved, zero),
                StateCount("saved", True, price, saved, zero),
            ]
            self.tally.update(counts, 50.0 + saved / 10)
        self.throttle = Throttle(64)
        self.halted = False
        self.limit = Decimal(5)


def ended(state: str, **facts: Any) -> Any:
    from apimaster import ImageRequest
    from apimaster.batch import BatchItem

    return BatchItem(id=f"the-{state}-one", line=4, request=ImageRequest(prompt="x"), state=state, **facts)


def drawn(shown: Shown, width: int = 90) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(panel(shown, [], 60.0, "batch out"))
    return console.export_text()


def test_the_panel_has_everything_people_look_for() -> None:
    shown = Shown()
    text = drawn(shown)
    for part in ("saved", "100", "900", "$3.75 spent", "$33.75 to come", "limit $5.00", "100 images/min", "9 min left"):
        assert part in text
    assert "100 of 1,000 · 10 %" in text
    assert max(map(len, drawn(shown, 60).splitlines())) <= 60
    shown.throttle.refused(58.0, 64, 12.0)
    assert "asked for a pause: next submit in 10 s" in drawn(shown)
    shown.throttle.resume_at = 0.0
    assert "accepts fewer at once: 48 instead of 64" in drawn(shown)
    shown.halted = True
    assert "Ctrl-C again" in drawn(shown)


def test_plain_lines_and_the_live_panel(capsys: Any) -> None:
    shown = Shown()
    assert "100 saved, 900 planned, $3.75 spent, $33.75 to come, 100.0 images/min" in plain_line(shown, 60.0)

    async def for_a_moment(display: Any) -> None:
        task = asyncio.ensure_future(display.show(shown))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    console = Console(stderr=True, force_terminal=True, width=80, color_system=None)
    live = LiveDisplay(console, "batch out")
    live.ended(ended("saved", width=64, height=36, submitted_at=10.0, finished_at=75.0))
    live.ended(ended("failed", error="the prompt was blocked"))
    live.ended(ended("submitted", error="the wait ended"))
    asyncio.run(for_a_moment(live))
    printed = capsys.readouterr().err
    for part in (
        "100 of 1,000",
        "✓ the-saved-one  64×36  1 min",
        "✗ the-failed-one  the prompt was blocked",
        "… the-sub",
    ):
        assert part in printed
    plain = PlainDisplay(Console(stderr=True))
    plain.ended(ended("saved"))
    plain.ended(ended("unknown", error="nobody knows"))
    asyncio.run(for_a_moment(plain))
    printed = capsys.readouterr().err
    assert "unknown: the-unknown-one (line 4): nobody knows" in printed
    assert "100 saved" in printed
