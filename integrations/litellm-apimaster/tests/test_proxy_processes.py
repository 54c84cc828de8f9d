"""Proxies as processes: killed while a request is out, with several workers, with more requests than may be out."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from litellm_proxies import client_of, cost_of, generate, shared_proxy, url_of

from apimaster import APIMaster
from apimaster.ledger import Ledger

MAX_OPEN = 16  # Ledger.open's max_open_submits


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("ledger") / "ledger.db")


@pytest.fixture(scope="module")
def proxy_at_place(
    emulator: Any, start_proxy: Any, place: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """A function that runs a proxy with the ledger of this module."""
    emulator.latency = 0
    return lambda **options: shared_proxy(start_proxy, place, tmp_path_factory.mktemp("proxy"), **options)


@pytest.fixture(scope="module")
def survivor(proxy_at_place: Any) -> Iterator[Any]:
    with proxy_at_place() as started:
        yield started


@pytest.fixture(scope="module")
def ledger(place: str, survivor: Any) -> Iterator[Ledger]:
    """Takes an absent charge for proven at once, where the proxies wait a minute."""
    with Ledger.open(place, settle_after=0) as opened:
        yield opened


@pytest.mark.parametrize("charged", [True, False])
def test_kill_9_while_the_request_is_out(
    charged: bool, survivor: Any, proxy_at_place: Any, gateway: Any, ledger: Ledger, place: str
) -> None:
    key = {"Idempotency-Key": f"killed, charged: {charged}"}
    client = client_of([survivor], "sk-killed", max_retries=0, timeout=60)
    with proxy_at_place() as victim, ThreadPoolExecutor(1) as pool:
        gateway.reset()
        generate(client)  # by its charge, the usage log shows that it is alive
        gateway.script("hang", accepted=charged)
        lost = pool.submit(generate, client_of([victim], "sk-killed", max_retries=0, timeout=60), extra_headers=key)
        while len(gateway.requests_to("submit")) < 2:
            assert not lost.done(), lost.result()
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(openai.APIConnectionError):
            lost.result(30)
    submitting = purchase_of(ledger, state="submitting")

    def told_to_the_client() -> str:
        with pytest.raises(openai.APIStatusError) as caught:
            generate(client, extra_headers=key, extra_body={"timeout": 0.5})
        assert caught.value.status_code == 424
        return str(caught.value)

    assert "another call was buying" in told_to_the_client()  # until the lease of the victim has run out
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE worker SET seen = seen - 3600 WHERE pid = ?", [victim.pid])
    assert "Nobody knows whether the purchase" in told_to_the_client()
    assert len(gateway.requests_to("submit")) == 2

    with APIMaster(gateway.api_key, base_url=gateway.base_url, ledger=ledger) as owner:
        settlement = owner.settle(submitting.key)
    assert len(settlement.recovered) == charged
    assert len(settlement.not_charged) == (not charged)
    back = generate(client, extra_headers=key)
    assert url_of(back)
    assert cost_of(back) == 0.0375, "the proxy that was killed has reported nothing"
    assert url_of(generate(client, extra_headers=key)) == url_of(back)
    assert len(gateway.bill.charges) == 2


def purchase_of(ledger: Ledger, state: Any) -> Any:
    (purchase,) = ledger.purchases(state=state)
    return purchase


def test_more_requests_than_may_be_out_at_once(survivor: Any, gateway: Any, ledger: Ledger) -> None:
    """The retries of those that wait for their turn find them, as those of the others do."""
    count = MAX_OPEN + 8
    gateway.script("slow_body", seconds=3, times=count)
    waiting: list[int] = []

    def ask(number: int) -> str:
        client = client_of([survivor], "sk-many", timeout=1, max_retries=20)
        return str(client.images.generate(model="image", prompt=f"kite {number}").data[0].url)

    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(ask, number) for number in range(count)]
        while not all(each.done() for each in asked):
            waiting.append(sum(1 for _ in ledger.purchases(state="claimed")))
        pictures = [each.result() for each in asked]
    assert max(waiting) > 0
    assert len(gateway.bill.charges) == count
    assert len(set(pictures)) == count


def test_a_proxy_with_several_workers(proxy_at_place: Any, gateway: Any, place: str) -> None:
    with proxy_at_place(workers=2) as proxy:
        gateway.reset()
        gateway.latency = 2

        def ask(number: int) -> str:
            client = client_of([proxy], f"sk-workers-{number // 10}", timeout=1, max_retries=2 if number < 10 else 20)
            try:
                return url_of(generate(client))
            except openai.APITimeoutError:
                return ""

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(ask, range(10)))
            assert len(gateway.bill.charges) == 10
            pictures = list(pool.map(ask, range(10, 20)))
    assert len(gateway.bill.charges) == 20
    assert len(set(pictures) - {""}) == 10
