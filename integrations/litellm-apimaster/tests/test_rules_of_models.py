"""What a model does not take is refused with everything else that is wrong, and OpenAI's default size is no wish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import litellm
import pytest
from litellm import Router

SUCCESSOR = "apimaster/nano-banana-2.1"
TAKERS = ("apimaster/nano-banana-2", "apimaster/gemini-3.1-flash-image", "apimaster/gpt-image-2")


def through_the_sdk(arguments: dict[str, Any], account: dict[str, Any]) -> Any:
    return litellm.image_generation(**account | arguments)


def through_the_router(arguments: dict[str, Any], account: dict[str, Any]) -> Any:
    deployment = {"model_name": "image", "litellm_params": account | {"model": arguments.pop("model")}}
    return Router(model_list=[deployment], num_retries=0).image_generation(model="image", **arguments)


def without_blocking(arguments: dict[str, Any], account: dict[str, Any]) -> Any:
    return asyncio.run(litellm.aimage_generation(**account | arguments))


DOORS = [through_the_sdk, through_the_router, without_blocking]
BROKEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "aspect_ratio": ({"aspect_ratio": "16:7", "resolution": "0.5K"}, ["'16:7'", "'0.5K'", "1K, 2K, 4K"]),
    "size": ({"size": "16:7", "resolution": "0.5K"}, ["'16:7'", "'0.5K'", "1K, 2K, 4K"]),
    "pixels": ({"size": "1000x100", "resolution": "0.5K"}, ["'1000x100'", "'0.5K'"]),
    "auto as a wish": ({"aspect_ratio": "auto", "resolution": "0.5K"}, ["'auto'", "'0.5K'"]),
    "image_config": ({"image_config": {"aspect_ratio": "16:7", "image_size": "0.5K"}}, ["'16:7'", "'0.5K'"]),
    "beside a good one": ({"aspect_ratio": "16:9", "size": "16:7", "resolution": "0.5K"}, ["'16:7'", "'0.5K'"]),
    "values": (
        {"n": 11, "resolution": "8K", "google_search": "maybe", "response_format": "png", "size": "16:7"},
        ["n must be", "'8K'", "google_search must be", "'png'", "'16:7'"],
    ),
    "a quality": ({"quality": "superb", "n": 0}, ["'superb'", "n must be"]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", BROKEN)
def test_every_broken_rule_is_named_at_once(
    case: str, door: Callable[..., Any], account: dict[str, Any], gateway: Any, png: bytes
) -> None:
    arguments, words = BROKEN[case]
    with pytest.raises(litellm.BadRequestError) as caught:
        door({"model": SUCCESSOR, "prompt": "a kite", "references": [png] * 15, **arguments}, account)
    for word in (*words, "15 pictures", "at most 14"):
        assert word in caught.value.message
    assert caught.value.message.count("at most 14") == 1
    assert not gateway.requests


def test_the_models_that_would_take_it_are_named(account: dict[str, Any], gateway: Any) -> None:
    with pytest.raises(litellm.BadRequestError, match=r"use a model that takes all of it: gemini-3\.1-flash-image"):
        litellm.image_generation(**account | {"model": SUCCESSOR, "prompt": "a kite", "resolution": "0.5K"})
    assert not gateway.requests


@pytest.mark.parametrize("size", ["auto", "AUTO", " auto "])
@pytest.mark.parametrize("door", DOORS)
def test_the_size_that_clients_send_by_default_is_no_wish(
    door: Callable[..., Any], size: str, account: dict[str, Any], purchases: Any
) -> None:
    door({"model": SUCCESSOR, "prompt": f"a kite {size} {door.__name__}", "size": size}, account)
    assert "size" not in purchases()[-1].body


def test_no_wish_leaves_the_default_of_the_deployment(deploy: Any, purchases: Any) -> None:
    router = Router(model_list=[deploy(model=SUCCESSOR, size="16:9")], num_retries=0)
    router.image_generation(model="image", prompt="a kite", size="auto")
    assert purchases()[-1].body["size"] == "16:9"


@pytest.mark.parametrize("model", TAKERS)
def test_a_model_that_can_choose_is_asked_to(model: str, account: dict[str, Any], purchases: Any) -> None:
    litellm.image_generation(**account | {"model": model, "prompt": "a kite that chooses", "size": "auto"})
    assert purchases()[-1].body["size"] == "auto"


def test_the_default_size_goes_through_a_form(proxy: Any, gateway: Any, png: bytes) -> None:
    form = {"model": "successor", "prompt": "a kite", "size": "auto"}
    headers = {"Authorization": "Bearer sk-gateway"}
    files = {"image": ("a.png", png, "image/png")}
    answer = httpx.post(f"{proxy.url}/v1/images/edits", headers=headers, data=form, files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    assert "size" not in gateway.requests_to("submit")[-1].body
