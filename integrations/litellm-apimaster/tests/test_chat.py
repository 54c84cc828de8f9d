"""Image chat: LiteLLM's chat calls answer a conversation with an image."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from litellm import Router

URL = "https://example.com/a.png"


@pytest.fixture(autouse=True)
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


def image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def complete(account: dict[str, Any], messages: list[Any], **arguments: Any) -> Any:
    return litellm.completion(messages=messages, **arguments, **account)


def test_the_response_holds_the_image_and_its_cost(account, gateway):
    response = complete(account, [{"role": "user", "content": "a red kite"}], resolution="2K", aspect_ratio="3:4")
    message = response.choices[0].message
    assert message.content == ""
    (image,) = message.images
    assert image["type"] == "image_url"
    assert image["index"] == 0
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert response._hidden_params["response_cost"] == pytest.approx(0.05)
    (purchase,) = gateway.requests_to("submit")
    assert (purchase.body["prompt"], purchase.body["size"], purchase.body["resolution"]) == ("a red kite", "3:4", "2K")


def test_messages_become_a_prompt_and_references(account, gateway, data_uri):
    messages = [
        {"role": "system", "content": "You draw."},
        {"role": "user", "content": [text_part("first"), image_part(URL)]},
        {"role": "assistant", "content": "", "images": [image_part(data_uri)]},
        {"role": "user", "content": [text_part("make it"), text_part("darker"), image_part(URL + "?2")]},
    ]
    complete(account, messages)
    (purchase,) = gateway.requests_to("submit")
    assert purchase.body["prompt"] == "make it\ndarker"
    assert [reference.url or reference.media_type for reference in purchase.references] == [
        URL + "?2",
        "image/png",
        URL,
    ]


def test_the_next_message_edits_the_image_of_the_response(account, gateway):
    first = complete(account, [{"role": "user", "content": "a red kite"}]).choices[0].message
    complete(account, [{"role": "user", "content": "a red kite"}, first, {"role": "user", "content": "at night"}])
    purchase = gateway.requests_to("submit")[-1]
    assert purchase.body["prompt"] == "at night"
    assert [reference.media_type for reference in purchase.references] == ["image/png"]


def test_an_asynchronous_completion_through_a_router(deploy, gateway):
    router = Router(model_list=[deploy(resolution="4K")], num_retries=0)
    messages = [{"role": "user", "content": "a red kite"}]
    response = asyncio.run(router.acompletion(model="image", messages=messages))
    assert response.choices[0].message.images
    assert response._hidden_params["response_cost"] == pytest.approx(0.075)


def chunks_with_images(chunks: list[Any]) -> list[Any]:
    return [chunk for chunk in chunks if getattr(chunk.choices[0].delta, "images", None)]


def test_a_stream_is_one_chunk(account, gateway):
    messages = [{"role": "user", "content": "a red kite"}]
    chunks = list(complete(account, messages, stream=True))
    (with_image,) = chunks_with_images(chunks)
    assert with_image.choices[0].delta.images[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len(gateway.bill.charges) == 1


def test_an_asynchronous_stream_is_one_chunk(account, gateway):
    async def collect() -> list[Any]:
        messages = [{"role": "user", "content": "a red kite"}]
        return [chunk async for chunk in await litellm.acompletion(messages=messages, stream=True, **account)]

    assert len(chunks_with_images(asyncio.run(collect()))) == 1
    assert len(gateway.bill.charges) == 1


def test_completions_through_the_proxy(proxy, gateway):
    messages = [{"role": "user", "content": "a red kite"}]
    raw = proxy.client.chat.completions.with_raw_response.create(
        model="nano-banana-1", messages=messages, extra_body={"resolution": "2K"}
    )
    message = raw.parse().choices[0].message
    assert message.model_extra["images"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert float(raw.headers["x-litellm-response-cost"]) == pytest.approx(0.05)
    chunks = list(proxy.client.chat.completions.create(model="nano-banana-1", messages=messages, stream=True))
    assert len(chunks_with_images(chunks)) == 1
    assert len(gateway.bill.charges) == 2


INVALID = {
    "no user message": ([{"role": "system", "content": "You draw."}], {}, "no user message"),
    "no text": ([{"role": "user", "content": [image_part(URL)]}], {}, "contains no text"),
    "audio": ([{"role": "user", "content": [text_part("a"), {"type": "input_audio"}]}], {}, "'input_audio'"),
    "a path": ([{"role": "user", "content": [text_part("a"), image_part("/etc/hostname")]}], {}, "'/etc/hostname'"),
    "temperature": ([{"role": "user", "content": "a"}], {"temperature": 0.5}, "does not support: temperature"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_message_or_parameter_is_an_error(case, account, gateway):
    messages, arguments, pattern = INVALID[case]
    with pytest.raises(litellm.BadRequestError, match=pattern):
        complete(account, messages, **arguments)
    assert not gateway.requests


def test_parameters_of_text_models_can_be_dropped(account, gateway):
    complete(account, [{"role": "user", "content": "a"}], temperature=0.5, max_tokens=100, drop_params=True)
    assert set(gateway.requests_to("submit")[0].body) == {"model", "prompt"}
