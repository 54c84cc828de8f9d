"""A folder goes on where it was bought: an emulator's list is never paid for by a gateway unless somebody says so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster
from apimaster.batch import Batch
from apimaster.batch.bought_at import is_same
from apimaster.batch.place import read_items
from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError

PICTURES = pytest.mark.apimaster_emulator(pictures="small")
ODD_NAMES = ["album", 'it\'s "two" $words; #1', "-dash", "a\nline", "tab\tand é", "back\\slash"]


@pytest.fixture
def gateway(apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    """The configured gateway, with a key that pays."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.delenv("APIMASTER_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a cat\na dog\n")
    return apimaster_emulator


def run(*arguments: str, out: str = "album") -> int:
    target = f"./{out}" if out.startswith("-") else out
    return apimaster(["batch", "run", "list.txt", "-o", target, "-r", "0.5K", "--yes", *arguments])


def printed_line(capsys: Any) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("To go on: ")]
    return str(line.removeprefix("To go on: "))


def words_of(line: str) -> list[str]:
    """The arguments that a shell makes of a printed line."""
    script = f"apimaster() {{ printf '%s\\0' \"$@\"; }}; {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def states(folder: str = "album") -> Counter[str]:
    return Counter(item.state for item in read_items(Path(folder)))


def change(statement: str) -> None:
    with sqlite3.connect("album/ledger.db") as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("name", ODD_NAMES)
@PICTURES
def test_the_line_of_an_emulators_batch_goes_on_with_an_emulator(gateway: Emulator, name: str, capsys: Any) -> None:
    assert run("--emulator", "--max-images", "0", out=name) == 4
    line = printed_line(capsys)
    assert "--emulator" in line
    assert apimaster([*words_of(line), "--max-images", "1"]) == 4
    assert states(name) == {"saved": 1, "planned": 1}
    assert not gateway.requests


@pytest.mark.parametrize("name", ODD_NAMES)
@PICTURES
def test_the_line_of_a_gateways_batch_goes_on_there(
    gateway: Emulator, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("APIMASTER_BASE_URL", "http://127.0.0.1:9/v1")
    assert run("--base-url", gateway.base_url, "--max-images", "1", out=name) == 4
    line = printed_line(capsys)
    assert apimaster([*words_of(line), "--max-images", "2"]) == 0
    assert states(name) == {"saved": 2}
    assert len(gateway.bill.charges) == 2


def test_a_folder_that_the_ledger_could_not_name_is_refused(gateway: Emulator, capsys: Any) -> None:
    assert run(out="byte \udcff") == 2
    assert "the name of the folder" in capsys.readouterr().err
    assert not gateway.requests
    assert not Path("byte \udcff").exists()


@pytest.mark.slow
@PICTURES
def test_the_line_as_a_process(gateway: Emulator, capsys: Any) -> None:
    assert run("--max-images", "1", out="an album") == 4
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    line = f"{printed_line(capsys)} --max-images 2"
    done = subprocess.run(["bash", "-c", line], env=os.environ | {"PATH": path}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(gateway.bill.charges) == 2


@pytest.mark.parametrize(
    "command",
    [
        ["resume", "album", "--yes"],
        ["resume", "album", "--yes", "--dry-run"],
        ["run", "list.txt", "-o", "album", "--yes"],
    ],
)
def test_a_gateway_does_not_go_on_with_an_emulators_list(gateway: Emulator, command: list[str], capsys: Any) -> None:
    assert run("--emulator", "--max-images", "0") == 4
    capsys.readouterr()
    assert apimaster(["batch", *command, "--max-images", "9"]) == 2
    printed = capsys.readouterr().err
    for part in (
        "drawn by the emulator",
        gateway.base_url,
        "--emulator",
        "--continue-elsewhere",
        "Nothing was charged",
    ):
        assert part in printed
    assert not gateway.requests
    with APIMaster() as client, pytest.raises(BadRequestError, match="drawn by the emulator"):
        Batch(client, "album").run(max_images=9).finish()
    assert not gateway.requests


@PICTURES
def test_who_asks_for_it_buys_all_and_the_emulators_dollars_do_not_count(gateway: Emulator, capsys: Any) -> None:
    assert run("--emulator", "--max-images", "1") == 4
    assert apimaster(["batch", "status", "album"]) == 0
    assert "no money was spent" in capsys.readouterr().out
    resume = ["batch", "resume", "album", "--yes", "--max-images", "2", "--max-cost", "0.075", "--continue-elsewhere"]
    assert apimaster([*resume, "--dry-run"]) == 0
    assert "To submit: 2 images, $0.075." in capsys.readouterr().err
    assert states() == {"saved": 1, "planned": 1}
    assert apimaster(resume) == 0
    assert (states(), len(gateway.bill.charges)) == ({"saved": 2}, 2)
    assert len(list(Path("album/images").iterdir())) == 2
    assert len(list(Path("album/images-of-the-emulator").iterdir())) == 1
    assert apimaster(resume[:-1]) == 0, "it is the gateway's folder now"
    assert run("--emulator") == 2
    assert len(gateway.bill.charges) == 2


def test_what_an_emulator_had_under_way_is_drawn_again(gateway: Emulator) -> None:
    assert run("--emulator", "--max-images", "1") == 4
    change("UPDATE purchase SET state = 'submitted', billed = 'yes', task_id = 'gone' WHERE state = 'saved'")
    assert apimaster(["batch", "resume", "album", "--yes", "--emulator"]) == 4, "the limit counts one image, not two"
    assert states() == {"saved": 1, "planned": 1}
    assert not gateway.requests


@pytest.mark.parametrize("setting", ["bought_at", "base_url"], ids=["earlier version", "this version"])
@PICTURES
def test_another_gateway_is_refused_unless_asked_for(gateway: Emulator, setting: str, capsys: Any) -> None:
    assert run("--max-images", "1") == 4
    change(f"DELETE FROM batch_setting WHERE name = '{setting}'")
    with Emulator(pictures="small") as other:
        elsewhere = ["batch", "resume", "album", "--yes", "--max-images", "2", "--base-url", other.base_url]
        capsys.readouterr()
        assert apimaster(elsewhere) == 2
        printed = capsys.readouterr().err
        for part in (f"bought at {gateway.base_url}", f"--base-url {gateway.base_url}", "--continue-elsewhere"):
            assert part in printed
        with APIMaster(other.api_key, base_url=other.base_url) as client:
            with pytest.raises(BadRequestError, match="bought at"):
                Batch(client, "album").run(max_images=2).finish()
            assert not other.requests
            Batch(client, "album").run(max_images=2, continue_elsewhere=True).finish()
        assert len(other.bill.charges) == 1
    assert len(gateway.bill.charges) == 1


def test_an_emulator_has_no_shared_ledger(gateway: Emulator, capsys: Any) -> None:
    assert run("--emulator", "--ledger", "shared.db") == 2
    assert "--emulator excludes --ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://apimaster.ai/v1", "HTTPS://APIMaster.ai:443/v1/", True),
        ("https://apimaster.ai/v1", "http://apimaster.ai/v1", False),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1", False),
        ("https://apimaster.ai/v1", "emulator", False),
        ("emulator", "emulator", True),
    ],
)
def test_places(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) == same
