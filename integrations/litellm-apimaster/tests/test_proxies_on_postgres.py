"""Two proxies as on two machines: what they share is a ledger in PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import openai
import psycopg
import pytest
from litellm_proxies import client_of, cost_of, generate, shared_proxy, url_of
from postgres import PostgresServer

from apimaster.ledger import Ledger


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    with PostgresServer() as server:
        yield server.new_database()


@pytest.fixture(scope="module")
def proxies(
    emulator: Any, place: str, start_proxy: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Any]]:
    def start(name: str) -> Any:
        return stack.enter_context(shared_proxy(start_proxy, place, tmp_path_factory.mktemp(name)))

    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        emulator.latency = 0
        yield list(pool.map(start, ("first", "second")))


def test_retries_of_a_client_with_a_short_timeout_pay_once(proxies: list[Any], gateway: Any) -> None:
    gateway.latency = 2

    def ask(number: int) -> str:
        client = client_of(proxies[:: 1 if number % 2 else -1], timeout=1, max_retries=20)
        return str(client.images.generate(model="image", prompt=f"kite {number}").data[0].url)

    with ThreadPoolExecutor(10) as pool:
        pictures = list(pool.map(ask, range(10)))
    assert len(gateway.bill.charges) == len(set(pictures)) == 10


def test_one_key_at_once_through_both(proxies: list[Any], gateway: Any) -> None:
    gateway.latency = 0.5

    def ask(number: int) -> tuple[str, float]:
        header = {"Idempotency-Key": f"order {number % 5}"}
        response = generate(client_of(proxies[number % 2 :], timeout=60, max_retries=0), extra_headers=header)
        return url_of(response), cost_of(response)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert len(gateway.bill.charges) == len({url for url, _ in answers}) == 5
    assert sum(cost for _, cost in answers) == pytest.approx(5 * 0.0375)


def change(place: str, statement: str) -> None:
    """Let time pass for some rows: nothing else moves the clock of a server that real processes share."""
    with psycopg.connect(place) as connection:
        connection.execute(statement)


def told(client: openai.OpenAI, header: dict[str, str]) -> str:
    with pytest.raises(openai.APIStatusError) as caught:
        generate(client, extra_headers=header, extra_body={"timeout": 0.5})
    assert caught.value.status_code == 424
    return str(caught.value)


@pytest.mark.parametrize("charged", [True, False])
def test_kill_9_while_the_request_is_out(
    charged: bool,
    proxies: list[Any],
    gateway: Any,
    place: str,
    start_proxy: Any,
    tmp_path: Any,
) -> None:
    """The other proxy says exactly what is known, and then finds out by itself what became of the request."""
    gateway.latency = 0
    header = {"Idempotency-Key": f"submitting, charged: {charged}"}
    other = client_of(proxies[1:], "sk-killed", max_retries=0, timeout=60)
    with Ledger.open(place) as ledger, ThreadPoolExecutor(1) as pool:
        with shared_proxy(start_proxy, place, tmp_path) as victim:
            asked = len(gateway.requests_to("submit"))
            gateway.script("hang", accepted=charged)
            lost = pool.submit(
                generate, client_of([victim], "sk-killed", max_retries=0, timeout=60), extra_headers=header
            )
            while len(gateway.requests_to("submit")) == asked:
                assert not lost.done(), lost.result()
            os.kill(victim.pid, signal.SIGKILL)
            with pytest.raises(openai.APIConnectionError):
                lost.result(30)
        generate(other)  # by its charge, the usage log shows that it is alive
        charges = len(gateway.bill.charges)
        assert "another call was buying" in told(other, header)  # until the lease of the victim has run out
        change(place, f"UPDATE apimaster.worker SET seen = seen - 3600 WHERE pid = {victim.pid}")
        assert "Nobody knows whether the purchase" in told(other, header)  # a charge may still show in the log
        assert len(gateway.bill.charges) == charges
        # A minute later for all that the ledger knows: now the log holds a charge, or proves that there is none.
        earlier = ", ".join(
            f"{name} = {name} - 70" for name in ("begun_at", "unknown_since", "settled_at", "updated_at")
        )
        change(place, f"UPDATE apimaster.purchase SET {earlier}")
        back = generate(other, extra_headers=header)
        assert url_of(back)
        assert cost_of(back) == 0.0375, "the proxy that was killed has reported nothing"
        assert len(gateway.bill.charges) == charges + (not charged)
        assert not any(ledger.purchases(state="unknown"))
        assert url_of(generate(other, extra_headers=header)) == url_of(back)


# Last, since one of the proxies is gone afterwards.
def test_after_kill_9_of_one_the_other_brings_the_picture(proxies: list[Any], gateway: Any, place: str) -> None:
    gateway.latency = "manual"
    header = {"Idempotency-Key": "killed"}
    first, second = (client_of([proxy], max_retries=0, timeout=60) for proxy in proxies)
    with Ledger.open(place) as ledger, ThreadPoolExecutor(2) as pool:
        lost = pool.submit(generate, first, extra_headers=header)
        while not any(ledger.purchases(state="submitted")):
            assert not lost.done(), lost.result()
        os.kill(proxies[0].pid, signal.SIGKILL)
        with pytest.raises(openai.APIConnectionError):
            lost.result(30)
        back = pool.submit(generate, second, extra_headers=header)
        gateway.finish()
        assert url_of(back.result(60))
        assert cost_of(back.result()) == 0.0375
    assert len(gateway.bill.charges) == 1
