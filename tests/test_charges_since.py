"""The rows of the usage log since a time: which times are accepted, by whose clock, and how far the log reaches."""

from __future__ import annotations

import json
import logging
import math
import pickle
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest
from doors import DOORS, Door
from hand_driver import WALL, HandDriver, context, reply

from apimaster import APIMaster, BadRequestError, Charges
from apimaster._flows.account import charges_for_caller, charges_since
from apimaster._flows.operations import Reply
from apimaster._wire.account import read_log
from apimaster.cli.app import run
from apimaster.emulator import Emulator
from apimaster.ledger.arguments import start

HOUR = 3600.0


def log(*times: float | None, headers: dict[str, str] | None = None) -> Reply:
    rows = [{"created_at": at, "type": 2, "quota": 1, "request_id": str(at)} for at in times]
    return reply({"success": True, "data": rows}, headers=headers)


def found(answer: Reply, since: Any = None) -> list[float]:
    driver = HandDriver([answer])
    return [
        charge.at
        for charge in driver.run(charges_for_caller(context(), 60, None if since is None else start("since", since)))
    ]


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.mark.parametrize("kind", DOORS)
def test_every_kind_of_time(emu: Emulator, kind: str) -> None:
    door = Door(kind, emu)
    door("submit", "an old cat")
    emu.advance(2 * HOUR)
    door("submit", "a new cat")
    middle = emu.gateway.clock.unix_time() - HOUR
    aware = datetime.fromtimestamp(middle, timezone(timedelta(hours=-7)))
    naive = datetime.fromtimestamp(middle)  # this machine's time, on purpose
    for since in (middle, int(middle), aware, naive):
        assert [charge.prompt for charge in door("charges", since=since)] == ["a new cat"], since
    assert [charge.prompt for charge in door("charges")] == ["a new cat", "an old cat"]
    assert len(door("charges", since=0)) == len(door("charges", since=timedelta(days=1))) == 2


def test_a_span_counts_back_from_the_gateways_present() -> None:
    slow = {"date": formatdate(WALL - 1000, usegmt=True)}
    rows = (WALL - 1000, WALL - 1060, WALL - 1200)
    assert found(log(*rows, headers=slow), timedelta(seconds=90)) == [WALL - 1000, WALL - 1060]
    assert found(log(*rows), timedelta(seconds=1100)) == [WALL - 1000, WALL - 1060]
    assert found(log(*rows), timedelta(0)) == []


def test_a_row_of_that_very_second_and_one_without_a_date_are_kept() -> None:
    assert found(log(WALL - 1, None, WALL - 2, WALL - 3), WALL - 2) == [WALL - 1, 0, WALL - 2]


@pytest.mark.parametrize(
    "since",
    [
        "yesterday",
        "2026-11-25",
        b"1760000000",
        True,
        -1,
        -0.5,
        math.nan,
        math.inf,
        10**400,
        date(2026, 11, 25),
        datetime(1, 1, 1),
        datetime(1950, 1, 1, tzinfo=timezone.utc),
        timedelta(seconds=-1),
        Decimal(1760000000),
        [1760000000],
        {},
    ],
)
def test_what_is_no_time_is_refused_before_anything_is_sent(emu: Emulator, since: Any) -> None:
    for kind in ("sync", "async"):
        error = Door(kind, emu).error("charges", since=since)
        assert type(error) is BadRequestError
        assert "since must be unix seconds, a datetime, or a timedelta of 0 or more back from now, not" in error.message
    assert emu.requests == []


@pytest.mark.parametrize("since", [1.76e12, datetime(2999, 1, 1, tzinfo=timezone.utc), datetime(2999, 1, 1)])
def test_a_time_that_has_not_come_is_refused_before_anything_is_sent(emu: Emulator, since: Any) -> None:
    error = Door("sync", emu).error("charges", since=since)
    assert type(error) is BadRequestError
    assert "in the future" in error.message
    assert "milliseconds" in error.advice
    assert emu.requests == []


@pytest.mark.parametrize(
    ("rows", "since", "complete"),
    [
        (999, None, True),
        (999, WALL - 5000, True),
        (1000, None, False),
        (1000, WALL - 5000, False),
        (1000, WALL - 999, False),  # another one of the oldest second may be gone
        (1000, WALL - 998, True),
        (0, WALL, True),
    ],
)
def test_whether_the_log_reaches_back_that_far(
    caplog: pytest.LogCaptureFixture, rows: int, since: float | None, complete: bool
) -> None:
    caplog.set_level(logging.WARNING, logger="apimaster")
    driver = HandDriver([log(*(WALL - number for number in range(rows)))])
    got = driver.run(charges_for_caller(context(), 60, None if since is None else lambda _: since))
    assert isinstance(got, Charges)
    assert got.complete is complete
    assert len(got) == sum(since is None or WALL - number >= since for number in range(rows))
    assert ("does not reach back" in caplog.text) == (since is not None and not complete)


def test_the_rows_are_a_tuple_that_can_be_pickled() -> None:
    rows = read_log(log(WALL, WALL - 1))
    got = charges_since(rows, None)
    assert got == rows
    copy = pickle.loads(pickle.dumps(Charges(rows, complete=False)))
    assert (copy, copy.complete) == (rows, False)
    assert Charges().complete


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def command(emu: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("APIMASTER_BASE_URL", emu.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", emu.api_key)

    def call(*words: str) -> tuple[int, str, str]:
        code = run(["account", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_the_command_lists_all_since_then(emu: Emulator, command: Any) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        for _ in range(23):
            client.submit("a cat")
    assert len(command()[1].splitlines()) == 21
    assert len(command("--since", "1h")[1].splitlines()) == 24
    assert len(command("--since", "1h", "--limit", "2")[1].splitlines()) == 3
    document = json.loads(command("--since", "2020-01-01", "--json")[1])
    assert (len(document["charges"]), document["complete"]) == (23, True)
    assert json.loads(command("--json")[1])["complete"] is None


def test_the_command_without_a_charge_since_then(command: Any) -> None:
    assert command("--since", "1h")[1].splitlines()[1:] == ["No charges since then."]


def test_the_command_says_if_the_log_does_not_reach_back_that_far(emu: Emulator, command: Any) -> None:
    body = log(*(WALL + number for number in range(1000))).body.decode()
    emu.script("reply", on="log", status=200, body=body)
    code, out, err = command("--since", "2020-01-01")
    assert (code, len(out.splitlines())) == (0, 1001)
    assert "does not reach back that far" in err


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--since", ""], ["--since", "3 parsecs"]])
def test_the_command_refuses_what_is_no_time(emu: Emulator, command: Any, words: list[str]) -> None:
    code, _, err = command(*words)
    assert code == 2
    assert "accepted: an age such as 30m, 2h or 3d, or a date such as 2026-11-25" in err
    assert emu.requests == []
