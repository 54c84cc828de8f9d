"""A toolkit's budget is a row of the ledger: it outlives the process, and all that share it count together."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from apimaster import APIMaster
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


def test_each_store_namespace_and_kind_has_its_own(emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    options = {"api_key": emu.api_key, "base_url": emu.base_url, "ledger": tmp_path / "shared.db"}
    here = {**options, "store": tmp_path / "one", "max_images": 1}
    for changed in ({}, {"namespace": "tenant"}, {"store": tmp_path / "two"}, {"max_images": None}):
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


def test_another_limit_does_not_begin_at_zero(emu: Any, make_toolkit: Any) -> None:
    """Each toolkit stands for a start of the application with another setting."""
    answers = []
    for limits in ({"max_images": 1}, {"max_images": 2}, {"budget_usd": "0.10"}, {"budget_usd": "0.20"}):
        toolkit = make_toolkit(**limits)
        assert (toolkit.budget.limit_usd, toolkit.budget.max_images) == (
            Decimal(limits["budget_usd"]) if "budget_usd" in limits else None,
            limits.get("max_images"),
        ), "before the first purchase, too"
        answers.append([draw(toolkit)[:4] for _ in range(3)])
        assert toolkit.budget.spent_usd == emu.bill.total
        toolkit.open_ledger.close()
    assert answers == [
        ["img_", "The ", "The "],
        ["img_", "The ", "The "],
        ["The ", "The ", "The "],  # 0.075 is spent, and 0.025 left
        ["img_", "img_", "img_"],
    ]
    lowered = make_toolkit(budget_usd="0.10")
    assert draw(lowered).startswith("The ")
    assert (lowered.budget.limit_usd, lowered.budget.spent_usd) == (Decimal("0.10"), 5 * PRICE)
    assert [each.name for each in lowered.open_ledger.budgets()] == [lowered.budget.name]


def test_two_toolkits_with_different_limits_share_what_is_spent(emu: Any, make_toolkit: Any) -> None:
    """The limits are those of the one that made its first purchase last; budgets with names keep them apart."""
    one = make_toolkit(max_images=1)
    assert draw(one).startswith("img_")
    two = make_toolkit(max_images=3)
    assert draw(two).startswith("img_")
    assert (one.budget.name, one.budget.images, one.budget.max_images) == (two.budget.name, 2, 3)
    assert [draw(each)[:4] for each in (one, two)] == ["img_", "The "]
    for name, images in (("one", 1), ("two", 2)):
        one.open_ledger.set_budget(name, images=images)
    named = [make_toolkit(budget=name) for name in ("one", "two")]
    assert [[draw(each)[:4] for _ in range(3)] for each in named] == [
        ["img_", "The ", "The "],
        ["img_", "img_", "The "],
    ]


@pytest.mark.parametrize("ledger", [None, "shared.db"])
def test_another_path_to_the_store_does_not_begin_at_zero(
    emu: Any, make_toolkit: Any, tmp_path: Path, ledger: str | None
) -> None:
    """A link, a URL, and a folder that was moved: as containers mount it."""
    folder, link = tmp_path / "pictures", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    given = {} if ledger is None else {"ledger": tmp_path / ledger}
    places = [folder, link, f"file://{folder}"]
    if ledger is None:
        places.append(tmp_path / "moved")
    for place in places:
        if place == tmp_path / "moved":
            folder.rename(place)
        toolkit = make_toolkit(store=place, budget_usd="0.08", **given)
        for _ in range(2):
            draw(toolkit)
        assert toolkit.budget.spent_usd == 2 * PRICE
        toolkit.open_ledger.close()
    assert len(emu.bill.charges) == 2


def test_a_toolkit_without_limits_takes_no_limit_away(emu: Any, make_toolkit: Any) -> None:
    limited = make_toolkit(max_images=1)
    draw(limited)
    assert draw(make_toolkit()).startswith("img_")
    assert draw(limited).startswith("The ")
    assert draw(make_toolkit(max_images=1)).startswith("The ")
    assert len(emu.bill.charges) == 2


def test_what_the_operator_changed_stays_until_the_application_changes(emu: Any, make_toolkit: Any) -> None:
    toolkit = make_toolkit(max_images=1)
    draw(toolkit)
    toolkit.open_ledger.set_budget(toolkit.budget.name, images=0)
    for limit, expected in ((1, 0), (2, 2), (1, 1)):
        started = make_toolkit(max_images=limit)
        draw(started)
        assert started.budget.max_images == expected
    assert toolkit.budget.images == 2


def earlier_name(store: Path, limits: str) -> str:
    """The name of a budget as earlier versions made it, one for each limit."""
    return f"langchain toolkit, {limits}, {hashlib.sha256(f'{chr(10)}{store}'.encode()).hexdigest()[:12]}"


@pytest.mark.parametrize("limits", [{"budget_usd": "0.10"}, {"budget_usd": "0.08"}, {"max_images": 2}])
def test_budgets_of_earlier_versions_go_on(limits: Any, emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    spent = earlier_name(tmp_path / "store", "$0.08")
    others = [earlier_name(tmp_path / "store", each) for each in ("$0.05", "no limit")]
    with Ledger.open(tmp_path / "shared.db") as ledger, APIMaster(emu.api_key, base_url=emu.base_url) as client:
        buying = client.with_options(ledger=ledger)
        for name, usd, images in ((spent, "0.08", 2), (others[0], "0.05", 1), (others[1], None, 3)):
            ledger.set_budget(name, usd=usd)
            for _ in range(images):
                buying.generate("a cat", budget=name)
        before = len(emu.bill.charges)
        toolkit = make_toolkit(ledger=ledger, **limits)
        assert (toolkit.budget.name, toolkit.budget.spent_usd) == (spent, 2 * PRICE)
        assert draw(toolkit).startswith("The ")
        assert draw(make_toolkit(ledger=ledger, budget_usd="0.12")).startswith("img_")
        assert draw(make_toolkit(ledger=ledger, max_images=4)).startswith("img_")
        assert draw(make_toolkit(ledger=ledger, max_images=4)).startswith("The ")
        assert len(emu.bill.charges) == before + 2


def test_the_operators_limit_of_an_earlier_version_stays(emu: Any, make_toolkit: Any, tmp_path: Path) -> None:
    name = earlier_name(tmp_path / "store", "1 images")
    with Ledger.open(tmp_path / "shared.db") as ledger:
        ledger.set_budget(name, images=2)  # the version has made it with one
        for _ in range(2):
            toolkit = make_toolkit(ledger=ledger, max_images=1)
            assert (toolkit.budget.name, toolkit.budget.max_images) == (name, 2)
            assert draw(toolkit).startswith("img_")


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
