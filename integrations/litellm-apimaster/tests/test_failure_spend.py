"""A failure after the purchase is booked once: in its own event, or by who gets the picture before it fails.

Over all events of a purchase, the costs add up to what the gateway charged.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

from apimaster.ledger import Ledger
from litellm_apimaster import WaitTimeout
from litellm_apimaster.failure_spend import NAMES_COST_OF_FAILURE

PRICE = 0.0375
PAID = PRICE if NAMES_COST_OF_FAILURE else 0
LEFT = PRICE - PAID
"""What is left to the call that gets the picture: older versions of LiteLLM know no cost of a failure."""

PROMPT = "a red kite"
MESSAGES = [{"role": "user", "content": PROMPT}]
SHORT, LONG = 0.8, 30.0


class Events(CustomLogger):
    """The costs of failures and successes, in their order; one of each for a LiteLLM call, by whichever hook."""

    def __init__(self) -> None:
        super().__init__()
        self.costs: dict[tuple[str, str], float] = {}
        self.tokens: list[int] = []

    def record(self, kind: str, kwargs: dict[str, Any]) -> None:
        payload = kwargs["standard_logging_object"]
        assert payload["response_cost"] == (kwargs["response_cost"] or 0)
        if (kwargs["litellm_call_id"], kind) not in self.costs:
            self.tokens.append(payload["total_tokens"])
        self.costs[kwargs["litellm_call_id"], kind] = payload["response_cost"]

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record("success", kwargs)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.record("success", kwargs)

    def log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.record("failure", kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.record("failure", kwargs)

    def __call__(self, *_: Any, **__: Any) -> None:
        """LiteLLM 1.80 prepares at the first call for what a Router adds only if one of its callbacks is a function."""

    def seen(self, count: int) -> list[tuple[str, float]]:
        """The events, once there are ``count`` of them."""
        deadline = time.monotonic() + 5
        while len(self.costs) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [(kind, pytest.approx(cost)) for (_, kind), cost in self.costs.items()]


@dataclass(frozen=True)
class Scene:
    """What a case has at hand: the emulator, its account, and LiteLLM's events."""

    gateway: Any
    account: dict[str, Any]
    events: Events
    png: bytes

    def under_way(self) -> None:
        self.gateway.latency = "manual"

    def made(self) -> None:
        self.gateway.latency = 0
        self.gateway.finish()

    def run(self, call: Any, events: int) -> Any:
        """Await a call, and wait on its loop until LiteLLM has reported as many calls in all."""

        async def run() -> Any:
            try:
                return await call
            finally:
                deadline = time.monotonic() + 5
                while len(self.events.costs) < events and time.monotonic() < deadline:
                    await asyncio.sleep(0.01)

        return asyncio.run(run())


@pytest.fixture
def scene(
    gateway: Any, account: Any, png: bytes, own_ledger: Ledger, own_logging_worker: None, monkeypatch: Any
) -> Scene:
    events = Events()
    monkeypatch.setattr(litellm, "callbacks", [events])
    return Scene(gateway, account, events, png)


async def stream(**arguments: Any) -> Any:
    return [chunk async for chunk in await litellm.acompletion(stream=True, **arguments)][-1]


DOORS: dict[str, Callable[[Scene, int, dict[str, Any]], Any]] = {
    "image_generation": lambda scene, _, more: litellm.image_generation(prompt=PROMPT, **scene.account, **more),
    "aimage_generation": lambda scene, events, more: scene.run(
        litellm.aimage_generation(prompt=PROMPT, **scene.account, **more), events
    ),
    "image_edit": lambda scene, _, more: litellm.image_edit(prompt=PROMPT, image=scene.png, **scene.account, **more),
    "aimage_edit": lambda scene, events, more: scene.run(
        litellm.aimage_edit(prompt=PROMPT, image=scene.png, **scene.account, **more), events
    ),
    "completion": lambda scene, _, more: litellm.completion(messages=MESSAGES, **scene.account, **more),
    "acompletion": lambda scene, events, more: scene.run(
        litellm.acompletion(messages=MESSAGES, **scene.account, **more), events
    ),
    "stream": lambda scene, _, more: list(litellm.completion(messages=MESSAGES, stream=True, **scene.account, **more)),
    "async stream": lambda scene, events, more: scene.run(stream(messages=MESSAGES, **scene.account, **more), events),
}


if not NAMES_COST_OF_FAILURE:
    del DOORS["async stream"]  # LiteLLM 1.80 hides its error in one of its own


@pytest.mark.parametrize("name", DOORS)
def test_of_two_waits_that_ended_and_the_call_that_gets_the_picture_the_first_reports(name, scene):
    key = {"idempotency_key": f"by {name}"}
    scene.under_way()
    for events, cost in ((1, PAID), (2, 0)):
        with pytest.raises(WaitTimeout) as caught:
            DOORS[name](scene, events, {"timeout": SHORT, **key})
        assert caught.value.reported_cost == cost
        assert scene.events.seen(events)[-1] == ("failure", cost)
    scene.made()
    assert DOORS[name](scene, 3, {"timeout": LONG, **key})
    if name.endswith("stream"):
        scene.events.seen(3)  # LiteLLM 1.80 reports a stream as free
    else:
        assert scene.events.seen(3)[-1] == ("success", LEFT)
    assert len(scene.gateway.bill.charges) == 1


def ask(scene: Scene, **arguments: Any) -> Any:
    return litellm.image_generation(**({"prompt": PROMPT, "timeout": SHORT} | scene.account | arguments))


def refused(scene: Scene) -> None:
    scene.gateway.script("bad_request")
    with pytest.raises(litellm.BadRequestError):
        ask(scene)


def unavailable(scene: Scene) -> None:
    scene.gateway.script("unavailable_503", times=9)
    with pytest.raises(litellm.ServiceUnavailableError):
        ask(scene, max_retries=0, timeout=LONG)


def of_another_request(scene: Scene) -> None:
    scene.under_way()
    for prompt in (PROMPT, "another"):
        with pytest.raises((WaitTimeout, litellm.BadRequestError)):
            ask(scene, prompt=prompt, idempotency_key="of another")


def unknown(scene: Scene) -> None:
    scene.gateway.script("cut_after_acceptance")
    with pytest.raises(litellm.APIError, match="may have been charged"):
        ask(scene, timeout=LONG)


def failed_task(scene: Scene) -> None:
    scene.gateway.script("task_failed", on="task")
    with pytest.raises(litellm.InternalServerError):
        ask(scene, timeout=LONG)


def one_of_two(scene: Scene) -> None:
    """One image is delivered, and the wait for the other one ends."""
    scene.gateway.script("task_never_ends", on="task")
    assert len(ask(scene, n=2, timeout=1, idempotency_key="two").data) == 1
    assert len(ask(scene, n=2, timeout=1, idempotency_key="two").data) == 1


def none_of_two(scene: Scene) -> None:
    """Of one image nobody knows, and the wait for the other one ends: the error is that of the first one."""
    scene.under_way()
    scene.gateway.script("cut_after_acceptance")
    with pytest.raises(litellm.APIError, match="may have been charged"):
        ask(scene, n=2, timeout=1)


def not_downloaded(scene: Scene) -> None:
    for place in ("download", "output"):
        scene.gateway.script("download_404", times=None, on=place)
    with pytest.raises(litellm.APIError, match="It was charged"):
        ask(scene, response_format="b64_json", timeout=LONG, idempotency_key="bytes")
    scene.gateway.clear_script()
    assert ask(scene, response_format="b64_json", timeout=LONG, idempotency_key="bytes").data[0].b64_json


def given_back(scene: Scene) -> None:
    """The task fails after all, and the charge is given back. What was reported stands for the next attempt."""
    scene.under_way()
    for _ in range(2):
        with pytest.raises(WaitTimeout):
            ask(scene, idempotency_key="back")
        scene.gateway.fail()
        with pytest.raises(litellm.InternalServerError):
            ask(scene, idempotency_key="back", max_retries=0)
    scene.gateway.latency = 0
    assert ask(scene, idempotency_key="back", timeout=LONG).data


CASES: dict[Callable[[Scene], None], list[tuple[str, float]]] = {
    refused: [("failure", 0)],
    unavailable: [("failure", 0)],
    of_another_request: [("failure", PAID), ("failure", 0)],
    unknown: [("failure", 0)],
    failed_task: [("failure", 0)],
    one_of_two: [("success", 2 * PRICE), ("success", 0)],
    none_of_two: [("failure", PAID)],
    not_downloaded: [("failure", PAID), ("success", LEFT)],
    given_back: [("failure", PAID), *[("failure", 0)] * 3, ("success", LEFT)],
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_a_failure_reports(case, scene):
    case(scene)
    assert scene.events.seen(len(CASES[case])) == [(kind, pytest.approx(cost)) for kind, cost in CASES[case]]


ELSEWHERE = """
import sys, litellm, litellm_apimaster
litellm.suppress_debug_info = True
litellm_apimaster.register()
url, timeout = sys.argv[1:]
account = {"model": "apimaster/nano-banana-2", "api_key": "sk-first", "api_base": url}
try:
    made = litellm.image_generation(
        prompt="a red kite", idempotency_key="elsewhere", timeout=float(timeout), **account
    )
    print(made._hidden_params["response_cost"])
except litellm_apimaster.WaitTimeout as error:
    print(error.reported_cost)
"""


def elsewhere(scene: Scene, timeout: float) -> float:
    """What a call in another process reports."""
    command = [sys.executable, "-c", ELSEWHERE, scene.gateway.base_url, str(timeout)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()[-1])


def test_another_process_that_gets_the_picture_reports_nothing(scene):
    scene.under_way()
    with pytest.raises(WaitTimeout):
        ask(scene, idempotency_key="elsewhere")
    scene.made()
    assert elsewhere(scene, LONG) == LEFT
    assert scene.events.seen(1) == [("failure", PAID)]


def test_the_wait_of_another_process_has_reported(scene):
    scene.under_way()
    assert elsewhere(scene, 3) == PAID
    scene.made()
    assert ask(scene, idempotency_key="elsewhere", timeout=LONG)._hidden_params["response_cost"] == LEFT
    assert len(scene.gateway.bill.charges) == 1


ROUTED: dict[str, Callable[[Router, Scene], Any]] = {
    "image_generation": lambda router, scene: router.image_generation(model="first", prompt=PROMPT),
    "aimage_generation": lambda router, scene: scene.run(router.aimage_generation(model="first", prompt=PROMPT), 2),
    "aimage_edit": lambda router, scene: scene.run(
        router.aimage_edit(model="first", prompt=PROMPT, image=scene.png), 2
    ),
    "completion": lambda router, scene: router.completion(model="first", messages=MESSAGES),
    "acompletion": lambda router, scene: scene.run(router.acompletion(model="first", messages=MESSAGES), 2),
}
OTHER = {"model": "openai/gpt-4o", "mock_response": "two words", "api_key": "made-up"}


@pytest.mark.parametrize("name", ROUTED)
def test_the_events_of_a_routers_attempts_add_up_to_one_charge(name, scene, deploy):
    scene.gateway.latency = 1.6
    deployments = [deploy("first", timeout=SHORT), deploy("second", timeout=LONG)]
    router = Router(model_list=deployments, fallbacks=[{"first": ["second"]}], num_retries=0, disable_cooldowns=True)
    assert ROUTED[name](router, scene)
    assert scene.events.seen(2) == [("failure", PAID), ("success", LEFT)]
    assert len(scene.gateway.bill.charges) == 1


@pytest.mark.parametrize("name", ["completion", "acompletion"])
@pytest.mark.parametrize("routed", [True, False], ids=["router", "function"])
def test_a_fallback_to_another_provider_keeps_its_own_tokens_and_cost(routed, name, scene, deploy):
    scene.under_way()
    if routed:
        deployments = [deploy("first", timeout=SHORT), {"model_name": "other", "litellm_params": dict(OTHER)}]
        router = Router(model_list=deployments, fallbacks=[{"first": ["other"]}], num_retries=0, disable_cooldowns=True)
        assert ROUTED[name](router, scene)
    else:
        arguments = {"messages": MESSAGES, "timeout": SHORT, "fallbacks": [dict(OTHER)], **scene.account}
        scene.run(litellm.acompletion(**arguments), 2)
    (_, paid), (kind, cost) = scene.events.seen(2)
    assert (kind, paid) == ("success", PAID)
    assert cost == litellm.completion(messages=MESSAGES, **OTHER)._hidden_params["response_cost"] > 0
    assert scene.events.tokens[-1] > 0


def test_a_retry_that_may_buy_again_reports_each_charge(scene, deploy, monkeypatch):
    """The operator's choice: then each attempt is a purchase of its own."""
    monkeypatch.setenv("APIMASTER_RETRY_UNKNOWN_OUTCOMES", "1")
    litellm.custom_provider_map[-1]["custom_handler"].retry_unknown_outcomes = None
    scene.under_way()
    router = Router(model_list=[deploy("first", timeout=SHORT)], num_retries=2, disable_cooldowns=True)
    with pytest.raises(litellm.Timeout):
        router.image_generation(model="first", prompt=PROMPT)
    assert scene.events.seen(3) == [("failure", PAID)] * 3
    assert len(scene.gateway.bill.charges) == 3


@pytest.mark.parametrize("read", ["to its end", "one chunk"])
@pytest.mark.parametrize("name", ["stream", "async stream"])
def test_a_stream_that_was_left_leaves_the_report_to_the_next_call(name, read, scene):
    """LiteLLM reports a stream when it has been read to its end."""
    more = {"idempotency_key": "left", "messages": MESSAGES, "stream": True, **scene.account}
    is_whole = read == "to its end"

    def blocking() -> None:
        chunks = litellm.completion(**more)
        for _ in chunks:
            if not is_whole:
                break

    async def asynchronous() -> None:
        async for _ in await litellm.acompletion(**more):
            if not is_whole:
                break
        if is_whole:
            await asyncio.to_thread(scene.events.seen, 1)

    blocking() if name == "stream" else asyncio.run(asynchronous())
    gc.collect()
    if is_whole:
        scene.events.seen(1)
    again = litellm.completion(messages=MESSAGES, idempotency_key="left", **scene.account)
    assert again._hidden_params["response_cost"] == (0 if is_whole else PRICE)
    assert len(scene.gateway.bill.charges) == 1
