"""The command's ``--references-by``: ``generate`` and ``batch``."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from large_pictures import padded_files, padded_png

from apimaster.cli.app import run
from apimaster.emulator import Emulator


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_pauses: None) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("APIMASTER_LEDGER", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def emulator(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    server.reset()
    monkeypatch.setenv("APIMASTER_BASE_URL", server.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", server.api_key)
    return server


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def kinds(emulator: Emulator) -> list[list[str]]:
    sent = [record for record in emulator.requests if record.route in ("sync", "submit")]
    return [[reference.kind for reference in record.references] for record in sent]


def test_fourteen_references_of_ten_megabytes(command: Any, emulator: Emulator, tmp_path: Path) -> None:
    words = [word for file in padded_files(tmp_path) for word in ("--ref", str(file))]
    code, _, err = command("generate", "a boat", *words, "-o", "boat.png")
    assert code == 0, err
    assert Path("boat.png").exists()
    assert kinds(emulator) == [["upload"] * 14]
    assert len(emulator.bill.charges) == 1


@pytest.mark.parametrize(("by", "kind"), [(None, "data"), ("auto", "data"), ("inline", "data"), ("upload", "upload")])
def test_how_references_go_out(command: Any, emulator: Emulator, by: str | None, kind: str) -> None:
    Path("a.png").write_bytes(padded_png(2_000))
    words = [] if by is None else ["--references-by", by]
    code, _, err = command("generate", "a boat", "--ref", "a.png", "--ref", "https://a.test/b.png", *words)
    assert code == 0, err
    assert kinds(emulator) == [[kind, "url"]]


@pytest.mark.parametrize("name", ["generate", "batch"])
def test_other_words_are_refused(command: Any, emulator: Emulator, name: str) -> None:
    Path("list.txt").write_text("a boat\n")
    words = ["generate", "a boat"] if name == "generate" else ["batch", "run", "list.txt", "-o", "out", "--yes"]
    code, _, err = command(*words, "--references-by", "pigeon")
    assert code == 2
    assert "pigeon" in err
    assert "upload" in err
    assert emulator.requests == []


def test_inline_and_too_large_is_refused_with_the_way_out(command: Any, emulator: Emulator, tmp_path: Path) -> None:
    words = [word for file in padded_files(tmp_path, 3) for word in ("--ref", str(file))]
    code, out, _ = command("generate", "a boat", *words, "--references-by", "inline", "--json")
    document = json.loads(out)
    assert code == 2
    assert document["error"]["code"] == "request_too_large"
    assert "32.0 MiB" in document["error"]["message"]
    assert emulator.requests == []


def test_a_batch_uploads_a_shared_picture_once(command: Any, emulator: Emulator) -> None:
    Path("a.png").write_bytes(padded_png(2_000))
    Path("list.txt").write_text("a boat\na ship\na raft\n")
    code, _, err = command(
        *("batch", "run", "list.txt", "-o", "out", "--ref", "a.png", "--references-by", "upload", "--yes")
    )
    assert code == 0, err
    assert kinds(emulator) == [["upload"]] * 3
    assert len(emulator.requests_to("upload")) == 1


def test_a_batch_goes_on_in_the_same_form(command: Any, emulator: Emulator) -> None:
    Path("a.png").write_bytes(padded_png(2_000))
    Path("list.txt").write_text("a boat\na ship\n")
    emulator.script({"fault": "ok", "on": "generate"}, {"fault": "unauthorized", "times": None})
    words = ["--ref", "a.png", "--references-by", "upload", "--concurrency", "1", "--yes", "--json"]
    code, out, _ = command("batch", "run", "list.txt", "-o", "out", *words)
    assert code != 0
    line = json.loads(out.splitlines()[-1])["resume"]
    assert "--references-by upload" in line
    emulator.clear_script()
    code, _, err = command(*line.split()[1:])
    assert code == 0, err
    assert kinds(emulator) == [["upload"]] * 3


def test_the_emulators_own_options(command: Any, emulator: Emulator) -> None:
    for words, name in (
        (["--channel", "klingon"], "klingon"),
        (["--request-limit", "0"], "request limit"),
        (["--request-limit", "nan"], "request limit"),
    ):
        code, _, err = command("emulator", "--port", "0", *words)
        assert code == 2
        assert name in err


# --- apimaster upload -------------------------------------------------------------------------------------


def test_upload_prints_a_url_a_line_that_is_good_as_a_reference(command: Any, emulator: Emulator) -> None:
    names = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(names):
        Path(name).write_bytes(padded_png(2_000 + number))
    code, out, err = command("upload", *names)
    assert (code, err) == (0, "")
    urls = out.splitlines()
    assert len(set(urls)) == 6
    code, out, _ = command("upload", *names, "--json")
    found = json.loads(out)["uploads"]
    assert [each["path"] for each in found] == names
    assert not emulator.bill.entries
    words = [word for url in urls for word in ("--ref", url)]
    code, _, err = command("generate", "a boat", *words)
    assert code == 0, err
    assert kinds(emulator) == [["upload"] * 6]
    sizes = [len(httpx.get(url, trust_env=False).content) for url in urls]
    assert sizes == [Path(name).stat().st_size for name in names]  # in the order of the paths


@pytest.mark.parametrize("bad", ["missing.png", "page.html", "folder", ""])
def test_upload_refuses_what_is_no_picture_before_it_sends_any(command: Any, emulator: Emulator, bad: str) -> None:
    Path("a.png").write_bytes(padded_png(2_000))
    Path("page.html").write_text("<!doctype html><p>no picture")
    Path("folder").mkdir()
    code, out, err = command("upload", "a.png", bad)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    code, out, _ = command("upload", "a.png", bad, "--json")
    assert (code, json.loads(out)["error"]["exit_code"]) == (2, 2)
    assert not emulator.requests


def test_upload_names_what_was_uploaded_if_another_one_fails(command: Any, emulator: Emulator) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Path(name).write_bytes(padded_png(2_000 + ord(name[0])))
    emulator.script("upload_400")
    code, out, err = command("upload", "a.png", "b.png", "c.png")
    assert (code, out) == (2, "")
    assert err.count("Uploaded: ") == 2
    assert err.splitlines()[-1].startswith("Error: ")


def test_upload_without_a_path_is_refused(command: Any, emulator: Emulator) -> None:
    code, out, err = command("upload")
    assert (code, out) == (2, "")
    assert "PATH" in err


def test_upload_to_a_gateway_that_does_not_take_it(command: Any, emulator: Emulator) -> None:
    Path("a.png").write_bytes(padded_png(2_000))
    code, out, err = command("upload", "a.png", "--base-url", f"{emulator.base_url.removesuffix('/v1')}/v2")
    assert (code, out) == (5, "")
    assert "Nothing was charged." in err
