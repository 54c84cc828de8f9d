"""The webhooks of the emulator: endpoints, their verification, and the events of tasks as a receiver gets them."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, SYNC, client_of, poll, submit
from webhook_receiver import Receiver

from apimaster.catalog import DEFAULT_MODEL
from apimaster.emulator import Emulator, WebhookDelivery, WebhookEvent
from apimaster.webhooks import TASK_COMPLETED, TASK_FAILED, VERIFICATION

OTHER_KEY = "sk-other"


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(pictures="plain", latency="manual", api_keys=["sk-one", OTHER_KEY], webhook_timeout=5) as emulator:
        yield emulator


@pytest.fixture
def emu(shared: Emulator) -> Emulator:
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def client(shared: Emulator) -> Iterator[httpx.Client]:
    with client_of(shared) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def register(client: httpx.Client, url: str) -> tuple[str, str]:
    """Register and verify an endpoint; its id and its secret."""
    response = client.post("/webhook-endpoints", json={"url": url})
    assert response.status_code == 201, response.text
    document = response.json()
    endpoint_id: str = document["endpoint"]["id"]
    verified = client.post(f"/webhook-endpoints/{endpoint_id}/verify")
    assert verified.status_code == 200, verified.text
    assert verified.json()["endpoint"]["verified"] is True
    return endpoint_id, document["signing_secret"]


def asking(endpoint_id: str, *events: str) -> dict[str, Any]:
    return {
        "notifications": {
            "webhook": {"endpoint_id": endpoint_id, "events": list(events or (TASK_COMPLETED, TASK_FAILED))}
        }
    }


def of_tasks(emulator: Emulator) -> list[WebhookDelivery]:
    """The attempts that are no challenges: the first challenge goes out beside the test, and may end at any time."""
    return [delivery for delivery in emulator.webhook_deliveries if delivery.task_id is not None]


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- endpoints --------------------------------------------------------------------------------------------


def test_an_endpoint_is_registered_with_a_secret_that_is_shown_once(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    created = client.post("/webhook-endpoints", json={"url": receiver.url})
    assert created.status_code == 201
    document = created.json()
    endpoint, secret = document["endpoint"], document["signing_secret"]
    assert endpoint["id"].startswith("whep_")
    assert (endpoint["url"], endpoint["verified"], endpoint["enabled"]) == (receiver.url, False, True)
    listed = client.get("/webhook-endpoints")
    assert [each["id"] for each in listed.json()["data"]] == [endpoint["id"]]
    assert secret not in listed.text
    assert all(secret not in str(record.as_json()) for record in emu.requests)


def test_registering_sends_a_challenge(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    document = client.post("/webhook-endpoints", json={"url": receiver.url}).json()
    emu.settle_webhooks()
    assert len(receiver.challenges) == 1
    event = receiver.challenges[0].event(document["signing_secret"])
    assert (event.type, event.api_version) == (VERIFICATION, "2026-10-03")
    assert client.get("/webhook-endpoints").json()["data"][0]["verified"] is True
    assert emu.webhook_endpoints[0].verified


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b'{"challenge":"%s"}', "HTTP 500"),
        (201, b'{"challenge":"%s"}', "HTTP 201"),
        (302, b'{"challenge":"%s"}', "HTTP 302"),
        (200, b"%s", "JSON"),
        (200, b'{"challenge":"another"}', "repeat the challenge"),
        (200, b'{"challenge":7}', "repeat the challenge"),
        (200, b'["%s"]', "repeat the challenge"),
        (200, b"", "JSON"),
    ],
)
def test_a_wrong_answer_to_the_challenge_does_not_verify(
    emu: Emulator, client: httpx.Client, receiver: Receiver, status: int, body: bytes, reason: str
) -> None:
    receiver.answer_to = lambda challenge: (status, body.replace(b"%s", challenge.encode()))
    endpoint_id = client.post("/webhook-endpoints", json={"url": receiver.url}).json()["endpoint"]["id"]
    response = client.post(f"/webhook-endpoints/{endpoint_id}/verify")
    assert code_of(response) == (400, "webhook_verification_failed")
    assert reason in response.json()["error"]["message"]
    emu.settle_webhooks()
    assert client.get("/webhook-endpoints").json()["data"][0]["verified"] is False
    assert code_of(client.post(SUBMIT, json={**REQUEST, **asking(endpoint_id)})) == (
        400,
        "invalid_webhook_configuration",
    )


def test_a_receiver_that_nobody_runs_is_not_verified(emu: Emulator, client: httpx.Client) -> None:
    with Receiver() as gone:
        url = gone.url
    endpoint_id = client.post("/webhook-endpoints", json={"url": url}).json()["endpoint"]["id"]
    response = client.post(f"/webhook-endpoints/{endpoint_id}/verify")
    assert code_of(response) == (400, "webhook_verification_failed")
    assert "ConnectError" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "https://example.com:443/hook?a=b", "https://93.184.216.34/"]
)
def test_a_public_url_is_taken_but_can_not_be_reached_from_here(emu: Emulator, client: httpx.Client, url: str) -> None:
    created = client.post("/webhook-endpoints", json={"url": url})
    assert created.status_code == 201
    response = client.post(f"/webhook-endpoints/{created.json()['endpoint']['id']}/verify")
    assert code_of(response) == (400, "webhook_verification_failed")
    assert "this machine only" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "url is required"),
        ("", "url is required"),
        (7, "must be a string"),
        ("nonsense", "public https"),
        ("ftp://127.0.0.1/hook", "public https"),
        ("https:///hook", "public https"),
        ("http://example.com/hook", "must be https"),
        ("https://example.com:8443/hook", "port 443"),
        ("https://example.com:99999/hook", "not a URL"),
        ("https://user@example.com/", "user name"),
        ("https://user:word@example.com/", "user name"),
        ("http://user:word@127.0.0.1:9/", "user name"),
        ("https://example.com/#part", "fragment"),
        ("https://10.0.0.1/", "not public"),
        ("https://192.168.1.1/", "not public"),
        ("https://169.254.169.254/", "not public"),
        ("https://[fe80::1]/", "not public"),
        ("https://[::ffff:10.0.0.1]/", "not public"),
        ("https://0.0.0.0/", "not public"),
        ("https://224.0.0.1/", "not public"),
        ("https://2130706433/", "not public"),
        ("https://127.1/", "not public"),
        ("https://printer/", "not public"),
        ("https://printer.local/", "not public"),
        ("https://db.internal./", "not public"),
        ("https://exämple.com/", "ASCII"),
        ("https://example.com/a b", "ASCII"),
        ("https://example.com\\@127.0.0.1/", "ASCII"),
        ("https://example.com/" + "a" * 2048, "2048"),
    ],
)
def test_urls_that_the_gateway_refuses(emu: Emulator, client: httpx.Client, url: object, reason: str) -> None:
    response = client.post("/webhook-endpoints", json={"url": url})
    assert code_of(response) == (400, "invalid_webhook_url")
    assert reason in response.json()["error"]["message"]
    assert emu.webhook_endpoints == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_a_receiver_on_this_machine_is_reached_by_its_names(
    emu: Emulator, client: httpx.Client, receiver: Receiver, host: str
) -> None:
    register(client, f"http://{host}:{receiver.port}/a/path?query=1")
    assert receiver.challenges[-1].path == "/a/path?query=1"
    assert receiver.challenges[-1].headers["host"] == f"{host.lower()}:{receiver.port}"


def test_an_account_has_at_most_twenty_endpoints(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    statuses = [client.post("/webhook-endpoints", json={"url": receiver.url}).status_code for _ in range(20)]
    assert statuses == [201] * 20
    refused = client.post("/webhook-endpoints", json={"url": receiver.url})
    assert code_of(refused) == (429, "webhook_endpoint_limit_reached")
    assert len(client.get("/webhook-endpoints").json()["data"]) == 20
    emu.settle_webhooks()


def test_other_keys_do_not_see_an_endpoint_nor_its_events(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    submit(client, **asking(endpoint_id))
    emu.finish()
    receiver.next()
    event_id = emu.webhook_events[0].id
    other = {"authorization": f"Bearer {OTHER_KEY}"}
    assert client.get("/webhook-endpoints", headers=other).json() == {"data": []}
    assert client.get("/webhook-events", headers=other).json() == {"data": []}
    for method, path in (
        ("POST", f"/webhook-endpoints/{endpoint_id}/verify"),
        ("PATCH", f"/webhook-endpoints/{endpoint_id}"),
        ("POST", f"/webhook-endpoints/{endpoint_id}/rotate-secret"),
        ("GET", f"/webhook-events/{event_id}"),
        ("POST", f"/webhook-events/{event_id}/redeliver"),
    ):
        assert client.request(method, path, headers=other, json={"enabled": False}).status_code == 404, path
        assert client.request(method, path, headers={"authorization": "Bearer sk-wrong"}).status_code == 401, path
    refused = client.post(SUBMIT, json={**REQUEST, **asking(endpoint_id)}, headers=other)
    assert code_of(refused) == (400, "invalid_webhook_configuration")
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'{"enabled":"yes"}', b'{"enabled":null}', b"[]", b"{"])
def test_changes_that_the_gateway_refuses(emu: Emulator, client: httpx.Client, receiver: Receiver, body: bytes) -> None:
    endpoint_id, _ = register(client, receiver.url)
    assert client.patch(f"/webhook-endpoints/{endpoint_id}", content=body).status_code == 400
    assert emu.webhook_endpoints[0].enabled


# --- what a request for an image may ask for --------------------------------------------------------------


@pytest.mark.parametrize(
    ("webhook", "reason"),
    [
        ({"endpoint_id": "whep_unknown"}, "does not exist"),
        ({"endpoint_id": "", "events": [TASK_FAILED]}, "does not exist"),
        ({"endpoint_id": 7}, "endpoint_id is required"),
        ({}, "endpoint_id is required"),
        ("whep_1", "endpoint_id is required"),
        ({"endpoint_id": "REAL", "events": []}, "must be a list"),
        ({"endpoint_id": "REAL", "events": ["task.progress"]}, "'task.progress' is not known"),
        ({"endpoint_id": "REAL", "events": [VERIFICATION]}, "is not known"),
    ],
)
@pytest.mark.parametrize("path", [SUBMIT, SYNC])
def test_notifications_that_the_gateway_refuses(
    emu: Emulator, client: httpx.Client, receiver: Receiver, webhook: Any, reason: str, path: str
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    if isinstance(webhook, dict) and webhook.get("endpoint_id") == "REAL":
        webhook = {**webhook, "endpoint_id": endpoint_id}
    refused = client.post(path, json={**REQUEST, "notifications": {"webhook": webhook}})
    assert code_of(refused) == (400, "invalid_webhook_configuration")
    assert reason in refused.json()["error"]["message"]
    assert not emu.bill.charges


def test_a_disabled_endpoint_can_not_be_asked_for(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver.url)
    assert (
        client.patch(f"/webhook-endpoints/{endpoint_id}", json={"enabled": False}).json()["endpoint"]["enabled"]
        is False
    )
    refused = client.post(SUBMIT, json={**REQUEST, **asking(endpoint_id)})
    assert code_of(refused) == (400, "invalid_webhook_configuration")
    assert "disabled" in refused.json()["error"]["message"]
    assert not emu.bill.charges


def test_the_gateway_says_which_models_have_webhooks(receiver: Receiver) -> None:
    with (
        Emulator(pictures="plain", webhook_models=["gpt-image-2"]) as emulator,
        client_of(emulator) as client,
    ):
        assert client.get("/webhook-capabilities", params={"model": "gpt-image-2"}).json() == {
            "model": "gpt-image-2",
            "supported": True,
            "events": [TASK_COMPLETED, TASK_FAILED],
            "api_version": "2026-10-03",
        }
        without = client.get("/webhook-capabilities", params={"model": DEFAULT_MODEL}).json()
        assert (without["supported"], without["events"]) == (False, [])
        assert client.get("/webhook-capabilities", params={"model": "klingon"}).json()["supported"] is False
        assert client.get("/webhook-capabilities").status_code == 400
        endpoint_id, _ = register(client, receiver.url)
        refused = client.post(SUBMIT, json={**REQUEST, **asking(endpoint_id)})
        assert code_of(refused) == (400, "invalid_webhook_configuration")
        assert not emulator.bill.charges


def test_a_gateway_without_these_routes_takes_any_endpoint_id_and_sends_nothing() -> None:
    with Emulator(pictures="plain", webhook_routes=False) as emulator, client_of(emulator) as client:
        assert client.get("/webhook-endpoints").status_code == 404
        assert client.get("/webhook-capabilities", params={"model": DEFAULT_MODEL}).status_code == 404
        poll(client, submit(client, **asking("whep_of_the_console")))
        emulator.settle_webhooks()
        assert (emulator.webhook_events, emulator.webhook_deliveries) == ([], [])


# --- events -----------------------------------------------------------------------------------------------


def test_a_finished_task_is_reported_with_its_outputs(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, secret = register(client, receiver.url)
    task_id = submit(client, client_reference_id="order-17", **asking(endpoint_id))
    emu.finish(task_id)
    delivery = receiver.next()
    document = delivery.document
    assert document == {
        "id": document["id"],
        "type": "task.completed",
        "api_version": "2026-10-03",
        "created_at": document["created_at"],
        "data": {
            "task_id": task_id,
            "model": DEFAULT_MODEL,
            "kind": "image",
            "status": "completed",
            "client_reference_id": "order-17",
            "completed_at": document["data"]["completed_at"],
            "task_url": f"{emu.base_url}/tasks/{task_id}",
            "result": {
                "outputs": [
                    {
                        "output_id": "0",
                        "type": "image",
                        "url": f"{emu.base_url}/tasks/{task_id}/outputs/0/content",
                        "authentication": "bearer",
                        "expires_at": None,
                    }
                ]
            },
            "error": None,
        },
    }
    assert document["id"].startswith("evt_")
    event = delivery.event(secret)
    assert event.task is not None
    assert event.task.status == "succeeded"
    assert event.client_reference_id == "order-17"
    picture = client.get(document["data"]["result"]["outputs"][0]["url"])
    assert picture.headers["content-type"] == "image/png"


def test_the_signature_is_the_one_of_the_contract(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, secret = register(client, receiver.url)
    submit(client, **asking(endpoint_id))
    emu.advance(24 * 3600)  # the emulator's clock does not matter: a receiver compares with the machine's
    emu.finish()
    delivery = receiver.next()
    emu.settle_webhooks()
    timestamp = delivery.headers["X-APIMaster-Timestamp"]
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + delivery.body, hashlib.sha256).hexdigest()
    key_id = client.get("/webhook-endpoints").json()["data"][0]["key_id"]
    assert delivery.headers["X-APIMaster-Signature"] == f"v1={expected},kid={key_id}"
    assert abs(int(timestamp) - time.time()) < 60
    assert delivery.headers["X-APIMaster-Event-ID"] == delivery.document["id"]
    recorded = of_tasks(emu)[-1]
    assert delivery.headers["X-APIMaster-Delivery-ID"] == recorded.id
    assert (recorded.status, recorded.error, recorded.attempt, recorded.fault) == (200, None, 1, None)
    assert "authorization" not in {name.lower() for name in delivery.headers}
    assert emu.api_key not in str(delivery.headers) + delivery.body.decode()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("task_failed", {"code": "image_generation_failed", "message": "image generation failed"}),
        ("task_failed_text", {"code": "image_generation_failed", "message": "upstream refused the job"}),
        ("task_moderated", {"code": "prompt_blocked", "message": "the prompt was blocked"}),
        ("task_cancelled", {"code": "image_generation_failed", "message": "image generation failed"}),
    ],
)
def test_a_failed_task_is_reported_with_its_reason(
    emu: Emulator, client: httpx.Client, receiver: Receiver, fault: str, error: object
) -> None:
    endpoint_id, secret = register(client, receiver.url)
    emu.latency = "30"
    emu.script(fault)
    task_id = submit(client, **asking(endpoint_id))
    emu.advance(30)
    delivery = receiver.next()
    data = delivery.document["data"]
    assert delivery.document["type"] == "task.failed"
    assert (data["task_id"], data["status"], data["result"], data["error"]) == (task_id, "failed", None, error)
    event = delivery.event(secret)
    assert event.task is not None
    assert event.task.status == "failed"
    assert emu.bill.total == 0


def test_a_task_without_a_picture_is_reported_with_no_outputs(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    emu.script("task_no_image")
    submit(client, **asking(endpoint_id))
    emu.finish()
    assert receiver.next().document["data"]["result"] == {"outputs": []}


@pytest.mark.parametrize("latency", ["0", "0.05", "2 polls"])
def test_the_end_is_noticed_by_itself_and_by_polls(
    emu: Emulator, client: httpx.Client, receiver: Receiver, latency: str
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    emu.latency = latency
    task_id = submit(client, **asking(endpoint_id))
    if latency == "2 polls":
        for _ in range(3):
            assert emu.webhook_events == []
            poll(client, task_id)
    assert receiver.next().task_id == task_id


def test_a_task_is_reported_once_however_it_ends(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver.url)
    emu.latency = "30"
    task_id = submit(client, **asking(endpoint_id))
    emu.advance(31)
    emu.finish(task_id)
    for _ in range(2):
        poll(client, task_id)
    emu.advance(60)
    emu.settle_webhooks()
    assert [received.task_id for received in receiver.received] == [task_id]


def test_only_the_events_asked_for_are_sent(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver.url)
    failed = submit(client, **asking(endpoint_id, TASK_FAILED))
    finished = submit(client, **asking(endpoint_id, TASK_FAILED))
    both = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
    without = submit(client)
    emu.fail(failed)
    for task_id in (finished, both, without):
        emu.finish(task_id)
    emu.settle_webhooks()
    assert {received.task_id for received in receiver.received} == {failed, both}


def test_a_one_shot_call_sends_an_event_only_if_it_becomes_a_task(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    emu.latency = 0
    assert client.post(SYNC, json={**REQUEST, **asking(endpoint_id)}).status_code == 200
    emu.settle_webhooks()
    assert emu.webhook_events == []
    emu.dialect = "sync_as_task"
    task_id = client.post(SYNC, json={**REQUEST, **asking(endpoint_id)}).json()["data"][0]["task_id"]
    assert receiver.next().task_id == task_id


def test_a_submit_without_a_reply_is_reported_all_the_same(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver.url)
    emu.script("cut_after_acceptance")
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(SUBMIT, json={**REQUEST, "client_reference_id": "lost-1", **asking(endpoint_id)})
    emu.finish()
    assert receiver.next().document["data"]["client_reference_id"] == "lost-1"


def test_reset_forgets_endpoints_events_and_deliveries(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver.url)
    receiver.statuses = [500]
    submit(client, **asking(endpoint_id))
    emu.finish()
    receiver.next()
    emu.settle_webhooks()
    assert isinstance(emu.webhook_events[0], WebhookEvent)
    assert isinstance(emu.webhook_deliveries[0], WebhookDelivery)
    emu.reset()
    emu.advance(3600)
    emu.settle_webhooks()
    assert (emu.webhook_endpoints, emu.webhook_events, emu.webhook_deliveries) == ([], [], [])
    assert len(receiver.received) == 1
