"""The cost, to the cent, wherever LiteLLM shows one."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

PRICES = {"0.5K": 0.0375, "1K": 0.0375, "2K": 0.05, "4K": 0.075}
COUNTS = (1, 3)


@pytest.fixture(autouse=True)
def at_once(gateway):
    gateway.dialect = "submit_as_image"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("resolution", PRICES)
def test_a_generation(resolution, count, generate, gateway):
    answer = generate(prompt="a red kite", resolution=resolution, n=count)
    assert answer.cost == pytest.approx(PRICES[resolution] * count, abs=1e-9)
    assert float(gateway.bill.total) == pytest.approx(answer.cost)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("resolution", PRICES)
def test_an_edit(resolution, count, edit, gateway, picture):
    answer = edit(prompt="a red kite", image=picture, resolution=resolution, n=count)
    assert answer.cost == pytest.approx(PRICES[resolution] * count, abs=1e-9)
    assert float(gateway.bill.total) == pytest.approx(answer.cost)


def test_one_failed_image_of_three_costs_nothing_and_is_named(generate, gateway):
    gateway.dialect = "tracked"
    gateway.script("ok", "task_failed_text", on="task")
    answer = generate(prompt="a red kite", n=3, resolution="2K")
    assert len(answer.data) == 2
    assert answer.cost == pytest.approx(0.1)
    assert float(gateway.bill.total) == pytest.approx(0.1)
    failures = json.loads(answer.raw.text)["failures"] if hasattr(answer.raw, "text") else answer.raw.failures
    assert [failure["error"] for failure in failures] == ["GenerationFailedError"]


def test_one_failed_image_of_three_of_an_edit(edit, gateway, picture):
    gateway.dialect = "tracked"
    gateway.script("task_failed", on="task")
    answer = edit(prompt="a red kite", image=picture, n=3)
    assert len(answer.data) == 2
    assert answer.cost == pytest.approx(0.075)


class Ledger(CustomLogger):
    """A success callback. LiteLLM delivers late what earlier tests left, so each call is told by its tag."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, float, Any]] = []

    def note(self, kwargs: dict[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object") or {}
        metadata = (kwargs.get("litellm_params") or {}).get("metadata") or {}
        for tag in metadata.get("tags") or ():
            self.seen.append((tag, kwargs["response_cost"], payload.get("response_cost")))

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.note(kwargs)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.note(kwargs)

    def costs(self, tag: str) -> list[float]:
        return [cost for seen, *costs in self.seen if seen == tag for cost in costs if cost is not None]


@pytest.fixture
def ledger(gateway, monkeypatch):
    made = Ledger()
    monkeypatch.setattr(litellm, "callbacks", [made])
    # LiteLLM 1.80 delivers on the event loop that logged first in this process, and each test runs one of its own.
    for made_there in ("_queue", "_sem", "_worker_task"):
        monkeypatch.setattr(GLOBAL_LOGGING_WORKER, made_there, None)
    return made


CALLS = [
    (action, routed, blocking)
    for action in ("generation", "edit")
    for routed in (True, False)
    for blocking in (True, False)
    if (action, routed, blocking) != ("edit", True, True)  # a Router has no blocking image_edit
]


@pytest.mark.parametrize(("action", "routed", "blocking"), CALLS)
def test_success_callbacks_and_tags(action, routed, blocking, account, deploy, ledger, picture):
    owner: Any = Router(model_list=[deploy()], num_retries=0) if routed else litellm
    call = getattr(owner, f"image_{action}" if blocking else f"aimage_{action}")
    said = {"prompt": "a red kite", "resolution": "4K", "n": 2} | ({"model": "image"} if routed else account)
    if action == "edit":
        said["image"] = picture
    tag = f"{action} {routed} {blocking}"
    if blocking:
        call(metadata={"tags": [tag]}, **said)
        wait(lambda: ledger.costs(tag))
    else:
        asyncio.run(settled(call(metadata={"tags": [tag]}, **said), lambda: ledger.costs(tag)))
    assert ledger.costs(tag)
    assert all(cost == pytest.approx(0.15) for cost in ledger.costs(tag))


def wait(seen: Any) -> None:
    ends = time.monotonic() + 5
    while not seen() and time.monotonic() < ends:
        time.sleep(0.01)


async def settled(call: Any, seen: Any) -> None:
    """LiteLLM's callbacks run in the background of the same loop."""
    await call
    ends = time.monotonic() + 5
    while not seen() and time.monotonic() < ends:
        await asyncio.sleep(0.01)


def test_registered_prices(gateway):
    for name in ("nano-banana-2", "gemini-3.1-flash-image-preview", "gemini-3.1-flash-image"):
        info = litellm.get_model_info(f"apimaster/{name}")
        assert info["mode"] == "image_generation"
        assert info["output_cost_per_image"] == 0.0375
        assert info["litellm_provider"] == "apimaster"


def test_a_router_knows_mode_and_price(deploy):
    made = Router(model_list=[deploy()])
    info = made.get_router_model_info(made.model_list[0], "apimaster/nano-banana-2")
    assert info["mode"] == "image_generation"
    assert info["output_cost_per_image"] == 0.0375


def test_a_model_without_a_price_has_no_figure(account):
    answer = litellm.image_generation(prompt="a red kite", **account | {"model": "apimaster/gpt-image-2"})
    assert not answer._hidden_params["response_cost"]
