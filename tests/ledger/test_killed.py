"""kill -9 before and after each step, and at fifty moments around each: what is charged is on disk in the end, once."""

from __future__ import annotations

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_processes import CLIENT, client_of, start, wait_until_ready

from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

pytestmark = pytest.mark.slow

DIE_AT = (
    CLIENT
    + """
backend = sqlite.SQLiteBackend if place.startswith("sqlite") else postgres.PostgresBackend
apply = backend.apply
def dying(self, steps, worker, **options):
    wanted = (settings["step"], settings["saved"])
    now = any((type(step).__name__, getattr(step, "saved", False)) == wanted for step in steps)
    if now and settings["when"] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answers = apply(self, steps, worker, **options)
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers
backend.apply = dying
with Ledger.open(place) as ledger, APIMaster(ledger=ledger) as client:
    client.generate("the castle", idempotency_key="k", save_to=settings["folder"])
"""
)

ASK_FOR_EIGHT = (
    CLIENT
    + """
backend = sqlite.SQLiteBackend if place.startswith("sqlite") else postgres.PostgresBackend
apply = backend.apply
seen = 0
def dying(self, steps, worker, **options):
    global seen
    before, wanted = seen, (settings["step"], settings["saved"])
    seen += sum((type(step).__name__, getattr(step, "saved", False)) == wanted for step in steps)
    if before < settings["nth"] <= seen:
        threading.Timer(settings["delay"], os.kill, (os.getpid(), signal.SIGKILL)).start()
    return apply(self, steps, worker, **options)
backend.apply = dying
async def main():
    with Ledger.open(place) as ledger:
        async with AsyncAPIMaster(ledger=ledger) as client:
            print("ready", flush=True)
            keys = [f"{settings['name']}-{number}" for number in range(8)]
            folder = settings["folder"]
            await asyncio.gather(
                *(client.generate(f"castle {key}", idempotency_key=key, save_to=folder) for key in keys)
            )
            if settings["step"]:
                signal.pause()  # the kill is on its way
asyncio.run(main())
"""
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["Begin", "Submitted", "Delivered", "saved"])
def test_killed_at_a_step(place: str, gateway: Emulator, tmp_path: Path, step: str, when: str) -> None:
    saved = step == "saved"
    folder = tmp_path / "pictures"
    settings = {"step": "Delivered" if saved else step, "saved": saved, "when": when, "folder": str(folder)}
    with start(DIE_AT, place, gateway, **settings) as child:
        child.communicate()
    assert child.returncode == -9
    with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
        client.generate("another castle, so that the log shows that it is alive")
        result = client.generate("the castle", idempotency_key="k", save_to=folder)
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.billed) == ("saved", "yes")
        assert result.replayed == (step != "Begin")
    assert len(gateway.bill.charges) == 2
    assert len(list(folder.glob("*.png"))) == 1


@pytest.mark.parametrize("step", [None, "Begin", "Submitted", "Delivered", "saved"])
def test_killed_at_fifty_moments(place: str, gateway: Emulator, tmp_path: Path, step: str | None) -> None:
    """At any moment, or from just before the nth step of a kind until shortly after it."""
    chance = random.Random(20261125)
    folder = tmp_path / "pictures"
    kind = {"step": "Delivered" if step == "saved" else step, "saved": step == "saved"}

    def one(number: int) -> bool:
        moment = {"nth": chance.randint(1, 8), "delay": chance.random() * 0.02}
        settings = {"name": f"round-{number}", "folder": str(folder), **kind, **moment}
        with start(ASK_FOR_EIGHT, place, gateway, **settings) as child:
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
    with Ledger.open(place, lease=0, settle_after=0) as ledger, client_of(gateway, ledger) as client:
        ledger.reap()
        found = list(ledger.purchases())
        charges = len(gateway.bill.charges)
        unknown = [purchase for purchase in found if purchase.state == "unknown"]
        paid = [purchase for purchase in found if purchase.billed == "yes"]
        assert charges <= len(paid) + len(unknown)
        assert not [purchase for purchase in found if purchase.state in ("submitting", "claimed")]
        client.generate("another castle, so that the log shows that it is alive")
        settlement = client.settle(save_to=folder)
        assert len(settlement.recovered) + len(settlement.not_charged) == len(unknown), settlement
        assert not settlement.still_unknown
        for purchase in ledger.purchases(state=("submitted", "delivered")):
            if purchase.key.startswith("round"):
                client.generate(purchase.request, idempotency_key=purchase.key, save_to=folder)
        saved = list(ledger.purchases(state="saved"))
        assert len(saved) == charges == len(gateway.bill.charges) - 1
        assert len(list(folder.glob("*.png"))) == charges
        assert all(Path(str(image.path)).is_file() for purchase in saved for image in purchase.images)
