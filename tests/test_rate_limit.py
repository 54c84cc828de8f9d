"""Turns for polls: never more per second than allowed, first come first served, slower after a refusal."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as some

from apimaster._polling.rate_limit import DEFAULT_POLLS_PER_SECOND, RateLimiter
from apimaster.errors import BadRequestError


@given(
    rate=some.floats(0.5, 5000.0),
    gaps=some.lists(some.floats(0.0, 0.5), min_size=1, max_size=300),
)
def test_no_window_holds_more_turns_than_the_rate_and_a_small_burst(rate: float, gaps: list[float]) -> None:
    rate_limiter, now, turns = RateLimiter(rate), 100.0, []
    for gap in gaps:
        now += gap
        wait = rate_limiter.reserve(now)
        assert wait >= 0.0
        turns.append(now + wait)
    assert turns == sorted(turns), "first come, first served"
    for index, start in enumerate(turns):
        within = sum(1 for turn in turns[index:] if turn < start + 1.0)
        assert within <= rate * 1.02 + 2


def test_an_idle_client_waits_for_nothing() -> None:
    rate_limiter = RateLimiter(10)
    assert [rate_limiter.reserve(now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 0.0]


def test_a_crowd_is_served_evenly() -> None:
    rate_limiter = RateLimiter(10)
    waits = [rate_limiter.reserve(5.0) for _ in range(50)]
    assert waits[-1] == pytest.approx(4.9, abs=0.05)
    assert max(b - a for a, b in itertools.pairwise(waits)) == pytest.approx(0.1)


def test_the_default_lets_a_thousand_quick_tasks_through_in_about_half_a_second() -> None:
    rate_limiter = RateLimiter()
    assert rate_limiter.rate(0.0) == DEFAULT_POLLS_PER_SECOND
    assert max(rate_limiter.reserve(0.0) for _ in range(1000)) <= 0.5


def test_a_refusal_halves_the_rate_of_asking_and_quiet_brings_it_back() -> None:
    rate_limiter = RateLimiter(2000)
    for number in range(200):
        rate_limiter.reserve(10.0 + number / 100)
    rate_limiter.slow_down(12.0)
    assert rate_limiter.rate(12.0) == pytest.approx(50.0, rel=0.05)  # it asked 100 times per second
    assert rate_limiter.rate(16.9) == rate_limiter.rate(12.0)
    assert rate_limiter.rate(22.0) == pytest.approx(2 * rate_limiter.rate(12.0))
    rates = [rate_limiter.rate(12.0 + second) for second in range(60)]
    assert rates == sorted(rates)
    assert rates[-1] == 2000


def test_refusals_of_polls_that_were_under_way_together_count_once() -> None:
    rate_limiter = RateLimiter(8)
    for number in range(40):
        rate_limiter.reserve(float(number) / 8)
    rate_limiter.slow_down(5.0)
    slowed = rate_limiter.rate(5.0)
    for _ in range(20):
        rate_limiter.slow_down(5.5)
    assert rate_limiter.rate(5.5) == slowed


def test_endless_refusals_never_stop_the_looks() -> None:
    rate_limiter = RateLimiter(100)
    for second in range(0, 600, 2):
        rate_limiter.reserve(float(second))
        rate_limiter.slow_down(float(second))
    assert rate_limiter.rate(600.0) == 0.5
    assert RateLimiter(0.1).rate(0.0) == 0.1


def test_a_slow_limit_is_not_raised_by_a_refusal() -> None:
    rate_limiter = RateLimiter(0.1)
    rate_limiter.slow_down(1.0)
    assert rate_limiter.rate(1.0) == 0.1


@pytest.mark.parametrize(("retry_after", "wait"), [(3.0, 3.0), (0.0, 0.0), (None, 0.0), (3600.0, 30.0)])
def test_retry_after_holds_everybody_but_not_for_ever(retry_after: float | None, wait: float) -> None:
    rate_limiter = RateLimiter(100)
    rate_limiter.slow_down(50.0, retry_after)
    assert rate_limiter.reserve(50.0) == pytest.approx(wait, abs=0.05)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), True, "9"])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(BadRequestError, match="max_polls_per_second must be a finite number above 0"):
        RateLimiter(limit)  # type: ignore[arg-type]


def test_threads_share_a_pacer() -> None:
    rate_limiter = RateLimiter(1000)
    waits: list[float] = []

    def take() -> None:
        waits.extend([rate_limiter.reserve(0.0) for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(waits) == pytest.approx(1.98, abs=0.02)
