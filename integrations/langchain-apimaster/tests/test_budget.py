"""The budget reserves all or nothing, gives back once, and is exact with many threads."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from apimaster import BudgetExceededError
from langchain_apimaster import Budget

PRICE = Decimal("0.0375")


def test_dollars() -> None:
    budget = Budget(usd=Decimal("0.10"))
    budget.reserve(2, PRICE)
    assert (budget.spent_usd, budget.remaining_usd, budget.images) == (Decimal("0.075"), Decimal("0.025"), 2)
    with pytest.raises(BudgetExceededError, match=r"would cost \$0\.0375, and \$0\.0250 of \$0\.10 is left") as refusal:
        budget.reserve(1, PRICE)
    assert (refusal.value.billed, refusal.value.retryable) == ("no", False)
    budget.give_back(1, PRICE)
    budget.reserve(1, PRICE)
    assert budget.images == 2


def test_images() -> None:
    budget = Budget(max_images=3)
    budget.reserve(2, None)
    with pytest.raises(BudgetExceededError, match="2 more would be over the limit of 3 images; 1 image is left"):
        budget.reserve(2, None)
    budget.reserve(1, None)
    assert (budget.images, budget.remaining_images, budget.spent_usd) == (3, 0, 0)


def test_dollars_need_a_price() -> None:
    with pytest.raises(BudgetExceededError, match="price of this model is not known"):
        Budget(usd=Decimal(1)).reserve(1, None)


def test_no_limits() -> None:
    budget = Budget()
    budget.reserve(1000, PRICE)
    assert (budget.remaining_usd, budget.remaining_images) == (None, None)


def test_a_task_is_given_back_once() -> None:
    budget = Budget()
    budget.reserve(2, PRICE)
    budget.remember("task_1", PRICE)
    budget.remember("task_2", PRICE)
    for _ in range(2):
        budget.refund("task_1")
    budget.forget("task_2")
    budget.refund("task_2")
    budget.refund("task_of_somebody_else")
    assert (budget.spent_usd, budget.images) == (PRICE, 1)


def test_many_threads_spend_exactly_the_limit() -> None:
    budget = Budget(usd=PRICE * 50)

    def spend(_: int) -> bool:
        try:
            budget.reserve(1, PRICE)
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(spend, range(200))) == 50
    assert budget.remaining_usd == 0


def test_the_count_survives_a_pickle() -> None:
    budget = Budget(max_images=2)
    budget.reserve(1, PRICE)
    copy = pickle.loads(pickle.dumps(budget))
    copy.reserve(1, PRICE)
    assert (copy.images, budget.images) == (2, 1)
    assert repr(copy) == "Budget(spent_usd=0.0750, images=2, usd=None, max_images=2)"
