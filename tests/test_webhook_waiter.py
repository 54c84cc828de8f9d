"""The receiver that wakes waiting calls: what it answers, what it keeps, and that both drivers wake from any thread."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from deliveries import SECRET, delivery, event

from apimaster import APIMaster, AsyncAPIMaster
from apimaster._drivers.sync import SyncDriver
from apimaster._flows.operations import Flow, Gather, Sleep
from apimaster.emulator import Emulator
from apimaster.errors import APIMasterError, BadRequestError, GenerationFailedError
from apimaster.webhooks import WebhookEvent, WebhookWaiter, sign

CHALLENGE = {"id": "evt_v", "type": "webhook.endpoint_verification", "data": {"challenge": "c-1"}}
LONG = 600.0
"""Seconds that no test waits: whoever sleeps so long must be woken."""


# --- what it answers ------------------------------------------------------------------------------------------------


def test_a_delivery_and_its_repetition_are_answered_with_200() -> None:
    waiter = WebhookWaiter(SECRET)
    for _ in range(3):
        assert waiter.handle(*delivery(event("task_1", event_id="evt_1"))) == (200, b"{}")


def test_the_challenge_is_answered() -> None:
    status, body = WebhookWaiter(SECRET).handle(*delivery(CHALLENGE))
    assert (status, json.loads(body)) == (200, {"challenge": "c-1"})


def forged() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    body, headers = delivery(event("task_1"))
    yield "another secret", *delivery(event("task_1"), "another")
    yield "another body", body + b" ", headers
    yield "no headers", body, {}
    yield "no signature", body, {"X-APIMaster-Timestamp": headers["X-APIMaster-Timestamp"]}
    yield "an old one", body, sign(body, SECRET, timestamp=1)
    yield "a nonsense timestamp", body, headers | {"X-APIMaster-Timestamp": "soon"}
    yield "no JSON", *_signed(b"{")
    yield "a list", *_signed(b"[]")
    yield "no event", *_signed(b"{}")
    yield "a megabyte and more", *_signed(b" " * (1024 * 1024 + 1))
    yield "a challenge without one", *delivery({**CHALLENGE, "data": {}})


def _signed(body: bytes) -> tuple[bytes, dict[str, str]]:
    _, headers = delivery(0)
    return body, sign(body, SECRET, timestamp=int(headers["X-APIMaster-Timestamp"]))


@pytest.mark.parametrize(("body", "headers"), [pytest.param(*rest, id=name) for name, *rest in forged()])
def test_what_the_gateway_did_not_send_is_answered_with_400_and_not_kept(body: bytes, headers: dict[str, str]) -> None:
    waiter = WebhookWaiter(SECRET)
    status, answer = waiter.handle(body, headers)
    assert status == 400
    assert "error" in json.loads(answer)
    assert waiter.watch("task_1").take() is None
    assert SECRET not in answer.decode()


@pytest.mark.parametrize("body", ["{}", {}, None, bytearray(b"{}")])
def test_a_body_that_is_not_raw_is_a_mistake_of_the_caller(body: Any) -> None:
    with pytest.raises(BadRequestError, match="raw bytes"):
        WebhookWaiter(SECRET).handle(body, {})


def test_a_secret_can_be_replaced_while_it_runs() -> None:
    secrets = {"1": "old"}
    waiter = WebhookWaiter(lambda: secrets)
    assert waiter.handle(*delivery(event("task_1"), "old"))[0] == 200
    secrets["1"] = "new"
    assert waiter.handle(*delivery(event("task_1"), "old"))[0] == 400
    assert waiter.handle(*delivery(event("task_1"), "new"))[0] == 200


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": "  "}, "secret"),
        ({"secret": {}}, "secret"),
        ({"secret": {"k": ""}}, "secret"),
        ({"endpoint_id": ""}, "endpoint_id"),
        ({"endpoint_id": 5}, "endpoint_id"),
        ({"margin": 0}, "margin"),
        ({"margin": -1}, "margin"),
        ({"margin": math.nan}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({"margin": "30"}, "margin"),
        ({"margin": True}, "margin"),
        ({"tolerance": 0}, "tolerance"),
        ({"keep": 0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"keep": True}, "keep"),
        ({"keep_for": -1}, "keep_for"),
    ],
)
def test_arguments_that_are_not_accepted(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequestError, match=named):
        WebhookWaiter(**{"secret": SECRET} | arguments)


@pytest.mark.parametrize("given", ["whep_1", SECRET.encode(), object(), False])
def test_a_client_takes_only_a_waiter(given: Any) -> None:
    with pytest.raises(BadRequestError, match="webhook_waiter must be a WebhookWaiter"):
        APIMaster("sk-x", webhook_waiter=given)
    with APIMaster("sk-x") as client, pytest.raises(BadRequestError, match="webhook_waiter must be a WebhookWaiter"):
        client.with_options(webhook_waiter=given)


# --- what it keeps --------------------------------------------------------------------------------------------------


def test_what_it_keeps_is_bounded_and_the_newest_stays() -> None:
    waiter = WebhookWaiter(SECRET, keep=10)
    for number in range(1000):
        waiter.accept(WebhookEvent.model_validate(event(f"task_{number}", event_id=f"evt_{number}")))
        waiter.expect(f"task_{number}", float(number))
    assert len(waiter._reports) == 10
    assert len(waiter._seen) == len(waiter._submitted) == 50
    assert waiter.watch("task_999").take() is not None
    assert waiter.watch("task_1").take() is None
    assert waiter.expected_since("task_999") == 999.0
    assert waiter.expected_since("task_1") is None


def test_what_it_keeps_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    from apimaster.webhooks import waiter as module

    at = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    waiter = WebhookWaiter(SECRET, keep_for=60)
    waiter.accept(WebhookEvent.model_validate(event("task_1")))
    at[0] += 59
    assert waiter.watch("task_1").take() is not None
    at[0] += 2
    assert waiter.watch("task_1").take() is None
    waiter.accept(WebhookEvent.model_validate(event("task_2")))
    assert list(waiter._reports) == ["task_2"]


def test_an_event_counts_once_and_the_caller_may_verify_it() -> None:
    waiter = WebhookWaiter(SECRET)
    document = WebhookEvent.model_validate(event("task_1"))
    watch = waiter.watch("task_1")
    assert waiter.accept(document)
    assert watch.woken.done()
    assert watch.take() is not None
    assert not waiter.accept(document)
    assert not watch.woken.done()
    assert watch.take() is None
    watch.close()
    watch.close()
    assert waiter._watches == {}


def test_many_threads_deliver_at_once() -> None:
    waiter = WebhookWaiter(SECRET)
    watches = [waiter.watch(f"task_{number}") for number in range(200)]
    woken = [watch.woken for watch in watches]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: waiter.handle(*delivery(event(f"task_{number % 200}"))), range(800)))
    assert {status for status, _ in answers} == {200}
    assert all(future.done() for future in woken)
    assert all(watch.take() is not None for watch in watches)


# --- waking ---------------------------------------------------------------------------------------------------------


def asleep(until: Future[None]) -> Flow[str]:
    yield Sleep(LONG, until)
    return "woken"


def test_a_blocking_call_is_woken_by_another_thread(emulator_client: APIMaster) -> None:
    waiter = WebhookWaiter(SECRET)
    watch = waiter.watch("task_1")
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(driver_of(emulator_client).run, asleep(watch.woken))
        waiter.handle(*delivery(event("task_1")))
        assert done.result(60) == "woken"


def driver_of(client: APIMaster) -> SyncDriver:
    return client._driver


@pytest.fixture
def emulator_client() -> Iterator[APIMaster]:
    with APIMaster("sk-x") as client:
        yield client


def test_the_error_of_a_sibling_wakes_a_blocking_call(emulator_client: APIMaster) -> None:
    never: Future[None] = Future()

    def fails() -> Flow[None]:
        yield Sleep(0)
        raise RuntimeError("a bug")

    def both() -> Flow[object]:
        return (yield Gather([asleep(never), asleep(never), fails()], limit=3))

    with pytest.raises(RuntimeError, match="a bug"):
        driver_of(emulator_client).run(both())


def test_a_sleep_that_nothing_ends_lasts_as_long_as_it_says(emulator_client: APIMaster) -> None:
    def short() -> Flow[str]:
        yield Sleep(0.001, Future())
        return "slept"

    assert driver_of(emulator_client).run(short()) == "slept"

    async def on_asyncio() -> str:
        async with AsyncAPIMaster("sk-x") as client:
            return await client._driver.run(short())

    assert asyncio.run(on_asyncio()) == "slept"


def test_calls_on_two_event_loops_are_woken_by_a_thread_of_neither() -> None:
    waiter = WebhookWaiter(SECRET)
    watches = [waiter.watch(f"task_{number}") for number in range(20)]
    begun = threading.Barrier(3)
    client = AsyncAPIMaster("sk-x")

    async def some(those: Sequence[Any]) -> list[str]:
        flows = [asyncio.ensure_future(client._driver.run(asleep(watch.woken))) for watch in those]
        await asyncio.sleep(0)
        begun.wait(60)
        return await asyncio.gather(*flows)

    with ThreadPoolExecutor(2) as pool:
        loops = [pool.submit(asyncio.run, some(part)) for part in (watches[:10], watches[10:])]
        begun.wait(60)
        for number in range(20):
            waiter.handle(*delivery(event(f"task_{number}")))
        assert [loop.result(60) for loop in loops] == [["woken"] * 10] * 2


def test_an_event_loop_that_is_gone_does_not_stop_a_delivery() -> None:
    waiter = WebhookWaiter(SECRET)
    client = AsyncAPIMaster("sk-x")
    watches = [waiter.watch("task_1"), waiter.watch("task_1")]

    async def given_up() -> None:
        call = asyncio.ensure_future(client._driver.run(asleep(watches[0].woken)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(given_up())
    assert waiter.handle(*delivery(event("task_1"))) == (200, b"{}")
    assert watches[1].woken.done()


# --- against the emulator -------------------------------------------------------------------------------------------


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(latency="manual", pictures="small") as running:
        yield running


def told(emu: Emulator, task_id: str, kind: str = "task.completed") -> tuple[bytes, dict[str, str]]:
    return delivery(event(task_id, kind, gateway=emu.base_url))


def test_a_picture_by_webhook_is_saved_without_a_poll(emu: Emulator, tmp_path: Any) -> None:
    waiter = WebhookWaiter(SECRET)
    client = APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter)
    task = client.submit("a cat")
    emu.finish(task.id)
    waiter.handle(*told(emu, task.id))
    result = client.wait(task, save_to=tmp_path / "cat.png")
    assert result.images[0].path == tmp_path / "cat.png"
    assert emu.requests_to("poll") == []
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("kind", ["task.completed", "task.failed"])
def test_an_asyncio_call_is_woken_from_another_thread(emu: Emulator, kind: str) -> None:
    waiter = WebhookWaiter(SECRET)

    async def main() -> object:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as plain:
            client = plain.with_options(webhook_waiter=waiter)
            loop = asyncio.get_running_loop()
            at_poll: asyncio.Future[str] = loop.create_future()

            def progress(step: Any) -> None:
                if step.task is not None and not at_poll.done():
                    at_poll.set_result(step.task.id)

            call = asyncio.ensure_future(client.generate("a cat", on_progress=progress, timeout=LONG))
            task_id = await at_poll
            if kind == "task.failed":
                emu.fail(task_id)  # the poll that confirms it has to find it
            await loop.run_in_executor(None, lambda: waiter.handle(*told(emu, task_id, kind)))
            return await call

    if kind == "task.failed":
        with pytest.raises(GenerationFailedError):
            asyncio.run(main())
    else:
        assert asyncio.run(main()).images  # type: ignore[attr-defined]


def test_several_images_of_a_call_are_woken_in_their_threads(emu: Emulator) -> None:
    waiter = WebhookWaiter(SECRET)
    client = APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter)

    def progress(step: Any) -> None:
        if step.stage == "queued":
            if step.index == 1:
                emu.fail(step.task.id)
            waiter.handle(*told(emu, step.task.id, "task.failed" if step.index == 1 else "task.completed"))

    result = client.generate("a cat", n=4, on_progress=progress, timeout=LONG)
    assert len(result.images) == 3
    assert [failure.error for failure in result.failures] == ["GenerationFailedError"]


WRONG = [
    {"kind": "task.failed"},
    {"kind": "task.failed", "status": "completed"},
    {"kind": "task.completed", "status": "failed"},
    {"kind": "task.failed", "gateway": "http://other.example/v1", "task_url": None},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_event_leads_to_no_second_purchase(emu: Emulator, tmp_path: Any, wrong: dict[str, Any]) -> None:
    waiter = WebhookWaiter(SECRET)
    client = APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter, ledger=tmp_path / "ledger.db")
    task = client.submit("a cat", idempotency_key="k")
    named = {"gateway": emu.base_url, **wrong}
    waiter.handle(*delivery(event(task.id, **named)))
    parsed = WebhookEvent.model_validate(event(task.id, **named)).task
    assert parsed is not None
    emu.finish(task.id)
    results = [client.generate("a cat", idempotency_key="k", timeout=LONG) for _ in range(2)]
    results.append(client.wait(parsed, timeout=LONG))
    assert {result.images[0].task_id for result in results} == {task.id}
    assert len(emu.bill.charges) == 1


def test_a_call_that_joins_by_its_key_is_woken_too(emu: Emulator, tmp_path: Any) -> None:
    waiter = WebhookWaiter(SECRET)
    client = APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter, ledger=tmp_path / "ledger.db")
    joined = threading.Event()
    ids: list[str] = []

    def progress(step: Any) -> None:
        if step.stage == "queued" and not ids:
            ids.append(step.task.id)
        if step.joined:
            joined.set()

    def buy() -> Any:
        return client.generate("a cat", idempotency_key="k", on_progress=progress, timeout=LONG)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(buy), pool.submit(buy)]
        assert joined.wait(60)
        waiter.handle(*told(emu, ids[0]))
        results = [call.result(60) for call in calls]
    assert {result.images[0].url for result in results} == {f"{emu.base_url}/tasks/{ids[0]}/outputs/0/content"}
    assert len(emu.bill.charges) == 1


def test_a_webhook_is_not_part_of_what_a_key_stands_for(emu: Emulator, tmp_path: Any) -> None:
    ledger = tmp_path / "ledger.db"
    emu.latency = 0.0
    with APIMaster(emu.api_key, base_url=emu.base_url, ledger=ledger) as plain:
        first = plain.generate("a cat", idempotency_key="k")
        by_webhook = plain.with_options(webhook_waiter=WebhookWaiter(SECRET, endpoint_id="whep_1"))
        second = by_webhook.generate("a cat", idempotency_key="k")
        assert second.replayed
        assert second.images[0].url == first.images[0].url
    assert len(emu.bill.charges) == 1


# --- the ASGI application -------------------------------------------------------------------------------------------


def call_asgi(
    waiter: WebhookWaiter, messages: Sequence[dict[str, Any]], *, headers: dict[str, str] | None = None, **scope: Any
) -> list[Any]:
    sent: list[Any] = []
    waiting = iter(messages)

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    full = {
        "type": "http",
        "method": "POST",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    asyncio.run(waiter.asgi(full | scope, receive, send))
    return sent


def test_the_asgi_application_puts_a_body_together() -> None:
    waiter = WebhookWaiter(SECRET)
    body, headers = delivery(CHALLENGE)
    parts = [{"type": "http.request", "body": body[:9], "more_body": True}, {"type": "http.request", "body": body[9:]}]
    start, answer = call_asgi(waiter, parts, headers=headers)
    assert start["status"] == 200
    assert (b"content-type", b"application/json") in start["headers"]
    assert json.loads(answer["body"]) == {"challenge": "c-1"}


@pytest.mark.parametrize(
    ("scope", "messages", "status"),
    [
        ({"method": "GET"}, [], 405),
        ({"method": "PUT"}, [], 405),
        ({}, [{"type": "http.request", "body": b"x" * 600_000, "more_body": True}] * 9, 413),
        ({}, [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}], 400),
        ({}, [{"type": "http.request"}], 400),
        ({}, [{"type": "http.request", "body": b"{}"}], 400),
    ],
)
def test_the_asgi_application_refuses_what_is_no_delivery(
    scope: dict[str, Any], messages: list[dict[str, Any]], status: int
) -> None:
    sent = call_asgi(WebhookWaiter(SECRET), messages, **scope)
    assert sent[0]["status"] == status


def test_the_asgi_application_can_be_served_alone_and_closes_web_sockets() -> None:
    waiter = WebhookWaiter(SECRET)
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert [each["type"] for each in call_asgi(waiter, events, type="lifespan")] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert call_asgi(waiter, [], type="websocket")[0]["type"] == "websocket.close"


def test_an_error_never_shows_the_secret() -> None:
    waiter = WebhookWaiter(SECRET)
    assert SECRET not in repr(waiter)
    with pytest.raises(APIMasterError) as caught:
        WebhookWaiter({"k1": SECRET, "k2": " "})
    assert SECRET not in str(caught.value)
