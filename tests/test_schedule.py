"""When to poll again: bounds that always hold, and simulations of the crowds and single tasks it is made for."""

from __future__ import annotations

import itertools
import math
import statistics
import threading
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from poll_simulation import KEY, Figures, scattered, simulate, whole_percents

from apimaster._polling.history import History
from apimaster._polling.schedule import (
    LONGEST_BLIND_STEP,
    LONGEST_DELAY,
    SCOUTS,
    SHORTEST_STEP,
    TaskSchedule,
    next_delay,
)

# --- what always holds --------------------------------------------------------------------------------------

seconds = some.floats(allow_nan=True, allow_infinity=True, width=32)
sensible = some.floats(0.0, 5000.0)


@pytest.fixture(autouse=True)
def soon() -> None:
    """Polls are due when the schedule says: that is what these tests are about."""


NOTHING_ELSE: dict[str, Any] = {"last": None, "earlier": None, "trusted": None, "known": [], "place": 0.0}


@example(elapsed=0.0, progress=1.0, progress_at=math.inf, **NOTHING_ELSE)
@example(elapsed=0.0, progress=100.0, progress_at=3e38, **NOTHING_ELSE)
@example(elapsed=3e38, progress=1e-45, progress_at=None, **NOTHING_ELSE)
@given(
    elapsed=seconds,
    progress=some.none() | seconds,
    known=some.lists(some.floats(0.0, 3000.0), max_size=70).map(sorted),
    place=seconds,
    last=some.none() | seconds,
    progress_at=some.none() | seconds,
    earlier=some.none() | some.tuples(seconds, seconds),
    trusted=some.sampled_from([None, False, True]),
)
def test_the_delay_is_always_a_finite_number_within_bounds(
    elapsed: float,
    progress: float | None,
    known: list[float],
    place: float,
    last: float | None,
    progress_at: float | None,
    earlier: tuple[float, float] | None,
    trusted: bool | None,
) -> None:
    delay = next_delay(
        elapsed,
        progress=progress,
        known=known,
        place=place,
        last=last,
        progress_at=progress_at,
        earlier=earlier,
        trusted=trusted,
    )
    assert 0.0 <= delay <= LONGEST_DELAY
    if last is None:
        assert delay >= SHORTEST_STEP


@given(elapsed=sensible, known=some.lists(sensible, max_size=70).map(sorted), place=some.floats(0.0, 1.0))
def test_asking_again_before_a_poll_does_not_move_it(elapsed: float, known: list[float], place: float) -> None:
    first = next_delay(elapsed, known=known, place=place)
    if first == LONGEST_DELAY:
        return
    half_way = next_delay(elapsed + first / 2, known=known, place=place, last=elapsed)
    assert half_way == pytest.approx(first / 2, abs=1e-6) or elapsed == 0.0


@given(elapsed=sensible, place=some.floats(0.0, 0.99))
def test_without_knowledge_no_step_after_the_first_exceeds_five_seconds(elapsed: float, place: float) -> None:
    blind = next_delay(elapsed + 0.01, place=place)
    assert blind <= LONGEST_BLIND_STEP + 1e-6


@pytest.mark.parametrize("figure", [0.0, -5.0, 250.0, math.nan, math.inf])
def test_impossible_progress_counts_as_none(figure: float) -> None:
    assert next_delay(3.0, progress=figure) == next_delay(3.0)


# --- one task -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("duration", "most_polls"), [(2.0, 3), (19.0, 10), (20.0, 10), (60.0, 22)])
def test_a_single_task_without_history_is_known_within_a_tenth_of_its_duration(
    duration: float, most_polls: int
) -> None:
    outcome = simulate([duration])
    assert outcome.lateness <= 0.1 * duration
    assert outcome.polls <= most_polls


def test_typical_jobs_without_history_are_a_tenth_late_at_most_on_average() -> None:
    durations = scattered(60, 7, median=19.0)
    outcomes = [simulate([duration]) for duration in durations]
    assert statistics.mean(o.lateness / d for o, d in zip(outcomes, durations, strict=True)) <= 0.1
    assert statistics.mean(o.polls for o in outcomes) <= 11


@pytest.mark.parametrize("duration", [0.05, 0.3, 1.0, 2.0, 5.0])
def test_a_quick_job_is_never_left_for_long(duration: float) -> None:
    assert simulate([duration]).lateness <= 2.1


def test_a_very_long_task_is_polled_every_five_seconds() -> None:
    outcome = simulate([900.0])
    assert outcome.lateness <= 5.1
    assert outcome.longest_step <= LONGEST_BLIND_STEP + 0.1
    assert outcome.polls <= 200


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(lambda share: 0.0, id="stuck at nothing"),
        pytest.param(lambda share: 50.0, id="stuck in the middle"),
        pytest.param(lambda share: 99.0, id="at 99 all the time"),
        pytest.param(lambda share: min(99.0, 300.0 * share), id="at 99 after a third"),
        pytest.param(lambda share: 10.0 * int(10 * share), id="in tens"),
        pytest.param(lambda share: float(int(40 * share)), id="ends at 40"),
        pytest.param(lambda share: 60.0 if share < 0.5 else 20.0, id="goes back"),
        pytest.param(lambda share: None, id="none"),
    ],
)
@pytest.mark.parametrize("duration", [2.0, 19.0, 60.0])
def test_progress_figures_that_mislead_cost_little(figures: Figures, duration: float) -> None:
    plain, misled = simulate([duration]), simulate([duration], progress=figures)
    assert misled.lateness <= max(0.65 * duration, plain.lateness) if duration < 10 else 0.25 * duration
    assert misled.polls <= 2 * plain.polls + 4


@pytest.mark.parametrize("duration", [2.0, 5.0, 19.0, 60.0, 900.0])
def test_exact_progress_makes_the_last_poll_exact(duration: float) -> None:
    exact, plain = simulate([duration], progress=whole_percents), simulate([duration])
    assert exact.lateness <= 0.02 * duration + 0.02
    assert exact.polls <= plain.polls


# --- one after the other ------------------------------------------------------------------------------------


def test_a_sequence_of_equal_tasks_needs_about_one_poll_each() -> None:
    history = History()
    outcomes = [simulate([2.0], history=history) for _ in range(60)][10:]
    assert statistics.mean(o.polls for o in outcomes) <= 1.5
    assert statistics.mean(o.lateness for o in outcomes) <= 0.08


def test_a_row_of_scattered_jobs_is_better_than_without_memory() -> None:
    history = History()
    durations = scattered(60, 5, median=19.0, sigma=0.2)
    learned = [simulate([duration], history=history) for duration in durations][10:]
    blind = [simulate([duration]) for duration in durations][10:]
    assert statistics.mean(o.lateness for o in learned) <= statistics.mean(o.lateness for o in blind)
    assert statistics.mean(o.polls for o in learned) <= 0.7 * statistics.mean(o.polls for o in blind)


@pytest.mark.parametrize(("before", "after"), [(20.0, 5.0), (5.0, 20.0)])
def test_jobs_that_become_quicker_or_slower_are_noticed(before: float, after: float) -> None:
    history = History()
    for _ in range(60):
        simulate([before], history=history)
    outcomes = [simulate([after], history=history) for _ in range(100)]
    assert statistics.mean(o.lateness for o in outcomes[70:]) <= 0.25 * after


# --- many at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("submitted_over", [0.5, 0.7, 1.0])
def test_a_thousand_equal_tasks_at_once_with_no_history(submitted_over: float) -> None:
    outcome = simulate([2.0] * 1000, submitted_over=submitted_over)
    assert outcome.lateness <= 0.15
    assert outcome.polls <= 2.0
    assert outcome.behind <= 0.5


def test_a_thousand_equal_tasks_through_one_busy_processor() -> None:
    outcome = simulate([2.0] * 1000, submitted_over=0.8, processor=0.0005)
    assert outcome.lateness <= 0.25
    assert outcome.polls <= 2.0
    assert outcome.behind <= 1.0


def test_a_thousand_real_jobs_at_once_stay_polite() -> None:
    outcome = simulate(scattered(1000, 3, median=19.0), submitted_over=1.0)
    assert outcome.lateness <= 2.0
    assert outcome.polls <= 12


@pytest.mark.parametrize(
    ("progress", "lateness", "polls"),
    [pytest.param(None, 0.175, 4.9, id="blind"), pytest.param(whole_percents, 0.06, 2.5, id="progress")],
)
def test_a_hundred_scattered_tasks_with_no_history(progress: Figures | None, lateness: float, polls: float) -> None:
    outcomes = [simulate(scattered(100, seed), submitted_over=0.07, progress=progress) for seed in range(6)]
    assert statistics.mean(o.lateness for o in outcomes) <= lateness
    assert statistics.mean(o.polls for o in outcomes) <= polls


@pytest.mark.parametrize(
    ("progress", "lateness", "polls"),
    [pytest.param(None, 0.175, 4.5, id="blind"), pytest.param(whole_percents, 0.05, 2.5, id="progress")],
)
def test_a_hundred_scattered_tasks_after_a_hundred_others(
    progress: Figures | None, lateness: float, polls: float
) -> None:
    outcomes = []
    for seed in range(6):
        history = History()
        simulate(scattered(100, seed + 50), submitted_over=0.07, progress=progress, history=history)
        outcomes.append(simulate(scattered(100, seed), submitted_over=0.07, progress=progress, history=history))
    assert statistics.mean(o.lateness for o in outcomes) <= lateness
    assert statistics.mean(o.polls for o in outcomes) <= polls


# --- memory -------------------------------------------------------------------------------------------------


def test_intervals_of_equal_jobs_give_their_length_where_they_overlap() -> None:
    history = History()
    for lower, upper in [(1.5, 2.2), (1.9, 2.6), (1.2, 2.05), (1.95, 3.0)]:
        history.observe(KEY, lower, upper)
    assert all(1.95 <= duration <= 2.05 for duration in history.known(KEY))
    assert len(history.known(KEY)) == 4


@given(some.lists(some.tuples(some.floats(0, 100), some.floats(0, 100)).map(sorted), min_size=1, max_size=200))
def test_known_durations_are_sorted_and_lie_in_the_intervals(intervals: list[list[float]]) -> None:
    history = History()
    for lower, upper in intervals:
        history.observe(KEY, lower, upper)
    known = history.known(KEY)
    assert list(known) == sorted(known)
    assert len(known) <= 144
    assert all(min(i[0] for i in intervals) <= duration <= max(i[1] for i in intervals) for duration in known)


@pytest.mark.parametrize(("lower", "upper"), [(3.0, 2.0), (math.nan, 2.0), (1.0, math.nan), (1.0, math.inf)])
def test_an_interval_that_is_none_is_ignored(lower: float, upper: float) -> None:
    history = History()
    history.observe(KEY, lower, upper)
    assert history.known(KEY) == ()


def test_kinds_of_jobs_are_kept_apart_and_the_oldest_are_forgotten() -> None:
    history = History()
    history.observe(KEY, 1.9, 2.0)
    history.observe(("some-model", "4K"), 40.0, 41.0)
    assert history.known(KEY)[0] < 3 < history.known(("some-model", "4K"))[0]
    for number in range(300):
        history.observe((f"model-{number}", "1K"), 1.0, 1.1)
    assert history.known(KEY) == ()


def test_the_snapshot_is_made_once_until_there_is_news() -> None:
    history = History()
    history.observe(KEY, 1.9, 2.0)
    assert history.known(KEY) is history.known(KEY)


def test_places_begin_with_scouts_and_then_fill_evenly() -> None:
    history = History()
    places = [history.place(KEY) for _ in range(1000)]
    assert places[0] == 0.0
    assert all(place < SCOUTS for place in places[:16])
    rest = sorted(places[16:])
    assert all(0.0 <= place < 1.0 for place in rest)
    assert max(b - a for a, b in itertools.pairwise(rest)) < 0.005


def test_threads_share_a_history() -> None:
    history = History()

    def observe() -> None:
        for number in range(200):
            history.observe(KEY, 1.0, 1.0 + number / 1000)
            history.known(KEY)
            history.place(KEY)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.known(KEY)) == 128
    assert history.place(KEY) == pytest.approx(800 * 0.6180339887498949 % 1.0)


def test_a_task_of_another_process_teaches_nothing_and_takes_no_place() -> None:
    history = History()
    schedule = TaskSchedule(history, KEY, fresh=False)
    schedule.polled(0.0, 0.1, done=False, progress=None)
    schedule.polled(3.0, 3.1, done=True, progress=None)
    assert history.known(KEY) == ()
    assert history.place(KEY) == 0.0
