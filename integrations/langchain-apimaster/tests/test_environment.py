"""A setting of the machine that can't be used: the tool answers as for any failure, and gives its money back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

BROKEN = [
    ("HTTP_PROXY", "nonsense://x"),
    ("http_proxy", "http://[::1"),
    ("HTTP_PROXY", "http://me:hunter2secret@[::1"),
    ("ALL_PROXY", "socks4://127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_the_tool_reports_it_and_keeps_no_money(
    name: str,
    value: str,
    is_async: bool,
    emu: Any,
    make_toolkit: Any,
    tool_call: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)
    toolkit = make_toolkit(max_images=1, budget_usd="0.05")
    tool = toolkit.get_tools()[0]
    call = tool_call("generate_image", prompt="a cat")
    message = asyncio.run(tool.ainvoke(call)) if is_async else tool.invoke(call)
    assert message.status == "error"
    assert "Nothing was charged" in message.content
    assert name in message.content
    assert "hunter2secret" not in message.content
    assert (toolkit.budget.spent_usd, toolkit.budget.images) == (0, 0)
    monkeypatch.delenv(name)
    repaired = make_toolkit(max_images=1, budget_usd="0.05").get_tools()[0]
    assert repaired.invoke(tool_call("generate_image", "call_2", prompt="a cat")).status == "success"
    assert len(emu.bill) == 1
