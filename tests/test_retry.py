"""The rules of retries: pure functions, in tables."""

from __future__ import annotations

import pytest

from apimaster import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    DownloadError,
    InternalServerError,
    NoImageError,
    OutcomeUnknownError,
    RateLimitError,
    TaskTimeoutError,
)
from apimaster._flows.retry import RetryPolicy
from apimaster._wire.retry_after import parse_retry_after

WALL = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
POLICY = RetryPolicy(max_retries=3, base=0.5, cap=8.0, dice=lambda: 1.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 08:00:30", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Friday, 15-Jan-27 08:00:05 GMT", 5.0),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, WALL) == seconds


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (APIConnectionError("x"), True),
        (RateLimitError("x"), True),
        (InternalServerError("x"), True),
        (OutcomeUnknownError("x"), False),
        (NoImageError("x"), False),
        (TaskTimeoutError("x"), False),
        (DownloadError("x"), False),
        (BadRequestError("x"), False),
        (AuthenticationError("x"), False),
        (InternalServerError("x", billed="maybe"), False),
    ],
)
def test_only_errors_that_provably_cost_nothing_are_retried(error: APIMasterError, retried: bool) -> None:
    assert (POLICY.pause(1, error) is not None) is retried


def test_pauses_double_up_to_the_cap_and_end() -> None:
    error = InternalServerError("x")
    patient = RetryPolicy(max_retries=40, base=0.5, cap=8.0, dice=lambda: 1.0)
    assert [patient.pause(attempt, error) for attempt in (1, 2, 3, 4, 5, 6, 40)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert [POLICY.pause(attempt, error) is None for attempt in (1, 3, 4)] == [False, False, True]
    assert RetryPolicy(max_retries=0).pause(1, error) is None


def test_half_of_a_pause_is_random() -> None:
    assert RetryPolicy(dice=lambda: 0.0).backoff(1) == 0.25
    assert RetryPolicy(dice=lambda: 0.5).backoff(1) == 0.375


def test_retry_after_replaces_the_backoff() -> None:
    assert POLICY.pause(1, RateLimitError("x", retry_after=11.0)) == 11.0
    assert POLICY.pause(1, RateLimitError("x", retry_after=0.0)) == 0.0
