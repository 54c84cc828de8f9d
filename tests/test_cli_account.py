"""``apimaster account`` against the emulator: what it prints, and what it says if the gateway keeps no books."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster import Account, APIMaster, Charge
from apimaster.cli.account import _balance, _cells
from apimaster.cli.app import run
from apimaster.emulator import Emulator

PROMPT = "An orange cat\nat sunset, watercolor, with a very long\x1b[31m description"


@pytest.fixture
def emulator(apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The gateway that the command uses by default."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    return apimaster_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[APIMaster]:
    with APIMaster() as made:
        yield made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(["account", *words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "\x1b" not in printed.out + printed.err
        return code, printed.out, printed.err

    return call


@pytest.mark.apimaster_emulator(balance=5)
def test_balance_and_charges(command: Any, emulator: Emulator, client: APIMaster) -> None:
    task = client.submit(PROMPT, aspect_ratio="16:9", resolution="2K")
    emulator.script("task_failed")
    failed = client.submit("a cat")
    code, out, err = command()
    assert (code, err) == (0, "")
    lines = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "NOW", line) for line in out.splitlines()]
    model = task.model
    assert [re.split(r"\s{2,}", line) for line in lines] == [
        ["emulator-1: $4.95 of $5.00 left, $0.05 used"],
        ["NOW", "refund", "$0.0375", model, failed.id, "image generation failed"],
        ["NOW", "charge, refunded", "$0.0375", model, "1K", failed.id, "a cat"],
        ["NOW", "charge", "$0.05", model, "16:9", "2K", task.id, "An orange cat at sunset, watercolor, with a very…"],
    ]


def test_a_limit(command: Any, emulator: Emulator, client: APIMaster) -> None:
    for _ in range(3):
        client.submit("a cat")
    assert len(command("--limit", "2")[1].splitlines()) == 3
    assert len(emulator.requests_to("log")) == 1
    assert command("--limit", "0") == (
        0,
        "emulator-1: no limit of its own, so the account's balance is the limit, $0.1125 used\n",
        "",
    )
    assert len(emulator.requests_to("log")) == 1
    assert command("--limit", "-1")[0] == 2


def test_no_charges(command: Any, emulator: Emulator) -> None:
    assert command()[1].splitlines()[1:] == ["No charges yet."]


def test_json(command: Any, emulator: Emulator, client: APIMaster) -> None:
    task = client.submit("a cat")
    client.submit("a dog")
    code, out, _ = command("--json", "--limit", "1")
    document = json.loads(out)
    assert (code, out.count("\n"), document["account"]["used"]) == (0, 1, "0.075")
    (charge,) = map(Charge.model_validate, document["charges"])
    assert (charge.prompt, charge.cost, charge.model) == ("a dog", Decimal("0.0375"), task.model)


@pytest.mark.apimaster_emulator(account_routes=False)
def test_a_gateway_without_books(command: Any, emulator: Emulator) -> None:
    for words, kept in (((), "usage log"), (("--limit", "0"), "figures")):
        code, out, err = command(*words)
        assert (code, out) == (5, "")
        assert f"This gateway keeps no {kept} that this key can read" in err
        assert "Nothing was charged. Look at the account in the console" in err
    code, out, _ = command("--json")
    assert (code, '"type": "NotFoundError"' in out) == (5, True)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("log_refused", "keeps no usage log"), ("log_429", "It is safe to run the same command again later")],
)
def test_a_balance_without_a_log(command: Any, emulator: Emulator, fault: str, words: str) -> None:
    emulator.script(fault, times=2)
    code, out, err = command()
    assert (code, out.count("\n")) == (0, 1)
    assert words in err
    code, out, err = command("--json")
    assert (code, '"charges": null' in out) == (0, True)


def test_a_wrong_key(command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-wrong-key")
    assert command()[0] == 3


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        (Account(), "this key: no figures"),
        (Account(name="a\x1bb", available=Decimal(1)), "a b: $1.00 left"),
        (Account(name="a", unlimited=True), "a: no limit of its own, so the account's balance is the limit"),
        (Account(name="a", used=Decimal(0), expires_at=10**14), "a: $0.00 used, expires 100000000000000"),
    ],
)
def test_the_line_of_the_balance(figures: Account, line: str) -> None:
    assert _balance(figures) == line


def test_the_row_of_a_charge_without_details() -> None:
    cells = _cells(Charge(at=10**14, kind="other", cost=Decimal(0), content="topped\nup"))
    assert cells == ("100000000000000", "other", "$0.00", "", "", "", "", "topped up")


def test_a_row_that_could_not_be_read_has_no_date() -> None:
    assert _cells(Charge(at=0, kind="other", cost=Decimal(0))) == ("no date", "other", "$0.00", "", "", "", "", "")
