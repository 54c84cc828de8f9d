"""``client.settle`` against a gateway that keeps its books: what was lost is found, and nothing is bought twice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from apimaster import APIMaster, AsyncAPIMaster, Charge
from apimaster._flows import settle as settle_flow
from apimaster._flows.context import Context
from apimaster._flows.operations import Flow
from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator
from apimaster.errors import BudgetExceededError, NoImageError, OutcomeUnknownError, ResultExpiredError
from apimaster.ledger import Ledger, Purchase, Settlement
from apimaster.ledger.schema import Where
from apimaster.ledger.steps import Settle, Step

ClientFor = Callable[..., APIMaster]


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    """A ledger whose gateway has written each charge down at once."""
    with Ledger.open(place, settle_after=0) as opened:
        yield opened


def lose(
    client: APIMaster, emulator: Emulator, *keys: str, fault: str = "cut_after_acceptance", **options: object
) -> None:
    for key in keys:
        emulator.script(fault)
        with pytest.raises((OutcomeUnknownError, NoImageError)):
            client.generate(f"castle {key}", idempotency_key=key, **options)  # type: ignore[arg-type]


def keys(purchases: tuple[object, ...]) -> list[str]:
    return [purchase.key for purchase in purchases]  # type: ignore[attr-defined]


def reason(purchase: Purchase) -> str:
    assert purchase.error is not None
    return purchase.error.message


def test_what_was_charged_is_found_and_fetched(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, tmp_path: Path
) -> None:
    ledger.set_budget("b", usd=1)
    client = client_for(ledger)
    lose(client, emulator, "one", "two", budget="b")
    lose(client, emulator, "nothing", fault="cut_before_acceptance", budget="b")
    client.generate("another castle", budget="b")
    found = client.settle(save_to=tmp_path / "pictures")
    assert (keys(found.recovered), keys(found.not_charged), found.still_unknown) == (["one", "two"], ["nothing"], ())
    assert {purchase.state for purchase in found.recovered} == {"saved"}
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    assert ledger.budgets()[0].images == 3
    charges = len(emulator.bill.charges)
    assert client.generate("castle one", idempotency_key="one").replayed
    assert not client.generate("castle nothing", idempotency_key="nothing").replayed
    assert len(emulator.bill.charges) == charges + 1


def test_the_asyncio_client_settles_too(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    lose(client_for(ledger), emulator, "one", "two")

    async def settle() -> Settlement:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            return await client.settle("two")

    assert keys(asyncio.run(settle()).recovered) == ["two"]
    assert keys(tuple(ledger.purchases(state="unknown"))) == ["one"]


def test_who_asks_again_has_it_settled(place: str, emulator: Emulator, client_for: ClientFor) -> None:
    with Ledger.open(place, settle_after=0) as ledger:
        client = client_for(ledger)
        lose(client, emulator, "k")
        result = client.generate("castle k", idempotency_key="k")
        assert result.replayed
        assert len(emulator.bill.charges) == 1
        assert len(emulator.requests_to("log")) == 1


def test_a_task_that_brought_no_picture_is_not_bought_again(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k", fault="task_no_image")
    client.generate("another castle")  # the log is alive
    for _ in range(2):
        with pytest.raises((OutcomeUnknownError, NoImageError)):
            client.generate("castle k", idempotency_key="k")
        assert not client.settle().not_charged
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed) == ("unknown", "maybe")
    assert len(emulator.bill.charges) == 2


def test_the_true_charge_takes_the_place_of_the_price(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.set_budget("b")
    client = client_for(ledger)
    with monkeypatch.context() as dearer:  # the price list of this version is out of date
        dearer.setattr("apimaster.catalog.ModelSpec.price", lambda *_: Decimal("0.01"))
        client.generate("a castle", idempotency_key="k", budget="b")
    assert ledger.budgets()[0].usd == Decimal("0.01")
    client.settle()
    purchase = ledger.get("k")
    assert purchase is not None
    assert purchase.cost == emulator.bill.total == ledger.budgets()[0].usd
    assert client.generate("a castle", idempotency_key="k", budget="b").cost == emulator.bill.total


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("log_refused", "keeps no usage log"),
        ("log_html_200", "keeps no usage log"),
        ("log_429", ""),
        ("log_500", ""),
    ],
)
def test_a_log_that_cannot_be_read_changes_nothing(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, fault: str, expected: str
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k", "l")
    before = list(ledger.rows(Where()))
    emulator.script(fault, times=None)
    for options in ((), ("k",)):
        found = client.settle(*options)
        assert expected in found.note
        assert found.note
        assert keys(found.still_unknown) == list(options or ("k", "l"))
        assert "no reply came back" in reason(found.still_unknown[0]), "why it is unknown, not why the log told nothing"
    assert list(ledger.rows(Where())) == before
    assert len(emulator.requests_to("log")) == 2
    emulator.clear_script()
    assert keys(client.settle().recovered) == ["k", "l"], "who asks by hand need not wait"


def test_a_log_that_cannot_be_read_is_not_asked_by_each_call(
    place: str, ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k", "l")
    before = list(ledger.rows(Where()))
    emulator.script("log_500", times=None)
    with Ledger.open(place, settle_after=0) as other:
        for key, asking in (("k", client), ("k", client), ("l", client), ("l", client_for(other))):
            with pytest.raises(OutcomeUnknownError, match=r"no reply came back.*The usage log told nothing") as caught:
                asking.generate(f"castle {key}", idempotency_key=key)
            assert caught.value.code == "purchase_unknown"
    assert len(emulator.requests_to("log")) == 1
    assert list(ledger.rows(Where())) == before, "nobody has looked, and why they are unknown is known as before"
    emulator.clear_script()
    monkeypatch.setattr("apimaster._flows.settle.ASK_AGAIN", 0.0)  # two minutes later
    assert client.generate("castle k", idempotency_key="k").replayed
    assert client.generate("castle l", idempotency_key="l").replayed
    assert len(emulator.bill.charges) == 2


@pytest.mark.slow
def test_calls_that_look_again_leave_readings_for_others(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    """While an equal request is on its way, the charge may be its own: each call has to look again."""
    first, second = client_for(ledger), client_for(ledger)
    lose(first, emulator, "k")
    emulator.script("slow_body", seconds=4)
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(second.generate, "castle k")
        while len(emulator.bill.charges) < 2:
            assert not on_its_way.done()
        for _ in range(20):
            with pytest.raises(OutcomeUnknownError):
                first.generate("castle k", idempotency_key="k")
        with pytest.raises(OutcomeUnknownError, match="Other calls have just read it, and it is read again in"):
            first.generate("castle k", idempotency_key="k")
        assert on_its_way.result(60).images
    assert len(emulator.requests_to("log")) == 2
    assert keys(first.settle().recovered) == ["k"], "who asks by hand need not wait"
    assert len(emulator.bill.charges) == 2


def test_a_request_on_its_way_keeps_its_charge(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    """Of an equal request: the first one was never charged, and must not get the picture of the second one."""
    first, second = client_for(ledger), client_for(ledger)
    emulator.script("cut_before_acceptance")
    with pytest.raises(OutcomeUnknownError):
        first.generate("a castle", idempotency_key="lost")
    second.generate("another castle")  # by it the log shows that it is alive
    emulator.script("slow_body", seconds=3)
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(second.generate, "a castle", idempotency_key="k")
        while len(emulator.bill.charges) < 2:
            assert not on_its_way.done()
        with pytest.raises(OutcomeUnknownError, match="on its way"):
            first.generate("a castle", idempotency_key="lost")
        assert on_its_way.result(60).images
    result = first.generate("a castle", idempotency_key="lost")
    assert not result.replayed
    assert result.images[0].url != on_its_way.result().images[0].url
    assert len(emulator.bill.charges) == 3


def test_two_settlings_at_once_of_which_one_is_stopped(
    place: str, ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one reads the purchases before the first one writes, and goes on when it has written one of three."""
    with Ledger.open(place, settle_after=0) as other:
        first, second = client_for(ledger), client_for(other)
        first.generate("a witness")
        for key in "abc":
            emulator.script("cut_after_acceptance")
            with pytest.raises(OutcomeUnknownError):
                first.generate("a castle", idempotency_key=key)
        waits, stopped = threading.Event(), threading.Event()
        read, take, verdicts = settle_flow.read_charges, ledger.take, []

        def slow_reply(context: Context, timeout: float) -> Flow[tuple[tuple[Charge, ...], float | None]]:
            found = yield from read(context, timeout)
            if context.ledger is other:
                waits.set()
                assert stopped.wait(60)
            return found

        def stop(step: Step) -> Any:
            if isinstance(step, Settle):
                verdicts.append(step)
                if len(verdicts) == 2:
                    raise KeyboardInterrupt
            return take(step)

        monkeypatch.setattr(settle_flow, "read_charges", slow_reply)
        monkeypatch.setattr(ledger, "take", stop)
        with ThreadPoolExecutor(1) as pool:
            settlement = pool.submit(second.settle)
            assert waits.wait(60)
            with pytest.raises(KeyboardInterrupt):
                first.settle()
            stopped.set()
            assert settlement.result(60).not_charged == ()
        pictures = {second.generate("a castle", idempotency_key=key).images[0].url for key in "abc"}
    assert len(pictures) == 3
    assert len(emulator.bill.charges) == 4


def test_what_settling_meets_is_no_fault_of_a_purchase_beside_it(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k")

    def broken(*_: object) -> list[Settle]:
        raise ValueError

    monkeypatch.setattr(settle_flow, "settle_steps", broken)
    monkeypatch.setattr(ledger, "_next_look", 0.0)
    assert client.generate("another castle").images


@pytest.mark.parametrize("fault", [None, "log_500", "log_refused"])
def test_beside_a_purchase_of_another_key(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    """Of what nobody asks for: from the second minute on, and the purchase goes on if the log can't be read."""
    client = client_for(ledger)
    lose(client, emulator, "k", "l")
    client.generate("another castle")
    assert emulator.requests_to("log") == [], "not in the first minute"
    before = list(ledger.rows(Where(states=("unknown",))))
    assert len(before) == 2
    if fault is not None:
        emulator.script(fault, times=None)
    for _ in range(2):
        monkeypatch.setattr(ledger, "_next_look", 0.0)  # a minute later
        assert client.generate("another castle").images
    assert len(emulator.requests_to("log")) == 1
    after = list(ledger.rows(Where(states=("unknown",))))
    assert after == ([] if fault is None else before)


def test_a_call_that_may_not_read_the_log_changes_nothing(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k")
    before = list(ledger.rows(Where()))
    monkeypatch.setattr("apimaster._flows.settle.LOG_LIMIT", 1)
    ledger.call(lambda each: each.reserve_log_read(client._context.account, limit=1, period=1200.0)).result()
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError, match="read too often"):
            client.generate("castle k", idempotency_key="k")
    assert "too often" in client.settle().note
    assert emulator.requests_to("log") == []
    assert list(ledger.rows(Where())) == before


def test_who_settles_one_key_does_not_take_the_charge_of_another(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    client.generate("another castle")  # the log is alive
    for key, fault in (("charged", "cut_after_acceptance"), ("free", "cut_before_acceptance")):
        emulator.script(fault)
        with pytest.raises(OutcomeUnknownError):
            client.generate("a castle", idempotency_key=key)
    assert keys(client.settle("free").not_charged) == ["free"]
    assert keys(client.settle("charged").recovered) == ["charged"]


@pytest.mark.parametrize("charged", [1, 2])
def test_two_images_of_one_call_never_get_one_charge(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, charged: int
) -> None:
    """Equal purchases can only be told apart side by side, whichever of them asks for the log."""
    client = client_for(ledger)
    client.generate("another castle")  # the log is alive
    for fault in ["cut_after_acceptance"] * charged + ["cut_before_acceptance"] * (2 - charged):
        emulator.script(fault)
    with pytest.raises(OutcomeUnknownError):
        client.generate("a castle", n=2, idempotency_key="k")
    again = client.generate("a castle", n=2, idempotency_key="k")
    assert len({image.url for image in again.images}) == 2
    assert len(emulator.bill.charges) == 3
    assert again.cost == 2 * Decimal("0.0375")


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_the_charge_of_a_picture_that_came_in_the_reply_is_not_given_to_another(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, mode: str
) -> None:
    client = client_for(ledger)
    client.generate("the same castle", idempotency_key="before", timeout=600)  # the log is alive
    emulator.dialect = "submit_as_image"
    client.generate("castle k", idempotency_key="delivered", mode=mode)  # type: ignore[arg-type]
    lose(client, emulator, "k", fault="cut_before_acceptance")
    found = client.settle("k")
    assert keys(found.recovered) == []
    # A channel that answers a submit with the picture draws it first, so a charge may show for minutes.
    drawing = mode == "async"
    assert (keys(found.not_charged), keys(found.still_unknown)) == (([], ["k"]) if drawing else (["k"], []))


def test_a_gateway_without_books_says_so(place: str, soon: None) -> None:
    with (
        Emulator(pictures="plain", account_routes=False) as emulator,
        Ledger.open(place, settle_after=0) as ledger,
        APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client,
    ):
        lose(client, emulator, "k")
        found = client.settle()
        assert "keeps no usage log" in found.note
        assert keys(found.still_unknown) == ["k"]


def test_the_log_is_read_no_more_often_than_the_gateway_allows(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    lose(client, emulator, *(f"k{number}" for number in range(18)), fault="cut_before_acceptance")
    notes = [client.settle().note for _ in range(18)]
    assert len(emulator.requests_to("log")) == 15
    assert "too often" in notes[-1]


def test_what_people_read_of_the_log_counts_too(
    place: str, ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k")
    for _ in range(13):
        client.charges()
    for name, value in {**emulator.env, "APIMASTER_LEDGER": place}.items():
        monkeypatch.setenv(name, value)
    assert apimaster(["account", "--json"]) == 0
    assert client.settle("no such key").note == ""
    assert keys(client.settle().recovered) == ["k"]
    assert "too often" in client.settle().note
    assert len(emulator.requests_to("log")) == 15
    Ledger.shared(place).close()
    assert client.charges(), "the limit is the gateway's to enforce"


def test_a_ledger_that_is_closed_stops_no_reading_of_the_log(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    client.generate("castle")
    ledger.close()
    assert len(client.charges()) == 1


def test_a_charge_that_shows_late_is_waited_for(place: str, emulator: Emulator, client_for: ClientFor) -> None:
    with Ledger.open(place) as ledger:
        client = client_for(ledger)
        lose(client, emulator, "k", fault="cut_before_acceptance")
        client.generate("another castle")
        found = client.settle()
        assert found.still_unknown[0].error is not None
        assert "look again in" in found.still_unknown[0].error.message


@pytest.fixture
def slow_books(soon: None) -> Iterator[Emulator]:
    """A gateway whose charges show in its log 45 s later, by a clock that the test moves."""
    with Emulator(pictures="plain", log_delay=45) as emulator:
        yield emulator


def test_a_charge_that_shows_late_is_found_when_it_shows(place: str, slow_books: Emulator, tmp_path: Path) -> None:
    with (
        Ledger.open(place) as ledger,  # which gives a charge 60 s to show
        APIMaster(slow_books.api_key, base_url=slow_books.base_url, ledger=ledger) as client,
    ):
        client.generate("another castle")  # by it the log shows later that it is alive
        lose(client, slow_books, "k")
        lose(client, slow_books, "free", fault="cut_before_acceptance")
        assert client.charges() == ()
        found = client.settle()
        assert (keys(found.still_unknown), found.recovered, found.not_charged) == (["k", "free"], (), ())
        assert "look again in" in reason(found.still_unknown[0])
        for key in ("k", "free"):
            with pytest.raises(OutcomeUnknownError):
                client.generate(f"castle {key}", idempotency_key=key)
        assert len(slow_books.bill.charges) == 2, "nothing is bought while nobody knows"
        slow_books.advance(44)
        assert keys(client.settle().still_unknown) == ["k", "free"]
        slow_books.advance(2)
        found = client.settle(save_to=tmp_path / "pictures")
        assert (keys(found.recovered), keys(found.still_unknown), found.not_charged) == (["k"], ["free"], ())
        assert client.generate("castle k", idempotency_key="k").replayed
    with (
        Ledger.open(place, settle_after=0) as ledger,  # as a minute later
        APIMaster(slow_books.api_key, base_url=slow_books.base_url, ledger=ledger) as client,
    ):
        assert keys(client.settle().not_charged) == ["free"]
        assert not client.generate("castle free", idempotency_key="free").replayed
    assert len(slow_books.bill.charges) == 3
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_a_late_log_proves_nothing_even_if_nobody_waits_for_it(
    place: str, slow_books: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The charge of the other purchase is not there either, so nothing shows that the log is alive."""
    with (
        Ledger.open(place, settle_after=0) as ledger,
        APIMaster(slow_books.api_key, base_url=slow_books.base_url, ledger=ledger) as client,
    ):
        client.generate("another castle")
        lose(client, slow_books, "k")
        with pytest.raises(OutcomeUnknownError, match="proves nothing"):
            client.generate("castle k", idempotency_key="k")
        slow_books.advance(46)
        monkeypatch.setattr(
            "apimaster.ledger.settling_due.SETTLE_AGAIN", 0.0
        )  # ten minutes later, on the ledger's clock
        assert client.generate("castle k", idempotency_key="k").replayed
    assert len(slow_books.bill.charges) == 2


def test_a_one_shot_call_is_found_by_its_picture(
    place: str, emulator: Emulator, client_for: ClientFor, tmp_path: Path
) -> None:
    with Ledger.open(place, settle_after=0) as ledger:
        client = client_for(ledger)
        lose(client, emulator, "k", mode="sync")
        emulator.finish()
        found = client.settle(save_to=tmp_path / "pictures")
        assert [purchase.state for purchase in found.recovered] == ["saved"]
        assert client.generate("castle k", mode="sync", idempotency_key="k").replayed
        assert len(emulator.bill.charges) == 1


def test_prompts_that_are_not_stored_are_found_by_their_digests(
    place: str, emulator: Emulator, client_for: ClientFor
) -> None:
    with Ledger.open(place, store_prompts=False, settle_after=0) as ledger:
        client = client_for(ledger)
        lose(client, emulator, "k")
        assert keys(client.settle().recovered) == ["k"]


def test_a_log_that_is_behind_does_not_prove_that_nothing_was_charged(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway answers from a copy of its log that ends before the lost purchase."""
    client = client_for(ledger)
    client.generate("a witness")
    (copied,) = client.charges()
    lose(client, emulator, "k")
    client.generate("another castle")

    def copy(context: Context, timeout: float) -> Flow[tuple[tuple[Charge, ...], float | None]]:
        _, date = yield from read(context, timeout)
        return (copied,), date

    read = settle_flow.read_charges
    monkeypatch.setattr(settle_flow, "read_charges", copy)
    (purchase,) = client.settle().still_unknown
    assert "the log is behind" in reason(purchase)
    monkeypatch.setattr(settle_flow, "read_charges", read)
    assert keys(client.settle().recovered) == ["k"]
    assert len(emulator.bill.charges) == 3


@pytest.mark.parametrize("mode", ["auto", "sync"])
def test_what_was_pruned_keeps_its_charge(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, mode: Literal["auto", "sync"]
) -> None:
    client = client_for(ledger)
    client.generate("a castle", idempotency_key="bought", mode=mode)
    emulator.script("cut_before_acceptance")
    with pytest.raises(OutcomeUnknownError):
        client.generate("a castle", idempotency_key="lost")
    assert ledger.prune(older_than=0) == 1
    client.generate("another castle")
    assert keys(client.settle().not_charged) == ["lost"]
    assert len(emulator.bill.charges) == 2


def test_a_budget_is_not_emptied_by_a_log_without_amounts(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    ledger.set_budget("b", usd="0.08")
    client = client_for(ledger)
    client.generate("a castle", budget="b")
    lose(client, emulator, "k", budget="b")
    body = httpx.get(f"{emulator.url}/api/log/token", headers={"authorization": f"Bearer {emulator.api_key}"}).json()
    for row in body["data"]:
        row["quota"] = None
    emulator.script({"fault": "reply", "body": json.dumps(body)}, on="log")
    assert keys(client.settle().recovered) == ["k"]
    assert ledger.budgets()[0].usd == emulator.bill.total
    with pytest.raises(BudgetExceededError):
        client.generate("a house", budget="b")


def test_a_task_that_the_gateway_has_forgotten(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    """It is told, and a person can say what became of it: the key is not lost for ever."""
    ledger.set_budget("b", usd=1)
    client = client_for(ledger)
    emulator.latency = "manual"
    task = client.submit("a castle", idempotency_key="k", budget="b")
    emulator.script("not_found", on="poll", times=None)
    for _ in range(2):
        with pytest.raises(ResultExpiredError, match="does not know the task") as caught:
            client.generate("a castle", idempotency_key="k", budget="b")
        assert (caught.value.billed, caught.value.task and caught.value.task.id) == ("yes", task.id)
        assert "ledger resolve" in caught.value.advice
    ledger.resolve("k", charged=False)
    assert ledger.budgets()[0].usd == 0
    emulator.clear_script()
    emulator.latency = 0
    assert not client.generate("a castle", idempotency_key="k", budget="b").replayed
    assert len(emulator.bill.charges) == 2


def test_the_log_of_another_account_is_not_asked(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    """Who asks with another API key is told so, instead of nothing."""
    client = client_for(ledger)
    lose(client, emulator, "k", "l")
    key = "the-key-of-another-account"
    with Emulator(api_keys=(key,)) as elsewhere, APIMaster(key, base_url=elsewhere.base_url, ledger=ledger) as other:
        other.generate("a castle", idempotency_key="made")
        found = other.settle("k", "made", "no such key")
        assert (keys(found.still_unknown), found.note) == (["k"], "")
        for said, expected in zip(
            found.left_out,
            (
                "The purchase 'k' was bought with another API key",
                "'made' [0] is delivered",
                "there is no purchase 'no such key'",
            ),
            strict=True,
        ):
            assert expected in said
        assert other.settle().left_out[0].startswith("2 unknown purchases were bought with another API key")
        assert len(elsewhere.requests_to("log")) == 1, "for other.settle(); the three keys need no log"
    assert emulator.requests_to("log") == []
    found = client.settle()
    assert (keys(found.recovered), found.left_out) == (["k", "l"], ())


def test_what_a_person_resolved_is_collected(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    lose(client, emulator, "k", "lost")
    (task, _) = [job.id for job in emulator.jobs]
    ledger.resolve("k", task=task)
    assert client.generate("castle k", idempotency_key="k").tasks[0].id == task
    ledger.resolve("lost", charged=True)
    with pytest.raises(NoImageError) as caught:
        client.generate("castle lost", idempotency_key="lost")
    assert (caught.value.code, caught.value.billed) == ("purchase_charged", "yes")
    assert sum(purchase.cost or Decimal(0) for purchase in ledger.purchases()) == emulator.bill.total
