"""A call that is stopped between two operations: what its ledger says of the image must be what the gateway charged."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from large_pictures import padded_png

from apimaster import APIMaster
from apimaster._flows.operations import Operation, Send
from apimaster.emulator import Emulator
from apimaster.errors import OutcomeUnknownError
from apimaster.ledger import Ledger

PICTURE = padded_png(5_000)
PLAIN = "gemini-3.1-flash-image"
MOST = 100  # operations of one call

SCENARIOS: dict[str, dict[str, Any]] = {
    "upload": {"references_by": "upload"},
    "too large": {"script": ["too_large"]},
    "no data URIs": {"channel": "no_data_uris"},
    "another spelling": {"models": [PLAIN]},
    "no asynchronous route": {"script": ["not_found_html"]},
    "busy": {"script": [{"fault": "rate_limited", "retry_after": 0}]},
}


class Stopped(BaseException):
    """The call is stopped, as Ctrl-C does."""


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCENARIOS[request.param]


@pytest.fixture
def gateway(scenario: dict[str, Any]) -> Iterator[Emulator]:
    chosen = {name: scenario[name] for name in ("models", "channel") if name in scenario}
    with Emulator(latency=0, pictures="plain", **chosen) as emulator:
        yield emulator


def stop_at(client: APIMaster, number: int, *, before: bool) -> Callable[[], Operation | None]:
    """Stop the client's flow before or after that operation; returns a function that says which one it was."""
    perform: Any = client._driver._perform
    count = itertools.count()
    hit: list[Operation] = []

    def stopping(operation: Operation, *arguments: Any) -> Any:
        if next(count) != number:
            return perform(operation, *arguments)
        hit.append(operation)
        if not before:
            perform(operation, *arguments)
        raise Stopped

    client._driver._perform = stopping  # type: ignore[method-assign]
    return lambda: hit[0] if hit else None


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("before", [True, False])
def test_only_what_is_on_its_way_is_unknown(
    gateway: Emulator, scenario: dict[str, Any], tmp_path: Any, before: bool
) -> None:
    by: Any = scenario.get("references_by", "auto")
    for number in range(MOST):
        gateway.reset()
        if "script" in scenario:
            gateway.script(*scenario["script"])
        wanted: dict[str, Any] = {"references": [PICTURE], "references_by": by, "idempotency_key": f"k{number}"}
        ledger = Ledger.open(tmp_path / "ledger.db")
        with APIMaster(gateway.api_key, base_url=gateway.base_url, ledger=ledger) as client:
            which = stop_at(client, number, before=before)
            with contextlib.suppress(Stopped):
                client.generate("a cat", **wanted)
            del client._driver._perform
            stopped = which()
            if stopped is None:
                break
            charges = len(gateway.bill.charges)
            on_its_way = isinstance(stopped, Send) and "generations" in stopped.call.path
            if charges or on_its_way:
                with contextlib.suppress(OutcomeUnknownError):
                    client.generate("a cat", **wanted)
                assert len(gateway.bill.charges) <= 1, stopped
            else:
                client.generate("a cat", **wanted)
                assert len(gateway.bill.charges) == 1, stopped
        ledger.close()
    assert 10 < number < MOST - 1
