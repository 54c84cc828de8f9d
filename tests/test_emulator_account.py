"""The account's own books at the emulator, read with plain httpx: which rows there are, when, and for whom."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, SYNC, client_of, poll, submit, without_key

from apimaster.catalog import DEFAULT_MODEL
from apimaster.emulator import Emulator

PRICE = 18_750  # quota, of a picture at 0.5K


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture(scope="module")
def client(server: Emulator) -> Iterator[httpx.Client]:
    with client_of(server) as made:
        yield made


def rows(client: httpx.Client) -> list[dict[str, Any]]:
    """The rows of the log, each with the document that ``other`` holds."""
    base = str(client.base_url).removesuffix("/v1/")
    document = client.get(f"{base}/api/log/token").json()
    assert document["success"] is True
    return [{**row, "other": json.loads(row["other"])} for row in document["data"]]


def figures(client: httpx.Client) -> dict[str, Any]:
    base = str(client.base_url).removesuffix("/v1/")
    document = client.get(f"{base}/api/usage/token").json()
    assert (document["code"], document["message"]) == (True, "ok")
    found: dict[str, Any] = document["data"]
    return found


def test_the_row_of_a_task_is_there_at_once_and_gets_its_picture(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = "manual"
    references = ["https://example.com/a.png"]
    task_id = submit(client, resolution="2K", quality="high", image_urls=references)
    (row,) = rows(client)
    asked = {
        "model": DEFAULT_MODEL,
        "prompt": REQUEST["prompt"],
        "n": 1,
        "size": "16:9",
        "resolution": "2k",
        "quality": "high",
        "effective_resolution": "2k",
        "image_urls": references,
    }
    assert row.pop("other") == {"task_id": task_id, "request_data": asked}
    assert abs(row.pop("created_at") - time.time()) < 60
    assert row == {
        "type": 2,
        "content": "size 16:9, resolution 2K, n 1",
        "model_name": DEFAULT_MODEL,
        "quota": 25_000,
        "use_time": 0,
        "request_id": emu.requests[0].id,
    }
    emu.finish(task_id)
    (row,) = rows(client)
    assert row["other"]["result_url"] == poll(client, task_id)["data"]["result"]["images"][0]["url"]


def test_a_request_that_leaves_fields_out_has_none_in_its_row(emu: Emulator, client: httpx.Client) -> None:
    client.post(SUBMIT, json={"model": DEFAULT_MODEL, "prompt": "a cat"})
    (row,) = rows(client)
    assert row["other"]["request_data"] == {
        "model": DEFAULT_MODEL,
        "prompt": "a cat",
        "n": 1,
        "effective_resolution": "1k",
    }


def test_a_local_reference_is_left_out(emu: Emulator, client: httpx.Client) -> None:
    client.post(SYNC, json={"model": DEFAULT_MODEL, "prompt": "a cat", "response_format": "b64_json"})
    picture = rows(client)[0]["other"]["result_url"]
    data = f"data:image/png;base64,{base64.b64encode(without_key.get(picture).content).decode()}"
    submit(client, image_urls=[data, "https://example.com/a.png"])
    assert rows(client)[0]["other"]["request_data"]["image_urls"] == ["https://example.com/a.png"]


def test_a_failed_task_is_marked_and_gets_a_row_for_its_refund(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = 5
    emu.script({"fault": "task_failed_text"})
    task_id = submit(client)
    assert [row["type"] for row in rows(client)] == [2]
    assert "billing_refunded" not in rows(client)[0]["other"]
    emu.advance(10)
    refund, charge = rows(client)
    assert (refund["type"], refund["quota"], refund["other"]) == (6, PRICE, {"task_id": task_id})
    assert refund["content"] == "image generation failed: upstream refused the job"
    assert refund["created_at"] - charge["created_at"] in (4, 5, 6)
    assert (charge["type"], charge["quota"], charge["other"]["billing_refunded"]) == (2, PRICE, True)
    assert "result_url" not in charge["other"]


def test_the_row_of_a_one_shot_call_comes_when_it_ends(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = 30
    emu.script("cut_after_acceptance")
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(SYNC, json=REQUEST)
    emu.advance(20)
    assert rows(client) == []
    emu.advance(20)
    (row,) = rows(client)
    assert (row["type"], row["quota"], row["use_time"]) == (2, PRICE, 30)
    assert "task_id" not in row["other"]
    assert without_key.get(row["other"]["result_url"]).status_code == 200
    assert row["created_at"] == pytest.approx(emu.jobs[0].created_wall + 30, abs=1)


def test_a_one_shot_call_that_is_lost_ends_by_time_although_nobody_polls(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = "3 polls"
    emu.script("cut_after_acceptance")
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(SYNC, json=REQUEST)
    assert [row["type"] for row in rows(client)] == [2]


def test_a_one_shot_call_after_which_the_gateway_stopped_waiting(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = 400
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(client.post(SYNC, json=REQUEST).status_code))
    waiting.start()
    while not emu.jobs:
        time.sleep(0.001)
    emu.advance(200)
    waiting.join()
    assert answers == [408]
    assert rows(client) == []
    emu.advance(250)
    assert [row["other"].keys() for row in rows(client)] == [{"request_data", "result_url"}]


@pytest.mark.parametrize("path", [SYNC, SUBMIT])
def test_a_call_that_fails_is_an_error_without_an_amount(emu: Emulator, client: httpx.Client, path: str) -> None:
    emu.script("generation_failed_502")
    assert client.post(path, json=REQUEST).status_code == 502
    (row,) = rows(client)
    assert (row["type"], row["quota"], row["other"].keys()) == (5, 0, {"request_data"})


def test_a_one_shot_call_answered_with_a_task_has_a_row_at_once(emu: Emulator, client: httpx.Client) -> None:
    emu.latency, emu.dialect = "manual", "sync_as_task"  # type: ignore[assignment]  # the setters read texts
    task_id = client.post(SYNC, json=REQUEST).json()["data"][0]["task_id"]
    assert [row["other"]["task_id"] for row in rows(client)] == [task_id]


def test_a_task_whose_submit_was_never_answered_is_in_the_log(emu: Emulator, client: httpx.Client) -> None:
    emu.script("proxy_504_html")
    client.post(SUBMIT, json=REQUEST)
    (row,) = rows(client)
    assert poll(client, row["other"]["task_id"])["data"]["status"] == "succeeded"


def test_the_newest_row_comes_first(emu: Emulator, client: httpx.Client) -> None:
    emu.latency = "manual"
    tasks = [submit(client) for _ in range(3)]
    assert [row["other"]["task_id"] for row in rows(client)] == tasks[::-1]


def test_the_log_holds_a_thousand_rows(emu: Emulator, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from apimaster.emulator import account

    assert account.ROWS == 1000
    monkeypatch.setattr(account, "ROWS", 2)
    tasks = [submit(client) for _ in range(3)]
    assert [row["other"]["task_id"] for row in rows(client)] == [tasks[2], tasks[1]]


def test_twenty_reads_in_twenty_minutes(emu: Emulator, client: httpx.Client) -> None:
    for _ in range(20):
        rows(client)
    refused = client.get(f"{emu.url}/api/log/token")
    assert (refused.status_code, refused.content) == (429, b"")
    assert without_key.get(f"{emu.url}/api/log/token").status_code == 429
    figures(client)  # has no such limit
    emu.advance(1199)
    assert client.get(f"{emu.url}/api/log/token").status_code == 429
    emu.advance(2)
    rows(client)
    for _ in range(19):
        rows(client)
    emu.reset()
    rows(client)


def test_the_figures_follow_the_bill(emu: Emulator, client: httpx.Client) -> None:
    submit(client)
    emu.script("task_failed")
    submit(client)
    assert figures(client) == {
        "object": "token_usage",
        "name": "emulator-1",
        "total_granted": 0,
        "total_used": PRICE,
        "total_available": -PRICE,
        "unlimited_quota": True,
        "model_limits": {},
        "model_limits_enabled": False,
        "expires_at": 0,
    }


def test_each_key_has_books_of_its_own_and_the_balance_is_shared() -> None:
    with (
        Emulator(api_keys=["one", "two"], balance=10, log_limit=None) as emu,
        client_of(emu) as one,
        client_of(emu, authorization="Bearer two") as two,
    ):
        task_id = submit(one)
        for _ in range(25):
            assert rows(two) == []
        assert [row["other"]["task_id"] for row in rows(one)] == [task_id]
        first, second = figures(one), figures(two)
        assert (first["total_granted"], first["total_used"], first["total_available"]) == (5_000_000, PRICE, 4_981_250)
        assert (second["total_used"], second["total_available"]) == (0, 4_981_250)
        assert not first["unlimited_quota"]
        assert [record.route for record in emu.requests[-2:]] == ["usage", "usage"]


def test_rows_may_come_late() -> None:
    with Emulator(log_delay=5) as emu, client_of(emu) as client:
        submit(client)
        assert rows(client) == []
        emu.advance(5)
        assert len(rows(client)) == 1


def test_an_older_gateway_has_neither_route() -> None:
    with Emulator(account_routes=False) as emu, client_of(emu) as client:
        for name in ("usage", "log"):
            response = client.get(f"{emu.url}/api/{name}/token")
            assert (response.status_code, response.headers["content-type"][:9]) == (404, "text/html")


@pytest.mark.parametrize("name", ["usage", "log"])
def test_nobody_reads_the_books_without_a_key(emu: Emulator, name: str) -> None:
    assert without_key.get(f"{emu.url}/api/{name}/token").status_code == 401


def test_a_request_may_choose_its_own_fault(emu: Emulator, client: httpx.Client) -> None:
    url = f"{emu.url}/api/log/token"
    assert client.get(url, headers={"x-emulator-fault": "log_500"}).status_code == 500
    assert client.get(url, headers={"x-emulator-fault": "nonsense"}).status_code == 400
    emu.script("not_found", on="log")
    assert client.get(url).status_code == 404
    emu.script("truncated_body", on="log")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(url)
