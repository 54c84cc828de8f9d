"""What a proxy with a database books of requests that fail after the purchase, and what its callbacks get.

Its own bookkeeper runs. Only the last step, which writes into the database, writes into a file here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from litellm_proxies import AUTH, client_of

from apimaster.ledger import Ledger
from litellm_apimaster.failure_spend import NAMES_COST_OF_FAILURE

PRICE = 0.0375
PAID = PRICE if NAMES_COST_OF_FAILURE else 0
LEFT = PRICE - PAID
KEY = "sk-anna"
SHORT = {"extra_body": {"timeout": 0.5}}

SPY = """
import json, os
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.db.db_spend_update_writer import DBSpendUpdateWriter
from litellm.proxy.hooks.proxy_track_cost_callback import _ProxyDBLogger
from litellm.proxy.utils import hash_token

def note(kind, cost):
    with open(os.environ["BOOK"], "a") as book:
        book.write(json.dumps([kind, round(cost or 0, 6)]) + chr(10))

async def update_database(self, *, token, response_cost, **_):
    note("booked " + (hash_token(token) if token.startswith("sk-") else token), response_cost)
    return True

DBSpendUpdateWriter.update_database = update_database
bookkeeper = _ProxyDBLogger()

class Events(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        note("success", kwargs["standard_logging_object"]["response_cost"])

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        note("failure", kwargs["standard_logging_object"]["response_cost"])

events = Events()
"""
CONFIG = """
model_list:
  - model_name: image
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
  - model_name: hasty
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}", timeout: 0.5 }}
    model_info: {{ mode: image_generation }}
  - model_name: hastier
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}", timeout: 0.4 }}
    model_info: {{ mode: image_generation }}
  - model_name: broken
    litellm_params: {{ model: openai/any, api_key: sk-made-up, api_base: "http://127.0.0.1:9/v1", max_retries: 0 }}
  - model_name: inner
    litellm_params:
      {{ model: {model}, api_key: {key}, api_base: "{url}", timeout: 0.5,
         fallbacks: [{{ model: {model}, api_key: {key}, api_base: "{url}", timeout: 20 }}] }}
litellm_settings:
  callbacks: [%s]
  custom_provider_map:
    - {{ provider: apimaster, custom_handler: {handler} }}
router_settings: %s
general_settings:
  custom_auth: auth.accept
  disable_error_logs: %s
"""
BOOKS = "spy.bookkeeper, spy.events"
FALLBACKS = "{{ num_retries: 0, fallbacks: [{{ hasty: [image] }}, {{ hastier: [hasty] }}, {{ broken: [hastier] }}] }}"
NONE_WAITS = FALLBACKS.replace("hasty: [image]", "image: [hasty]")


class Books:
    """A proxy, the ledger that it shares with others, and what was noted at it."""

    def __init__(self, proxy: Any, book: Path, ledger: Ledger) -> None:
        self.proxy = proxy
        self.ledger = ledger
        self._book = book
        self._read = 0

    def ask(self, name: str, **options: Any) -> Any:
        header = {"Idempotency-Key": name}
        images = client_of([self.proxy], KEY, max_retries=2, timeout=60).images.with_raw_response
        return images.generate(prompt="a red kite", extra_headers=header, **options)

    def fail(self, name: str, **options: Any) -> None:
        with pytest.raises(openai.APIStatusError) as caught:
            self.ask(name, **options)
        assert caught.value.status_code == 424

    def noted(self, count: int) -> list[tuple[str, float]]:
        """What has been noted since the last time: ``count`` entries, without those that wait in LiteLLM's queues."""
        deadline = time.monotonic() + 10
        while True:
            lines = self._book.read_text().splitlines() if self._book.exists() else []
            found = [tuple(json.loads(line)) for line in lines[self._read :]]
            if len(found) >= count or time.monotonic() > deadline:
                self._read = len(lines)
                return sorted(found)
            time.sleep(0.02)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def proxy_with(
    emulator: Any, start_proxy: Any, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Books]]:
    """A function that starts a proxy with a configuration; each of them runs once."""
    started: dict[tuple[str, ...], Books] = {}

    def proxy(callbacks: str = BOOKS, router: str = "{{ num_retries: 0 }}", hidden: str = "false") -> Books:
        wanted = (callbacks, router, hidden)
        if wanted not in started:
            folder = tmp_path_factory.mktemp("proxy")
            (folder / "auth.py").write_text(AUTH, encoding="utf-8")
            (folder / "spy.py").write_text(SPY, encoding="utf-8")
            environment = {"APIMASTER_LEDGER": ledger.name, "LITELLM_MASTER_KEY": "sk-gateway"}
            environment["BOOK"] = str(folder / "book")
            running = stack.enter_context(start_proxy(CONFIG % wanted, folder, environment))
            books = started[wanted] = Books(running, folder / "book", ledger)
            emulator.latency = 0
            books.ask("warm", model="image")  # a proxy's first request takes seconds
            books.noted(2 if "bookkeeper" in callbacks else 1)
        return started[wanted]

    with ExitStack() as stack:
        yield proxy


def booked(*costs: float) -> list[tuple[str, float]]:
    return [(f"booked {hashlib.sha256(KEY.encode()).hexdigest()}", cost) for cost in costs]


def test_a_wait_that_ended_is_booked_to_the_key(proxy_with, gateway):
    books = proxy_with()
    gateway.reset()
    gateway.latency = "manual"
    books.fail("wait", model="image", **SHORT)
    assert books.noted(2) == [*booked(PAID), ("failure", PAID)]
    books.fail("wait", model="image", **SHORT)
    assert books.noted(2) == [*booked(0), ("failure", 0)]
    gateway.latency = 0
    gateway.finish()
    assert books.ask("wait", model="image").parse().data[0].url
    assert books.noted(2) == [*booked(LEFT), ("success", LEFT)]
    assert len(gateway.bill.charges) == 1


def test_a_failure_that_costs_nothing_is_booked_as_free(proxy_with, gateway):
    books = proxy_with()
    gateway.reset()
    gateway.script("bad_request")
    with pytest.raises(openai.BadRequestError):
        books.ask("refused", model="image")
    assert books.noted(2) == [*booked(0), ("failure", 0)]


@pytest.mark.parametrize("door", ["edit", "chat"])
def test_edits_and_chats_are_booked_alike(door, proxy_with, gateway, png):
    books = proxy_with()
    gateway.reset()
    gateway.latency = "manual"
    client = client_of([books.proxy], KEY, max_retries=2, timeout=60)
    messages: Any = [{"role": "user", "content": "a red kite"}]

    def ask(**more: Any) -> Any:
        header = {"Idempotency-Key": f"by {door}"}
        if door == "chat":
            return client.chat.completions.create(model="image", messages=messages, extra_headers=header, **more)
        image = ("kite.png", png)
        return client.images.edit(model="image", prompt="a red kite", image=image, extra_headers=header, **more)

    with pytest.raises(openai.APIStatusError):
        ask(extra_body={"timeout": "0.5"} if door == "edit" else {"timeout": 0.5})
    assert books.noted(2) == [*booked(PAID), ("failure", PAID)]
    gateway.latency = 0
    gateway.finish()
    assert ask()
    assert books.noted(2) == [*booked(LEFT), ("success", LEFT)]


def test_of_the_attempts_of_a_request_the_one_that_is_booked_reports(proxy_with, gateway):
    """The bookkeeper sees the last one only: here, the fallback that gets the picture."""
    books = proxy_with(router=FALLBACKS)
    gateway.reset()
    gateway.latency = 1.5
    assert books.ask("fallback", model="hasty").parse().data[0].url
    assert books.noted(3) == [*booked(PRICE), ("failure", 0), ("success", PRICE)]
    assert len(gateway.bill.charges) == 1


def test_if_all_attempts_fail_the_request_is_booked_once(proxy_with, gateway):
    books = proxy_with(router=NONE_WAITS)
    gateway.reset()
    gateway.latency = "manual"
    books.fail("all", model="hastier")
    assert books.noted(3) == [*booked(PAID), ("failure", 0), ("failure", 0)]
    gateway.latency = 0
    gateway.finish()
    assert books.ask("all", model="hastier").parse().data[0].url
    assert books.noted(2) == [*booked(LEFT), ("success", LEFT)]


def test_a_proxy_that_books_no_failures_leaves_the_report_to_the_next_request(proxy_with, gateway):
    books = proxy_with(hidden="true")
    gateway.reset()
    gateway.latency = "manual"
    books.fail("hidden", model="image", **SHORT)
    assert books.noted(1) == [("failure", 0)]
    gateway.latency = 0
    gateway.finish()
    assert books.ask("hidden", model="image").parse().data[0].url
    assert books.noted(2) == [*booked(PRICE), ("success", PRICE)]


def test_a_proxy_without_a_database_reports_to_its_callbacks(proxy_with, gateway):
    """And a request at another proxy, which gets the picture, reports nothing."""
    books, other = proxy_with(callbacks="spy.events"), proxy_with()
    gateway.reset()
    gateway.latency = "manual"
    books.fail("without", model="image", **SHORT)
    assert books.noted(1) == [("failure", PAID)]
    gateway.latency = 0
    gateway.finish()
    assert other.ask("without", model="image").parse().data[0].url
    assert other.noted(2) == [*booked(LEFT), ("success", LEFT)]


def test_the_events_of_a_proxy_without_a_database_add_up_to_one_charge(proxy_with, gateway):
    books = proxy_with(callbacks="spy.events", router=FALLBACKS)
    gateway.reset()
    gateway.latency = 1.5
    assert books.ask("fallback without", model="hasty").parse().data[0].url
    assert books.noted(2) == [("failure", PAID), ("success", LEFT)]


def test_the_error_of_another_attempt_is_the_one_that_the_caller_gets(proxy_with, gateway):
    """LiteLLM raises the first error, of a provider that could not be reached, and our attempt came after it."""
    books = proxy_with(router=NONE_WAITS)
    gateway.reset()
    gateway.latency = "manual"
    with pytest.raises(openai.APIStatusError):
        books.ask("broken first", model="broken")
    assert len(gateway.bill.charges) == 1
    booked_for = [cost for kind, cost in books.noted(6) if kind.startswith("booked")]
    assert sum(booked_for) == PAID


def test_a_fallback_that_a_deployment_names_is_another_attempt(proxy_with, gateway):
    """LiteLLM goes on within one attempt of the Router."""
    books = proxy_with()
    gateway.reset()
    gateway.latency = 1.5
    chat = client_of([books.proxy], KEY, max_retries=0, timeout=60).chat.completions
    header = {"Idempotency-Key": "inner"}
    assert chat.create(model="inner", messages=[{"role": "user", "content": "a red kite"}], extra_headers=header)
    noted = books.noted(3)
    assert sum(cost for kind, cost in noted if kind.startswith("booked")) == PRICE, noted
    assert len(gateway.bill.charges) == 1
