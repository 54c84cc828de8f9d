"""The tables of what each rule of the polling buys, and the benchmark that they come from."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from poll_simulation import PollsPerWindow, RefusesFor, scattered, simulate

from apimaster._polling import rate_limit, schedule
from apimaster._polling.rate_limit import RateLimiter


@pytest.fixture(autouse=True)
def soon() -> None:
    """Polls are due when the schedule says: that is what these tests are about."""


@pytest.fixture
def poll_rules(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    return importlib.import_module("benchmarks.poll_rules")


def rows(module: ModuleType) -> list[tuple[str, str]]:
    """Rule and scenario of each row of the table in a module's docstring."""
    table = re.split(r"^=[= ]+$", module.__doc__ or "", flags=re.MULTILINE)[2]
    cells = [re.split(r"  +", line) for line in table.strip().splitlines()]
    return [(rule, scenario) for rule, scenario, *_ in cells]


@pytest.mark.parametrize("rules", ["RULES", "LIMITER_RULES"])
def test_each_rule_takes_away_something_that_exists(poll_rules: Any, rules: str) -> None:
    for patch in getattr(poll_rules, rules).values():
        with patch():  # raises AttributeError if there is nothing of that name
            pass


@pytest.mark.parametrize(
    ("module", "rules", "scenarios"),
    [
        pytest.param(schedule, "RULES", "SCENARIOS", id="schedule"),
        pytest.param(rate_limit, "LIMITER_RULES", "LIMITED", id="rate_limit"),
    ],
)
def test_the_table_has_each_rule_of_the_benchmark(
    poll_rules: Any, module: ModuleType, rules: str, scenarios: str
) -> None:
    table = rows(module)
    assert [rule for rule, _ in table] == list(getattr(poll_rules, rules))
    assert {scenario for _, scenario in table} <= {"(none)", *getattr(poll_rules, scenarios)}


def test_a_rule_that_names_nothing_is_noticed(poll_rules: Any) -> None:
    with pytest.raises(AttributeError), poll_rules.constants(_NO_SUCH_RULE=1.0)():
        pass


@pytest.mark.parametrize("tells", [False, True])
def test_the_simulated_gateway_refuses_what_is_above_its_rate(tells: bool) -> None:
    gateway = PollsPerWindow(2, 10.0, tells=tells)
    assert [gateway.refuses(now) for now in (0.0, 1.0, 4.0, 9.0, 10.0)] == [False, False, True, True, False]
    assert gateway.retry_after(16.0) == (4.0 if tells else None)


def test_a_crowd_at_a_gateway_that_refuses_is_known_in_the_end_and_the_same_each_time() -> None:
    durations = scattered(200, 1, 19.0)
    first, second = (
        simulate(durations, exchange=0.1, rate_limiter=RateLimiter(), gateway=PollsPerWindow(20)) for _ in range(2)
    )
    assert first == second
    assert 0.0 < first.refused <= 2.0
    assert first.lateness <= 10.0


def test_one_refusal_is_one_refusal() -> None:
    outcome = simulate([19.0] * 10, rate_limiter=RateLimiter(), gateway=RefusesFor(5.0, 60.0, once=True))
    assert outcome.refused == pytest.approx(0.1)
