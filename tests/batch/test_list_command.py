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


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("r.json", '{"prompt": "A cat"}', "r.json holds JSON with a request"),
        ("r.json", '\ufeff{"images": ["A cat", "A dog"]}', "JSON with a request"),
        ("r.txt", '[\n  "A cat",\n  {"prompt": "A dog"}\n]', "a list in JSON"),
        ("r.jsonl", '# two\n{"prompt": "A cat"}\n{"prompt": "A dog"}\n', "JSON with a request"),
        ("r.json", '{"custom_id": "a", "body": {"prompt": "A cat"}}', "JSON with a request"),
        ("r.json", '{"prompt": "A cat"', "JSON with a request"),
        ("r.json", "null", "the value null"),
        ("r.yaml", "# mine\n---\nprompt: A cat\nn: 2\n", "YAML with a request"),
        ("r.yaml", "prompts:\n- A cat\n", "YAML with a request"),
        ("r.csv", "prompt,aspect_ratio\nA cat,16:9\n", "a table with requests"),
        ("r.txt", "\u200b\u2060", "r.txt holds no prompt"),
    ],
)
@pytest.mark.parametrize("door", ["file", "argument"])
def test_a_request_in_place_of_a_prompt_buys_nothing(
    gateway: Emulator, name: str, text: str, part: str, door: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert apimaster(["generate", *(["--prompt-file", name] if door == "file" else [text])]) == 2
    printed = capsys.readouterr().err
    assert (part if door == "file" else part.removeprefix(f"{name} holds ").replace("no prompt", "empty")) in printed
    assert "Nothing was charged" in printed
    assert not gateway.requests


@pytest.mark.parametrize("prompt", ["@p.txt", "p.txt", "@p"])
def test_the_name_of_a_file_is_not_drawn(gateway: Emulator, prompt: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "p.txt").write_text("a cat")
    (tmp_path / "p").write_text("a cat")
    assert apimaster(["generate", prompt]) == 2
    assert f"--prompt-file {prompt.removeprefix('@')}" in capsys.readouterr().err
    assert not gateway.requests


@pytest.mark.apimaster_emulator(pictures="small")
@pytest.mark.parametrize(
    "prompt",
    [
        "@gone.txt",
        "p",
        "7",
        "a cat in p.txt",
        '{"scene": "a beach"}',
        "- a cat\n- a hat",
        "# a cat",
        "[1] a cat",
        "@" + "a" * 5000,
    ],
)
def test_what_only_resembles_a_file_or_a_request_is_drawn(gateway: Emulator, prompt: str, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a cat")
    assert apimaster(["generate", "-r", "0.5K", "--", prompt]) == 0
    assert bought(gateway) == [prompt]
