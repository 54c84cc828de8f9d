"""Image chat: LiteLLM's chat calls answer a conversation with an image."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import openai
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
    assert purchase.body["prompt"] == "You draw.\n\nmake it\ndarker"
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


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Only woodcuts.", [{"type": "text", "text": "Only woodcuts."}]], ids=str)
def test_what_the_system_says_belongs_to_the_prompt(content, role, account, gateway):
    complete(account, [{"role": role, "content": content}, {"role": "user", "content": "a kite"}])
    assert gateway.requests_to("submit")[-1].body["prompt"] == "Only woodcuts.\n\na kite"


TEXTS = {
    "Markdown": "Here it is: ![a kite]({uri})",
    "Markdown with a title": 'Here: ![]( <{uri}> "a kite" )',
    "HTML": 'Look: <img alt="x" src="{uri}" width=3>',
    "HTML in a link": "<a href='x'><img src='{uri}'/></a>",
    "a data URI": "It is {uri}.",
}


@pytest.mark.parametrize("role", ["assistant", "user", "tool", "system"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_picture_in_an_earlier_text_is_a_reference(text, role, account, gateway, data_uri):
    told = {"role": role, "content": TEXTS[text].format(uri=data_uri)}
    told |= {"tool_call_id": "1"} if role == "tool" else {}
    complete(account, [{"role": "user", "content": "a kite"}, told, {"role": "user", "content": "darker"}])
    purchase = gateway.requests_to("submit")[-1]
    assert [reference.media_type for reference in purchase.references] == ["image/png"]
    assert purchase.body["prompt"].endswith("darker")
    assert "base64" not in purchase.body["prompt"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_picture_in_the_last_text_is_a_reference(text, account, gateway, data_uri):
    complete(account, [{"role": "user", "content": f"darker {TEXTS[text].format(uri=data_uri)}"}])
    purchase = gateway.requests_to("submit")[-1]
    assert len(purchase.references) == 1
    assert purchase.body["prompt"].startswith("darker")
    assert "base64" not in purchase.body["prompt"]


def test_a_link_is_no_picture(account, gateway):
    text = "like [this](https://example.com/a.png), or https://example.com/b.png"
    complete(account, [{"role": "user", "content": text}])
    purchase = gateway.requests_to("submit")[-1]
    assert (purchase.body["prompt"], len(purchase.references)) == (text, 0)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_pictures_of_other_providers_in_a_conversation(role, account, gateway, data_uri):
    code = data_uri.partition(",")[2]
    parts = [
        {"type": "image_url", "image_url": data_uri},
        {"type": "file", "file": {"file_data": data_uri, "filename": "a.png"}},
        {"type": "file", "file": {"file_data": code, "format": "image/png"}},
    ]
    if role == "assistant":  # LiteLLM refuses other types in a user's message
        parts += [
            {"type": "input_image", "image_url": data_uri},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": code}},
            {"inline_data": {"mime_type": "image/png", "data": code}},
        ]
    for part in parts:
        complete(account, [{"role": role, "content": [part, text_part("a")]}, {"role": "user", "content": "b"}])
        assert len(gateway.requests_to("submit")[-1].references) == 1


@pytest.mark.parametrize("role", ["user", "system", "tool"])
@pytest.mark.parametrize("kind", ["input_image", "image", "inline_data"])
def test_pictures_of_other_providers_in_a_message(kind, role, account, gateway, data_uri):
    """LiteLLM itself takes them from anybody but a user, and says so before this provider is asked."""
    code = data_uri.partition(",")[2]
    part = {
        "input_image": {"type": "input_image", "image_url": data_uri},
        "image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": code}},
        "inline_data": {"inline_data": {"mime_type": "image/png", "data": code}},
    }[kind]
    messages = [{"role": role, "content": [part], "tool_call_id": "1"}, {"role": "user", "content": "at night"}]
    if role == "user":
        with pytest.raises(Exception, match="Invalid user message"):
            complete(account, messages)
        assert not gateway.requests
    else:
        complete(account, messages)
        assert len(gateway.requests_to("submit")[-1].references) == 1


@pytest.mark.parametrize("earlier", [True, False])
def test_a_picture_that_cannot_be_fetched_is_refused_by_name(earlier, account, gateway):
    messages = [
        {
            "role": "user",
            "content": [text_part("a"), {"type": "file", "file": {"file_id": "file-7", "format": "image/png"}}],
        }
    ]
    with pytest.raises(litellm.BadRequestError, match=r"file-7.*Nothing was charged"):
        complete(account, messages + [{"role": "user", "content": "b"}] * earlier)
    assert not gateway.requests


def test_a_deployment_may_answer_only_requests_for_an_image(deploy, gateway):
    router = Router(model_list=[deploy(only_image_requests=True)], num_retries=0)
    messages = [{"role": "user", "content": "Give this chat a title"}]
    for modalities in (None, []):
        with pytest.raises(litellm.BadRequestError, match="only requests that ask for an image"):
            router.completion(model="image", messages=messages, modalities=modalities)
    assert not gateway.requests
    router.completion(model="image", messages=messages, modalities=["image", "text"])
    router.image_generation(model="image", prompt="a kite")  # which is a request for an image by itself
    assert [set(purchase.body) for purchase in gateway.requests_to("submit")] == [{"model", "prompt"}] * 2


@pytest.mark.parametrize("modalities", [["IMAGE", "TEXT"], ["Image"], "image", ("image",)], ids=str)
def test_a_request_for_an_image_may_be_written_in_other_ways(modalities, deploy, gateway):
    router = Router(model_list=[deploy(only_image_requests=True)], num_retries=0)
    messages = [{"role": "user", "content": "a kite"}]
    router.completion(model="image", messages=messages, modalities=modalities)
    router.completion(model="image", messages=messages, extra_body={"modalities": modalities})
    assert len(gateway.bill.charges) == 2


NO_IMAGE: list[Any] = [["text"], ["audio"], ["TEXT", "audio"], "text", ("text",), {"image": False}, 5]


CALLS: dict[str, Any] = {
    "blocking": litellm.completion,
    "asyncio": lambda **given: asyncio.run(litellm.acompletion(**given)),
    "stream": lambda **given: list(litellm.completion(stream=True, **given)),
    "only on request": lambda **given: litellm.completion(only_image_requests=True, **given),
    "extra_body": lambda modalities, **given: litellm.completion(extra_body={"modalities": modalities}, **given),
}


@pytest.mark.parametrize("door", CALLS)
@pytest.mark.parametrize("modalities", NO_IMAGE, ids=str)
def test_a_request_that_wants_no_image_is_refused(modalities, door, account, gateway):
    messages = [{"role": "user", "content": "Give this chat a title"}]
    with pytest.raises(litellm.BadRequestError, match=r"(images only|must be a list).*Nothing was charged"):
        CALLS[door](messages=messages, modalities=modalities, drop_params=True, **account)
    assert not gateway.requests


def test_the_proxy_refuses_a_request_that_wants_no_image(proxy, gateway):
    messages = [{"role": "user", "content": "Give this chat a title"}]
    client = proxy.client.with_options(max_retries=0)
    with pytest.raises(openai.BadRequestError, match="images only"):
        client.chat.completions.create(model="nano-banana-1", messages=messages, modalities=["text"])
    assert not gateway.requests


ATTACHED: dict[str, Any] = {
    "an object": lambda uri: [image_part(uri)],
    "a data URI": lambda uri: [uri],
    "a URL": lambda uri: [URL],
    "base64": lambda uri: [uri.partition(",")[2]],
    "one text": lambda uri: uri,
    "one object": lambda uri: {"url": uri},
}


@pytest.mark.parametrize("role", ["assistant", "user", "the last message"])
@pytest.mark.parametrize("form", ATTACHED)
def test_the_images_of_a_message_are_references(form, role, account, gateway, data_uri):
    attached = ATTACHED[form](data_uri)
    last = {"role": "user", "content": "at night"}
    if role == "the last message":
        complete(account, [last | {"images": attached}])
    else:
        complete(account, [{"role": role, "content": "a kite", "images": attached}, last])
    purchase = gateway.requests_to("submit")[-1]
    assert (len(purchase.references), purchase.body["prompt"]) == (1, "at night")


@pytest.mark.parametrize("images", [["a.png"], [""], [None], ["gs://a/b.png"], [{}]], ids=str)
@pytest.mark.parametrize("role", ["assistant", "user"])
def test_images_of_a_message_that_cannot_be_read_are_refused(role, images, account, gateway):
    messages = [{"role": role, "content": "a kite", "images": images}]
    with pytest.raises(litellm.BadRequestError, match="Nothing was charged"):
        complete(account, [*messages, {"role": "user", "content": "at night"}])
    assert not gateway.requests


CONFIGS = {
    "both": ({"image_config": {"aspect_ratio": "16:9", "image_size": "2K"}}, {"size": "16:9", "resolution": "2K"}),
    "camel case": ({"imageConfig": {"aspectRatio": "9:16", "imageSize": "4K"}}, {"size": "9:16", "resolution": "4K"}),
    "extra_body": ({"extra_body": {"image_config": {"image_size": "4K"}}}, {"resolution": "4K"}),
    "a parameter wins": ({"image_config": {"image_size": "4K"}, "resolution": "0.5K"}, {"resolution": "0.5K"}),
    "a part": ({"image_config": {"aspect_ratio": "1:8", "image_size": None}}, {"size": "1:8"}),
    "empty": ({"image_config": {}}, {}),
}


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("door", ["chat", "generation"])
def test_image_config_is_understood(door, case, account, gateway):
    given, expected = CONFIGS[case]
    if door == "chat":
        complete(account, [{"role": "user", "content": "a"}], **given)
    else:
        litellm.image_generation(prompt="a", **given, **account)
    body = gateway.requests_to("submit")[-1].body
    assert {name: body[name] for name in body.keys() - {"model", "prompt"}} == expected


@pytest.mark.parametrize("config", [{"style": "x"}, {"image_size": "9K"}, "large", [1]], ids=str)
def test_an_image_config_that_is_not_understood_is_refused(config, account, gateway):
    with pytest.raises(litellm.BadRequestError, match="Nothing was charged"):
        litellm.image_generation(prompt="a", image_config=config, **account)
    assert not gateway.requests


def test_the_call_overrides_the_image_config_of_a_deployment(deploy, gateway):
    router = Router(model_list=[deploy(image_config={"image_size": "4K", "aspect_ratio": "1:1"})], num_retries=0)
    router.image_generation(model="image", prompt="a")
    router.image_generation(model="image", prompt="a", resolution="1K")
    bodies = [purchase.body for purchase in gateway.requests_to("submit")]
    assert [(body["size"], body["resolution"]) for body in bodies] == [("1:1", "4K"), ("1:1", "1K")]


def test_what_litellm_adds_after_a_failed_stream_is_not_drawn(account, gateway):
    added = [
        {"role": "system", "content": "Your response should be in continuation of this text: "},
        {"role": "assistant", "content": "", "prefix": True},
    ]
    complete(account, [{"role": "user", "content": "a kite"}, *added])
    assert gateway.requests_to("submit")[-1].body["prompt"] == "a kite"
