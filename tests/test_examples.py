"""Each example runs against the emulator and leaves the pictures that it promises.

Most run inside this process, which saves a new interpreter for each: an example is a script, so it sees its working
directory, its arguments and its environment, and nothing else of the test. What is about more than one process
(``resume.py``, ``webhook_receiver.py``) runs in processes.
"""

from __future__ import annotations

import ast
import json
import runpy
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.webhooks import sign

EXAMPLES = Path(__file__).parents[1] / "examples"
SECRET = "whsec-made-up"
NAMES = ("async_many.py", "edit_with_references.py", "quickstart.py", "resume.py", "webhook_receiver.py")

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def emu(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator that the environment names, in this process and in those that it starts, and a folder to work in."""
    server.reset()
    monkeypatch.chdir(tmp_path)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APIMASTER_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    return server


@pytest.fixture
def run(emu: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs an example as a script inside this process; returns what it prints."""

    def run_script(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / name), *arguments])
        runpy.run_path(sys.argv[0], run_name="__main__")
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run_script


def pictures(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png") if path.stat().st_size > 1000)


def test_this_file_tests_every_example() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == list(NAMES)
    source = Path(__file__).read_text(encoding="utf-8")
    for name in NAMES:
        assert source.count(f'"{name}"') > 1, name


def test_quickstart(run: Callable[..., str], tmp_path: Path) -> None:
    assert run("quickstart.py").endswith(": 1376×768, $0.0375\n")
    assert len(pictures(tmp_path / "pictures")) == 1


def test_edit_with_references(run: Callable[..., str], emu: Emulator) -> None:
    assert run("edit_with_references.py") == "cat.png -> cat-at-night.png\n"
    assert run("edit_with_references.py", "cat.png").startswith("cat.png -> cat-at-night")
    assert len(emu.bill.charges) == 3


def test_async_many(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run("async_many.py")
    assert printed.endswith("3 of 3 arrived, for $0.1125\n")
    assert pictures(tmp_path / "seasons") == ["autumn.png", "spring.png", "summer.png"]
    assert printed.count(": task task_") == 3


def test_resume(run: Callable[..., str], emu: Emulator, tmp_path: Path) -> None:
    assert run("resume.py", "submit").startswith("submitted task_")
    assert pictures(tmp_path) == []
    assert emu.api_key not in (tmp_path / "task.json").read_text(encoding="utf-8")
    words = [sys.executable, str(EXAMPLES / "resume.py"), "collect"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "collected island.png\n", "")
    assert pictures(tmp_path) == ["island.png"]
    assert len(emu.bill.charges) == 1


@contextmanager
def receiver() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    words = [sys.executable, str(EXAMPLES / "webhook_receiver.py"), "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().split()[-1]
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.terminate()


def deliver(url: str, event: dict[str, Any], secret: str = SECRET, key_id: str = "1") -> tuple[int, Any]:
    body = json.dumps(event).encode()
    request = urllib.request.Request(url, body, sign(body, secret, timestamp=int(time.time()), key_id=key_id))
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_webhook_receiver(emu: Emulator, tmp_path: Path) -> None:
    with APIMaster() as client:
        earlier, task = client.submit("An orange cat"), client.submit("An orange cat")
        client.wait(task)
    # An event that a receiver saved and answered before it was stopped.
    body = json.dumps(
        {"id": "evt_0", "type": "task.completed", "data": {"task_id": earlier.id, "model": earlier.model}}
    )
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT, done INTEGER DEFAULT 0)")
        database.execute("INSERT INTO events (id, body) VALUES ('evt_0', ?)", (body,))
    output = {"output_id": "0", "type": "image", "url": f"{emu.base_url}/tasks/{task.id}/outputs/0/content"}
    data = {"task_id": task.id, "model": task.model, "result": {"outputs": [output]}}
    event = {"id": "evt_2", "type": "task.completed", "data": data}
    with receiver() as (url, process):
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{earlier.id}: received")
        challenge = {"id": "evt_1", "type": "webhook.endpoint_verification", "data": {"challenge": "c-1"}}
        assert deliver(url, challenge) == (200, {"challenge": "c-1"})
        status, refusal = deliver(url, event, secret="another")
        assert status == 400
        assert "signature" in refusal["error"]
        assert deliver(url, event) == (200, {})
        assert deliver(url, event) == (200, {})
        assert process.stdout.readline().startswith(f"{task.id}: received")
    assert len(pictures(tmp_path / "received")) == 2  # one for each task, although one event came twice
    assert len(emu.bill.charges) == 2


def test_webhook_receiver_needs_no_restart_after_a_rotation(
    emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets.json"
    monkeypatch.delenv("APIMASTER_WEBHOOK_SECRET")
    monkeypatch.setenv("APIMASTER_WEBHOOK_SECRETS", str(file))
    with APIMaster() as client:
        made = client.webhooks.create("https://example.com/hooks", save_secret=file)
        with receiver() as (url, _):
            rotated = client.webhooks.rotate(made.endpoint, save_secret=file)
            challenge = {"id": "evt_1", "type": "webhook.endpoint_verification", "data": {"challenge": "c-1"}}
            for key_id, secret in {**made.secrets, **rotated.secrets}.items():
                status, answer = deliver(url, challenge, secret.get_secret_value(), key_id)
                assert (status, answer) == (200, {"challenge": "c-1"})
            assert deliver(url, challenge, "forged", str(rotated.key_id))[0] == 400


@pytest.mark.parametrize("name", NAMES)
def test_an_example_needs_only_the_core(name: str) -> None:
    tree = ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= {*sys.stdlib_module_names, "apimaster"}
    assert ast.get_docstring(tree)
