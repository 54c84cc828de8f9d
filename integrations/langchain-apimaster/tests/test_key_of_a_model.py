"""One image model has several ids: a call is the same call whichever of them the application names."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from apimaster import APIMaster, ImageRequest
from apimaster.ledger.digest import request_digest

PREVIEW, STABLE, ALIAS = "gemini-3.1-flash-image-preview", "gemini-3.1-flash-image", "nano-banana-2"
IDS = [(PREVIEW, STABLE), (STABLE, PREVIEW), (STABLE, ALIAS), (ALIAS, STABLE)]
CONFIGS = {
    "thread": {"thread_id": "one"},
    "own key": {"idempotency_key": "order-17"},
    "both": {"thread_id": "one", "idempotency_key": "order-17"},
}


def key_of_before(model: str, *facts: Any) -> str:
    """A key as versions made it that took the id of the model for a part of the request."""
    request = request_digest(ImageRequest(prompt="a cat", model=model))
    text = json.dumps(["", *facts, "generate_image", request], separators=(",", ":"))
    return f"langchain-{hashlib.sha256(b'').hexdigest()[:12]}-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


@pytest.mark.parametrize("tool", ["generate_image", "submit_image"])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("ids", IDS, ids=" then ".join)
def test_another_id_of_the_model_buys_nothing(
    ids: tuple[str, str], config: str, tool: str, emu: Any, make_toolkit: Any, tool_call: Any
) -> None:
    found = []
    for model in ids:
        tools = {each.name: each for each in make_toolkit(model=model).get_tools()}
        answer = tools[tool].invoke(tool_call(tool, prompt="a cat"), {"configurable": CONFIGS[config]})
        found.append(answer.artifact["tasks"])
    assert found[0] == found[1]
    assert len(emu.bill.charges) == 1


def test_another_model_buys(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    for model in (PREVIEW, "nano-banana-2.1"):
        tool = make_toolkit(model=model).get_tools()[0]
        tool.invoke(tool_call("generate_image", prompt="a cat"), {"configurable": CONFIGS["both"]})
    assert len(emu.bill.charges) == 2


FACTS = {
    "thread": ("one", None, "call_1", None, None),
    "own key": ("idempotency_key", "order-17", None),
    "both": ("one", None, "call_1", "order-17", None),
}


@pytest.mark.parametrize("before", [PREVIEW, STABLE])
@pytest.mark.parametrize("now", [PREVIEW, STABLE])
@pytest.mark.parametrize("config", CONFIGS)
def test_what_earlier_versions_bought_by_either_id_is_found(
    config: str, now: str, before: str, emu: Any, make_toolkit: Any, tool_call: Any
) -> None:
    toolkit = make_toolkit(model=now)
    with APIMaster(emu.api_key, base_url=emu.base_url, ledger=toolkit.open_ledger) as client:
        key = key_of_before(before, *FACTS[config])
        bought = client.generate("a cat", model=before, idempotency_key=key)
    for _ in range(2):
        answer = toolkit.get_tools()[0].invoke(
            tool_call("generate_image", prompt="a cat"), {"configurable": CONFIGS[config]}
        )
        assert answer.artifact["tasks"] == [bought.tasks[0].id]
        assert answer.artifact["replayed"]
    assert len(emu.bill.charges) == 1
