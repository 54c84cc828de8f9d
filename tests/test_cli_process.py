"""The command as a process of its own: signals, terminals, pipes, and what a crash leaves behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator

PROMPT = "An orange cat at sunset, watercolor"
COMMAND = ["-m", "apimaster.cli"]


@pytest.fixture
def slow() -> Iterator[Emulator]:
    """An emulator whose jobs end when the test says so."""
    with Emulator(latency="manual") as emulator:
        yield emulator


def environment(emulator: Any = None, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("APIMASTER_")}
    env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONIOENCODING": "utf-8", "TERM": "xterm-256color"}
    if emulator is not None:
        env |= {"APIMASTER_BASE_URL": emulator.base_url, "APIMASTER_API_KEY": emulator.api_key}
    return env | more


@contextlib.contextmanager
def started(words: list[str], folder: Path, env: dict[str, str]) -> Iterator[forked.Child]:
    with forked.start(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        # Nothing here may take long; if it does, an end is better than a test run that hangs.
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def finished(words: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return forked.run(words, cwd=folder, env=env)


def wait_until(condition: Callable[[], object]) -> None:
    """For what another process does and no stream tells."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def read_until(stream: Any, pattern: str, times: int = 1) -> list[str]:
    """Lines, up to the one in which the pattern has been found so often."""
    lines = []
    for line in stream:
        lines.append(line)
        times -= bool(re.search(pattern, line))
        if times == 0:
            return lines
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_how_to_resume_and_the_line_works(number: int, slow: Emulator, tmp_path: Path) -> None:
    env = environment(slow)
    with started([*COMMAND, "generate", PROMPT, "-o", "my cat.png"], tmp_path, env) as process:
        read_until(process.stderr, "queued task_")
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    line = re.search(r"^To pick it up: (apimaster task .*)$", err, re.MULTILINE)
    assert line is not None, err
    assert not list(tmp_path.iterdir())

    words = shlex.split(line[1])
    slow.finish(words[2])
    picked = finished([*COMMAND, *words[1:]], tmp_path, env)
    assert picked.returncode == 0, picked.stderr
    assert picked.stdout == "my cat.png  1024×1024  PNG  $0.0375\n"
    assert (tmp_path / "my cat.png").stat().st_size > 1000
    assert len(slow.bill.charges) == 1


def test_an_interrupt_names_every_task(slow: Emulator, tmp_path: Path) -> None:
    with started([*COMMAND, "generate", PROMPT, "-n", "3", "-o", "cat.png"], tmp_path, environment(slow)) as process:
        read_until(process.stderr, "queued task_", times=3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    lines = re.findall(r"^To pick it up: apimaster task (\S+) --wait -o (\S+)$", err, re.MULTILINE)
    assert [place for _, place in lines] == ["cat-1.png", "cat-2.png", "cat-3.png"]
    assert len({task for task, _ in lines}) == 3


def test_an_interrupt_in_one_shot_mode_says_that_it_may_be_charged(slow: Emulator, tmp_path: Path) -> None:
    with started([*COMMAND, "generate", PROMPT, "--mode", "sync", "--json"], tmp_path, environment(slow)) as process:
        read_until(process.stderr, "submitting")
        wait_until(lambda: slow.jobs)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert '"billed": "maybe"' in out
    assert "usage log" in out
    assert "Traceback" not in err


def test_a_killed_process_loses_nothing(slow: Emulator, tmp_path: Path) -> None:
    env = environment(slow)
    with started([*COMMAND, "generate", PROMPT], tmp_path, env) as process:
        task_id = re.search("task_[^ \n]+", read_until(process.stderr, "queued task_")[-1])
        process.kill()
    assert task_id is not None
    slow.finish(task_id[0])
    picked = finished([*COMMAND, "task", task_id[0], "--wait", "-o", "out/"], tmp_path, env)
    assert picked.returncode == 0, picked.stderr
    with APIMaster(slow.api_key, base_url=slow.base_url) as client:
        image = client.retrieve(task_id[0]).images[0]
        assert next((tmp_path / "out").iterdir()).read_bytes() == client.read(image)
    assert len(slow.bill.charges) == 1


def test_the_emulator_in_the_process_is_interrupted(tmp_path: Path) -> None:
    with started([*COMMAND, "generate", PROMPT, "--emulator"], tmp_path, environment()) as process:
        read_until(process.stderr, "queued task_")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "no money was spent" in err
    assert "To pick it up" not in err


def on_a_terminal(words: list[str], folder: Path, env: dict[str, str], until: str, then: Any) -> tuple[int, str]:
    """Run with stderr on a terminal; call ``then`` once ``until`` was written. Gives the exit code and all that was."""
    ours, theirs = pty.openpty()
    with forked.start(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # how a terminal says on Linux that the other side has gone
            while piece := os.read(ours, 65536):
                written += piece
                if then is not None and re.search(until.encode(), written):
                    then(process)
                    then = None
        os.close(ours)
        process.wait(timeout=60)
    return process.returncode, written.decode()


def test_a_terminal_gets_a_live_line(slow: Emulator, tmp_path: Path) -> None:
    words = [*COMMAND, "generate", PROMPT, "-o", "cat.png"]

    def finish(_process: Any) -> None:
        slow.finish()

    code, written = on_a_terminal(
        words, tmp_path, environment(slow), r"(queued|running)[^\n]* · 1 s · \$0\.0375", finish
    )
    assert code == 0
    assert "\x1b[" in written  # a line that is drawn again
    assert "submitted task_" in written
    # The live line is gone at the end, and the cursor is visible again.
    assert written.rindex("\x1b[?25h") > written.rindex(" · $0.0375")


def test_an_interrupt_on_a_terminal(slow: Emulator, tmp_path: Path) -> None:
    def press(process: Any) -> None:
        process.send_signal(signal.SIGINT)

    words = [*COMMAND, "generate", PROMPT, "-o", "cat.png"]
    code, written = on_a_terminal(words, tmp_path, environment(slow), "submitted task_", press)
    assert code == 130
    assert re.search(r"To pick it up: apimaster task task_\S+ --wait -o cat\.png", written)
    assert "\x1b[?25h" in written


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path, apimaster_emulator: Emulator) -> None:
    words = [*COMMAND, "generate", PROMPT, "-o", "cat.png"]
    code, written = on_a_terminal(words, tmp_path, environment(apimaster_emulator, TERM="dumb"), "never", None)
    assert code == 0
    assert "queued task_" in written
    assert "\x1b" not in written


def test_the_emulator_command(tmp_path: Path) -> None:
    words = [*COMMAND, "emulator", "--port", "0", "--latency", "0", "--dialect", "mixed", "--faults", "poll_503=0.1"]
    with started(words, tmp_path, environment()) as process:
        lines = read_until(process.stdout, "Ctrl-C ends it")
        export = next(line for line in lines if "export" in line)
        env = environment() | dict(part.split("=", 1) for part in export.split()[1:])
        made = finished([*COMMAND, "generate", PROMPT, "-o", "cat.png"], tmp_path, env)
        assert made.returncode == 0, made.stderr
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 0
    assert out == "1 charges, 0 refunds: $0.0375 at the gateway, nothing here.\n"
    assert "Traceback" not in err


def test_a_port_that_is_taken(tmp_path: Path, apimaster_emulator: Emulator) -> None:
    port = apimaster_emulator.base_url.split(":")[2].split("/")[0]
    done = finished([*COMMAND, "emulator", "--port", port], tmp_path, environment())
    assert done.returncode == 2
    assert re.match(rf"Error: .*{port}", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away(unbuffered: str, tmp_path: Path, apimaster_emulator: Emulator) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    env = environment(apimaster_emulator, PYTHONUNBUFFERED=unbuffered)
    with forked.start([*COMMAND, "models"], cwd=tmp_path, env=env, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        assert process.communicate() == ("", "")
    assert process.returncode == 1


WITHOUT_A_MODULE = """
import sys
missing = sys.argv.pop(1)
for name in [name for name in sys.modules if name.partition(".")[0] in ("apimaster", missing)]:
    del sys.modules[name]  # Python does not look again for a module that is loaded already
sys.modules[missing] = None
from apimaster.cli import main
main()
"""


def without(module: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command where ``module`` is not installed."""
    return finished(["-c", WITHOUT_A_MODULE, module, *words], folder, environment())


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    done = without("typer", ["cost"], tmp_path)
    assert done.returncode == 2
    assert 'pip install "apimaster[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_emulators_extra_it_says_what_to_install(tmp_path: Path) -> None:
    done = without("starlette", ["generate", PROMPT, "--emulator"], tmp_path)
    assert done.returncode == 2
    assert 'pip install "apimaster[emulator]"' in done.stderr


def test_other_missing_modules_are_not_blamed_on_the_extra(tmp_path: Path) -> None:
    done = without("httpx", ["cost"], tmp_path)
    assert done.returncode == 1
    assert "apimaster[cli]" not in done.stderr


def test_a_fresh_interpreter_runs_the_command(tmp_path: Path) -> None:
    """The other tests fork a process that has imported everything: this one imports it itself."""
    command = [sys.executable, "-m", "apimaster.cli", "cost"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr.partition(" ")[0]) == (0, "Prices:")
    assert "$0.0375" in done.stdout


def test_a_background_job_of_a_script_keeps_ignoring_ctrl_c(slow: Emulator, tmp_path: Path) -> None:
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from apimaster.cli import main; main()"
    (tmp_path / "list.txt").write_text("a cat\n")
    commands = {"generate": [PROMPT, "-o", "cat.png"], "batch": ["run", "list.txt", "-o", "out", "--yes"]}
    for number, (name, words) in enumerate(commands.items(), start=1):
        with started(["-c", program, name, *words], tmp_path, environment(slow)) as process:
            wait_until(lambda number=number: len(slow.bill.charges) == number)
            process.send_signal(signal.SIGINT)
            slow.finish()
            _, err = process.communicate()
        assert process.returncode == 0, err
        assert "Interrupted" not in err


def test_the_installed_command_is_this_one() -> None:
    from importlib.metadata import entry_points

    script = next(each for each in entry_points(group="console_scripts") if each.name == "apimaster")
    assert script.value == "apimaster.cli:main"
