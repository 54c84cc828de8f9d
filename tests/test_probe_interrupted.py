"""A probe that is interrupted or killed in the middle of a purchase loses nothing, and repeats nothing."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from apimaster.emulator import Emulator

COMMAND = ["-m", "apimaster.cli", "probe", "--spend", "0.12", "--yes"]


def environment(emulator: Emulator, folder: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("APIMASTER_")}
    return env | emulator.env | {"NO_PROXY": "127.0.0.1", "HOME": str(folder), "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_once_there_is_a_task_its_id_is_kept(number: signal.Signals, tmp_path: Path) -> None:
    with Emulator(latency="manual") as emulator:
        lines, code = stopped_at("paid for: task", number, emulator, tmp_path)
        (job,) = emulator.jobs
        document = json.loads((tmp_path / "probe.json").read_text())
        assert [(each["state"], each["task_id"]) for each in document["purchases"]] == [("task", job.id)]
        assert any(job.id in line for line in lines)
        if number != signal.SIGKILL:
            assert code == 130
            assert f"apimaster task {job.id} --wait" in lines[-1]
        assert len(emulator.bill.charges) == 1
        assert oct((tmp_path / "probe.json").stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_without_a_reply_the_transcript_says_that_it_was_sent(number: signal.Signals, tmp_path: Path) -> None:
    with Emulator(latency="manual", dialect="submit_as_image") as emulator:  # no reply before the picture is done
        lines, code = stopped_at("one picture by submit", number, emulator, tmp_path, jobs=1)
        document = json.loads((tmp_path / "probe.json").read_text())
        assert [(each["state"], each["task_id"]) for each in document["purchases"]] == [("sent", "")]
        if number != signal.SIGKILL:
            assert code == 130
            assert any("may be charged" in line for line in lines)
        read = forked.run(["-m", "apimaster.cli", "probe", "--read", "probe.json"], cwd=tmp_path, env={**os.environ})
        assert read.returncode == 7
        assert "it may be charged" in read.stdout


def stopped_at(
    words: str, number: signal.Signals, emulator: Emulator, folder: Path, jobs: int = 0
) -> tuple[list[str], int]:
    """The lines on stderr of a probe that got a signal once it had printed these words, and its exit code."""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    lines: list[str] = []
    with forked.start(COMMAND, cwd=folder, env=environment(emulator, folder), **options) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            for line in process.stderr:
                lines.append(line)
                if words in line and line.startswith(("…", "  paid")):
                    break
            end = time.monotonic() + 30
            while len(emulator.jobs) < jobs:  # no stream tells when the request has arrived
                assert time.monotonic() < end
                time.sleep(0.01)
            process.send_signal(number)
            lines += list(process.stderr)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
    return lines, code


@pytest.mark.parametrize(("answer", "bought"), [("n", 0), ("", 0), ("y", 1)])
def test_a_terminal_is_asked_before_anything_is_sent(answer: str, bought: int, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with Emulator(pictures="plain", dialect="submit_as_image") as emulator:
        words = ["-m", "apimaster.cli", "probe", "--spend", "0.05"]
        with forked.start(
            words,
            cwd=tmp_path,
            env=environment(emulator, tmp_path),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            printed = ""
            while "[y/N]" not in printed:
                printed += os.read(ours, 1000).decode()
            assert not emulator.requests
            assert "$0.0375" in printed
            os.write(ours, f"{answer}\n".encode())
            drained = threading.Thread(target=drain, args=(ours,), daemon=True)
            drained.start()
            process.stdout.read()
            code = process.wait()
        assert len(emulator.bill.charges) == bought
        assert bool(emulator.requests) == bool(bought)
        assert (tmp_path / "probe.json").exists() == bool(bought)
        assert code in ((0, 8) if bought else (130,))


def drain(end: int) -> None:
    try:
        while os.read(end, 1000):
            pass
    except OSError:  # the other end is closed
        pass
