"""Each failure becomes a message that says what happened, what it cost, and whether to try again."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

TIMES_OUT = {"timeout": 1.0}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("faults", "options", "words", "charges", "counted"),
    [
        (["moderation"], {}, ["refused by content moderation", "Nothing was charged", "change the prompt"], 0, 0),
        (["bad_request"], {}, ["not accepted", "Nothing was charged", "Correct the request"], 0, 0),
        (["unauthorized"], {}, ["API key is missing or not accepted", "Nothing was charged", "does not help"], 0, 0),
        (["no_balance_402"], {}, ["no balance is left", "Nothing was charged", "tell the user"], 0, 0),
        (["model_forbidden"], {}, ["may not use this model", "Nothing was charged"], 0, 0),
        (["rate_limited_far"], {}, ["Too many requests", "Nothing was charged", "in 86400 seconds is fine"], 0, 0),
        (
            ["task_failed_text"],
            {},
            ["could not be made", "The charge was given back", "Trying once more"],
            1,
            0,
        ),
        (["task_moderated"], {}, ["moderation", "change the prompt"], 1, 0),
        (["cut_after_acceptance"], {}, ["Nobody knows", "may have been charged", "Do not try again by yourself"], 1, 1),
        (["proxy_502_html"], {}, ["Nobody knows", "paid for twice"], 1, 1),
        (["html_200"], {}, ["Nobody knows"], 1, 1),
        (["empty_success"], {}, ["Nobody knows", "may have been charged"], 1, 1),
        (["task_never_ends"], TIMES_OUT, ["not finished yet", "it is paid for", "get_image(task_id="], 1, 1),
    ],
)
def test_what_the_model_reads(
    faults: list[str],
    options: dict[str, Any],
    words: list[str],
    charges: int,
    counted: int,
    is_async: bool,
    emu: Any,
    make_toolkit: Any,
    tool_call: Any,
) -> None:
    emu.script(*faults)
    toolkit = make_toolkit(**options)
    tool = toolkit.get_tools()[0]
    call = tool_call("generate_image", prompt="a cat")
    message = asyncio.run(tool.ainvoke(call)) if is_async else tool.invoke(call)
    assert message.status == "error"
    for each in words:
        assert message.content.count(each) == 1
    assert len(message.content) < 600
    assert emu.api_key not in message.content
    assert len(emu.bill.charges) == charges
    assert toolkit.budget.images == counted
    assert toolkit.budget.spent_usd == Decimal("0.0375") * counted


def test_a_picture_that_cannot_be_fetched_is_collected_later(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    emu.script("download_404", times=None)
    emu.script("download_404", times=None, on="output")
    toolkit = make_toolkit()
    generate, _, _, get = toolkit.get_tools()
    message = generate.invoke(tool_call("generate_image", prompt="a cat"))
    assert message.status == "error"
    task = emu.jobs[0].id
    for words in (
        f"The picture of task {task} was made and could not be downloaded",
        "It was charged.",
        "It has expired: it can't be fetched any more.",
        "Do not ask for the same picture again by yourself: it would be paid for twice.",
    ):
        assert message.content.count(words) == 1
    assert "http" not in message.content.replace("https://example", "")
    emu.clear_script()
    assert get.invoke(tool_call("get_image", task_id=task)).artifact["cost_usd"] == "0.0375"
    assert (len(emu.bill.charges), toolkit.budget.images) == (1, 1)


def test_a_key_that_is_revoked_while_waiting(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    emu.script({"fault": "unauthorized", "on": "poll"})
    toolkit = make_toolkit()
    message = toolkit.get_tools()[0].invoke(tool_call("generate_image", prompt="a cat"))
    (charge,) = emu.bill.charges
    assert message.status == "error"
    for each in ("is paid for", f'get_image(task_id="{charge.job_id}")', "Do not ask for the same picture again"):
        assert each in message.content
    assert "Nothing was charged" not in message.content
    assert toolkit.budget.images == 1


def test_some_of_several_pictures_arrive(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    emu.script("ok", "task_failed", on="task")
    toolkit = make_toolkit()
    message = toolkit.get_tools()[0].invoke(tool_call("generate_image", prompt="a cat", n=3))
    assert message.status == "success"
    assert "One more did not arrive" in message.content
    assert "It was not charged. Trying once more is fine." in message.content
    assert len(message.artifact["images"]) == 2
    assert message.artifact["failures"][0]["billed"] == "no"
    assert (emu.bill.total, toolkit.budget.spent_usd) == (Decimal("0.075"), Decimal("0.075"))


def test_get_image_continues_a_wait_that_ended(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain", latency="manual") as slow:
        toolkit = make_toolkit(base_url=slow.base_url, timeout=0.3)
        generate, _, _, get = toolkit.get_tools()
        assert generate.invoke(tool_call("generate_image", prompt="a cat")).status == "error"
        task = slow.jobs[0].id
        assert f'task_id="{task}"' in get.invoke(tool_call("get_image", task_id=task)).content
        slow.finish()
        assert get.invoke(tool_call("get_image", "call_2", task_id=task)).status == "success"
        assert len(slow.bill.charges) == 1


def test_the_budget_gets_a_failed_task_back(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    emu.script("task_failed")
    toolkit = make_toolkit(max_images=1)
    _, _, submit, get = toolkit.get_tools()
    task = submit.invoke(tool_call("submit_image", prompt="a cat")).artifact["tasks"][0]
    assert toolkit.budget.remaining_images == 0
    for number in range(2):
        message = get.invoke(tool_call("get_image", f"call_{number}", task_id=task))
        assert "The charge was given back" in message.content
    assert (toolkit.budget.remaining_images, toolkit.budget.spent_usd, emu.bill.total) == (1, 0, 0)


def test_the_budget_refuses_each_tool_that_costs(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    toolkit = make_toolkit(budget_usd=0.1)
    generate, edit, submit, _ = toolkit.get_tools()
    assert generate.invoke(tool_call("generate_image", prompt="a cat", n=2)).status == "success"
    for tool, arguments in (
        (generate, {"resolution": "2K"}),
        (submit, {}),
        (edit, {"reference_images": ["https://example.com/a.png"]}),
    ):
        message = tool.invoke(tool_call(tool.name, f"over_{tool.name}", prompt="a dog", **arguments))
        assert message.status == "error"
        assert "budget for pictures does not allow this" in message.content
        assert "Nothing was charged" in message.content
    assert (emu.bill.total, toolkit.budget.spent_usd) == (Decimal("0.075"), Decimal("0.075"))


def test_a_missing_key_shows_at_the_first_call(emu: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_apimaster import APIMasterGenerateImageTool, APIMasterToolkit

    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tool = APIMasterGenerateImageTool(store=tmp_path, base_url=emu.base_url)
    for answer in (tool.invoke("a cat"), asyncio.run(tool.ainvoke("a cat"))):
        assert "API key is missing" in answer
    assert APIMasterToolkit(store=tmp_path, max_images=1).budget.images == 0
    assert tool.context.budget.images == 0


def test_a_store_that_cannot_be_written_costs_nothing(emu: Any, tools: Any, tool_call: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    tool = tools(store=tmp_path / "file" / "store")["generate_image"]
    for call in (tool_call("generate_image", prompt="a cat"), {"prompt": "a cat"}):
        answer = tool.invoke(call)
        content = getattr(answer, "content", answer)
        assert "can't be read" in content or "can't be written" in content
    assert emu.requests == []
    assert tool.context.budget.images == 0


@pytest.mark.parametrize("fault", ["cut_after_acceptance", "proxy_524_empty", "empty_success"])
def test_with_retry_around_a_call_without_an_id_pays_once(fault: str, emu: Any, tools: Any) -> None:
    emu.script(fault)
    tool = tools()["generate_image"].model_copy(update={"handle_tool_error": False})
    with pytest.raises(Exception, match="Do not try again"):
        tool.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke("a cat")
    assert len(emu.bill.charges) == 1
    emu.script(fault)
    with pytest.raises(Exception, match="Do not try again"):
        asyncio.run(tool.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).ainvoke("a cat"))
    assert len(emu.bill.charges) == 2, "a new call is a new call"


def test_with_retry_keeps_waiting_for_a_task_and_repeats_a_free_failure(emu: Any, tools: Any) -> None:
    tool = tools()["generate_image"].model_copy(update={"handle_tool_error": False})
    emu.script("task_failed")
    retrying = tool.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    assert retrying.invoke("a cat").startswith("img_")
    assert (len(emu.bill.charges), len(emu.bill.standing)) == (2, 1)
    emu.script("download_404", times=None)
    emu.script("download_404", times=1, on="output")
    answer = retrying.invoke("a dog")
    assert answer.startswith("img_")
    assert len(emu.bill.standing) == 2
