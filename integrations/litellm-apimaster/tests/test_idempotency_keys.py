"""One idempotency key: one charge and one picture, whichever model, deployment or fallback a call is sent to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import litellm
import openai
import pytest
from litellm import Router

from apimaster.ledger import Ledger
from litellm_apimaster import OutcomeUnknown, WaitTimeout, provider

MODEL = "apimaster/nano-banana-2"
OTHER = "apimaster/gpt-image-2"
KEY = {"prompt": "a red kite", "idempotency_key": "order 17"}
FREE, UNKNOWN = "unavailable_503", "proxy_504_html"
JOINED, BOUGHT = "joined", "bought"
WAITED = "the task goes on"

# case: the fault of the first call, the model of the second one, and what becomes of that
CHAINS: dict[str, tuple[str | None, str, str]] = {
    "after a picture, the same model": (None, MODEL, JOINED),
    "after a picture, another model": (None, OTHER, JOINED),
    "after a fault that cost nothing, the same model": (FREE, MODEL, BOUGHT),
    "after a fault that cost nothing, another model": (FREE, OTHER, BOUGHT),
    "after a wait that ended, the same model": (WAITED, MODEL, JOINED),
    "after a wait that ended, another model": (WAITED, OTHER, JOINED),
    "after an unknown outcome, the same model": (UNKNOWN, MODEL, UNKNOWN),
    "after an unknown outcome, another model": (UNKNOWN, OTHER, UNKNOWN),
}


@pytest.fixture(autouse=True)
def ledger(own_ledger: Ledger) -> Ledger:
    return own_ledger


def call_blocking(**arguments: Any) -> Any:
    return litellm.image_generation(**arguments)


def call_async(**arguments: Any) -> Any:
    return asyncio.run(litellm.aimage_generation(**arguments))


def url_of(response: Any) -> str:
    return str(response.data[0].url)


def cost_of(response: Any) -> Any:
    return response._hidden_params["response_cost"]


@pytest.mark.parametrize("call", [call_blocking, call_async])
@pytest.mark.parametrize("case", CHAINS)
def test_a_second_call_with_the_key(case: str, call: Callable[..., Any], account: Any, gateway: Any, purchases: Any):
    fault, model, outcome = CHAINS[case]
    first = None
    if fault is None:
        first = call(**account, **KEY)
    elif fault == WAITED:
        gateway.latency = "manual"
        with pytest.raises(WaitTimeout):
            call(timeout=0.4, **account, **KEY)
        gateway.finish()
    else:
        gateway.script(fault)
        with pytest.raises(openai.APIError):
            call(max_retries=0, **account, **KEY)
    arguments = {**account, **KEY, "model": model}
    if outcome == UNKNOWN:
        with pytest.raises(OutcomeUnknown, match="may have been charged"):
            call(**arguments)
    else:
        second = call(**arguments)
        assert first is None or (url_of(second), cost_of(second)) == (url_of(first), 0)
    assert len(purchases()) == (2 if outcome == BOUGHT else 1)
    assert len(gateway.bill.charges) == 1


@pytest.mark.parametrize("fault", [FREE, UNKNOWN])
def test_a_fallback_to_another_model_and_other_defaults(fault: str, deploy: Any, gateway: Any, ledger: Ledger):
    models = [deploy(resolution="2K"), deploy("other", model=OTHER, key="sk-second")]
    router = Router(model_list=models, num_retries=0, fallbacks=[{"image": ["other"]}], disable_cooldowns=True)
    gateway.script(fault)

    def ask() -> Any:
        return asyncio.run(router.aimage_generation(model="image", max_retries=0, **KEY))

    if fault == UNKNOWN:
        with pytest.raises(openai.APIError, match="may have been charged"):
            ask()
    else:
        first, again = ask(), ask()  # the second call asks the first model, and joins what the other one has drawn
        assert url_of(again) == url_of(first)
        (purchase,) = ledger.purchases()
        assert (purchase.request.model, purchase.joins) == ("gpt-image-2", 1)
    assert len(gateway.bill.charges) == 1


DEFAULTS_AND_CALLS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "the first has it": ({"aspect_ratio": "16:9"}, {}, {"aspect_ratio": "16:9"}),
    "the second has it": ({}, {"aspect_ratio": "16:9"}, {"aspect_ratio": "16:9"}),
    "the second has another one": ({"aspect_ratio": "16:9"}, {"aspect_ratio": "1:1"}, {"aspect_ratio": "16:9"}),
    "in extra_body": ({"extra_body": {"resolution": "2K"}}, {}, {"extra_body": {"resolution": "2K"}}),
    "references": ({"image_urls": ["https://example.org/a.png"]}, {}, {}),
}


@pytest.mark.parametrize("case", DEFAULTS_AND_CALLS)
def test_a_fallback_of_a_call_that_says_what_a_deployment_has_by_default(
    case: str, deploy: Any, gateway: Any, ledger: Ledger
):
    first, second, call = DEFAULTS_AND_CALLS[case]
    deployments = [deploy("first", **first), deploy("second", **second)]
    router = Router(model_list=deployments, fallbacks=[{"first": ["second"]}], num_retries=0, disable_cooldowns=True)
    other = Router(model_list=deployments[:1])  # its deployment has the same id
    gateway.script("unavailable_503")
    asked = {"prompt": "a red kite", "idempotency_key": "k", **call}
    urls = {router.image_generation(model=name, **asked).data[0].url for name in ("first", "second", "first")}
    assert len(urls) == len(gateway.bill.charges) == 1
    del other


def test_two_calls_at_once_through_two_deployments_of_different_models(deploy, gateway, monkeypatch):
    """Both have looked for an earlier purchase, and found none, before either of them buys."""
    both_planned = threading.Barrier(2, timeout=30)
    plan_purchase = provider.plan_purchase

    def plan_and_wait(*args: Any, **options: Any) -> Any:
        plan = plan_purchase(*args, **options)
        both_planned.wait()
        return plan

    monkeypatch.setattr(provider, "plan_purchase", plan_and_wait)
    router = Router(model_list=[deploy(), deploy("other", model=OTHER, resolution="2K")], num_retries=0)

    async def ask_both() -> list[Any]:
        return await asyncio.gather(*(router.aimage_generation(model=group, **KEY) for group in ("image", "other")))

    first, second = asyncio.run(ask_both())
    assert url_of(first) == url_of(second)
    assert 0 in (cost_of(first), cost_of(second))
    assert len(gateway.bill.charges) == 1


@pytest.mark.parametrize(
    "change", [{"prompt": "another"}, {"resolution": "2K"}, {"n": 2}], ids=lambda change: next(iter(change))
)
def test_the_key_for_another_request_is_refused(change: dict[str, Any], account: Any, gateway: Any):
    litellm.image_generation(**account, **KEY)
    with pytest.raises(litellm.BadRequestError, match="stands for another request"):
        litellm.image_generation(**account, **KEY | change)
    assert len(gateway.bill.charges) == 1


def test_a_reference_counts_by_its_bytes(account: Any, gateway: Any, png: bytes, tmp_path: Any):
    path = tmp_path / "kite.png"
    path.write_bytes(png)
    first = litellm.image_edit(image=png, **account, **KEY)
    again = litellm.image_edit(image=str(path), **account, **KEY)
    assert url_of(first) == url_of(again)
    path.write_bytes(png + b"\0")
    with pytest.raises(litellm.BadRequestError, match="stands for another request"):
        litellm.image_edit(image=str(path), **account, **KEY)
    assert len(gateway.bill.charges) == 1
