"""The account's own books through each of the clients, with the emulator as the gateway."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from doors import DOORS, Door

from apimaster import APIMaster, Charge, InternalServerError, NotFoundError, OutcomeUnknownError, RateLimitError
from apimaster.emulator import Emulator

PROMPT = "An orange cat\nat sunset"


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.mark.parametrize("kind", DOORS)
def test_figures_and_charges(emu: Emulator, kind: str, soon: None) -> None:
    door = Door(kind, emu)
    result = door("generate", PROMPT, aspect_ratio="16:9", resolution="2K", references=["https://example.com/a.png"])
    seen = door("account")
    assert (seen.name, seen.used, seen.unlimited, seen.available) == ("emulator-1", Decimal("0.05"), True, None)
    (charge,) = door("charges")
    assert charge == Charge(
        at=charge.at,
        kind="charge",
        model=result.model,
        cost=result.cost,
        seconds=0,
        request_id=emu.bill.charges[0].request_id,
        task_id=result.tasks[0].id,
        prompt=PROMPT,
        aspect_ratio="16:9",
        resolution="2K",
        effective_resolution="2K",
        image_urls=("https://example.com/a.png",),
        result_url=result.images[0].url,
        content="size 16:9, resolution 2K, n 1",
    )
    assert [request.had_authorization for request in emu.requests_to("log")] == [True]
    assert not emu.complaints


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_request_whose_answer_was_lost_is_in_the_log_with_its_picture(emu: Emulator, mode: Any) -> None:
    emu.script("cut_after_acceptance")
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        with pytest.raises(OutcomeUnknownError):
            client.generate(PROMPT, mode=mode)
        (charge,) = client.charges()
        assert (charge.kind, charge.prompt, charge.cost) == ("charge", PROMPT, Decimal("0.0375"))
        if mode == "async":
            assert charge.task_id is not None
            picture = client.wait(charge.task_id).images[0]
            assert client.read(picture)
        else:
            assert charge.task_id is None
            assert charge.result_url is not None


def test_a_refund_is_a_row_and_a_mark(emu: Emulator) -> None:
    emu.script("task_failed")
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        client.submit(PROMPT)
        assert [(charge.kind, charge.refunded) for charge in client.charges()] == [("refund", False), ("charge", True)]
        assert client.account().used == 0


@pytest.mark.parametrize("kind", DOORS)
def test_a_gateway_without_books(kind: str) -> None:
    with Emulator(account_routes=False) as emu:
        assert isinstance(Door(kind, emu).error("account"), NotFoundError)
        assert isinstance(Door(kind, emu).error("charges"), NotFoundError)
        assert len(emu.requests) == 2


@pytest.mark.parametrize("fault", ["refused", "html_200", "garbage"])
@pytest.mark.parametrize(("book", "method"), [("log", "charges"), ("usage", "account")])
def test_a_book_that_can_not_be_read(emu: Emulator, book: str, method: str, fault: str) -> None:
    emu.script(f"{book}_{fault}")
    assert isinstance(Door("sync", emu).error(method), NotFoundError)


@pytest.mark.parametrize(("fault", "expected"), [("usage_429", RateLimitError), ("usage_500", InternalServerError)])
def test_a_balance_that_the_gateway_does_not_tell(
    emu: Emulator, without_pauses: None, fault: str, expected: type[Exception]
) -> None:
    emu.script(fault, times=None)
    assert isinstance(Door("sync", emu).error("account"), expected)
    emu.clear_script()
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        assert client.account().used == 0


def test_a_passing_fault_is_retried_and_the_limit_is_not(emu: Emulator, without_pauses: None) -> None:
    emu.script("log_500", times=2)
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        for _ in range(18):  # and two that failed
            client.charges()
        with pytest.raises(RateLimitError) as caught:
            client.charges()
    assert "20 minutes" in caught.value.advice
    assert len(emu.requests_to("log")) == 21


def test_a_balance() -> None:
    with Emulator(balance="0.10") as emu, APIMaster(emu.api_key, base_url=emu.base_url) as client:
        client.submit(PROMPT, resolution="4K")
        seen = client.account()
    assert (seen.granted, seen.used, seen.available) == (Decimal("0.1"), Decimal("0.075"), Decimal("0.025"))
