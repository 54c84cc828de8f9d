"""Loggers get no base64 of this provider's calls; the caller gets the picture all the same."""

from __future__ import annotations

import asyncio
import base64
import queue
import socket
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils import litellm_logging
from openai import OpenAI

from litellm_apimaster.log_redaction import LogRedaction, without_base64

LEFT_OUT = "characters left out)"
PNG = b"\x89PNG\r\n\x1a\n"
BASE64_OF_A_PNG = base64.b64encode(PNG).decode()[:10]


class Events(CustomLogger):
    """Success events as text, with all that they hold, by the tag of the call."""

    def __init__(self) -> None:
        super().__init__()
        self._reported: queue.Queue[tuple[str, str]] = queue.Queue()

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        for tag in kwargs["litellm_params"]["metadata"].get("tags") or ():
            self._reported.put((tag, repr((kwargs, response_obj, response_obj._hidden_params))))

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def wait_for(self, wanted: str) -> str:
        while True:  # LiteLLM may report calls of earlier tests late
            tag, event = self._reported.get(timeout=5)
            if tag == wanted:
                return event


@pytest.fixture
def events(gateway: Any, own_logging_worker: None, monkeypatch: pytest.MonkeyPatch) -> Events:
    created = Events()
    monkeypatch.setattr(litellm, "callbacks", [created])
    return created


def picture_of(response: Any) -> bytes:
    """The picture that the caller has: of images, a chat, or the chunks of a chat."""
    if isinstance(response, list):
        found = [chunk.choices[0].delta.get("images") for chunk in response if chunk.choices]
        encoded = next(images for images in found if images)[0]["image_url"]["url"].partition(",")[2]
    elif hasattr(response, "choices"):
        encoded = response.choices[0].message.images[0]["image_url"]["url"].partition(",")[2]
    else:
        encoded = response.data[0].b64_json
    return base64.b64decode(encoded, validate=True)


async def awaited(call: Any, events: Events, tag: str) -> tuple[Any, str]:
    response = await call
    if hasattr(response, "__aiter__"):
        response = [chunk async for chunk in response]
    return response, await asyncio.to_thread(events.wait_for, tag)


WAYS = ["function", "asyncio function", "router", "asyncio router"]
CALLS = [(kind, way) for kind in ("generation", "edit", "chat", "stream") for way in WAYS]
CALLS.remove(("edit", "router"))  # a Router has no blocking image_edit


@pytest.mark.parametrize(("kind", "way"), CALLS)
def test_an_event_holds_no_base64_and_the_caller_gets_the_picture(kind, way, account, deploy, events, png, data_uri):
    tag = f"{kind} {way}"
    source: Any = Router(model_list=[deploy()], num_retries=0) if "router" in way else litellm
    arguments: dict[str, Any] = {"model": "image"} if "router" in way else account
    arguments = {**arguments, "metadata": {"tags": [tag]}}
    if kind in ("chat", "stream"):
        name = "completion"
        content = [{"type": "text", "text": "at night"}, {"type": "image_url", "image_url": {"url": data_uri}}]
        messages = [{"role": "user", "content": content}]
        arguments |= {"messages": messages, "stream": kind == "stream"}
    else:
        name = f"image_{kind}"
        arguments |= {"prompt": "a red kite", "response_format": "b64_json", "image_urls": [data_uri]}
        arguments |= {"image": png} if kind == "edit" else {}
    if "asyncio" in way:
        response, event = asyncio.run(awaited(getattr(source, f"a{name}")(**arguments), events, tag))
    else:
        response = getattr(source, name)(**arguments)
        response = list(response) if kind == "stream" else response
        event = events.wait_for(tag)
    assert picture_of(response).startswith(PNG)
    assert data_uri in repr(arguments)
    assert BASE64_OF_A_PNG not in event
    assert LEFT_OUT in event


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_of_other_providers_are_logged_unchanged(asynchronous, events, data_uri):
    tag = f"other {asynchronous}"
    messages = [{"role": "user", "content": data_uri}]
    arguments: Any = {"model": "openai/some", "messages": messages, "mock_response": data_uri}
    arguments["metadata"] = {"tags": [tag]}
    if asynchronous:
        _, event = asyncio.run(awaited(litellm.acompletion(**arguments), events, tag))
    else:
        litellm.completion(**arguments)
        event = events.wait_for(tag)
    assert BASE64_OF_A_PNG in event
    assert LEFT_OUT not in event


ENCODED = base64.b64encode(bytes(1_000_000)).decode()
SHOWN = "(base64 of 1,333,336 characters left out)"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (ENCODED, SHOWN),
        ({"b64_json": "iVBORw0KGgo="}, {"b64_json": "(base64 of 12 characters left out)"}),
        ({"b64_json": None, "url": "https://example.org/a.png"}, None),
        (f"data:image/png;base64,{ENCODED}", SHOWN),
        ("data:image/png;base64,iVBORw0KGgo=", "(base64 of 12 characters left out)"),
        (f"what is ![a](data:image/png;base64,{ENCODED}) this", f"what is ![a]({SHOWN}) this"),
        ([{"inline_data": {"data": ENCODED}}], [{"inline_data": {"data": SHOWN}}]),
        (("a", [ENCODED]), ["a", [SHOWN]]),
        ("a red kite " * 1000, None),
        ("iVBORw0KGgo=", "(base64 of 12 characters left out)"),
        ("/9j/4AAQ", "(base64 of 8 characters left out)"),
        ("data:image/png;base64, AAAA", "(base64 of 4 characters left out)"),
        ({"n": 1, "user": None, "image": b"bytes"}, None),
    ],
)  # fmt: skip
def test_what_is_left_out(given, shown):
    found = without_base64(given)
    assert found == (given if shown is None else shown)
    assert (found is given) is (shown is None)


def test_a_value_that_holds_itself_ends():
    holds_itself: dict[str, Any] = {"picture": ENCODED}
    holds_itself["again"] = holds_itself
    assert without_base64(holds_itself)["again"]["picture"] == SHOWN


def test_what_can_not_be_read_is_logged_as_it_is():
    class Unreadable(dict[str, Any]):
        def items(self) -> Any:
            raise OSError

    event = {"custom_llm_provider": "apimaster", "messages": Unreadable()}
    assert LogRedaction().logging_hook(event, "response", "completion") == (event, "response")


@pytest.mark.parametrize("name", ["complete_streaming_response", "async_complete_streaming_response"])
def test_the_request_of_a_stream_stays_until_its_tokens_are_counted(name, data_uri):
    messages = [{"role": "user", "content": data_uri}]
    event: dict[str, Any] = {"custom_llm_provider": "apimaster", "stream": True, "messages": messages}
    event, chunk = LogRedaction().logging_hook(event, {"b64_json": ENCODED}, "completion")
    assert event["messages"] is messages
    assert chunk == {"b64_json": SHOWN}
    event, _ = LogRedaction().logging_hook({**event, name: {}}, None, "completion")
    assert event["messages"] != messages


def test_functions_added_after_the_first_call_of_a_process_are_called(gateway, account, monkeypatch):
    monkeypatch.setattr(litellm.utils, "callback_list", [])
    monkeypatch.setattr(litellm_logging, "customLogger", None)
    litellm.image_generation(**account, prompt="a red kite")
    reported: queue.Queue[str] = queue.Queue()
    litellm.failure_callback.append(lambda kwargs, *_: reported.put(kwargs["input"]))
    with pytest.raises(litellm.AuthenticationError):
        litellm.image_generation(**account | {"api_key": "sk-unknown"}, prompt="a blue kite")
    assert reported.get(timeout=5) == "a blue kite"


CONFIG = """
model_list:
  - model_name: image
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
litellm_settings:
  custom_provider_map:
    - {{ provider: apimaster, custom_handler: {handler} }}
  callbacks: recorder.recorder
  cache: true
  cache_params: {{ type: local }}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""

RECORDER = """
import json, os, socket
from litellm.integrations.custom_logger import CustomLogger

class Recorder(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        with socket.create_connection(("127.0.0.1", int(os.environ["RECORDER_PORT"]))) as connection:
            connection.sendall(repr((kwargs, response_obj, response_obj._hidden_params)).encode())

recorder = Recorder()
"""


def test_the_loggers_of_a_proxy(start_proxy, gateway, png, data_uri, tmp_path):
    """From its first call on, which registers the redaction."""
    (tmp_path / "recorder.py").write_text(RECORDER, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        environment = {
            "LITELLM_MASTER_KEY": "sk-gateway",
            "APIMASTER_LEDGER": str(tmp_path / "ledger.db"),
            "RECORDER_PORT": str(server.getsockname()[1]),
        }

        def event() -> str:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                return stream.read().decode()

        with start_proxy(CONFIG, tmp_path, environment) as proxy:
            client: OpenAI = proxy.client
            body = {"image_urls": [data_uri]}
            images: Any = client.images.generate(model="image", prompt="x", response_format="b64_json", extra_body=body)
            found = [(images, event())]
            images = client.images.edit(model="image", prompt="x", image=("a.png", png), response_format="b64_json")
            found.append((images, event()))
            content: Any = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": data_uri}}]
            messages: Any = [{"role": "user", "content": content}]
            for cached in (False, True):
                chat = client.chat.completions.create(model="image", messages=messages)
                found.append((litellm.ModelResponse(**chat.model_dump()), event()))
                assert ("'cache_hit': True" in found[-1][1]) is cached
            chunks = list(client.chat.completions.create(model="image", messages=messages, stream=True, user="another"))
            found.append(([litellm.ModelResponseStream(**chunk.model_dump()) for chunk in chunks], event()))
            assert "LogRedaction" in proxy.get("/health/readiness") + proxy.get("/active/callbacks")
    for response, logged in found:
        assert picture_of(response).startswith(PNG)
        assert BASE64_OF_A_PNG not in logged
        assert LEFT_OUT in logged
