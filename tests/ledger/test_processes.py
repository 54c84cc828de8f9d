"""Many processes with one ledger: real ones. Nobody pays twice, and budgets hold over all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import forked
import pytest
from ledger_processes import CLIENT, client_of, let_go, start, wait_until_ready
from postgres import PostgresServer

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

pytestmark = pytest.mark.slow

ASK_ALL = (
    CLIENT
    + """
async def main():
    with Ledger.open(place) as ledger:
        async with AsyncAPIMaster(ledger=ledger) as client:
            print("ready", flush=True)
            sys.stdin.readline()
            keys = [f"k{number}" for number in range(settings["keys"])]
            results = await asyncio.gather(*(client.generate(f"castle {key}", idempotency_key=key) for key in keys))
            print(json.dumps([[result.images[0].url, result.replayed] for result in results]))
asyncio.run(main())
"""
)

SPEND = (
    CLIENT
    + """
with Ledger.open(place) as ledger, APIMaster(ledger=ledger) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(settings["images"]):
        try:
            client.generate(f"castle {settings['name']} {number}", budget="shared")
        except BudgetExceededError:
            pass
"""
)

LATE = (
    CLIENT
    + """
clock = time.time
time.time = lambda: clock() + settings["ahead"]
with Ledger.open(place) as ledger, APIMaster(ledger=ledger) as client:
    print("ready", flush=True)
    try:
        client.generate("the castle", idempotency_key="k", timeout=settings["timeout"])
    except APIMasterError as error:
        print(json.dumps([error.code, error.billed]))
    else:
        print(json.dumps(["bought", "yes"]))
"""
)


@pytest.mark.parametrize(("processes", "keys"), [(4, 10), (16, 40)])
def test_many_processes_ask_for_the_same_keys(place: str, gateway: Emulator, processes: int, keys: int) -> None:
    printed = let_go([start(ASK_ALL, place, gateway, keys=keys) for _ in range(processes)])
    answers = [json.loads(text) for text in printed]
    assert len(gateway.bill.charges) == keys
    assert sum(len(each) for each in answers) == processes * keys
    for each in answers:
        assert [url for url, _ in each] == [url for url, _ in answers[0]]
    assert sum(not replayed for each in answers for _, replayed in each) == keys


def test_eight_processes_share_a_dollar(place: str, gateway: Emulator) -> None:
    gateway.latency = 0.01
    with Ledger.open(place) as ledger:
        ledger.set_budget("shared", usd=1)
    for round_ in range(2):  # again, after a restart
        let_go([start(SPEND, place, gateway, images=6, name=f"{round_}-{number}") for number in range(8)])
        assert gateway.bill.total <= 1
    assert len(gateway.bill.charges) == 26  # at 0.0375 dollars
    with Ledger.open(place) as ledger:
        (budget,) = ledger.budgets()
    assert (budget.usd, budget.images) == (Decimal("0.0375") * 26, 26)


def test_a_dollar_holds_when_processes_are_killed(place: str, gateway: Emulator) -> None:
    with Ledger.open(place) as ledger:
        ledger.set_budget("shared", usd=1)
    for round_ in range(3):  # again, after a restart
        images = (2, 2, 50)[round_]
        children = [start(SPEND, place, gateway, images=images, name=f"{round_}-{number}") for number in range(8)]
        for child in children:
            wait_until_ready(child)
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
        while len(gateway.bill.charges) < 6 * (round_ + 1):
            pass
        for child in children[::2]:
            child.kill()
        for child in children:
            with child:
                child.communicate(120)
        assert gateway.bill.total <= 1
    with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
        (budget,) = ledger.budgets()
        assert gateway.bill.total <= budget.usd <= 1, "what may be charged is reserved"
        assert budget.usd > 1 - Decimal("0.0375")
        settlement = client.settle()
        assert not settlement.still_unknown
        (budget,) = ledger.budgets()
        assert (budget.usd, budget.images) == (gateway.bill.total, len(gateway.bill.charges))


def test_postgres_restarted_in_the_middle(gateway: Emulator) -> None:
    gateway.latency = "0.2-0.6"
    with PostgresServer() as server:
        place = server.new_database()
        children = [start(ASK_ALL, place, gateway, keys=40) for _ in range(3)]
        for child in children:
            wait_until_ready(child)
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(_answers, children)
            while len(gateway.bill.charges) < 10:
                pass
            server.stop()
            server.start()
            found = answers.result()
        assert all(each == found[0] for each in found)
        assert len(gateway.bill.charges) == 40
        with Ledger.open(place) as ledger:
            assert {purchase.state for purchase in ledger.purchases()} == {"delivered"}


def _answers(children: list[forked.Child]) -> list[list[str]]:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
    printed = [child.communicate(120) for child in children]
    assert all(child.returncode == 0 for child in children), printed
    return [[url for url, _ in json.loads(text)] for text, _ in printed]


@pytest.mark.parametrize("ahead", [3600, -3600])
@pytest.mark.parametrize("wrong", ["the owner", "who comes second"])
def test_a_clock_that_is_an_hour_off(postgres: PostgresServer, gateway: Emulator, ahead: int, wrong: str) -> None:
    place = postgres.new_database()
    gateway.latency = 60
    gateway.script("hang")
    owner = start(LATE, place, gateway, ahead=ahead if wrong == "the owner" else 0, timeout=60)
    with owner:
        wait_until_ready(owner)
        with Ledger.open(place) as ledger:
            while (purchase := ledger.get("k")) is None or purchase.state != "submitting":
                pass
            second = start(LATE, place, gateway, ahead=ahead if wrong != "the owner" else 0, timeout=0.5)
            with second:
                wait_until_ready(second)
                assert json.loads(second.communicate()[0]) == ["purchase_under_way", "maybe"]
            purchase = ledger.get("k")
            assert purchase is not None
            assert purchase.state == "submitting"
        owner.kill()
    assert len(gateway.bill.charges) <= 1


LOSES = (
    CLIENT
    + """
real, ahead = time.time, settings["ahead"]
time.time = lambda: real() + ahead
print("ready", flush=True)
with Ledger.open(place, settle_after=0) as ledger, APIMaster(ledger=ledger, max_retries=0) as client:
    try:
        client.generate("a castle", idempotency_key="k")
    except APIMasterError:
        found = client.settle()
    print(json.dumps([len(found.recovered), [each.error.message for each in found.still_unknown]]))
"""
)


@pytest.mark.parametrize("ahead", [0, 3600, -3600])
def test_the_only_purchase_is_found_by_a_clock_that_is_an_hour_off(place: str, gateway: Emulator, ahead: int) -> None:
    """No other purchase tells how far the clocks are apart: the gateway's reply does."""
    gateway.script("cut_after_acceptance")
    with start(LOSES, place, gateway, ahead=ahead) as child:
        wait_until_ready(child)
        assert json.loads(child.communicate()[0]) == [1, []]
    assert len(gateway.bill.charges) == 1


def test_a_fork_has_a_writer_of_its_own(place: str, gateway: Emulator, client_for: Callable[..., APIMaster]) -> None:
    with Ledger.open(place) as ledger:
        client_for(ledger).generate("a castle", idempotency_key="k")
        child = os.fork()
        if child == 0:
            try:
                found = ledger.get("k")
                os._exit(0 if found is not None and found.state == "delivered" else 3)
            finally:
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client_for(ledger).generate("a castle", idempotency_key="k").replayed
