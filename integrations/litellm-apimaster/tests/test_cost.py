"""The cost by list prices, wherever LiteLLM reports one."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

PRICES = {"0.5K": 0.0375, "1K": 0.0375, "2K": 0.05, "4K": 0.075}
COUNTS = (1, 3)


@pytest.fixture(autouse=True)
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("resolution", PRICES)
def test_the_cost_of_a_generation(resolution, count, generate, gateway):
    response = generate(prompt="a red kite", resolution=resolution, n=count)
    assert response.cost == pytest.approx(PRICES[resolution] * count, abs=1e-9)
    assert float(gateway.bill.total) == pytest.approx(response.cost)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("resolution", PRICES)
def test_the_cost_of_an_edit(resolution, count, edit, gateway, png):
    response = edit(prompt="a red kite", image=png, resolution=resolution, n=count)
    assert response.cost == pytest.approx(PRICES[resolution] * count, abs=1e-9)
    assert float(gateway.bill.total) == pytest.approx(response.cost)


def test_a_generation_lists_its_failed_image_which_costs_nothing(generate, gateway):
    gateway.dialect = "tracked"
    gateway.script("ok", "task_failed_text", on="task")
    response = generate(prompt="a red kite", n=3, resolution="2K")
    assert len(response.data) == 2
    assert response.cost == pytest.approx(0.1)
    assert float(gateway.bill.total) == pytest.approx(0.1)
    failures = json.loads(response.raw.text)["failures"] if hasattr(response.raw, "text") else response.raw.failures
    assert [failure["error"] for failure in failures] == ["GenerationFailedError"]


def test_the_failed_image_of_an_edit_costs_nothing(edit, gateway, png):
    gateway.dialect = "tracked"
    gateway.script("task_failed", on="task")
    response = edit(prompt="a red kite", image=png, n=3)
    assert len(response.data) == 2
    assert response.cost == pytest.approx(0.075)


class CostRecorder(CustomLogger):
    """A success callback that records costs by tag, since LiteLLM may call it late for the calls of earlier tests."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, float, Any]] = []

    def record(self, kwargs: dict[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object") or {}
        metadata = (kwargs.get("litellm_params") or {}).get("metadata") or {}
        for tag in metadata.get("tags") or ():
            self.records.append((tag, kwargs["response_cost"], payload.get("response_cost")))

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record(kwargs)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record(kwargs)

    def costs(self, tag: str) -> list[float]:
        return [cost for each, *costs in self.records if each == tag for cost in costs if cost is not None]


@pytest.fixture
def recorder(gateway, own_logging_worker, monkeypatch):
    created = CostRecorder()
    monkeypatch.setattr(litellm, "callbacks", [created])
    return created


CALLS = [
    (action, routed, blocking)
    for action in ("generation", "edit")
    for routed in (True, False)
    for blocking in (True, False)
    if (action, routed, blocking) != ("edit", True, True)  # a Router has no blocking image_edit
]


@pytest.mark.parametrize(("action", "routed", "blocking"), CALLS)
def test_success_callbacks_get_cost_and_tags(action, routed, blocking, account, deploy, recorder, png):
    router_or_litellm: Any = Router(model_list=[deploy()], num_retries=0) if routed else litellm
    call = getattr(router_or_litellm, f"image_{action}" if blocking else f"aimage_{action}")
    arguments = {"prompt": "a red kite", "resolution": "4K", "n": 2} | ({"model": "image"} if routed else account)
    if action == "edit":
        arguments["image"] = png
    tag = f"{action} {routed} {blocking}"
    if blocking:
        call(metadata={"tags": [tag]}, **arguments)
        wait_for(lambda: recorder.costs(tag))
    else:
        asyncio.run(await_then_wait_for(call(metadata={"tags": [tag]}, **arguments), lambda: recorder.costs(tag)))
    assert recorder.costs(tag)
    assert all(cost == pytest.approx(0.15) for cost in recorder.costs(tag))


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


async def await_then_wait_for(call: Any, condition: Any) -> None:
    """Await a call, then wait on the same event loop, since LiteLLM runs its callbacks there in the background."""
    await call
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


def test_litellm_knows_mode_and_price(gateway):
    for name in ("nano-banana-2", "gemini-3.1-flash-image-preview", "gemini-3.1-flash-image"):
        info = litellm.get_model_info(f"apimaster/{name}")
        assert info["mode"] == "image_generation"
        assert info["output_cost_per_image"] == 0.0375
        assert info["litellm_provider"] == "apimaster"


def test_a_router_knows_mode_and_price(deploy):
    router = Router(model_list=[deploy()])
    info = router.get_router_model_info(router.model_list[0], "apimaster/nano-banana-2")
    assert info["mode"] == "image_generation"
    assert info["output_cost_per_image"] == 0.0375


def test_a_model_without_a_published_price_has_no_cost(account):
    response = litellm.image_generation(prompt="a red kite", **account | {"model": "apimaster/gpt-image-2"})
    assert not response._hidden_params["response_cost"]
