"""The clients that calls share: few of them, for all threads and event loops, and closed when nothing uses them."""

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
    """The provider's clients, with none made so far."""
    gateway.dialect = "submit_as_image"
    apimaster_llm.close()
    asyncio.run(apimaster_llm.aclose())
    return apimaster_llm.clients


@pytest.fixture
def connections(gateway) -> Callable[[], int]:
    """How many sockets of this process are connected to the gateway, no matter who holds them."""
    port = urlsplit(gateway.base_url).port

    def peer_port(descriptor: int) -> int | None:
        with contextlib.suppress(OSError):  # not open, or a socket that is not connected
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as found:
                    return found.getpeername()[1] if found.family == socket.AF_INET else None
        return None

    return lambda: sum(peer_port(descriptor) == port for descriptor in range(1024))


def draw(account: dict[str, Any], **arguments: Any) -> Any:
    return litellm.image_generation(prompt="a red kite", **account | arguments)


def test_calls_share_one_client_per_account(account, clients, connections):
    for _ in range(3):
        draw(account)
    assert clients.count() == 1
    draw(account, api_key="sk-second")
    assert clients.count() == 2
    assert connections() == 2
    apimaster_llm.close()
    assert clients.count() == 0
    assert connections() == 0


def test_event_loops_share_one_client_and_take_their_connections_with_them(account, clients, connections):
    async def draw_some() -> None:
        await asyncio.gather(*(litellm.aimage_generation(prompt=f"kite {number}", **account) for number in range(10)))
        assert 1 <= connections() <= 10
        assert clients.count() == 1

    for _ in range(3):
        asyncio.run(draw_some())
        assert connections() == 0
    assert clients.count() == 1


def test_event_loops_of_several_threads_share_one_client(account, gateway, clients, connections):
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            answer = asyncio.run(litellm.aimage_generation(prompt=f"kite {number}", **account))
            assert answer.data[0].url
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(gateway.bill.standing) == 8
    assert clients.count() == 1
    assert connections() == 0


def test_aclose_closes_the_connections_of_the_running_loop(account, clients, connections):
    async def draw_and_close() -> None:
        await litellm.aimage_generation(prompt="a red kite", **account)
        assert connections() == 1
        await apimaster_llm.aclose()
        await asyncio.sleep(0)  # asyncio closes the sockets at its next turn
        assert connections() == 0
        assert clients.count() == 0
        await litellm.aimage_generation(prompt="another kite", **account)
        assert clients.count() == 1

    asyncio.run(draw_and_close())


@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
def test_closing_waits_for_calls_on_other_threads_and_loops(blocking, account, gateway, clients, connections):
    gateway.dialect, gateway.latency = "tracked", "manual"
    answers: list[Any] = []

    def call() -> None:
        said = {"prompt": "a red kite", **account}
        answers.append(litellm.image_generation(**said) if blocking else asyncio.run(litellm.aimage_generation(**said)))

    thread = threading.Thread(target=call)
    thread.start()
    while not gateway.requests_to("poll"):
        time.sleep(0.01)
    apimaster_llm.close()
    asyncio.run(apimaster_llm.aclose())
    assert clients.count() == 0
    gateway.finish()
    thread.join()
    assert answers[0].data[0].url
    assert len(gateway.bill.charges) == 1
    assert connections() == 0


def accounts_at(gateway: Any, count: int) -> list[Account]:
    return [Account(f"sk-{number}", gateway.base_url) for number in range(count)]


def assert_closed(client: Any) -> None:
    with pytest.raises(RuntimeError, match="This client is closed"):
        _ = asyncio.run(client.models()) if hasattr(client, "aclose") else client.models()


def test_blocking_clients_are_capped_and_none_in_use_is_closed(gateway):
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
            first.models()  # the gateway does not know this key: so the client is open
    assert_closed(first)


def test_asyncio_clients_are_capped_and_none_in_use_is_closed(gateway):
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


def test_the_client_used_least_recently_is_closed_first(gateway):
    cache = ClientCache(limit=2)
    first, second, third = accounts_at(gateway, 3)
    clients = {}
    for account in (first, second, first, third):
        with cache.blocking_client(account) as clients[account]:
            pass
    assert_closed(clients[second])
    with cache.blocking_client(first) as again:
        assert again is clients[first]


def test_a_fault_in_closing_does_not_lose_the_result(gateway, monkeypatch, caplog):
    cache = ClientCache(limit=0)
    account = accounts_at(gateway, 1)[0]

    def fail(self: Any) -> None:
        raise RuntimeError("made up")

    async def use() -> str:
        async with cache.asyncio_client(account):
            return "the result"

    monkeypatch.setattr("apimaster.AsyncAPIMaster.aclose", fail)
    monkeypatch.setattr("apimaster.APIMaster.close", fail)
    assert asyncio.run(use()) == "the result"
    with cache.blocking_client(account):
        pass
    assert [record.message for record in caplog.records] == ["an unused client could not be closed"] * 2


def test_the_loop_stays_free_under_load(account, gateway):
    gateway.latency = 0.2

    async def watch(stalls: list[float]) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            stalls.append(time.perf_counter() - before - 0.005)

    async def many() -> float:
        stalls: list[float] = []
        watcher = asyncio.create_task(watch(stalls))
        calls = [
            litellm.aimage_generation(prompt=f"kite {number}", response_format="b64_json", **account)
            for number in range(32)
        ]
        await asyncio.gather(*calls)
        watcher.cancel()
        return sorted(stalls)[len(stalls) * 9 // 10]

    assert asyncio.run(many()) < 0.2
    assert len(gateway.bill.standing) == 32


def test_a_cancelled_call_stops_at_once(account, gateway):
    gateway.latency = "manual"

    async def cancelled() -> None:
        task = asyncio.create_task(litellm.aimage_generation(prompt="a red kite", **account))
        while not gateway.requests_to("poll"):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        polls = len(gateway.requests_to("poll"))
        await asyncio.sleep(0.1)
        assert len(gateway.requests_to("poll")) == polls

    asyncio.run(cancelled())


WITHOUT_UNIX = """
import builtins, os, signal, sys
import litellm  # it has its own ways where something is missing; ours begin here
for name in ("register_at_fork", "fork", "O_NONBLOCK", "getuid", "geteuid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGQUIT"):
    delattr(signal, name)
found = builtins.__import__

def without_unix(name, *rest):
    if name in ("resource", "pwd", "grp", "termios") and sys._getframe(1).f_globals.get("__name__", "").startswith(
        ("apimaster", "litellm_apimaster")
    ):
        raise ImportError(name)
    return found(name, *rest)

builtins.__import__ = without_unix
import litellm_apimaster
from litellm_apimaster.clients import Account
handler = litellm_apimaster.apimaster_llm
with handler.clients.blocking_client(Account("sk-made-up", "http://127.0.0.1:9/v1")) as client:
    print(client.base_url)
"""


def test_the_import_needs_nothing_that_windows_lacks():
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "http://127.0.0.1:9/v1"  # LiteLLM prints notices of its own
