"""Lists and prompts as the command reads them, bought from the emulator: what is charged is what was meant."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator


@pytest.fixture
def gateway(apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.chdir(tmp_path)
    return apimaster_emulator


def bought(gateway: Emulator) -> list[str]:
    charged = {charge.request_id for charge in gateway.bill.charges}
    return sorted(request.body["prompt"] for request in gateway.requests if request.id in charged)


def say(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.apimaster_emulator(pictures="small")
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'[\n"a cat",\n{"prompt": "a dog"}\n]', ["a cat", "a dog"]),
        (b"# animals\na cat\n\\# a dog\n", ["# a dog", "a cat"]),
        ("prompt;id\na cat;1\na dog;2\n".encode("utf-16"), ["a cat", "a dog"]),
    ],
)
def test_a_list_is_bought_as_what_it_is(
    gateway: Emulator, data: bytes, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    say(monkeypatch, data)
    assert apimaster(["batch", "run", "-", "-o", "out", "--yes", "-r", "0.5K"]) == 0
    assert bought(gateway) == expected
    announced = "Reading stdin as one prompt per line; first: a cat; 1 comment line (#) left out"
    assert (announced in capsys.readouterr().err) == data.startswith(b"#")


@pytest.mark.parametrize("data", [b"prompt,colour\na cat,red\n", b"A cat\n{}\n", b'{"prompt": "\\ud800"}', b"\0", b""])
def test_a_list_that_is_not_understood_buys_nothing(
    gateway: Emulator, data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    say(monkeypatch, data)
    assert apimaster(["batch", "run", "-", "-o", "out", "--yes"]) == 2
    assert "Nothing was charged" in capsys.readouterr().err
    assert not gateway.requests


@pytest.mark.apimaster_emulator(pictures="small")
@pytest.mark.parametrize(
    "arguments", [["-"], ["--prompt-file", "-"], ["--prompt-file", "prompt.txt"]], ids=["dash", "file dash", "file"]
)
def test_generate_reads_the_prompt(
    gateway: Emulator, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = b"\xef\xbb\xbf# A cat,\r\nand - a hat\n"
    say(monkeypatch, data)
    (tmp_path / "prompt.txt").write_bytes(data)
    assert apimaster(["generate", *arguments, "-r", "0.5K", "-o", "cat.png"]) == 0
    assert bought(gateway) == ["# A cat,\nand - a hat"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "neither is given"),
        (["a cat", "--prompt-file", "x.txt"], "both are given"),
        (["--prompt-file", "gone.txt"], "gone.txt can't be read"),
        (["-"], "stdin holds no prompt"),
        (["a \udcff cat"], "lone surrogate U+DCFF"),
    ],
)
def test_generate_without_a_prompt_buys_nothing(
    gateway: Emulator, arguments: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    say(monkeypatch, b" \n")
    assert apimaster(["generate", *arguments]) == 2
    assert part in capsys.readouterr().err
    assert not gateway.requests
