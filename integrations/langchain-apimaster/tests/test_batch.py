"""``batch`` and its siblings: an error is no result, and the pictures beside it are not lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from langchain_apimaster import ImageToolError

GOOD, REFUSED, INVALID = "a cat", {"prompt": "x", "reference_images": ["/etc/passwd"]}, {"prompt": "x", "n": 9}


def _batch(tool: Any, inputs: list[Any], is_async: bool, **options: Any) -> list[Any]:
    return asyncio.run(tool.abatch(inputs, **options)) if is_async else tool.batch(inputs, **options)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("wrong", "kind"), [(REFUSED, ImageToolError), (INVALID, ValidationError)])
def test_an_error_is_raised(wrong: Any, kind: type[Exception], is_async: bool, emu: Any, tools: Any) -> None:
    tool = tools()["generate_image"]
    for inputs in ([wrong], [GOOD, wrong, GOOD]):
        with pytest.raises(kind):
            _batch(tool, inputs, is_async)
    assert len(emu.bill.charges) == 2
    first, error, last = _batch(tool, [GOOD, wrong, GOOD], is_async, return_exceptions=True)
    assert isinstance(error, kind)
    assert first.startswith("img_")
    assert last.startswith("img_")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_error_holds_what_the_others_brought(is_async: bool, emu: Any, tools: Any) -> None:
    tool = tools()["generate_image"]
    with pytest.raises(ImageToolError, match="passwd") as caught:
        _batch(tool, [GOOD, REFUSED, GOOD], is_async, config={"max_concurrency": 1})
    first, error, last = caught.value.results
    assert error is caught.value
    assert first.startswith("img_")
    assert last.startswith("img_")
    assert len(emu.bill.charges) == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_text_if_it_is_asked_for(is_async: bool, tools: Any) -> None:
    tool = tools()["generate_image"]
    tool.handle_tool_error = True
    tool.handle_validation_error = "no"
    texts = _batch(tool, [REFUSED, INVALID], is_async)
    assert "'/etc/passwd' is not a picture" in texts[0]
    assert texts[1] == "no"


@pytest.mark.parametrize("is_async", [False, True])
def test_tool_calls_get_messages(is_async: bool, tools: Any, tool_call: Any) -> None:
    calls = [tool_call("generate_image", f"call_{at}", **each) for at, each in enumerate((REFUSED, INVALID))]
    messages = _batch(tools()["generate_image"], calls, is_async)
    assert [type(each) for each in messages] == [ToolMessage, ToolMessage]
    assert [each.status for each in messages] == ["error", "error"]


def test_as_completed(tools: Any) -> None:
    tool = tools()["generate_image"]

    async def collect() -> list[Any]:
        return [each async for each in tool.abatch_as_completed([REFUSED], return_exceptions=True)]

    for ((_, error),) in (list(tool.batch_as_completed([REFUSED], return_exceptions=True)), asyncio.run(collect())):
        assert isinstance(error, ImageToolError)
    with pytest.raises(ImageToolError):
        list(tool.batch_as_completed([REFUSED]))


def test_in_a_chain(emu: Any, tools: Any) -> None:
    chain = RunnableLambda(lambda prompt: prompt) | tools()["generate_image"]
    with pytest.raises(ImageToolError):
        chain.batch([REFUSED])
    first, error = chain.batch([GOOD, REFUSED], return_exceptions=True)
    assert first.startswith("img_")
    assert isinstance(error, ImageToolError)
    assert len(emu.bill.charges) == 1
