"""One value for each event loop: made on it, closed with it, whichever loop the owner is closed on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from apimaster import AsyncAPIMaster
from apimaster._transport.per_loop import PerLoop
from apimaster.emulator import Emulator

LONG = 20.0  # seconds: no test waits for it, it only ends one that hangs


class Value:
    """Remembers how it ended, and on which loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = ""
        self.closed_on: asyncio.AbstractEventLoop | None = None
        self.over = threading.Event()

    async def aclose(self) -> None:
        self.ended, self.closed_on = "closed", asyncio.get_running_loop()
        self.over.set()

    def abandon(self) -> None:
        self.ended = "abandoned"
        self.over.set()


@pytest.fixture
def values() -> PerLoop[Value]:
    return PerLoop(Value, close=Value.aclose, abandon=Value.abandon)


class RunningLoop:
    """An event loop that runs in a thread of its own until it is stopped."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, function: Callable[[], object]) -> object:
        done: Future[object] = Future()
        self.loop.call_soon_threadsafe(lambda: done.set_result(function()))
        return done.result(LONG)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LONG)


def test_a_loop_gets_one_value_and_closes_it_when_it_ends(values: PerLoop[Value]) -> None:
    async def twice() -> Value:
        assert values.get() is values.get()
        await asyncio.sleep(0)
        return values.get()

    first, second = asyncio.run(twice()), asyncio.run(twice())
    assert first is not second
    assert [each.ended for each in (first, second)] == ["closed", "closed"]
    assert first.closed_on is first.loop
    assert len(values) == 0


def test_the_owner_closes_the_value_of_a_loop_that_runs_elsewhere_on_that_loop(values: PerLoop[Value]) -> None:
    elsewhere = RunningLoop()
    try:
        other = elsewhere.call(values.get)
        assert isinstance(other, Value)

        async def close() -> Value:
            mine = values.get()
            assert mine is not other
            await values.aclose()
            await values.aclose()
            return mine

        mine = asyncio.run(close())
        assert other.over.wait(LONG)
        assert (mine.ended, other.ended) == ("closed", "closed")
        assert other.closed_on is elsewhere.loop
        assert len(values) == 0
    finally:
        elsewhere.stop()
        elsewhere.loop.close()


def test_a_value_whose_loop_stands_still_is_abandoned(values: PerLoop[Value]) -> None:
    elsewhere = RunningLoop()
    other = elsewhere.call(values.get)
    assert isinstance(other, Value)
    elsewhere.stop()
    asyncio.run(values.aclose())
    assert other.ended == "abandoned"
    elsewhere.loop.close()


def test_a_value_whose_loop_was_closed_without_an_end_is_abandoned_by_the_next(values: PerLoop[Value]) -> None:
    loop = asyncio.new_event_loop()

    async def get() -> Value:
        return values.get()

    left_behind = loop.run_until_complete(get())
    loop.close()  # nobody has closed its asynchronous generators
    assert left_behind.ended == ""
    asyncio.run(get())
    assert left_behind.ended == "abandoned"


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
def test_one_client_serves_two_loops_at_the_same_time(server: Emulator, transport: str) -> None:
    server.reset()
    client = AsyncAPIMaster(server.api_key, base_url=server.base_url, transport=transport)  # type: ignore[arg-type]
    elsewhere = RunningLoop()
    try:

        async def models() -> list[str]:
            there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.models(), elsewhere.loop))
            here, found = await asyncio.gather(client.models(), there)
            await client.aclose()
            return here if here == found else []

        assert asyncio.run(models())
    finally:
        elsewhere.stop()
        elsewhere.loop.run_until_complete(elsewhere.loop.shutdown_asyncgens())
        elsewhere.loop.close()
