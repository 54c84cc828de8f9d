"""Pictures where nobody draws from them: at any depth, under any name, in a conversation. Refused by name, and free."""

from __future__ import annotations

import json
import time
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest

from apimaster import BadRequestError
from litellm_apimaster.stray_pictures import holds_pictures

URL = "https://example.com/a.png"
PLAIN_URL = "https://cdn.example.com/a"
OLD = tuple(map(int, version("litellm").split(".")[:2])) < (1, 100)
DOORS = ["sdk", "sdk async", "router async"]


def nested(depth: int, value: Any) -> Any:
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def hidden(uri: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The name that the refusal names, and the arguments."""
    code = uri.partition(",")[2]
    part = {"type": "image_url", "image_url": {"url": uri}}
    inline = {"inline_data": {"mime_type": "image/png", "data": code}}
    contents = [{"role": "user", "parts": [{"text": "a"}, inline]}]
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]
    return {
        "Google's contents": ("contents", {"contents": contents}),
        "OpenAI's input": (
            "input",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": uri}]}]},
        ),
        "messages": ("messages", {"messages": messages}),
        "messages in extra_body": ("messages", {"extra_body": {"messages": messages}}),
        "messages of a text": ("messages", {"messages": [{"role": "user", "content": "a"}]}),
        "input of a text": ("input", {"input": "a blue kite"}),
        "contents in extra_body": ("contents", {"extra_body": {"contents": "a blue kite"}}),
        "images of an input": ("input", {"input": {"images": [uri]}}),
        "image_input of an input": ("input", {"input": {"image_input": [URL]}}),
        "images of parameters": ("parameters", {"parameters": {"images": [PLAIN_URL]}}),
        "image_input of parameters": ("parameters", {"parameters": {"image_input": [PLAIN_URL]}}),
        "objects in images": ("parameters", {"parameters": {"images": [{"url": PLAIN_URL}]}}),
        "reference_images of config": ("config", {"config": {"reference_images": [{"link": PLAIN_URL}]}}),
        "base64 in images": ("parameters", {"parameters": {"images": [code]}}),
        "base64": ("photo", {"photo": code}),
        "extra_body thrice": ("extra_body", {"extra_body": {"extra_body": {"extra_body": {"image": uri}}}}),
        "a part in objects": ("whatever", {"whatever": {"a": {"b": [part]}}}),
        "a part in tuples": ("whatever", {"whatever": ((inline,),)}),
        "an address in lists": ("whatever", {"whatever": [[[{"a": URL}]]]}),
        "bytes in an object": ("whatever", {"whatever": {"a": b"bytes"}}),
        "a path in an object": ("whatever", {"whatever": {"a": Path("a.png")}}),
        "a JSON text": ("whatever", {"whatever": json.dumps({"a": [inline]})}),
        "an object as a JSON text": ("whatever", {"whatever": json.dumps(inline)}),
        "a part far down": ("whatever", {"whatever": nested(30, part)}),
        "with drop_params": ("whatever", {"whatever": nested(3, part), "drop_params": True}),
    }


HIDDEN = list(hidden("data:image/png;base64,AAAA"))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize("case", HIDDEN)
def test_it_is_refused_by_name(case, action, door, through, gateway, png, data_uri):
    name, arguments = hidden(data_uri)[case]
    if OLD and "extra_body" in arguments and action == "edit" and door != "sdk":
        pytest.skip("aimage_edit itself loses extra_body there")
    own = {"image": png} if action == "edit" else {}
    with pytest.raises(litellm.BadRequestError, match=rf"{name}: a (picture|conversation) is not accepted.*image_urls"):
        through(door, action)(prompt="a kite", **own, **arguments)
    assert not gateway.requests


def test_a_deployment_can_hold_none_either(deploy, gateway):
    router = litellm.Router(model_list=[deploy(parameters={"images": [URL]})], num_retries=0)
    with pytest.raises(litellm.BadRequestError, match="parameters: a picture is not accepted"):
        router.image_generation(model="image", prompt="a kite")
    assert not gateway.requests


NOTES = {"trace_url": URL, "images": [URL], "deep": {"image": {"url": URL}}}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"metadata": NOTES},
        {"litellm_metadata": NOTES},
        {"extra_body": {"metadata": NOTES}},
        {"tags": [URL]},
        {"user": URL},
        {"extra_headers": {"X-Trace": URL}},
        {"webhook": URL},
        {"client_reference_id": URL},
    ],
    ids=str,
)
def test_notes_may_hold_addresses(arguments, action, door, through, gateway, png):
    own = {"image": png} if action == "edit" else {}
    assert through(door, action)(prompt="a kite", **own, **arguments).data
    assert len(gateway.bill.charges) == 1


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": [1, None, "woodcut", {"c": True}]}},
        {"callback": {"url": "https://example.com/done"}},
        {"file": {"file_data": "data:application/pdf;base64,AAAA"}},
        [["a"], ["b", {"size": "1:1"}]],
        "[not JSON",
        {"modalities": ["IMAGE"]},
    ],
    ids=str,
)
def test_what_holds_no_picture_is_passed_on(value, account, gateway):
    litellm.image_generation(prompt="a kite", whatever=value, **account)
    assert gateway.requests_to("submit")[-1].body["whatever"] == value


@pytest.mark.parametrize("value", [None, "", []], ids=repr)
def test_an_empty_conversation_says_nothing(value, account, gateway):
    litellm.image_generation(prompt="a kite", messages=value, input=value, **account)
    assert set(gateway.requests_to("submit")[-1].body) == {"model", "prompt"}


def circular() -> dict[str, Any]:
    held: dict[str, Any] = {"type": "file"}
    held |= {"source": held, "a": [held], "image": {"source": held}}
    return held


def shared() -> list[Any]:
    held: list[Any] = ["a"]
    for _ in range(100):
        held = [held, held, {"a": held}]
    return held


def test_what_is_nested_without_end_is_refused(account, gateway):
    with pytest.raises(litellm.BadRequestError, match=r"whatever is nested too deeply.*Nothing was charged"):
        litellm.image_generation(prompt="a kite", whatever=circular(), **account)
    assert not gateway.requests


@pytest.mark.parametrize("make", [shared, lambda: nested(3000, "a")], ids=["shared", "deep"])
def test_what_would_take_for_ever_is_refused_at_once(make):
    """Not through LiteLLM 1.80, which writes it out for its log: 2^100 times."""
    with pytest.raises(BadRequestError, match="whatever is nested too deeply"):
        holds_pictures("whatever", make())


@pytest.mark.parametrize("text", ["a" * 30_000_000, "[" * 30_000_000, "https://example.com/" + "a" * 30_000_000])
def test_a_long_text_is_looked_through_at_once(text):
    started = time.process_time()
    assert not holds_pictures("whatever", {"a": [text]})
    assert time.process_time() - started < 2


def post(proxy: Any, body: dict[str, Any], path: str = "/v1/images/generations") -> httpx.Response:
    headers = {"Authorization": "Bearer sk-gateway"}
    return httpx.post(f"{proxy.url}{path}", headers=headers, timeout=60, json={"model": "nano-banana-1"} | body)


@pytest.mark.parametrize("case", HIDDEN)
def test_a_proxy_refuses_it_by_name(case, proxy, gateway, data_uri):
    name, arguments = hidden(data_uri)[case]
    try:
        json.dumps(arguments)
    except TypeError:
        pytest.skip("not JSON")
    response = post(proxy, {"prompt": f"a kite {uuid.uuid4()}", **arguments})
    if case == "messages of a text":  # the proxy itself leaves it out, in favor of the prompt
        assert (response.status_code, len(gateway.bill.charges)) == (200, 1)
        return
    assert response.status_code == 400, response.text
    assert f"{name}: a " in response.text
    assert "Nothing was charged" in response.text
    assert not gateway.requests
