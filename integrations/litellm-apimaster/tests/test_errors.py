"""The error that a caller gets for each fault, and its cost: at most one charge per image, however LiteLLM retries."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import litellm
import openai
import pytest
from litellm import Router

from apimaster import errors as core_errors
from apimaster.errors import describe_charge
from apimaster.results import GeneratedImage, Task
from litellm_apimaster import OutcomeUnknown, WaitTimeout, register
from litellm_apimaster.errors import describe, to_litellm, unexpected

CHARGED = r"It (may have been|was) charged\."
NO_BALANCE = getattr(litellm.exceptions, "PaymentRequiredError", litellm.APIError)
RETRIED = "retried"

# fault: the error's class and status, and RETRIED if LiteLLM's Router retries it, since it costs nothing
ERRORS: dict[str, tuple[type[Exception], int, str]] = {
    "bad_request": (litellm.BadRequestError, 400, ""),
    "wrong_endpoint": (litellm.BadRequestError, 400, ""),
    "moderation": (litellm.ContentPolicyViolationError, 400, ""),
    "prompt_blocked": (litellm.ContentPolicyViolationError, 400, ""),
    "unauthorized": (litellm.AuthenticationError, 401, ""),
    "no_balance_402": (NO_BALANCE, 402, ""),
    "no_balance_403": (NO_BALANCE, 402, ""),
    "model_forbidden": (litellm.exceptions.PermissionDeniedError, 403, ""),
    "not_found": (litellm.NotFoundError, 404, ""),
    "not_found_html": (litellm.NotFoundError, 404, ""),
    "too_large": (litellm.BadRequestError, 400, ""),
    "unprocessable": (litellm.UnprocessableEntityError, 422, ""),
    "rate_limited": (litellm.RateLimitError, 429, RETRIED),
    "concurrency_limited": (litellm.RateLimitError, 429, RETRIED),
    "server_error_500": (litellm.InternalServerError, 500, RETRIED),
    "bad_gateway_json_502": (litellm.BadGatewayError, 502, RETRIED),
    "unavailable_503": (litellm.ServiceUnavailableError, 503, RETRIED),
    "generation_failed_502": (litellm.BadGatewayError, 502, RETRIED),
    "task_failed": (litellm.InternalServerError, 500, RETRIED),
    "task_failed_text": (litellm.InternalServerError, 500, RETRIED),
    "task_moderated": (litellm.ContentPolicyViolationError, 400, ""),
    "cut_before_acceptance": (OutcomeUnknown, 424, ""),
    "gateway_timeout_408": (OutcomeUnknown, 424, ""),
    "proxy_502_html": (OutcomeUnknown, 424, ""),
    "proxy_502_empty": (OutcomeUnknown, 424, ""),
    "proxy_504_html": (OutcomeUnknown, 424, ""),
    "proxy_524_html": (OutcomeUnknown, 424, ""),
    "proxy_524_empty": (OutcomeUnknown, 424, ""),
    "cut_after_acceptance": (OutcomeUnknown, 424, ""),
    "hang": (OutcomeUnknown, 424, ""),
    "truncated_body": (OutcomeUnknown, 424, ""),
    "garbage_json": (OutcomeUnknown, 424, ""),
    "html_200": (OutcomeUnknown, 424, ""),
    "empty_success": (OutcomeUnknown, 424, ""),
    "task_no_image": (OutcomeUnknown, 424, ""),
    "task_never_ends": (WaitTimeout, 424, ""),
}
UNKNOWN_OUTCOMES = [name for name, (kind, _, _) in ERRORS.items() if kind in (OutcomeUnknown, WaitTimeout)]
SHORT_TIMEOUTS = {"hang": 0.4, "task_never_ends": 0.4}
TIMEOUT = 30.0

SETUPS = ("one deployment", "two deployments", "a fallback")


def script_fault(gateway: Any, fault: str) -> float:
    """Script the fault for every request from now on; returns the timeout to call with."""
    options = {"retry_after": 0} if ERRORS[fault][0] is litellm.RateLimitError else {}
    gateway.script(fault, times=None, **options)
    return SHORT_TIMEOUTS.get(fault, TIMEOUT)


def assert_error(error: BaseException, fault: str) -> None:
    kind, status, _ = ERRORS[fault]
    assert isinstance(error, kind), repr(error)
    assert error.status_code == status
    assert error.llm_provider == "apimaster"
    assert error.model == "nano-banana-2"
    if fault in UNKNOWN_OUTCOMES:
        assert error.billed in ("maybe", "yes")
        assert re.search(CHARGED, str(error))
    else:
        assert describe_charge("no") in str(error)


def standing_charges(gateway: Any) -> list[Any]:
    return list(gateway.bill.standing)


@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("fault", ERRORS)
def test_errors_of_the_functions(fault, blocking, gateway, account):
    timeout = script_fault(gateway, fault)
    # max_retries: how often the core itself retries a purchase that cost nothing
    arguments = {"prompt": "a red kite", "timeout": timeout, "max_retries": 0, **account}
    with pytest.raises(openai.APIError) as caught:
        _ = litellm.image_generation(**arguments) if blocking else asyncio.run(litellm.aimage_generation(**arguments))
    assert_error(caught.value, fault)
    assert str(caught.value).count(describe_charge(getattr(caught.value, "billed", "no"))) == 1
    assert len(standing_charges(gateway)) <= 1


def make_router(deploy: Any, setup: str) -> Router:
    models = [deploy()]
    if setup == "two deployments":
        models.append(deploy(key="sk-second"))
    if setup == "a fallback":
        models.append(deploy("other", key="sk-second"))
    fallbacks = [{"image": ["other"]}] if setup == "a fallback" else []
    return Router(model_list=models, num_retries=3, fallbacks=fallbacks, disable_cooldowns=True)


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("fault", ERRORS)
def test_errors_of_a_router(fault, setup, gateway, deploy):
    timeout = script_fault(gateway, fault)
    with pytest.raises(openai.APIError) as caught:
        asyncio.run(make_router(deploy, setup).aimage_generation(model="image", prompt="a red kite", timeout=timeout))
    assert_error(caught.value, fault)
    assert len(standing_charges(gateway)) <= 1
    submits = len(gateway.requests_to("submit"))
    if fault in UNKNOWN_OUTCOMES:
        assert submits == 1
    elif ERRORS[fault][2] == RETRIED:
        assert submits == (8 if setup == "a fallback" else 4)


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("fault", ["proxy_504_html", "task_never_ends", "unavailable_503"])
def test_errors_of_a_blocking_router_and_of_edits(fault, setup, gateway, deploy, png):
    timeout = script_fault(gateway, fault)
    router = make_router(deploy, setup)
    with pytest.raises(openai.APIError) as caught:
        router.image_generation(model="image", prompt="a red kite", timeout=timeout)
    assert_error(caught.value, fault)
    assert len(standing_charges(gateway)) <= 1
    gateway.reset()
    script_fault(gateway, fault)
    with pytest.raises(openai.APIError) as caught:
        asyncio.run(router.aimage_edit(model="image", prompt="a red kite", image=png, timeout=timeout))
    assert_error(caught.value, fault)
    assert len(standing_charges(gateway)) <= 1


@pytest.mark.parametrize("fault", ["proxy_504_html", "unavailable_503", "unauthorized", "moderation"])
def test_errors_of_the_proxy(fault, gateway, proxy):
    script_fault(gateway, fault)
    with pytest.raises(openai.APIStatusError) as caught:
        proxy.client.images.generate(model="nano-banana", prompt="a red kite")
    status = ERRORS[fault][1]
    assert caught.value.status_code == status
    assert len(standing_charges(gateway)) <= 1
    if fault in UNKNOWN_OUTCOMES:
        assert re.search(CHARGED, caught.value.message)
        # neither the Router nor its fallback nor the OpenAI client sent a second request
        assert len(gateway.requests_to("submit")) == 1


def test_a_retry_policy_for_classes_of_errors_does_not_buy_again(gateway, deploy):
    script_fault(gateway, "task_never_ends")
    policy = litellm.RetryPolicy(TimeoutErrorRetries=3, InternalServerErrorRetries=3, BadRequestErrorRetries=3)
    router = Router(model_list=[deploy(), deploy(key="sk-second")], retry_policy=policy, disable_cooldowns=True)
    with pytest.raises(openai.APIError, match=CHARGED):
        asyncio.run(router.aimage_generation(model="image", prompt="a red kite", timeout=0.4))
    assert len(gateway.bill.charges) == 1


def test_retries_of_completion_do_not_buy_again(gateway, account):
    script_fault(gateway, "proxy_504_html")
    messages = [{"role": "user", "content": "a red kite"}]
    with pytest.raises(openai.APIError, match=CHARGED):
        litellm.completion(messages=messages, num_retries=3, **account)
    assert len(gateway.bill.charges) == 1
    with pytest.raises(openai.APIError, match=CHARGED):
        asyncio.run(litellm.acompletion(messages=messages, num_retries=3, **account))
    assert len(gateway.bill.charges) == 2


def test_a_fallback_of_a_failed_stream_does_not_buy_again(gateway, deploy):
    script_fault(gateway, "proxy_504_html")
    router = make_router(deploy, "a fallback")

    async def read_stream() -> None:
        messages = [{"role": "user", "content": "a red kite"}]
        async for _ in await router.acompletion(model="image", messages=messages, stream=True):
            pass

    with pytest.raises(openai.APIError, match=CHARGED):
        asyncio.run(read_stream())
    assert len(gateway.bill.charges) == 1


def test_a_later_request_with_the_same_metadata_is_not_refused(gateway, deploy):
    router = make_router(deploy, "a fallback")
    metadata = {"tags": ["a"]}
    arguments = {"model": "image", "prompt": "a red kite", "metadata": metadata}
    gateway.script("proxy_504_html")
    with pytest.raises(OutcomeUnknown):
        asyncio.run(router.aimage_generation(**arguments))
    assert asyncio.run(router.aimage_generation(**arguments)).data
    gateway.script("proxy_504_html")
    with pytest.raises(OutcomeUnknown):
        router.image_generation(**arguments)
    assert router.image_generation(**arguments).data


@pytest.mark.parametrize("fault", ["proxy_504_html", "task_never_ends"])
def test_retry_unknown_outcomes_lets_litellm_buy_again(fault, gateway, deploy, monkeypatch):
    timeout = script_fault(gateway, fault)
    router = Router(model_list=[deploy()], num_retries=2, disable_cooldowns=True)
    arguments = {"model": "image", "prompt": "a red kite", "timeout": timeout}
    register(retry_unknown_outcomes=True)
    try:
        with pytest.raises((litellm.InternalServerError, litellm.Timeout)) as caught:
            asyncio.run(router.aimage_generation(**arguments))
    finally:
        provider = register(retry_unknown_outcomes=False)
    assert caught.value.status_code in (408, 500)
    assert len(gateway.bill.charges) == 3
    monkeypatch.setenv("APIMASTER_RETRY_UNKNOWN_OUTCOMES", "1")
    provider.retry_unknown_outcomes = None
    with pytest.raises((litellm.InternalServerError, litellm.Timeout)):
        asyncio.run(router.aimage_generation(**arguments))
    assert len(gateway.bill.charges) == 6


def test_a_timeout_names_the_task_and_the_command_that_collects_it(gateway, account):
    gateway.latency = "manual"
    with pytest.raises(WaitTimeout) as caught:
        litellm.image_generation(prompt="a red kite", timeout=0.5, **account)
    (task_id,) = caught.value.task_ids
    assert str(caught.value).count(f"`apimaster task {task_id} --wait`") == 1
    assert caught.value.billed == "yes"
    assert isinstance(caught.value, litellm.Timeout)


def test_a_rate_limit_error_has_retry_after(gateway, account):
    gateway.script("rate_limited", times=None, retry_after=7)
    with pytest.raises(litellm.RateLimitError) as caught:
        litellm.image_generation(prompt="a red kite", max_retries=0, **account)
    assert caught.value.response.headers["retry-after"] == "7"


def router_with_a_wrong_key(deploy: Any) -> Router:
    """A Router that chooses at random, and by these weights takes the deployment with the wrong key while it may."""
    models = [deploy(key="sk-wrong", weight=10**9), deploy(weight=1)]
    return Router(model_list=models, num_retries=3, allowed_fails=0, cooldown_time=600)


def test_a_router_uses_the_other_deployment_if_the_gateway_refuses_a_key(gateway, deploy):
    router = router_with_a_wrong_key(deploy)

    async def generate_six() -> list[Any]:
        return await asyncio.gather(
            *(router.aimage_generation(model="image", prompt=f"kite {number}") for number in range(6))
        )

    assert all(response.data for response in asyncio.run(generate_six()))
    assert len(gateway.bill.standing) == 6
    statuses = Counter(purchase.status for purchase in gateway.requests_to("submit"))
    assert 1 <= statuses[401] <= 6, "no request goes to a refused key twice"


def test_a_failing_deployment_cools_down(gateway, deploy):
    router = router_with_a_wrong_key(deploy)

    async def generate_in_turn() -> None:
        for number in range(8):
            await router.aimage_generation(model="image", prompt=f"kite {number}")

    asyncio.run(generate_in_turn())
    statuses = Counter(purchase.status for purchase in gateway.requests_to("submit"))
    assert statuses == {200: 8, 401: 1}


CALL_BEFORE_A_ROUTER = """
import asyncio, json, sys
import litellm
import litellm_apimaster

litellm_apimaster.register()
first, wrong, right = json.loads(sys.argv[1])
litellm.image_generation(prompt="first", **first)
models = [{"model_name": "image", "litellm_params": params} for params in (wrong, right)]
router = litellm.Router(model_list=models, num_retries=3, allowed_fails=0, cooldown_time=600)
asyncio.run(router.aimage_generation(model="image", prompt="second"))
"""


@pytest.mark.slow
def test_a_call_before_a_router_is_made_does_not_keep_deployments_from_cooling_down(gateway, deploy, account):
    """In a process of its own: LiteLLM 1.80 sets up its callbacks once, at the first call."""
    params = [deploy(key="sk-wrong", weight=10**9)["litellm_params"], deploy(weight=1)["litellm_params"]]
    command = [sys.executable, "-c", CALL_BEFORE_A_ROUTER, json.dumps([account, *params])]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    statuses = Counter(purchase.status for purchase in gateway.requests_to("submit"))
    assert statuses == {200: 2, 401: 1}


def test_a_router_falls_back_after_an_error_that_cost_nothing(gateway, deploy):
    router = Router(
        model_list=[deploy(key="sk-wrong"), deploy("other")],
        num_retries=1,
        fallbacks=[{"image": ["other"]}],
        disable_cooldowns=True,
    )
    assert router.image_generation(model="image", prompt="a red kite").data
    assert len(gateway.bill.standing) == 1


RUNNING = Task(id="task_running", model="m")
FAILED = Task(id="task_failed", model="m", status="failed")
EMPTY = Task(id="task_empty", model="m", status="succeeded")
IMAGE = GeneratedImage(url="https://cdn.example/a.png", task_id="task_made")
MADE = Task(id="task_made", model="m", status="succeeded", images=(IMAGE,))
DONT_ASK_AGAIN = "Don't ask again: a new request would be a second charge."
COLLECT = "To collect what is paid for, run `apimaster task {} --wait`: that is free."


def with_tasks(error, *tasks):
    error.tasks = tasks
    return error


DESCRIPTIONS = {
    "nothing charged": (
        core_errors.NotFoundError("There is no such model"),
        "There is no such model. Nothing was charged. Check the base URL, or the task's id and model.",
    ),
    "no advice": (core_errors.BadRequestError("No.", advice=""), "No. Nothing was charged."),
    "a request id": (
        core_errors.RateLimitError("Too many requests.", retry_after=7, request_id="req_1"),
        "Too many requests. Nothing was charged. Try again in 7 s. Request id: req_1.",
    ),
    "unknown": (
        core_errors.OutcomeUnknownError("No answer came back."),
        f"No answer came back. It may have been charged. {core_errors.OutcomeUnknownError.advice}",
    ),
    "a task goes on": (
        core_errors.TaskTimeoutError("The wait ended, and task task_running goes on.", task=RUNNING),
        "The wait ended, and task task_running goes on. It was charged. "
        f"{DONT_ASK_AGAIN} {COLLECT.format('task_running')}",
    ),
    "several tasks, of which two have something to collect": (
        with_tasks(core_errors.OutcomeUnknownError("None arrived."), FAILED, RUNNING, EMPTY, MADE, RUNNING),
        f"None arrived. It may have been charged. {core_errors.OutcomeUnknownError.advice} "
        + COLLECT.format("task_running --wait`, `apimaster task task_made"),
    ),
    "a task that failed": (
        core_errors.GenerationFailedError("Task task_failed failed.", task=FAILED),
        f"Task task_failed failed. Nothing was charged. {core_errors.GenerationFailedError.advice}",
    ),
    "a task without an image": (
        core_errors.NoImageError(
            "Task task_empty succeeded, and there is no picture in it.", task=EMPTY, advice="Look."
        ),
        "Task task_empty succeeded, and there is no picture in it. It may have been charged. Look.",
    ),
    "a failed download": (
        core_errors.DownloadError("It could not be fetched.", images=(IMAGE, IMAGE), task=MADE, request_id="req_2"),
        f"It could not be fetched. It was charged. {DONT_ASK_AGAIN} {COLLECT.format('task_made')} "
        "Request id: req_2. Image URLs: https://cdn.example/a.png",
    ),
    "an expired result": (
        core_errors.ResultExpiredError("It is gone.", images=(IMAGE,)),
        f"It is gone. It was charged. {core_errors.ResultExpiredError.advice} Image URLs: https://cdn.example/a.png",
    ),
    "a bug": (
        unexpected(KeyError("a")),
        "The call failed unexpectedly with KeyError: 'a'. It may have been charged. "
        f"{core_errors.OutcomeUnknownError.advice}",
    ),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_message_states_each_fact_once(case):
    error, description = DESCRIPTIONS[case]
    assert describe(error) == description
    converted = to_litellm(error, model="m", retry_unknown=False)
    assert converted.message.endswith(description)
    if error.billed != "no":
        assert converted.billed == error.billed
        assert converted.task_ids == tuple(dict.fromkeys(task.id for task in error.tasks))
