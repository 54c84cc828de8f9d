"""``apimaster probe`` over HTTP: what holds at the emulator, what differs at another one, and what is charged."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster.cli.app import run
from apimaster.cli.probe import purchases
from apimaster.cli.probe.facts import FACTS, check_facts
from apimaster.emulator import Emulator
from apimaster.emulator.like import Likeness, RecordedReply
from apimaster.emulator.transcript import read_transcript

Probe = Callable[..., "Result"]
ROOT = Path(__file__).parent.parent


class Result:
    """What a probe printed, and what it wrote."""

    def __init__(self, code: int, out: str, err: str, path: Path) -> None:
        self.code, self.out, self.err, self.path = code, out, err, path
        self.document: dict[str, Any] = json.loads(out)
        self.facts: dict[str, dict[str, str]] = {each["name"]: each for each in self.document.get("facts", ())}

    def states(self, state: str) -> set[str]:
        return {name for name, fact in self.facts.items() if fact["state"] == state}

    @property
    def differing(self) -> list[str]:
        return sorted(self.states("differs"))


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(purchases, "_LOG_PAUSE", 0.0)
    count = 0

    def call(emulator: Emulator, *words: str) -> Result:
        nonlocal count
        count += 1
        path = tmp_path / f"transcript-{count}.json"
        for name, value in emulator.env.items():
            monkeypatch.setenv(name, value)
        code = run(["probe", "--json", "--out", str(path), *words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Result(code, printed.out, printed.err, path)

    return call


BUY = ("--spend", "0.12", "--yes")


# --- what holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dialect": "legacy"},
        {"dialect": "legacy+url_string+no_envelope+upper_case"},
        {"dialect": "tracked+success_word+url_list+extra_fields"},
        {"dialect": "sync_as_task"},
        {"dialect": "submit_as_image+no_code"},
        {"dialect": "b64"},
        {"cdn": True, "picture_format": "webp"},
        {"latency": "3 polls"},
        {"balance": 5},
    ],
    ids=str,
)
def test_every_fact_holds_at_the_emulator(probe: Probe, settings: Any) -> None:
    with Emulator(pictures="plain", **settings) as emulator:
        result = probe(emulator, *BUY)
        assert not result.states("differs")
        assert result.code == 0
        assert emulator.bill.total == Decimal("0.1125")
        assert len(emulator.requests_to("log")) == 1
        assert set(result.facts) == {fact.name for fact in FACTS}
        assert not emulator.complaints


def test_without_spend_nothing_is_charged_and_nothing_could_be(probe: Probe) -> None:
    with Emulator() as emulator:
        result = probe(emulator)
        assert result.code == 0
        assert not emulator.bill.entries
        assert not emulator.jobs
        assert len(emulator.requests_to("log")) == 1
        assert set(result.facts) == {fact.name for fact in FACTS if not fact.paid}
        # A purchase that a lenient gateway could accept has a model that nobody offers, or no prompt.
        for request in emulator.requests_to("submit") + emulator.requests_to("sync"):
            assert request.body["model"] == "apimaster-probe-no-such-model" or "prompt" not in request.body
        assert all(request.body is None or not request.body.get("messages") for request in emulator.requests_to("chat"))


def test_the_lines_for_a_person(
    probe: Probe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator() as emulator:
        probe(emulator)
        assert run(["probe"]) == 0
        printed = capsys.readouterr()
        assert re.search(r'^docs/endpoint.md, "Errors"$', printed.out, re.MULTILINE)
        assert re.search(r"^ +holds  A wrong key: 401\n +seen: HTTP 401, JSON error", printed.out, re.MULTILINE)
        assert re.search(r"\d+ facts hold, \d differ, 1 were not seen", printed.out)
        assert "Transcript: probe.json" in printed.err
        assert emulator.api_key not in printed.out + printed.err
        assert run(["probe"]) == 0
        assert Path("probe-2.json").exists()
        capsys.readouterr()
        assert run(["probe", "--read", "probe.json"]) == 0
        assert capsys.readouterr().out == printed.out


def test_the_sections_exist_and_the_names_are_unique() -> None:
    headings = set(re.findall(r"^## (.+)$", (ROOT / "docs" / "endpoint.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {fact.section for fact in FACTS} <= headings
    assert len({fact.name for fact in FACTS}) == len(FACTS)


# --- what differs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words", "different"),
    [
        ({"models": ("gpt-image-2",)}, (), ["model_id"]),
        ({"models": ("gpt-image-2",)}, BUY, ["model_id"]),
        ({"account_routes": False}, BUY, ["account", "log"]),
        ({"account_routes": False}, (), ["account", "log"]),
        ({"dialect": "unknown_words", "latency": "3 polls"}, BUY, ["status_words"]),
        ({"dialect": "no_async"}, BUY, ["edit", "submit_reply", "unknown_model"]),
        ({"pictures": "small"}, BUY, ["pixels"]),
        ({"channel": "no_half_k"}, BUY, ["half_k"]),
    ],
    ids=str,
)
def test_settings_that_differ(probe: Probe, settings: Any, words: Any, different: list[str]) -> None:
    with Emulator(**{"pictures": "plain", **settings}) as emulator:
        result = probe(emulator, *words)
        assert result.differing == different
        assert result.code == 8


@pytest.mark.parametrize(
    ("fault", "different"),
    [
        ("log_html_200", ["log"]),
        ("log_refused", ["log"]),
        ("usage_refused", ["account"]),
        ("usage_500", ["account"]),
    ],
)
def test_faults_of_the_books(probe: Probe, fault: str, different: list[str]) -> None:
    with Emulator() as emulator:
        emulator.script(fault, times=None)
        assert probe(emulator).differing == different


@pytest.mark.parametrize(
    ("fault", "unseen"),
    [("log_429", ["log", "log_rows"]), ("usage_429", ["account", "log_rows", "refusals_are_free"])],
)
def test_what_passes_is_no_difference(probe: Probe, fault: str, unseen: list[str]) -> None:
    with Emulator() as emulator:
        emulator.script(fault, times=None)
        result = probe(emulator)
        assert result.code == 0
        assert sorted(result.states("not seen")) == unseen


# --- money ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much", "", "0.03", "1e-9", "0.0375", "0.0449"])
def test_a_limit_that_is_none(probe: Probe, text: str) -> None:
    with Emulator() as emulator:
        result = probe(emulator, "--spend", text, "--yes")
        assert result.code == 2
        assert "--spend" in result.document["error"]["message"]
        assert not emulator.requests
        assert not result.path.exists()


def test_nobody_can_answer(probe: Probe) -> None:
    with Emulator() as emulator:
        result = probe(emulator, "--spend", "0.12")
        assert result.code == 2
        assert "--yes" in result.document["error"]["advice"]
        assert "$0.1125" in result.err
        assert not emulator.requests


@pytest.mark.parametrize(("limit", "bought"), [("0.045", 1), ("0.1", 2), ("$5", 3)])
def test_no_more_than_the_limit(probe: Probe, limit: str, bought: int) -> None:
    with Emulator(pictures="plain") as emulator:
        result = probe(emulator, "--spend", limit, "--yes")
        assert len(emulator.bill.charges) == bought
        assert len(result.document["purchases"]) == bought
        assert not result.states("differs")


PRICES = ("0.0375", "0.045", "0.067")
LIMITS = ("0.045", "0.0675", "0.07", "0.1", "0.1125", "0.12", "0.135", "0.201", "1")


@pytest.mark.parametrize("routes", [True, False], ids=["figures", "no books"])
@pytest.mark.parametrize("channel", ["any", "no_half_k"])
@pytest.mark.parametrize("price", PRICES)
def test_a_price_above_every_list_never_passes_the_limit(probe: Probe, price: str, channel: str, routes: bool) -> None:
    """The gateway's list says $0.0375; what it charges is one of its own prices of the contract."""
    if channel == "any" and price == "0.067":
        price = "0.044"  # no published price of a picture at 0.5K is above $0.045
    for limit in LIMITS:
        like = Likeness(price=Decimal(price))
        with Emulator(pictures="small", channel=channel, account_routes=routes, like=like, log_limit=None) as emulator:
            result = probe(emulator, "--spend", limit, "--yes")
            assert emulator.bill.total <= Decimal(limit)
            assert len(emulator.bill.charges) >= (1 if channel == "any" or Decimal(limit) >= Decimal("0.067") else 0)
            assert limit != "1" or len(emulator.bill.charges) == 3
            assert len(emulator.bill.charges) == sum(
                each["state"] == "delivered" for each in result.document["purchases"]
            )


def test_the_log_tells_the_cost_where_the_figures_do_not(probe: Probe) -> None:
    """$0.0375 each by the log, so that the third one fits; by the dearest price it would not."""
    with Emulator(pictures="plain") as emulator:
        emulator.script("usage_refused", times=None)
        probe(emulator, *BUY)
        assert emulator.bill.total == Decimal("0.1125")
    with Emulator(pictures="plain", log_delay=3600) as emulator:
        emulator.script("usage_refused", times=None)
        result = probe(emulator, *BUY)
        assert emulator.bill.total == Decimal("0.075")
        assert "could be $0.135, above the limit of $0.12" in result.err


@pytest.mark.parametrize(
    ("listed", "ratios", "bought"),
    [(0.2, {"default": 1}, 0), (0.05, {"a": 1, "b": 3}, 0), (0.05, {"a": 1}, 2), (0.01, {"a": 0.1}, 3)],
)
def test_the_gateways_own_list_counts_before_the_first_purchase(
    probe: Probe, listed: float, ratios: dict[str, float], bought: int
) -> None:
    row = {"model_name": "gemini-3.1-flash-image-preview", "quota_type": 1, "model_price": listed}
    page = RecordedReply(200, {"success": True, "data": [row], "group_ratio": ratios})
    like = Likeness(pages={("GET", "/api/pricing"): page})
    with Emulator(pictures="plain", like=like) as emulator:
        result = probe(emulator, *BUY)
        assert len(emulator.bill.charges) == bought
        assert ("above the limit of $0.12" in result.err) == (bought < 3)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(503, "model_not_found", BUY), (404, "model_not_found", BUY), (413, "too_large", BUY), (404, "not_found", BUY)],
)
def test_a_step_sends_one_purchase_whatever_the_refusal(
    probe: Probe, status: int, code: str, words: tuple[str, ...]
) -> None:
    with Emulator(pictures="plain") as emulator:
        body = json.dumps({"error": {"message": "no", "code": code}})
        emulator.script("reply", status=status, body=body, times=None, prompt="probe")
        result = probe(emulator, *words)
        sent = [each for route in ("submit", "sync") for each in emulator.requests_to(route)]
        prompts = [each.body["prompt"] for each in sent if "(probe" in str((each.body or {}).get("prompt"))]
        assert len(prompts) == len(set(prompts)) == 3
        assert {each["state"] for each in result.document["purchases"]} == {"refused"}
        assert not emulator.bill.entries


def test_a_poll_that_is_refused_buys_nothing_again(probe: Probe) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script("poll_500", status=400, times=None)
        probe(emulator, "--spend", "0.045", "--yes")
        assert len(emulator.bill.charges) == 1


@pytest.mark.parametrize("fault", ["cut_after_acceptance", "proxy_504_html", "gateway_timeout_408"])
def test_an_unknown_outcome_ends_the_purchases(probe: Probe, fault: str) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script(fault)
        result = probe(emulator, *BUY)
        assert result.code == 7
        assert [each["state"] for each in result.document["purchases"]] in (["unknown"], ["task"])
        assert len([each for each in emulator.requests_to("submit") if "prompt" in (each.body or {})]) <= 2
        assert "not repeated" in result.err
        assert len(emulator.bill.charges) == 1


def test_the_log_tells_what_became_of_an_unknown_purchase(probe: Probe) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script("cut_after_acceptance")
        result = probe(emulator, *BUY)
        (job,) = emulator.jobs
        assert result.code == 7
        assert [(each["state"], each["task_id"]) for each in result.document["purchases"]] == [("task", job.id)]
        assert f"`apimaster task {job.id} --wait` picks it up" in result.err


def test_the_log_shows_no_charge(probe: Probe) -> None:
    with Emulator(pictures="plain", log_delay=60) as emulator:
        emulator.script("proxy_504_html")
        result = probe(emulator, *BUY)
        assert [each["state"] for each in result.document["purchases"]] == ["unknown"]
        assert "the log shows no charge for it so far" in result.err


def test_a_refused_purchase_is_not_repeated(probe: Probe) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script("rate_limited", times=None)
        result = probe(emulator, *BUY)
        assert {each["state"] for each in result.document["purchases"]} == {"refused"}
        assert not emulator.bill.entries
        assert "submit_reply" in result.states("not seen")


def test_no_balance_ends_the_purchases(probe: Probe) -> None:
    with Emulator(pictures="plain", balance="0.01") as emulator:
        result = probe(emulator, *BUY)
        assert [each["state"] for each in result.document["purchases"]] == ["refused"]


def test_a_task_that_fails(probe: Probe) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script("task_failed")
        result = probe(emulator, *BUY)
        assert [each["state"] for each in result.document["purchases"]] == ["failed", "delivered", "delivered"]
        assert emulator.bill.total == Decimal("0.075")


def test_a_download_that_fails_keeps_the_url(probe: Probe) -> None:
    with Emulator(pictures="plain") as emulator:
        emulator.script("download_404", times=None)
        result = probe(emulator, *BUY)
        assert emulator.url in result.err
        assert "result_url" in result.states("differs")


def test_the_pictures_and_the_file(probe: Probe, tmp_path: Path) -> None:
    with Emulator(pictures="plain") as emulator:
        result = probe(emulator, *BUY)
    assert stat.S_IMODE(os.stat(result.path).st_mode) == 0o600
    folder = tmp_path / "transcript-1-pictures"
    assert sorted(path.name for path in folder.iterdir()) == ["edit.png", "one_shot.png", "submit.png"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".transcript")]
    tasks = [each["task_id"] for each in result.document["purchases"]]
    assert tasks == [emulator.jobs[0].id, None, emulator.jobs[2].id]
    written = read_transcript(result.path)
    assert written.spend == "0.12"
    assert [each.document() for each in check_facts(written)] == result.document["facts"]


# --- the key, the file, the gateway ------------------------------------------------------------------------


def test_a_wrong_key(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator(api_keys="sk-another") as emulator:
        monkeypatch.setattr(type(emulator), "api_key", "sk-wrong")
        result = probe(emulator, *BUY)
        assert result.code == 3
        assert [each.route for each in emulator.requests] == ["models"]
        assert not result.path.exists()  # the same command line works with the right key


def test_no_gateway(probe: Probe) -> None:
    with Emulator() as emulator:
        emulator.stop()
        emulator.gateway.port = 9
        result = probe(emulator)
        assert result.code == 5
        assert not result.path.exists()
        assert "What was recorded" not in result.err


def test_a_file_that_exists_is_kept(probe: Probe, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    with Emulator() as emulator:
        result = probe(emulator, "--out", str(mine))
        assert result.code == 2
        assert mine.read_text() == "mine"
        assert not emulator.requests


@pytest.mark.parametrize("words", [["--spend", "0.12"], ["--base-url", "http://127.0.0.1/v1"]])
def test_reading_sends_nothing(probe: Probe, words: list[str]) -> None:
    with Emulator() as emulator:
        path = probe(emulator).path
        before = len(emulator.requests)
        result = Result(*_run(["probe", "--json", "--read", str(path), *words]), path)
        assert result.code == 2
        assert len(emulator.requests) == before


def _run(words: list[str]) -> tuple[int, str, str]:
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    return code, out.getvalue(), err.getvalue()
