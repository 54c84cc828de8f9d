"""Replies and URLs that no gateway should send: each ends in an APIMasterError that is right about the charge."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import DOORS, Door
from hand_driver import HandDriver, context, refusal, reply

from apimaster import APIMaster, AsyncAPIMaster
from apimaster._flows.generation import models
from apimaster._flows.operations import Broken
from apimaster._polling.history import History
from apimaster._polling.schedule import TaskSchedule
from apimaster._wire.errors import error_from
from apimaster.emulator import Emulator
from apimaster.errors import (
    APIConnectionError,
    BadRequestError,
    ContentPolicyError,
    DownloadError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
)
from apimaster.results import GeneratedImage

pytestmark = pytest.mark.usefixtures("without_pauses")


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, server: Emulator) -> Door:
    server.reset()
    return Door(request.param, server)


def test_a_body_that_does_not_match_its_content_encoding(door: Door, server: Emulator) -> None:
    wrong_encoding = {"content-encoding": "gzip"}
    server.script("reply", status=200, body='{"data":[{"task_id":"task_1"}]}', headers=wrong_encoding)
    error = door.error("generate", "a cat")
    assert type(error) is OutcomeUnknownError
    server.script("reply", on="poll", status=200, body='{"data":{"status":"running"}}', headers=wrong_encoding)
    assert len(door("generate", "a cat").images) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_a_purchase_is_named(status: int, door: Door, server: Emulator) -> None:
    target = {"location": "https://elsewhere.test/v1/images/generations?secret=1"}
    server.script("reply", status=status, body="<html>Moved</html>", headers=target)
    error = door.error("generate", "a cat")
    assert type(error) is BadRequestError
    assert error.billed == "no"
    assert f"redirects to https://elsewhere.test/v1/images/generations (HTTP {status})" in error.message
    assert "base URL" in error.advice
    assert "secret" not in str(error)


def test_not_modified_is_no_redirect(door: Door, server: Emulator) -> None:
    """It comes from a cache, to which a poll may get through a moment later."""
    server.script("reply", status=304, headers={"etag": "a"})
    error = door.error("generate", "a cat")
    assert (type(error), error.billed, error.status_code) == (BadRequestError, "no", 304)
    assert "304 (not modified)" in error.message
    assert "redirect" not in str(error)
    assert "a cache" in error.advice
    server.script("reply", on="poll", status=304)
    assert len(door("generate", "a cat").images) == 1


def test_an_endless_reply(door: Door, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("_drivers.sync", "_drivers.aio"):
        monkeypatch.setattr(f"apimaster.{module}.MAX_REPLY_BYTES", 20_000)
    server.script("reply", status=200, body='{"data":"' + "x" * 100_000 + '"}')
    error = door.error("generate", "a cat")
    assert type(error) is OutcomeUnknownError
    assert "it is larger than" in error.message
    assert not error.retryable
    server.script("reply", on="poll", status=200, body="x" * 100_000)
    assert len(door("generate", "a cat").images) == 1


@pytest.mark.parametrize("text", ["abc", "data:image/png;base64,abcde", "=", "1763174708x"])
def test_a_finished_task_whose_picture_is_broken(text: str, door: Door, server: Emulator) -> None:
    """A later poll brings the same: the wait ends, and with the error that a one-shot reply ends in."""
    body = {"data": {"status": "completed", "result": {"images": [{"b64_json": text}]}}}
    server.script(*(["reply"] * 30), on="poll", status=200, body=json.dumps(body))
    error = door.error("generate", "a cat", timeout=30)
    assert type(error) is OutcomeUnknownError
    assert error.billed == "yes"
    assert error.task is not None
    assert error.task.id in error.message
    assert "client.wait(error.task)" in error.advice
    assert [request.route for request in server.requests].count("poll") == 1
    assert len(server.bill.charges) == 1
    polled = door.error("retrieve", error.task)
    assert (type(polled), polled.billed, polled.task.id) == (OutcomeUnknownError, "yes", error.task.id)
    server.script("reply", status=200, body=json.dumps({"data": [{"b64_json": text}]}))
    assert type(door.error("generate", "a cat", mode="sync")) is OutcomeUnknownError


def test_a_picture_that_was_broken_once_is_collected_later(door: Door, server: Emulator, tmp_path: Path) -> None:
    body = {"data": {"status": "completed", "result": {"images": [{"b64_json": "abc"}]}}}
    server.script("reply", on="poll", status=200, body=json.dumps(body))
    door.settings["ledger"] = str(tmp_path / "ledger.db")
    assert type(door.error("generate", "a cat", idempotency_key="a")) is OutcomeUnknownError
    assert len(door("generate", "a cat", idempotency_key="a").images) == 1
    assert len(server.bill.charges) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "http://",
        "http://[::bad/a.png",
        "http://exa mple/a.png",
        "http://example.com:99999/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//example.com/a.png",
        "http://127.0.0.2/a.png",
        "http://10.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.png",
        "http://0x7f.1/a.png",
        "http://localhost/a.png",
        "http://" + "a" * 300 + ".test/a.png",
        "http://\udcff/a.png",
    ],
)
def test_a_bad_result_url(door: Door, server: Emulator, url: str) -> None:
    error = door.error("read", GeneratedImage(url=url))
    assert isinstance(error, DownloadError)
    assert (error.billed, error.retryable) == ("yes", False)
    assert error.images[0].url == url
    assert server.requests == []


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/a.png", "http://no-such-host.invalid/a.png", "http://localhost/a.png"]
)
def test_a_given_http_client_is_guarded_too(server: Emulator, kind: str, url: str) -> None:
    image = GeneratedImage(url=url)
    if kind == "sync":
        with httpx.Client() as own, pytest.raises(DownloadError):
            APIMaster(server.api_key, base_url=server.base_url, http_client=own).read(image)
        return

    async def read() -> None:
        async with httpx.AsyncClient() as own:
            with pytest.raises(DownloadError):
                await AsyncAPIMaster(server.api_key, base_url=server.base_url, http_client=own).read(image)

    asyncio.run(read())


ERRORS: list[tuple[int, Any, type[Exception], str | None, str]] = [
    (500, {"error": "it fell over", "code": "E1"}, InternalServerError, "E1", "it fell over"),
    (500, {"error": {"message": "m", "code": 17}}, InternalServerError, "17", "m"),
    (500, {"error": {"message": "m", "code": None, "type": "server_error"}}, InternalServerError, "server_error", "m"),
    (500, {"error": {}}, InternalServerError, None, "HTTP 500"),
    (500, {"message": "no error member: some proxies write so"}, OutcomeUnknownError, None, "no error member"),
    (500, ["a", "list"], OutcomeUnknownError, None, "HTTP 500"),
    (500, "text", OutcomeUnknownError, None, "HTTP 500"),
    (500, {"error": None}, OutcomeUnknownError, None, "HTTP 500"),
    (400, {"error": {"message": "m", "code": "Prompt_Blocked"}}, ContentPolicyError, "Prompt_Blocked", "m"),
    (403, {"error": {"message": "m", "type": "sensitive_words_detected"}}, ContentPolicyError, None, "m"),
    (418, {"error": {"message": "teapot"}}, BadRequestError, None, "teapot"),
    (101, b"", OutcomeUnknownError, None, "HTTP 101"),
]


@pytest.mark.parametrize(("status", "body", "kind", "code", "words"), ERRORS)
def test_shapes_of_an_error(status: int, body: Any, kind: type[Exception], code: str | None, words: str) -> None:
    answer = reply(body, status, {"x-request-id": "req-7"})
    error = error_from(answer, paid=True, wall=0.0)
    assert type(error) is kind
    assert words in error.message
    assert error.request_id == "req-7"
    if code is not None:
        assert error.code == code


def test_a_free_call_is_retried_after_faults_that_end_a_purchase() -> None:
    listed = reply({"object": "list", "data": [{"id": "m-1"}, {"id": 5}, "odd"]})
    driver = HandDriver([Broken("reset"), refusal(503), reply("<html>", 502), listed])
    assert driver.run(models(context(), 60.0)) == ["m-1"]
    with pytest.raises(APIConnectionError, match="Nothing was charged"):
        HandDriver([Broken("reset")] * 4).run(models(context(), 60.0))


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": 3}', '{"object": "list"}'])
def test_a_reply_that_is_not_a_list_of_models(body: str) -> None:
    with pytest.raises(NotFoundError, match="does not answer like the gateway"):
        HandDriver([reply(body)]).run(models(context(), 60.0))


def test_progress_figures_that_stop_coming_are_no_longer_trusted() -> None:
    history, key = History(), ("m", "1K")
    history.progress_came_true(key, True)
    TaskSchedule(history, key).polled(1.0, 1.01, done=False, progress=None)
    assert history.trusts_progress(key) is None
