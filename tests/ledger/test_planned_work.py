"""Calls that buy planned work: what they leave behind when the gateway refuses, at no cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.errors import APIMasterError, ContentPolicyError, InternalServerError
from apimaster.ledger import Ledger
from apimaster.ledger.rows import Row
from apimaster.ledger.steps import Take


def test_a_refused_call_leaves_the_work_planned_if_its_caller_asks_again(
    emulator: Emulator, client_for: Callable[..., APIMaster], ledger: Ledger, tmp_path: Path
) -> None:
    client = client_for(ledger)
    ledger.call(lambda backend: backend.plan([Row("k", 0, "", '{"prompt": "a castle", "model": "m"}')])).result()
    assert ledger.take(Take(key="k")).result().state == "claimed"
    seen: list[APIMasterError] = []

    def plan_again(error: APIMasterError) -> bool:
        seen.append(error)
        return error.retryable

    asking = client.with_options(plan_again=plan_again, purchase_retries=0, flush_pictures=True)
    emulator.script("unavailable_503", "moderation")
    with pytest.raises(InternalServerError):
        asking.generate("a castle", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed, purchase.attempts) == ("planned", "no", 1)
    assert purchase.error is not None
    with pytest.raises(ContentPolicyError):
        asking.generate("a castle", idempotency_key="k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.attempts) == ("failed", 2)
    assert [type(error) for error in seen] == [InternalServerError, ContentPolicyError]
    result = asking.generate("a castle", idempotency_key="k", save_to=tmp_path / "castle.png")
    assert result.images[0].path == tmp_path / "castle.png"
    assert len(emulator.bill.charges) == 1
