"""A tool call that is made again finds the picture or the task that it bought, and buys nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tracers import BaseTracer

from apimaster.emulator import Emulator

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}
BEFORE = "This was made before, and is not paid for again."


def test_a_replay_finds_the_picture(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("generate_image", prompt="a cat", n=2)
    first = tools()["generate_image"].invoke(call, THREAD)
    assert BEFORE not in first.content
    for by_name in (tools(), tools(max_images=0)):
        again = by_name["generate_image"].invoke(call, THREAD)
        assert again.artifact == first.artifact | {"replayed": True, "cost_usd": "0"}
        assert BEFORE in again.content
    assert len(emu.bill.charges) == 2
    assert len(emu.requests_to("download")) == 2


@pytest.mark.parametrize(
    ("change", "configurable", "options"),
    [
        ({"args": {"prompt": "a dog"}}, {}, {}),
        ({"args": {"prompt": "a cat", "resolution": "2K"}}, {}, {}),
        ({"args": {"prompt": "a cat", "n": 2}}, {}, {}),
        ({"id": "call_2"}, {}, {}),
        ({}, {"thread_id": "another"}, {}),
        ({}, {"idempotency_key": "order-1"}, {}),
        ({}, {"apimaster_fresh": "again"}, {}),
        ({}, {}, {"namespace": "tenant"}),
        ({}, {}, {"model": "gemini-nano-banana-2.1"}),
        ({}, {}, {"defaults": {"aspect_ratio": "16:9"}}),
    ],
)
def test_another_call_buys_a_picture_of_its_own(
    change: Any, configurable: Any, options: Any, emu: Any, tools: Any, tool_call: Any
) -> None:
    call = tool_call("generate_image", prompt="a cat")
    first = tools()["generate_image"].invoke(call, THREAD)
    config = {"configurable": THREAD["configurable"] | configurable}
    bought = []
    for _ in range(2):  # the second time it is a replay of its own
        message = tools(**options)["generate_image"].invoke({**call, **change}, config)
        bought.append([image["id"] for image in message.artifact["images"]])
    assert bought[0] == bought[1]
    assert first.artifact["images"][0]["id"] not in bought[0]
    assert len(emu.bill.charges) == 1 + len(bought[0])


@pytest.mark.parametrize("spelling", [{"resolution": "1k"}, {"aspect_ratio": "auto"}, {"n": 1}, {"aspect_ratio": None}])
def test_a_default_that_is_written_out_makes_no_other_call(spelling: Any, emu: Any, tools: Any, tool_call: Any) -> None:
    tool = tools()["generate_image"]
    for arguments in ({}, spelling):
        assert tool.invoke(tool_call("generate_image", prompt="a cat", **arguments), THREAD).status == "success"
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize(
    ("call_id", "configurable"),
    [
        ("call_0", {}),
        ("call_0", {"thread_id": ""}),
        ("call_0", {"idempotency_key": ""}),
        ("", {"thread_id": "thread-1"}),
    ],
)
def test_a_call_that_is_not_known_well_enough_buys_each_time(
    call_id: str, configurable: Any, emu: Any, tools: Any, tool_call: Any
) -> None:
    call = tool_call("generate_image", call_id, prompt="a cat")
    messages = [tools()["generate_image"].invoke(call, {"configurable": configurable}) for _ in range(2)]
    assert len({message.artifact["images"][0]["id"] for message in messages}) == 2
    assert len(emu.bill.charges) == 2


def test_such_a_call_is_in_the_ledger_and_in_its_budget(emu: Any, make_toolkit: Any) -> None:
    toolkit = make_toolkit(max_images=2)
    generate, _, submit, _ = toolkit.get_tools()
    generate.invoke("a cat")
    submit.invoke("a dog")
    assert [purchase.state for purchase in toolkit.open_ledger.purchases()] == ["saved", "submitted"]
    assert toolkit.budget.remaining_images == 0


def test_a_key_of_the_applications_is_enough(emu: Any, tools: Any, tool_call: Any) -> None:
    config: Any = {"configurable": {"idempotency_key": "order-17"}}
    first = tools()["generate_image"].invoke({"prompt": "a cat"}, config)
    again = tools()["generate_image"].invoke({"prompt": "a cat"}, config)
    assert again.replace(f"{BEFORE}\n", "") == first
    assert tools()["generate_image"].invoke({"prompt": "a dog"}, config) != first
    assert len(emu.bill.charges) == 2


def test_a_reference_counts_by_its_bytes(emu: Any, tools: Any, tool_call: Any, tmp_path: Path, png: bytes) -> None:
    (tmp_path / "cat.png").write_bytes(png)
    (tmp_path / "copy.png").write_bytes(png)
    tool = tools(allow_files_under=tmp_path)["edit_image"]

    def edit(name: str) -> Any:
        return tool.invoke(tool_call("edit_image", prompt="make it blue", reference_images=[name]), THREAD).artifact

    first = edit("cat.png")
    assert edit("copy.png")["images"] == first["images"]
    picture = Path(first["images"][0]["path"])
    (tmp_path / "cat.png").write_bytes(picture.read_bytes())
    second = edit("cat.png")
    assert second["images"] != first["images"]
    assert edit(first["images"][0]["id"])["images"] == second["images"]
    assert len(emu.bill.charges) == 2


def test_a_replay_of_submit_returns_the_same_task(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("submit_image", prompt="a cat")
    first = tools()["submit_image"].invoke(call, THREAD)
    again = tools()["submit_image"].invoke(call, THREAD)
    assert again.artifact == first.artifact | {"replayed": True}
    assert again.content == f"This was started before, and is not paid for again. {first.content}"
    collected = tools()["get_image"].invoke(tool_call("get_image", task_id=first.artifact["tasks"][0]))
    assert (collected.artifact["cost_usd"], collected.artifact["replayed"]) == ("0.0375", False)
    late = tools()["submit_image"].invoke(call, THREAD)
    assert late.artifact == collected.artifact | {"replayed": True, "cost_usd": "0"}
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("name", ["generate_image", "submit_image"])
@pytest.mark.parametrize("fault", ["cut_after_acceptance", "empty_success"])
def test_an_unknown_outcome_stays_unknown(name: str, fault: str, emu: Any, tools: Any, tool_call: Any) -> None:
    emu.script(fault)
    call = tool_call(name, prompt="a cat")
    for _ in range(3):
        message = tools()[name].invoke(call, THREAD)
        assert message.status == "error"
        assert "Do not try again by yourself" in message.content
        assert message.content.count("Nobody knows") == 1
    assert len(emu.bill.charges) == 1


def test_a_call_that_failed_without_a_charge_may_buy_again(emu: Any, tools: Any, tool_call: Any) -> None:
    emu.script("moderation", on="generate")
    emu.script("task_failed")
    call = tool_call("generate_image", prompt="a cat")
    statuses = [tools()["generate_image"].invoke(call, THREAD).status for _ in range(4)]
    assert statuses == ["error", "error", "success", "success"]
    assert len(emu.bill.standing) == 1


def test_a_replay_continues_a_wait_that_ended(tools: Any, tool_call: Any) -> None:
    with Emulator(pictures="plain", latency="manual") as slow:
        by_name = tools(base_url=slow.base_url, timeout=0.5)
        call = tool_call("generate_image", prompt="a cat", n=2)
        message = by_name["generate_image"].invoke(call, THREAD)
        assert message.status == "error"
        assert all(job.id in message.content for job in slow.jobs)
        slow.finish(slow.jobs[0].id)
        partly = by_name["generate_image"].invoke(call, THREAD)
        assert (partly.status, len(partly.artifact["images"])) == ("success", 1)
        assert partly.artifact["failures"][0]["task"] == slow.jobs[1].id
        assert (
            f'It was charged. Collect it later, at no further charge, with get_image(task_id="{slow.jobs[1].id}")'
            in (partly.content)
        )
        slow.finish()
        whole = tools(base_url=slow.base_url)["generate_image"].invoke(call, THREAD)
        assert (len(whole.artifact["images"]), whole.artifact["failures"]) == (2, [])
        costs = [Decimal(message.artifact["cost_usd"]) for message in (partly, whole)]
        assert sum(costs) == slow.bill.total == Decimal("0.075")


def test_a_replay_continues_a_cancelled_wait(tools: Any, tool_call: Any) -> None:
    async def main() -> Any:
        tool = tools(base_url=slow.base_url)["generate_image"]
        running = asyncio.create_task(tool.ainvoke(call, THREAD))
        while not any(request.path.startswith("/v1/tasks/") for request in slow.requests):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        slow.finish()
        message = await tool.ainvoke(call, THREAD)
        await tool.context.aclose()
        return message

    with Emulator(pictures="plain", latency="manual") as slow:
        call = tool_call("generate_image", prompt="a cat")
        assert asyncio.run(main()).status == "success"
        assert len(slow.bill.charges) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_the_second_of_two_simultaneous_calls_waits_for_the_first(
    is_async: bool, tools: Any, make_toolkit: Any, tool_call: Any
) -> None:
    """LangGraph's platform dispatches a call again if it runs for minutes: the first one is still at work then."""

    def draw() -> None:
        tool = tools(base_url=slow.base_url)["generate_image"]
        messages.append(asyncio.run(tool.ainvoke(call, THREAD)) if is_async else tool.invoke(call, THREAD))

    messages: list[Any] = []
    with Emulator(pictures="plain", latency="manual") as slow:
        call = tool_call("generate_image", prompt="a cat")
        threads = [threading.Thread(target=draw) for _ in range(2)]
        for thread in threads:
            thread.start()
        ledger = make_toolkit().open_ledger
        while not any(purchase.joins for purchase in ledger.purchases()):
            time.sleep(0.001)
        slow.finish()
        for thread in threads:
            thread.join()
        first, second = sorted((message.artifact for message in messages), key=lambda each: each["replayed"])
        assert second == first | {"replayed": True, "cost_usd": second["cost_usd"]}
        assert {first["cost_usd"], second["cost_usd"]} == {"0.0375", "0"}, "whoever has the picture first reports it"
        assert len(slow.bill.charges) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_two_calls_that_collect_one_task_report_its_cost_once(is_async: bool, tools: Any, tool_call: Any) -> None:
    def collect() -> None:
        tool = tools(base_url=slow.base_url)["get_image"]
        call = tool_call("get_image", task_id=task)
        messages.append(asyncio.run(tool.ainvoke(call)) if is_async else tool.invoke(call))

    messages: list[Any] = []
    with Emulator(pictures="plain", latency="manual") as slow:
        submitted = tools(base_url=slow.base_url)["submit_image"].invoke(tool_call("submit_image", prompt="a cat"))
        assert submitted.artifact["cost_usd"] is None, "whoever brings the picture reports it"
        (task,) = submitted.artifact["tasks"]
        threads = [threading.Thread(target=collect) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(slow.requests_to("poll")) < 3:
            time.sleep(0.001)
        slow.finish()
        for thread in threads:
            thread.join()
        collect()
        assert sorted(message.artifact["cost_usd"] for message in messages) == ["0", "0", "0", "0.0375"]
        assert len(slow.bill.charges) == 1


def test_a_call_whose_time_runs_out_while_another_one_buys(tools: Any, tool_call: Any) -> None:
    with Emulator(pictures="plain", latency="manual", dialect="no_async") as slow:
        tool = tools(base_url=slow.base_url)["generate_image"]
        call = tool_call("generate_image", prompt="a cat")
        first = threading.Thread(target=tool.invoke, args=(call, THREAD))
        first.start()
        while not slow.jobs:
            time.sleep(0.001)
        message = tools(base_url=slow.base_url, timeout=0.2)["generate_image"].invoke(call, THREAD)
        assert "Another run of this tool call is making the picture" in message.content
        slow.finish()
        first.join()
        assert len(slow.bill.charges) == 1


@pytest.mark.parametrize(
    "dialect", ["submit_as_image", "submit_as_image+b64", "sync_as_task", "legacy+upper_case", "no_async+b64"]
)
@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_replay_works_in_each_dialect_of_the_gateway(
    dialect: str, where: str, tools: Any, tool_call: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store" if where == "folder" else f"memory://{tmp_path.name}/store"
    with Emulator(pictures="plain", dialect=dialect) as emulator:
        options = {"base_url": emulator.base_url, "store": store}
        by_name = tools(**options)
        bought: list[tuple[str, dict[str, int]]] = [("generate_image", {"n": 2}), ("submit_image", {})]
        if "no_async" in dialect:
            bought.pop()
        for name, arguments in bought:
            call = tool_call(name, prompt="a cat", **arguments)
            first, again = by_name[name].invoke(call, THREAD), tools(**options)[name].invoke(call, THREAD)
            assert first.status == "success"
            assert first.artifact["images"] == again.artifact["images"]
            assert (first.artifact["replayed"], again.artifact["replayed"]) == (False, True)
            if name == "generate_image" or "submit_as_image" in dialect:
                assert len(first.artifact["images"]) == arguments.get("n", 1)
                assert again.artifact["cost_usd"] == "0"
        assert len(emulator.bill.charges) == 1 + len(bought)
        assert len({image["id"] for image in first.artifact["images"]}) == len(first.artifact["images"])


# --- a picture whose file is gone -------------------------------------------------------------------------


def lose(image: dict[str, Any]) -> None:
    if "://" in image["path"]:
        import fsspec

        files, path = fsspec.core.url_to_fs(image["path"])
        files.rm_file(path)
    else:
        Path(image["path"]).unlink()


@pytest.mark.parametrize("where", ["folder", "memory"])
@pytest.mark.parametrize("name", ["generate_image", "get_image", "submit_image"])
def test_it_is_fetched_again(
    name: str, where: str, emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store" if where == "folder" else f"memory://{tmp_path.name}/store"
    toolkit = make_toolkit(store=store)
    by_name = {tool.name: tool for tool in toolkit.get_tools()}
    buy = "generate_image" if name == "generate_image" else "submit_image"
    call = tool_call(buy, prompt="a cat")
    bought = by_name[buy].invoke(call, THREAD)
    collect = tool_call("get_image", "call_2", task_id=bought.artifact["tasks"][0])
    first = by_name["get_image"].invoke(collect)
    (image,) = first.artifact["images"]
    lose(image)
    again = by_name[name].invoke(collect if name == "get_image" else call, THREAD)
    assert again.artifact["images"] == [image]
    assert (again.artifact["replayed"], again.artifact["cost_usd"]) == (True, "0")
    assert toolkit.read(image["id"])[:4] == b"\x89PNG"
    assert len(emu.bill.charges) == 1


def test_an_empty_file_is_no_picture(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    """A power failure leaves one, where the picture was not on the disk yet."""
    toolkit = make_toolkit()
    by_name = {tool.name: tool for tool in toolkit.get_tools()}
    call = tool_call("generate_image", prompt="a cat")
    (image,) = by_name["generate_image"].invoke(call, THREAD).artifact["images"]
    Path(image["path"]).write_bytes(b"")
    (again,) = by_name["generate_image"].invoke(call, THREAD).artifact["images"]
    assert again["id"] == image["id"]
    assert Path(again["path"]).read_bytes()[:4] == b"\x89PNG"
    assert toolkit.read(image["id"])[:4] == b"\x89PNG"
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("name", ["generate_image", "get_image"])
def test_a_picture_that_has_expired_says_so(name: str, emu: Any, tools: Any, tool_call: Any) -> None:
    by_name = tools()
    call = tool_call("generate_image", prompt="a cat")
    first = by_name["generate_image"].invoke(call, THREAD)
    if name == "get_image":
        call = tool_call("get_image", "call_2", task_id=first.artifact["tasks"][0])
    emu.script("download_404", times=None)
    emu.script("download_404", times=None, on="output")
    assert by_name[name].invoke(call, THREAD).status == "success", "the file is there"
    lose(first.artifact["images"][0])
    message = by_name[name].invoke(call, THREAD)
    assert message.status == "error"
    assert "It has expired: it can't be fetched any more." in message.content
    assert message.artifact is None
    assert len(emu.bill.charges) == 1


def test_a_task_that_the_gateway_has_forgotten(tools: Any, tool_call: Any) -> None:
    with Emulator(pictures="plain") as first, Emulator(pictures="plain") as second:
        made = tools(base_url=first.base_url)["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
        lose(made.artifact["images"][0])
        get = tools(base_url=second.base_url)["get_image"]
        message = get.invoke(tool_call("get_image", task_id=made.artifact["tasks"][0]))
        assert "Its file is gone, and the gateway has it no longer." in message.content
        assert "It has expired" in message.content


def test_a_damaged_record_of_a_picture_is_made_anew(
    emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    toolkit = make_toolkit()
    generate, _, _, get = toolkit.get_tools()
    call = tool_call("generate_image", prompt="a cat")
    first = generate.invoke(call, THREAD)
    (image,) = first.artifact["images"]
    collect = tool_call("get_image", "call_2", task_id=first.artifact["tasks"][0])
    for tool, again in ((generate, call), (get, collect)):
        (tmp_path / "store" / ".apimaster" / "images" / f"{image['id']}.json").write_text("{")
        found = tool.invoke(again, THREAD).artifact
        assert (found["images"], found["cost_usd"], found["replayed"]) == ([image], "0", True)
    assert len(emu.bill.charges) == 1


def test_a_store_that_was_moved(emu: Any, tools: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path) -> None:
    call = tool_call("generate_image", prompt="a cat")
    toolkit = make_toolkit()
    first = toolkit.get_tools()[0].invoke(call, THREAD)
    toolkit.open_ledger.close()
    (tmp_path / "store").rename(tmp_path / "moved")
    by_name = tools(store=tmp_path / "moved")
    get = tool_call("get_image", "call_2", task_id=first.artifact["tasks"][0])
    for message in (by_name["get_image"].invoke(get), by_name["generate_image"].invoke(call, THREAD)):
        (image,) = message.artifact["images"]
        assert Path(image["path"]) == tmp_path / "moved" / Path(first.artifact["images"][0]["path"]).name
        assert Path(image["path"]).exists()
    assert len(emu.bill.charges) == 1


# --- what is reported -------------------------------------------------------------------------------------


class Tracer(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.ended.append(run.extra["metadata"])


@pytest.mark.parametrize("is_async", [False, True])
def test_a_replay_adds_nothing_to_traced_cost(is_async: bool, emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    tracer = Tracer()
    config: Any = {"callbacks": [tracer], **THREAD}
    toolkit = make_toolkit()
    generate, _, submit, get = toolkit.get_tools()
    calls = [
        (generate, tool_call("generate_image", prompt="a cat", n=2)),
        (submit, tool_call("submit_image", "call_2", prompt="a dog", resolution="2K")),
    ]
    for tool, call in 2 * calls:
        message = asyncio.run(tool.ainvoke(call, config)) if is_async else tool.invoke(call, config)
    for _ in range(2):
        get.invoke(tool_call("get_image", "call_3", task_id=message.artifact["tasks"][0]), config)
    for tool, call in calls:
        tool.invoke(call, config)
    costs = [Decimal(run["apimaster_cost_usd"] or 0) for run in tracer.ended]
    assert len(costs) == 8
    assert sum(costs) == emu.bill.total == toolkit.budget.spent_usd == Decimal("0.125")
    assert [run["apimaster_replayed"] for run in tracer.ended] == [False, False, True, True, False, True, True, True]


# --- tenants ----------------------------------------------------------------------------------------------


def test_a_tenant_sees_no_picture_and_no_task_of_another(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    tenants = {name: make_toolkit(namespace=name) for name in ("", "one", "two")}
    made = {}
    for name, toolkit in tenants.items():
        generate, _, submit, _ = toolkit.get_tools()
        picture = generate.invoke(tool_call("generate_image", prompt="a cat"), THREAD)
        task = submit.invoke(tool_call("submit_image", prompt="a cat"), THREAD)
        made[name] = (picture.artifact["images"][0]["id"], picture.artifact["tasks"][0], task.artifact["tasks"][0])
    assert len(emu.bill.charges) == 6
    for name, toolkit in tenants.items():
        _, edit, _, get = toolkit.get_tools()
        for other, (picture, *tasks) in made.items():
            expected = "success" if other == name else "error"
            assert [get.invoke(tool_call("get_image", task_id=task)).status for task in tasks] == [expected] * 2
            call = tool_call("edit_image", prompt="blue", reference_images=[picture])
            assert edit.invoke(call, THREAD).status == expected
            if other != name:
                with pytest.raises(KeyError):
                    toolkit.image(picture)
    assert len(emu.bill.charges) == 9
    tenants["one"].open_ledger.prune(0)
    mine, theirs = (tool_call("get_image", task_id=made[name][1]) for name in ("one", "two"))
    assert [tenants["one"].get_tools()[-1].invoke(call).status for call in (mine, theirs)] == ["success", "error"]


def test_a_tenant_collects_no_task_that_nobody_knows(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    from apimaster import APIMaster

    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        task = client.submit("a secret").id
    call = tool_call("get_image", task_id=task)
    refused = make_toolkit(namespace="one").get_tools()[-1].invoke(call)
    assert f"There is no task {task} here." in refused.content
    assert make_toolkit().get_tools()[-1].invoke(call).status == "success"


@pytest.mark.parametrize("buy", ["generate_image", "submit_image"])
@pytest.mark.parametrize("where", ["folder", "elsewhere"])
def test_a_pruned_ledger_gives_no_task_of_a_tenant_away(
    buy: str, where: str, emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store" if where == "folder" else f"memory://{tmp_path.name}/store"
    alice = make_toolkit(namespace="alice", store=store)
    by_name = {tool.name: tool for tool in alice.get_tools()}
    (task,) = by_name[buy].invoke(tool_call(buy, prompt="a secret"), THREAD).artifact["tasks"]
    call = tool_call("get_image", task_id=task)
    (image,) = by_name["get_image"].invoke(call).artifact["images"]
    assert alice.open_ledger.prune(0) == 1
    for namespace in ("", "bob"):
        refused = make_toolkit(namespace=namespace, store=store).get_tools()[-1].invoke(call)
        assert f"There is no task {task} here." in refused.content
        assert refused.artifact is None
    lose(image)
    assert by_name["get_image"].invoke(call).artifact["images"] == [image], "alice has it still"
    assert len(emu.bill.charges) == 1


def test_the_owner_of_a_task_is_known_without_records(
    emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    """Neither the ledger nor the namespace's folder says any more whose task it was."""
    alice = make_toolkit(namespace="alice")
    made = alice.get_tools()[0].invoke(tool_call("generate_image", prompt="a secret"), THREAD)
    call = tool_call("get_image", task_id=made.artifact["tasks"][0])
    alice.open_ledger.prune(0)
    for record in (tmp_path / "store").glob("alice-*/.apimaster/images/*"):
        record.unlink()
    answers = {name: make_toolkit(namespace=name).get_tools()[-1].invoke(call).status for name in ("", "bob", "alice")}
    assert answers == {"": "error", "bob": "error", "alice": "success"}
    (owner,) = (tmp_path / "store" / ".apimaster" / "owners").iterdir()
    owner.write_text("{")
    assert make_toolkit().get_tools()[-1].invoke(call).status == "error", "half a record names an owner, too"
