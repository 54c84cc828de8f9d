"""What LiteLLM's callbacks learn of a call: provider, model and group of every kind of call."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger


class Events(CustomLogger):
    """The arguments of success events, by the tag of the call: LiteLLM may report calls of earlier tests late."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, Any]] = {}

    def record(self, kwargs: dict[str, Any]) -> None:
        params = kwargs.get("litellm_params") or {}
        for place in ("metadata", "litellm_metadata"):
            for tag in (params.get(place) or {}).get("tags") or ():
                self.found[tag] = copy.copy(kwargs)

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record(kwargs)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record(kwargs)


@pytest.fixture
def events(gateway: Any, own_logging_worker: None, monkeypatch: pytest.MonkeyPatch) -> Events:
    created = Events()
    monkeypatch.setattr(litellm, "callbacks", [created])
    return created


def event_of(events: Events, tag: str, call: Any) -> dict[str, Any]:
    """The event of an asynchronous call, which LiteLLM reports on the loop, in the background."""

    async def until_reported() -> None:
        while tag not in events.found:
            await asyncio.sleep(0.01)

    async def await_and_wait() -> None:
        await call()
        await asyncio.wait_for(until_reported(), 5)

    asyncio.run(await_and_wait())
    return events.found[tag]


@pytest.mark.parametrize("routed", [False, True], ids=["function", "router"])
@pytest.mark.parametrize("action", ["generation", "edit"])
def test_an_event_names_provider_model_and_group(action, routed, account, deploy, events, png):
    tag = f"names {action} {routed}"
    source: Any = Router(model_list=[deploy()], num_retries=0) if routed else litellm
    arguments = {"prompt": "a red kite", "metadata": {"tags": [tag]}} | ({"model": "image"} if routed else account)
    if action == "edit":
        arguments["image"] = png
    event = event_of(events, tag, lambda: getattr(source, f"aimage_{action}")(**arguments))
    payload = event["standard_logging_object"]
    seen = {
        "model": event["model"],
        "provider": event["custom_llm_provider"],
        "logged model": payload["model"].removeprefix("apimaster/"),
        "logged provider": payload["custom_llm_provider"],
        "group": payload["model_group"] or "",
        "deployment": bool(payload["model_id"]),
    }
    assert seen == {
        "model": "nano-banana-2",
        "provider": "apimaster",
        "logged model": "nano-banana-2",
        "logged provider": "apimaster",
        "group": "image" if routed else "",
        "deployment": routed,
    }
