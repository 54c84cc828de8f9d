"""Purchases: one charge for each image asked for, over retries, workers, proxies and clients that go away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import litellm
import openai
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from litellm_proxies import client_of, cost_of, generate, shared_proxy, url_of

from apimaster.ledger import Ledger
from apimaster.ledger.location import data_folder
from litellm_apimaster import WaitTimeout

REPLAYED = "llm_provider-x-apimaster-replayed"
PURCHASE = "llm_provider-x-apimaster-purchase"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def proxies(
    emulator: Any, ledger: Ledger, start_proxy: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Any]]:
    """Two proxies that share a ledger and take any key for a virtual key."""

    def start(name: str) -> Any:
        return stack.enter_context(shared_proxy(start_proxy, ledger.name, tmp_path_factory.mktemp(name)))

    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        emulator.latency = 0
        yield list(pool.map(start, ("first", "second")))


def test_retries_of_a_client_with_a_short_timeout_pay_once(proxies, gateway):
    gateway.latency = 2

    def ask(number: int) -> str:
        retries = 2 if number < 10 else 8
        client = client_of(proxies[:: 1 if number % 2 else -1], f"sk-{number // 10}", timeout=1, max_retries=retries)
        try:
            return url_of(generate(client))
        except openai.APITimeoutError:
            return ""

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(10)))
        assert len(gateway.bill.charges) == 10
        pictures = list(pool.map(ask, range(10, 20)))
    assert len(gateway.bill.charges) == 20
    assert len(set(pictures) - {""}) == 10, "all ten asked for the same, and each has a picture of its own"


def test_an_idempotency_key_brings_the_same_picture_from_any_proxy(proxies, gateway):
    client = client_of(proxies)
    header = {"Idempotency-Key": "order 17"}
    first, second = (generate(client, extra_headers=header) for _ in range(2))
    third = generate(client, extra_body={"idempotency_key": "order 17"})
    assert len(gateway.bill.charges) == 1
    assert url_of(first) == url_of(second) == url_of(third)
    assert [cost_of(each) for each in (first, second, third)] == [0.0375, 0, 0]
    if hasattr(CustomLogger, "async_post_call_response_headers_hook"):  # 1.80 has no way to add headers here
        assert len({each.headers[PURCHASE] for each in (first, second, third)}) == 1
        assert [each.headers.get(REPLAYED) for each in (first, second, third)] == [None, "true", "true"]
    with pytest.raises(openai.BadRequestError, match="stands for another request"):
        client.images.generate(model="image", prompt="another", extra_headers=header)


def test_one_key_at_once_through_deployments_of_two_models(proxies, gateway, ledger):
    """Four calls with each of ten keys, through two proxies, whose Routers choose between two models and two sizes."""
    gateway.latency = "manual"
    client = client_of(proxies, "sk-mixed", timeout=60, max_retries=0)

    def ask(number: int) -> str:
        header = {"Idempotency-Key": f"mixed {number % 10}"}
        return str(client.images.generate(model="mixed", prompt="a red kite", extra_headers=header).data[0].url)

    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask, number) for number in range(40)]
        while sum(purchase.joins for purchase in ledger.purchases() if "mixed" in purchase.key) < 30:
            assert not [each.exception() for each in asked if each.done()]
        gateway.finish()
        pictures = [each.result(60) for each in asked]
    assert len(gateway.bill.charges) == len(set(pictures)) == 10
    assert all(len(set(pictures[number::10])) == 1 for number in range(10))


def test_the_clients_model_is_a_part_of_the_request(proxies, gateway):
    client = client_of(proxies, "sk-model", max_retries=0)
    header = {"Idempotency-Key": "order 21"}
    picture = url_of(generate(client, extra_headers=header))
    for changed in ({"model": "mixed"}, {"model": "image", "size": "16:9"}):
        with pytest.raises(openai.BadRequestError, match="stands for another request"):
            client.images.generate(prompt="a red kite", extra_headers=header, **changed)
    assert url_of(generate(client, extra_headers=header)) == picture
    assert len(gateway.bill.charges) == 1


def test_the_model_in_the_address_is_a_part_of_the_request(proxies, gateway):
    def ask(model: str) -> httpx.Response:
        url = f"{proxies[0].url}/openai/deployments/{model}/images/generations"
        headers = {"Authorization": "Bearer sk-address", "Idempotency-Key": "order 25"}
        return httpx.post(url, json={"prompt": "a red kite"}, headers=headers, timeout=60, trust_env=False)

    first, again = ask("image").json(), ask("image").json()
    assert first["data"][0]["url"] == again["data"][0]["url"]
    other = ask("mixed")
    assert other.status_code == 400
    assert "stands for another request" in other.text
    assert len(gateway.bill.charges) == 1


def test_a_key_through_a_fallback_brings_the_same_picture(proxies, gateway):
    client = client_of(proxies, "sk-fallen", max_retries=0)
    header = {"Idempotency-Key": "order 22"}
    pictures = {
        client.images.generate(model="broken", prompt="a red kite", extra_headers=header).data[0].url for _ in range(3)
    }
    assert len(pictures) == len(gateway.bill.charges) == 1


def test_a_key_of_an_edit_stands_for_what_the_form_says(proxies, gateway, png):
    client = client_of(proxies, "sk-edit", max_retries=0)

    def edit(**form: Any) -> Any:
        header = {"Idempotency-Key": "order 23"}
        image = ("kite.png", png)
        return client.images.edit(model="mixed", prompt="a red kite", image=image, extra_headers=header, **form).data[0]

    assert len({edit(size="16:9").url for _ in range(6)}) == 1
    with pytest.raises(openai.BadRequestError, match="stands for another request"):
        edit(size="1:1")
    with pytest.raises(openai.BadRequestError, match="stands for another request"):
        edit(size="16:9", extra_body={"image_urls": '["https://example.org/a.png"]'})
    assert len(gateway.bill.charges) == 1


def test_a_key_in_a_conversation(proxies, gateway):
    client = client_of(proxies, "sk-chat", max_retries=0)
    header = {"Idempotency-Key": "order 24"}

    def ask(**body: Any) -> Any:
        messages: Any = [{"role": "user", "content": "a red kite"}]
        return client.chat.completions.create(model="mixed", messages=messages, extra_headers=header, extra_body=body)

    for _ in range(4):
        assert ask(aspect_ratio="16:9").choices
    with pytest.raises(openai.BadRequestError, match="stands for another request"):
        ask(aspect_ratio="1:1")
    assert len(gateway.bill.charges) == 1


def test_a_marked_retry_joins_through_a_deployment_with_other_defaults(proxies, gateway):
    client = client_of(proxies, "sk-defaults", max_retries=0)
    urls = {
        client.images.generate(model="mixed", prompt="a red kite", extra_headers=headers).data[0].url
        for headers in ({}, *[{"x-stainless-retry-count": "1"}] * 9)
    }
    assert len(urls) == len(gateway.bill.charges) == 1


RETRY = {"x-stainless-retry-count": "1"}


def ask_for_an_edit(client: openai.OpenAI, png: bytes, prompt: str, headers: dict[str, str]) -> Any:
    image = ("kite.png", png)
    return client.images.with_raw_response.edit(model="image", prompt=prompt, image=image, extra_headers=headers)


def ask_for_a_chat(client: openai.OpenAI, png: bytes, prompt: str, headers: dict[str, str]) -> Any:
    messages: Any = [{"role": "user", "content": prompt}]
    create = client.chat.completions.with_raw_response.create
    return create(model="image", messages=messages, extra_headers=headers)


def ask_for_a_generation(client: openai.OpenAI, png: bytes, prompt: str, headers: dict[str, str]) -> Any:
    return client.images.with_raw_response.generate(model="image", prompt=prompt, extra_headers=headers)


def picture_in_answer(response: Any) -> str:
    body = response.http_response.json()
    return str(body["data"] if "data" in body else body["choices"][0]["message"]["images"])


@pytest.mark.parametrize("ask", [ask_for_a_generation, ask_for_an_edit, ask_for_a_chat], ids=lambda ask: ask.__name__)
def test_a_marked_retry_joins_and_one_with_another_prompt_buys(ask, proxies, gateway, png):
    client = client_of(proxies, f"sk-{ask.__name__}", max_retries=0)
    first, retry = (ask(client, png, "a red kite", headers) for headers in ({}, RETRY))
    assert picture_in_answer(retry) == picture_in_answer(first)
    assert [cost_of(each) for each in (first, retry)] == [0.0375, 0]
    assert len(gateway.bill.charges) == 1
    other = ask(client, png, "a blue kite", RETRY)
    assert picture_in_answer(other) != picture_in_answer(first)
    assert cost_of(other) == 0.0375
    assert len(gateway.bill.charges) == 2


def test_a_first_attempt_that_its_retry_has_overtaken_joins(proxies, gateway, ledger):
    """A busy proxy looks at it when the client has asked another one. A later request is a new one."""
    first, second = (client_of([proxy], "sk-overtaken", max_retries=0) for proxy in proxies[:2])
    retry = generate(second, extra_headers=RETRY)
    late = generate(first)
    assert (url_of(late), cost_of(late)) == (url_of(retry), 0)
    assert url_of(generate(first)) != url_of(retry), "each retry has one first attempt"
    assert len(gateway.bill.charges) == 2

    retry = generate(second, extra_headers=RETRY)  # joins one of these two
    other = client_of(proxies[:1], "sk-overtaken-later", max_retries=0)
    bought = generate(other, extra_headers=RETRY)
    with sqlite3.connect(ledger.name) as connection:
        connection.execute("UPDATE purchase SET created_at = created_at - 11 WHERE key LIKE '%/retry'")
    assert url_of(generate(other)) != url_of(bought)
    assert len(gateway.bill.charges) == 4


@pytest.mark.parametrize("kind", ["sk", "jwt"])
def test_two_callers_never_share_a_picture(kind, proxies, gateway):
    header = {"Idempotency-Key": "order 18"}
    retry = {"x-stainless-retry-count": "1"}
    urls = [
        url_of(generate(client_of(proxies, key), extra_headers=headers))
        for headers in (header, retry)
        for key in (f"{kind}-one", f"{kind}-two")
    ]
    # the first retry of either key joins that key's own purchase of the same body
    assert urls[2:] == urls[:2]
    assert len(gateway.bill.charges) == 2
    assert len(set(urls)) == 2


def test_a_caller_cannot_write_another_callers_key_into_the_request(proxies, gateway):
    mine = {"Idempotency-Key": "mine"}
    picture = url_of(generate(client_of(proxies, "sk-victim"), extra_headers=mine))
    for place in ("metadata", "litellm_metadata"):
        body = {place: {"user_api_key_hash": "sk-victim"}}
        assert url_of(generate(client_of(proxies, "sk-thief"), extra_headers=mine, extra_body=body)) != picture
    assert url_of(generate(client_of(proxies, "sk-victim"), extra_headers=mine)) == picture


def test_a_first_attempt_of_the_same_prompt_buys(proxies, gateway):
    client = client_of(proxies)
    first, second = generate(client), generate(client)
    assert url_of(first) != url_of(second)
    assert [cost_of(each) for each in (first, second)] == [0.0375, 0.0375]
    assert len(gateway.bill.charges) == 2


def test_a_fallback_of_a_first_attempt_buys(proxies, gateway):
    client = client_of(proxies, "sk-fallback", max_retries=0)
    urls = {client.images.generate(model="broken", prompt="a red kite").data[0].url for _ in range(2)}
    assert len(urls) == len(gateway.bill.charges) == 2


def test_a_retry_finds_what_ended_a_short_time_ago(proxies, gateway, ledger):
    """However long it took: the second retry of a client that waits ten minutes comes after twenty."""
    client = client_of(proxies, "sk-late")
    first = generate(client)
    key = first.headers.get(PURCHASE) or next(iter(ledger.purchases(newest_first=True))).key

    def retry_after(*, begun: int, ended: int) -> str:
        with sqlite3.connect(ledger.name) as connection:
            changes = (begun, ended, key)
            connection.execute(
                "UPDATE purchase SET created_at = created_at - ?, updated_at = updated_at - ? WHERE key = ?", changes
            )
        return url_of(generate(client, extra_headers={"x-stainless-retry-count": "2"}))

    assert retry_after(begun=1800, ended=600) == url_of(first)
    assert retry_after(begun=0, ended=600) != url_of(first)
    assert len(gateway.bill.charges) == 2


def test_a_retry_after_an_error_that_cost_nothing_buys(proxies, gateway):
    """Even if an older request of the same caller for the same picture was bought, or nobody knows."""
    client = client_of(proxies, "sk-again", max_retries=1)
    older = generate(client)
    gateway.script("unavailable_503")
    newer = generate(client)
    assert url_of(newer) != url_of(older)
    assert len(gateway.bill.charges) == 2


def test_the_log_joins_the_ids_of_litellm_and_the_gateway(account, gateway, caplog):
    caplog.set_level(logging.INFO, logger="litellm_apimaster")
    litellm.image_generation(prompt="a red kite", litellm_call_id="call-17", **account)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "litellm_apimaster"]
    (job,) = gateway.jobs
    assert ": LiteLLM call call-17, " in line
    assert line.endswith(f"task {job.id}")


def test_the_log_has_one_line_for_a_purchase_and_another_for_who_joins(account, gateway, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="litellm_apimaster")
    gateway.latency = "manual"
    monkeypatch.setenv("APIMASTER_LEDGER", str(tmp_path / "ledger.db"))

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "litellm_apimaster"]

    async def ask(name: str) -> Any:
        arguments = {"prompt": "a red kite", "idempotency_key": "order 30", "litellm_call_id": name}
        return await litellm.aimage_generation(**arguments, **account)

    async def line_appears(count: int, *calls: asyncio.Task[Any]) -> None:
        while len(lines()) < count:
            assert not any(call.done() for call in calls)
            await asyncio.sleep(0.01)

    async def buy_and_join() -> None:
        buyer = asyncio.create_task(ask("first"))
        await line_appears(1, buyer)
        joiner = asyncio.create_task(ask("second"))
        await line_appears(2, buyer, joiner)
        gateway.finish()
        await asyncio.gather(buyer, joiner)
        await ask("third")

    asyncio.run(buy_and_join())
    (job,) = gateway.jobs
    endings = [line.split("order%2030: ")[1] for line in lines()]
    assert endings == [
        f"LiteLLM call first, task {job.id}",
        f"joined by LiteLLM call second, task {job.id}",
        f"joined by LiteLLM call third, task {job.id}",
    ]


def test_a_function_takes_an_idempotency_key(account, gateway):
    responses = [litellm.image_generation(prompt="a red kite", idempotency_key="order 19", **account) for _ in range(2)]
    assert len(gateway.bill.charges) == 1
    assert [each._hidden_params["response_cost"] for each in responses] == [0.0375, 0]
    first, second = (each._hidden_params["additional_headers"] for each in responses)
    assert first[PURCHASE] == second[PURCHASE]
    assert (first.get(REPLAYED), second.get(REPLAYED)) == (None, "true")
    assert "idempotency_key" not in str(gateway.requests_to("submit")[0].body)
    with pytest.raises(litellm.BadRequestError, match="text of 1 to 255"):
        litellm.image_generation(prompt="a red kite", idempotency_key="", **account)


def test_a_routers_retry_waits_for_the_picture_that_its_first_attempt_bought(gateway, deploy):
    gateway.latency = 0.7
    policy = litellm.RetryPolicy(TimeoutErrorRetries=5)
    router = Router(model_list=[deploy()], retry_policy=policy, disable_cooldowns=True)
    with contextlib.suppress(WaitTimeout):  # not every version retries status 424, whatever the policy says
        asyncio.run(router.aimage_generation(model="image", prompt="a red kite", timeout=0.4))
    assert len(gateway.bill.charges) == 1


def test_a_caller_that_goes_away_loses_nothing(account, gateway, tmp_path, monkeypatch):
    gateway.latency = "manual"
    monkeypatch.setenv("APIMASTER_LEDGER", str(tmp_path / "ledger.db"))
    arguments = {"prompt": "a red kite", "idempotency_key": "order 20", **account}

    async def go_away_and_come_back() -> Any:
        call = asyncio.create_task(litellm.aimage_generation(**arguments))
        while not gateway.jobs:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gateway.latency = 0
        gateway.finish()
        return await litellm.aimage_generation(**arguments)

    response = asyncio.run(go_away_and_come_back())
    assert response.data[0].url
    assert len(gateway.bill.charges) == 1
    assert response._hidden_params["response_cost"] == 0.0375, "nobody else reports it"
    again = litellm.image_generation(**arguments)
    assert again._hidden_params["response_cost"] == 0


def test_a_retry_takes_the_one_whose_client_has_gone(account, gateway, tmp_path, monkeypatch):
    """Of two equal requests under way, though the other one is older. The proxy calls LiteLLM's function like this."""
    gateway.latency = "manual"
    monkeypatch.setenv("APIMASTER_LEDGER", str(tmp_path / "ledger.db"))

    def ask(**headers: str) -> asyncio.Task[Any]:
        request = {"headers": headers, "body": {"model": "image", "prompt": "a red kite"}}
        return asyncio.create_task(
            litellm.aimage_generation(prompt="a red kite", proxy_server_request=request, **account)
        )

    async def until(seen: Callable[[], bool]) -> None:
        while not seen():
            await asyncio.sleep(0.01)

    async def one_client_goes(ledger: Ledger) -> list[Any]:
        stays = ask()
        await until(lambda: len(gateway.jobs) == 1)
        goes = ask()
        await until(lambda: len(gateway.jobs) == 2)
        goes.cancel()
        with pytest.raises(asyncio.CancelledError):
            await goes
        back = ask(**{"x-stainless-retry-count": "1"})
        await until(lambda: any(purchase.joins for purchase in ledger.purchases()))
        gateway.latency = 0
        gateway.finish()
        return [await stays, await back]

    with Ledger.open(tmp_path / "ledger.db") as ledger:
        responses = asyncio.run(one_client_goes(ledger))
        older, newer = (purchase.images[0].url for purchase in ledger.purchases())
    assert [response.data[0].url for response in responses] == [older, newer]
    assert [response._hidden_params["response_cost"] for response in responses] == [0.0375, 0.0375]
    assert len(gateway.bill.charges) == 2


def test_a_task_is_only_looked_at_with_the_key_that_bought_it(gateway, deploy, tmp_path, monkeypatch):
    gateway.latency = "manual"
    monkeypatch.setenv("APIMASTER_LEDGER", str(tmp_path / "ledger.db"))
    buyer, other = (
        deploy(name, key=key) for name, key in zip(("buyer", "other"), ("sk-first", "sk-second"), strict=True)
    )
    router = Router(model_list=[buyer, other], num_retries=0, disable_cooldowns=True)
    asked = {"prompt": "a red kite", "idempotency_key": "order 26", "timeout": 1}
    with pytest.raises(WaitTimeout):
        router.image_generation(model="buyer", **asked)
    gateway.finish()
    (job,) = gateway.jobs
    before = len(gateway.requests)
    with pytest.raises(WaitTimeout) as caught:
        router.image_generation(model="other", **asked)
    assert caught.value.status_code == 424
    assert job.id in str(caught.value)
    assert len(gateway.requests) == before, "the other key asks the gateway nothing"
    assert router.image_generation(model="buyer", **asked).data[0].url
    assert len(gateway.bill.charges) == 1


def test_without_a_place_on_disk_purchases_are_recorded_in_memory(account, gateway, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("APIMASTER_LEDGER")
    blocked = tmp_path / "a file"
    blocked.write_text("")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(blocked))
    for number in range(2):
        litellm.image_generation(prompt=f"kite {number}", **account)
    assert caplog.text.count("Purchases are remembered by this process only") == 1


def test_the_default_ledger_lies_in_the_users_data_directory(account, gateway, tmp_path, monkeypatch):
    monkeypatch.delenv("APIMASTER_LEDGER")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    litellm.image_generation(prompt="a red kite", **account)
    (path,) = tmp_path.rglob("ledger.db")
    with Ledger.open(path) as opened:
        assert [purchase.state for purchase in opened.purchases()] == ["delivered"]


def test_a_ledger_that_can_not_be_opened_stops_the_purchase(account, gateway, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("APIMASTER_LEDGER", str(blocked / "ledger.db"))
    with pytest.raises(litellm.ServiceUnavailableError, match="Nothing was charged"):
        litellm.image_generation(prompt="a red kite", **account)
    assert not gateway.bill.charges


def test_a_default_ledger_that_is_damaged_is_not_replaced(account, gateway, tmp_path, monkeypatch):
    monkeypatch.delenv("APIMASTER_LEDGER")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    place = data_folder() / "litellm" / "ledger.db"
    place.parent.mkdir(parents=True)
    place.write_text("This is no database.\n" * 99)
    with pytest.raises(litellm.ServiceUnavailableError, match="Nothing was charged"):
        litellm.image_generation(prompt="a red kite", **account)
    assert not gateway.requests


# Last, since one of the proxies is gone afterwards.
def test_after_kill_9_of_a_proxy_the_retry_gets_the_picture(proxies, gateway, ledger):
    gateway.latency = "manual"
    first, second = (client_of([proxy], "sk-kill", max_retries=0) for proxy in proxies)
    with ThreadPoolExecutor(2) as pool:
        lost = pool.submit(generate, first)
        while not any(ledger.purchases(state="submitted")):
            pass
        os.kill(proxies[0].pid, signal.SIGKILL)
        with pytest.raises(openai.APIConnectionError):
            lost.result(20)
        back = pool.submit(generate, second, extra_headers={"x-stainless-retry-count": "1"})
        gateway.finish()
        response = back.result(60)
        assert url_of(response)
        assert cost_of(response) == 0.0375, "the proxy that bought it could not report it any more"
        gateway.latency = 0
        assert cost_of(generate(second, extra_headers={"x-stainless-retry-count": "2"})) == 0
    assert len(gateway.bill.charges) == 1
