"""A setting of the machine that can't be used ends as a connection error, and is charged through no entry point."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm import Router

from litellm_apimaster import apimaster_llm

ENTRY_POINTS = ("image_generation", "aimage_generation", "Router.image_generation", "Router.aimage_generation")


def call(entry_point: str, account: dict[str, Any], deployment: dict[str, Any], prompt: str) -> Any:
    method = entry_point.removeprefix("Router.")
    if method == entry_point:
        made = getattr(litellm, method)(**account, prompt=prompt, max_retries=0)
    else:
        router = Router(model_list=[deployment], num_retries=0)
        made = getattr(router, method)(model="image", prompt=prompt)
    return asyncio.run(made) if asyncio.iscoroutine(made) else made


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "nonsense://x"),
        ("ALL_PROXY", "socks4://me:hunter2secret@127.0.0.1:9"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
    ],
)
def test_it_is_named_and_free(
    name: str,
    value: str,
    entry_point: str,
    gateway: Any,
    account: dict[str, Any],
    deploy: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in list(os.environ):
        if each.lower().endswith("_proxy"):
            monkeypatch.delenv(each)
    monkeypatch.setenv(name, value)
    apimaster_llm.close()  # a new client reads the environment
    with pytest.raises(litellm.exceptions.APIConnectionError) as raised:
        call(entry_point, account, deploy(), "a cat")
    assert name in str(raised.value)
    assert "Nothing was charged" in str(raised.value)
    assert "hunter2secret" not in str(raised.value)
    assert gateway.requests == []
    monkeypatch.delenv(name)
    apimaster_llm.close()
    assert len(call(entry_point, account, deploy(), "a cat").data) == 1
    apimaster_llm.close()
    assert len(gateway.bill) == 1
