"""The provider inside LiteLLM: timeouts, keys, logs, registration, arguments that it cannot find, health checks."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from typing import Any

import httpx
import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

import litellm_apimaster
from litellm_apimaster import WaitTimeout, apimaster_llm, register


@pytest.fixture
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


def generate_image(account: dict[str, Any], **arguments: Any) -> Any:
    return litellm.image_generation(prompt="a red kite", **account | arguments)


@pytest.mark.parametrize("timeout", [0.3, "0.3", httpx.Timeout(0.3), httpx.Timeout(5, read=0.3)], ids=str)
def test_a_timeout_ends_the_wait(timeout, account, gateway):
    gateway.latency = "manual"
    began = time.monotonic()
    with pytest.raises(WaitTimeout):
        generate_image(account, timeout=timeout)
    assert 0.25 < time.monotonic() - began < 3


def test_a_deployments_timeout_ends_the_wait(deploy, gateway):
    gateway.latency = "manual"
    router = Router(model_list=[deploy(timeout=0.3)], num_retries=0)
    with pytest.raises(WaitTimeout):
        asyncio.run(router.aimage_generation(model="image", prompt="a red kite"))


def test_an_edit_accepts_a_timeout_or_none(account, gateway, png):
    litellm.image_edit(image=png, prompt="a red kite", timeout=None, **account)
    gateway.latency = "manual"
    with pytest.raises(WaitTimeout):
        litellm.image_edit(image=png, prompt="a red kite", timeout=0.3, **account)


def test_a_timeout_that_is_not_a_number_is_an_error(account, gateway):
    with pytest.raises(litellm.BadRequestError, match="timeout must be a number of seconds, not 'soon'"):
        generate_image(account, timeout="soon")
    assert not gateway.requests


def test_the_key_comes_from_the_call_or_the_environment(account, gateway, submit_as_image, monkeypatch):
    generate_image(account, api_key="sk-second")
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-first")
    monkeypatch.setenv("APIMASTER_BASE_URL", gateway.base_url)
    litellm.image_generation(model="apimaster/nano-banana-2", prompt="a red kite")
    assert [purchase.key for purchase in gateway.requests_to("submit")] == [1, 0]


def test_the_provider_never_sends_another_providers_key(gateway, monkeypatch):
    monkeypatch.setattr(litellm, "api_key", "sk-of-somebody-else")
    with pytest.raises(litellm.AuthenticationError, match="APIMASTER_API_KEY"):
        litellm.image_generation(model="apimaster/nano-banana-2", prompt="a cat", api_base=gateway.base_url)
    assert not gateway.requests


def test_each_deployment_uses_its_own_key(deploy, gateway, submit_as_image):
    router = Router(model_list=[deploy(), deploy(key="sk-second")], num_retries=0)
    for number in range(20):
        router.image_generation(model="image", prompt=f"kite {number}")
    assert {purchase.key for purchase in gateway.requests_to("submit")} == {0, 1}


class CallbackLog(CustomLogger):
    """What LiteLLM passes to its callbacks before and after a call."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Any] = []
        self.after: list[Any] = []

    def log_pre_api_call(self, model, messages, kwargs):
        self.before.append(copy.copy(kwargs))

    def log_post_api_call(self, kwargs, response_obj, start_time, end_time):
        self.after.append(copy.copy(kwargs))


def test_logs_contain_the_request_but_neither_key_nor_base64(
    account, submit_as_image, monkeypatch, png, data_uri, caplog
):
    log = CallbackLog()
    monkeypatch.setattr(litellm, "callbacks", [log])
    monkeypatch.setattr(litellm, "input_callback", [log])
    caplog.set_level(logging.DEBUG, logger="LiteLLM")
    litellm.image_edit(image=[png, data_uri], prompt="a red kite", response_format="b64_json", **account)
    (before,) = log.before
    logged = before["additional_args"]["complete_input_dict"]
    assert (logged["model"], logged["references"]) == ("gemini-3.1-flash-image-preview", 2)
    (after,) = log.after
    assert json.loads(after["original_response"])["cost"] == "0.0375"
    for entry in (before["additional_args"], before["input"], before["api_key"], after["original_response"]):
        text = repr(entry)
        assert account["api_key"] not in text
        assert "iVBORw0KGgo" not in text


def test_registering_again_changes_nothing():
    before = list(litellm.custom_provider_map)
    assert register() is apimaster_llm
    assert litellm.custom_provider_map == before
    assert sum(item["provider"] == "apimaster" for item in before) == 1


def test_public_names():
    assert litellm_apimaster.__all__ == ["APIMasterLLM", "OutcomeUnknown", "WaitTimeout", "apimaster_llm", "register"]


class LoggingWithoutArguments:
    """LiteLLM's logging object without the attribute in which this package looks for the arguments of the call."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if "caching_handler" in name:
            raise AttributeError(name)
        return getattr(self._real, name)


@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
def test_arguments_missing_from_the_logging_object_come_from_the_stack_with_a_warning(
    blocking, account, gateway, submit_as_image, monkeypatch, caplog
):
    original = litellm_apimaster.call.arguments_of_call
    monkeypatch.setattr(
        "litellm_apimaster.call.arguments_of_call", lambda log, given: original(LoggingWithoutArguments(log), given)
    )
    if blocking:
        generate_image(account, size="16:9", n=2)
    else:
        asyncio.run(litellm.aimage_generation(prompt="a red kite", size="16:9", n=2, **account))
    assert "does not keep the arguments of a call where this package knows to look" in caplog.text
    # no argument is lost as long as LiteLLM's own function is on the stack
    assert [purchase.body["size"] for purchase in gateway.requests_to("submit")] == ["16:9", "16:9"]


def test_a_warning_names_the_arguments_that_may_be_lost(account, gateway, submit_as_image, monkeypatch, caplog):
    original = litellm_apimaster.call.arguments_of_call
    monkeypatch.setattr(
        "litellm_apimaster.call.arguments_of_call", lambda log, given: original(LoggingWithoutArguments(log), given)
    )
    monkeypatch.setattr("litellm_apimaster.call_arguments._ENTRY_POINTS", frozenset())
    generate_image(account, size="16:9", resolution="2K")
    assert "size, n, quality, response_format and mask may be LOST" in caplog.text
    (purchase,) = gateway.requests_to("submit")
    # since 1.110, LiteLLM itself passes size to the provider
    assert purchase.body.get("size") in (None, "16:9")
    assert purchase.body["resolution"] == "2K"


@pytest.fixture
def health_checks():
    for name in ("fastapi", "orjson"):
        pytest.importorskip(name, reason="LiteLLM's health checks need litellm[proxy]")


@pytest.mark.parametrize("mode", ["image_generation", "image_edit", "chat", None])
def test_a_health_check_buys_nothing(mode, account, gateway, health_checks):
    if mode == "image_edit" and not hasattr(
        litellm.litellm_core_utils.health_check_helpers, "IMAGE_EDIT_HEALTH_CHECK_PROMPT"
    ):
        pytest.skip("this LiteLLM has no health check for edits")
    arguments = dict(account)
    if mode in ("chat", None):
        arguments["messages"] = [{"role": "user", "content": "hi"}]
    result = asyncio.run(litellm.ahealth_check(arguments, mode=mode, prompt="test"))
    assert "error" not in result
    assert not gateway.bill.charges
    assert [received.route for received in gateway.requests] == ["models"]


def test_a_health_check_with_a_wrong_key_fails(account, gateway, health_checks):
    result = asyncio.run(litellm.ahealth_check(account | {"api_key": "sk-wrong"}, mode="image_generation", prompt="a"))
    assert "AuthenticationError" in result["error"]
    assert not gateway.bill.charges


def test_the_proxys_health_check_buys_nothing(proxy, gateway):
    health = json.loads(proxy.get("/health"))
    assert health["unhealthy_count"] == 0
    deployments = json.loads(proxy.get("/model/info"))["data"]
    assert health["healthy_count"] == len(deployments) > 1
    assert not gateway.bill.charges
    assert {received.route for received in gateway.requests} == {"models"}


def test_the_proxy_lists_its_models_with_their_price(proxy, gateway):
    models = json.loads(proxy.get("/model/info"))["data"]
    priced = dict.fromkeys(("apimaster/nano-banana-2", "apimaster/gemini-3.1-flash-image"), 0.0375)
    priced |= dict.fromkeys(("apimaster/gpt-image-2", "apimaster/nano-banana-2.1"))
    assert {model["litellm_params"]["model"] for model in models} == set(priced)
    for model in models:
        assert model["model_info"]["mode"] == "image_generation"
        assert model["model_info"]["output_cost_per_image"] == priced[model["litellm_params"]["model"]]


def test_the_proxys_log_contains_neither_key_nor_base64(proxy, gateway, png):
    proxy.client.images.edit(model="nano-banana", prompt="a cat", image=("a.png", png), response_format="b64_json")
    text = proxy.log.read_text(errors="replace")
    assert "sk-first" not in text
    assert "iVBORw0KGgo" not in text


@pytest.mark.parametrize("kind", ["generation", "edit", "chat"])
def test_the_proxys_answer_names_tasks_and_failures_in_its_headers(kind, proxy, gateway, png):
    images, chats = proxy.client.images.with_raw_response, proxy.client.chat.completions.with_raw_response
    if kind == "generation":
        gateway.script("ok", "task_failed", on="task")
        response = images.generate(model="nano-banana-1", prompt="a kite", n=2)
    elif kind == "edit":
        gateway.script("ok", "task_failed", on="task")
        response = images.edit(model="nano-banana-1", prompt="a kite", image=("a.png", png), n=2)
    else:
        response = chats.create(model="nano-banana-1", messages=[{"role": "user", "content": "a kite"}])
    if kind == "generation" and not hasattr(CustomLogger, "async_post_call_response_headers_hook"):
        return  # this LiteLLM has no way to add headers here
    made = [job.id for job in gateway.jobs]
    assert set(response.headers["llm_provider-x-apimaster-tasks"].split(",")) <= set(made)
    assert response.headers.get("llm_provider-x-apimaster-failures") == (None if kind == "chat" else "1")
