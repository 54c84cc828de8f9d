"""Spend is reported once for each image: by a call whose caller learns of it, also if another one was cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import litellm
import pytest

from apimaster.ledger import Ledger
from litellm_apimaster import spend_report

MESSAGES = [{"role": "user", "content": "a red kite"}]
KEY = "order 40"


@pytest.fixture(autouse=True)
def ledger(own_ledger: Ledger) -> Ledger:
    return own_ledger


async def generate(account: dict[str, Any], png: bytes) -> Any:
    return await litellm.aimage_generation(prompt="a red kite", n=2, idempotency_key=KEY, **account)


async def edit(account: dict[str, Any], png: bytes) -> Any:
    return await litellm.aimage_edit(prompt="a red kite", image=png, n=2, idempotency_key=KEY, **account)


async def chat(account: dict[str, Any], png: bytes) -> Any:
    return await litellm.acompletion(messages=MESSAGES, idempotency_key=KEY, **account)


@pytest.mark.parametrize("where", ["before", "while", "after"])
@pytest.mark.parametrize("call", [generate, edit, chat], ids=lambda call: call.__name__)
def test_the_retry_of_a_call_that_was_cancelled_in_its_last_step_reports_the_cost(
    call: Callable[..., Any], where: str, account: Any, gateway: Any, png: bytes, monkeypatch: pytest.MonkeyPatch
):
    """The call is cancelled before its thread has asked the ledger who reports the cost, while it does, or after it."""
    cost_to_report = spend_report.cost_to_report

    async def cancelled_in_its_last_step() -> None:
        loop = asyncio.get_running_loop()
        gone, ended = threading.Event(), threading.Event()

        async def until_cancelled() -> None:
            try:
                await call(account, png)
            finally:
                gone.set()

        def cancel() -> None:
            loop.call_soon_threadsafe(running.cancel)
            if where != "after":
                assert gone.wait(10)

        def ask(*args: Any, **options: Any) -> Any:
            if where == "before":
                cancel()
            cost = cost_to_report(*args, **options)
            if where == "while":
                cancel()
            return cost

        class Report(spend_report.SpendReport):
            def cost(self) -> Any:
                try:
                    return super().cost()
                finally:
                    if where == "after":
                        # The loop learns of the cancellation before it learns that the thread has ended.
                        cancel()
                    ended.set()

        monkeypatch.setattr(spend_report, "cost_to_report", ask)
        monkeypatch.setattr("litellm_apimaster.purchases.SpendReport", Report)
        running = asyncio.create_task(until_cancelled())
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await asyncio.to_thread(ended.wait, 10)
        monkeypatch.setattr(spend_report, "cost_to_report", cost_to_report)
        monkeypatch.setattr("litellm_apimaster.purchases.SpendReport", spend_report.SpendReport)

    async def cancel_and_ask_again() -> list[Any]:
        await cancelled_in_its_last_step()
        return [(await call(account, png))._hidden_params["response_cost"] for _ in range(2)]

    images = 1 if call is chat else 2
    assert asyncio.run(cancel_and_ask_again()) == [pytest.approx(0.0375 * images), 0]
    assert len(gateway.bill.charges) == images


def test_a_call_that_is_cancelled_when_its_image_has_just_come_leaves_it_to_the_retry(
    account: Any, gateway: Any, png: bytes, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    async def cancel_and_ask_again() -> Any:
        monkeypatch.setattr("litellm_apimaster.responses.log_entry", lambda result: running.cancel() or "")
        running = asyncio.create_task(generate(account, png))
        with pytest.raises(asyncio.CancelledError):
            await running
        monkeypatch.undo()
        monkeypatch.setenv("APIMASTER_LEDGER", ledger.name)
        return await generate(account, png)

    assert asyncio.run(cancel_and_ask_again())._hidden_params["response_cost"] == pytest.approx(0.075)
    assert len(gateway.bill.charges) == 2
