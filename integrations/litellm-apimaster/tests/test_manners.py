"""LiteLLM's manners: timeouts, keys, logs, loops, health checks, and being known to it."""

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
def at_once(gateway):
    gateway.dialect = "submit_as_image"


def draw(account: dict[str, Any], **said: Any) -> Any:
    return litellm.image_generation(prompt="a red kite", **account | said)


@pytest.mark.parametrize("timeout", [0.3, "0.3", httpx.Timeout(0.3), httpx.Timeout(5, read=0.3)], ids=str)
def test_a_timeout_ends_the_wait(timeout, account, gateway):
    gateway.latency = "manual"
    began = time.monotonic()
    with pytest.raises(WaitTimeout):
        draw(account, timeout=timeout)
    assert 0.25 < time.monotonic() - began < 3


def test_a_deployments_timeout_ends_the_wait(deploy, gateway):
    gateway.latency = "manual"
    made = Router(model_list=[deploy(timeout=0.3)], num_retries=0)
    with pytest.raises(WaitTimeout):
        asyncio.run(made.aimage_generation(model="image", prompt="a red kite"))


def test_edits_take_a_timeout_and_none(account, gateway, picture):
    litellm.image_edit(image=picture, prompt="a red kite", timeout=None, **account)
    gateway.latency = "manual"
    with pytest.raises(WaitTimeout):
        litellm.image_edit(image=picture, prompt="a red kite", timeout=0.3, **account)


def test_a_timeout_that_is_none_of_these_is_an_error(account, gateway):
    with pytest.raises(litellm.BadRequestError, match="timeout must be a number of seconds, not 'soon'"):
        draw(account, timeout="soon")
    assert not gateway.requests


def test_keys_come_from_the_call_or_the_environment(account, gateway, at_once, monkeypatch):
    draw(account, api_key="sk-second")
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-first")
    monkeypatch.setenv("APIMASTER_BASE_URL", gateway.base_url)
    litellm.image_generation(model="apimaster/nano-banana-2", prompt="a red kite")
    assert [seen.key for seen in gateway.requests_to("submit")] == [1, 0]


def test_another_providers_key_is_never_sent(gateway, monkeypatch):
    monkeypatch.setattr(litellm, "api_key", "sk-of-somebody-else")
    with pytest.raises(litellm.AuthenticationError, match="APIMASTER_API_KEY"):
        litellm.image_generation(model="apimaster/nano-banana-2", prompt="a cat", api_base=gateway.base_url)
    assert not gateway.requests


def test_each_deployment_uses_its_own_key(deploy, gateway, at_once):
    made = Router(model_list=[deploy(), deploy(key="sk-second")], num_retries=0)
    for number in range(20):
        made.image_generation(model="image", prompt=f"kite {number}")
    assert {seen.key for seen in gateway.requests_to("submit")} == {0, 1}


class Log(CustomLogger):
    """Everything that LiteLLM tells its callbacks before and after a call."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Any] = []
        self.after: list[Any] = []

    def log_pre_api_call(self, model, messages, kwargs):
        self.before.append(copy.copy(kwargs))

    def log_post_api_call(self, kwargs, response_obj, start_time, end_time):
        self.after.append(copy.copy(kwargs))


def test_logs_hold_the_order_and_neither_key_nor_base64(account, at_once, monkeypatch, picture, picture_uri, caplog):
    log = Log()
    monkeypatch.setattr(litellm, "callbacks", [log])
    monkeypatch.setattr(litellm, "input_callback", [log])
    caplog.set_level(logging.DEBUG, logger="LiteLLM")
    litellm.image_edit(image=[picture, picture_uri], prompt="a red kite", response_format="b64_json", **account)
    (before,) = log.before
    told = before["additional_args"]["complete_input_dict"]
    assert (told["model"], told["references"]) == ("gemini-3.1-flash-image-preview", 2)
    (after,) = log.after
    assert json.loads(after["original_response"])["cost"] == "0.0375"
    for said in (before["additional_args"], before["input"], before["api_key"], after["original_response"]):
        text = repr(said)
        assert account["api_key"] not in text
        assert "iVBORw0KGgo" not in text


def test_register_can_be_repeated():
    before = list(litellm.custom_provider_map)
    assert register() is apimaster_llm
    assert litellm.custom_provider_map == before
    assert sum(item["provider"] == "apimaster" for item in before) == 1


def test_public_names():
    assert litellm_apimaster.__all__ == ["APIMasterLLM", "OutcomeUnknown", "WaitTimeout", "apimaster_llm", "register"]


class _Bare:
    """A logging object of a LiteLLM that keeps the arguments elsewhere."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if "caching_handler" in name:
            raise AttributeError(name)
        return getattr(self._real, name)


@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
def test_a_litellm_that_keeps_the_arguments_elsewhere_is_reported_loudly(
    blocking, account, gateway, at_once, monkeypatch, caplog
):
    original = litellm_apimaster.call.arguments_of_call
    monkeypatch.setattr("litellm_apimaster.call.arguments_of_call", lambda log, given: original(_Bare(log), given))
    if blocking:
        draw(account, size="16:9", n=2)
    else:
        asyncio.run(litellm.aimage_generation(prompt="a red kite", size="16:9", n=2, **account))
    assert "does not keep the arguments of a call where this package knows to look" in caplog.text
    # even so, nothing is lost as long as LiteLLM's own function is on the stack
    assert [seen.body["size"] for seen in gateway.requests_to("submit")] == ["16:9", "16:9"]


def test_what_can_be_found_nowhere_is_reported_as_perhaps_lost(account, gateway, at_once, monkeypatch, caplog):
    original = litellm_apimaster.call.arguments_of_call
    monkeypatch.setattr("litellm_apimaster.call.arguments_of_call", lambda log, given: original(_Bare(log), given))
    monkeypatch.setattr("litellm_apimaster.call_arguments._ENTRY_POINTS", frozenset())
    draw(account, size="16:9", resolution="2K")
    assert "size, n, quality, response_format and mask may be LOST" in caplog.text
    (order,) = gateway.requests_to("submit")
    # LiteLLM passes the size on since 1.110
    assert order.body.get("size") in (None, "16:9")
    assert order.body["resolution"] == "2K"


@pytest.fixture
def health_checks():
    for name in ("fastapi", "orjson"):
        pytest.importorskip(name, reason="LiteLLM's health checks need litellm[proxy]")


@pytest.mark.parametrize("mode", ["image_generation", "image_edit", "chat", None])
def test_a_health_check_buys_nothing(mode, account, gateway, health_checks):
    if mode == "image_edit" and not hasattr(
        litellm.litellm_core_utils.health_check_helpers, "IMAGE_EDIT_HEALTH_CHECK_PROMPT"
    ):
        pytest.skip("this LiteLLM has no such check")
    asked = dict(account)
    if mode in ("chat", None):
        asked["messages"] = [{"role": "user", "content": "hi"}]
    found = asyncio.run(litellm.ahealth_check(asked, mode=mode, prompt="test"))
    assert "error" not in found
    assert not gateway.bill.charges
    assert [seen.route for seen in gateway.requests] == ["models"]


def test_a_health_check_with_a_wrong_key_fails(account, gateway, health_checks):
    found = asyncio.run(litellm.ahealth_check(account | {"api_key": "sk-wrong"}, mode="image_generation", prompt="a"))
    assert "AuthenticationError" in found["error"]
    assert not gateway.bill.charges


def test_the_proxys_health_check_buys_nothing(proxy, gateway):
    found = json.loads(proxy.get("/health"))
    assert found["unhealthy_count"] == 0
    assert found["healthy_count"] == 5
    assert not gateway.bill.charges
    assert {seen.route for seen in gateway.requests} == {"models"}


def test_the_proxy_lists_its_models_with_their_price(proxy, gateway):
    found = json.loads(proxy.get("/model/info"))["data"]
    for model in found:
        assert model["model_info"]["mode"] == "image_generation"
        assert model["model_info"]["output_cost_per_image"] == 0.0375


def test_the_proxys_log_holds_neither_key_nor_base64(proxy, gateway, picture):
    proxy.client.images.edit(model="nano-banana", prompt="a cat", image=("a.png", picture), response_format="b64_json")
    text = proxy.log.read_text(errors="replace")
    assert "sk-first" not in text
    assert "iVBORw0KGgo" not in text
