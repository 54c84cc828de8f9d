"""``apimaster webhooks listen`` as a process: what it runs, what it answers, what a crash or a stop leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import forked
import httpx
import pytest
from deliveries import SECRET, delivery, event
from waiting import post, register
from webhook_receiver import Receiver

from apimaster import APIMaster
from apimaster.cli.app import run
from apimaster.cli.webhooks.handled_events import HandledEvents
from apimaster.emulator import Emulator
from apimaster.webhooks import VERIFICATION

VARIABLE = "APIMASTER_WEBHOOK_SECRET"


class Listener:
    """A running receiver."""

    def __init__(self, process: forked.Child) -> None:
        self.process = process
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Listening at http://"), line + process.stderr.read()
        self.url = line.split()[2]
        self.client = httpx.Client(timeout=60, trust_env=False)

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def err(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def deliver(self, document: Any, secret: str = SECRET) -> int:
        body, headers = delivery(document, secret)
        return self.client.post(self.url, content=body, headers=headers).status_code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def listening(folder: Path, *words: str, **environment: str) -> Iterator[Listener]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("APIMASTER_")}
    env |= {VARIABLE: SECRET, "PYTHONIOENCODING": "utf-8"} | environment
    command = ["-m", "apimaster.cli", "webhooks", "listen", "--port", "0", *words]
    with forked.start(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            listener = Listener(process)
            with listener.client:
                yield listener
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            watchdog.cancel()
            process.kill()


def script(folder: Path, text: str) -> str:
    """A command that runs Python code."""
    path = folder / "a script; with $signs.py"
    path.write_text("import json, os, sys\n" + text, encoding="utf-8")
    return f"{sys.executable} '{path}'"


def test_each_event_is_one_line_and_comes_once_also_after_a_restart(tmp_path: Path) -> None:
    first, second = event("task_1", event_id="evt_1"), event("task_2", event_id="evt_2", note="ü\n\u2028")
    with listening(tmp_path) as listener:
        assert [listener.deliver(first), listener.deliver(first), listener.deliver(second)] == [200, 200, 200]
        assert json.loads(listener.out.readline()) == first
        assert json.loads(listener.out.readline()) == second
        assert listener.stop() == 0
        assert listener.out.read() == ""
    with listening(tmp_path) as listener:
        assert [listener.deliver(first), listener.deliver(second)] == [200, 200]
        third = event("task_3")
        assert listener.deliver(third) == 200
        assert json.loads(listener.out.readline()) == third


def test_what_is_not_from_the_gateway_is_refused_and_the_challenge_answered(tmp_path: Path) -> None:
    with listening(tmp_path, "--path", "/hooks/image") as listener:
        assert listener.url.endswith("/hooks/image")
        assert listener.deliver(event("task_1"), "another") == 400
        assert "refused" in listener.err.readline()
        body, headers = delivery({"id": "e", "type": VERIFICATION, "data": {"challenge": "c-1"}})
        answer = listener.client.post(listener.url, content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"challenge": "c-1"})
        root = listener.url.removesuffix("/hooks/image")
        assert listener.client.post(f"{root}/", content=body, headers=headers).status_code == 404
        assert listener.client.get(listener.url).status_code == 405
        assert listener.client.post(listener.url, content=b"x" * 1_100_000).status_code == 413
        assert listener.client.post(listener.url, headers={"x-big": "x" * 20_000}).status_code == 400
        assert listener.stop() == 0
        assert listener.out.read() == ""


def test_a_command_gets_the_event_and_never_as_part_of_its_line(tmp_path: Path) -> None:
    nasty = "'; touch injected; $(touch injected) `touch injected` \" --flag"
    document = event("task_1", event_id=f"evt {nasty}", client_reference_id=nasty)
    command = script(
        tmp_path,
        "facts = {k: v for k, v in os.environ.items() if k.startswith('APIMASTER_')}\n"
        "open('seen.json', 'w').write(json.dumps([sys.argv[1:], facts, json.load(sys.stdin)]))\n",
    )
    with listening(tmp_path, "--exec", f"{command} one 'two words'", APIMASTER_API_KEY="sk-x") as listener:
        assert listener.deliver(document) == 200
        assert listener.deliver(document) == 200
    arguments, facts, seen = json.loads((tmp_path / "seen.json").read_text())
    assert arguments == ["one", "two words"]
    assert seen == document
    assert facts == {
        "APIMASTER_API_KEY": "sk-x",
        "APIMASTER_EVENT_ID": document["id"],
        "APIMASTER_EVENT_TYPE": "task.completed",
        "APIMASTER_TASK_ID": "task_1",
        "APIMASTER_TASK_STATUS": "completed",
        "APIMASTER_MODEL": document["data"]["model"],
        "APIMASTER_CLIENT_REFERENCE_ID": nasty,
    }
    assert not (tmp_path / "injected").exists()


@pytest.mark.parametrize("reference", ["nul\0", "x" * 200_000, 5, None, ["a"]])
def test_a_field_that_no_variable_can_hold_is_left_out(tmp_path: Path, reference: Any) -> None:
    command = script(tmp_path, "sys.exit('APIMASTER_CLIENT_REFERENCE_ID' in os.environ)\n")
    with listening(tmp_path, "--exec", command, APIMASTER_CLIENT_REFERENCE_ID="of somebody else") as listener:
        assert listener.deliver(event("task_1", client_reference_id=reference)) == 200


def test_a_failing_command_is_answered_with_500_until_it_is_given_up(tmp_path: Path) -> None:
    command = script(tmp_path, "open('runs', 'a').write('x'); sys.exit(os.path.exists('broken') and 3)\n")
    (tmp_path / "broken").touch()
    with listening(tmp_path, "--exec", command, "--attempts", "3") as listener:
        assert [listener.deliver(event("task_1", event_id="evt_1")) for _ in range(3)] == [500, 500, 200]
        lines = [listener.err.readline() for _ in range(3)]
        assert "attempt 1 of 3" in lines[0]
        assert "exit code 3" in lines[0]
        assert "given up after 3 attempts" in lines[2]
        (tmp_path / "broken").unlink()
        assert listener.deliver(event("task_1", event_id="evt_1")) == 200, "delivered once more, on purpose"
        assert listener.deliver(event("task_1", event_id="evt_1")) == 200
    assert (tmp_path / "runs").read_text() == "xxxx"


@pytest.mark.parametrize("command", ["/nowhere/to/be/found", ".", "no-such-program --flag", "", "'open", "plain.txt"])
def test_a_command_that_is_none_is_refused_at_the_start(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.txt").write_text("not a program")
    assert run(["webhooks", "listen", "--port", "0", "--exec", command]) == 2
    printed = capsys.readouterr().err
    assert "--exec" in printed
    assert "Name a program" in printed
    assert "Correct the request" not in printed


def test_a_command_that_can_no_longer_be_run_is_no_attempt(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    text = "#!/bin/sh\necho >> runs\n"

    def install() -> None:
        tool.write_text(text)
        tool.chmod(0o755)

    install()
    with listening(tmp_path, "--exec", str(tool), "--attempts", "2") as listener:
        tool.unlink()
        for _ in range(4):  # more than --attempts: the event is not given up
            assert listener.deliver(event("task_1", event_id="evt_1")) == 500
            assert "can't be run" in listener.err.readline()
        install()
        assert listener.deliver(event("task_1", event_id="evt_1")) == 200
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    command = script(tmp_path, "import subprocess\nsubprocess.run([sys.executable, '-c', 'open(\"never\").read()'])\n")
    with listening(tmp_path, "--exec", command, "--timeout", "0.5") as listener:
        assert listener.deliver(event("task_1")) == 500
        assert "took longer than 0.5 s" in listener.err.readline()
    # Nobody has it open for reading any more: opening it for writing without waiting fails.
    with pytest.raises(OSError, match="No such device"):
        os.close(os.open(tmp_path / "never", os.O_WRONLY | os.O_NONBLOCK))


def waits_for(folder: Path, name: str) -> str:
    """A command that says that it has begun, and goes on when somebody opens a pipe."""
    os.mkfifo(folder / f"{name}.begun")
    os.mkfifo(folder / f"{name}.go")
    return script(
        folder,
        f"open('{name}.begun', 'w').close()\nopen('{name}.go').read()\nopen('{name}.runs', 'a').write('x')\n",
    )


def test_a_stop_finishes_the_event_that_is_under_way(tmp_path: Path) -> None:
    command = waits_for(tmp_path, "a")
    with listening(tmp_path, "--exec", command) as listener, ThreadPoolExecutor() as pool:
        answer = pool.submit(listener.deliver, event("task_1", event_id="evt_1"))
        (tmp_path / "a.begun").open().close()
        listener.process.send_signal(signal.SIGTERM)
        (tmp_path / "a.go").open("w").close()
        assert answer.result(60) == 200
        assert listener.process.wait(60) == 0
    assert (tmp_path / "a.runs").read_text() == "x"
    assert HandledEvents(tmp_path / "apimaster-webhook-events.sqlite").claim("evt_1", 1) == "done"


def test_a_repetition_is_answered_at_once_while_a_command_runs(tmp_path: Path) -> None:
    command = waits_for(tmp_path, "a")
    with listening(tmp_path, "--exec", command, "--at-once", "1") as listener, ThreadPoolExecutor() as pool:
        HandledEvents(tmp_path / "apimaster-webhook-events.sqlite").claim("evt_done", 1)
        HandledEvents(tmp_path / "apimaster-webhook-events.sqlite").done("evt_done")
        first = pool.submit(listener.deliver, event("task_1", event_id="evt_1"))
        (tmp_path / "a.begun").open().close()
        assert listener.deliver(event("task_1", event_id="evt_1")) == 503
        assert listener.deliver(event("task_2", event_id="evt_done")) == 200
        (tmp_path / "a.go").open("w").close()
        assert first.result(60) == 200
    assert (tmp_path / "a.runs").read_text() == "x"


def test_what_waits_for_its_turn_is_left_to_the_next_start(tmp_path: Path) -> None:
    command = waits_for(tmp_path, "a")
    with listening(tmp_path, "--exec", command, "--at-once", "1") as listener, ThreadPoolExecutor() as pool:
        first = pool.submit(listener.deliver, event("task_1"))
        (tmp_path / "a.begun").open().close()
        with socket.create_connection(("127.0.0.1", int(listener.url.split(":")[2].rstrip("/")))) as second:
            body, headers = delivery(event("task_2"))
            lines = [f"{name}: {value}" for name, value in headers.items()]
            head = ["POST / HTTP/1.1", "host: x", f"content-length: {len(body)}", "expect: 100-continue", *lines]
            second.sendall("\r\n".join([*head, "", ""]).encode())
            assert b"100" in second.recv(1000), "it reads the second delivery"
            second.sendall(body)
            listener.process.send_signal(signal.SIGTERM)
            (tmp_path / "a.go").open("w").close()
            assert first.result(60) == 200
            assert b" 503 " in second.recv(1000)
        assert listener.process.wait(60) == 0
    assert (tmp_path / "a.runs").read_text() == "x"


def test_an_event_whose_receiver_was_killed_is_handled_again(tmp_path: Path) -> None:
    command = waits_for(tmp_path, "a")
    words = ("--exec", command, "--timeout", "60")
    with listening(tmp_path, *words) as listener, ThreadPoolExecutor() as pool:
        answer = pool.submit(listener.deliver, event("task_1", event_id="evt_1"))
        (tmp_path / "a.begun").open().close()
        listener.process.kill()
        assert isinstance(answer.exception(60), httpx.TransportError)
    (tmp_path / "a.go").open("w").close()  # its command goes on alone
    with listening(tmp_path, "--exec", script(tmp_path, "open('again', 'a').write('x')\n")) as listener:
        assert listener.deliver(event("task_1", event_id="evt_1")) == 503, "the claim of the dead one still holds"
        handled = tmp_path / "apimaster-webhook-events.sqlite"
        with sqlite3.connect(handled) as database:  # … and 75 s later it does not
            database.execute("UPDATE events SET claimed_until = claimed_until - 75")
        database.close()
        assert listener.deliver(event("task_1", event_id="evt_1")) == 200
        assert (tmp_path / "again").read_text() == "x"


def test_two_receivers_share_what_they_have_handled(tmp_path: Path) -> None:
    command = script(tmp_path, "open('runs', 'a').write('x')\n")
    documents = [event(f"task_{number}", event_id=f"evt_{number}") for number in range(10)]
    with (
        listening(tmp_path, "--exec", command) as one,
        listening(tmp_path, "--exec", command) as two,
        ThreadPoolExecutor(6) as pool,
    ):
        answers = list(pool.map(lambda n: (one, two)[n % 2].deliver(documents[n // 4]), range(40)))
        assert set(answers) <= {200, 503}
        assert {(one, two)[n % 2].deliver(documents[n]) for n in range(10)} == {200}
    assert len((tmp_path / "runs").read_text()) == 10


def test_forwarded_deliveries_can_be_verified_by_who_gets_them(tmp_path: Path) -> None:
    with Receiver() as behind:
        behind.statuses += [503, 410]
        with listening(tmp_path, "--forward", behind.url) as listener:
            document = event("task_1")
            assert [listener.deliver(document) for _ in range(4)] == [500, 500, 200, 200]
        assert len(behind.received) == 3
        assert all(each.is_genuine(SECRET) for each in behind.received)
        assert behind.received[-1].document == document


def test_forwarding_to_nobody_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://name:password@127.0.0.1:{taken.getsockname()[1]}/"
        with listening(tmp_path, "--forward", url) as listener:
            assert listener.deliver(event("task_1")) == 500
            line = listener.err.readline()
            assert "did not answer" in line
            assert "password" not in line


def test_deliveries_of_the_emulator_are_handled_once_each_although_they_repeat_and_fail(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "name = os.environ['APIMASTER_TASK_ID']\n"
        "first = not os.path.exists(name)\n"
        "open(name, 'a').write('x')\n"
        "sys.exit(3 if first else 0)\n",
    )
    secret = tmp_path / "secret"
    secret.write_text("not-known-yet")
    with (
        Emulator(latency=0, pictures="small", webhook_pause=0.05) as emu,
        listening(tmp_path, "--exec", command, "--secret-file", str(secret)) as listener,
    ):
        endpoint_id, shown = register(emu, listener.url)
        (tmp_path / "new").write_text(shown)
        (tmp_path / "new").replace(secret)
        post(emu, f"/webhook-endpoints/{endpoint_id}/verify")
        emu.script(*["delivery_duplicated", "delivery_forged"] * 5)
        with APIMaster(emu.api_key, base_url=emu.base_url) as client:
            tasks = [client.submit("a cat", webhook=endpoint_id) for _ in range(10)]
        deadline = time.monotonic() + 60
        while any(each.status != "delivered" for each in emu.webhook_events) or len(emu.webhook_events) < 10:
            assert time.monotonic() < deadline
            emu.settle_webhooks()
            emu.advance(1)
    # The first attempt failed, and the second ended it.
    assert [(tmp_path / task.id).read_text() for task in tasks] == ["xx"] * 10


def test_a_secret_that_is_rotated_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{"1": "old"}')
    with listening(tmp_path, "--secret-file", str(file), **{VARIABLE: "unused"}) as listener:
        assert listener.deliver(event("task_1"), "old") == 200
        (tmp_path / "new.json").write_text('{"1": "new", "0": "old"}')
        (tmp_path / "new.json").replace(file)
        assert listener.deliver(event("task_2"), "new") == 200
        file.write_text("{")
        assert listener.deliver(event("task_3"), "new") == 200, "a file that can't be read changes nothing"
        assert "stay in use" in listener.err.readline()


def test_it_ends_when_nobody_reads_its_output(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        listener.out.close()
        assert listener.deliver(event("task_1", event_id="evt_1")) == 500
        assert listener.process.wait(60) == 1
    with listening(tmp_path) as listener:
        assert listener.deliver(event("task_1", event_id="evt_1")) == 200
        assert json.loads(listener.out.readline())["id"] == "evt_1"


@pytest.mark.slow
def test_a_client_that_sends_nothing_is_disconnected(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        port = int(listener.url.split(":")[2].rstrip("/"))
        for sent in (
            b"",
            b"POST / HTTP/1.1\r\nhost: x\r\n",
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        ):
            with socket.create_connection(("127.0.0.1", port)) as slow:
                slow.sendall(sent)
                slow.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    while slow.recv(1000):
                        pass


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--exec", "a", "--forward", "http://x"], "exclude each other"),
        (["--exec", ""], "--exec is empty"),
        (["--exec", "'a"], "--exec"),
        (["--forward", "ftp://x"], "--forward"),
        (["--forward", "example.test"], "--forward"),
        (["--forward", "http://"], "--forward"),
        (["--forward", "http://x:99999"], "--forward"),
        (["--path", "hooks"], "--path"),
        (["--path", "/a?b"], "--path"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "nan"], "--timeout"),
        (["--timeout", "inf"], "--timeout"),
        (["--port", "70000"], "--port"),
        (["--attempts", "0"], "--attempts"),
        (["--at-once", "0"], "--at-once"),
        (["--secret-file", "missing.json"], "missing.json"),
        (["--events", "no-such-folder/events"], "--events"),
        (["--events", "."], "--events"),
        (["--host", "203.0.113.7"], "203.0.113.7"),
    ],
)
def test_what_the_command_line_gets_wrong_is_said_before_it_listens(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert run(["webhooks", "listen", "--port", "0", *words]) == 2
    printed = capsys.readouterr()
    assert named in printed.err
    assert SECRET not in printed.err


def test_without_a_secret_it_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, " ")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert run(["webhooks", "listen"]) == 2
    assert VARIABLE in capsys.readouterr().err


def test_what_is_missing_is_named_with_the_extra_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "uvicorn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "apimaster.cli.webhooks.http_server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["webhooks", "listen"]) == 2
    error = capsys.readouterr().err
    assert "needs uvicorn" in error
    assert "apimaster[emulator]" in error


def test_a_claim_holds_for_its_time_whoever_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handled = HandledEvents(tmp_path / "events")
    at = time.time()
    monkeypatch.setattr(time, "time", lambda: at)
    assert handled.claim("evt_1", 600) == "claimed"
    assert handled.claim("evt_1", 10) == "running"
    monkeypatch.setattr(time, "time", lambda: at - 10)  # the clocks of two processes differ a little
    assert handled.claim("evt_1", 10) == "running"
    monkeypatch.setattr(time, "time", lambda: at - 3600)  # the clock was set back
    assert handled.claim("evt_1", 10) == "claimed"
    monkeypatch.setattr(time, "time", lambda: at - 3589)
    assert handled.claim("evt_1", 10) == "claimed", "the claim is over"


def test_what_was_handled_long_ago_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "events"
    at = time.time()
    handled = HandledEvents(file)
    assert handled.claim("evt_1", 10) == "claimed"
    handled.done("evt_1")
    monkeypatch.setattr(time, "time", lambda: at + 31 * 86_400)
    assert HandledEvents(file).claim("evt_1", 10) == "done", "the gateway delivers again for up to 30 days"
    monkeypatch.setattr(time, "time", lambda: at + 41 * 86_400)
    assert HandledEvents(file).claim("evt_1", 10) == "claimed"
    assert (file.stat().st_mode & 0o077) == 0
