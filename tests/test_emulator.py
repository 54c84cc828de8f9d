"""The emulator's routes, dialects, image jobs, bill and recorded requests, driven with plain httpx."""

from __future__ import annotations

import base64
import io
import threading
import time
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, SYNC, client_of, poll, size_of, submit, without_key
from PIL import Image

from apimaster.catalog import DEFAULT_MODEL, KNOWN_MODELS, spec_for
from apimaster.emulator import Emulator


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


# --- one-shot calls, submits and polls --------------------------------------------------------------------


def test_a_one_shot_call_delivers_a_picture_of_the_exact_size_for_one_charge(emu: Emulator) -> None:
    with client_of(emu) as client:
        response = client.post(SYNC, json={**REQUEST, "resolution": "2K"})
        document = response.json()
        assert set(document) == {"created", "data"}
        (item,) = document["data"]
        picture = without_key.get(item["url"])  # public: no key
    assert picture.headers["content-type"] == "image/png"
    assert size_of(picture.content) == (2752, 1536)
    assert response.headers["x-request-id"] == response.headers["x-oneapi-request-id"] == emu.requests[0].id
    assert emu.bill.total == Decimal("0.05")
    assert [entry.request_id for entry in emu.bill.charges] == [emu.requests[0].id]


@pytest.mark.parametrize("dialect", ["tracked", "legacy"])
def test_a_job_that_ends_while_its_poll_is_answered(
    emu: Emulator, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """A poll that finds it finished has its picture, at whatever moment between two looks at the clock it ends."""
    emu.dialect = dialect
    for tenths in range(30, 50):
        emu.latency = tenths / 10
        with client_of(emu) as client, monkeypatch.context() as ticking:
            ticks = count()
            ticking.setattr("apimaster.emulator.clock.Clock.now", lambda self, ticks=ticks: next(ticks) / 10)
            task_id = submit(client)
            task = poll(client, task_id)
            while task.get("data", task)["status"] not in ("succeeded", "completed"):
                task = poll(client, task_id)
        assert task.get("data", task)["result"]["images"], emu.latency


def test_submit_and_poll_in_the_tracked_dialect(emu: Emulator) -> None:
    emu.latency = "manual"
    with client_of(emu) as client:
        response = client.post(SUBMIT, json=REQUEST).json()
        assert response["code"] == 200
        (item,) = response["data"]
        assert item["status"] == "submitted"
        task_id = item["task_id"]
        assert task_id.startswith("task_")
        assert poll(client, task_id) == {"data": {"status": "queued"}}
        assert poll(client, task_id) == {"data": {"status": "in_progress"}}
        emu.finish(task_id)
        document = poll(client, task_id)
        url = document["data"]["result"]["images"][0]["url"]
        assert document == {"data": {"status": "succeeded", "result": {"images": [{"url": url}]}}}
        assert poll(client, task_id) == document
        durable = client.get(f"/tasks/{task_id}/outputs/0/content")
        assert durable.content == without_key.get(url).content
        assert client.get(f"/tasks/{task_id}/outputs/1/content").status_code == 404
    assert without_key.get(str(durable.request.url)).status_code == 401  # this one needs the key
    assert emu.bill.total == Decimal("0.0375")
    assert emu.complaints == []
    assert emu.jobs[0].polls == 4


def test_the_legacy_dialect_reports_progress_and_expiry(emu: Emulator) -> None:
    emu.dialect = "legacy"
    emu.latency = 100
    with client_of(emu) as client:
        task_id = submit(client)
        first = poll(client, task_id)
        assert first["code"] == 200
        assert first["data"]["status"] == "pending"
        assert first["data"]["estimated_time"] == 100
        emu.advance(45)
        assert poll(client, task_id)["data"]["progress"] == 45
        emu.advance(56)
        task = poll(client, task_id)["data"]
    assert (task["status"], task["progress"], task["actual_time"]) == ("completed", 100, 100)
    (image,) = task["result"]["images"]
    assert len(image["url"]) == 1
    assert image["expires_at"] == pytest.approx(task["created"] + 100 + 24 * 3600, abs=2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tracked", {"data": {"status": "succeeded", "result": {"images": [{"url": "URL"}]}}}),
        ("tracked+no_envelope", {"status": "succeeded", "result": {"images": [{"url": "URL"}]}}),
        ("tracked+upper_case", {"data": {"status": "SUCCEEDED", "result": {"images": [{"url": "URL"}]}}}),
        ("tracked+url_list", {"data": {"status": "succeeded", "result": {"images": [{"url": ["URL"]}]}}}),
        ("tracked+success_word", {"data": {"status": "success", "result": {"images": [{"url": "URL"}]}}}),
    ],
)
def test_poll_dialects(emu: Emulator, words: str, expected: dict[str, Any]) -> None:
    emu.dialect = words
    with client_of(emu) as client:
        document = poll(client, submit(client))
    task = document.get("data", document)
    url = task["result"]["images"][0]["url"]
    task["result"]["images"][0]["url"] = ["URL"] if isinstance(url, list) else "URL"
    assert document == expected


@pytest.mark.parametrize(
    "words", ["legacy+url_string", "legacy+no_envelope", "legacy+upper_case", "legacy+extra_fields"]
)
def test_legacy_variants(emu: Emulator, words: str) -> None:
    emu.dialect = words
    with client_of(emu) as client:
        document = poll(client, submit(client))
    task = document if "no_envelope" in words else document["data"]
    assert task["status"] == ("COMPLETED" if "upper_case" in words else "completed")
    assert isinstance(task["result"]["images"][0]["url"], str if "url_string" in words else list)
    assert ("kind" in task) == ("extra_fields" in words)


def test_running_tasks_report_unknown_words(emu: Emulator) -> None:
    emu.dialect, emu.latency = "unknown_words", "manual"
    with client_of(emu) as client:
        task_id = submit(client)
        words = {poll(client, task_id)["data"]["status"] for _ in range(6)}
    assert words - {"queued", "pending", "in_progress", "processing"} == {"dispatching", "upscaling", "almost_there"}


def test_mixed_draws_a_dialect_per_task_and_repeats_with_the_seed() -> None:
    def dialects() -> list[str]:
        with Emulator(dialect="mixed", seed=5, pictures="plain") as emulator, client_of(emulator) as client:
            for _ in range(12):
                submit(client)
            return [str(job.dialect) for job in emulator.jobs]

    drawn = dialects()
    assert drawn == dialects()
    assert len(set(drawn)) > 4


def test_a_sync_call_answered_by_a_task_and_a_submit_answered_by_a_picture(emu: Emulator) -> None:
    with client_of(emu) as client:
        emu.dialect = "sync_as_task"
        (item,) = client.post(SYNC, json=REQUEST).json()["data"]
        assert poll(client, item["task_id"])["data"]["status"] == "succeeded"
        emu.dialect = "submit_as_image"
        (item,) = client.post(SUBMIT, json=REQUEST).json()["data"]
        assert size_of(without_key.get(item["url"]).content) == (688, 384)
        emu.dialect = "no_code"
        assert "code" not in client.post(SUBMIT, json=REQUEST).json()
        emu.dialect = "no_async"
        assert client.post(SUBMIT, json=REQUEST).status_code == 404
    assert len(emu.bill.charges) == 3


def test_pictures_inside_the_response(emu: Emulator) -> None:
    with client_of(emu) as client:
        (asked,) = client.post(SYNC, json={**REQUEST, "response_format": "b64_json"}).json()["data"]
        emu.dialect = "b64"
        (unasked,) = client.post(SYNC, json=REQUEST).json()["data"]
    for item in (asked, unasked):
        assert set(item) == {"b64_json"}
        assert size_of(base64.b64decode(item["b64_json"])) == (688, 384)


@pytest.mark.parametrize(("words", "sync", "task"), [("tracked", 3, 1), ("n_ignored", 1, 1), ("n_honoured", 3, 3)])
def test_the_dialect_may_ignore_n_and_the_bill_counts_delivered_pictures(
    emu: Emulator, words: str, sync: int, task: int
) -> None:
    emu.dialect = words
    with client_of(emu) as client:
        assert len(client.post(SYNC, json={**REQUEST, "n": 3}).json()["data"]) == sync
        images = poll(client, submit(client, n=3))["data"]["result"]["images"]
    assert len(images) == task
    assert [entry.images for entry in emu.bill.entries] == [sync, task]
    assert emu.bill.total == Decimal("0.0375") * (sync + task)


def test_a_request_chooses_its_own_dialect_and_latency(emu: Emulator) -> None:
    with client_of(emu, **{"x-emulator-dialect": "legacy", "x-emulator-latency": "manual"}) as client:
        assert poll(client, submit(client))["data"]["status"] == "pending"
    with client_of(emu, **{"x-emulator-dialect": "klingon"}) as client:
        assert "klingon" in client.post(SUBMIT, json=REQUEST).json()["error"]["message"]


# --- time -------------------------------------------------------------------------------------------------


def test_a_one_shot_call_waits_until_its_job_ends(emu: Emulator) -> None:
    emu.latency = "manual"
    responses: list[httpx.Response] = []
    with client_of(emu) as client:
        caller = threading.Thread(target=lambda: responses.append(client.post(SYNC, json=REQUEST)))
        caller.start()
        while not emu.jobs:
            time.sleep(0.001)
        emu.finish()
        caller.join(5)
    assert responses[0].status_code == 200


def test_a_one_shot_call_times_out_and_its_job_goes_on(emu: Emulator) -> None:
    emu.latency = 200
    responses: list[httpx.Response] = []
    with client_of(emu) as client:
        caller = threading.Thread(target=lambda: responses.append(client.post(SYNC, json=REQUEST)))
        caller.start()
        while not emu.jobs:
            time.sleep(0.001)
        emu.advance(181)  # 0.5K: 180 s
        caller.join(5)
    assert responses[0].status_code == 408
    assert responses[0].json()["error"]["code"] == "image_generation_timeout"
    assert emu.bill.total == Decimal("0.0375")


def test_a_number_of_polls_instead_of_time(emu: Emulator) -> None:
    emu.latency = "2 polls"
    with client_of(emu) as client:
        task_id = submit(client)
        assert [poll(client, task_id)["data"]["status"] for _ in range(4)] == [
            "queued",
            "in_progress",
            "succeeded",
            "succeeded",
        ]
        assert client.post(SYNC, json=REQUEST).status_code == 200  # nobody looks at this one


@pytest.mark.parametrize("cdn", [False, True])
def test_urls_expire_and_the_durable_route_does_not(cdn: bool) -> None:
    with Emulator(url_lifetime=60, cdn=cdn, pictures="plain") as emu, client_of(emu) as client:
        task_id = submit(client)
        url = poll(client, task_id)["data"]["result"]["images"][0]["url"]
        assert url.startswith(emu.cdn_url if cdn else emu.url)
        assert without_key.get(url).status_code == 200
        emu.advance(61)
        assert without_key.get(url).status_code == (403 if cdn else 404)
        assert client.get(f"/tasks/{task_id}/outputs/0/content").status_code == 200


def test_reset_returns_to_the_state_at_the_start(emu: Emulator) -> None:
    emu.dialect, emu.latency = "legacy", "manual"
    emu.script("moderation", on="generate", prompt="never")
    emu.advance(10_000)
    with client_of(emu) as client:
        client.get(f"/tasks/{submit(client)}")
        assert (emu.bill.total, len(emu.complaints)) == (Decimal("0.0375"), 1)
        emu.reset()
        assert (emu.bill.total, emu.jobs, emu.requests, emu.complaints, emu.pending_faults) == (0, [], [], [], 0)
        submit(client)  # the client keeps its connection
    assert (str(emu.dialect), emu.latency.manual) == ("tracked", False)
    assert emu.requests[0].at < time.time() + 1000  # the clock is back, too


# --- keys, charges, recorded requests ---------------------------------------------------------------------


def test_keys_are_checked_and_tasks_belong_to_their_key() -> None:
    with Emulator(api_keys=["sk-one", "sk-two"], pictures="plain") as emu:
        for header in ({}, {"authorization": "Bearer sk-three"}, {"authorization": "Basic sk-one"}):
            for method, path in (("POST", SYNC), ("POST", SUBMIT), ("GET", "/models"), ("GET", "/tasks/task_X")):
                response = without_key.request(method, emu.base_url + path, headers=header, json=REQUEST)
                assert response.status_code == 401
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        with client_of(emu) as one, client_of(emu, authorization="Bearer sk-two") as two:
            task_id = submit(one)
            assert two.get(f"/tasks/{task_id}").status_code == 404
            assert two.get(f"/tasks/{task_id}/outputs/0/content").status_code == 404
            submit(two)
        assert [entry.key for entry in emu.bill.entries] == [0, 1]


def test_without_keys_the_emulator_accepts_any_key() -> None:
    with Emulator(api_keys=None, pictures="plain") as emu, client_of(emu, authorization="Bearer whatever") as client:
        assert client.get("/models").status_code == 200
        assert without_key.get(emu.base_url + "/models").status_code == 401


def test_the_balance_runs_out() -> None:
    with Emulator(balance="0.08", pictures="plain") as emu, client_of(emu) as client:
        statuses = [client.post(SUBMIT, json=REQUEST).status_code for _ in range(3)]
        refused = client.post(SYNC, json=REQUEST).json()["error"]["code"]
    assert statuses == [200, 200, 403]
    assert refused == "insufficient_user_quota"
    assert emu.bill.total == Decimal("0.075")


def test_a_failed_job_is_refunded_without_a_poll(emu: Emulator) -> None:
    emu.latency = 30
    emu.script("task_failed")
    with client_of(emu) as client:
        submit(client)
        assert emu.bill.total == Decimal("0.0375")
        emu.advance(31)
        assert emu.bill.total == 0
        assert (len(emu.bill.charges), len(emu.bill.refunds), len(emu.bill.standing)) == (1, 1, 0)
        emu.fail(submit(client))
        assert emu.bill.total == 0


def test_records_hold_no_key_and_no_pictures(emu: Emulator) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    with client_of(emu) as client:
        task_id = submit(client, image_urls=[uri, "https://example.com/a.jpg"], unknown_field=[1])
        poll(client, task_id)
        seen = client.get(f"{emu.url}/_emulator/requests")
        bill = client.get(f"{emu.url}/_emulator/bill").json()
    record, polled = emu.requests
    assert (record.route, record.status, record.task_id, record.key) == ("submit", 200, task_id, 0)
    assert (polled.route, polled.query) == ("poll", f"model={DEFAULT_MODEL}")
    assert record.body["unknown_field"] == [1]
    own, other = record.references
    assert (own.kind, own.media_type, own.size, own.width) == ("data", "image/png", len(data.getvalue()), 40)
    assert (other.kind, other.url, other.sha256) == ("url", "https://example.com/a.jpg", None)
    assert emu.api_key not in seen.text
    assert uri not in seen.text
    assert record.headers["authorization"] == "[removed]"
    assert [item["route"] for item in seen.json()["requests"]] == ["submit", "poll"]
    assert bill["total"] == "0.0375"
    assert bill["entries"][0]["amount"] == "0.0375"
    assert emu.api_key not in repr(record)


def test_complaints_name_what_a_good_client_does_not_do() -> None:
    with Emulator(cdn=True, pictures="plain") as emu, client_of(emu) as client:
        task_id = submit(client)
        client.get(f"/tasks/{task_id}")
        client.get(f"/tasks/{task_id}", params={"model": "gpt-image-2"})
        url = poll(client, task_id)["data"]["result"]["images"][0]["url"]
        assert client.get(url, headers={"authorization": "Bearer x"}).status_code == 400
        assert emu.cdn_saw_key
        first, second, third = emu.complaints
    assert "without its model" in first
    assert "'gpt-image-2'" in second
    assert "CDN" in third


def test_other_routes(emu: Emulator) -> None:
    with client_of(emu) as client:
        models = client.get("/models").json()
        assert models["object"] == "list"
        assert {item["id"] for item in models["data"]} >= set(KNOWN_MODELS)
        chat = client.post("/chat/completions", json={"model": DEFAULT_MODEL, "messages": []})
        assert chat.status_code == 400
        assert "Images API" in chat.json()["error"]["message"]
        assert client.get("/tasks/task_NONE").json()["error"]["code"] == "task_not_exist"
        assert client.get("/nowhere").json()["error"]["type"] == "invalid_request_error"
        assert client.get(SYNC).status_code == 404
        outside = client.post(f"{emu.url}/images/generations", json=REQUEST)  # a base URL without /v1
        assert (outside.status_code, outside.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_urls_name_the_host_that_the_client_used(emu: Emulator) -> None:
    with client_of(emu) as client:
        response = client.post(emu.base_url.replace("127.0.0.1", "localhost") + SYNC, json=REQUEST)
        stranger = client.post(SYNC, json=REQUEST, headers={"host": "evil.example:80"})
    assert response.json()["data"][0]["url"].startswith("http://localhost:")
    assert stranger.json()["data"][0]["url"].startswith("http://127.0.0.1:")


def test_every_model_is_priced_as_in_the_catalogue_or_like_its_predecessor_or_free(emu: Emulator) -> None:
    with client_of(emu) as client:
        for model in KNOWN_MODELS:
            assert client.post(SYNC, json={"model": model, "prompt": "x", "resolution": "4k"}).status_code == 200
    assert [entry.amount for entry in emu.bill.entries] == [
        spec_for(DEFAULT_MODEL if model == spec_for(DEFAULT_MODEL).successor else model).price("4K") or Decimal(0)
        for model in KNOWN_MODELS
    ]
