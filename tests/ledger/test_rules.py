"""The rules of a purchase, without a store: which state may follow which, who joins, what a budget counts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from apimaster.catalog import SUBMIT_TIMEOUT
from apimaster.errors import APIMasterError, BadRequestError, BudgetExceededError, LedgerError
from apimaster.ledger import STATES, TRANSITIONS
from apimaster.ledger.rows import Books, BudgetRow, Row
from apimaster.ledger.rules import apply_step
from apimaster.ledger.settling_due import look_is_due
from apimaster.ledger.states import BILLED, COUNTED, PurchaseState
from apimaster.ledger.steps import (
    Begin,
    Beginning,
    Delivered,
    Ended,
    Left,
    NotLooked,
    PlanAgain,
    Reap,
    Rejoin,
    Release,
    Report,
    Reported,
    Settle,
    Step,
    Submitted,
    Submitting,
    Take,
    Unreported,
    must_survive_power_cut,
)

PRICE = Decimal("0.0375")
BEGIN = Begin(key="k", claim="me", digest="d", request="{}", price=PRICE, budget=None, account="a")
STEPS: dict[str, Step] = {
    "begin": BEGIN,
    "claim": replace(BEGIN, digest="", submit=False),
    "begin to wait": replace(BEGIN, peek=True, alias="by this"),
    "submitting": Submitting(key="k", claim="me"),
    "submitted": Submitted(key="k", claim="me", task_id="t", task="{}"),
    "delivered": Delivered(key="k", claim="me", images="[]"),
    "saved": Delivered(key="k", claim="me", images="[]", saved=True),
    "failed": Ended(key="k", claim="me", state="failed", error="{}"),
    "unknown": Ended(key="k", claim="me", state="unknown", error="{}"),
    "release": Release(key="k", claim="me"),
    "take back": Release(key="k", claim="me", unsent=True),
    "give up": Release(key="k", claim="me", unsent=True, over=True),
    "leave": Left(key="k"),
    "rejoin": Rejoin(key="k", joins=0, left=False),
    "report": Report(key="k", claim="me"),
    "report what is paid for": Report(key="k", claim="me", paid=True),
    "reported": Reported(key="k", claim="me"),
    "unreported": Unreported(key="k", claim="me"),
    "reap": Reap(key="k"),
    "reap the dead": Reap(key="k", dead="here"),
    "take": Take(key="k"),
    "plan again": PlanAgain(key="k"),
    "settle as submitted": Settle(key="k", state="submitted", task_id="t", task="{}"),
    "settle as failed": Settle(key="k", state="failed", error="{}"),
    "settle as before": Settle(key="k", error="{}"),
    "not looked": NotLooked(key="k", asked_at=None, settled_at=None),
}


def begun(books: Books, step: Begin) -> Beginning:
    answer = apply_step(books, step)
    assert isinstance(answer, Beginning)
    return answer


def books_with(
    row: Row | None = None, *, budget: BudgetRow | None = None, alive: frozenset[str] = frozenset()
) -> Books:
    found = Books(1000.0, "here", alive=alive)
    if row is not None:
        found.rows[row.id] = row
    if budget is not None:
        found.budgets[budget.name] = budget
    return found


def row_in(state: str, **changes: object) -> Row:
    known: dict[str, object] = {
        "claim": "me",
        "worker": "here",
        "price": PRICE,
        "account": "a",
        "begun_at": 900.0,
        "billed": BILLED[state],
    }
    row = Row("k", 0, "d", "{}", state=state, **{**known, **changes})  # type: ignore[arg-type]
    if state in ("submitted", "delivered", "saved"):
        row.task_id, row.task = row.task_id or "t", "{}"
    return row


@pytest.mark.parametrize(("state", "name"), list(product(STATES, STEPS)))
@pytest.mark.parametrize("worker", ["here", "dead", None])
def test_no_step_leaves_the_table_of_transitions(state: str, name: str, worker: str | None) -> None:
    row = row_in(state, worker=worker)
    books = books_with(replace(row))
    try:
        apply_step(books, STEPS[name])
    except APIMasterError:
        assert books.rows[row.id] == row, "a step that is refused changes nothing"
        assert not books.changed
        return
    after = books.rows[row.id]
    # Begin finds a dead worker first, and goes on from what that leaves: two transitions in one step.
    between = {state, "unknown", "planned"} if worker == "dead" else {state}
    assert any(after.state == each or after.state in TRANSITIONS[each] for each in between)  # type: ignore[index]
    assert after.billed in (BILLED[after.state], row.billed)


@pytest.mark.parametrize("name", STEPS)
def test_every_step_may_be_written_twice(name: str) -> None:
    """The answer to a commit may get lost: then the same group is written again."""
    for state in STATES:
        books = books_with(row_in(state), budget=BudgetRow("b"))
        try:
            first = apply_step(books, STEPS[name])
        except APIMasterError:
            continue
        once = replace(books.rows["k", 0])
        second = apply_step(books, STEPS[name])
        again = books.rows["k", 0]
        if isinstance(first, Beginning) and first.kind == "buy":
            assert isinstance(second, Beginning)
            assert second.kind == "buy"
            assert again.attempts == once.attempts
        assert (again.state, again.task_id, again.billed, again.sunk) == (
            once.state,
            once.task_id,
            once.billed,
            once.sunk,
        )


@pytest.mark.parametrize(
    ("state", "worker", "expected"),
    [
        (None, None, "buy"),
        ("planned", None, "buy"),
        ("claimed", "other", "busy"),
        ("claimed", "dead", "buy"),
        ("claimed", None, "buy"),
        ("submitting", "other", "busy"),
        ("submitting", "dead", "unknown"),
        ("submitting", None, "unknown"),
        ("submitted", "other", "join"),
        ("submitted", "dead", "join"),
        ("submitted", None, "join"),
        ("delivered", "other", "done"),
        ("delivered", "dead", "done"),
        ("saved", None, "done"),
        ("failed", None, "buy"),
        ("unknown", None, "unknown"),
    ],
)
def test_who_comes_second(state: str | None, worker: str | None, expected: str) -> None:
    row = None if state is None else row_in(state, worker=worker, claim="another call")
    books = books_with(row, alive=frozenset({"other"}))
    answer = apply_step(books, BEGIN)
    assert isinstance(answer, Beginning)
    assert answer.kind == expected
    assert answer.owned == (state == "submitted" and worker != "other")
    assert answer.at_work == (worker == "other") or answer.kind not in ("join", "done")


def test_the_same_key_for_something_else_is_refused() -> None:
    books = books_with(row_in("delivered"))
    with pytest.raises(BadRequestError, match="another request") as caught:
        apply_step(books, replace(BEGIN, digest="other"))
    assert caught.value.code == "idempotency_key_reused"


def test_what_was_charged_for_nothing_is_not_bought_again() -> None:
    row = row_in("failed", worker=None)
    row.billed = "yes"
    answer = apply_step(books_with(row), BEGIN)
    assert isinstance(answer, Beginning)
    assert answer.kind == "charged"


@pytest.mark.parametrize(
    ("state", "claim", "expected"),
    [
        ("claimed", "me", "failed"),  # nobody comes back for it by itself, and its key buys
        ("claimed", "dead", "planned"),  # work of a batch
        ("submitting", "me", "unknown"),
        ("submitted", "me", "submitted"),
        ("delivered", "me", "delivered"),
    ],
)
def test_a_dead_worker_leaves_what_can_be_known(state: str, claim: str, expected: str) -> None:
    books = books_with(row_in(state, worker="dead", claim=claim))
    apply_step(books, Reap(key="k"))
    row = books.rows["k", 0]
    assert (row.state, row.worker, row.claim) == (expected, None, claim)


@pytest.mark.parametrize(("begun", "latest"), [(990.0, 1000.0), (100.0, 100.0 + SUBMIT_TIMEOUT)])
def test_a_dead_process_may_have_sent_until_its_submit_timed_out(begun: float, latest: float) -> None:
    books = books_with(row_in("submitting", worker="dead", begun_at=begun))
    apply_step(books, Reap(key="k"))
    assert books.rows["k", 0].unknown_since == latest


def test_a_task_that_comes_late_is_taken() -> None:
    books = books_with(row_in("submitting", worker="dead"))
    apply_step(books, Reap(key="k"))
    apply_step(books, Submitted(key="k", claim="me", task_id="late", task="{}"))
    assert (books.rows["k", 0].state, books.rows["k", 0].task_id) == ("submitted", "late")


def test_a_late_task_of_a_purchase_that_another_call_has_begun_anew_is_kept() -> None:
    books = books_with(row_in("submitting", claim="another call"))
    with pytest.raises(LedgerError, match="taken over"):
        apply_step(books, Submitted(key="k", claim="me", task_id="late", task="{}"))
    row = books.rows["k", 0]
    assert (row.state, row.earlier_tasks, row.sunk) == ("submitting", "late", PRICE)


@pytest.mark.parametrize("name", ["delivered", "failed", "unknown"])
@pytest.mark.parametrize("task", ["t", "the task of an earlier attempt"])
def test_who_polls_a_task_speaks_of_that_task_only(name: str, task: str) -> None:
    books = books_with(row_in("submitted", claim="another call"))
    step = replace(STEPS[name], task_id=task)  # type: ignore[call-arg]
    if task == "t":
        apply_step(books, step)
        assert books.rows["k", 0].state == name
        return
    with pytest.raises(LedgerError, match="taken over"):
        apply_step(books, step)
    assert books.rows["k", 0].state == "submitted"


@pytest.mark.parametrize("name", ["failed", "unknown"])
def test_steps_of_a_call_that_lost_its_row_are_refused(name: str) -> None:
    books = books_with(row_in("submitting", claim="another call"))
    with pytest.raises(LedgerError, match="taken over"):
        apply_step(books, STEPS[name])


@pytest.mark.parametrize(
    ("state", "changes", "goes_on"),
    [
        ("submitting", {}, True),
        ("claimed", {}, True),
        ("unknown", {"worker": None, "settled_at": 950.0}, True),  # taken for dead, and nobody has gone on
        ("planned", {"worker": None}, True),
        ("failed", {"worker": None}, True),  # found not to be charged, which is so: it has not been sent again
        ("failed", {"billed": "yes"}, False),
        ("unknown", {"task_id": "t"}, False),
        ("submitted", {}, False),  # settling has found a task
        ("delivered", {}, False),
        ("saved", {}, False),
        ("submitting", {"claim": "another call"}, False),
        ("claimed", {"claim": "another call"}, False),
        ("submitted", {"claim": "another call"}, False),
        ("failed", {"claim": "another call"}, False),
        ("planned", {"claim": None}, False),  # planned again
    ],
)
def test_a_call_sends_again_only_what_is_still_its_own(state: str, changes: dict[str, object], goes_on: bool) -> None:
    row = row_in(state, **changes)
    books = books_with(replace(row))
    after = apply_step(books, STEPS["submitting"])
    if not goes_on:
        assert after is None
        assert books.rows["k", 0] == row
        return
    assert isinstance(after, Row)
    assert (after.state, after.worker, after.claim, after.begun_at) == ("submitting", "here", "me", books.now)
    assert (after.unknown_since, after.settled_at) == (None, None)


def test_sending_again_reserves_what_settling_has_given_back() -> None:
    budget = BudgetRow("b", max_images=1)
    books = books_with(budget=budget)
    apply_step(books, replace(BEGIN, budget="b"))
    apply_step(replace(books, worker="there"), Reap(key="k"))
    apply_step(books, STEPS["settle as failed"])
    assert budget.images == 0
    apply_step(books, replace(BEGIN, key="k2", claim="other", budget="b"))
    with pytest.raises(BudgetExceededError):
        apply_step(books, STEPS["submitting"])
    assert books.rows["k", 0].state == "failed"


def test_a_call_that_was_taken_for_dead_does_not_end_what_settling_has_found() -> None:
    for name in ("failed", "unknown"):
        books = books_with(row_in("submitted", worker=None, task_id="found"))
        with pytest.raises(LedgerError, match="taken over"):
            apply_step(books, STEPS[name])
        assert books.rows["k", 0].state == "submitted"


@pytest.mark.parametrize("name", ["settle as submitted", "settle as failed", "settle as before"])
def test_what_the_log_said_of_an_earlier_attempt_says_nothing_of_this_one(name: str) -> None:
    row = row_in("unknown", worker=None, begun_at=950.0)
    books = books_with(replace(row))
    apply_step(books, replace(STEPS[name], begun_at=900.0))  # type: ignore[call-arg]
    assert books.rows["k", 0] == row
    apply_step(books, replace(STEPS[name], begun_at=950.0))  # type: ignore[call-arg]
    assert books.rows["k", 0] != row


@pytest.mark.parametrize("limit", [{"max_usd": Decimal("0.01")}, {"max_images": 0}, None])
def test_a_budget_that_refuses_takes_nothing_out_of_another(limit: dict[str, object] | None) -> None:
    row = row_in("failed", worker=None, budget="old", sunk=Decimal(1))
    books = books_with(row, budget=BudgetRow("old", usd=Decimal(1)))
    if limit is not None:
        books.budgets["new"] = BudgetRow("new", **limit)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises((BudgetExceededError, BadRequestError)):
            apply_step(books, replace(BEGIN, budget="new"))
        assert books.budgets["old"].usd == 1


@pytest.mark.parametrize("state", ["claimed", "submitting", "unknown"])
@pytest.mark.parametrize("worker", ["here", None])
@pytest.mark.parametrize(("over", "expected"), [(True, "failed"), (False, "planned")])
def test_who_has_sent_nothing_says_so_even_if_it_was_taken_for_dead(
    state: str, worker: str | None, over: bool, expected: str
) -> None:
    books = books_with(row_in(state, worker=worker))
    row = apply_step(books, Release(key="k", claim="me", unsent=True, over=over))
    assert isinstance(row, Row)
    assert (row.state, row.worker, row.billed) == (expected, None, "no")
    books = books_with(row_in("unknown", worker=worker, task_id="found"))
    apply_step(books, Release(key="k", claim="me", unsent=True, over=over))
    assert books.rows["k", 0].state == "unknown", "a task is a charge"
    assert apply_step(books_with(row_in(state, claim="another call")), STEPS["give up"]) is None


def test_who_is_still_saving_keeps_its_row_though_it_was_taken_for_dead() -> None:
    books = books_with(row_in("unknown", worker=None))
    row = apply_step(books, Delivered(key="k", claim="me", images="[]", keep=True))
    assert isinstance(row, Row)
    assert (row.state, row.worker) == ("delivered", "here")


def test_an_error_after_somebody_has_saved_the_picture_changes_nothing() -> None:
    for claim in ("me", "another call"):
        books = books_with(row_in("saved", claim=claim))
        apply_step(books, Ended(key="k", claim="me", state="unknown", error="{}", task_id="t"))
        assert books.rows["k", 0].state == "saved"


@pytest.mark.parametrize(("account", "owned"), [("a", True), ("", True), ("another", False)])
def test_a_task_is_taken_over_by_its_account(account: str, owned: bool) -> None:
    """A purchase of an older version does not say whose it is: a poll will show."""
    assert begun(books_with(row_in("submitted", worker=None, account=account)), BEGIN).owned is owned


def test_the_task_of_a_late_reply_replaces_the_one_that_settling_took_for_it() -> None:
    books = books_with(row_in("submitted", worker=None, task_id="found"))
    row = apply_step(books, STEPS["submitted"])
    assert isinstance(row, Row)
    assert (row.task_id, row.earlier_tasks) == ("t", "found")


@pytest.mark.parametrize(
    ("settled_at", "now", "due"),
    [
        (None, 959.0, False),  # the request went out at 900: the log may not hold it yet
        (None, 960.0, True),
        (965.0, 1009.0, False),  # it is asked already, and a missing charge proves nothing before 1010
        (965.0, 1010.0, True),
        (1010.0, 1011.0, False),
        (1010.0, 1609.0, False),
        (1010.0, 1610.0, True),  # later the log may prove more
    ],
)
def test_when_the_usage_log_is_looked_into(settled_at: float | None, now: float, due: bool) -> None:
    books = books_with(row_in("unknown", worker=None, begun_at=900.0, unknown_since=950.0, settled_at=settled_at))
    books.now = now
    assert begun(books, replace(BEGIN, account="another")).settle is False, "its log tells nothing of this one"
    assert [begun(books, replace(BEGIN, claim=each)).settle for each in ("a", "b")] == [due, False], "one call asks"


@pytest.mark.parametrize("settled_at", [None, 100.0])
def test_a_log_that_could_not_be_read_was_not_looked_into(settled_at: float | None) -> None:
    known = row_in("unknown", worker=None, begun_at=90.0, unknown_since=95.0, settled_at=settled_at, error="why")
    books = books_with(known)
    answer = begun(books, BEGIN)
    assert answer.settle
    assert not begun(books, BEGIN).settle
    undo = NotLooked(key="k", asked_at=answer.asked_at, settled_at=answer.row.settled_at)
    apply_step(books, undo)
    assert books.rows["k", 0] == known
    assert begun(books, BEGIN).settle, "the next call may ask"
    books.now += 1
    looked = apply_step(books, Settle(key="k", error="proves nothing"))
    assert apply_step(books, undo) is None
    assert books.rows["k", 0] == looked, "somebody else has looked since"


# --- turns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, "planned", "failed"])
def test_a_purchase_that_waits_for_its_turn_is_found_and_reserves_nothing(state: str | None) -> None:
    budget = BudgetRow("b", max_images=1)
    row = None if state is None else row_in(state, worker=None, claim=None)
    books = books_with(row, budget=budget)
    waiting = replace(BEGIN, budget="b", alias="by this", peek=True)
    assert [begun(books, waiting).kind for _ in range(2)] == ["wait", "wait"]
    found = books.rows["k", 0]
    assert (found.state, found.alias, found.worker, found.claim) == ("claimed", "by this", "here", "me")
    assert (found.attempts, found.begun_at, found.billed, budget.images) == (1, None, "no", 0)
    assert begun(books, replace(BEGIN, claim="another call")).kind == "busy"
    turn = replace(waiting, peek=False)
    assert [begun(books, turn).kind for _ in range(2)] == ["buy", "buy"]
    found = books.rows["k", 0]
    assert (found.state, found.attempts, found.begun_at, budget.images) == ("submitting", 1, books.now, 1)


def test_a_purchase_whose_turn_comes_when_its_budget_is_spent_is_refused() -> None:
    books = books_with(budget=BudgetRow("b", max_images=1))
    waiting = replace(BEGIN, budget="b", peek=True)
    begun(books, replace(waiting, alias="by this"))
    begun(books, replace(BEGIN, key="k2", claim="other", budget="b"))
    with pytest.raises(BudgetExceededError):
        apply_step(books, replace(waiting, peek=False))
    given_up = apply_step(books, STEPS["give up"])
    assert isinstance(given_up, Row)
    assert (given_up.state, given_up.worker, given_up.billed) == ("failed", None, "no")


@pytest.mark.parametrize("alias", ["by this", None])
def test_work_of_a_batch_that_waits_is_not_written_anew(alias: str | None) -> None:
    books = books_with(row_in("claimed", worker="here", claim="here"))
    assert begun(books, replace(BEGIN, peek=True, alias=alias)).kind == "wait"
    assert not books.changed
    assert begun(books, BEGIN).kind == "buy"


def test_what_is_found_by_its_key_alone_waits_without_a_row() -> None:
    books = books_with()
    assert begun(books, replace(BEGIN, peek=True)).kind == "wait"
    assert not books.rows
    assert begun(books, BEGIN).kind == "buy"


# --- budgets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_a_budget_counts_what_is_charged_or_may_be(state: str) -> None:
    row = row_in(state)
    assert row.counted() == ((PRICE, 1) if state in COUNTED else (Decimal(0), 0))


def test_a_budget_is_counted_when_the_request_goes_out_and_freed_by_a_failure() -> None:
    budget = BudgetRow("b", max_usd=PRICE)
    books = books_with(budget=budget)
    apply_step(books, replace(BEGIN, budget="b"))
    assert (budget.usd, budget.images) == (PRICE, 1)
    with pytest.raises(BudgetExceededError, match="0 left"):
        apply_step(books, replace(BEGIN, key="k2", budget="b"))
    apply_step(books, STEPS["failed"])
    assert (budget.usd, budget.images) == (0, 0)


def test_a_claim_reserves_nothing_until_its_request_goes_out() -> None:
    budget = BudgetRow("b", max_images=1)
    books = books_with(budget=budget)
    apply_step(books, replace(BEGIN, budget="b", submit=False))
    assert budget.images == 0
    apply_step(books, replace(BEGIN, budget="b"))
    assert budget.images == 1


def test_a_claim_that_is_refused_leaves_what_an_earlier_attempt_has_cost() -> None:
    earlier = row_in("failed", worker=None, billed="no", sunk=PRICE, budget="a", error="why").but(request="earlier")
    books = books_with(earlier, budget=BudgetRow("a", usd=PRICE))
    books.budgets["b"] = BudgetRow("b")
    apply_step(books, replace(BEGIN, digest="", budget="b", submit=False))
    apply_step(books, Release(key="k", claim="me", unsent=True, over=True))
    changed = {"claim": "me", "attempts": earlier.attempts + 1, "updated_at": books.now}
    assert books.rows["k", 0] == earlier.but(**changed)
    assert (books.budgets["a"].usd, books.budgets["b"].usd) == (PRICE, 0)


def test_a_claim_names_no_budget_that_does_not_exist() -> None:
    books = books_with()
    apply_step(books, replace(BEGIN, digest="", budget="none", submit=False))
    assert books.rows["k", 0].budget is None
    with pytest.raises(BadRequestError, match="no budget"):
        apply_step(books, replace(BEGIN, budget="none"))


@pytest.mark.parametrize("state", STATES)
def test_a_claim_changes_only_what_is_free(state: PurchaseState) -> None:
    """Nobody has asked for the image yet: it is not joined, not settled, and not taken over."""
    before = Row("k", 0, "d", "{}", state=state, billed=BILLED[state], worker="other", claim="another")
    books = books_with(before, alive=frozenset({"other"}))
    answer = begun(books, replace(BEGIN, digest="", submit=False))
    if state == "failed":
        assert (answer.kind, books.rows["k", 0].state, books.rows["k", 0].digest) == ("buy", "claimed", "d")
    else:
        assert (answer.kind, books.rows["k", 0]) == ("busy", before)


@pytest.mark.parametrize("first", [{"submit": False, "digest": ""}, {"peek": True, "alias": "by this"}])
def test_a_client_that_leaves_before_the_request_has_left_after_it(first: dict[str, Any]) -> None:
    books = books_with()
    apply_step(books, replace(BEGIN, **first))
    apply_step(books, Left(key="k"))
    apply_step(books, replace(BEGIN, alias=first.get("alias")))
    row = books.rows["k", 0]
    assert (row.state, row.left, row.attempts) == ("submitting", True, 1)


def test_what_a_claim_left_out_is_written_when_the_request_goes_out() -> None:
    books = books_with()
    apply_step(books, replace(BEGIN, digest="", submit=False))
    assert begun(books, replace(BEGIN, request='{"references": []}')).kind == "buy"
    row = books.rows["k", 0]
    assert (row.state, row.digest, row.request, row.attempts) == ("submitting", "d", '{"references": []}', 1)


@pytest.mark.parametrize(
    ("begun", "settled", "now", "due"),
    [
        (0.0, None, 59.0, False),  # the charge may come late
        (0.0, None, 60.0, True),
        (0.0, 60.0, 80.0, False),
        (0.0, 60.0, 90.0, True),  # from now on its absence counts: it became unknown after 30 s
        (0.0, 90.0, 689.0, False),
        (0.0, 90.0, 690.0, True),
        (0.0, 690.0, 3630.0, False),  # nobody has asked for an hour
    ],
)
def test_when_a_process_looks_for_what_another_one_left_behind(
    begun: float, settled: float | None, now: float, due: bool
) -> None:
    row = Row("k", 0, "d", "{}", state="unknown", begun_at=begun, unknown_since=30.0, settled_at=settled)
    assert look_is_due(row, now, 60.0) == due


@pytest.mark.parametrize("limit", [{"max_usd": Decimal("0.0374")}, {"max_images": 0}])
def test_what_does_not_fit_changes_nothing(limit: dict[str, object]) -> None:
    books = books_with(budget=BudgetRow("b", **limit))  # type: ignore[arg-type]
    with pytest.raises(BudgetExceededError) as caught:
        apply_step(books, replace(BEGIN, budget="b"))
    assert caught.value.billed == "no"
    assert not books.rows


def test_a_price_that_nobody_knows_does_not_fit_into_dollars() -> None:
    books = books_with(budget=BudgetRow("b", max_usd=Decimal(5)))
    with pytest.raises(BudgetExceededError, match="not known"):
        apply_step(books, replace(BEGIN, budget="b", price=None))


def test_the_true_charge_replaces_the_price_in_the_budget() -> None:
    budget = BudgetRow("b")
    books = books_with(budget=budget)
    apply_step(books, replace(BEGIN, budget="b"))
    apply_step(books, STEPS["submitted"])
    apply_step(books, Settle(key="k", charge=Decimal("0.05")))
    assert budget.usd == Decimal("0.05")


def test_an_image_that_is_bought_again_moves_to_its_new_budget() -> None:
    old, new = BudgetRow("old"), BudgetRow("new")
    books = books_with(budget=old)
    books.budgets["new"] = new
    apply_step(books, replace(BEGIN, budget="old"))
    apply_step(books, STEPS["failed"])
    apply_step(books, replace(BEGIN, budget="new", claim="second"))
    assert ((old.usd, old.images), (new.usd, new.images)) == ((0, 0), (PRICE, 1))


def test_of_two_callers_that_come_back_one_gets_the_purchase() -> None:
    books = books_with(row_in("submitted"))
    left = apply_step(books, Left(key="k"))
    assert isinstance(left, Row)
    assert left.left
    back = Rejoin(key="k", joins=left.joins, left=left.left)
    first = apply_step(books, back)
    assert isinstance(first, Row)
    assert (first.joins, first.left, first.state, first.worker) == (1, False, "submitted", "here")
    assert apply_step(books, back) is None
    assert apply_step(books, Rejoin(key="none", joins=0, left=False)) is None
    assert apply_step(books, Left(key="none")) is None


def test_what_must_survive_a_power_cut() -> None:
    free = {name for name, step in STEPS.items() if not must_survive_power_cut([step])}
    assert not free & {"begin", "submitting", "submitted", "failed", "unknown", "settle as submitted"}
    assert must_survive_power_cut([Left(key="k"), STEPS["submitted"]])
    assert not must_survive_power_cut([Delivered(key="k", images="[]", task_id="t")])
    assert must_survive_power_cut([Delivered(key="k", images="[]")])  # no task: nothing tells of it again


# --- work that waits to be bought --------------------------------------------------------------------------


def test_planned_work_is_taken_once_and_bought_by_a_call_of_the_process_that_took_it() -> None:
    planned = replace(row_in("planned", worker=None, claim=None), digest="")
    books = books_with(planned, alive=frozenset({"here", "there"}))
    taken = apply_step(books, Take(key="k"))
    assert isinstance(taken, Row)
    assert (taken.state, taken.worker, taken.claim) == ("claimed", "here", "here")
    elsewhere = replace(books, worker="there")
    assert apply_step(elsewhere, Take(key="k")) is None
    assert begun(elsewhere, replace(BEGIN, claim="there")).kind == "busy"
    first = begun(books, BEGIN)
    assert (first.kind, first.row.digest, first.row.attempts) == ("buy", "d", 1)
    assert begun(books, replace(BEGIN, claim="second")).kind == "busy", "another call of the process waits"
    assert apply_step(books, Take(key="k")) is None


@pytest.mark.parametrize("state", ["submitted", "delivered"])
def test_what_is_paid_for_is_taken_when_nobody_is_at_work_on_it(state: str) -> None:
    books = books_with(row_in(state, worker="dead"))
    assert apply_step(replace(books, alive=frozenset({"dead"})), Take(key="k")) is None
    taken = apply_step(books, Take(key="k"))
    assert isinstance(taken, Row)
    assert (taken.state, taken.worker) == (state, "here")
    freed = apply_step(books, Release(key="k", claim=str(taken.claim)))
    assert isinstance(freed, Row)
    assert (freed.state, freed.worker) == (state, None)


@pytest.mark.parametrize("state", ["saved", "failed", "unknown"])
def test_what_has_ended_is_not_taken(state: str) -> None:
    assert apply_step(books_with(row_in(state, worker=None)), Take(key="k")) is None


def test_a_worker_that_is_dead_for_certain_need_not_run_out_of_its_lease() -> None:
    books = books_with(row_in("submitting", worker="other"), alive=frozenset({"other"}))
    assert apply_step(books, Reap(key="k", dead="another")) is None
    freed = apply_step(books, Reap(key="k", dead="other"))
    assert isinstance(freed, Row)
    assert (freed.state, freed.worker) == ("unknown", None)


def test_what_is_planned_again_still_counts_what_it_may_have_cost() -> None:
    row = row_in("unknown", worker=None, budget="b", task_id="t1", sunk=Decimal(1))
    books = books_with(row, budget=BudgetRow("b", usd=PRICE + 1, images=1))
    planned = apply_step(books, PlanAgain(key="k"))
    assert isinstance(planned, Row)
    assert (planned.state, planned.sunk, planned.earlier_tasks) == ("planned", PRICE + 1, "t1")
    assert (books.budgets["b"].usd, books.budgets["b"].images) == (PRICE + 1, 0)
    assert begun(books, replace(BEGIN, digest="changed", budget="b")).kind == "buy", "its references may differ now"
    assert books.budgets["b"].usd == 2 * PRICE + 1


def test_what_failed_is_planned_again_for_nothing() -> None:
    books = books_with(row_in("failed", worker=None, error="{}"))
    planned = apply_step(books, PlanAgain(key="k"))
    assert isinstance(planned, Row)
    assert (planned.state, planned.sunk, planned.error) == ("planned", 0, None)
    assert apply_step(books_with(row_in("saved")), PlanAgain(key="k")) is None


@pytest.mark.parametrize("state", STATES)
def test_the_first_call_that_asks_reports_the_cost_of_a_picture_that_is_made(state: str) -> None:
    books = books_with(row_in(state))
    made = state in ("delivered", "saved")
    first, second = (apply_step(books, Report(key="k", claim=claim)) for claim in ("first", "second"))
    assert (first is not None, second) == (made, None)
    again = apply_step(books, Report(key="k", claim="first"))
    assert (again is not None) == made, "the answer to its commit may have got lost"
    if made:  # the call that bought it may still be at work
        task = row_in(state).task_id
        saved = apply_step(books, Delivered(key="k", claim="me", images="[1]", task_id=task, saved=True))
        assert isinstance(saved, Row)
        assert (saved.state, saved.worker) == ("saved", None)
        assert apply_step(books, Report(key="k", claim="third")) is None


PAID = {"submitted", "delivered", "saved"}


@pytest.mark.parametrize("state", STATES)
def test_a_call_without_a_picture_reports_what_is_paid_for(state: str) -> None:
    books = books_with(row_in(state))
    first, second = (apply_step(books, Report(key="k", claim=claim, paid=True)) for claim in ("first", "second"))
    assert (first is not None, second) == (state in PAID, None)
    assert apply_step(books, Report(key="k", claim="third")) is None
    apply_step(books, Unreported(key="k", claim="second"))
    assert apply_step(books, Report(key="k", claim="third", paid=True)) is None, "it was not that call's report"
    apply_step(books, Unreported(key="k", claim="first"))
    assert (apply_step(books, Report(key="k", claim="third", paid=True)) is not None) == (state in PAID)


def test_a_purchase_that_a_person_found_charged_is_paid_for() -> None:
    books = books_with(row_in("failed", billed="yes"))
    assert apply_step(books, Report(key="k", claim="first")) is None
    assert apply_step(books, Report(key="k", claim="first", paid=True)) is not None


def test_the_call_at_work_goes_on_when_another_one_has_reported_the_cost() -> None:
    books = books_with(row_in("submitted"))
    apply_step(books, Report(key="k", claim="other", paid=True))
    row = books.rows["k", 0]
    assert (row.claim, row.worker) == ("me", books.worker)
    delivered = apply_step(books, Delivered(key="k", claim="me", images="[1]", task_id=row.task_id, keep=True))
    assert isinstance(delivered, Row)
    assert (delivered.state, delivered.worker) == ("delivered", books.worker)
    assert apply_step(books, Report(key="k", claim="me")) is None


def test_what_was_reported_and_given_back_pays_for_the_next_attempt() -> None:
    books = books_with(row_in("submitted"))
    apply_step(books, Report(key="k", claim="first", paid=True))
    apply_step(books, Ended(key="k", claim="me", state="failed", error="{}", task_id=books.rows["k", 0].task_id))
    apply_step(books, replace(BEGIN, claim="again"))
    apply_step(books, Submitted(key="k", claim="again", task_id="t9", task="{}"))
    assert apply_step(books, Report(key="k", claim="second", paid=True)) is None


def test_what_was_reported_and_stays_charged_does_not_pay_for_the_next_attempt() -> None:
    books = books_with(row_in("unknown", reported="first"))
    apply_step(books, PlanAgain(key="k"))
    apply_step(books, replace(BEGIN, claim="again"))
    apply_step(books, Submitted(key="k", claim="again", task_id="t9", task="{}"))
    assert apply_step(books, Report(key="k", claim="second", paid=True)) is not None


def test_what_a_process_of_version_2_has_reported_counts() -> None:
    """It may go on after another one has brought the tables up to date, and writes its mark into the claim."""
    books = books_with(row_in("delivered", claim="reported-first"))
    assert apply_step(books, Report(key="k", claim="second")) is None


def test_settling_says_nothing_of_what_was_pruned_meanwhile() -> None:
    books = books_with()
    assert apply_step(books, Settle(key="k", state="failed", error="{}")) is None
    assert not books.rows
