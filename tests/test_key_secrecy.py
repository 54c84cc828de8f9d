"""The key goes to the base URL's origin and nowhere else: no CDN, no redirect, no log, no repr, no error, no file."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import DOORS, Door
from large_pictures import padded_png

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.emulator import FAULTS, Emulator
from apimaster.errors import APIMasterError, BadRequestError, DownloadError
from apimaster.results import GeneratedImage

KEY = "sk-emulator-0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_keys=KEY, cdn=True, pictures="plain") as emu:
        yield emu


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, without_pauses: None) -> None:
    monkeypatch.setattr("apimaster._wire.errors.parse_retry_after", lambda header, wall: None)
    monkeypatch.setattr("apimaster._flows.poll.ASK_TIMEOUT", 0.1)
    monkeypatch.setattr("apimaster._flows.poll._SHORTEST_TIMEOUT", 0.05)
    monkeypatch.setattr("apimaster._flows.download.FETCH_TIMEOUT", 0.1)
    monkeypatch.setattr("apimaster._flows.download.GRACE", 0.05)


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for when in ("setup", "call", "teardown"):
        for record in caplog.get_records(when):  # type: ignore[arg-type]
            assert KEY not in record.getMessage() + str(record.__dict__), record.name
            if record.name == "apimaster":  # neither a prompt nor the query of a URL: see test_debug_log.py
                assert "a cat" not in record.getMessage()
                assert "?" not in record.getMessage()


def test_the_key_goes_to_the_gateway_and_not_to_the_cdn(
    emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apimaster._flows.download.FETCH_TIMEOUT", 30.0)  # each download counts here
    for kind in DOORS:
        result = Door(kind, emu)("generate", "a cat", save_to=tmp_path / kind)
        assert result.images[0].path is not None
    assert all(request.had_authorization for request in emu.requests if request.origin == "gateway")
    assert len(emu.cdn_requests) == len(DOORS)
    assert not any(request.had_authorization for request in emu.cdn_requests)
    assert not emu.cdn_saw_key


@pytest.mark.parametrize(
    ("fault", "on"), [("redirect", None), ("poll_redirect", None), ("download_redirect", "output")]
)
@pytest.mark.parametrize("kind", DOORS)
def test_the_key_does_not_follow_a_redirect(
    emu: Emulator, kind: str, fault: str, on: str | None, tmp_path: Path
) -> None:
    emu.script(fault, times=1 if on is None else None, on=on)
    if on is not None:
        # So that the client asks the durable route, with the key, and is redirected.
        emu.script("download_404", times=None)
    with contextlib.suppress(APIMasterError):
        Door(kind, emu)("generate", "a cat", save_to=f"{tmp_path}/")
    assert fault in {request.fault for request in emu.requests}
    assert not emu.cdn_saw_key


@pytest.mark.parametrize("kind", DOORS)
def test_the_key_is_not_sent_to_another_port_or_scheme_of_the_same_host(emu: Emulator, kind: str) -> None:
    assert emu.cdn_url.split(":")[:2] == emu.base_url.split(":")[:2], "the same host, another port"
    image = GeneratedImage(url=f"{emu.cdn_url}/tasks/task_1/outputs/0/content")
    with pytest.raises(DownloadError):
        Door(kind, emu)("read", image)
    assert len(emu.cdn_requests) >= 1
    assert not emu.cdn_saw_key


SHOWN = ("generate", "poll", "download", "upload")


@pytest.mark.parametrize("name", [n for n, fault in FAULTS.items() if fault.place in SHOWN])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_error_shows_the_key(emu: Emulator, kind: str, name: str, tmp_path: Path) -> None:
    if name in ("ok", "reply"):
        return
    fault = FAULTS[name]
    emu.script(name, times=None)
    if fault.place == "download":
        emu.script("download_404", times=None, on="output")
    try:
        references = [padded_png(2_000)] if fault.place == "upload" else []
        Door(kind, emu, references_by="upload")(
            "generate", "a cat", references=references, timeout=0.15, save_to=f"{tmp_path}/"
        )
    except APIMasterError as error:
        for text in texts_of(error):
            assert KEY not in text


def texts_of(error: BaseException) -> list[str]:
    """Every text that a caller, a log or an error tracker could print of an error and its causes."""
    parts = traceback.TracebackException.from_exception(error, capture_locals=False)
    return ["".join(parts.format()), repr(error), str(error), repr(error.__dict__), repr(pickle.dumps(error))]


@pytest.mark.parametrize("kind", DOORS)
def test_an_echoed_key_is_removed(emu: Emulator, kind: str) -> None:
    body = json.dumps({"error": {"message": f"Invalid token: {KEY}", "code": f"bad {KEY}", "type": "new_api_error"}})
    emu.script("reply", status=401, body=body)
    error = Door(kind, emu).error("generate", "a cat")
    assert "Invalid token: [the key]" in error.message
    assert all(KEY not in text for text in texts_of(error))
    emu.script("reply", status=200, body=f'{{"data": "{KEY}"}}')
    error = Door(kind, emu).error("generate", "a cat")
    assert all(KEY not in text for text in texts_of(error))


@pytest.mark.parametrize("make", [APIMaster, AsyncAPIMaster])
def test_a_client_does_not_show_the_key(emu: Emulator, make: Any) -> None:
    client = make(KEY, base_url=emu.base_url)
    assert KEY not in f"{client!r} {client!s} {client:}"
    assert emu.base_url in repr(client)
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a key"):
            attempt(client)
    for name, value in vars(client).items():
        assert KEY not in f"{name} {value!r}"


@pytest.mark.parametrize("kind", DOORS)
def test_results_and_files_do_not_hold_the_key(emu: Emulator, kind: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    door = Door(kind, emu)
    result = door("generate", "a cat", n=2, save_to=f"{tmp_path}/", on_progress=seen.append)
    task = door("submit", "a cat")
    assert len(list(tmp_path.iterdir())) == 2
    for thing in (result, task, *seen):
        assert KEY not in repr(thing) + thing.model_dump_json() + repr(pickle.dumps(thing))
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["Authorization", "authorization", "Host", "Proxy-Authorization", " Authorization"])
def test_extra_headers_cannot_replace_the_key(emu: Emulator, name: str) -> None:
    with APIMaster(KEY, base_url=emu.base_url) as client, pytest.raises(BadRequestError, match="can't be set"):
        client.with_options(extra_headers={name: "Bearer other"})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_given_http_client_that_follows_redirects_does_not_send_the_key_along(emu: Emulator, kind: str) -> None:
    import asyncio

    import httpx

    emu.script("redirect")
    if kind == "sync":
        with httpx.Client(follow_redirects=True, auth=("user", "pass")) as own:
            client = APIMaster(KEY, base_url=emu.base_url, http_client=own)
            with pytest.raises(BadRequestError):
                client.generate("a cat")
            assert client.generate("a cat").images
            data = client.read(client.generate("a cat").images[0])
    else:

        async def call() -> bytes:
            async with httpx.AsyncClient(follow_redirects=True, auth=("user", "pass")) as own:
                client = AsyncAPIMaster(KEY, base_url=emu.base_url, http_client=own)
                with pytest.raises(BadRequestError):
                    await client.generate("a cat")
                return await client.read((await client.generate("a cat")).images[0])

        data = asyncio.run(call())
    assert data
    assert not emu.cdn_saw_key
    assert {request.key for request in emu.requests if request.origin == "gateway"} == {emu.requests[0].key}
