"""Every example runs, against the emulator, and leaves what it promises."""

from __future__ import annotations

import ast
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.webhooks import sign

EXAMPLES = Path(__file__).parents[1] / "examples"
SECRET = "whsec-made-up"


def environment(emulator: Any) -> dict[str, str]:
    ours = {
        "APIMASTER_BASE_URL": emulator.base_url,
        "APIMASTER_API_KEY": emulator.api_key,
        "APIMASTER_WEBHOOK_SECRET": SECRET,
        "NO_PROXY": "127.0.0.1",
        "PYTHONIOENCODING": "utf-8",
    }
    return {**os.environ, **ours}


def run(name: str, *arguments: str, folder: Path, emulator: Any) -> str:
    words = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(emulator),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png") if path.stat().st_size > 1000)


def test_every_example_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in source, path.name


def test_quickstart(tmp_path: Path, apimaster_emulator: Any) -> None:
    said = run("quickstart.py", folder=tmp_path, emulator=apimaster_emulator)
    assert said.endswith(": 1376×768, $0.0375\n")
    assert len(pictures(tmp_path / "pictures")) == 1


def test_edit_with_references(tmp_path: Path, apimaster_emulator: Any) -> None:
    assert (
        run("edit_with_references.py", folder=tmp_path, emulator=apimaster_emulator) == "cat.png -> cat-at-night.png\n"
    )
    again = run("edit_with_references.py", "cat.png", folder=tmp_path, emulator=apimaster_emulator)
    assert again.startswith("cat.png -> cat-at-night")
    assert len(apimaster_emulator.bill.charges) == 3


def test_async_many(tmp_path: Path, apimaster_emulator: Any) -> None:
    said = run("async_many.py", folder=tmp_path, emulator=apimaster_emulator)
    assert said.endswith("3 of 3 arrived, for $0.1125\n")
    assert pictures(tmp_path / "seasons") == ["autumn.png", "spring.png", "summer.png"]
    assert said.count(": task task_") == 3


def test_resume(tmp_path: Path, apimaster_emulator: Any) -> None:
    submitted = run("resume.py", "submit", folder=tmp_path, emulator=apimaster_emulator)
    assert submitted.startswith("submitted task_")
    assert pictures(tmp_path) == []
    assert apimaster_emulator.api_key not in (tmp_path / "task.json").read_text(encoding="utf-8")
    assert run("resume.py", "collect", folder=tmp_path, emulator=apimaster_emulator) == "collected island.png\n"
    assert pictures(tmp_path) == ["island.png"]
    assert len(apimaster_emulator.bill.charges) == 1


@contextmanager
def receiver(folder: Path, emulator: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    words = [sys.executable, str(EXAMPLES / "webhook_receiver.py"), "0"]
    with subprocess.Popen(
        words, cwd=folder, env=environment(emulator), stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().split()[-1]
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.terminate()


def deliver(url: str, event: dict[str, Any], secret: str = SECRET) -> tuple[int, Any]:
    body = json.dumps(event).encode()
    request = urllib.request.Request(url, body, sign(body, secret, timestamp=int(time.time())))
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_webhook_receiver(tmp_path: Path, apimaster_emulator: Any) -> None:
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        task = client.submit("An orange cat")
        client.wait(task)
    output = {"output_id": "0", "type": "image", "url": f"{client.base_url}/tasks/{task.id}/outputs/0/content"}
    data = {"task_id": task.id, "model": task.model, "result": {"outputs": [output]}}
    event = {"id": "evt_1", "type": "task.completed", "data": data}
    with receiver(tmp_path, apimaster_emulator) as (url, process):
        challenge = {"id": "evt_0", "type": "webhook.endpoint_verification", "data": {"challenge": "c-1"}}
        assert deliver(url, challenge) == (200, {"challenge": "c-1"})
        status, said = deliver(url, event, secret="another")
        assert status == 400
        assert "signature" in said["error"]
        assert deliver(url, event) == (200, {})
        assert deliver(url, event) == (200, {})
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{task.id}: received")
    assert len(pictures(tmp_path / "received")) == 1
    assert len(apimaster_emulator.bill.charges) == 1


def test_the_receiver_goes_on_where_it_was_stopped(tmp_path: Path, apimaster_emulator: Any) -> None:
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        task = client.submit("An orange cat")
    body = json.dumps({"id": "evt_1", "type": "task.completed", "data": {"task_id": task.id, "model": task.model}})
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT, done INTEGER DEFAULT 0)")
        database.execute("INSERT INTO events (id, body) VALUES ('evt_1', ?)", (body,))
    with receiver(tmp_path, apimaster_emulator) as (_, process):
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{task.id}: received")
    assert len(pictures(tmp_path / "received")) == 1


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_needs_the_core_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= {*sys.stdlib_module_names, "apimaster"}
    assert ast.get_docstring(tree)
