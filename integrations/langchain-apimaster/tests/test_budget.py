"""A toolkit's budget is a row of the ledger: it outlives the process, and all that share it count together."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from apimaster.ledger import Ledger
from langchain_apimaster import APIMasterGenerateImageTool, APIMasterToolkit

PRICE = Decimal("0.0375")


def draw(toolkit: Any, prompt: str = "a cat", **arguments: Any) -> str:
    return str(toolkit.get_tools()[0].invoke({"prompt": prompt, **arguments}))


def test_what_is_spent_and_left(emu: Any, make_toolkit: Any) -> None:
    budget = make_toolkit(budget_usd="0.10", max_images=3).budget
    assert (budget.limit_usd, budget.max_images) == (Decimal("0.10"), 3)
    assert (budget.remaining_usd, budget.spent_usd) == (Decimal("0.10"), 0)
    toolkit = make_toolkit(budget_usd="0.10", max_images=3)
    draw(toolkit, n=2)
    assert (budget.spent_usd, budget.remaining_usd, budget.images) == (2 * PRICE, Decimal("0.025"), 2)
    assert (toolkit.budget.remaining_images, toolkit.budget.name) == (1, budget.name)
    assert f"of $0.10 has $0.0250 left; this image costs ${PRICE}" in draw(toolkit)
    assert emu.bill.total == 2 * PRICE


def test_without_a_limit(make_toolkit: Any) -> None:
    toolkit = make_toolkit()
    assert (toolkit.budget.remaining_usd, toolkit.budget.remaining_images) == (None, None)
    draw(toolkit)
    assert (toolkit.budget.spent_usd, toolkit.budget.images) == (PRICE, 1)


def test_a_restart_does_not_refill_it(emu: Any, make_toolkit: Any) -> None:
    for _ in range(3):
        toolkit = make_toolkit(max_images=2)
        draw(toolkit)
        toolkit.open_ledger.close()
    assert len(emu.bill.charges) == 2


def test_each_store_namespace_kind_and_limit_has_its_own(emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    options = {"api_key": emu.api_key, "base_url": emu.base_url, "ledger": tmp_path / "shared.db"}
    here = {**options, "store": tmp_path / "one", "max_images": 1}
    for changed in ({}, {"namespace": "tenant"}, {"store": tmp_path / "two"}, {"max_images": 2}):
        assert draw(make_toolkit(**{**here, **changed})).startswith("img_")
    assert APIMasterGenerateImageTool(**here).invoke("a cat").startswith("img_")
    assert "holds 1 already" in draw(make_toolkit(**here))
    assert len(emu.bill.charges) == 5


def test_a_budget_of_the_ledger_is_shared(emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "shared.db") as ledger:
        toolkit = make_toolkit(ledger=ledger, budget="marketing")
        assert "has no budget 'marketing'" in draw(toolkit)
        assert toolkit.budget.images == 0
        ledger.set_budget("marketing", usd="0.08")
        others = [
            make_toolkit(ledger=tmp_path / "shared.db", budget="marketing", store=tmp_path / name) for name in "ab"
        ]
        assert [draw(each)[:4] for each in (toolkit, *others)] == ["img_", "img_", "The "]
        assert {toolkit.budget.spent_usd, others[0].budget.spent_usd} == {2 * PRICE}
        assert toolkit.budget.limit_usd == Decimal("0.08")
        ledger.set_budget("marketing", usd="0.12")
        assert draw(others[1]).startswith("img_")
    assert len(emu.bill.charges) == 3


def test_a_copy_with_another_budget(emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    toolkit = make_toolkit()
    toolkit.open_ledger.set_budget("marketing", images=0)
    copy = toolkit.get_tools()[0].model_copy(update={"budget": "marketing"})
    assert copy.context.budget.name == "marketing"
    assert "holds 0 already" in copy.invoke("a cat")


def test_a_limit_that_the_operator_changed_stays(emu: Any, make_toolkit: Any) -> None:
    toolkit = make_toolkit(max_images=1)
    draw(toolkit)
    toolkit.open_ledger.set_budget(toolkit.budget.name, images=2)
    assert [draw(make_toolkit(max_images=1))[:4] for _ in range(2)] == ["img_", "The "]


def test_one_kind_of_budget(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="leave out the others"):
        APIMasterToolkit(store=tmp_path, budget="marketing", budget_usd=1)
    with pytest.raises(ValidationError, match="use max_images instead"):
        APIMasterToolkit(store=tmp_path, model="unheard-of", budget_usd=1)


def test_many_threads_spend_exactly_the_limit(emu: Any, make_toolkit: Any) -> None:
    toolkit = make_toolkit(budget_usd=PRICE * 10)
    tool = toolkit.get_tools()[0]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: tool.invoke(f"cat {number}"), range(30)))
    assert sum(answer.startswith("img_") for answer in answers) == 10
    assert (emu.bill.total, toolkit.budget.remaining_usd) == (PRICE * 10, 0)


def test_a_pickle_counts_on(make_toolkit: Any) -> None:
    toolkit = make_toolkit(max_images=2)
    draw(toolkit)
    budget = pickle.loads(pickle.dumps(toolkit)).budget
    assert (budget.name, budget.images, budget.remaining_images) == (toolkit.budget.name, 1, 1)
    assert repr(budget) == f"Budget({toolkit.budget.name!r}, usd=None, max_images=2)"
