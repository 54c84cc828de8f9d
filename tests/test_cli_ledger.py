"""``apimaster ledger``, and the ledger of ``generate`` and ``task``: against the emulator, and as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster, OutcomeUnknownError
from apimaster.cli.app import run
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

PLACE = "purchases.db"


@pytest.fixture
def emulator(apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The gateway that the command uses by default, and a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    monkeypatch.delenv("APIMASTER_LEDGER", raising=False)
    return apimaster_emulator


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str) -> tuple[int, str, str]:
        code = run([*words, *(["--ledger", PLACE] if words[0] == "ledger" and "--ledger" not in words else [])])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "\x1b" not in printed.out + printed.err
        return code, printed.out, printed.err

    return call


def buy(command: Any, key: str, *words: str, prompt: str = "a castle") -> tuple[int, str, str]:
    result: tuple[int, str, str] = command(
        "generate", prompt, "--idempotency-key", key, "--ledger", PLACE, "-r", "0.5K", *words
    )
    return result


def lose(emulator: Emulator, *keys: str, fault: str = "cut_after_acceptance") -> None:
    """Purchases whose outcome nobody knows."""
    with Ledger.open(PLACE, settle_after=0) as ledger, APIMaster(ledger=ledger) as client:
        for key in keys:
            emulator.script(fault)
            with pytest.raises(OutcomeUnknownError):
                client.generate(f"castle {key}", idempotency_key=key)


def test_the_same_key_is_bought_once(command: Any, emulator: Emulator) -> None:
    code, out, err = buy(command, "one", "-o", "a.png")
    assert (code, out.split()[-1], "Bought before" in err) == (0, "$0.0375", False)
    code, out, err = buy(command, "one", "-o", "b.png")
    assert (code, out.split()[0], out.split()[-1]) == (0, "b.png", "$0.00")
    assert "Bought before with this idempotency key: nothing was charged now." in err
    document = json.loads(buy(command, "one", "-o", "c.png", "--json")[1])
    assert (document["replayed"], document["cost"], document["replayed_cost"]) == (True, "0.0375", "0.0375")
    assert len(emulator.bill.charges) == 1
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_the_same_key_for_another_request_is_refused(command: Any, emulator: Emulator) -> None:
    assert buy(command, "one")[0] == 0
    code, _, err = buy(command, "one", prompt="a tower")
    assert (code, "stands for another request" in err) == (2, True)
    assert len(emulator.bill.charges) == 1


def test_a_budget_stops_a_purchase(command: Any, emulator: Emulator) -> None:
    assert buy(command, "one", "--budget", "small")[0] == 2  # there is none of that name
    assert command("ledger", "budget", "small", "--usd", "0.05")[1].split() == [
        "small",
        "$0.00",
        "of",
        "$0.05",
        "0",
        "images",
        "$0.05",
        "left",
    ]
    assert buy(command, "one", "--budget", "small")[0] == 0
    code, _, err = buy(command, "two", "--budget", "small")
    assert (code, "has $0.0125 left" in err) == (4, True)
    assert command("ledger", "budget", "small", "--images", "7")[1].split()[1:6] == [
        "$0.0375",
        "of",
        "$0.05",
        "1",
        "of",
    ]
    assert command("ledger", "budget", "small", "--usd", "none")[1].split() == [
        "small",
        "$0.0375",
        "1",
        "of",
        "7",
        "images",
    ]
    document = json.loads(command("ledger", "budget", "--json")[1])
    assert [(each["name"], each["max_usd"], each["max_images"]) for each in document["budgets"]] == [("small", None, 7)]
    assert command("ledger", "budget", "other")[0] == 2
    assert command("ledger", "budget", "--usd", "1")[0] == 2
    assert command("ledger", "budget", "small", "--usd", "-1")[0] == 2
    assert command("ledger", "budget", "small", "--images", "many")[0] == 2


def test_list_and_show(command: Any, emulator: Emulator) -> None:
    buy(command, "old", "-n", "2")
    command("ledger", "budget", "b", "--usd", "1")
    buy(command, "new", "--budget", "b", prompt="a castle\nin \x1b[31mfog, " + "very " * 20)
    code, out, _ = command("ledger", "list")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[2] for line in lines] == ["saved"] * 3
    assert "new [0]" in lines[0]
    assert "b  task_" in lines[0]
    assert {"old [0]", "old [1]"} == {line[line.index("old") :][:7] for line in lines[1:]}
    listed = [json.loads(line) for line in command("ledger", "list", "--json", "--limit", "2")[1].splitlines()]
    assert [each["key"] for each in listed] == ["new", "old"]
    assert command("ledger", "list", "--budget", "b", "--since", "2h")[1].count("\n") == 1
    assert command("ledger", "list", "--since", "2999-01-01")[1:] == ("", "No such purchases.\n")
    assert command("ledger", "list", "--state", "failed", "--state", "unknown")[1] == ""
    assert command("ledger", "list", "--state", "odd")[0] == 2
    assert command("ledger", "list", "--since", "yesterday")[0] == 2
    code, out, _ = command("ledger", "show", "old")
    assert (code, out.count("old ["), out.count("  picture")) == (0, 2, 2)
    assert "Nothing is left to do." in out
    assert [each["index"] for each in json.loads(command("ledger", "show", "old", "--json")[1])["purchases"]] == [0, 1]
    assert command("ledger", "show", "none")[0] == 2


def test_settle(command: Any, emulator: Emulator) -> None:
    lose(emulator, "one", "two")
    lose(emulator, "nothing", fault="cut_before_acceptance")
    code, out, _ = command("ledger", "show", "one")
    assert (code, "`apimaster ledger settle one`" in out) == (0, True)
    code, _, err = command("generate", "castle nothing", "--idempotency-key", "nothing", "--ledger", PLACE)
    assert (code, "`apimaster ledger settle`" in err, "client." in err) == (7, True, False)
    code, out, _ = command("ledger", "settle", "one", "two", "--save-to", "found")
    assert (code, out.count("recovered      ")) == (0, 2)
    assert len(list(Path("found").iterdir())) == 2
    code, out, _ = command("ledger", "settle")  # the command waits a minute before absence counts
    assert (code, out.startswith("still unknown  nothing [0]  "), "look again in" in out) == (7, True, True)
    charges = len(emulator.bill.charges)
    assert command("generate", "castle one", "--idempotency-key", "one", "--ledger", PLACE)[0] == 0
    assert len(emulator.bill.charges) == charges
    assert [each["key"] for each in json.loads(command("ledger", "settle", "--json")[1])["still_unknown"]] == [
        "nothing"
    ]


def test_settle_names_keys_that_the_ledger_does_not_hold(command: Any, emulator: Emulator) -> None:
    lose(emulator, "one", "two")
    requests = len(emulator.requests)
    code, out, err = command("ledger", "settle", "typo", "other")
    assert (code, out, "the ledger holds no purchase 'typo', 'other'" in err) == (2, "", True)
    assert len(emulator.requests) == requests
    assert (
        command("ledger", "list", "--state", "unknown")[1].count("unknown") == 2
    )  # settling without keys would settle all

    code, out, err = command("ledger", "settle", "one", "typo")
    assert (code, out.count("recovered      one [0]"), "holds no purchase 'typo'" in err) == (2, 1, True)
    code, out, err = command("ledger", "settle", "two", "typo", "--json")
    assert (code, json.loads(out)["recovered"][0]["key"], "holds no purchase 'typo'" in err) == (2, "two", True)
    code, out, err = command("ledger", "settle", "one")  # held, and known already
    assert (code, out, err) == (0, "", "Nothing is unknown: 'one' [0] is delivered.\n")

    lose(emulator, "nothing", fault="cut_before_acceptance")
    code, _, err = command("ledger", "settle", "nothing", "typo")
    assert (code, "holds no purchase 'typo'" in err) == (7, True)  # what may be paid for matters more


@pytest.mark.parametrize(
    "words",
    [
        ("show", "typo"),
        ("resolve", "typo", "--not-charged"),
        ("resolve", "typo", "--task", "t"),
        ("budget", "typo"),
        ("list", "--budget", "typo"),
        ("list", "--budget", "typo", "--json"),
        ("list", "--state", "typo"),
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_an_error(command: Any, emulator: Emulator, words: tuple[str, ...]) -> None:
    buy(command, "one")
    code, out, err = command("ledger", *words)
    assert (code, "'typo'" in (out if "--json" in words else err)) == (2, True)


def test_a_budget_without_purchases_is_no_error(command: Any, emulator: Emulator) -> None:
    assert command("ledger", "budget", "empty", "--usd", "1")[0] == 0
    assert command("ledger", "list", "--budget", "empty") == (0, "", "No such purchases.\n")


def test_settle_without_a_log_says_so(command: Any, emulator: Emulator) -> None:
    lose(emulator, "one")
    emulator.script("log_html_200")
    code, out, err = command("ledger", "settle")
    assert (code, out.startswith("still unknown  one [0]  "), err.startswith("The usage log told nothing")) == (
        7,
        True,
        True,
    )
    assert command("ledger", "settle")[:2][0] == 0
    assert command("ledger", "settle")[:2] == (0, "Nothing is unknown.\n")


def test_resolve(command: Any, emulator: Emulator) -> None:
    lose(emulator, "a", "b", "c")
    with APIMaster() as client:
        task = client.submit("castle c").id
    assert command("ledger", "resolve", "a")[0] == 2
    assert command("ledger", "resolve", "a", "--charged", "--task", "t")[0] == 2
    assert "Ask with this key to buy it again." in command("ledger", "resolve", "a", "--not-charged")[1]
    assert "Use a new key" in command("ledger", "resolve", "b", "--charged", "--index", "0")[1]
    assert f"`apimaster task {task} --wait`" in command("ledger", "resolve", "c", "--task", task)[1]
    assert command("ledger", "resolve", "a", "--not-charged")[0] == 2  # known already
    assert command("task", task, "--wait", "-o", "c.png", "--ledger", PLACE)[0] == 0
    assert json.loads(command("ledger", "list", "--state", "saved", "--json")[1])["key"] == "c"
    code, _, err = command("generate", "castle b", "--idempotency-key", "b", "--ledger", PLACE)
    assert (code, "Use a new idempotency key" in err) == (7, True)


def test_prune_asks(command: Any, emulator: Emulator) -> None:
    buy(command, "one")
    code, _, err = command("ledger", "prune", "--older-than", "30d")
    assert (code, "--yes" in err) == (2, True)
    assert command("ledger", "prune", "--older-than", "30d", "--yes")[:2] == (0, "0 purchases removed\n")
    assert json.loads(command("ledger", "prune", "--older-than", "0s", "--yes", "--json")[1]) == {"pruned": 1}


def test_a_ledger_must_be_named_and_be_there(command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = command("ledger", "list", "--ledger", " ")
    assert (code, "APIMASTER_LEDGER" in err) == (2, True)
    code, _, err = command("generate", "x", "--budget", "b")
    assert (code, "--ledger" in err) == (2, True)
    code, _, err = command("ledger", "list")
    assert (code, "there is no ledger at" in err, Path(PLACE).exists()) == (2, True, False)
    assert command("ledger", "list", "--ledger", "sqlite://")[0] == 2
    monkeypatch.setenv("APIMASTER_LEDGER", PLACE)
    assert run(["generate", "a castle"]) == 0
    assert run(["ledger", "list"]) == 0


def test_a_folder_whose_name_is_no_text(command: Any, emulator: Emulator) -> None:
    buy = ["generate", "a castle", "--ledger", PLACE, "--idempotency-key", "k", "-o", "odd \udcff/"]
    assert command(*buy)[0] == 0
    assert len(list(Path("odd \udcff").iterdir())) == 1
    assert command(*buy)[0] == 0
    assert len(emulator.bill.charges) == 1


def test_the_emulator_writes_no_ledger(command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_LEDGER", PLACE)
    assert command("generate", "a castle", "--emulator", "-r", "0.5K", "-o", "e.png")[0] == 0
    assert not Path(PLACE).exists()
    assert command("generate", "a castle", "--emulator", "--budget", "b")[0] == 2


@pytest.mark.slow
def test_two_processes_at_once_pay_once(emulator: Emulator) -> None:
    words = [sys.executable, "-m", "apimaster.cli", "generate", "a castle", "--idempotency-key", "k", "--json"]
    started = [
        subprocess.Popen(
            [*words, "--ledger", PLACE, "-o", f"{number}.png"],
            env=os.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for number in range(3)
    ]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sorted(each["replayed"] for each in results) == [False, True, True]
    assert len(emulator.bill.charges) == 1
    listed = subprocess.run(
        [sys.executable, "-m", "apimaster.cli", "ledger", "show", "k", "--json", "--ledger", PLACE],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(listed.stdout)["purchases"][0]["joins"] == 2
