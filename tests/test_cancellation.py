"""Stopping in the middle, closing, sharing: cancelled tasks, several event loops, many threads."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from apimaster import APIMaster, AsyncAPIMaster
from apimaster._drivers.sync import _Stopped
from apimaster._drivers.waking import Stop
from apimaster._flows.operations import Now, RunBlocking
from apimaster.emulator import Emulator
from apimaster.results import Progress

SOON = 5.0  # seconds: far more than stopping takes, far less than the waits that are stopped


@pytest.fixture(autouse=True)
def soon() -> None:
    """Polls are due when the schedule says: few are on their way when a call is stopped."""


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(pictures="plain") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Warnings about unclosed sockets and tasks become failures, and no thread of the client goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect()


def connections(emu: Emulator) -> int:
    """Sockets of this process that are connected to the emulator, seen from the client's side."""
    port = int(emu.base_url.rsplit(":", 1)[1].split("/")[0])
    return sum(
        1
        for each in psutil.Process().net_connections("tcp")
        if each.raddr and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON) if sys.version_info >= (3, 11) else contextlib.AsyncExitStack():
        while not condition():
            await asyncio.sleep(0.002)


STAGES = {
    # the stage at which the task is cancelled: the emulator's settings, the call's options, a check that it is reached
    "one shot": ({"latency": "manual"}, {"mode": "sync"}, lambda emu: emu.requests_to("sync")),
    "submit": ({"fault": "hang"}, {}, lambda emu: emu.requests_to("submit")),
    "between polls": ({"latency": "manual"}, {}, lambda emu: emu.requests_to("poll")),
    "poll": ({"fault": "poll_hang"}, {}, lambda emu: emu.requests_to("poll")),
    "backoff": ({"fault": "rate_limited"}, {}, lambda emu: emu.requests_to("submit")),
    "download": ({"fault": "download_hang"}, {"save_to": "folder/"}, lambda emu: emu.requests_to("download")),
    "many": ({"latency": "manual"}, {"n": 20}, lambda emu: len(emu.jobs) == 8),
    "callback": ({"latency": "manual"}, {"on_progress": "slow"}, lambda emu: emu.requests or True),
}


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_stops_at_once_and_leaks_nothing(
    emu: Emulator, stage: str, transport: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, options, reached = STAGES[stage]
    monkeypatch.chdir(tmp_path)
    if "fault" in settings:
        emu.script(settings["fault"], times=None)
    else:
        emu.latency = settings["latency"]

    async def slow(progress: Progress) -> None:
        await asyncio.sleep(3600)

    async def run() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, transport=transport) as client:
            given = options | ({"on_progress": slow} if "on_progress" in options else {})
            before = asyncio.all_tasks()
            task = asyncio.create_task(client.generate("a cat", **given))
            await until(lambda: reached(emu))
            await asyncio.sleep(0.02)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 1.0
            assert asyncio.all_tasks() == before
            sent = len(emu.requests)
            await asyncio.sleep(0.05)
            assert len(emu.requests) == sent, "nothing goes on after the cancellation"
            emu.clear_script()
            emu.latency = 0.0
            assert (await client.generate("another cat")).images, "the client still works"
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    asyncio.run(run())


def test_a_timeout_of_the_callers_own(emu: Emulator) -> None:
    emu.latency = "manual"

    async def run() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.generate("a cat"), 0.2)

    asyncio.run(run())


def test_a_cancelled_wait_can_be_resumed_from_the_task_of_its_progress(emu: Emulator) -> None:
    emu.latency = "manual"
    seen: list[Progress] = []

    async def run() -> Any:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            waiting = asyncio.create_task(client.generate("a cat", on_progress=seen.append))
            await until(lambda: len(emu.jobs) == 1 and seen and seen[-1].task)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            emu.finish()
            assert seen[-1].task is not None
            return await client.wait(seen[-1].task)

    assert len(asyncio.run(run()).images) == 1
    assert len(emu.bill) == 1


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
def test_one_client_on_one_event_loop_after_the_other(emu: Emulator, transport: Any) -> None:
    client = AsyncAPIMaster(emu.api_key, base_url=emu.base_url, transport=transport)

    async def twice() -> None:
        results = await asyncio.gather(client.generate("a cat"), client.generate("a dog"))
        assert all(len(result.images) == 1 for result in results)

    async def and_close() -> None:
        await twice()
        await client.aclose()
        await client.aclose()

    for _ in range(3):
        asyncio.run(twice())
        assert connections(emu) == 0, "the connections of a loop close with it"
    asyncio.run(and_close())
    assert connections(emu) == 0
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(client.models())


def test_closing_is_idempotent_and_closes(emu: Emulator) -> None:
    client = APIMaster(emu.api_key, base_url=emu.base_url)
    client.models()
    assert connections(emu) == 1
    client.close()
    client.close()
    assert connections(emu) == 0
    with pytest.raises(RuntimeError, match="closed"):
        client.models()
    APIMaster(emu.api_key, base_url=emu.base_url).close()

    async def run() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as other:
            await asyncio.gather(*[other.models() for _ in range(5)])
            assert connections(emu) >= 1
            await other.aclose()
        await until(lambda: connections(emu) == 0)

    asyncio.run(run())


def test_a_given_http_client_stays_open(emu: Emulator) -> None:
    import httpx

    with httpx.Client() as own:
        with APIMaster(emu.api_key, base_url=emu.base_url, http_client=own) as client:
            client.models()
        assert not own.is_closed

    async def run() -> None:
        async with httpx.AsyncClient() as own:
            async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, http_client=own) as client:
                await client.models()
            assert not own.is_closed

    asyncio.run(run())


def test_threads_share_a_client(emu: Emulator) -> None:
    outcomes: list[Any] = []
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:

        def work(number: int) -> None:
            result = client.generate(f"cat {number}", n=2)
            outcomes.append((number, [image.task_id for image in result.images], len(client.read(result.images[0]))))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(number for number, _, _ in outcomes) == list(range(12))
    ids = [task_id for _, tasks, _ in outcomes for task_id in tasks]
    assert len(set(ids)) == len(ids) == len(emu.bill) == 24


def test_a_callback_that_fails_costs_nothing(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    def broken(progress: Progress) -> None:
        raise ZeroDivisionError("my own mistake")

    async def broken_too(progress: Progress) -> None:
        raise ZeroDivisionError("my own mistake")

    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        assert len(client.generate("a cat", on_progress=broken).images) == 1

    async def run() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            for callback in (broken, broken_too):
                assert len((await client.generate("a cat", on_progress=callback)).images) == 1

    asyncio.run(run())
    assert "my own mistake" in caplog.text
    assert len(emu.bill) == 3


def test_a_callback_may_itself_use_the_client(emu: Emulator) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        polled: list[Any] = []

        def poll(progress: Progress) -> None:
            if progress.task is not None:
                polled.append(client.retrieve(progress.task))

        client.generate("a cat", on_progress=poll)
        assert polled


INTERRUPTED = """
import os, signal, sys, threading
from apimaster import APIMaster
signal.signal(signal.SIGINT, signal.default_int_handler)  # also if the shell that started the tests ignores it
client = APIMaster(sys.argv[1], base_url=sys.argv[2])
def note(progress):
    if progress.task is not None and len(seen) < 2:
        seen.append(progress.task.id)
        if len(seen) == 2:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
seen = []
try:
    client.generate("a cat", n=2, on_progress=note)
except KeyboardInterrupt:
    print("stopped", *seen, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_stops_images_that_are_made_side_by_side(emu: Emulator) -> None:
    emu.latency = "manual"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, emu.api_key, emu.base_url], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stopped task_")
    assert done.stderr == ""
    assert time.monotonic() - begun < 10


def test_a_stop_does_not_come_between_a_reply_and_its_record(emu: Emulator) -> None:
    stop, reached = Stop(), []

    def flow() -> Iterator[Any]:
        yield RunBlocking(stop.set)  # a reply arrives, and meanwhile Ctrl-C has stopped the call
        yield Now()
        reached.append("the task is in hand")
        yield RunBlocking(lambda: reached.append("the next operation"))

    with APIMaster(emu.api_key, base_url=emu.base_url) as client, pytest.raises(_Stopped):
        client._driver.run(flow(), stop)  # type: ignore[arg-type]
    assert reached == ["the task is in hand"]
