"""The examples of batches and the lists beside them run against the emulator."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import forked
import pytest

from apimaster.batch.list_files import read_list_file
from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator

EXAMPLES = Path(__file__).parents[2] / "examples" / "batch"
LISTS = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".jsonl", ".csv"))


def environment(emulator: Emulator) -> dict[str, str]:
    ours = {"APIMASTER_BASE_URL": emulator.base_url, "APIMASTER_API_KEY": emulator.api_key, "NO_PROXY": "127.0.0.1"}
    return os.environ | ours


def run(script: str, folder: Path, emulator: Emulator) -> str:
    found = forked.run([str(EXAMPLES / script)], cwd=folder, env=environment(emulator))
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.apimaster_emulator(pictures="small")
def test_variants(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    printed = run("variants.py", tmp_path, apimaster_emulator)
    assert printed.count("saved") == 6
    assert (tmp_path / "variants" / "index.html").exists()
    again = run("variants.py", tmp_path, apimaster_emulator)
    assert sorted(again.splitlines()) == sorted(printed.splitlines())
    assert len(apimaster_emulator.bill.charges) == 6


@pytest.mark.apimaster_emulator(pictures="small", latency=0.1)
def test_leaving_early(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    printed = run("async_first_three.py", tmp_path, apimaster_emulator)
    assert printed.count("first:") == 3
    assert "6 of 6 are saved" in printed
    assert len(apimaster_emulator.bill.charges) == 6


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_lists(path: Path) -> None:
    images = read_list_file(str(path))
    assert len(images) >= 3
    assert all(image.tags for image in images)


def blocks(language: str) -> list[str]:
    text = (EXAMPLES.parents[1] / "docs" / "batch.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_python_of_the_page_runs(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    (code,) = blocks("python")
    (tmp_path / "page.py").write_text(code)
    printed = run(str(tmp_path / "page.py"), tmp_path, apimaster_emulator).splitlines()
    assert printed[0] == "0.0875"
    assert len(printed) == 3
    assert {line.split()[1] for line in printed[1:]} == {"saved"}


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_commands_of_the_page_run(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(apimaster_emulator).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "list.jsonl").write_text('{"prompt": "x"}\n')
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 4
    for words in commands:
        assert words[:2] == ["apimaster", "batch"]
        yes = ["--yes"] if words[2] == "run" and "--yes" not in words else []
        assert apimaster([*words[1:], *yes]) == 0
