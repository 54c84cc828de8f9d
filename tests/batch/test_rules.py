"""The pure rules: limits, the shared pause, error actions, the tally, the plan in words; and the folder's lock."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import forked
import pytest

from apimaster import errors
from apimaster.batch.error_actions import action_after_task, action_before_task
from apimaster.batch.ledger_records import PlannedGroup, StateCount
from apimaster.batch.lock import DirectoryLock, DirectoryLocked
from apimaster.batch.options import RunOptions, check_options, read_max_cost
from apimaster.batch.plan import count_affordable, make_plan
from apimaster.batch.tally import Tally
from apimaster.batch.throttle import Throttle
from apimaster.cli.batch.wording import duration, plan_lines
from apimaster.errors import BadRequestError

PRICE = Decimal("0.0375")


# --- limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "images", "groups", "expected"),
    [
        (None, None, [(PRICE, 4), (None, 2)], (6, "0.15")),
        ("0.10", None, [(PRICE, 4)], (2, "0.075")),
        ("0.10", None, [(PRICE, 1), (Decimal("0.075"), 1), (PRICE, 1)], (1, "0.0375")),
        (None, 3, [(PRICE, 2), (PRICE, 2)], (3, "0.1125")),
        ("0", None, [(PRICE, 1)], (0, "0")),
        ("1", None, [(None, 1)], (0, "0")),
    ],
)
def test_how_many_images_are_affordable(limit: Any, images: Any, groups: Any, expected: tuple[int, str]) -> None:
    count, cost = count_affordable(groups, images, read_max_cost(limit))
    assert (count, cost) == (expected[0], Decimal(expected[1]))


@pytest.mark.parametrize("value", ["ten", -1, True, "nan", float("inf"), ""])
def test_a_limit_is_an_amount(value: Any) -> None:
    with pytest.raises(BadRequestError, match="max_cost must be"):
        read_max_cost(value)


def test_limits_are_read_exactly() -> None:
    assert read_max_cost(0.1) == Decimal("0.1")
    assert read_max_cost(" $2.50 ") == Decimal("2.50")
    with pytest.raises(BadRequestError, match="max_images"):
        check_options(max_images=-1)


# --- the shared pause ---------------------------------------------------------------------------------


def test_one_burst_of_refusals_is_one_pause() -> None:
    throttle = Throttle(64, random_number=lambda: 1.0)
    assert throttle.refused(10.0, 40) == 1.0
    for _ in range(30):
        throttle.refused(10.1, 40)
    assert (throttle.ceiling, throttle.refusals) == (30, 1)
    assert throttle.pause(10.5) == pytest.approx(0.5)
    assert throttle.refused(11.0, 10) == 2.0
    assert throttle.ceiling == 7
    assert throttle.refused(13.5, 0) == 4.0
    assert throttle.ceiling == 1


def test_the_gateway_says_how_long() -> None:
    throttle = Throttle(8, random_number=lambda: 0.0)
    assert throttle.refused(0.0, 8, 90.0) == 90.0
    assert throttle.refused(1.0, 8, 120.0) == 120.0, "the longest of a burst counts"
    assert throttle.pause(1.0) == 120.0


def test_the_ceiling_comes_back_one_per_round_and_no_further() -> None:
    throttle = Throttle(8, random_number=lambda: 1.0)
    throttle.refused(0.0, 8)
    assert throttle.ceiling == 6
    for _ in range(7):
        throttle.accepted()
    assert (throttle.ceiling, throttle.refusals) == (7, 0)
    for _ in range(100):
        throttle.accepted()
    assert throttle.ceiling == 8


def test_an_unreachable_gateway_is_no_reason_for_fewer_at_once() -> None:
    throttle = Throttle(8)
    throttle.refused(0.0, 8, rate_limited=False)
    assert throttle.ceiling == 8


# --- error actions -----------------------------------------------------------------------------------------

_BEFORE = {
    "RateLimitError": "slow_down",
    "APIConnectionError": "wait_for_network",
    "InternalServerError": "retry",
    "GenerationFailedError": "retry",
    "AuthenticationError": "stop",
    "PermissionDeniedError": "stop",
    "InsufficientBalanceError": "stop",
    "NotFoundError": "stop",
    "ContentPolicyError": "fail",
    "ReferenceImageError": "fail",
    "OutcomeUnknownError": "mark_unknown",
    "NoImageError": "mark_unknown",
    "TaskTimeoutError": "mark_unknown",
    "DownloadError": "mark_unknown",
    "ResultExpiredError": "mark_unknown",
    "BudgetExceededError": "fail",
    "LedgerError": "stop",
    "APIMasterError": "fail",
    "BadRequestError": "stop",
}
_AFTER = {
    "GenerationFailedError": "fail",
    "ContentPolicyError": "fail",
    "NoImageError": "mark_unknown",
    "ResultExpiredError": "mark_unknown",
    "DownloadError": "keep",
    "TaskTimeoutError": "keep",
    "AuthenticationError": "stop",
    "PermissionDeniedError": "stop",
    "InsufficientBalanceError": "stop",
    "NotFoundError": "mark_unknown",
}


def every_error() -> list[type[errors.APIMasterError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, errors.APIMasterError)]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_a_submit_has_an_action(kind: type[errors.APIMasterError]) -> None:
    action = action_before_task(kind("x"))
    assert action == _BEFORE[kind.__name__]
    if kind.billed != "no":
        assert action == "mark_unknown", "never planned again"


def test_what_the_gateway_refused_is_not_what_the_folder_refused() -> None:
    assert action_before_task(BadRequestError("x", status_code=400)) == "fail"


@pytest.mark.parametrize("name", _AFTER)
def test_errors_after_the_charge(name: str) -> None:
    assert action_after_task(getattr(errors, name)("x")) == _AFTER[name]


# --- the tally ----------------------------------------------------------------------------------------


def counts() -> list[StateCount]:
    zero = Decimal(0)
    return [
        StateCount("planned", True, PRICE, 10, zero),
        StateCount("planned", False, PRICE, 2, zero),
        StateCount("saved", True, PRICE, 4, PRICE),
        StateCount("unknown", False, PRICE, 1, zero),
    ]


def test_the_tally_follows_the_ledger() -> None:
    tally = Tally(counts(), 0.0)
    assert (tally.total, tally.set_aside, tally.spent, tally.to_come) == (15, 2, PRICE * 6, PRICE * 10)
    zero = Decimal(0)
    tally.update([StateCount("planned", True, PRICE, 9, zero), StateCount("submitting", True, PRICE, 1, zero)], 1.0)
    assert (tally.spent, tally.to_come, tally.running, tally.spent_images) == (PRICE, PRICE * 9, 1, 1)
    for second in range(60):
        tally.update([StateCount("saved", True, PRICE, second + 1, zero)], 60.0 + second)
    assert tally.per_minute(120.0) == pytest.approx(30.0)
    assert tally.per_minute(400.0) == 0.0
    assert tally.seconds_left(400.0) is None


def test_a_plan_tells_what_it_costs_and_what_fits() -> None:
    groups = [PlannedGroup("m", "2K", PRICE, 4), PlannedGroup("m", None, PRICE, 6)]
    options = RunOptions(max_cost=Decimal("0.30"), retry_unknown=True)
    plan = make_plan(counts(), groups, options, new=3, died=1, retried_failed=0, retried_unknown=2)
    text = "\n".join(plan_lines(plan))
    assert "To submit: 10 images, $0.375." in text
    assert "The limit is $0.30 for this folder: that is enough for 2 images, $0.075." in text
    for part in ("second charge", "$0.225", "became unknown", "2 images of an earlier one", "4 saved"):
        assert part in text
    assert not plan.nothing_to_do


def test_a_cost_limit_needs_prices() -> None:
    with pytest.raises(BadRequestError, match="price of midjourney"):
        make_plan(
            [],
            [PlannedGroup("midjourney", None, None, 2)],
            RunOptions(max_cost=Decimal(1)),
            new=0,
            died=0,
            retried_failed=0,
            retried_unknown=0,
        )


@pytest.mark.parametrize(("seconds", "text"), [(4.2, "4 s"), (125, "2 min"), (7500, "2 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- who uses a folder --------------------------------------------------------------------------------

_LOCK = """
import sys
from pathlib import Path
from apimaster.batch.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.readline()
lock.share()
print("shared", flush=True)
sys.stdin.read()
"""
_EARLIER_VERSION = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1] + "/.lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.write(descriptor, b"process 12 on here\\n")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_processes_share_a_folder_and_the_first_one_knows_that_it_is_alone(tmp_path: Path) -> None:
    assert DirectoryLock(tmp_path).in_use() == (False, None)
    with forked.start(["-c", _LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "True\n"
        assert DirectoryLock(tmp_path).in_use() == (True, None)
        with ThreadPoolExecutor(1) as pool:
            lock = DirectoryLock(tmp_path)
            alone = pool.submit(lock.acquire)
            assert not alone.done(), "nobody comes in before the first one has begun"
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == "shared\n"
            assert alone.result(20) is False
        other.kill()
        other.wait()
    third = DirectoryLock(tmp_path)
    assert third.acquire() is False, "the second one is still there"
    assert not lock.is_last()
    lock.release()
    assert third.is_last()
    third.release()
    assert third.acquire() is True, "a killed process leaves nothing behind"
    third.release()


@pytest.mark.skipif(os.name == "nt", reason="it locks as earlier versions do on POSIX")
def test_a_process_of_an_earlier_version_has_the_folder_for_itself(tmp_path: Path) -> None:
    words = ["-c", _EARLIER_VERSION, str(tmp_path)]
    with forked.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert DirectoryLock(tmp_path).in_use() == (True, "process 12 on here")
        with pytest.raises(DirectoryLocked, match="in use by process 12 on here"):
            DirectoryLock(tmp_path).acquire()
        other.kill()
    assert DirectoryLock(tmp_path).acquire() is True
