"""Clients: one per account for all threads and event loops, up to a limit, and none closed while a call uses it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import litellm
import pytest

from apimaster.errors import APIMasterError
from litellm_apimaster import apimaster_llm
from litellm_apimaster.clients import Account, ClientCache


@pytest.fixture
def clients(gateway):
    """The provider's cache of clients, empty."""
    gateway.dialect = "submit_as_image"
    apimaster_llm.close()
    asyncio.run(apimaster_llm.aclose())
    return apimaster_llm.clients


@pytest.fixture
def connections(gateway) -> Callable[[], int]:
    """A function that counts the sockets of this process that are connected to the gateway, whatever owns them."""
    port = urlsplit(gateway.base_url).port

    def peer_port(descriptor: int) -> int | None:
        with contextlib.suppress(OSError):  # not open, or a socket that is not connected
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as duplicate:
                    return duplicate.getpeername()[1] if duplicate.family == socket.AF_INET else None
        return None

    return lambda: sum(peer_port(descriptor) == port for descriptor in range(1024))


def generate_image(account: dict[str, Any], **arguments: Any) -> Any:
    return litellm.image_generation(prompt="a red kite", **account | arguments)


def test_calls_share_one_client_per_account(account, clients, connections):
    for _ in range(3):
        generate_image(account)
    assert clients.count() == 1
    generate_image(account, api_key="sk-second")
    assert clients.count() == 2
    assert connections() == 2
    apimaster_llm.close()
    assert clients.count() == 0
    assert connections() == 0


def test_event_loops_share_one_client_and_close_their_connections_when_they_end(account, clients, connections):
    async def generate_ten_images() -> None:
        await asyncio.gather(*(litellm.aimage_generation(prompt=f"kite {number}", **account) for number in range(10)))
        assert 1 <= connections() <= 10
        assert clients.count() == 1

    for _ in range(3):
        asyncio.run(generate_ten_images())
        assert connections() == 0
    assert clients.count() == 1


def test_event_loops_of_several_threads_share_one_client(account, gateway, clients, connections):
    errors: list[BaseException] = []

    def generate(number: int) -> None:
        try:
            response = asyncio.run(litellm.aimage_generation(prompt=f"kite {number}", **account))
            assert response.data[0].url
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=generate, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(gateway.bill.standing) == 8
    assert clients.count() == 1
    assert connections() == 0


def test_aclose_closes_the_connections_of_the_running_loop(account, clients, connections):
    async def generate_and_close() -> None:
        await litellm.aimage_generation(prompt="a red kite", **account)
        assert connections() == 1
        await apimaster_llm.aclose()
        await asyncio.sleep(0)  # asyncio closes the sockets in the loop's next iteration
        assert connections() == 0
        assert clients.count() == 0
        await litellm.aimage_generation(prompt="another kite", **account)
        assert clients.count() == 1

    asyncio.run(generate_and_close())


@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
def test_a_client_closes_after_the_calls_of_other_threads_and_loops(blocking, account, gateway, clients, connections):
    gateway.dialect, gateway.latency = "tracked", "manual"
    responses: list[Any] = []

    def call() -> None:
        arguments = {"prompt": "a red kite", **account}
        responses.append(
            litellm.image_generation(**arguments) if blocking else asyncio.run(litellm.aimage_generation(**arguments))
        )

    thread = threading.Thread(target=call)
    thread.start()
    while not gateway.requests_to("poll"):
        time.sleep(0.01)
    apimaster_llm.close()
    asyncio.run(apimaster_llm.aclose())
    assert clients.count() == 0
    gateway.finish()
    thread.join()
    assert responses[0].data[0].url
    assert len(gateway.bill.charges) == 1
    assert connections() == 0


def accounts_at(gateway: Any, count: int) -> list[Account]:
    return [Account(f"sk-{number}", gateway.base_url) for number in range(count)]


def assert_closed(client: Any) -> None:
    with pytest.raises(RuntimeError, match="This client is closed"):
        _ = asyncio.run(client.models()) if hasattr(client, "aclose") else client.models()


def test_the_limit_closes_only_unused_blocking_clients(gateway):
    cache = ClientCache(limit=2)
    accounts = accounts_at(gateway, 5)
    used = []
    with cache.blocking_client(accounts[0]) as first:
        for account in accounts[1:]:
            with cache.blocking_client(account) as client:
                used.append(client)
        assert cache.count() == 2
        for client in used[:-1]:
            assert_closed(client)
        with cache.blocking_client(accounts[0]) as again:
            assert again is first
        cache.close()
        assert cache.count() == 0
        assert_closed(used[-1])
        with pytest.raises(APIMasterError, match="API key"):
            first.models()  # the gateway refuses the made-up key, so the client is open
    assert_closed(first)


def test_the_limit_closes_only_unused_asyncio_clients(gateway):
    cache = ClientCache(limit=2)
    accounts = accounts_at(gateway, 5)
    used = []

    async def use_all() -> Any:
        async with cache.asyncio_client(accounts[0]) as first:
            for account in accounts[1:]:
                async with cache.asyncio_client(account) as client:
                    used.append(client)
            assert cache.count() == 2
            async with cache.asyncio_client(accounts[0]) as again:
                assert again is first
            await cache.aclose()
            assert cache.count() == 0
            with pytest.raises(APIMasterError, match="API key"):
                await first.models()
        return first

    first = asyncio.run(use_all())
    for client in [first, *used]:
        assert_closed(client)


def test_the_limit_closes_the_least_recently_used_client(gateway):
    cache = ClientCache(limit=2)
    first, second, third = accounts_at(gateway, 3)
    clients = {}
    for account in (first, second, first, third):
        with cache.blocking_client(account) as clients[account]:
            pass
    assert_closed(clients[second])
    with cache.blocking_client(first) as again:
        assert again is clients[first]


def test_an_error_while_closing_a_client_does_not_lose_the_result(gateway, monkeypatch, caplog):
    cache = ClientCache(limit=0)
    account = accounts_at(gateway, 1)[0]

    def fail(self: Any) -> None:
        raise RuntimeError("made-up error")

    async def use() -> str:
        async with cache.asyncio_client(account):
            return "the result"

    monkeypatch.setattr("apimaster.AsyncAPIMaster.aclose", fail)
    monkeypatch.setattr("apimaster.APIMaster.close", fail)
    assert asyncio.run(use()) == "the result"
    with cache.blocking_client(account):
        pass
    assert [record.message for record in caplog.records] == ["an unused client could not be closed"] * 2


def test_many_calls_do_not_block_the_event_loop(account, gateway):
    gateway.latency = 0.2

    async def measure(stalls: list[float]) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            stalls.append(time.perf_counter() - before - 0.005)

    async def call_many() -> float:
        stalls: list[float] = []
        measuring = asyncio.create_task(measure(stalls))
        calls = [
            litellm.aimage_generation(prompt=f"kite {number}", response_format="b64_json", **account)
            for number in range(32)
        ]
        await asyncio.gather(*calls)
        measuring.cancel()
        return sorted(stalls)[len(stalls) * 9 // 10]

    assert asyncio.run(call_many()) < 0.2
    assert len(gateway.bill.standing) == 32


WITHOUT_UNIX = """
import builtins, os, signal, sys
import litellm  # first and with all of Unix, since this tests only our own packages
for name in ("register_at_fork", "fork", "O_NONBLOCK", "getuid", "geteuid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGQUIT"):
    delattr(signal, name)
real_import = builtins.__import__

def import_without_unix(name, *rest):
    if name in ("resource", "pwd", "grp", "termios") and sys._getframe(1).f_globals.get("__name__", "").startswith(
        ("apimaster", "litellm_apimaster")
    ):
        raise ImportError(name)
    return real_import(name, *rest)

builtins.__import__ = import_without_unix
import litellm_apimaster
from litellm_apimaster.clients import Account
handler = litellm_apimaster.apimaster_llm
with handler.clients.blocking_client(Account("sk-made-up", "http://127.0.0.1:9/v1")) as client:
    print(client.base_url)
"""


@pytest.mark.slow
def test_the_import_needs_nothing_that_windows_lacks():
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "http://127.0.0.1:9/v1"  # LiteLLM prints notices before it
