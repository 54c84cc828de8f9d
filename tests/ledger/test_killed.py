"""kill -9 before and after each step, and at fifty moments around each: what is charged is on disk in the end, once."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_processes import CLIENT, client_of, let_time_pass, start, wait_until_ready
from PIL import Image

from apimaster import APIMaster
from apimaster.catalog import one_shot_limit
from apimaster.emulator import Emulator
from apimaster.errors import OutcomeUnknownError
from apimaster.ledger import Ledger

pytestmark = pytest.mark.slow

NAME_OF = """
def name_of(step):
    name = type(step).__name__
    if name == "Begin" and not step.submit:
        return "claim"
    return "saved" if name == "Delivered" and step.saved else name
backend = sqlite.SQLiteBackend if place.startswith("sqlite") else postgres.PostgresBackend
apply = backend.apply
"""

DIE_AT = (
    CLIENT
    + NAME_OF
    + """
def dying(self, steps, worker, **options):
    now = any(name_of(step) == settings["step"] for step in steps)
    if now and settings["when"] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answers = apply(self, steps, worker, **options)
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers
backend.apply = dying
with Ledger.open(place) as ledger, APIMaster(ledger=ledger) as client:
    client.generate("the castle", idempotency_key="k", save_to=settings["folder"], **settings["options"])
"""
)

ASK_FOR_ALL = (
    CLIENT
    + NAME_OF
    + """
seen = 0
def dying(self, steps, worker, **options):
    global seen
    before = seen
    seen += sum(name_of(step) == settings["step"] for step in steps)
    if before < settings["nth"] <= seen:
        threading.Timer(settings["delay"], os.kill, (os.getpid(), signal.SIGKILL)).start()
    return apply(self, steps, worker, **options)
backend.apply = dying
async def main():
    with Ledger.open(place) as ledger:
        async with AsyncAPIMaster(ledger=ledger) as client:
            print("ready", flush=True)
            await asyncio.gather(
                *(
                    client.generate(f"castle {key}", idempotency_key=key, save_to=settings["folder"], **options)
                    for key, options in settings["calls"].items()
                )
            )
            if settings["step"]:
                signal.pause()  # the kill is on its way
asyncio.run(main())
"""
)


PRICE = Decimal("0.0375")
ONE_SHOT: dict[str, Any] = {"mode": "sync"}
STEPS = {
    "plain": ["Begin", "Submitted", "Delivered", "saved"],
    "references": ["claim", "Begin", "Submitted"],
    "uploads": ["claim", "Begin", "Submitted"],
    "two images": ["Begin", "Submitted", "Delivered", "saved"],
    "one shot": ["Begin", "Delivered", "saved"],
    "no asynchronous route": ["Submitting", "Delivered"],
}

# Nothing was sent, and the log can't show that yet: a one-shot call may still be charged after minutes.
NOT_YET_KNOWN = {
    ("one shot", "Begin", "after"),
    ("no asynchronous route", "Submitting", "after"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("request_kind", "step"), [(kind, step) for kind, steps in STEPS.items() for step in steps])
def test_killed_at_a_step(
    place: str,
    gateway: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request_kind: str,
    step: str,
    when: str,
) -> None:
    reference = tmp_path / "reference.png"
    Image.new("RGB", (8, 8), "red").save(reference)
    options: dict[str, Any] = {
        "references": {"references": [str(reference)]},
        "uploads": {"references": [str(reference)], "references_by": "upload"},
        "two images": {"n": 2},
        "one shot": ONE_SHOT,
    }.get(request_kind, {}) | {"budget": "shared"}
    if request_kind == "no asynchronous route":
        gateway.dialect = "no_async"
    with Ledger.open(place) as ledger:
        ledger.set_budget("shared", usd=1)
    folder = tmp_path / "pictures"
    with start(DIE_AT, place, gateway, step=step, when=when, folder=str(folder), options=options) as child:
        child.communicate()
    assert child.returncode == -9
    images = options.get("n", 1)
    with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
        client.generate("another castle, so that the log shows that it is alive")
        if (request_kind, step, when) in NOT_YET_KNOWN:
            settle_when_it_is_time(client, gateway, monkeypatch, options)
        result = client.generate("the castle", idempotency_key="k", save_to=folder, **options)
        if result.failures:  # the one was looked up while the request for the other was out
            result = client.generate("the castle", idempotency_key="k", save_to=folder, **options)
        found = list(ledger.purchases(key="k"))
        assert [(purchase.state, purchase.billed) for purchase in found] == [("saved", "yes")] * images
        if images == 1:
            assert result.replayed == (step not in ("claim", "Begin", "Submitting"))
        (budget,) = ledger.budgets()
        assert (budget.usd, budget.images) == (gateway.bill.total - PRICE, images)
    assert len(gateway.bill.charges) == images + 1
    # A file without a task in its name is saved again, if the process died before it recorded the name.
    again = (request_kind, step, when) == ("one shot", "saved", "before")
    assert images <= len(list(folder.glob("*.png"))) <= images + again


def settle_when_it_is_time(
    client: APIMaster, gateway: Emulator, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Nobody can tell before the gateway's own limit has passed; then the log shows that nothing was charged."""
    with pytest.raises(OutcomeUnknownError):
        client.generate("the castle", idempotency_key="k", **options)
    with monkeypatch.context() as nearly:
        let_time_pass(nearly, one_shot_limit(None) - 30)
        assert [purchase.key for purchase in client.settle("k").still_unknown] == ["k"]
    with monkeypatch.context() as over:
        let_time_pass(over, one_shot_limit(None) + 1)
        settlement = client.settle("k")
        assert not settlement.still_unknown, settlement.still_unknown[0].error
    assert [(purchase.state, purchase.billed) for purchase in settlement.not_charged] == [("failed", "no")]
    assert len(gateway.bill.charges) == 1, "of the witness"


@pytest.mark.parametrize(("when", "state"), [("before", "submitted"), ("after", "failed")])
def test_who_lives_on_finds_out_what_a_killed_process_bought(
    place: str, gateway: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, state: str
) -> None:
    """Without being asked for it: a minute after it opened the ledger, beside a purchase of its own."""
    step = "Submitted" if state == "submitted" else "Begin"
    folder = str(tmp_path / "pictures")
    with start(DIE_AT, place, gateway, step=step, when=when, folder=folder, options={}) as child:
        child.communicate()
    assert child.returncode == -9
    with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
        ledger.reap()
        client.generate("another castle, so that the log shows that it is alive")
        assert [purchase.state for purchase in ledger.purchases(key="k")] == ["unknown"]
        monkeypatch.setattr(ledger, "_next_look", time.monotonic())
        client.generate("one more")
        assert [purchase.state for purchase in ledger.purchases(key="k")] == [state]
        client.generate("the castle", idempotency_key="k")
    assert len(gateway.bill.charges) == 3


@pytest.fixture(scope="module")
def drawing() -> Iterator[Emulator]:
    with Emulator(pictures="small") as emulator:
        yield emulator


@pytest.fixture
def distinct(drawing: Emulator, soon: None) -> Emulator:
    """A gateway without two pictures that are the same: two equal ones of one-shot calls may be one file."""
    drawing.reset()
    drawing.latency = "0.02-0.2"
    return drawing


@pytest.mark.parametrize("step", [None, "claim", "Begin", "Submitted", "Delivered", "saved"])
def test_killed_at_fifty_moments(
    place: str, distinct: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str | None
) -> None:
    """At any moment, or from just before the nth step of a kind until shortly after it.

    Each process makes every kind of call at once, all of them for one budget.
    """
    chance = random.Random(20261125)
    folder = tmp_path / "pictures"
    reference = tmp_path / "reference.png"
    Image.new("RGB", (8, 8), "red").save(reference)
    referring = {"references": [str(reference)]}
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {},
        referring,
        referring,
        {"n": 2},
        {"n": 2} | referring,
        ONE_SHOT,
        ONE_SHOT,
    )
    calls = {
        number: {f"round-{number}-{index}": {"budget": "shared", **options} for index, options in enumerate(kinds)}
        for number in range(50)
    }
    with Ledger.open(place) as ledger:
        ledger.set_budget("shared", usd=100)

    def one(number: int) -> bool:
        moment = {"nth": chance.randint(1, 3 if step == "claim" else 8), "delay": chance.random() * 0.02}
        with start(ASK_FOR_ALL, place, distinct, step=step, folder=str(folder), calls=calls[number], **moment) as child:
            wait_until_ready(child)
            try:
                # killed if it has not ended by then
                child.wait(chance.random() * 0.5 if step is None else 60)
            except subprocess.TimeoutExpired:
                assert step is None
            return child.returncode == -9

    with ThreadPoolExecutor(5) as pool:
        killed = sum(pool.map(one, range(50)))
    assert step is None or killed == 50
    distinct.finish()  # one-shot calls whose clients are gone
    with Ledger.open(place, lease=0) as ledger, client_of(distinct, ledger) as client:
        ledger.reap()
        found = list(ledger.purchases())
        charges = len(distinct.bill.charges)
        unknown = [purchase for purchase in found if purchase.state == "unknown"]
        paid = [purchase for purchase in found if purchase.billed == "yes"]
        assert charges <= len(paid) + len(unknown)
        assert not [purchase for purchase in found if purchase.state in ("submitting", "claimed")]
        assert reserved(ledger) == len(paid) + len(unknown)
        client.generate("another castle, so that the log shows that it is alive")
        let_time_pass(monkeypatch, one_shot_limit(None) + ledger.settle_after)
        settlement = client.settle(save_to=folder)
        assert len(settlement.recovered) + len(settlement.not_charged) == len(unknown), settlement
        assert not settlement.still_unknown
        assert reserved(ledger) == charges == len(distinct.bill.charges) - 1
        bought = Counter(purchase.key for purchase in ledger.purchases() if purchase.billed == "yes")
        begun = {purchase.key for purchase in ledger.purchases(state=("submitted", "delivered"))}
        for key, options in (
            (key, options) for each in calls.values() for key, options in each.items() if key in begun
        ):
            client.generate(f"castle {key}", idempotency_key=key, save_to=folder, **options)
            charges += options.get("n", 1) - bought[key]  # of two images, the other one is bought now
        saved = list(ledger.purchases(state="saved"))
        assert len(saved) == reserved(ledger) == charges == len(distinct.bill.charges) - 1
        paths = {Path(str(image.path)) for purchase in saved for image in purchase.images}
        assert len(paths) == len(saved)
        assert all(path.is_file() for path in paths)
        # A file without a task in its name is saved again, if the process died before it recorded the name.
        again = set(folder.glob("*.png")) - paths
        assert len(again) <= sum(options.get("mode") == "sync" for each in calls.values() for options in each.values())


def reserved(ledger: Ledger) -> int:
    """The images that count in the budget, whose dollars are theirs."""
    (budget,) = ledger.budgets()
    assert budget.usd == budget.images * PRICE
    return budget.images


def test_killed_before_the_reply_while_the_charge_shows_late(place: str, tmp_path: Path, soon: None) -> None:
    folder = tmp_path / "pictures"
    with Emulator(pictures="plain", log_delay=45) as gateway:
        settings = {"step": "Submitted", "when": "before", "folder": str(folder), "options": {}}
        with start(DIE_AT, place, gateway, **settings) as child:
            child.communicate()
        assert child.returncode == -9
        assert len(gateway.bill.charges) == 1
        with Ledger.open(place, lease=0) as ledger, client_of(gateway, ledger) as client:
            client.generate("another castle, so that the log shows that it is alive")
            found = client.settle(save_to=folder)
            assert [(each.key, each.state) for each in found.still_unknown] == [("k", "unknown")]
            with pytest.raises(OutcomeUnknownError):
                client.generate("the castle", idempotency_key="k", save_to=folder)
            gateway.advance(46)
            found = client.settle(save_to=folder)
            assert [(each.key, each.state) for each in found.recovered] == [("k", "saved")]
            assert client.generate("the castle", idempotency_key="k", save_to=folder).replayed
        assert len(gateway.bill.charges) == 2
    assert len(list(folder.glob("*.png"))) == 1
