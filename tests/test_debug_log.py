"""The logger ``apimaster`` at DEBUG: attempts, retries and their reasons, polls, downloads; no key, prompt or query."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import Door
from large_pictures import padded_png

from apimaster import APIMaster
from apimaster._flows.operations import Reply
from apimaster._wire.routing import describe_routing
from apimaster.emulator import FAULTS, Emulator
from apimaster.errors import APIMasterError, OutcomeUnknownError

KEY = "sk-a-key-of-its-own-0123456789"
PROMPT = "a walrus in a very unusual hat"
REFERENCE = "https://pictures.example/walrus.png?signature=reference-signature"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(pictures="plain", api_keys=KEY) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest, emulator: Emulator, without_pauses: None) -> Door:
    emulator.reset()
    return Door(request.param, emulator)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "apimaster"]


def test_a_call_is_logged_from_its_submit_to_its_picture(
    door: Door, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, "apimaster")
    door.emu.script("rate_limited", retry_after=0)
    door.emu.script("poll_503")
    door.emu.script("download_500")
    result = door("generate", PROMPT, save_to=tmp_path / "walrus.png")
    task = result.tasks[0].id
    text = "\n".join(lines(caplog))
    for expected in (
        "POST /images/generations/async: attempt 1",
        "POST /images/generations/async: HTTP 429 after ",
        "s after RateLimitError, HTTP 429, request ",
        "POST /images/generations/async: attempt 2",
        "POST /images/generations/async: HTTP 200 after ",
        f"task {task}: submitted",
        f"task {task}: poll failed with InternalServerError, HTTP 503",
        f"task {task}: succeeded, ",
        f"task {task}, output 0: attempt 1, from {door.emu.url}/imgs/",
        f"task {task}, output 0: retry in ",
        "s after HTTP 500",
        f"task {task}, output 0: attempt 2",
    ):
        assert expected in text, expected


def test_a_task_that_is_collected_later_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    task = door("submit", PROMPT)
    caplog.set_level(logging.DEBUG, "apimaster")
    door("wait", task)
    assert f"task {task.id}: joined" in "\n".join(lines(caplog))


def test_one_poll_is_logged_with_its_retry(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    task = door("submit", PROMPT)
    door.emu.script("poll_503")
    caplog.set_level(logging.DEBUG, "apimaster")
    door("retrieve", task)
    failed, retry, polled = lines(caplog)
    assert failed.startswith(f"task {task.id}: poll failed with InternalServerError, HTTP 503")
    assert retry == f"task {task.id}: retry in 0.00 s"
    assert polled.startswith(f"task {task.id}: ")
    assert polled.endswith(" s after the first poll")


def test_a_purchase_without_a_reply_is_logged_to_its_end(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "apimaster")
    door.emu.script("cut_after_acceptance")
    with pytest.raises(OutcomeUnknownError):
        door("generate", PROMPT)
    attempt, end, given_up = lines(caplog)
    assert attempt == "POST /images/generations/async: attempt 1"
    assert end.startswith("POST /images/generations/async: no reply after ")
    assert given_up == "POST /images/generations/async: no retry after OutcomeUnknownError"


QUOTED = [name for name, fault in FAULTS.items() if fault.message is not None]


@pytest.mark.parametrize("name", QUOTED)
def test_what_the_gateway_quotes_is_not_logged(
    emulator: Emulator,
    name: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_pauses: None,
) -> None:
    monkeypatch.setattr("apimaster._wire.errors.parse_retry_after", lambda header, wall: None)
    caplog.set_level(logging.DEBUG, "apimaster")
    emulator.reset()
    emulator.script(name, times=2, message=f"{PROMPT} {KEY} https://cdn.test/a.png?token=secret-query")
    with contextlib.suppress(APIMasterError):
        Door("sync", emulator)("generate", PROMPT, save_to=tmp_path / "walrus.png", references=[REFERENCE])
    with contextlib.suppress(APIMasterError):
        Door("sync", emulator)("upload", padded_png(2_000))
    for book in ("charges", "account", "price_list"):
        with contextlib.suppress(APIMasterError):
            Door("sync", emulator)(book)
    with contextlib.suppress(APIMasterError), APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
        client.webhooks.list()
    assert name in {request.fault for request in emulator.requests}
    assert len(lines(caplog)) >= 2
    assert_nothing_secret(caplog)


def test_the_query_of_a_signed_url_is_not_logged(door: Door, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG, "apimaster")
    url = f"{door.emu.url}/imgs/gone.png?token=secret-query"
    body = f'{{"created": 1, "data": [{{"url": "{url}"}}]}}'
    door.emu.script("reply", body=body)
    with pytest.raises(Exception, match="could not be downloaded"):
        door("generate", PROMPT, mode="sync", save_to=tmp_path / "walrus.png")
    assert f"from {door.emu.url}/imgs/gone.png" in "\n".join(lines(caplog))
    assert_nothing_secret(caplog)


@pytest.mark.parametrize("url", ["http://[::1", "https://user:secret-query@cdn.test/a.png", "nonsense", "http://"])
def test_a_url_that_is_none_does_not_hurt(
    door: Door, url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, "apimaster")
    door.emu.script("reply", body=f'{{"created": 1, "data": [{{"url": "{url}"}}]}}')
    with pytest.raises(Exception, match="could not be downloaded"):
        door("generate", PROMPT, mode="sync", save_to=tmp_path / "walrus.png")
    assert_nothing_secret(caplog)


def assert_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    text = "\n".join(lines(caplog))
    for secret in (KEY, PROMPT, "walrus in", "reference-signature", "secret-query", "model="):
        assert secret not in text


def test_nothing_is_logged_below_debug_when_all_goes_well(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "apimaster")
    door("generate", PROMPT)
    assert lines(caplog) == []


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_detours_of_a_request_are_logged_and_change_nothing(
    door: Door, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.DEBUG, "apimaster")
    door.emu.dialect = "extra_fields"
    result = door("generate", PROMPT, mode=mode)
    assert (len(result.images), result.cost) == (1, door.emu.bill.total)
    path = "/images/generations" if mode == "sync" else "/images/generations/async"
    assert f"POST {path}: routing retry 1, official fallback" in lines(caplog)
    caplog.clear()
    door.emu.dialect = "tracked"
    door("generate", PROMPT, mode=mode)
    assert not any("routing" in line or "fallback" in line for line in lines(caplog))


@pytest.mark.parametrize(
    ("header", "body", "note"),
    [
        ("2", b"{}", "routing retry 2"),
        ("", b"{}", "another channel was tried"),
        ("sk-secret \x1b[31m", b"", "another channel was tried"),
        (None, b'{"official_fallback": true}', "official fallback"),
        (None, b'{"data": {"official_fallback": true, "status": "failed"}}', "official fallback"),
        (None, b'{"data": [{"official_fallback": true}]}', "official fallback"),
        (None, b'{"official_fallback": false, "data": ["official_fallback"]}', ""),
        (None, b'{"prompt": "official_fallback"}', ""),
        (None, b'{"official_fallback": tr', ""),
        (None, b'["official_fallback"]', ""),
    ],
)
def test_what_a_reply_says_of_its_detours(header: str | None, body: bytes, note: str) -> None:
    headers = {} if header is None else {"x-apimaster-routing-retry": header}
    assert describe_routing(Reply(200, headers, body)) == note
