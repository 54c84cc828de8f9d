"""Which of several parameters counts: of one call, and of a call against the defaults of its deployment."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import litellm
import pytest
from litellm import Router

# The gateway's names for them.
ASPECT_RATIO, RESOLUTION = "size", "resolution"
PROMPT = "a red kite"
Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]

PRECEDENCE: dict[str, Case] = {
    # case: the parameters of the deployment, the arguments of the call, what the gateway must receive
    "default": ({"resolution": "2K", "aspect_ratio": "16:9"}, {}, {RESOLUTION: "2K", ASPECT_RATIO: "16:9"}),
    "same name": ({"resolution": "2K"}, {"resolution": "4K"}, {RESOLUTION: "4K"}),
    "call in extra_body": ({"resolution": "2K"}, {"extra_body": {"resolution": "4K"}}, {RESOLUTION: "4K"}),
    "deployment in extra_body": ({"extra_body": {"resolution": "2K"}}, {"resolution": "4K"}, {RESOLUTION: "4K"}),
    "both in extra_body": (
        {"extra_body": {"resolution": "2K", "google_search": True}},
        {"extra_body": {"resolution": "4K"}},
        {RESOLUTION: "4K", "google_search": True},
    ),
    "unknown field": ({"extra_body": {"lens": "wide"}}, {"size": "1:1"}, {ASPECT_RATIO: "1:1", "lens": "wide"}),
    # the aspect ratio
    "size over aspect_ratio": ({"aspect_ratio": "16:9"}, {"size": "3:4"}, {ASPECT_RATIO: "3:4"}),
    "aspect_ratio over size": ({"size": "16:9"}, {"aspect_ratio": "3:4"}, {ASPECT_RATIO: "3:4"}),
    "size over image_config": ({"image_config": {"aspect_ratio": "16:9"}}, {"size": "3:4"}, {ASPECT_RATIO: "3:4"}),
    "image_config over size": ({"size": "16:9"}, {"image_config": {"aspect_ratio": "3:4"}}, {ASPECT_RATIO: "3:4"}),
    "aspect_ratio over aspectRatio": ({"aspectRatio": "16:9"}, {"aspect_ratio": "3:4"}, {ASPECT_RATIO: "3:4"}),
    "auto over size": ({"size": "16:9"}, {"size": "auto"}, {ASPECT_RATIO: "auto"}),
    # the resolution
    "pixels over resolution": ({"resolution": "4K"}, {"size": "1024x1024"}, {ASPECT_RATIO: "1:1", RESOLUTION: "1K"}),
    "pixels in aspect_ratio": (
        {"resolution": "4K"},
        {"aspect_ratio": "1024x1024"},
        {ASPECT_RATIO: "1:1", RESOLUTION: "1K"},
    ),
    "resolution over pixels": ({"size": "4096x4096"}, {"resolution": "1K"}, {ASPECT_RATIO: "1:1", RESOLUTION: "1K"}),
    "resolution over quality": ({"quality": "hd"}, {"resolution": "1K"}, {RESOLUTION: "1K"}),
    "resolution over image_config": ({"image_config": {"image_size": "4K"}}, {"resolution": "1K"}, {RESOLUTION: "1K"}),
    "image_config over resolution": ({"resolution": "4K"}, {"image_config": {"image_size": "1K"}}, {RESOLUTION: "1K"}),
    "imageSize over resolution": ({"resolution": "4K"}, {"imageSize": "1K"}, {RESOLUTION: "1K"}),
    "quality over quality": ({"quality": "high"}, {"quality": "low"}, {RESOLUTION: "0.5K"}),
    "quality over quality, dearer": ({"quality": "low"}, {"quality": "hd"}, {RESOLUTION: "2K"}),
    "quality in extra_body": ({"quality": "high"}, {"extra_body": {"quality": "low"}}, {RESOLUTION: "0.5K"}),
    "quality over extra_body": ({"extra_body": {"quality": "high"}}, {"quality": "low"}, {RESOLUTION: "0.5K"}),
    "quality over resolution": ({"resolution": "4K"}, {"quality": "low"}, {RESOLUTION: "0.5K"}),
    "quality over pixels": ({"size": "4096x4096"}, {"quality": "low"}, {ASPECT_RATIO: "1:1", RESOLUTION: "0.5K"}),
    "quality over image_config": ({"image_config": {"image_size": "4K"}}, {"quality": "low"}, {RESOLUTION: "0.5K"}),
    "quality without a meaning over quality": ({"quality": "high"}, {"quality": "standard"}, {}),
    "quality without a meaning under resolution": ({"resolution": "4K"}, {"quality": "medium"}, {RESOLUTION: "4K"}),
    # both
    "a ratio leaves the resolution": ({"size": "4096x4096"}, {"size": "1:1"}, {ASPECT_RATIO: "1:1", RESOLUTION: "4K"}),
    "an aspect_ratio leaves the resolution": (
        {"size": "4096x4096"},
        {"aspect_ratio": "16:9"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "4K"},
    ),
    "image_config leaves the other of image_config": (
        {"image_config": {"aspect_ratio": "16:9", "image_size": "4K"}},
        {"image_config": {"aspect_ratio": "1:1"}},
        {ASPECT_RATIO: "1:1", RESOLUTION: "4K"},
    ),
    # what is empty asks for nothing
    "empty resolution": ({"resolution": "4K"}, {"resolution": ""}, {RESOLUTION: "4K"}),
    "no resolution": ({"resolution": "4K"}, {"resolution": None}, {RESOLUTION: "4K"}),
    "empty size": ({"size": "16:9"}, {"size": ""}, {ASPECT_RATIO: "16:9"}),
    "no size": ({"size": "16:9"}, {"size": None}, {ASPECT_RATIO: "16:9"}),
    "empty google_search": ({"google_search": True}, {"google_search": ""}, {"google_search": True}),
    "empty image_config": ({"image_config": {"image_size": "4K"}}, {"image_config": {}}, {RESOLUTION: "4K"}),
}

WITHIN_ONE_CALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aspect_ratio over size": ({"size": "16:9", "aspect_ratio": "3:4"}, {ASPECT_RATIO: "3:4"}),
    "size over image_config": ({"size": "1:1", "image_config": {"aspect_ratio": "16:9"}}, {ASPECT_RATIO: "1:1"}),
    "aspect_ratio over image_config": (
        {"aspect_ratio": "1:1", "image_config": {"aspect_ratio": "16:9"}},
        {ASPECT_RATIO: "1:1"},
    ),
    "resolution over pixels": (
        {"size": "1024x1024", "resolution": "4K"},
        {ASPECT_RATIO: "1:1", RESOLUTION: "4K"},
    ),
    "pixels over quality": ({"size": "1024x1024", "quality": "hd"}, {ASPECT_RATIO: "1:1", RESOLUTION: "1K"}),
    "resolution over quality": ({"resolution": "4K", "quality": "low"}, {RESOLUTION: "4K"}),
    "resolution over image_config": ({"resolution": "1K", "image_config": {"image_size": "4K"}}, {RESOLUTION: "1K"}),
    "pixels over image_config": (
        {"size": "1024x1024", "image_config": {"image_size": "4K"}},
        {ASPECT_RATIO: "1:1", RESOLUTION: "1K"},
    ),
    "quality over image_config": ({"quality": "low", "image_config": {"image_size": "4K"}}, {RESOLUTION: "0.5K"}),
    "quality without a meaning": ({"quality": "medium", "image_config": {"image_size": "4K"}}, {RESOLUTION: "4K"}),
    "extra_body over an argument": ({"resolution": "4K", "extra_body": {"resolution": "1K"}}, {RESOLUTION: "1K"}),
    "an argument over what is empty": ({"resolution": "4K", "extra_body": {"resolution": ""}}, {RESOLUTION: "4K"}),
    "nothing in extra_body": ({"extra_body": dict.fromkeys(("n", "quality", "google_search", "resolution"))}, {}),
    "image_config fills what is left": (
        {"size": "1:1", "image_config": {"aspect_ratio": "16:9", "image_size": "4K"}},
        {ASPECT_RATIO: "1:1", RESOLUTION: "4K"},
    ),
}


@pytest.fixture(autouse=True)
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


async def in_loop(call: Any) -> Any:
    try:
        return await call
    finally:
        await asyncio.sleep(0)  # LiteLLM's own background tasks


def generation(router: Router, png: bytes, **arguments: Any) -> None:
    router.image_generation(model="image", prompt=PROMPT, **arguments)


def async_generation(router: Router, png: bytes, **arguments: Any) -> None:
    asyncio.run(in_loop(router.aimage_generation(model="image", prompt=PROMPT, **arguments)))


def edit(router: Router, png: bytes, **arguments: Any) -> None:
    asyncio.run(in_loop(router.aimage_edit(model="image", image=png, prompt=PROMPT, **arguments)))


def chat(router: Router, png: bytes, **arguments: Any) -> None:
    router.completion(model="image", messages=[{"role": "user", "content": PROMPT}], **arguments)


CALLS: list[Callable[..., None]] = [generation, async_generation, edit, chat]
# LiteLLM 1.80 drops it between aimage_edit and image_edit, before it calls the provider.
EDIT_KEEPS_EXTRA_BODY = re.search(
    r"^\s+extra_body=extra_body,$", inspect.getsource(inspect.unwrap(litellm.aimage_edit)), re.MULTILINE
)


def parameters_of(purchase: Any) -> dict[str, Any]:
    omitted = {"model", "prompt", "image_urls"}
    return {name: value for name, value in purchase.body.items() if name not in omitted}


def skip_if_dropped(call: Callable[..., None], *parameters: dict[str, Any]) -> None:
    if call is edit and not EDIT_KEEPS_EXTRA_BODY and any("extra_body" in each for each in parameters):
        pytest.skip("this LiteLLM's aimage_edit drops extra_body")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", PRECEDENCE)
def test_the_call_overrides_the_deployment(case, call, deploy, purchases, png):
    defaults, arguments, expected = PRECEDENCE[case]
    skip_if_dropped(call, defaults, arguments)
    call(Router(model_list=[deploy(**defaults)], num_retries=0), png, **arguments)
    assert [parameters_of(purchase) for purchase in purchases()] == [expected]


@pytest.mark.parametrize("call", CALLS)
def test_a_dropped_parameter_is_dropped_from_image_config_too(call, deploy, purchases, png):
    config = {"aspect_ratio": "16:9", "image_size": "4K"}
    router = Router(model_list=[deploy()], num_retries=0)
    call(router, png, additional_drop_params=["resolution", "quality"], image_config=config, quality="low")
    assert parameters_of(purchases()[0]) == {ASPECT_RATIO: "16:9"}
    assert config == {"aspect_ratio": "16:9", "image_size": "4K"}


@pytest.mark.skipif(
    tuple(map(int, version("litellm").split(".")[:2])) >= (1, 109),
    reason="a Router of this version does not show its own defaults",
)
@pytest.mark.parametrize("call", CALLS)
def test_the_call_overrides_the_defaults_of_a_router(call, deploy, purchases, png):
    router = Router(model_list=[deploy()], num_retries=0, default_litellm_params={"resolution": "4K"})
    call(router, png)
    call(router, png, quality="low")
    assert [parameters_of(purchase) for purchase in purchases()] == [{RESOLUTION: "4K"}, {RESOLUTION: "0.5K"}]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", WITHIN_ONE_CALL)
def test_of_several_parameters_of_one_call_the_documented_one_counts(case, call, deploy, purchases, png):
    arguments, expected = WITHIN_ONE_CALL[case]
    skip_if_dropped(call, arguments)
    call(Router(model_list=[deploy()], num_retries=0), png, **arguments)
    assert [parameters_of(purchase) for purchase in purchases()] == [expected]


@pytest.mark.parametrize("call", [generation, async_generation, edit])
@pytest.mark.parametrize(("arguments", "count"), [({"n": 1}, 1), ({"n": ""}, 3), ({"n": None}, 3), ({}, 3)])
def test_the_number_of_images_is_the_calls_if_it_says_one(arguments, count, call, deploy, purchases, png):
    call(Router(model_list=[deploy(n=3)], num_retries=0), png, **arguments)
    assert len(purchases()) == count


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("arguments", [{"idempotency_key": "own"}, {"extra_body": {"idempotency_key": "own"}}], ids=str)
def test_the_idempotency_key_of_the_call_counts(arguments, call, deploy, purchases, own_ledger, png):
    """Under the deployment's key, the second call would get the first one's picture."""
    skip_if_dropped(call, arguments)
    router = Router(model_list=[deploy(idempotency_key="deployment")], num_retries=0)
    call(router, png)
    call(router, png)
    assert len(purchases()) == 1
    call(router, png, **arguments)
    assert len(purchases()) == 2


@pytest.mark.parametrize("call", CALLS)
def test_the_key_in_a_clients_header_overrides_the_deployments(call, deploy, purchases, own_ledger, png):
    router = Router(model_list=[deploy(idempotency_key="deployment")], num_retries=0)
    for key in ("first", "second", "second"):
        call(router, png, proxy_server_request={"headers": {"Idempotency-Key": key}, "body": {"prompt": PROMPT}})
    assert len(purchases()) == 2


@pytest.mark.parametrize("call", CALLS)
def test_what_a_client_of_a_proxy_sends_is_its_own_also_if_it_equals_a_default(call, deploy, purchases, png):
    router = Router(model_list=[deploy(quality="low", resolution="4K")], num_retries=0)
    call(router, png, quality="low", proxy_server_request={"headers": {}, "body": {"quality": "low"}})
    assert parameters_of(purchases()[0]) == {RESOLUTION: "0.5K"}


def test_pixels_that_another_model_takes_replace_the_resolution_of_the_deployment(deploy, purchases):
    router = Router(model_list=[deploy(model="apimaster/gpt-image-2", resolution="4K", quality="high")], num_retries=0)
    router.image_generation(model="image", prompt=PROMPT, size="1536x1024", quality="low")
    assert parameters_of(purchases()[0]) == {ASPECT_RATIO: "1536x1024", "quality": "low"}


def test_the_clients_of_a_proxy_override_the_defaults_of_a_deployment(proxy, purchases, gateway, png):
    wide: dict[str, Any] = {"model": "nano-banana-wide", "prompt": PROMPT}
    images = proxy.client.images
    images.generate(**wide)
    images.generate(**wide, extra_body={"resolution": "4K"})
    images.generate(**wide, size="1:1")
    images.generate(**wide, size="1024x1024")
    images.generate(**wide, quality="low")
    images.generate(**wide, extra_body={"resolution": "", "aspect_ratio": None})
    images.edit(**wide, image=("a.png", png), quality="low")
    images.edit(**wide, image=("a.png", png), extra_body={"image_config": {"aspect_ratio": "1:1"}})
    assert [parameters_of(purchase) for purchase in purchases()] == [
        {ASPECT_RATIO: "16:9", RESOLUTION: "2K"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "4K"},
        {ASPECT_RATIO: "1:1", RESOLUTION: "2K"},
        {ASPECT_RATIO: "1:1", RESOLUTION: "1K"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "0.5K"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "2K"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "0.5K"},
        {ASPECT_RATIO: "1:1", RESOLUTION: "2K"},
    ]
