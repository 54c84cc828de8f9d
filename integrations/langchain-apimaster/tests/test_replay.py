"""A tool call that is made again finds the picture or the task that it bought, and buys nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from langchain_apimaster.records import CallRecord, ImageRecord


def test_a_replay_finds_the_picture(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("generate_image", prompt="a cat", n=2)
    first = tools()["generate_image"].invoke(call)
    for by_name in (tools(), tools(max_images=0)):
        again = by_name["generate_image"].invoke(call)
        assert (again.artifact, again.content) == (first.artifact, first.content)
    assert len(emu.bill.charges) == 2


@pytest.mark.parametrize(
    ("change", "config"),
    [
        ({"args": {"prompt": "a dog"}}, {}),
        ({"id": "call_2"}, {}),
        ({}, {"configurable": {"thread_id": "another"}}),
    ],
)
def test_another_call_buys_a_picture_of_its_own(
    change: dict[str, Any], config: Any, emu: Any, tools: Any, tool_call: Any
) -> None:
    tool = tools()["generate_image"]
    call = tool_call("generate_image", prompt="a cat")
    tool.invoke(call)
    assert tool.invoke({**call, **change}, config).status == "success"
    assert len(emu.bill.charges) == 2


def test_a_replay_of_submit_returns_the_same_task(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("submit_image", prompt="a cat")
    first = tools()["submit_image"].invoke(call)
    assert tools()["submit_image"].invoke(call).artifact["tasks"] == first.artifact["tasks"]
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("name", ["generate_image", "submit_image"])
@pytest.mark.parametrize("fault", ["cut_after_acceptance", "empty_success"])
def test_an_unknown_outcome_stays_unknown(name: str, fault: str, emu: Any, tools: Any, tool_call: Any) -> None:
    emu.script(fault)
    call = tool_call(name, prompt="a cat")
    first = tools()[name].invoke(call)
    again = tools()[name].invoke(call)
    assert first.status == again.status == "error"
    assert first.content == again.content
    assert "Do not try again by yourself" in again.content
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("name", ["generate_image", "submit_image"])
def test_a_process_killed_while_sending_leaves_an_unknown_outcome(
    name: str, emu: Any, tools: Any, tool_call: Any
) -> None:
    call = tool_call(name, prompt="a cat")
    tool = tools()[name]
    keep = tool.context.store.begin_call
    keys = []
    tool.context.store.begin_call = lambda key, record: (keys.append(key), keep(key, record))
    tool.invoke(call)
    tool.context.store.forget_call(keys[0])
    keep(keys[0], CallRecord(tool=name, model="m", image_records=[ImageRecord()]))  # as the killed process left it
    message = tools()[name].invoke(call)
    assert "cut off while its request was on its way" in message.content
    assert "Do not try again by yourself" in message.content
    assert len(emu.bill.charges) == 1


def test_a_call_that_failed_without_a_charge_may_buy_again(emu: Any, tools: Any, tool_call: Any) -> None:
    emu.script("moderation", on="generate")
    emu.script("task_failed")
    call = tool_call("generate_image", prompt="a cat")
    statuses = [tools()["generate_image"].invoke(call).status for _ in range(4)]
    assert statuses == ["error", "error", "success", "success"]
    assert len(emu.bill.standing) == 1


def test_a_replay_continues_a_wait_that_ended(tools: Any, tool_call: Any) -> None:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain", latency="manual") as slow:
        by_name = tools(base_url=slow.base_url, timeout=0.3)
        call = tool_call("generate_image", prompt="a cat", n=2)
        message = by_name["generate_image"].invoke(call)
        assert message.status == "error"
        assert all(job.id in message.content for job in slow.jobs)
        slow.finish(slow.jobs[0].id)
        partly = by_name["generate_image"].invoke(call)
        assert (partly.status, len(partly.artifact["images"])) == ("success", 1)
        assert partly.artifact["failures"][0]["task"] == slow.jobs[1].id
        assert (
            f'It was charged. Collect it later, at no further charge, with get_image(task_id="{slow.jobs[1].id}")'
            in (partly.content)
        )
        slow.finish()
        whole = tools(base_url=slow.base_url)["generate_image"].invoke(call)
        assert (len(whole.artifact["images"]), whole.artifact["failures"]) == (2, [])
        assert len(slow.bill.charges) == 2


def test_a_replay_continues_a_cancelled_wait(tools: Any, tool_call: Any) -> None:
    from apimaster.emulator import Emulator

    async def main() -> Any:
        tool = tools(base_url=slow.base_url)["generate_image"]
        running = asyncio.create_task(tool.ainvoke(call))
        while not any(request.path.startswith("/v1/tasks/") for request in slow.requests):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        slow.finish()
        message = await tool.ainvoke(call)
        await tool.context.aclose()
        return message

    with Emulator(pictures="plain", latency="manual") as slow:
        call = tool_call("generate_image", prompt="a cat")
        assert asyncio.run(main()).status == "success"
        assert len(slow.bill.charges) == 1


def test_two_simultaneous_calls_buy_one_picture(tools: Any, tool_call: Any) -> None:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain", latency="manual") as slow:
        tool = tools(base_url=slow.base_url)["generate_image"]
        call = tool_call("generate_image", prompt="a cat")
        first: list[Any] = []
        thread = threading.Thread(target=lambda: first.append(tool.invoke(call)))
        thread.start()
        while not slow.jobs:
            time.sleep(0.001)
        second = tool.invoke(call)
        assert "this tool call is already running. Nothing was charged." in second.content
        assert "Wait for its result." in second.content
        slow.finish()
        thread.join()
        assert first[0].status == "success"
        assert len(slow.bill.charges) == 1


@pytest.mark.parametrize("dialect", ["submit_as_image", "submit_as_image+b64", "sync_as_task", "legacy+upper_case"])
def test_a_replay_works_in_each_dialect_of_the_gateway(dialect: str, tools: Any, tool_call: Any) -> None:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain", dialect=dialect) as emulator:
        by_name = tools(base_url=emulator.base_url)
        for name, arguments in (("generate_image", {"n": 2}), ("submit_image", {})):
            call = tool_call(name, prompt="a cat", **arguments)
            first, again = by_name[name].invoke(call), tools(base_url=emulator.base_url)[name].invoke(call)
            assert first.status == "success"
            assert first.artifact["images"] == again.artifact["images"]
            if name == "generate_image" or "submit_as_image" in dialect:
                assert len(first.artifact["images"]) == arguments.get("n", 1)
        assert len(emulator.bill.charges) == 3
