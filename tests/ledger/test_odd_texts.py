"""Replies whose texts no ledger can hold: half of a character where a gateway cut a message short, and NUL."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from apimaster import APIMaster, APIMasterError
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

ODD = "cut \ud83d and \0"
SHOWN = "cut \ufffd and \ufffd"

Make = Callable[[Ledger], APIMaster]


@pytest.fixture
def gateway(emulator: Emulator) -> Emulator:
    emulator.latency = "0"
    return emulator


def body(document: object) -> str:
    return json.dumps(document)  # as escapes


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500])
def test_a_refusal(status: int, ledger: Ledger, gateway: Emulator, client_for: Make) -> None:
    gateway.script("reply", status=status, body=body({"error": {"message": ODD, "code": ODD, "type": ODD}}))
    client = client_for(ledger).with_options(purchase_retries=0)
    with pytest.raises(APIMasterError) as caught:
        client.generate("a castle", idempotency_key="k")
    assert (SHOWN in caught.value.message, caught.value.billed) == (True, "no")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed, purchase.error and SHOWN in purchase.error.message) == (
        "failed",
        "no",
        True,
    )
    assert client.generate("a castle", idempotency_key="k").images


def test_a_task_that_failed(ledger: Ledger, gateway: Emulator, client_for: Make) -> None:
    failed = {"status": "failed", "error": {"message": ODD}, "fail_reason": ODD}
    gateway.script("reply", on="poll", status=200, body=body({"data": failed}))
    with pytest.raises(APIMasterError):
        client_for(ledger).generate("a castle", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.error and SHOWN in purchase.error.message) == ("failed", True)


def test_a_task(ledger: Ledger, gateway: Emulator, client_for: Make) -> None:
    gateway.script("reply", status=200, body=body({"data": [{"task_id": f"task_{ODD}"}]}))
    task = client_for(ledger).submit("a castle", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert purchase.task is not None
    assert (purchase.state, purchase.task.id, task.id) == ("submitted", f"task_{SHOWN}", f"task_{SHOWN}")


def test_a_picture(ledger: Ledger, gateway: Emulator, client_for: Make) -> None:
    gateway.script("reply", status=200, body=body({"data": [{"url": f"https://pictures.test/{ODD}.png"}]}))
    result = client_for(ledger).generate("a castle", mode="sync", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed, len(purchase.images)) == ("delivered", "yes", 1)
    assert purchase.images[0].url == result.images[0].url


def test_a_refusal_that_is_nested_too_deeply(ledger: Ledger, gateway: Emulator, client_for: Make) -> None:
    gateway.script("reply", status=400, body="[" * 100_000)
    with pytest.raises(APIMasterError):
        client_for(ledger).generate("a castle", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed) == ("failed", "no")
