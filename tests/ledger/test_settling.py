"""What the usage log proves, and what it does not: a table of logs and purchases, without a gateway."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from usage_log import MODEL, PRICE, WITNESS, WITNESS_CHARGE, charge, unknown

from apimaster._flows.operations import Reply
from apimaster._wire.account import read_log
from apimaster.account import Charge
from apimaster.ledger.digest import stored_request, text_digest
from apimaster.ledger.purchase import failure_of, images_json
from apimaster.ledger.rows import Row
from apimaster.ledger.settling import settle_steps
from apimaster.ledger.steps import Settle
from apimaster.ledger.usage_log import LOG_ROWS, Log
from apimaster.request import ImageRequest
from apimaster.results import GeneratedImage

NOW = 10_000.0


def settled(rows: list[Row], charges: list[Charge], *, witness: bool = True, **log: object) -> dict[str, Settle]:
    known = [WITNESS] if witness else []
    shown = [*charges, WITNESS_CHARGE] if witness else charges
    steps = settle_steps(rows, Log(shown, [*known, *log.pop("known", [])], **{"now": NOW, **log}))  # type: ignore[arg-type, misc, list-item]
    return {step.key: step for step in steps}


def reason(step: Settle) -> str:
    found = failure_of(Row("", 0, "", "", error=step.error))
    return "" if found is None else found.message


def test_a_charge_that_fits_is_the_purchase() -> None:
    step = settled([unknown()], [charge(cost=Decimal("0.05"))])["lost"]
    assert (step.state, step.task_id, step.charge) == ("submitted", "task-1", Decimal("0.05"))


def test_a_purchase_that_no_charge_fits_was_not_charged() -> None:
    assert settled([unknown()], [])["lost"].state == "failed"


def test_a_purchase_with_a_task_is_never_proved_absent() -> None:
    """Its own charge shows that it was accepted: a task that ended without a picture, or one that has expired."""
    lost = unknown(task_id="task-1", task='{"id": "task-1", "model": "m"}')
    own, other = charge(cost=Decimal("0.05")), charge("task-2")
    for known in ([], [lost]):  # the ledger finds the row by its task, too
        found = settle_steps([lost], Log([own, other, WITNESS_CHARGE], [WITNESS, *known], NOW))
        step = next(each for each in found if each.state is not None)
        assert (step.state, step.task_id, step.charge) == ("submitted", "task-1", Decimal("0.05"))
        refunded = settle_steps([lost], Log([charge(refunded=True), WITNESS_CHARGE], [WITNESS, *known], NOW))
        assert [each.state for each in refunded if each.key == "lost"] == ["failed"]
        absent = settle_steps([lost], Log([other, WITNESS_CHARGE], [WITNESS, *known], NOW))
        assert [(each.state, reason(each)) for each in absent] == [
            (None, "the log does not hold the charge of its task")
        ]


def test_a_charge_that_was_given_back_is_no_charge() -> None:
    assert settled([unknown()], [charge(refunded=True)])["lost"].state == "failed"


@pytest.mark.parametrize(
    ("prompt", "begun", "charges", "state"),
    [
        ("a castle", 9010.0, 1, None),
        ("a castle", 9010.0, 2, None),
        ("a castle", 9010.0, 0, "failed"),
        ("a castle", 9500.0, 1, "submitted"),  # it began after the charge
        ("a house", 9010.0, 1, "submitted"),
    ],
)
def test_a_charge_that_may_be_that_of_a_request_on_its_way_counts_for_nobody_yet(
    prompt: str, begun: float, charges: int, state: str | None
) -> None:
    """Otherwise two purchases would get one picture, maybe of two callers that never share one."""
    other = unknown("other", prompt, begun=begun, state="submitting", unknown_since=None)
    found = [charge(f"task-{number}", at=9002) for number in range(charges)]
    step = settled([unknown()], found, on_their_way=[other])["lost"]
    assert (step.state, step.soon) == (state, state is None)
    if state is None:
        assert "on its way" in reason(step)


def read_twice(first: list[Row], charges: list[Charge], later: list[Charge], *, now: float = NOW) -> dict[str, Settle]:
    """The last word on each purchase: after a reading, and a second one ten minutes later with other charges."""
    found = settled(first, charges, now=now)
    rows = {row.key: row for row in first}
    for key, step in found.items():
        changes = {"state": step.state, "task_id": step.task_id} if step.state is not None else {}
        rows[key] = rows[key].but(**changes)
    still = [row for row in rows.values() if row.state == "unknown"]
    known = [row for row in rows.values() if row.state != "unknown"]
    return found | settled(still, later, now=now + 1200, known=known)


LATE = {"begun": 8995.0, "unknown_since": NOW - 10}  # has just become unknown: its charge may still show
ONE_SHOT = {"begun": 8995.0, "unknown_since": NOW - 70, "one_shot": True}  # may still be drawn


@pytest.mark.parametrize("older", [LATE, ONE_SHOT], ids=["a submit", "a one-shot call"])
def test_whose_charge_may_still_show_takes_none_away(older: dict[str, object]) -> None:
    """The only charge may be that of either. Given to the older one, it would prove that the other was not charged."""
    rows = [unknown("older", **older), unknown()]  # type: ignore[arg-type]
    found = settled(rows, [charge(at=9002)])
    assert found["lost"].task_id == "task-1"
    assert found["older"].state is None
    assert "may still show" in reason(found["older"])
    both = [charge(at=9002), charge("task-2", at=9950)]
    ended = read_twice(rows, [charge(at=9002)], both)
    assert {key: step.task_id for key, step in ended.items()} == {"lost": "task-1", "older": "task-2"}
    ended = read_twice(rows, [charge(at=9002)], [charge(at=9002)])
    assert {key: (step.state, step.task_id) for key, step in ended.items()} == {
        "lost": ("submitted", "task-1"),
        "older": ("failed", None),
    }


def test_it_is_looked_for_again_at_once_only_if_it_shows_soon() -> None:
    soon = settled([unknown("older", **LATE), unknown()], [charge(at=9002)])  # type: ignore[arg-type]
    later = settled([unknown("older", **ONE_SHOT), unknown()], [charge(at=9002)])  # type: ignore[arg-type]
    assert (soon["older"].soon, later["older"].soon) == (True, False)


def test_who_may_be_fewer_charges_gets_the_one_that_fits() -> None:
    """In the order of their beginnings, the older one would take the only charge that the younger one may be."""
    rows = [unknown("long", begun=9000.0, unknown_since=9120.0), unknown("short", begun=9010.0, unknown_since=9012.0)]
    found = settled(rows, [charge("short's", at=9011), charge("long's", at=9100)])
    assert {key: step.task_id for key, step in found.items()} == {"long": "long's", "short": "short's"}


def test_a_charge_too_many_proves_that_something_is_not_known() -> None:
    rows = [unknown("long", unknown_since=9120.0), unknown("one"), unknown("two")]
    found = settled(rows, [charge(f"task-{at}", at=at) for at in (9002, 9100, 9101)])
    assert {step.state for step in found.values()} == {None}


def test_a_charge_of_one_that_may_still_show_its_own_is_not_taken_from_one_that_came_before() -> None:
    """The charge is too late for the lost one by what its process knew, and fits another one, which is out since."""
    other = unknown("other", begun_at=9895.0, unknown_since=9905.0)
    at_9900, own = charge(at=9900), charge("task-2", at=9904)
    found = settled([unknown(), other], [at_9900], now=9910.0)
    assert {key: step.state for key, step in found.items()} == {"lost": None, "other": None}
    ended = read_twice([unknown(), other], [at_9900], [at_9900, own], now=9910.0)
    assert {step.state for step in ended.values()} == {None}, "two charges that the other one may be"
    ended = read_twice([unknown(), other], [at_9900], [at_9900], now=9910.0)
    assert {key: step.state for key, step in ended.items()} == {"lost": "failed", "other": "submitted"}


def test_a_refunded_charge_is_used_up() -> None:
    """Otherwise an equal purchase, whose own charge shows later, would be taken for refunded, too, and bought again."""
    step = settled([unknown()], [charge(refunded=True)])["lost"]
    assert (step.state, step.task_id) == ("failed", "task-1")
    refunded = unknown().but(state="failed", task_id="task-1", billed="no")
    twin = settled([unknown("twin", unknown_since=NOW - 10)], [charge(refunded=True)], known=[refunded])["twin"]
    assert twin.state is None


def test_a_purchase_that_this_version_cannot_read_stops_no_other() -> None:
    """A newer version shares the ledger, and writes a field that is not known here."""
    newer = unknown("newer").but(request='{"prompt": "a castle", "seed": 7}')
    found = settled([newer.but(begun_at=9400.0), unknown()], [charge()])
    assert found["lost"].state == "submitted"
    assert settled([newer, unknown()], [charge()])["lost"].state is None, "it may be the newer version's"
    assert found["newer"].state is None
    assert "newer version" in reason(found["newer"])
    contested = settled([unknown()], [charge()], on_their_way=[newer])["lost"]
    assert contested.state is None, "it may be the newer version's"


@pytest.mark.parametrize(
    ("at", "expected"), [(9140, "too late"), (9200, "too late"), (9900, "too late"), (8900, "too early")]
)
def test_a_charge_from_about_that_time_proves_nothing_either(at: int, expected: str) -> None:
    """The upload took long, or the process was stopped, or another one has got its charge: it may be this one's."""
    step = settled([unknown()], [charge(at=at)])["lost"]
    assert step.state is None
    assert expected in str(step.error)
    assert "task-1" in str(step.error)
    assert settled([unknown()], [charge(at=at, refunded=True)])["lost"].state == "failed"
    other = unknown("other", begun_at=float(at - 5), unknown_since=float(at + 5))
    found = settled([unknown(), other], [charge(at=at)])
    assert (found["lost"].state, found["other"].state) == ("failed", "submitted"), "it is another one's"


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "another castle"},
        {"model": "gpt-image-2"},
        {"aspect_ratio": "16:9"},
        {"resolution": "4K"},
        {"image_urls": ("https://example.com/a.png",)},
        {"at": 8000},
        {"at": 11_000},
        {"kind": "error"},
        {"kind": "refund"},
    ],
    ids=str,
)
def test_a_charge_for_something_else_or_another_time_does_not_count(changes: dict[str, object]) -> None:
    assert settled([unknown()], [charge(**changes)])["lost"].state == "failed"  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"resolution": "1K"}, {"effective_resolution": "2K"}], ids=str)
def test_the_default_resolution_may_be_spelled_out(changes: dict[str, object]) -> None:
    """What a request leaves out is the model's default, which the log may name."""
    assert settled([unknown()], [charge(**changes)])["lost"].state == "submitted"


def with_references(key: str, *urls: str) -> Row:
    request = json.dumps({"prompt": "a castle", "model": MODEL, "references": urls})
    return unknown(key, digest=f"of {urls}").but(request=request)


def test_references_tell_equal_prompts_apart() -> None:
    a, b = "https://example.com/a.png", "https://example.com/b.png"
    rows = [with_references("a", a), with_references("b", b), with_references("both", a, b)]
    charges = [charge("of both", image_urls=(a, b)), charge("of b", image_urls=(b,)), charge("of a", image_urls=(a,))]
    found = settled(rows, charges)
    assert {key: step.task_id for key, step in found.items()} == {"a": "of a", "b": "of b", "both": "of both"}
    assert settled(rows[:1], charges[1:2])["a"].state == "failed", "the log holds that of another picture"
    unnamed = settled(rows[:2], [charge()])
    assert {step.state for step in unnamed.values()} == {None}, "a log that names none may mean either"
    assert settled([with_references("file", "/a.png")], [charge()])["file"].state == "submitted"


def test_a_picture_that_came_as_bytes_has_a_charge_of_its_own() -> None:
    """Neither a task nor a URL names it in the log."""
    images = images_json((GeneratedImage(data=b"\x89PNG"),))
    for one_shot in (True, False):
        owner = unknown("owner").but(state="saved", images=images, one_shot=one_shot, updated_at=9010.0)
        step = settled([unknown()], [charge()], known=[owner])["lost"]
        assert step.state is None
        assert "does not name its own" in reason(step)
        other = owner.but(begun_at=8000.0, updated_at=8010.0, one_shot=True)
        assert settled([unknown()], [charge()], known=[other])["lost"].state == "submitted"


def test_a_channel_that_draws_before_it_answers_has_more_time() -> None:
    """Its submits are charged when their pictures are drawn, like one-shot calls."""
    images = images_json((GeneratedImage(url="https://cdn.test/b.png"),))
    slow = unknown("slow", "a house").but(state="delivered", images=images, updated_at=9010.0)
    assert settled([unknown()], [], now=9100.0)["lost"].state == "failed"
    assert "look again" in reason(settled([unknown()], [], now=9100.0, known=[slow])["lost"])
    assert settled([unknown()], [], known=[slow])["lost"].state == "failed"


def test_a_log_that_may_have_lost_the_charge_of_one_proves_nothing_of_its_equals() -> None:
    rows = [unknown("older", begun=9000.0, unknown_since=9100.0), unknown(begun=9060.0, unknown_since=9080.0)]
    full = [charge(f"t{number}", "other", at=9025 + number % 100) for number in range(LOG_ROWS)]
    found = settled(rows, [charge(at=9070), *full])
    assert {step.state for step in found.values()} == {None}


def test_a_purchase_of_a_wrong_clock_does_not_prove_that_the_log_is_alive() -> None:
    wrong = [WITNESS.but(key=f"w{number}", task_id=f"w{number}", begun_at=5000.0 + number) for number in range(3)]
    right = [charge(f"w{number}", "x", at=5000 + number) for number in range(3)]
    near = charge("known", "x", at=9100 + 3600)
    (step,) = (each for each in settle_steps([unknown()], Log([near, *right], [WITNESS, *wrong], NOW)) if each.error)
    assert "no other purchase" in reason(step)


def test_the_true_charge_of_a_one_shot_call_is_told_by_its_picture() -> None:
    images = images_json((GeneratedImage(url="https://cdn.test/a.png"),))
    owner = unknown("owner").but(state="saved", images=images, one_shot=True)
    steps = settled([], [charge(None, result_url="https://cdn.test/a.png", cost=Decimal("0.15"))], known=[owner])
    assert steps["owner"].charge == Decimal("0.15")


def test_a_refunded_charge_waits_as_long_as_a_missing_one() -> None:
    """Its own charge may show yet: the refund may be that of an attempt which the ledger knows no more."""
    lost = unknown(unknown_since=NOW - 10)
    assert settled([lost], [charge(refunded=True)])["lost"].state is None


def test_only_a_charge_proves_that_the_log_is_alive() -> None:
    """A gateway that writes its charges down as something new holds none that this version can find."""
    step = settled(
        [unknown()], [charge("known", "something else", at=9100, kind="other")], witness=False, known=[WITNESS]
    )
    assert "no other purchase" in reason(step["lost"])


def test_a_digest_is_compared_where_no_prompt_is_stored() -> None:
    row = unknown(prompt=text_digest("a castle"))
    assert settled([row], [charge()])["lost"].state == "submitted"
    assert settled([row], [charge(prompt="a house")])["lost"].state == "failed"


def test_a_task_that_the_ledger_knows_counts_for_its_own_purchase_only() -> None:
    owner = Row("owner", 0, "digest of a castle", "{}", state="saved", task_id="task-1", price=PRICE, begun_at=9000.0)
    assert settled([unknown()], [charge()], known=[owner])["lost"].state == "failed"
    earlier = replace(owner, task_id="task-9", earlier_tasks="task-0 task-1")
    assert settled([unknown()], [charge()], known=[earlier])["lost"].state == "failed"


def test_a_charge_counts_for_one_purchase_only() -> None:
    steps = settled([unknown("first", begun=9000.0), unknown("second", begun=9002.0)], [charge(at=9001)])
    assert (steps["first"].state, steps["second"].state) == ("submitted", "failed")


def test_equal_purchases_take_the_charges_in_order() -> None:
    rows = [unknown("second", begun=9010.0), unknown("first", begun=9000.0)]
    steps = settled(rows, [charge("t2", at=9011), charge("t1", at=9001)])
    assert (steps["first"].task_id, steps["second"].task_id) == ("t1", "t2")


def test_more_charges_than_purchases_stay_unknown_with_their_names() -> None:
    step = settled([unknown()], [charge("t1"), charge("t2", at=9003)])["lost"]
    assert step.state is None
    assert "t1" in reason(step)
    assert "t2" in reason(step)


def test_different_purchases_that_the_log_cannot_tell_apart_stay_unknown() -> None:
    rows = [unknown("one", digest="with a reference"), unknown("two", digest="with another")]
    assert {step.state for step in settled(rows, [charge()]).values()} == {None}


@pytest.mark.parametrize(
    ("row", "log", "expected"),
    [
        (unknown(), {"now": 9050.0}, "look again in 15 s"),
        (unknown(one_shot=True), {"now": 9200.0}, "look again in 75 s"),
        (unknown(begun=1000.0), {}, "no other purchase"),
        (unknown(), {"witness": False}, "no other purchase"),
    ],
    ids=["too early", "a one-shot call may take longer", "nothing near it", "nothing of this ledger"],
)
def test_absence_that_proves_nothing(row: Row, log: dict[str, object], expected: str) -> None:
    step = settled([row], [], **log)["lost"]  # type: ignore[arg-type]
    assert step.state is None
    assert expected in reason(step)


LATER = Row("later", 0, "d", "{}", state="saved", task_id="later", price=PRICE, account="own", begun_at=9010.0)


def test_a_log_that_is_behind_proves_nothing() -> None:
    """It holds what was bought before the lost purchase, and not what was bought after it."""
    row = unknown(begun=9000.0)
    step = settled([row], [], newest=[LATER])["lost"]
    assert step.state is None
    assert "the log is behind: it does not hold later yet" in reason(step)
    shown = charge("later", "something else", at=9010)
    assert settled([row], [shown], newest=[LATER])["lost"].state == "failed"


@pytest.mark.parametrize(
    "changes",
    [
        {"begun_at": 8990.0},
        {"begun_at": NOW - 59},
        {"begun_at": 9005.0 + 901},
        {"begun_at": None},
        {"account": ""},
        {"one_shot": True},
        {"unknown_since": 9012.0},
        {"task_id": None},
    ],
    ids=["before", "just now", "long after", "no time", "of whom", "one-shot", "was unknown", "no task"],
)
def test_what_need_not_be_in_the_log_yet_says_nothing(changes: dict[str, object]) -> None:
    assert settled([unknown(begun=9000.0)], [], newest=[LATER.but(**changes)])["lost"].state == "failed"


def test_a_full_log_that_does_not_reach_back_proves_nothing() -> None:
    rows = [charge(f"t{number}", "other", at=9050 + number % 100) for number in range(LOG_ROWS)]
    for odd in ([], [charge("odd", "other", at=0)]):  # a row whose time can't be read
        step = settled([unknown()], [*rows, *odd])["lost"]
        assert "does not reach back" in reason(step)


def test_a_row_that_is_none_fills_the_log_like_any_other() -> None:
    """The log has 1,000 rows, one of them no object at all: it does not reach back further than its oldest one."""
    rows = [
        {"created_at": 9100, "type": 2, "other": {"task_id": "known", "request_data": {"prompt": "something else"}}},
        *({"created_at": 9050, "type": 1} for _ in range(LOG_ROWS - 2)),
    ]
    body = json.dumps({"success": True, "data": [*rows, "?"]}).encode()
    charges = read_log(Reply(200, {}, body))
    step = next(each for each in settle_steps([unknown()], Log(charges, [WITNESS], NOW)) if each.key == "lost")
    assert step.state is None
    assert "does not reach back" in reason(step)


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (Charge(at=0, kind="other", cost=Decimal(0)), None),  # no row at all
        (charge(at=0), None),
        (charge(prompt=None, at=0), None),
        (charge(prompt="another castle", at=0), "failed"),
        (charge(prompt=None, model="gpt-image-2", at=0), "failed"),
        (charge(kind="refund", at=0), "failed"),
        (charge(kind="error", at=0), "failed"),
        (charge(kind="other"), None),  # a kind that this version does not know
        (charge(kind="other", at=9500), None),
        (charge(kind="other", prompt="another castle"), "failed"),
        (charge(kind="other", prompt=None, model=None), "failed"),  # how a payment is written down
    ],
    ids=str,
)
def test_a_row_that_cannot_be_read_may_be_the_charge_that_seems_to_be_missing(
    odd: Charge, expected: str | None
) -> None:
    absent = settled([unknown()], [odd])["lost"]
    assert absent.state == expected
    assert expected or "can't be read" in reason(absent)
    assert settled([unknown()], [odd, charge()])["lost"].task_id == "task-1", "and hides no charge that fits"


def test_a_charge_without_its_request_may_be_anything() -> None:
    step = settled([unknown()], [charge(prompt=None)])["lost"]
    assert step.state is None
    assert "does not say" in reason(step)


@pytest.mark.parametrize("at", [9000 - 60, 9005 + 60])
def test_a_charge_without_its_request_may_be_late_or_early(at: int) -> None:
    step = settled([unknown()], [charge(prompt=None, at=at)])["lost"]
    assert step.state is None
    assert "can't be read" in reason(step)
    assert settled([unknown()], [charge(prompt=None, at=at, model="another")])["lost"].state == "failed"
    assert settled([unknown()], [charge(prompt=None, at=9000 - 1000)])["lost"].state == "failed"


@pytest.mark.parametrize("cost", ["0", "-1"])
def test_a_row_without_an_amount_leaves_the_list_price(cost: str) -> None:
    """A charge of nothing would empty the budget."""
    steps = settled([unknown()], [charge(cost=Decimal(cost)), charge("known", "something else", cost=Decimal(cost))])
    assert (steps["lost"].state, steps["lost"].charge) == ("submitted", None)
    assert "witness" not in steps


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("a castle ", "a castle"),
        ("a  castle\nat night", "a castle at night"),
        ("a castle at night", "a castle at…"),
        ("a castle at night", "a castle..."),
        ("a castle " * 40, ("a castle " * 40)[:255]),
    ],
)
def test_a_prompt_that_the_log_writes_differently_proves_nothing(asked: str, written: str) -> None:
    row = unknown().but(request=json.dumps({"prompt": asked, "model": MODEL}))
    for at in (9001, 9100):
        step = settled([row], [charge(prompt=written, at=at)])["lost"]
        assert step.state is None
        assert "can't be read" in reason(step)


def test_the_beginning_of_another_prompt_is_another_prompt() -> None:
    assert settled([unknown(prompt="a castle at night")], [charge(prompt="a castle")])["lost"].state == "failed"


def test_a_row_that_the_log_has_twice_is_one_charge() -> None:
    steps = settled([unknown()], [charge(), charge()])
    assert steps["lost"].task_id == "task-1"


def test_the_charge_of_a_pruned_purchase_is_nobody_elses() -> None:
    assert settled([unknown()], [charge()], pruned=frozenset({"task-1"}))["lost"].state == "failed"
    picture = charge(None, result_url="https://cdn.test/a.png")
    assert settled([unknown()], [picture], pruned=frozenset({"https://cdn.test/a.png"}))["lost"].state == "failed"


def test_a_one_shot_call_is_delivered_by_the_log() -> None:
    step = settled([unknown(one_shot=True)], [charge(None, at=9170, result_url="https://cdn.test/a.png")])["lost"]
    assert step.state == "delivered"
    assert step.images is not None
    assert "https://cdn.test/a.png" in step.images


def test_a_picture_that_another_one_shot_call_has_is_not_given_away() -> None:
    images = images_json((GeneratedImage(url="https://cdn.test/a.png"),))
    owner = Row("owner", 0, "d", "{}", state="delivered", one_shot=True, images=images, begun_at=9000.0)
    found = charge(None, at=9100, result_url="https://cdn.test/a.png")
    assert settled([unknown(one_shot=True)], [found], known=[owner])["lost"].state == "failed"


def test_a_charge_without_a_picture_stays_unknown() -> None:
    step = settled([unknown(one_shot=True)], [charge(None, at=9100)])["lost"]
    assert step.state is None
    assert "does not name its picture" in reason(step)


def test_clocks_an_hour_apart_are_compared_by_what_both_know() -> None:
    late = [charge(at=9001 + 3600), charge("known", "something else", at=9100 + 3600)]
    steps = settle_steps([unknown()], Log(late, [WITNESS], NOW))
    assert steps[0].state == "submitted"


def test_a_picture_that_came_with_the_reply_shows_that_the_log_is_alive_and_nothing_of_the_clocks() -> None:
    """It was charged when it was drawn: forty seconds after its request went out."""
    url = "https://cdn.test/a.png"
    drawn = Row("drawn", 0, "d", "{}", state="saved", images=json.dumps([{"url": url}]), price=PRICE, account="own")
    known = [drawn.but(begun_at=9000.0)]
    charges = [charge(None, "something else", at=9040, result_url=url)]
    found = settled([unknown(begun=9100.0)], [*charges, charge(at=9101)], witness=False, known=known, now=9600.0)
    assert found["lost"].task_id == "task-1"
    assert settled([unknown(begun=9100.0)], charges, witness=False, known=known, now=9600.0)["lost"].state == "failed"


@pytest.mark.parametrize("changes", [{"one_shot": True}, {"unknown_since": 9120.0}], ids=str)
def test_what_was_not_charged_at_once_says_nothing_of_the_clocks(changes: dict[str, object]) -> None:
    """A one-shot call is charged when its picture is drawn; what was unknown may have the charge of an equal one."""
    late = charge("known", "something else", at=9250)
    log = Log([charge(), late], [WITNESS.but(**changes)], NOW)  # type: ignore[arg-type]
    assert settle_steps([unknown()], log)[0].state == "submitted"


def test_true_charges_are_told_for_known_purchases() -> None:
    steps = settled([], [], known=[])
    assert steps == {}
    steps = settle_steps([], Log([charge("known", cost=Decimal("0.02"))], [WITNESS], NOW))  # type: ignore[assignment]
    assert [(step.key, step.charge, step.state) for step in steps] == [("witness", Decimal("0.02"), None)]


# --- what an older version bought, which did not write down for which account ----------------------------------------


def test_a_charge_that_fits_is_the_purchase_whoever_bought_it() -> None:
    for changes in ({"account": ""}, {"account": "", "digest": ""}):
        assert settled([unknown(**changes)], [charge()])["lost"].state == "submitted"  # type: ignore[arg-type]
        assert settled([unknown(**changes)], [charge(refunded=True)])["lost"].state == "failed"  # type: ignore[arg-type]


def test_the_log_of_one_account_does_not_prove_what_another_was_not_charged() -> None:
    step = settled([unknown(account="")], [])["lost"]
    assert step.state is None
    assert "perhaps for another account" in reason(step)


def test_a_purchase_whose_time_is_not_known_proves_nothing_about_times() -> None:
    """An older version did not say when its request went out: the row has the time at which it was taken over."""
    taken_over = replace(WITNESS, account="", begun_at=9000.0)
    late = charge("known", "something else", at=9000 - 86400)
    assert settle_steps([unknown()], Log([charge(), late], [taken_over], NOW))[0].state == "submitted"
    (absent,) = settle_steps([unknown()], Log([late], [taken_over], NOW))
    assert "proves nothing" in reason(absent)


def test_two_old_purchases_take_each_others_place_only_if_they_asked_for_the_same() -> None:
    old = {"account": "", "digest": ""}
    equal = settled([unknown("one", **old), unknown("two", **old)], [charge("t1"), charge("t2")])  # type: ignore[arg-type]
    assert {step.state for step in equal.values()} == {"submitted"}
    other = unknown("two", **old).but(request=f'{{"prompt": "a castle", "model": "{MODEL}", "extra_body": {{"a": 1}}}}')  # type: ignore[arg-type]
    steps = settled([unknown("one", **old), other], [charge("t1"), charge("t2")])  # type: ignore[arg-type]
    assert {step.state for step in steps.values()} == {None}


LOCAL = json.dumps({"prompt": "a castle", "model": MODEL, "references": ["cat.png", "https://own.test/a.png"]})
GATEWAY = "gateway.test"


@pytest.mark.parametrize(
    ("urls", "state"),
    [
        ([], "submitted"),
        (["https://own.test/a.png"], "submitted"),
        (["https://gateway.test/imgs/1.png", "https://own.test/a.png"], "submitted"),
        (["https://GATEWAY.test/imgs/1.png"], "submitted"),
        (["https://example.com/other.png"], None),
        (["https://gateway.test/imgs/1.png", "https://example.com/other.png"], None),
        (["https://gateway.test@example.com/other.png"], None),
        (["https://["], None),
    ],
)
def test_a_charge_for_pictures_elsewhere_is_neither_that_of_local_ones_nor_proof(urls: Any, state: str | None) -> None:
    row = replace(unknown(), request=LOCAL)
    log = Log([charge(image_urls=urls), WITNESS_CHARGE], [WITNESS], NOW, gateway=GATEWAY)
    step = next(each for each in settle_steps([row], log) if each.key == "lost")
    assert step.state == state
    if state is None:
        assert "can't be read" in str(step.error)


@pytest.mark.parametrize("stored", [True, False], ids=["prompts", "no prompts"])
def test_a_purchase_with_a_mask_gets_no_charge_and_names_the_one_that_fits(stored: bool) -> None:
    request = ImageRequest(prompt="a castle", model="gpt-image-2", references=["https://own.test/a.png"], mask="m.png")
    row = replace(unknown(), request=stored_request(request, prompts=stored))
    fits = charge(model="gpt-image-2", image_urls=["https://own.test/a.png"])
    (step,) = (each for each in settle_steps([row], Log([fits, WITNESS_CHARGE], [WITNESS], NOW)) if each.key == "lost")
    assert step.state is None
    assert "task-1" in str(step.error)
    assert "masks" in str(step.error)
    (step,) = (each for each in settle_steps([row], Log([WITNESS_CHARGE], [WITNESS], NOW)) if each.key == "lost")
    assert step.state == "failed", "what the log does not hold was not charged"
