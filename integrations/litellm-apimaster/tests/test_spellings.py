"""Parameters under the names of other APIs: read as what they mean, or refused before anything is bought."""

from __future__ import annotations

import json
from typing import Any

import litellm
import pytest

# The gateway's names for them.
ASPECT_RATIO, RESOLUTION = "size", "resolution"
WIDE = {ASPECT_RATIO: "16:9", RESOLUTION: "4K"}
CONFIG = {"aspectRatio": "16:9", "imageSize": "4K"}

SPELLINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aspectRatio": ({"aspectRatio": "16:9"}, {ASPECT_RATIO: "16:9"}),
    "ratio": ({"ratio": "16:9"}, {ASPECT_RATIO: "16:9"}),
    "imageSize": ({"imageSize": "4K"}, {RESOLUTION: "4K"}),
    "image_size": ({"image_size": "4K"}, {RESOLUTION: "4K"}),
    "equal to the own name": ({"image_size": "4k", "resolution": "4K"}, {RESOLUTION: "4K"}),
    "empty": ({"image_size": "", "aspectRatio": None, "width": "", "num_images": "", "num_outputs": 1}, {}),
    "generationConfig": ({"generationConfig": {"imageConfig": CONFIG}}, WIDE),
    "generation_config": ({"generation_config": {"image_config": CONFIG}}, WIDE),
    "generationConfig as a text": ({"generationConfig": json.dumps({"imageConfig": CONFIG})}, WIDE),
    "google": ({"extra_body": {"google": {"image_config": CONFIG}}}, WIDE),
    "google, generation_config": ({"extra_body": {"google": {"generation_config": {"image_config": CONFIG}}}}, WIDE),
    "the rest is sent": (
        {"generationConfig": {"imageConfig": CONFIG, "candidateCount": 1, "topP": 1}},
        {**WIDE, "generationConfig": {"topP": 1}},
    ),
    "quality over generationConfig": (
        {"quality": "low", "generationConfig": {"imageConfig": CONFIG}},
        {ASPECT_RATIO: "16:9", RESOLUTION: "0.5K"},
    ),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "width and height": ({"width": 1024, "height": 1024}, 'is not accepted.*Use size="WIDTHxHEIGHT"'),
    "height": ({"extra_body": {"height": 1024}}, 'height is not accepted.*Use size="WIDTHxHEIGHT"'),
    "num_outputs": ({"num_outputs": 2}, "num_outputs is not accepted.*Use n"),
    "candidateCount": ({"generationConfig": {"candidateCount": 4}}, "generationConfig.candidateCount is.*Use n"),
    "image_size in pixels": ({"image_size": "1024x1024"}, "'1024x1024' is not known; accepted: 0.5K, 1K"),
    "contradiction": ({"imageSize": "4K", "resolution": "1K"}, "imageSize '4K' contradicts resolution '1K'"),
    "two ratios": ({"aspectRatio": "16:9", "aspect_ratio": "1:1"}, "aspectRatio '16:9' contradicts aspect_ratio"),
    "two numbers": ({"n": 1, "num_images": 3}, "num_images 3 contradicts n 1"),
}


@pytest.fixture(autouse=True)
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


def generation(account: dict[str, Any], png: bytes, **arguments: Any) -> None:
    litellm.image_generation(prompt="a red kite", **account, **arguments)


def edit(account: dict[str, Any], png: bytes, **arguments: Any) -> None:
    litellm.image_edit(prompt="a red kite", image=png, **account, **arguments)


def chat(account: dict[str, Any], png: bytes, **arguments: Any) -> None:
    litellm.completion(messages=[{"role": "user", "content": "a red kite"}], **account, **arguments)


def parameters_of(purchase: Any) -> dict[str, Any]:
    omitted = {"model", "prompt", "image_urls"}
    return {name: value for name, value in purchase.body.items() if name not in omitted}


@pytest.mark.parametrize("call", [generation, edit, chat])
@pytest.mark.parametrize("case", SPELLINGS)
def test_a_name_of_another_api_means_the_same(case, call, account, purchases, png):
    arguments, expected = SPELLINGS[case]
    call(account, png, **arguments)
    assert [parameters_of(purchase) for purchase in purchases()] == [expected]


@pytest.mark.parametrize("name", ["num_images", "numImages", "number_of_images", "numberOfImages"])
@pytest.mark.parametrize("call", [generation, edit])
def test_a_number_of_images_may_have_another_name(name, call, account, purchases, png):
    call(account, png, **{name: 2})
    assert [parameters_of(purchase) for purchase in purchases()] == [{}, {}]


@pytest.mark.parametrize("call", [generation, edit, chat])
@pytest.mark.parametrize("case", REFUSED)
def test_what_the_gateway_would_ignore_is_refused(case, call, account, gateway, png):
    arguments, pattern = REFUSED[case]
    with pytest.raises(litellm.BadRequestError, match=pattern):
        call(account, png, **arguments)
    assert not gateway.requests


def test_a_field_of_another_model_is_sent_unchanged(account, purchases):
    fields = {"image_size": "1024x1024", "width": 7, "ratio": "3:7"}
    litellm.image_generation(prompt="a red kite", **fields, **account | {"model": "apimaster/gpt-image-2"})
    assert parameters_of(purchases()[0]) == fields
