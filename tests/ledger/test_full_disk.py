"""A full disk, and a read-only one: nothing is sent that can't be recorded, and what is paid for is delivered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_disk import DISKS, Disk

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.errors import LedgerError
from apimaster.ledger import Ledger
from apimaster.ledger.steps import Left


@pytest.fixture(params=DISKS, ids=lambda kind: kind.__name__)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = request.param(tmp_path)
    yield made
    made.remove()


def client_of(emulator: Emulator, ledger: Ledger, **options: Any) -> APIMaster:
    return APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger, **options)


def posts(emulator: Emulator) -> int:
    return len(emulator.requests_to("submit")) + len(emulator.requests_to("sync"))


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_full_disk_stops_a_purchase_before_anything_is_sent(disk: Disk, emulator: Emulator, mode: Any) -> None:
    with Ledger.open(disk.folder / "purchases.db", heartbeat=3600) as ledger, client_of(emulator, ledger) as client:
        ledger.set_budget("b", usd=1)
        client.generate("a house", idempotency_key="before", budget="b")
        disk.fill()
        sent = posts(emulator)
        for key in ("k", None):
            with pytest.raises(LedgerError) as caught:
                client.generate("a castle", mode=mode, idempotency_key=key, budget="b")
            assert caught.value.billed == "no"
        assert (posts(emulator), len(emulator.bill.charges)) == (sent, 1)
        assert [(each.key, each.state) for each in ledger.purchases()] == [("before", "delivered")]
        disk.free()
        assert not client.generate("a castle", mode=mode, idempotency_key="k", budget="b").replayed
        assert (len(emulator.bill.charges), ledger.budgets()[0].images) == (2, 2)


def test_a_read_only_disk_stops_a_purchase_before_anything_is_sent(disk: Disk, emulator: Emulator) -> None:
    ledger = Ledger.open(disk.folder / "purchases.db", heartbeat=3600)
    ledger.get("k")
    ledger = disk.make_read_only(ledger)
    with client_of(emulator, ledger) as client, pytest.raises(LedgerError) as caught:
        client.generate("a castle", idempotency_key="k")
    assert caught.value.billed == "no"
    assert (posts(emulator), len(emulator.bill.charges)) == (0, 0)
    ledger = disk.make_writable(ledger)
    with ledger, client_of(emulator, ledger) as client:
        assert not client.generate("a castle", idempotency_key="k").replayed


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_disk_that_fills_after_the_request_loses_no_picture(
    disk: Disk, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Any
) -> None:
    def fill(response: httpx.Response) -> None:
        if response.request.method == "POST":  # the gateway has charged for it, and nothing is recorded yet
            disk.fill()

    http = httpx.Client(event_hooks={"response": [fill]})
    with (
        http,
        Ledger.open(disk.folder / "purchases.db", heartbeat=3600) as ledger,
        client_of(emulator, ledger, http_client=http) as client,
    ):
        for number in range(8):  # a log that is larger than the picture
            ledger.set_budget(f"b{number}", usd=1)
        ledger.set_budget("b", usd=1)
        path = tmp_path / "castle.png"
        with caplog.at_level(logging.WARNING, "apimaster"):
            result = client.generate("a castle", mode=mode, idempotency_key="k", budget="b", save_to=path)
        assert path.is_file()
        assert result.images[0].path == path
        assert "can't be used" in caplog.text, "the steps could not be written"
        purchase = ledger.get("k")
        assert purchase is not None
        assert purchase.state == "submitting", "the disk is full"
        disk.free()
        ledger.take(Left(key="another")).result()  # the next step takes with it what is owed
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.billed, ledger.budgets()[0].images) == ("saved", "yes", 1)
        assert client.generate("a castle", mode=mode, idempotency_key="k", budget="b").replayed
    assert len(emulator.bill.charges) == 1
