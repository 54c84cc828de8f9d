"""What every store of a ledger must do: the same tests on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import forked
import psycopg
import pytest
from postgres import PostgresServer

from apimaster.errors import APIConnectionError, BadRequestError, BudgetExceededError, LedgerError
from apimaster.ledger import Ledger
from apimaster.ledger.rows import COLUMNS, Row, RowCount
from apimaster.ledger.schema import VERSION, Where
from apimaster.ledger.steps import (
    Begin,
    Beginning,
    Delivered,
    Ended,
    Left,
    Release,
    Settle,
    Step,
    Submitted,
    Submitting,
    Take,
    error_json,
)

PRICE = Decimal("0.0375")
REQUEST = '{"prompt": "a castle", "model": "gemini-3.1-flash-image-preview"}'

ERROR = error_json("InternalServerError", "It went wrong.", "no")


def begin(key: str, claim: str = "me", **changes: object) -> Begin:
    fields: dict[str, object] = {"digest": "d", "request": REQUEST, "price": PRICE, "budget": None, "account": "a"}
    return Begin(key=key, claim=claim, **{**fields, **changes})  # type: ignore[arg-type]


def bought(ledger: Ledger, key: str, **changes: object) -> Beginning:
    answer = ledger.take(begin(key, **changes)).result()
    assert isinstance(answer, Beginning)
    return answer


def deliver(ledger: Ledger, key: str, claim: str = "me") -> None:
    task = f'{{"id": "task-{key}", "model": "m"}}'
    ledger.take(Submitted(key=key, claim=claim, task_id=f"task-{key}", task=task)).result()
    ledger.take(Delivered(key=key, claim=claim, images='[{"url": "https://cdn.test/a.png"}]')).result()


def state_of(ledger: Ledger, key: str) -> str:
    purchase = ledger.get(key)
    assert purchase is not None
    return purchase.state


def test_a_purchase_is_what_was_written(ledger: Ledger) -> None:
    assert ledger.get("k") is None
    ledger.set_budget("b", usd=1)
    before = time.time()
    assert bought(ledger, "k", budget="b").kind == "buy"
    purchase = ledger.get("k")
    assert purchase is not None
    assert (purchase.state, purchase.billed, purchase.cost, purchase.budget) == ("submitting", "maybe", PRICE, "b")
    assert purchase.request.prompt == "a castle"
    assert purchase.submitted_at is not None
    assert abs(purchase.submitted_at - before) < 60
    deliver(ledger, "k")
    purchase = ledger.get("k")
    assert purchase is not None
    assert purchase.task is not None
    assert (purchase.state, purchase.task.id, purchase.billed) == ("delivered", "task-k", "yes")
    assert [image.url for image in purchase.images] == ["https://cdn.test/a.png"]
    assert purchase.attempts == 1


def test_another_process_sees_it(place: str, ledger: Ledger) -> None:
    bought(ledger, "k")
    with Ledger.open(place) as other:
        assert bought(other, "k", claim="other").kind == "busy"
        deliver(ledger, "k")
        assert bought(other, "k", claim="other").kind == "done"
        with pytest.raises(BadRequestError, match="another request"):
            bought(other, "k", claim="other", digest="e")


def test_only_one_of_many_buys(place: str) -> None:
    ledgers = [Ledger.open(place, max_open_submits=1000) for _ in range(4)]
    together = threading.Barrier(len(ledgers))

    def race(ledger: Ledger) -> list[str]:
        together.wait()
        steps = [ledger.take(begin(f"k{number}", claim=f"{id(ledger)}")) for number in range(60)]
        return [each.result().kind for each in steps]

    with ThreadPoolExecutor(len(ledgers)) as pool:
        answers = list(pool.map(race, ledgers))
    for ledger in ledgers:
        ledger.close()
    kinds = [kind for each in answers for kind in each]
    assert kinds.count("buy") == 60


def test_a_refusal_does_not_stop_the_others_of_its_group(ledger: Ledger) -> None:
    ledger.set_budget("small", images=1)
    steps = [ledger.take(begin(f"k{number}", budget="small")) for number in range(3)]
    unknown = ledger.take(begin("k9", budget="nobody made this"))
    kinds = []
    for step in steps:
        try:
            kinds.append(step.result().kind)
        except BudgetExceededError:  # noqa: PERF203  # a refusal is one answer of several
            kinds.append("over")
    assert kinds == ["buy", "over", "over"]
    with pytest.raises(BadRequestError, match="no budget"):
        unknown.result()


def test_threads_cannot_overspend_together(place: str) -> None:
    ledgers = [Ledger.open(place, max_open_submits=1000) for _ in range(3)]
    ledgers[0].set_budget("b", usd="0.375")

    def spend(ledger: Ledger) -> int:
        count = 0
        for step in [ledger.take(begin(f"{id(ledger)}-{number}", budget="b")) for number in range(20)]:
            try:
                step.result()
                count += 1
            except BudgetExceededError:  # noqa: PERF203  # a refusal is one answer of several
                pass
        return count

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(spend, ledgers)) == 10
    (budget,) = ledgers[0].budgets()
    assert (budget.usd, budget.images, budget.left) == (Decimal("0.375"), 10, 0)
    for ledger in ledgers:
        ledger.close()


def test_steps_go_out_in_groups(ledger: Ledger) -> None:
    writer = ledger._writer.get()
    blocked = threading.Event()
    wait = ledger.call(lambda backend: blocked.wait(10))
    steps = [ledger.take(begin(f"k{number}", submit=False)) for number in range(150)]
    before = writer.commits
    blocked.set()
    wait.result()
    assert {step.result().kind for step in steps} == {"buy"}
    assert writer.commits - before <= 2


def test_few_submits_are_open_at_once(place: str) -> None:
    with Ledger.open(place, max_open_submits=3) as ledger:
        steps = [ledger.take(begin(f"k{number}", claim=f"c{number}", alias="all")) for number in range(6)]
        assert [step.result().kind for step in steps[:3]] == ["buy"] * 3
        assert [purchase.key for purchase in ledger.purchases(state="claimed")] == ["k3", "k4", "k5"]
        ledger.take(Submitted(key="k0", claim="c0", task_id="t", task="{}")).result()
        ledger.take(Ended(key="k1", claim="c1", state="failed", error=ERROR)).result()
        assert [step.result().kind for step in steps[3:5]] == ["buy"] * 2
        assert not steps[5].done()
        ledger.take(Ended(key="k2", claim="c2", state="unknown", error=ERROR)).result()
        assert steps[5].result().kind == "buy"


@pytest.mark.parametrize(
    "step",
    [
        Submitted(key="k", claim="c", task_id="t", task="{}"),
        Delivered(key="k", claim="c", images="[]"),  # a gateway may answer a submit with the picture
        Delivered(key="k", claim="c", images="[]", saved=True),
        Ended(key="k", claim="c", state="failed", error=ERROR),
        Ended(key="k", claim="c", state="unknown", error=ERROR),
        Submitting(key="k", claim="c", one_shot=True),
        Release(key="k", claim="c"),
        Release(key="k", claim="c", unsent=True),
    ],
    ids=lambda step: type(step).__name__,
)
def test_each_step_after_a_submit_lets_the_next_one_open(place: str, step: Step) -> None:
    with Ledger.open(place, max_open_submits=1) as ledger:
        bought(ledger, "k", claim="c")
        waiting = ledger.take(begin("next", claim="c2"))
        ledger.take(step).result()
        assert waiting.result(30).kind == "buy"


def test_what_is_bought_already_does_not_wait_for_a_turn(place: str) -> None:
    with Ledger.open(place, max_open_submits=1) as ledger:
        bought(ledger, "done")
        deliver(ledger, "done")
        assert bought(ledger, "open", claim="c1").kind == "buy"
        waiting = ledger.take(begin("next", claim="c2", alias="the next one"))
        assert bought(ledger, "done", claim="c3").kind == "done"
        assert bought(ledger, "open", claim="c4").kind == "busy"
        assert not waiting.done()
        assert [row.key for row in ledger.rows(Where(alias="the next one"))] == ["next"], (
            "who waits for its turn is found"
        )
        with Ledger.open(place) as other:
            assert bought(other, "next", claim="c5").kind == "busy"
        ledger.take(Release(key="next", claim="c2", unsent=True)).result()
        with pytest.raises(LedgerError, match="stopped"):
            waiting.result()
        assert state_of(ledger, "next") == "planned"


def test_a_call_that_is_stopped_as_it_comes_takes_no_turn(place: str) -> None:
    """Its first step and its release may go into one group: then it must not begin to wait."""
    with Ledger.open(place, max_open_submits=1) as ledger:
        bought(ledger, "open")
        for alias in ("an alias", None):
            blocked = threading.Event()
            ledger.call(lambda backend, blocked=blocked: blocked.wait(10))
            first = ledger.take(begin("next", claim=f"c {alias}", alias=alias))
            release = ledger.take(Release(key="next", claim=f"c {alias}", unsent=True, over=True))
            blocked.set()
            release.result(30)
            with pytest.raises(LedgerError, match="stopped"):
                first.result(30)
        assert ledger.get("next") is None or state_of(ledger, "next") == "failed"
        waiting = ledger.take(begin("last", claim="c2"))
        deliver(ledger, "open")
        assert waiting.result(30).kind == "buy"


def test_a_step_that_no_store_can_hold_stops_nothing_else(place: str) -> None:
    with Ledger.open(place, heartbeat=0.05) as ledger:
        bought(ledger, "good")
        blocked = threading.Event()
        ledger.call(lambda backend: blocked.wait(10))
        bad = [ledger.take(begin(key, claim="bad")) for key in ("half \udce9", "zero \0")]
        bad += [ledger.take(Submitted(key="half \udce9", claim="bad", task_id="t", task="{}"))]
        good = ledger.take(Submitted(key="good", claim="me", task_id="t", task="{}"))
        blocked.set()
        assert good.result(30).state == "submitted"
        for each in bad:
            if each.exception(30) is not None:  # SQLite holds a zero
                assert isinstance(each.exception(), LedgerError)
        seen = ledger._writer.get()._last_beat
        while ledger._writer.get()._last_beat == seen:
            assert bought(ledger, "next").kind == "buy"
        assert bought(ledger, "after a beat", claim="c").kind == "buy"


def test_a_step_waits_for_its_turn_as_long_as_its_call_has_time(place: str) -> None:
    with Ledger.open(place, max_open_submits=1) as ledger:
        bought(ledger, "open")
        patient = ledger.take(begin("patient", claim="c1", wait=3600.0))
        hasty = ledger.take(begin("hasty", claim="c2", wait=0.01))
        with pytest.raises(APIConnectionError, match="1 submits of this process") as caught:
            hasty.result(30)
        assert caught.value.billed == "no"
        assert not patient.done()
        deliver(ledger, "open")
        assert patient.result(30).kind == "buy"


def test_a_call_that_sends_again_keeps_its_turn(place: str) -> None:
    with Ledger.open(place, max_open_submits=1) as ledger:
        bought(ledger, "k", claim="c1")
        waiting = ledger.take(begin("next", claim="c2"))
        assert ledger.take(Submitting(key="k", claim="c1")).result(30).state == "submitting"
        assert not waiting.done()
        ledger.take(Release(key="k", claim="c1", unsent=True)).result()
        assert waiting.result(30).kind == "buy"


def test_a_ledger_that_closes_refuses_who_waits_for_a_turn(place: str) -> None:
    ledger = Ledger.open(place, max_open_submits=1)
    bought(ledger, "open")
    waiting = [ledger.take(begin(key, claim=key, alias="all")) for key in ("next", "last")]
    ledger.take(Left(key="next")).result()
    ledger.close()
    for each in waiting:
        with pytest.raises(LedgerError, match="closed"):
            each.result(30)
    with Ledger.open(place) as other:
        other.reap()
        assert [state_of(other, key) for key in ("open", "next", "last")] == ["unknown", "failed", "failed"]
        assert bought(other, "next", claim="c3").kind == "buy"


def test_pages_are_read_to_the_end(ledger: Ledger) -> None:
    for step in [ledger.take(begin(f"k{number:04}", submit=False)) for number in range(1203)]:
        step.result()
    keys = [purchase.key for purchase in ledger.purchases()]
    assert sorted(keys) == [f"k{number:04}" for number in range(1203)]
    assert [purchase.key for purchase in ledger.purchases(newest_first=True)] == keys[::-1]


def test_filters(ledger: Ledger) -> None:
    ledger.set_budget("b")
    bought(ledger, "one", budget="b")
    bought(ledger, "two")
    ledger.take(Ended(key="two", claim="me", state="failed", error=ERROR)).result()
    start = datetime.fromtimestamp(0, timezone.utc)

    def keys(**filters: object) -> list[str]:
        return [purchase.key for purchase in ledger.purchases(**filters)]  # type: ignore[arg-type]

    assert keys(state="failed") == ["two"]
    assert keys(state=("failed", "submitting")) == ["one", "two"]
    assert keys(budget="b") == ["one"]
    assert keys(since=start) == ["one", "two"]
    assert keys(since=time.time() + 86400) == []
    assert keys(key="two") == ["two"]
    with pytest.raises(BadRequestError, match="accepted: planned"):
        keys(state="lost")
    assert [row.key for row in ledger.rows(Where(key_prefix="o"))] == ["one"]


def test_what_a_dead_process_left_is_freed(place: str) -> None:
    dying = Ledger.open(place, heartbeat=3600)
    bought(dying, "submitting")
    bought(dying, "claimed", submit=False)
    bought(dying, "submitted", claim="c")
    dying.take(Submitted(key="submitted", claim="c", task_id="t", task='{"id": "t", "model": "m"}')).result()
    with Ledger.open(place, heartbeat=3600, lease=0) as other:
        other.reap()
        assert {purchase.key: purchase.state for purchase in other.purchases()} == {
            "submitting": "unknown",
            "claimed": "failed",
            "submitted": "submitted",
        }
        assert bought(other, "submitted", claim="other").owned
    dying.close()


def test_a_worker_without_a_row_is_dead(place: str, ledger: Ledger) -> None:
    bought(ledger, "k", submit=False)
    ledger.call(lambda backend: backend.leave(ledger._writer.get().worker)).result()
    with Ledger.open(place) as other:
        other.reap()
        assert state_of(other, "k") == "failed"


@pytest.mark.parametrize(
    ("answer", "state", "billed"),
    [({"charged": False}, "failed", "no"), ({"charged": True}, "failed", "yes"), ({"task": "t1"}, "submitted", "yes")],
)
def test_a_person_says_what_became_of_it(ledger: Ledger, answer: dict[str, object], state: str, billed: str) -> None:
    ledger.set_budget("b")
    bought(ledger, "k", budget="b")
    ledger.take(Ended(key="k", claim="me", state="unknown", error=ERROR)).result()
    (purchase,) = ledger.resolve("k", **answer)  # type: ignore[arg-type]
    assert (purchase.state, purchase.billed) == (state, billed)
    assert ledger.budgets()[0].images == (billed == "yes")
    if state == "submitted":  # a person may have named a wrong task, and the gateway may forget it
        (purchase,) = ledger.resolve("k", task="t2")
        assert (purchase.task and purchase.task.id) == "t2"
        (purchase,) = ledger.resolve("k", charged=False)
        assert (purchase.state, purchase.billed, ledger.budgets()[0].images) == ("failed", "no", 0)
    with pytest.raises(BadRequestError, match="unknown"):
        ledger.resolve("k", charged=False)


def test_nobody_says_what_becomes_of_a_purchase_under_way(ledger: Ledger) -> None:
    bought(ledger, "k")
    ledger.take(Submitted(key="k", claim="me", task_id="t", task='{"id": "t", "model": "m"}', keep=True)).result()
    for answer in ({"charged": False}, {"task": "other"}):
        with pytest.raises(BadRequestError, match="'k' \\[0\\] is submitted as before"):
            ledger.resolve("k", **answer)  # type: ignore[arg-type]
    assert next(ledger.rows(Where(key="k"))).task_id == "t"


@pytest.mark.parametrize("task", ["", "  ", "two words"])
def test_a_task_has_an_id(ledger: Ledger, task: str) -> None:
    unknown(ledger, "k")
    with pytest.raises(BadRequestError, match="task must be a task or its id"):
        ledger.resolve("k", task=task)
    assert state_of(ledger, "k") == "unknown"


def test_resolving_needs_one_answer(ledger: Ledger) -> None:
    for wrong in ({}, {"charged": True, "task": "t"}):
        with pytest.raises(BadRequestError, match="either"):
            ledger.resolve("k", **wrong)  # type: ignore[arg-type]
    with pytest.raises(BadRequestError, match="no such purchase"):
        ledger.resolve("nothing", charged=False)


def test_pruning_keeps_what_is_not_over_and_what_budgets_counted(ledger: Ledger) -> None:
    ledger.set_budget("b", usd=1)
    for key in ("done", "open"):
        bought(ledger, key, budget="b")
    deliver(ledger, "done")
    assert ledger.prune(older_than=3600) == 0
    assert ledger.prune(older_than=timedelta(0)) == 1
    assert [purchase.key for purchase in ledger.purchases()] == ["open"]
    assert ledger.budgets()[0].images == 2


@pytest.mark.parametrize("wrong", [-5, float("nan"), float("inf"), "30d", None, True, Decimal(3)])
def test_what_is_no_age_prunes_nothing(ledger: Ledger, wrong: Any) -> None:
    bought(ledger, "k")
    deliver(ledger, "k")
    with pytest.raises(BadRequestError, match="older_than must be seconds"):
        ledger.prune(older_than=wrong)
    assert state_of(ledger, "k") == "delivered"


@pytest.mark.parametrize(
    "wrong", [{"usd": -1}, {"usd": "much"}, {"usd": float("nan")}, {"images": -1}, {"images": 1.5}, {"name": " "}]
)
def test_a_budget_has_sane_limits(ledger: Ledger, wrong: dict[str, object]) -> None:
    with pytest.raises(BadRequestError):
        ledger.set_budget(**{"name": "b", **wrong})  # type: ignore[arg-type]


def test_a_limit_can_be_changed_while_it_counts(ledger: Ledger) -> None:
    ledger.set_budget("b", images=1)
    bought(ledger, "k", budget="b")
    changed = ledger.set_budget("b", usd="2.50")
    assert (changed.max_usd, changed.max_images) == (Decimal("2.50"), 1), "what is not named stays"
    with pytest.raises(BudgetExceededError):
        bought(ledger, "k2", budget="b", claim="two")
    changed = ledger.set_budget("b", images=None)
    assert (changed.max_usd, changed.max_images) == (Decimal("2.50"), None)
    assert bought(ledger, "k2", budget="b", claim="two").kind == "buy"


def test_the_log_is_not_read_too_often(ledger: Ledger) -> None:
    waits = [ledger.call(lambda backend: backend.reserve_log_read("a", limit=3, period=60)).result() for _ in range(4)]
    assert waits[:3] == [0, 0, 0]
    assert 50 < waits[3] <= 60
    assert ledger.call(lambda backend: backend.reserve_log_read("b", limit=3, period=60)).result() == 0


def test_whether_the_log_may_be_read_can_be_asked_without_counting(ledger: Ledger) -> None:
    def wait(*, count: bool) -> float:
        return ledger.call(lambda each: each.reserve_log_read("a", limit=1, period=60, count=count)).result()

    assert [wait(count=count) for count in (False, False, True)] == [0, 0, 0]
    assert 50 < wait(count=False) <= 60


def test_calls_read_the_log_with_growing_pauses(ledger: Ledger) -> None:
    """So some readings are left at any moment: a thousand calls at once use up three."""

    def wait() -> float:
        return ledger.call(lambda each: each.reserve_log_read("a", limit=12, period=1200.0, pause=20.0)).result()

    assert [wait(), wait()] == [0, 0]
    assert all(10 < wait() <= 20 for _ in range(1000))


def unknown(ledger: Ledger, *names: str, one_shot: bool = False) -> None:
    for name in names:
        bought(ledger, name, one_shot=one_shot)
        ledger.take(Ended(key=name, claim="me", state="unknown", error=ERROR)).result()


TASK: dict[str, Any] = {"state": "submitted", "task_id": "t", "task": '{"id": "t", "model": "m"}'}
PICTURE: dict[str, Any] = {"state": "delivered", "images": '[{"url": "https://cdn.test/t.png"}]'}


@pytest.mark.parametrize("charge", [TASK, {**TASK, "state": "failed", "error": ERROR}, PICTURE])
def test_a_charge_has_one_owner_whoever_gives_it_away(place: str, ledger: Ledger, charge: dict[str, Any]) -> None:
    """Two processes settle at the same time, and the log has grown between their readings."""
    pairs = [(f"one-{number}", f"two-{number}") for number in range(8)]
    unknown(ledger, *[key for pair in pairs for key in pair], one_shot="task_id" not in charge)
    with Ledger.open(place) as other:
        for pair, number in zip(pairs, range(8), strict=True):
            own = {name: str(value).replace('"t"', f'"t{number}"') for name, value in charge.items()}
            if "task_id" in own:
                own["task_id"] = f"t{number}"
            else:
                own["images"] = own["images"].replace("t.png", f"{number}.png")
            settled = [
                each.take(Settle(key=key, **own))  # type: ignore[arg-type]
                for key, each in zip(pair, (ledger, other), strict=True)
            ]
            for future in settled:
                future.result()
            states = sorted(state_of(ledger, key) for key in pair)
            assert states == sorted(["unknown", charge["state"]])
            owner = next(key for key in pair if state_of(ledger, key) != "unknown")
            assert ledger.take(Settle(key=owner, **own)).result().state == charge["state"]  # type: ignore[arg-type]


def test_a_task_has_one_owner_in_one_group_too(ledger: Ledger) -> None:
    unknown(ledger, "one", "two")
    for future in [ledger.take(Settle(key=key, **TASK)) for key in ("one", "two")]:
        future.result()
    assert sorted([state_of(ledger, "one"), state_of(ledger, "two")]) == ["submitted", "unknown"]


def test_a_person_cannot_give_a_task_away_twice(ledger: Ledger) -> None:
    unknown(ledger, "one", "two")
    ledger.resolve("one", task="t")
    with pytest.raises(BadRequestError, match="another purchase has the task 't'"):
        ledger.resolve("two", task="t")
    assert state_of(ledger, "two") == "unknown"


def test_a_newer_version_is_refused(place: str) -> None:
    Ledger.open(place).close()
    if place.startswith("sqlite"):
        with sqlite3.connect(place.removeprefix("sqlite:///")) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    else:
        with psycopg.connect(place) as database:
            database.execute("UPDATE apimaster.version SET version = %s", (VERSION + 1,))
    with pytest.raises(BadRequestError, match="newer version"):
        Ledger.open(place)


def test_many_open_a_new_ledger_at_once(place: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for ledger in pool.map(lambda _: Ledger.open(place), range(8)):
            ledger.close()


def test_a_closed_ledger_says_so(place: str) -> None:
    ledger = Ledger.open(place)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.get("k")


def test_columns_are_those_of_the_row(ledger: Ledger) -> None:
    bought(ledger, "k")
    (row,) = ledger.rows(Where(key="k"))
    assert [getattr(row, name) for name in COLUMNS][:2] == ["k", 0]
    assert row.price == PRICE
    assert row.one_shot is False


# --- one backend ------------------------------------------------------------------------------------------


def test_a_place_that_is_none() -> None:
    for wrong in ("", "mysql://host/db", "sqlite://host/x.db", "a\0b"):
        with pytest.raises(BadRequestError, match="accepted"):
            Ledger.open(wrong)


@pytest.mark.parametrize(
    "place_of", [str, lambda path: f"sqlite:///{quote(str(path))}", Path], ids=["text", "url", "path"]
)
def test_a_path_means_sqlite(tmp_path: Path, place_of: Callable[[Path], str | Path]) -> None:
    path = tmp_path / "a b%.db"
    Ledger.open(place_of(path)).close()
    assert path.exists()
    assert path.stat().st_mode & 0o077 == 0, "prompts are nobody else's business"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no folder"):
        Ledger.open(tmp_path / "missing" / "purchases.db")


def test_who_opens_a_file_twice_keeps_its_log(tmp_path: Path) -> None:
    place = tmp_path / "purchases.db"
    with Ledger.open(place) as first, Ledger.open(place):
        bought(first, "k")
        other = forked.run(["-c", f"from apimaster.ledger import Ledger; Ledger.open({str(place)!r}).close()"])
        assert other.returncode == 0
        assert place.with_name("purchases.db-wal").exists(), "the last process to close removes it, and this is not it"
        deliver(first, "k")


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "purchases.db"
    path.write_text("this is a letter, not a database, and long enough to be looked at" * 20)
    with pytest.raises(LedgerError, match=r"purchases\.db"):
        Ledger.open(path)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(LedgerError, match="can't be reached") as caught:
        Ledger.open("postgresql://someone:secret@127.0.0.1:9/db", patience=0)
    assert "secret" not in str(caught.value)


def test_a_shared_ledger_is_one_object(tmp_path: Path) -> None:
    path = tmp_path / "purchases.db"
    assert Ledger.shared(path) is Ledger.shared(str(path))
    Ledger.shared(path).close()
    assert Ledger.shared(path).get("k") is None


def test_a_shared_ledger_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "later" / "purchases.db"
    ledger = Ledger.shared(place)
    for _ in range(2):
        with pytest.raises(LedgerError, match="no folder"):
            ledger.get("k")
    place.parent.mkdir()
    assert ledger.get("k") is None
    ledger.close()


def test_a_role_may_use_what_another_has_made(postgres: PostgresServer) -> None:
    place = postgres.new_database()
    Ledger.open(place).close()
    with psycopg.connect(place, autocommit=True) as database:
        database.execute("DROP ROLE IF EXISTS clerk")
        database.execute("CREATE ROLE clerk LOGIN")
        database.execute("GRANT USAGE ON SCHEMA apimaster TO clerk")
        database.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA apimaster TO clerk")
    with Ledger.open(place.replace("tester@", "clerk@")) as ledger:
        assert bought(ledger, "k").kind == "buy"
    with psycopg.connect(place, autocommit=True) as database:
        database.execute("DROP OWNED BY clerk")


def test_a_client_that_stops_in_a_transaction_blocks_nobody_for_long(postgres: PostgresServer) -> None:
    with Ledger.open(postgres.new_database()) as ledger:
        backend: Any = ledger._writer.get().backend
        limits = ("lock_timeout", "idle_in_transaction_session_timeout")
        found = [
            ledger.call(lambda _, name=name: backend._transaction(lambda each: each.execute(f"SHOW {name}").fetchone()))
            for name in limits
        ]
        assert [each.result() for each in found] == [("5s",), ("15s",)]


def test_postgres_restarted_between_steps(postgres: PostgresServer) -> None:
    with Ledger.open(postgres.new_database()) as ledger:
        bought(ledger, "k")
        postgres.stop()
        waiting = ledger.take(Submitted(key="k", claim="me", task_id="t", task='{"id": "t", "model": "m"}'))
        postgres.start()
        assert waiting.result(30).state == "submitted"


def planned(key: str, order: int) -> Row:
    return Row(key, 0, "", REQUEST, price=PRICE, created_at=1000.0 + order, updated_at=1000.0)


def test_work_is_entered_once_and_two_processes_divide_it(place: str, ledger: Ledger) -> None:
    work = [planned(f"some batch/{number}", number) for number in range(20)]
    assert ledger.call(lambda backend: backend.plan(work)).result() == 20
    assert ledger.call(lambda backend: backend.plan([*work, planned("some/1", 21)])).result() == 1
    assert ledger.call(lambda backend: backend.plan([])).result() == 0
    where = Where(key_prefix="some batch/", states=("planned",))
    keys = [row.key for row in ledger.rows(where)]
    assert keys == [row.key for row in work], "in the order of the list, and without what another prefix begins with"
    with Ledger.open(place) as other:
        mine = [ledger.take(Take(key=key)).result() for key in keys[::2]]
        theirs = [other.take(Take(key=key)).result() for key in keys]
        assert all(mine)
        assert [row is None for row in theirs] == [True, False] * 10
        batch = Where(key_prefix="some batch/")
        assert ledger.call(lambda backend: backend.counts(batch)).result() == [
            RowCount("claimed", "no", PRICE, None, Decimal(0), 20)
        ]
        assert len(ledger.call(lambda backend: backend.workers(batch, 60.0)).result()) == 2
        assert bought(other, keys[1], claim="a call").kind == "buy"
        assert len(list(ledger.rows(Where(keys=tuple(keys[:3]), owned=True)))) == 3
    freed = ledger.call(lambda backend: backend.workers(batch, 60.0)).result()
    assert len(freed) == 1, "who closes its ledger is at work no more"


def test_notes_of_adapters(place: str, ledger: Ledger) -> None:
    assert ledger.note("records") is None
    ledger.set_note("records", "all")
    with Ledger.open(place) as other:
        assert other.note("records") == "all"
        other.set_note("records", "some")
    bought(ledger, "k")
    deliver(ledger, "k")
    ledger.prune(0)
    assert (ledger.note("records"), ledger.note("others")) == ("some", None)
    wait = ledger.call(lambda backend: backend.reserve_log_read("records", limit=1, period=60)).result()
    assert wait == 0, "an account with the name of a note"


def test_a_note_is_changed_by_one_at_a_time(place: str, ledger: Ledger) -> None:
    def counted(before: str | None) -> str:
        return str(int(before or 0) + 1)

    with Ledger.open(place) as other, ThreadPoolExecutor(8) as threads:
        each = [threads.submit(one.change_note, "count", counted) for one in (ledger, other) for _ in range(50)]
        for future in each:
            future.result()
        assert ledger.note("count") == other.note("count") == "100"
    ledger.change_note("count", lambda before: before or "nothing")
    assert ledger.note("count") == "100"
    with pytest.raises(ZeroDivisionError):
        ledger.change_note("count", lambda before: str(1 // 0))
    with pytest.raises(ZeroDivisionError):
        ledger.change_note("another", lambda before: str(1 // 0))
    assert (ledger.note("count"), ledger.note("another")) == ("100", None)
