"""A stream of images, which LiteLLM can't carry: refused and free at every entry point. A streamed chat: paid once."""

from __future__ import annotations

import asyncio
import itertools
from importlib.metadata import version
from typing import Any

import litellm
import openai
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

STREAMED: list[dict[str, Any]] = [
    {"stream": True},
    {"stream": "true"},
    {"stream": "True"},
    {"stream": 1},
    {"partial_images": 2},
    {"partial_images": "2"},
    {"stream": True, "partial_images": 0},
]
NOT_STREAMED: list[dict[str, Any]] = [
    {"stream": False, "partial_images": 0},
    {"stream": "False", "partial_images": "0"},
]
PRICE = 0.0375
OLD = tuple(map(int, version("litellm").split(".")[:2])) < (1, 100)


@pytest.fixture(params=["generation", "edit"])
def ask(request: pytest.FixtureRequest, png: bytes) -> tuple[str, dict[str, Any]]:
    """An action and its arguments."""
    return request.param, {"prompt": "a red kite", **({"image": png} if request.param == "edit" else {})}


def assert_refused(error: Any, gateway: Any) -> None:
    assert error.status_code == 400
    assert "carries no stream of images" in str(error)
    assert "Nothing was charged" in str(error)
    assert not gateway.requests


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("entry_point", ["sdk", "sdk async", "router", "router async"])
def test_a_stream_is_refused_and_costs_nothing(entry_point, drop, ask, through, gateway, monkeypatch):
    action, arguments = ask
    if (entry_point, action) == ("router", "edit"):
        entry_point = "router async"  # a Router has no blocking image_edit
    monkeypatch.setattr(litellm, "drop_params", drop)
    call = through(entry_point, action)
    lost = OLD and action == "edit" and entry_point != "sdk"  # aimage_edit itself loses extra_body there
    for parameters in STREAMED:
        for given in (parameters, *([] if lost else [{"extra_body": parameters}])):
            with pytest.raises(litellm.BadRequestError) as caught:
                call(**arguments, **given)
            assert_refused(caught.value, gateway)


@pytest.mark.parametrize("names", [["stream"], ["stream", "partial_images"]], ids=str)
@pytest.mark.parametrize("entry_point", ["sdk", "sdk async", "router async"])
def test_a_stream_that_the_call_would_drop_is_refused(entry_point, names, ask, through, gateway):
    action, arguments = ask
    call = through(entry_point, action)
    for parameters in STREAMED:
        with pytest.raises(litellm.BadRequestError) as caught:
            call(**arguments, **parameters, additional_drop_params=names)
        assert_refused(caught.value, gateway)


def test_a_stream_that_a_deployment_would_drop_is_refused(deploy, gateway, png):
    router = Router(model_list=[deploy(additional_drop_params=["stream", "style"])], num_retries=0)
    for call in (
        lambda: router.image_generation(model="image", prompt="a red kite", stream=True),
        lambda: asyncio.run(router.aimage_edit(model="image", image=png, prompt="a red kite", stream=True)),
    ):
        with pytest.raises(litellm.BadRequestError) as caught:
            call()
        assert_refused(caught.value, gateway)
    assert router.image_generation(model="image", prompt="a red kite", stream=False, style="vivid").data


def test_a_stream_that_a_hook_of_the_proxy_drops_is_refused(ask, through, gateway):
    """The client's own request is still there."""
    action, arguments = ask
    for sent in (True, "true", 1):
        with pytest.raises(litellm.BadRequestError) as caught:
            through("sdk", action)(**arguments, proxy_server_request={"body": {"stream": sent}})
        assert_refused(caught.value, gateway)
    assert through("sdk", action)(**arguments, proxy_server_request={"body": {"stream": False}}).data


def test_a_stream_that_a_deployment_asks_for_is_refused(deploy, gateway):
    router = Router(model_list=[deploy(stream=True, drop_params=True)], num_retries=0)
    with pytest.raises(litellm.BadRequestError) as caught:
        router.image_generation(model="image", prompt="a red kite")
    assert_refused(caught.value, gateway)


@pytest.mark.parametrize("entry_point", ["sdk", "sdk async", "router async", "proxy"])
def test_an_answer_that_is_not_streamed_is_delivered(entry_point, ask, through, gateway):
    action, arguments = ask
    call = through(entry_point, action)
    for parameters in NOT_STREAMED:
        gateway.reset()
        assert len(call(**arguments, **parameters).data) == 1
        assert len(gateway.bill.charges) == 1


def through_openai(
    client: Any, action: str, arguments: dict[str, Any], parameters: dict[str, Any], model: str = "nano-banana-1"
) -> Any:
    """A streamed call by the stock client, which sends an edit as a form."""
    own = {name: value for name, value in parameters.items() if name == "stream" and value is True}
    method = client.images.generate if action == "generation" else client.images.edit
    if "image" in arguments:
        arguments = {**arguments, "image": ("a.png", arguments["image"], "image/png")}
    body = {name: value for name, value in parameters.items() if name not in own}
    return method(model=model, extra_body=body, **arguments, **own)


def test_the_proxy_refuses_a_stream(ask, proxy, gateway):
    """As JSON and as fields of a form."""
    action, arguments = ask
    for parameters in STREAMED:
        with pytest.raises(openai.BadRequestError) as caught:
            through_openai(proxy.client.with_options(max_retries=0), action, arguments, parameters)
        assert_refused(caught.value, gateway)


def test_the_proxy_refuses_a_stream_that_its_client_would_drop(proxy, gateway):
    client = proxy.client.with_options(max_retries=0)
    for parameters in STREAMED:
        body = parameters | {"additional_drop_params": ["stream", "partial_images"]}
        with pytest.raises(openai.BadRequestError) as caught:
            through_openai(client, "generation", {"prompt": "a red kite"}, body)
        assert_refused(caught.value, gateway)


DROPPING = """
model_list:
  - model_name: nano-banana-1
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}" }}
  - model_name: dropping
    litellm_params:
      model: {model}
      api_key: {key}
      api_base: "{url}"
      additional_drop_params: [stream, partial_images]
litellm_settings:
  drop_params: true
  custom_provider_map:
    - {{ provider: apimaster, custom_handler: {handler} }}
general_settings: {{ master_key: sk-gateway }}
"""


def test_a_proxy_that_drops_parameters_refuses_a_stream(start_proxy, gateway, png, tmp_path):
    with start_proxy(DROPPING, tmp_path, {"APIMASTER_LEDGER": str(tmp_path / "ledger.db")}) as proxy:
        client = proxy.client.with_options(max_retries=0)
        for action, arguments in (("generation", {}), ("edit", {"image": png})):
            for model, parameters in itertools.product(("nano-banana-1", "dropping"), STREAMED):
                with pytest.raises(openai.BadRequestError) as caught:
                    through_openai(client, action, {"prompt": "a red kite", **arguments}, parameters, model=model)
                assert_refused(caught.value, gateway)
        assert len(client.images.generate(model="nano-banana-1", prompt="a red kite", style="vivid").data) == 1
    assert len(gateway.bill.charges) == 1  # it does drop, and the stream was not what it dropped


class Costs(CustomLogger):
    """What success events report as the cost."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: list[Any] = []
        self.called = asyncio.Event()

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.reported.append(kwargs["response_cost"])
        self.called.set()


def test_a_streamed_chat_delivers_its_image_and_its_cost_once(account, gateway, own_logging_worker, monkeypatch):
    costs = Costs()
    monkeypatch.setattr(litellm, "callbacks", [costs])

    async def read() -> list[Any]:
        messages = [{"role": "user", "content": "a red kite"}]
        chunks = [chunk async for chunk in await litellm.acompletion(messages=messages, stream=True, **account)]
        await asyncio.wait_for(costs.called.wait(), 10)
        return chunks

    chunks = asyncio.run(read())
    assert len([chunk for chunk in chunks if chunk.choices and getattr(chunk.choices[0].delta, "images", None)]) == 1
    assert costs.reported == [0.0 if OLD else pytest.approx(PRICE)]  # LiteLLM 1.80 keeps no cost of a stream
    assert float(gateway.bill.total) == pytest.approx(PRICE)
