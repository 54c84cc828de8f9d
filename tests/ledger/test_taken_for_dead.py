"""A process that is not dead, and looks so: stopped between two attempts, or cut off from the store like all others."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from ledger_processes import CLIENT, client_of, start, wait_until_ready
from postgres import PostgresServer

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger
from apimaster.ledger.lease import Lease
from apimaster.ledger.steps import Begin

REQUEST = '{"prompt": "a castle", "model": "gemini-3.1-flash-image-preview"}'

STOPPED_BEFORE_ITS_RETRY = (
    CLIENT
    + """
from apimaster._flows.retry import RetryPolicy
def stop(self, attempt, error):
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0.0
RetryPolicy.pause = stop
with Ledger.open(place) as ledger, APIMaster(ledger=ledger) as client:
    try:
        result = client.generate("the castle", idempotency_key="k", mode=settings["mode"])
    except APIMasterError as error:
        print(json.dumps([type(error).__name__, error.billed]))
    else:
        print(json.dumps([result.images[0].url, result.replayed]))
"""
)


def find_not_charged(client: APIMaster, ledger: Ledger, mode: str) -> None:
    """By the usage log; a one-shot call may show there minutes later, so a person says it of one."""
    if mode == "sync":
        ledger.resolve("k", charged=False)
    else:
        client.generate("another castle, so that the log shows that it is alive")
        assert client.settle("k").not_charged


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("meanwhile", ["nothing", "found not charged", "submitted", "bought"])
def test_stopped_between_two_attempts(place: str, gateway: Emulator, mode: str, meanwhile: str) -> None:
    gateway.script("rate_limited")
    with start(STOPPED_BEFORE_ITS_RETRY, place, gateway, mode=mode) as child:
        wait_until_ready(child)
        while ") T " not in Path(f"/proc/{child.pid}/stat").read_text():
            pass
        with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
            ledger.reap()
            purchase = ledger.get("k")
            assert purchase is not None
            assert purchase.state == "unknown", "its process is taken for dead"
            if meanwhile != "nothing":
                find_not_charged(client, ledger, mode)
            if meanwhile == "submitted":
                client.submit("the castle", idempotency_key="k")
            if meanwhile == "bought":
                client.generate("the castle", idempotency_key="k")
            others = len(gateway.bill.charges) - (meanwhile in ("submitted", "bought"))
            child.send_signal(signal.SIGCONT)
            printed, errors = child.communicate()
            assert printed, errors
            url, replayed = json.loads(printed)
            assert replayed == (meanwhile in ("submitted", "bought"))
            purchase = ledger.get("k")
            assert purchase is not None
            assert (purchase.state, purchase.images[0].url) == ("delivered", url)
    assert len(gateway.bill.charges) == others + 1


@pytest.mark.slow
def test_an_outage_makes_nobody_dead() -> None:
    with PostgresServer() as server:
        place = server.new_database()
        options = {"heartbeat": 0.05, "lease": 0.2}
        with Ledger.open(place, **options) as owner, Ledger.open(place, **options) as other:  # type: ignore[arg-type]
            begin = Begin(key="k", claim="c", digest="d", request=REQUEST, price=None, budget=None, account="a")
            assert owner.take(begin).result().kind == "buy"
            back = threading.Event()
            silent = owner.call(lambda _: back.wait(60))
            other.reap()
            stopped = time.monotonic()
            server.stop()
            server.start()
            other.reap()
            assert time.monotonic() - stopped > options["lease"]
            state = other.get("k")
            back.set()
            assert silent.result()
            assert state is not None
            assert state.state == "submitting", "its sign of life is old for the same reason as everybody's"


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_who_was_cut_off_gives_the_others_as_much_time(monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    """A machine that sleeps stops its monotonic clock; a clock that is put forward is only the other one."""
    now = {"monotonic": 100.0, "time": 1000.0}
    for name in now:
        monkeypatch.setattr(f"apimaster.ledger.lease.time.{name}", lambda name=name: now[name])
    lease = Lease(heartbeat=10, lease=60)
    assert lease.seconds == 60
    lease.reached()
    now[clock] += 15
    assert lease.seconds == 60
    now[clock] += 300
    assert lease.seconds == 60 + 315
    lease.reached()
    now["monotonic"] += 9
    lease.reached()
    assert lease.seconds == 60 + 315
    for _ in range(6):
        now["monotonic"] += 9
        lease.reached()
    assert lease.seconds == 60
