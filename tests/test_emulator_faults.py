"""Every fault of the emulator once: what goes on the wire, and what the client is charged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, SYNC, client_of, format_and_size, submit
from large_pictures import padded_png
from webhook_receiver import Receiver

from apimaster.emulator import FAULTS, Emulator

SIZE = (688, 384)  # of the pictures
PRICE = Decimal("0.0375")
NOTHING: dict[str, Any] = {}

# name: status (or the error that the client sees), error code, pictures that stay on the bill
GENERATE: dict[str, tuple[int | type[Exception], str | None, int]] = {
    "bad_request": (400, "invalid_request", 0),
    "wrong_endpoint": (400, "invalid_request", 0),
    "moderation": (400, "sensitive_words_detected", 0),
    "prompt_blocked": (400, "prompt_blocked", 0),
    "unauthorized": (401, "invalid_token", 0),
    "no_balance_402": (402, "insufficient_user_quota", 0),
    "no_balance_403": (403, "insufficient_user_quota", 0),
    "model_forbidden": (403, "model_not_allowed", 0),
    "not_found": (404, None, 0),
    "not_found_html": (404, None, 0),
    "method_not_allowed": (405, None, 0),
    "too_large": (413, "request_too_large", 0),
    "proxy_413_html": (413, None, 0),
    "unprocessable": (422, "unprocessable_entity", 0),
    "rate_limited": (429, "rate_limit_exceeded", 0),
    "rate_limited_date": (429, "rate_limit_exceeded", 0),
    "rate_limited_far": (429, "rate_limit_exceeded", 0),
    "concurrency_limited": (429, "token_concurrency_limit_reached", 0),
    "server_error_500": (500, "do_request_failed", 0),
    "bad_gateway_json_502": (502, "bad_response_status_code", 0),
    "unavailable_503": (503, "get_channel_failed", 0),
    "generation_failed_502": (502, "image_generation_failed", 0),
    "redirect": (307, None, 0),
    "cut_before_acceptance": (httpx.RemoteProtocolError, None, 0),
    "gateway_timeout_408": (408, "image_generation_timeout", 1),
    "do_not_resubmit_502": (502, "bad_response_status_code", 1),
    "proxy_502_html": (502, None, 1),
    "proxy_502_empty": (502, None, 1),
    "proxy_504_html": (504, None, 1),
    "proxy_524_html": (524, None, 1),
    "proxy_524_empty": (524, None, 1),
    "cut_after_acceptance": (httpx.RemoteProtocolError, None, 1),
    "hang": (httpx.ReadTimeout, None, 1),
    "slow_body": (httpx.ReadTimeout, None, 1),
    "truncated_body": (httpx.RemoteProtocolError, None, 1),
    "garbage_json": (200, None, 1),
    "html_200": (200, None, 1),
    "empty_success": (200, None, 1),
}
TASK: dict[str, tuple[str, object, int]] = {
    "task_failed": ("failed", None, 0),
    "task_failed_text": ("failed", "upstream refused the job", 0),
    "task_failed_object": ("failed", {"code": "upstream_failure", "message": "upstream refused the job"}, 0),
    "task_moderated": ("failed", {"code": "prompt_blocked", "message": "the prompt was blocked"}, 0),
    "task_cancelled": ("cancelled", None, 0),
    "task_never_ends": ("in_progress", None, 1),
    "task_no_image": ("succeeded", None, 1),
}
POLL: dict[str, int | type[Exception]] = {
    "poll_500": 500,
    "poll_502": 502,
    "poll_503": 503,
    "poll_502_html": 502,
    "poll_524_empty": 524,
    "poll_429": 429,
    "poll_429_date": 429,
    "poll_404": 404,
    "poll_401": 401,
    "poll_garbage": 200,
    "poll_html_200": 200,
    "poll_empty": 200,
    "poll_unknown_word": 200,
    "poll_redirect": 302,
    "poll_cut": httpx.RemoteProtocolError,
    "poll_hang": httpx.ReadTimeout,
    "poll_slow": httpx.ReadTimeout,
    "poll_truncated": httpx.RemoteProtocolError,
}
DOWNLOAD: dict[str, int | type[Exception]] = {
    "download_expired": 403,
    "download_404": 404,
    "download_410": 410,
    "download_500": 500,
    "download_503": 503,
    "download_429": 429,
    "download_html_as_png": 200,
    "download_wrong_pixels": 200,
    "download_wrong_format": 200,
    "download_cut_short": 200,
    "download_empty": 200,
    "download_truncated": httpx.RemoteProtocolError,
    "download_cut": httpx.RemoteProtocolError,
    "download_hang": httpx.ReadTimeout,
    "download_slow": httpx.ReadTimeout,
    "download_oversized": 200,
    "download_oversized_claimed": 200,
    "download_redirect": 302,
    "download_redirect_private": 302,
    "download_redirect_loop": 302,
}
UPLOAD: dict[str, int | type[Exception]] = {
    "upload_400": 400,
    "upload_401": 401,
    "upload_404": 404,
    "upload_413": 413,
    "upload_413_html": 413,
    "upload_429": 429,
    "upload_500": 500,
    "upload_503": 503,
    "upload_502_html": 502,
    "upload_cut": httpx.RemoteProtocolError,
    "upload_hang": httpx.ReadTimeout,
    "upload_slow": httpx.ReadTimeout,
    "upload_truncated": httpx.RemoteProtocolError,
    "upload_html_200": 200,
    "upload_garbage": 200,
    "upload_no_url": 200,
}
BOOKS = {
    f"{book}_{fault}": status
    for book in ("log", "usage", "pricing")
    for fault, status in {"500": 500, "429": 429, "refused": 200, "html_200": 200, "garbage": 200}.items()
}
WEBHOOKS: dict[str, int | type[Exception]] = {
    "webhooks_401": 401,
    "webhooks_429": 429,
    "webhooks_500": 500,
    "webhooks_503": 503,
    "webhooks_502_html": 502,
    "webhooks_html_200": 200,
    "webhooks_garbage": 200,
    "webhooks_cut": httpx.RemoteProtocolError,
    "webhooks_cut_after": httpx.RemoteProtocolError,
    "webhooks_hang": httpx.ReadTimeout,
}
# name: for each delivery of one event, whether its signature is right
DELIVERY: dict[str, list[bool]] = {
    "delivery_lost": [],
    "delivery_unreachable": [True],
    "delivery_duplicated": [True, True],
    "delivery_delayed": [True],
    "delivery_reordered": [True],
    "delivery_forged": [False, True],
    "delivery_stale": [False],
    "delivery_old_secret": [True],
}


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture(scope="module")
def client(server: Emulator) -> Iterator[httpx.Client]:
    with client_of(server) as made:
        yield made


def test_this_file_tests_every_fault() -> None:
    tested = {*GENERATE, *TASK, *POLL, *DOWNLOAD, *UPLOAD, *BOOKS, *WEBHOOKS, *DELIVERY}
    assert {*tested, "ok", "reply"} == set(FAULTS)


@pytest.mark.parametrize("path", [SYNC, SUBMIT])
@pytest.mark.parametrize("name", GENERATE)
def test_faults_of_a_paid_call(emu: Emulator, client: httpx.Client, name: str, path: str) -> None:
    expected, code, charged = GENERATE[name]
    options: dict[str, Any] = {"seconds": 30} if name == "slow_body" else {}
    emu.script(name, **options)
    if isinstance(expected, int):
        response = client.post(path, json=REQUEST)
        assert response.status_code == expected
        if code is not None:
            assert response.json()["error"]["code"] == code
        elif expected >= 400 and "html" in name:
            assert response.text.startswith("<html>")
    else:
        with pytest.raises(expected):
            client.post(path, json=REQUEST, timeout=0.1 if expected is httpx.ReadTimeout else 5)
    assert emu.bill.total == PRICE * charged
    assert len(emu.bill.standing) == charged
    assert emu.requests[0].fault == name
    assert len(emu.jobs) == (1 if charged or name == "generation_failed_502" else 0)
    assert client.post(path, json=REQUEST).status_code == 200  # it happens once
    assert emu.pending_faults == 0


def test_retry_after_in_seconds_and_as_a_date(emu: Emulator, client: httpx.Client) -> None:
    emu.script("rate_limited", retry_after=7)
    emu.script("rate_limited_date", retry_after="date:30")
    emu.script("concurrency_limited")
    assert client.post(SYNC, json=REQUEST).headers["retry-after"] == "7"
    response = client.post(SYNC, json=REQUEST)
    ahead = parsedate_to_datetime(response.headers["retry-after"]) - datetime.now(timezone.utc)
    assert 25 < ahead.total_seconds() < 31
    assert "retry-after" not in client.post(SYNC, json=REQUEST).headers


def test_a_redirect_leads_to_the_second_origin_which_sees_no_key(emu: Emulator, client: httpx.Client) -> None:
    emu.script("redirect", times=2)
    location = client.post(SYNC, json=REQUEST).headers["location"]
    assert location == f"{emu.cdn_url}/v1{SYNC}"
    client.post(SYNC, json=REQUEST, follow_redirects=True)  # httpx sends no key to another origin
    assert [record.origin for record in emu.requests] == ["gateway", "gateway", "cdn"]
    assert not emu.cdn_saw_key


@pytest.mark.parametrize("name", TASK)
def test_faults_of_a_task(emu: Emulator, client: httpx.Client, name: str) -> None:
    status, reason, charged = TASK[name]
    emu.script(name)
    task_id = submit(client)
    for _ in range(2):
        task = client.get(f"/tasks/{task_id}").json()["data"]
    assert task["status"] == status
    assert task.get("error") == reason
    if name == "task_no_image":
        assert task["result"] == {"images": []}
    assert emu.bill.total == PRICE * charged
    assert emu.requests[0].fault == name
    assert emu.jobs[0].image_tokens == []


def test_a_legacy_task_always_reports_a_reason(emu: Emulator, client: httpx.Client) -> None:
    emu.dialect = "legacy"
    emu.script("task_failed")
    assert client.get(f"/tasks/{submit(client)}").json()["data"]["error"] == "generation failed"


def test_one_shot_calls_whose_job_fails(emu: Emulator, client: httpx.Client) -> None:
    emu.script("task_failed", "task_moderated", "task_no_image")
    responses = [client.post(SYNC, json=REQUEST) for _ in range(3)]
    assert [response.status_code for response in responses] == [502, 400, 200]
    assert responses[0].json()["error"]["code"] == "image_generation_failed"
    assert responses[1].json()["error"]["code"] == "prompt_blocked"
    assert responses[2].json()["data"] == []
    assert len(emu.bill.standing) == 1


@pytest.mark.parametrize("name", POLL)
def test_faults_of_a_poll(emu: Emulator, client: httpx.Client, name: str) -> None:
    task_id = submit(client)
    emu.script(name, **({"seconds": 30} if name == "poll_slow" else NOTHING))
    expected = POLL[name]
    if isinstance(expected, int):
        assert client.get(f"/tasks/{task_id}").status_code == expected
    else:
        with pytest.raises(expected):
            client.get(f"/tasks/{task_id}", timeout=0.1 if expected is httpx.ReadTimeout else 5)
    assert emu.requests[-1].fault == name
    assert client.get(f"/tasks/{task_id}").json()["data"]["status"] == "succeeded"
    assert emu.bill.total == PRICE


@pytest.mark.parametrize("place", ["download", "output"])
@pytest.mark.parametrize("name", DOWNLOAD)
def test_faults_of_a_download(emu: Emulator, client: httpx.Client, name: str, place: str) -> None:
    task_id = submit(client)
    url = client.get(f"/tasks/{task_id}").json()["data"]["result"]["images"][0]["url"]
    if place == "output":
        url = f"{emu.base_url}/tasks/{task_id}/outputs/0/content"
    emu.script(name, on=place, **({"seconds": 30} if name == "download_slow" else NOTHING))
    expected = DOWNLOAD[name]
    if isinstance(expected, int):
        size = 0
        with client.stream("GET", url) as response:
            assert response.status_code == expected
            content = b""
            for piece in response.iter_raw():
                content += piece[: 1024 * 1024 - len(content)]
                size += len(piece)
                if size > 4 * 1024 * 1024:
                    break  # the endless ones
        check_content(name, response, content, size, emu)
    else:
        with pytest.raises(expected):
            client.get(url, timeout=0.1 if expected is httpx.ReadTimeout else 5)
    whole = client.get(url)
    assert format_and_size(whole.content) == ("PNG", SIZE)


def check_content(name: str, response: httpx.Response, content: bytes, size: int, emu: Emulator) -> None:
    location = response.headers.get("location", "")
    if response.status_code == 200:
        assert response.headers["content-type"] == "image/png"
    if name == "download_html_as_png":
        assert content.startswith(b"<!doctype html>")
    elif name == "download_wrong_pixels":
        assert format_and_size(content) == ("PNG", (SIZE[0] // 2, SIZE[1] // 2))
    elif name == "download_wrong_format":
        assert format_and_size(content) == ("JPEG", SIZE)
    elif name == "download_cut_short":
        with pytest.raises(OSError, match="truncated"):
            format_and_size(content)
    elif name == "download_empty":
        assert content == b""
    elif name.startswith("download_oversized"):
        assert size > 4 * 1024 * 1024
        assert ("content-length" in response.headers) == name.endswith("claimed")
    elif name == "download_redirect":
        assert location.startswith(emu.cdn_url + "/")
    elif name == "download_redirect_private":
        assert location == "http://10.0.0.1/picture.png"
    elif name == "download_redirect_loop":
        assert location == response.request.url.path


@pytest.mark.parametrize("name", UPLOAD)
def test_faults_of_an_upload(emu: Emulator, client: httpx.Client, name: str) -> None:
    files = {"file": ("a.png", padded_png(2_000), "image/png")}
    emu.script(name, **({"seconds": 30} if name == "upload_slow" else NOTHING))
    expected = UPLOAD[name]
    if isinstance(expected, int):
        response = client.post("/uploads/images", files=files)
        assert response.status_code == expected
        assert '"url":"http' not in response.text
    else:
        with pytest.raises(expected):
            client.post("/uploads/images", files=files, timeout=0.1 if expected is httpx.ReadTimeout else 5)
    assert emu.requests[-1].fault == name
    assert client.post("/uploads/images", files=files).json()["url"].startswith(emu.url)
    assert len(emu.bill) == 0


@pytest.mark.parametrize("name", BOOKS)
def test_faults_of_the_pages_beside_v1(emu: Emulator, client: httpx.Client, name: str) -> None:
    book = name.partition("_")[0]
    url = f"{emu.url}/api/{book}" if book == "pricing" else f"{emu.url}/api/{book}/token"
    usual = client.get(url).content
    emu.script(name)
    faulty = client.get(url)
    assert (faulty.status_code, emu.requests[-1].fault) == (BOOKS[name], name)
    assert faulty.content != usual
    assert client.get(url).content == usual


@pytest.mark.parametrize("name", WEBHOOKS)
def test_faults_of_the_management_of_webhooks(emu: Emulator, client: httpx.Client, name: str) -> None:
    expected = WEBHOOKS[name]
    url = {"url": "https://example.com/hook"}
    emu.script(name)
    if isinstance(expected, int):
        faulty = client.post("/webhook-endpoints", json=url)
        assert faulty.status_code == expected
        assert b"signing_secret" not in faulty.content
    else:
        with pytest.raises(expected):
            client.post("/webhook-endpoints", json=url, timeout=0.1 if expected is httpx.ReadTimeout else 5)
    assert (emu.requests[-1].route, emu.requests[-1].fault) == ("webhooks", name)
    assert len(emu.webhook_endpoints) == (1 if name == "webhooks_cut_after" else 0)
    assert client.post("/webhook-endpoints", json=url).status_code == 201


@pytest.mark.parametrize("name", DELIVERY)
def test_faults_of_a_delivery(emu: Emulator, client: httpx.Client, name: str) -> None:
    with Receiver() as receiver:
        registered = client.post("/webhook-endpoints", json={"url": receiver.url}).json()
        endpoint_id, secret = registered["endpoint"]["id"], registered["signing_secret"]
        assert client.post(f"/webhook-endpoints/{endpoint_id}/verify").status_code == 200
        if name == "delivery_old_secret":
            client.post(f"/webhook-endpoints/{endpoint_id}/rotate-secret")
        emu.script(name)
        task_id = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
        emu.settle_webhooks()
        at_once = len(receiver.received)
        emu.advance(10)
        emu.settle_webhooks()
        assert [each.is_genuine(secret) for each in receiver.received] == DELIVERY[name]
        waits = name in ("delivery_unreachable", "delivery_delayed", "delivery_reordered")
        assert at_once == (0 if waits else len(DELIVERY[name]))
        genuine = [each for each in receiver.received if each.is_genuine(secret)]
        assert {each.task_id for each in genuine} <= {task_id}
        faults = [each.fault for each in emu.webhook_deliveries if each.fault is not None]
        assert set(faults) == {name}
        assert emu.pending_faults == 0


def test_the_second_origin_serves_a_redirected_download(emu: Emulator, client: httpx.Client) -> None:
    url = client.post(SYNC, json=REQUEST).json()["data"][0]["url"]
    emu.script("download_redirect")
    response = client.get(url, follow_redirects=True)
    assert format_and_size(response.content) == ("PNG", SIZE)
    assert [record.origin for record in emu.requests] == ["gateway", "gateway", "cdn"]
    assert not emu.cdn_saw_key


# --- scripts and random faults ----------------------------------------------------------------------------


def test_a_script_runs_in_order_and_ok_lets_a_request_pass(emu: Emulator, client: httpx.Client) -> None:
    emu.script("ok", "unavailable_503", {"fault": "server_error_500", "times": 2})
    assert [client.post(SYNC, json=REQUEST).status_code for _ in range(5)] == [200, 503, 500, 500, 200]


def test_a_script_may_apply_to_some_requests_only(emu: Emulator, client: httpx.Client) -> None:
    emu.script("moderation", prompt="forbidden", times=None)
    emu.script("task_failed", prompt="doomed")
    first, doomed = submit(client), submit(client, prompt="a doomed ship")
    emu.script("poll_500", task=first)
    assert client.get(f"/tasks/{doomed}").json()["data"]["status"] == "failed"
    assert client.get(f"/tasks/{first}").status_code == 500
    for _ in range(2):
        assert client.post(SYNC, json={**REQUEST, "prompt": "something forbidden"}).status_code == 400
    emu.clear_script()
    assert client.post(SYNC, json={**REQUEST, "prompt": "something forbidden"}).status_code == 200


def test_a_script_may_spell_out_a_response(emu: Emulator, client: httpx.Client) -> None:
    emu.script("reply", on="poll", body='{"status": "done?"}', status=203, headers={"x-odd": "1"})
    emu.script("reply", status=418, body="teapot", content_type="text/plain")
    assert client.post(SYNC, json=REQUEST).text == "teapot"
    response = client.get(f"/tasks/{submit(client)}")
    assert (response.status_code, response.json(), response.headers["x-odd"]) == (203, {"status": "done?"}, "1")


def test_a_cut_may_be_a_reset_and_an_accepted_fault_may_be_unbilled(emu: Emulator, client: httpx.Client) -> None:
    emu.script("cut_after_acceptance", reset=True)
    emu.script("proxy_504_html", accepted=False)
    with pytest.raises(httpx.ReadError):
        client.post(SYNC, json=REQUEST)
    assert client.post(SYNC, json=REQUEST).status_code == 504
    assert len(emu.bill.charges) == 1


def test_a_request_chooses_its_own_fault(emu: Emulator, client: httpx.Client) -> None:
    header = {"x-emulator-fault": 'rate_limited {"retry_after": 9}'}
    response = client.post(SYNC, json=REQUEST, headers=header)
    assert (response.status_code, response.headers["retry-after"]) == (429, "9")
    task_id = client.post(SUBMIT, json=REQUEST, headers={"x-emulator-fault": "task_failed"}).json()["data"][0][
        "task_id"
    ]
    assert (
        client.get(f"/tasks/{task_id}", headers=header).json()["data"]["status"] == "failed"
    )  # it is no fault of a poll
    assert client.get(f"/tasks/{task_id}", headers={"x-emulator-fault": "poll_503"}).status_code == 503
    bad = client.post(SYNC, json=REQUEST, headers={"x-emulator-fault": "klingon"})
    assert "klingon" in bad.json()["error"]["message"]


def test_a_clients_mistake_uses_up_no_scripted_fault(emu: Emulator, client: httpx.Client) -> None:
    emu.script("unavailable_503")
    assert client.post(SYNC, json={**REQUEST, "prompt": ""}).status_code == 400
    assert emu.pending_faults == 1
    emu.reset()
    assert emu.pending_faults == 0


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        (("klingon",), {}, "'klingon' is not known"),
        (("hang",), {"on": "moon"}, "'moon' is not known"),
        (("hang",), {"times": 0}, "times 0"),
        (("hang",), {"colour": "red"}, "'colour' is not known"),
        (("task_failed",), {"on": "poll"}, "can't happen at 'poll'"),
        (("delivery_lost",), {"on": "poll"}, "can't happen at 'poll'"),
        (("server_error_500",), {"on": "delivery"}, "can't happen at 'delivery'"),
        (("poll_503",), {"on": "task"}, "can't happen at 'task'"),
        (("download_wrong_pixels",), {"on": "generate"}, "can't happen at 'generate'"),
        (({"times": 2},), {}, "under 'fault'"),
    ],
)
def test_scripts_that_the_emulator_refuses(
    emu: Emulator, names: tuple[Any, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        emu.script(*names, **options)
    assert emu.pending_faults == 0


def test_random_faults_repeat_with_the_seed() -> None:
    def statuses(seed: int) -> list[int]:
        with (
            Emulator(faults="rate_limited=0.3,task_failed=0.2", seed=seed, pictures="plain") as emulator,
            client_of(emulator) as client,
        ):
            found = [client.post(SYNC, json=REQUEST).status_code for _ in range(60)]
            emulator.set_faults(None)
            assert client.post(SYNC, json=REQUEST).status_code == 200
            return found

    drawn = statuses(1)
    assert drawn == statuses(1)
    assert drawn != statuses(2)
    assert 8 < drawn.count(429) < 30
    assert 2 < drawn.count(502) < 20
