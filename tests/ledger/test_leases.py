"""Leases that last: a living process takes over when the lease of a dead one has run out, whatever their clocks say."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import psycopg
import pytest
from ledger_processes import CLIENT, client_of, start, wait_until_ready

from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

pytestmark = pytest.mark.slow

LEASE = 1.0
HEARTBEAT = 0.2
HOUR = 3600

# Python's clocks are those of a machine that is wrong; nothing in this package has another one.
ASK_WITH_A_LEASE = (
    CLIENT
    + """
clock, clock_ns = time.time, time.time_ns
time.time = lambda: clock() + settings["ahead"]
time.time_ns = lambda: clock_ns() + settings["ahead"] * 10**9
with Ledger.open(place, settle_after=0, **settings["lease"]) as ledger, APIMaster(ledger=ledger) as client:
    print("ready", flush=True)
    result = client.generate("the castle", idempotency_key="k", timeout=60)
    print(json.dumps([result.images[0].url, result.replayed]))
"""
)


@contextmanager
def asking(place: str, gateway: Emulator, ahead: int = 0) -> Iterator[forked.Child]:
    """A process that asks for the picture; whatever happens, it is dead when the block has ended."""
    lease = {"lease": LEASE, "heartbeat": HEARTBEAT}
    with start(ASK_WITH_A_LEASE, place, gateway, lease=lease, ahead=ahead) as child:
        try:
            wait_until_ready(child)
            yield child
        finally:
            child.kill()


def last_sign_of_life(place: str, child: forked.Child) -> float:
    """Unix seconds by the ledger's clock."""
    if place.startswith("sqlite"):
        with sqlite3.connect(place.removeprefix("sqlite:///")) as file:
            found = file.execute("SELECT seen FROM worker WHERE pid = ?", [child.pid]).fetchone()
    else:
        with psycopg.connect(place) as server:
            found = server.execute("SELECT seen FROM apimaster.worker WHERE pid = %s", [child.pid]).fetchone()
    assert found is not None
    return float(found[0])


def wait_until(ledger: Ledger, state: str) -> None:
    while (purchase := ledger.get("k")) is None or purchase.state != state:
        pass


def now(ledger: Ledger) -> float:
    return ledger.call(lambda backend: backend.now()).result()


def answer_of(child: forked.Child) -> tuple[str, bool]:
    printed, errors = child.communicate()
    assert printed, errors
    url, replayed = json.loads(printed)
    return url, replayed


def owner_dies(place: str, gateway: Emulator, owner_ahead: int = 0, other_ahead: int = 0) -> None:
    with Ledger.open(place) as ledger, client_of(gateway, ledger) as client:
        client.generate("another castle")  # by its charge, the clocks of the ledger and of the log are compared
    gateway.script("hang")  # the request is accepted, and its reply never comes
    with Ledger.open(place) as ledger, asking(place, gateway, owner_ahead) as owner:
        wait_until(ledger, "submitting")
        begun = now(ledger)
        with asking(place, gateway, other_ahead) as other:
            while last_sign_of_life(place, owner) < begun + 1.5 * LEASE:
                purchase = ledger.get("k")
                assert purchase is not None
                assert purchase.state == "submitting", "the owner gives signs of life, for longer than a lease"
            owner.kill()
            owner.wait()
            seen = last_sign_of_life(place, owner)
            url, replayed = answer_of(other)
            assert now(ledger) >= seen + LEASE
            assert replayed
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.images[0].url) == ("delivered", url)
    assert len(gateway.bill.charges) == 2


def test_a_living_process_takes_over_when_the_lease_has_run_out(place: str, gateway: Emulator) -> None:
    owner_dies(place, gateway)


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("wrong", ["the owner", "who waits"])
def test_leases_hold_with_a_clock_that_is_an_hour_off(place: str, gateway: Emulator, ahead: int, wrong: str) -> None:
    """Neither are they cut short, nor do they last an hour longer."""
    owner_dies(place, gateway, *((ahead, 0) if wrong == "the owner" else (0, ahead)))


@pytest.mark.parametrize("state", ["submitting", "submitted"])
def test_stopped_for_longer_than_its_lease(place: str, gateway: Emulator, state: str) -> None:
    """Others go on with its purchase, and it gets the same picture when it wakes up."""
    if state == "submitting":
        gateway.script("slow_body", seconds=1)
    gateway.latency = "manual"
    with Ledger.open(place) as ledger, asking(place, gateway) as owner:
        wait_until(ledger, state)
        while not gateway.bill.charges:
            pass
        owner.send_signal(signal.SIGSTOP)
        while ") T " not in Path(f"/proc/{owner.pid}/stat").read_text():
            pass
        seen = last_sign_of_life(place, owner)
        with asking(place, gateway) as other:
            if state == "submitting":
                wait_until(ledger, "submitted")
            gateway.finish()
            url, _ = answer_of(other)
            while now(ledger) < seen + 1.5 * LEASE:
                pass
            owner.send_signal(signal.SIGCONT)
            assert answer_of(owner)[0] == url
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.billed) == ("delivered", "yes")
    assert len(gateway.bill.charges) == 1
