"""Image chat: a conversation in, a picture out."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from litellm import Router

URL = "https://example.com/a.png"


@pytest.fixture(autouse=True)
def at_once(gateway):
    gateway.dialect = "submit_as_image"


def image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def ask(account: dict[str, Any], turns: list[Any], **said: Any) -> Any:
    return litellm.completion(messages=turns, **said, **account)


def test_the_answer_carries_the_picture_and_its_cost(account, gateway):
    answer = ask(account, [{"role": "user", "content": "a red kite"}], resolution="2K", aspect_ratio="3:4")
    message = answer.choices[0].message
    assert message.content == ""
    (image,) = message.images
    assert image["type"] == "image_url"
    assert image["index"] == 0
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert answer._hidden_params["response_cost"] == pytest.approx(0.05)
    (order,) = gateway.requests_to("submit")
    assert (order.body["prompt"], order.body["size"], order.body["resolution"]) == ("a red kite", "3:4", "2K")


def test_turns_become_a_prompt_and_references(account, gateway, picture_uri):
    turns = [
        {"role": "system", "content": "You draw."},
        {"role": "user", "content": [text_part("first"), image_part(URL)]},
        {"role": "assistant", "content": "", "images": [image_part(picture_uri)]},
        {"role": "user", "content": [text_part("make it"), text_part("darker"), image_part(URL + "?2")]},
    ]
    ask(account, turns)
    (order,) = gateway.requests_to("submit")
    assert order.body["prompt"] == "make it\ndarker"
    assert [seen.url or seen.media_type for seen in order.references] == [URL + "?2", "image/png", URL]


def test_an_answer_is_edited_by_the_next_turn(account, gateway):
    first = ask(account, [{"role": "user", "content": "a red kite"}]).choices[0].message
    ask(account, [{"role": "user", "content": "a red kite"}, first, {"role": "user", "content": "at night"}])
    order = gateway.requests_to("submit")[-1]
    assert order.body["prompt"] == "at night"
    assert [seen.media_type for seen in order.references] == ["image/png"]


def test_asynchronously_by_a_router(deploy, gateway):
    made = Router(model_list=[deploy(resolution="4K")], num_retries=0)
    turns = [{"role": "user", "content": "a red kite"}]
    answer = asyncio.run(made.acompletion(model="image", messages=turns))
    assert answer.choices[0].message.images
    assert answer._hidden_params["response_cost"] == pytest.approx(0.075)


def images_of(pieces: list[Any]) -> list[Any]:
    return [piece for piece in pieces if getattr(piece.choices[0].delta, "images", None)]


def test_a_stream_is_one_piece(account, gateway):
    turns = [{"role": "user", "content": "a red kite"}]
    pieces = list(ask(account, turns, stream=True))
    (with_image,) = images_of(pieces)
    assert with_image.choices[0].delta.images[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert len(gateway.bill.charges) == 1


def test_an_asynchronous_stream_is_one_piece(account, gateway):
    async def collect() -> list[Any]:
        turns = [{"role": "user", "content": "a red kite"}]
        return [piece async for piece in await litellm.acompletion(messages=turns, stream=True, **account)]

    assert len(images_of(asyncio.run(collect()))) == 1
    assert len(gateway.bill.charges) == 1


def test_through_the_proxy(proxy, gateway):
    turns = [{"role": "user", "content": "a red kite"}]
    raw = proxy.client.chat.completions.with_raw_response.create(
        model="nano-banana-1", messages=turns, extra_body={"resolution": "2K"}
    )
    message = raw.parse().choices[0].message
    assert message.model_extra["images"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert float(raw.headers["x-litellm-response-cost"]) == pytest.approx(0.05)
    pieces = list(proxy.client.chat.completions.create(model="nano-banana-1", messages=turns, stream=True))
    assert len(images_of(pieces)) == 1
    assert len(gateway.bill.charges) == 2


BAD = {
    "no user message": ([{"role": "system", "content": "You draw."}], {}, "no user message"),
    "no text": ([{"role": "user", "content": [image_part(URL)]}], {}, "contains no text"),
    "a sound": ([{"role": "user", "content": [text_part("a"), {"type": "input_audio"}]}], {}, "'input_audio'"),
    "a path": ([{"role": "user", "content": [text_part("a"), image_part("/etc/hostname")]}], {}, "'/etc/hostname'"),
    "temperature": ([{"role": "user", "content": "a"}], {"temperature": 0.5}, "does not support: temperature"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_honoured_is_an_error(case, account, gateway):
    turns, said, words = BAD[case]
    with pytest.raises(litellm.BadRequestError, match=words):
        ask(account, turns, **said)
    assert not gateway.requests


def test_parameters_of_text_models_can_be_dropped(account, gateway):
    ask(account, [{"role": "user", "content": "a"}], temperature=0.5, max_tokens=100, drop_params=True)
    assert set(gateway.requests_to("submit")[0].body) == {"model", "prompt"}
