"""How the emulator delivers events: repeats, endpoints that are off, redeliveries, rotations, and faults on the way."""

from __future__ import annotations

import collections
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, client_of, submit
from webhook_receiver import Received, Receiver

from apimaster.emulator import FAULTS, Emulator, WebhookDelivery

PAUSE = 8.0
HOUR = 3600.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(pictures="plain", latency="manual", webhook_pause=PAUSE, webhook_timeout=5) as emulator:
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


def register(client: httpx.Client, receiver: Receiver) -> tuple[str, str]:
    """Register and verify an endpoint; its id and its secret."""
    document = client.post("/webhook-endpoints", json={"url": receiver.url}).json()
    endpoint_id: str = document["endpoint"]["id"]
    assert client.post(f"/webhook-endpoints/{endpoint_id}/verify").status_code == 200
    return endpoint_id, document["signing_secret"]


def ended_task(emu: Emulator, client: httpx.Client, endpoint_id: str, **fields: Any) -> str:
    """A task that asks for a webhook, and ends; its event is delivered as far as it is due."""
    task_id = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}}, **fields)
    emu.finish(task_id)
    emu.settle_webhooks()
    return task_id


def events(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    response = client.get("/webhook-events", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


def of_tasks(emulator: Emulator) -> list[WebhookDelivery]:
    """The attempts that are no challenges: the first challenge goes out beside the test, and may end at any time."""
    return [delivery for delivery in emulator.webhook_deliveries if delivery.task_id is not None]


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- repeats ----------------------------------------------------------------------------------------------


def test_a_delivery_is_repeated_with_growing_pauses_until_a_2xx(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, secret = register(client, receiver)
    receiver.statuses = [500, 404, 302, 400, 204]
    receiver.headers = {"location": receiver.url}
    ended_task(emu, client, endpoint_id)
    for number, pause in enumerate((PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE), start=1):
        assert len(receiver.received) == number
        assert events(client)[0]["status"] == "pending"
        emu.advance(pause - 1)
        emu.settle_webhooks()
        assert len(receiver.received) == number
        emu.advance(1)
        emu.settle_webhooks()
    assert len(receiver.received) == 5
    assert (events(client)[0]["status"], events(client)[0]["attempts"]) == ("delivered", 5)
    emu.advance(100 * HOUR)
    emu.settle_webhooks()
    assert len(receiver.received) == 5
    found = [received.event(secret) for received in receiver.received]
    assert len({event.id for event in found}) == 1
    assert len({event.delivery_id for event in found}) == 5
    assert len({received.body for received in receiver.received}) == 1
    tried = client.get(f"/webhook-events/{found[0].id}").json()["deliveries"]
    assert [each["status_code"] for each in tried] == [500, 404, 302, 400, 204]
    assert [each["attempt"] for each in tried] == [1, 2, 3, 4, 5]
    assert [each["status"] for each in tried] == ["failed"] * 4 + ["succeeded"]
    assert [each.error for each in of_tasks(emu)[-5:]] == [
        "HTTP 500",
        "HTTP 404",
        "HTTP 302",
        "HTTP 400",
        None,
    ]


def test_a_receiver_that_comes_later_gets_its_event(emu: Emulator, client: httpx.Client) -> None:
    with Receiver() as receiver:
        endpoint_id, _ = register(client, receiver)
        port = receiver.port
    ended_task(emu, client, endpoint_id)
    assert of_tasks(emu)[-1].status is None
    assert of_tasks(emu)[-1].error
    with Receiver(port) as again:
        emu.advance(PAUSE)
        emu.settle_webhooks()
        assert len(again.received) == 1


def test_deliveries_end_after_72_hours(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    receiver.statuses = [500] * 1000
    ended_task(emu, client, endpoint_id)
    hours = 0
    while events(client)[0]["status"] == "pending":
        hours += 1
        emu.advance(HOUR)
        emu.settle_webhooks()
    assert 70 <= hours <= 73
    assert events(client)[0]["status"] == "failed"
    tried = len(receiver.received)
    assert 72 <= tried <= 90
    emu.advance(100 * HOUR)
    emu.settle_webhooks()
    assert len(receiver.received) == tried


def test_a_receiver_that_does_not_answer_is_not_waited_for(receiver: Receiver) -> None:
    with (
        Emulator(pictures="plain", latency="manual", webhook_timeout=0.05) as emulator,
        client_of(emulator) as client,
    ):
        endpoint_id, _ = register(client, receiver)
        go_on = threading.Event()
        receiver.on_event = lambda received: go_on.wait(10) and None
        ended_task(emulator, client, endpoint_id)
        assert of_tasks(emulator)[-1].error == "no answer within 0.05 s"
        assert emulator.webhook_events[0].status == "pending"
        go_on.set()


def test_an_answer_is_read_only_so_far(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    receiver.answer_to = lambda challenge: (200, b"x" * 10_000_000)
    endpoint_id = client.post("/webhook-endpoints", json={"url": receiver.url}).json()["endpoint"]["id"]
    refused = client.post(f"/webhook-endpoints/{endpoint_id}/verify")
    assert code_of(refused) == (400, "webhook_verification_failed")
    emu.settle_webhooks()


def test_no_redirect_is_followed(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    with Receiver() as other:
        endpoint_id, _ = register(client, receiver)
        receiver.statuses = [307]
        receiver.headers = {"location": other.url}
        ended_task(emu, client, endpoint_id)
        assert of_tasks(emu)[-1].error == "HTTP 307"
        assert other.received == []


def test_deliveries_go_through_no_proxy(
    emu: Emulator, client: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        endpoint_id, _ = register(client, receiver)
        ended_task(emu, client, endpoint_id)
    assert len(receiver.received) == 1


def test_connections_are_kept(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    for _ in range(20):
        ended_task(emu, client, endpoint_id)
    assert len(receiver.received) == 20
    assert len({id(received.connection) for received in receiver.received}) <= 2


def test_many_events_are_delivered_side_by_side_but_not_all_at_once(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    lock = threading.Lock()
    now, most = 0, 0
    meet = threading.Barrier(8)

    def count(received: Received) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        meet.wait(10)  # passes only if eight of them are here at once
        with lock:
            now -= 1

    receiver.on_event = count
    wanted = {submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}}) for _ in range(96)}
    emu.finish()
    emu.settle_webhooks(30)
    assert {received.task_id for received in receiver.received} == wanted
    assert len(receiver.received) == 96
    assert 8 <= most <= 32


# --- endpoints that are off -------------------------------------------------------------------------------


def test_410_turns_the_endpoint_off_and_enabling_it_resumes(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    waiting = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
    receiver.statuses = [410]
    first = ended_task(emu, client, endpoint_id)
    assert client.get("/webhook-endpoints").json()["data"][0]["enabled"] is False
    assert events(client)[0]["status"] == "paused"
    emu.finish(waiting)
    emu.advance(HOUR)
    emu.settle_webhooks()
    assert len(receiver.received) == 1
    refused = client.post(SUBMIT, json={**REQUEST, "notifications": {"webhook": {"endpoint_id": endpoint_id}}})
    assert code_of(refused) == (400, "invalid_webhook_configuration")
    assert client.patch(f"/webhook-endpoints/{endpoint_id}", json={"enabled": True}).json()["endpoint"]["enabled"]
    emu.settle_webhooks()
    assert sorted(received.task_id for received in receiver.received) == sorted([first, first, waiting])
    assert {event["status"] for event in events(client)} == {"delivered"}


def test_turning_an_endpoint_off_pauses_its_repeats(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    receiver.statuses = [500]
    ended_task(emu, client, endpoint_id)
    client.patch(f"/webhook-endpoints/{endpoint_id}", json={"enabled": False})
    emu.advance(HOUR)
    emu.settle_webhooks()
    assert (len(receiver.received), events(client)[0]["status"]) == (1, "paused")
    client.patch(f"/webhook-endpoints/{endpoint_id}", json={"enabled": True})
    emu.settle_webhooks()
    assert (len(receiver.received), events(client)[0]["status"]) == (2, "delivered")


# --- events by their routes -------------------------------------------------------------------------------


def test_events_are_listed_newest_first_and_filtered(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    tasks = [ended_task(emu, client, endpoint_id) for _ in range(4)]
    receiver.statuses = [500]
    tasks.append(ended_task(emu, client, endpoint_id))
    assert [event["task_id"] for event in events(client)] == tasks[::-1]
    assert [event["task_id"] for event in events(client, limit=2, offset=1)] == tasks[::-1][1:3]
    assert [event["task_id"] for event in events(client, task_id=tasks[2])] == [tasks[2]]
    assert [event["task_id"] for event in events(client, status="pending")] == tasks[-1:]
    assert events(client, status="delivered", task_id=tasks[-1]) == []
    assert events(client, task_id="task_unknown") == []
    event = events(client, task_id=tasks[0])[0]
    whole = client.get(f"/webhook-events/{event['id']}").json()
    assert whole["event"] == event
    assert whole["payload"] == receiver.received[0].document


@pytest.mark.parametrize(
    "query", ["limit=101", "limit=0", "limit=-1", "limit=x", "offset=-1", "offset=1.5", "status=klingon", "limit=1e1"]
)
def test_lists_that_the_gateway_refuses(emu: Emulator, client: httpx.Client, query: str) -> None:
    assert client.get(f"/webhook-events?{query}").status_code == 400


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/webhook-events/evt_x"), ("POST", "/webhook-events/evt_x/redeliver")]
)
def test_events_that_do_not_exist(emu: Emulator, client: httpx.Client, method: str, path: str) -> None:
    assert code_of(client.request(method, path)) == (404, "webhook_event_not_found")


def test_an_event_is_redelivered_five_times_a_day(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, secret = register(client, receiver)
    ended_task(emu, client, endpoint_id)
    event_id = events(client)[0]["id"]
    for _ in range(5):
        assert client.post(f"/webhook-events/{event_id}/redeliver").status_code == 202
        emu.settle_webhooks()
    refused = client.post(f"/webhook-events/{event_id}/redeliver")
    assert code_of(refused) == (429, "webhook_redelivery_limit_reached")
    emu.advance(24 * HOUR)
    assert client.post(f"/webhook-events/{event_id}/redeliver").status_code == 202
    emu.settle_webhooks()
    assert [received.event(secret).id for received in receiver.received] == [event_id] * 7
    emu.advance(30 * 24 * HOUR)
    assert code_of(client.post(f"/webhook-events/{event_id}/redeliver")) == (400, "webhook_event_expired")


def test_a_redelivery_is_repeated_like_a_new_event(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    ended_task(emu, client, endpoint_id)
    event_id = events(client)[0]["id"]
    emu.advance(100 * HOUR)
    receiver.statuses = [500]
    client.post(f"/webhook-events/{event_id}/redeliver")
    emu.settle_webhooks()
    assert events(client)[0]["status"] == "pending"
    emu.advance(PAUSE)
    emu.settle_webhooks()
    assert (len(receiver.received), events(client)[0]["status"]) == (3, "delivered")


def test_a_redelivery_takes_the_place_of_a_planned_repeat(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    receiver.statuses = [500]
    ended_task(emu, client, endpoint_id)
    client.post(f"/webhook-events/{events(client)[0]['id']}/redeliver")
    emu.settle_webhooks()
    emu.advance(HOUR)
    emu.settle_webhooks()
    assert len(receiver.received) == 2


def test_a_redelivery_is_refused_while_a_delivery_is_under_way(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    here, go_on = threading.Event(), threading.Event()

    def hold(received: Received) -> None:
        here.set()
        go_on.wait(10)

    receiver.on_event = hold
    task_id = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
    emu.finish(task_id)
    assert here.wait(10)
    event_id = events(client)[0]["id"]
    assert code_of(client.post(f"/webhook-events/{event_id}/redeliver")) == (409, "webhook_delivery_in_progress")
    with pytest.raises(TimeoutError, match="still under way"):
        emu.settle_webhooks(0.01)
    go_on.set()
    emu.settle_webhooks()
    client.patch(f"/webhook-endpoints/{endpoint_id}", json={"enabled": False})
    assert code_of(client.post(f"/webhook-events/{event_id}/redeliver")) == (400, "invalid_webhook_configuration")


# --- secrets ----------------------------------------------------------------------------------------------


def test_after_a_rotation_the_new_secret_signs(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, old_secret = register(client, receiver)
    old_key = client.get("/webhook-endpoints").json()["data"][0]["key_id"]
    receiver.statuses = [500]
    ended_task(emu, client, endpoint_id)
    rotated = client.post(f"/webhook-endpoints/{endpoint_id}/rotate-secret").json()
    assert set(rotated) == {"endpoint_id", "key_id", "signing_secret", "previous_key_id", "previous_valid_until"}
    assert (rotated["endpoint_id"], rotated["previous_key_id"]) == (endpoint_id, old_key)
    ahead = rotated["previous_valid_until"] - emu.gateway.clock.unix_time()
    assert 24 * HOUR - 60 < ahead <= 24 * HOUR
    assert client.get("/webhook-endpoints").json()["data"][0]["key_id"] == rotated["key_id"] != old_key
    emu.advance(PAUSE)
    emu.settle_webhooks()
    first, repeated = receiver.received
    secrets = {old_key: old_secret, rotated["key_id"]: rotated["signing_secret"]}
    assert first.event(secrets).id == repeated.event(secrets).id
    assert first.is_genuine(old_secret)
    assert repeated.is_genuine(rotated["signing_secret"])
    assert not repeated.is_genuine(old_secret)


def test_the_old_secret_signs_on_demand_for_a_day(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, old_secret = register(client, receiver)
    new_secret = client.post(f"/webhook-endpoints/{endpoint_id}/rotate-secret").json()["signing_secret"]
    emu.script("delivery_old_secret", times=2)
    ended_task(emu, client, endpoint_id)
    emu.advance(24 * HOUR)
    ended_task(emu, client, endpoint_id)
    assert [received.is_genuine(old_secret) for received in receiver.received] == [True, False]
    assert [received.is_genuine(new_secret) for received in receiver.received] == [False, True]


# --- faults -----------------------------------------------------------------------------------------------


def test_a_lost_delivery_counts_as_delivered(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    emu.script("delivery_lost")
    ended_task(emu, client, endpoint_id)
    emu.advance(100 * HOUR)
    emu.settle_webhooks()
    assert receiver.received == []
    assert events(client)[0]["status"] == "delivered"
    client.post(f"/webhook-events/{events(client)[0]['id']}/redeliver")
    emu.settle_webhooks()
    assert len(receiver.received) == 1


def test_a_duplicate_has_the_same_event_and_another_delivery(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, secret = register(client, receiver)
    emu.script("delivery_duplicated")
    ended_task(emu, client, endpoint_id)
    one, two = (received.event(secret) for received in receiver.received)
    assert one.id == two.id
    assert one.delivery_id != two.delivery_id


def test_reordered_events_come_after_a_later_one(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, _ = register(client, receiver)
    emu.script("delivery_reordered", times=2)
    one, two = ended_task(emu, client, endpoint_id), ended_task(emu, client, endpoint_id)
    assert receiver.received == []
    three = ended_task(emu, client, endpoint_id)
    received = [each.task_id for each in receiver.received]
    assert received[0] == three
    assert sorted(received[1:]) == sorted([one, two])
    emu.advance(HOUR)
    emu.settle_webhooks()
    assert len(receiver.received) == 3


def test_a_forged_delivery_names_a_task_that_still_runs(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, secret = register(client, receiver)
    running = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
    emu.script("delivery_forged", times=2)
    ended = [ended_task(emu, client, endpoint_id) for _ in range(2)]
    kinds = [(each.task_id, each.document["type"], each.is_genuine(secret)) for each in receiver.received]
    assert kinds == [
        (running, "task.completed", False),
        (ended[0], "task.completed", True),
        (running, "task.failed", False),
        (ended[1], "task.completed", True),
    ]
    known = {event["id"] for event in events(client)}
    assert [each.document["id"] in known for each in receiver.received] == [False, True, False, True]


def test_a_stale_delivery_is_repeated_with_a_new_time(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, secret = register(client, receiver)
    emu.script("delivery_stale")
    receiver.statuses = [400]
    ended_task(emu, client, endpoint_id)
    emu.advance(PAUSE)
    emu.settle_webhooks()
    assert [each.is_genuine(secret) for each in receiver.received] == [False, True]


def test_a_script_may_apply_to_the_events_of_some_tasks(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    emu.script("delivery_lost", prompt="doomed")
    arrives = ended_task(emu, client, endpoint_id)
    ended_task(emu, client, endpoint_id, prompt="a doomed ship")
    assert [each.task_id for each in receiver.received] == [arrives]
    assert emu.pending_faults == 0


def test_a_request_chooses_the_fault_of_its_own_webhook(
    emu: Emulator, client: httpx.Client, receiver: Receiver
) -> None:
    endpoint_id, _ = register(client, receiver)
    body = {**REQUEST, "notifications": {"webhook": {"endpoint_id": endpoint_id}}}
    response = client.post(SUBMIT, json=body, headers={"x-emulator-fault": 'delivery_delayed {"seconds": 60}'})
    assert response.status_code == 200
    emu.finish()
    emu.settle_webhooks()
    assert receiver.received == []
    emu.advance(60)
    emu.settle_webhooks()
    assert len(receiver.received) == 1


def test_every_second_delivery_lost_duplicated_or_forged() -> None:
    def faults_and_events(seed: int) -> tuple[list[str | None], int]:
        rates = "delivery_lost=0.2,delivery_duplicated=0.15,delivery_forged=0.15"
        with (
            Receiver() as receiver,
            Emulator(pictures="plain", latency="manual", faults=rates, seed=seed) as emulator,
            client_of(emulator) as client,
        ):
            endpoint_id, secret = register(client, receiver)
            tasks = {ended_task(emulator, client, endpoint_id) for _ in range(100)}
            lost = {each.task_id for each in emulator.webhook_deliveries if each.fault == "delivery_lost"}
            genuine = [each.task_id for each in receiver.received if each.is_genuine(secret)]
            counted = collections.Counter(each.fault for each in emulator.webhook_deliveries)
            assert set(genuine) == tasks - lost
            assert len(genuine) == len(set(genuine)) + counted["delivery_duplicated"] // 2
            assert len(receiver.received) - len(genuine) == counted["delivery_forged"]
            assert 10 <= counted["delivery_lost"] <= 32
            assert 14 <= counted["delivery_duplicated"] <= 50
            assert 7 <= counted["delivery_forged"] <= 25
            return [each.fault for each in emulator.webhook_deliveries if each.task_id], len(receiver.received)

    drawn = faults_and_events(3)
    assert drawn == faults_and_events(3)
    assert drawn != faults_and_events(4)


# --- the emulator itself ----------------------------------------------------------------------------------


def test_what_a_stop_broke_off_is_delivered_after_the_next_start(receiver: Receiver) -> None:
    emulator = Emulator(pictures="plain", latency="manual", port=0)
    here, go_on = threading.Event(), threading.Event()

    def hold(received: Received) -> None:
        here.set()
        go_on.wait(10)

    with emulator, client_of(emulator) as client:
        endpoint_id, _ = register(client, receiver)
        receiver.on_event = hold
        task_id = submit(client, notifications={"webhook": {"endpoint_id": endpoint_id}})
        emulator.finish(task_id)
        assert here.wait(10)
    go_on.set()
    with pytest.raises(RuntimeError, match="not running"):
        emulator.settle_webhooks()
    assert emulator.webhook_events[0].status == "pending"
    with emulator:
        emulator.settle_webhooks()
        assert emulator.webhook_events[0].status == "delivered"
    assert {received.task_id for received in receiver.received} == {task_id}


def test_another_process_can_read_the_deliveries(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    endpoint_id, secret = register(client, receiver)
    emu.script("delivery_duplicated")
    task_id = ended_task(emu, client, endpoint_id)
    response = client.get(f"{emu.url}/_emulator/webhooks")
    document = response.json()
    assert document["endpoints"][0]["id"] == endpoint_id
    assert document["events"][0]["task_id"] == task_id
    assert [each["fault"] for each in document["deliveries"] if each["task_id"]] == ["delivery_duplicated"] * 2
    assert secret not in response.text


def test_the_manual_names_every_fault_of_a_delivery() -> None:
    manual = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(delivery_\w+)` \|", manual, re.MULTILINE))
    assert named == {name for name, fault in FAULTS.items() if fault.place == "delivery"}


def test_the_status_page_shows_deliveries(emu: Emulator, client: httpx.Client, receiver: Receiver) -> None:
    assert "Webhook deliveries" not in client.get(emu.url).text
    endpoint_id, secret = register(client, receiver)
    receiver.statuses = [503]
    task_id = ended_task(emu, client, endpoint_id)
    page = client.get(emu.url).text
    assert "Webhook deliveries" in page
    assert page.count(task_id) >= 2
    assert "HTTP 503" in page
    assert secret not in page


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"webhook_pause": 0}, "webhook_pause 0"),
        ({"webhook_timeout": -1}, "webhook_timeout -1"),
        ({"webhook_timeout": float("inf")}, "webhook_timeout inf"),
        ({"endpoint_limit": 0}, "endpoint_limit 0"),
        ({"webhook_models": ["klingon"]}, "'klingon'"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Emulator(**settings)


def test_the_limit_of_endpoints_can_be_set(receiver: Receiver) -> None:
    with Emulator(pictures="plain", endpoint_limit=1) as emulator, client_of(emulator) as client:
        register(client, receiver)
        refused = client.post("/webhook-endpoints", json={"url": receiver.url})
        assert code_of(refused) == (429, "webhook_endpoint_limit_reached")
