"""Attempts of one call of LiteLLM: a fallback after a wait that ended joins the purchase, whichever door was used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.llms.custom_llm import CustomLLM

from apimaster.ledger import Ledger
from litellm_apimaster.failure_spend import NAMES_COST_OF_FAILURE

PROMPT = "a red kite"
MESSAGES = [{"role": "user", "content": PROMPT}]
# Longer than the first attempt waits, and shorter than the next one does.
LATENCY, FIRST_WAIT, NEXT_WAIT = 0.6, 0.3, 30


@pytest.fixture(autouse=True)
def ledger(own_ledger: Ledger) -> Ledger:
    return own_ledger


@pytest.fixture
def router(gateway: Any, deploy: Any) -> Router:
    """Its first deployment waits too short a time for a picture; its fallback waits long enough."""
    deployments = [deploy("first", timeout=FIRST_WAIT), deploy("second", timeout=NEXT_WAIT)]
    return Router(model_list=deployments, fallbacks=[{"first": ["second"]}], num_retries=0, disable_cooldowns=True)


def generate(router: Router, **metadata: Any) -> Any:
    return router.image_generation(model="first", prompt=PROMPT, **metadata)


def generate_within_a_loop(router: Router) -> Any:
    async def call() -> Any:
        return router.image_generation(model="first", prompt=PROMPT)

    return asyncio.run(call())


ROUTER_CALLS: dict[str, Callable[[Router, bytes], Any]] = {
    "image_generation": lambda router, png: generate(router),
    "image_generation with metadata": lambda router, png: generate(router, metadata={"tags": ["kites"]}),
    "image_generation within an event loop": lambda router, png: generate_within_a_loop(router),
    "aimage_generation": lambda router, png: asyncio.run(router.aimage_generation(model="first", prompt=PROMPT)),
    "aimage_edit": lambda router, png: asyncio.run(router.aimage_edit(model="first", prompt=PROMPT, image=png)),
    "completion": lambda router, png: router.completion(model="first", messages=MESSAGES),
    "acompletion": lambda router, png: asyncio.run(router.acompletion(model="first", messages=MESSAGES)),
}


@pytest.mark.parametrize("name", ROUTER_CALLS)
def test_a_fallback_of_a_router_joins_what_the_first_attempt_bought(name, router, gateway, ledger, png):
    gateway.latency = LATENCY
    response = ROUTER_CALLS[name](router, png)
    assert response
    assert len(gateway.bill.charges) == 1
    (purchase,) = ledger.purchases()
    assert purchase.joins == 1
    left = 0 if NAMES_COST_OF_FAILURE else 0.0375
    assert response._hidden_params["response_cost"] == left, "the first attempt has reported what it could"


@pytest.mark.parametrize("name", ["image_generation", "aimage_generation", "aimage_edit", "completion", "acompletion"])
def test_the_next_call_of_the_same_router_buys(name, router, gateway, ledger, png):
    gateway.latency = LATENCY
    for _ in range(2):
        assert ROUTER_CALLS[name](router, png)
    assert [purchase.joins for purchase in ledger.purchases()] == [1, 1]
    assert len(gateway.bill.charges) == 2


def test_the_next_call_with_the_same_metadata_buys(router, gateway, ledger):
    """LiteLLM writes its notes into the caller's dictionary, those of failed attempts too."""
    gateway.latency = LATENCY
    metadata: dict[str, Any] = {"tags": ["kites"]}
    first, second = (generate(router, metadata=metadata) for _ in range(2))
    assert first.data[0].url != second.data[0].url
    assert [purchase.joins for purchase in ledger.purchases()] == [1, 1]


class OtherProvider(CustomLLM):
    """A provider that has nothing to offer."""

    def image_generation(self, *args: Any, **kwargs: Any) -> Any:
        raise litellm.ServiceUnavailableError(message="closed", llm_provider="closed", model="closed")


@pytest.mark.parametrize("metadata", [{}, {"metadata": {"tags": ["kites"]}}], ids=["plain", "same metadata"])
def test_a_fallback_from_another_provider_is_a_first_attempt(metadata, gateway, deploy, monkeypatch):
    registered = [*litellm.custom_provider_map, {"provider": "closed", "custom_handler": OtherProvider()}]
    monkeypatch.setattr(litellm, "custom_provider_map", registered)
    litellm.utils.custom_llm_setup()
    closed = {"model_name": "closed", "litellm_params": {"model": "closed/any", "api_key": "made-up"}}
    router = Router(
        model_list=[closed, deploy("image")],
        fallbacks=[{"closed": ["image"]}],
        num_retries=0,
        disable_cooldowns=True,
    )
    urls = {router.image_generation(model="closed", prompt=PROMPT, **metadata).data[0].url for _ in range(3)}
    assert len(urls) == len(gateway.bill.charges) == 3


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
def test_a_fallback_of_a_chat_without_a_router_joins(blocking, account, gateway, ledger):
    gateway.latency = LATENCY
    fallback = {**account, "timeout": NEXT_WAIT}
    arguments = {"messages": MESSAGES, "timeout": FIRST_WAIT, "fallbacks": [fallback], **account}
    response = litellm.completion(**arguments) if blocking else asyncio.run(litellm.acompletion(**arguments))
    assert response.choices[0].message.images
    assert len(gateway.bill.charges) == 1
