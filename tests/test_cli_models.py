"""``apimaster models`` and ``apimaster cost --live``: the catalogue beside what the gateway offers and asks."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from apimaster.catalog import KNOWN_MODELS, known_specs
from apimaster.cli.app import run
from apimaster.cli.compared_models import ComparedModel, compared
from apimaster.emulator import Emulator

PREVIEW = "gemini-3.1-flash-image-preview"
PLAIN = "gemini-3.1-flash-image"
NEXT = "gemini-nano-banana-2.1"
TODAY = date(2026, 11, 27)
FOUR = {"0.5k": 0.045, "1k": 0.067, "2k": 0.101, "4k": 0.151}


class CommandOutput:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*words: str, terminal: bool = False) -> CommandOutput:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        code = run(list(words))
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "\x1b" not in printed.out + printed.err
        return CommandOutput(code, printed.out, printed.err)

    return call


def use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: bool = True) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("APIMASTER_BASE_URL", emulator.base_url)
    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    if key:
        monkeypatch.setenv("APIMASTER_API_KEY", emulator.api_key)


@pytest.fixture
def emulator(apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    use(apimaster_emulator, monkeypatch, tmp_path)
    return apimaster_emulator


def by_id(offered: list[str], today: date = TODAY) -> dict[str, ComparedModel]:
    found = compared(offered, today)
    assert [each.id for each in found][: len(offered)] == offered
    assert len({each.id for each in found}) == len(found)
    return {each.id: each for each in found}


# --- the comparison ---------------------------------------------------------------------------------------


def test_every_id_of_both_lists_is_there_once() -> None:
    assert set(by_id([])) == set(KNOWN_MODELS)
    assert list(by_id(["gpt-image-2", "new-1"]))[:2] == ["gpt-image-2", "new-1"]
    assert [each.id for each in compared(["new-1", "new-1"], TODAY)].count("new-1") == 1


def test_another_spelling_is_offered() -> None:
    found = by_id([PLAIN])
    assert (found[PLAIN].state, found[PLAIN].offered, found[PLAIN].other_spellings) == ("offered", True, ())
    preview = found[PREVIEW]
    assert (preview.state, preview.offered, preview.other_spellings) == ("retired", False, (PLAIN,))
    assert (preview.model, preview.successor) == (found[PLAIN].model, NEXT)
    assert preview.note == f"offered as {PLAIN}; ended on 2026-06-25; successor: {NEXT}"


def test_an_id_that_its_provider_ended_may_be_offered_all_the_same() -> None:
    found = by_id([PREVIEW, PLAIN])
    assert (found[PREVIEW].state, found[PREVIEW].ended) == ("offered", True)
    assert found[PREVIEW].note.startswith(f"also offered as {PLAIN}; ended on 2026-06-25")


def test_a_day_that_has_not_come() -> None:
    found = by_id([], date(2026, 6, 24))[PREVIEW]
    assert (found.state, found.ended) == ("not offered", False)
    assert "ends on 2026-06-25" in found.note
    assert by_id([], date(2026, 6, 25))[PREVIEW].state == "retired"


def test_what_the_catalogue_does_not_hold() -> None:
    found = by_id(["brand-new-7"])["brand-new-7"]
    assert (found.state, found.offered, found.model, found.retired) == ("unknown", True, None, None)
    assert found.note == "not in the catalogue: checked loosely, price unknown"


def test_what_is_not_offered() -> None:
    found = by_id([PREVIEW])["gpt-image-2"]
    assert (found.state, found.offered, found.note) == ("not offered", False, "")


# --- apimaster models -------------------------------------------------------------------------------------


@pytest.mark.apimaster_emulator(models=(PLAIN, "gpt-image-2", "brand-new-7"))
def test_a_pipe_gets_the_offered_ids(command: Any, emulator: Emulator) -> None:
    printed = command("models")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.splitlines() == [PLAIN, "gpt-image-2", "brand-new-7", "gpt-5.5"]


@pytest.mark.apimaster_emulator(models=(PLAIN, "gpt-image-2", "brand-new-7"))
def test_a_person_gets_the_comparison(command: Any, emulator: Emulator) -> None:
    lines = command("models", terminal=True).out.splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert len(rows) == len(lines) == len({*KNOWN_MODELS, "brand-new-7", "gpt-5.5"})
    assert rows[PLAIN] == "offered"
    assert rows[PREVIEW].startswith(f"retired offered as {PLAIN}; ended on 2026-06-25")
    assert rows["brand-new-7"] == "unknown not in the catalogue: checked loosely, price unknown"
    assert rows["midjourney-v8.2"] == "not offered"


@pytest.mark.apimaster_emulator(models=(PLAIN, "brand-new-7"))
def test_the_comparison_as_json(command: Any, emulator: Emulator) -> None:
    for terminal in (False, True):
        document = command("models", "--json", terminal=terminal).document
        assert document["models"] == [PLAIN, "brand-new-7", "gpt-5.5"]
        rows = {each["id"]: each for each in document["compared"]}
        assert rows[PREVIEW] == {
            "id": PREVIEW,
            "offered": False,
            "state": "retired",
            "model": rows[PLAIN]["model"],
            "other_spellings": [PLAIN],
            "retired": "2026-06-25",
            "ended": True,
            "successor": NEXT,
            "note": f"offered as {PLAIN}; ended on 2026-06-25; successor: {NEXT}",
        }
        assert rows["brand-new-7"]["state"] == "unknown"


@pytest.mark.apimaster_emulator(models=("a\x1b[31m-1",))
def test_a_terminal_does_not_carry_out_an_id(command: Any, emulator: Emulator) -> None:
    assert "a [31m-1" in command("models", terminal=True).out


# --- apimaster cost ---------------------------------------------------------------------------------------


def test_the_cost_says_which_list(command: Any) -> None:
    printed = command("cost", "-r", "2K")
    assert printed.out == "  2K    1:1    2048×2048  $0.05\n"
    (listed,) = [spec.price_list for spec in known_specs() if PREVIEW in spec.ids]
    assert listed
    first, ended = printed.err.splitlines()
    assert first == f"Prices: {listed}. The ratio of the account's group may change them."
    assert ended == f"{PREVIEW}: ended on 2026-06-25; successor: {NEXT}."
    assert command("cost", "-r", "2K", "--json").document["price_list"] == listed


def test_a_cost_that_nobody_knows(command: Any) -> None:
    printed = command("cost", "-r", "1K", "--model", "brand-new-7")
    assert "price unknown" in printed.out
    assert printed.err == "The catalogue does not hold brand-new-7, so its price is unknown.\n"
    assert command("cost", "--model", "gpt-image-2").err == "The catalogue holds no price of gpt-image-2.\n"
    document = command("cost", "--model", "gpt-image-2", "--json").document
    assert (document["price_list"], {each["each"] for each in document["costs"]}) == (None, {None})
    assert "live" not in document


def test_a_model_that_has_fewer_resolutions(command: Any) -> None:
    rows = command("cost", "--model", NEXT).out.splitlines()
    assert [row.split()[0] for row in rows] == ["1K", "2K", "4K"]


def script(emulator: Emulator, *rows: object, **more: object) -> None:
    body = {"success": True, "data": list(rows), **more}
    emulator.script("reply", on="pricing", status=200, body=json.dumps(body))


def test_the_gateways_price_beside_the_tables(command: Any, emulator: Emulator) -> None:
    row = {"model_name": PLAIN, "quota_type": 1, "model_price": 0.067, "resolution_prices": FOUR}
    script(emulator, row, group_ratio={"default": 1, "vip": 0.8})
    printed = command("cost", "--live", "-n", "2")
    assert printed.code == 0
    assert [row.split("  ")[-2:] for row in printed.out.splitlines()] == [
        ["2 images: $0.075", "gateway: 2 images: $0.09"],
        ["2 images: $0.075", "gateway: 2 images: $0.134"],
        ["2 images: $0.10", "gateway: 2 images: $0.202"],
        ["2 images: $0.15", "gateway: 2 images: $0.302"],
    ]
    table, _, live = printed.err.splitlines()
    assert table.startswith("Prices: list price of ")
    assert live.startswith(f"Gateway: {emulator.url}/api/pricing, read 2")
    assert live.endswith(f"; listed as {PLAIN}; before the ratio of the account's group (default × 1, vip × 0.8).")
    assert not any(request.had_authorization for request in emulator.requests)


def test_the_gateways_price_as_json(command: Any, emulator: Emulator) -> None:
    script(emulator, {"model_name": PREVIEW, "model_price": 0.067}, group_ratio={"default": 1.5})
    document = command("cost", "--live", "-r", "4K", "-n", "3", "--json").document
    assert [(each["each"], each["live_each"], each["live_cost"]) for each in document["costs"]] == [
        ("0.075", "0.067", "0.201")
    ]
    assert document["live"].pop("read_at") > 1.7e9
    assert document["live"] == {
        "url": f"{emulator.url}/api/pricing",
        "model": PREVIEW,
        "billing": "image",
        "group_ratios": {"default": "1.5"},
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "it lists no price of gpt-image-2"),
        (
            [{"model_name": "gpt-image-2", "quota_type": 0, "model_ratio": 37.5}],
            "bills this model by tokens",
        ),
        (
            [{"model_name": "gpt-image-2", "billing_mode": "x", "model_price": 1}],
            "that this version can't read",
        ),
    ],
)
def test_a_price_that_the_gateway_does_not_tell(
    command: Any, emulator: Emulator, rows: list[object], words: str
) -> None:
    script(emulator, *rows)
    script(emulator)  # the page of the one model
    printed = command("cost", "--live", "--model", "gpt-image-2", "-r", "1K")
    assert printed.code == 0
    assert printed.out.rstrip().endswith("price unknown  gateway: price unknown")
    assert words in printed.err


def test_prices_are_read_without_a_key(
    command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(emulator, monkeypatch, tmp_path, key=False)
    assert command("cost", "--live", "-r", "2K").out.endswith("$0.05  gateway: $0.05\n")
    assert command("cost", "--live", "-r", "2K", "--base-url", emulator.base_url).code == 0
    assert emulator.complaints == []


@pytest.mark.apimaster_emulator(price_routes=False)
def test_a_gateway_without_a_price_list(command: Any, emulator: Emulator) -> None:
    printed = command("cost", "--live")
    assert (printed.code, printed.out) == (5, "")
    assert "This gateway has no public price list" in printed.err
    assert command("cost", "--live", "--json").document["error"]["type"] == "NotFoundError"


def test_nothing_is_sent_without_live(command: Any, emulator: Emulator) -> None:
    assert command("cost").code == 0
    assert emulator.requests == []


@pytest.mark.parametrize("model", ["gpt-image-2", "midjourney-v8.2", "nobody-knows-it"])
def test_a_price_that_is_unknown_at_every_resolution_takes_one_line(command: Any, model: str) -> None:
    printed = command("cost", "--model", model, "-n", "3")
    assert printed.code == 0
    assert printed.out == f"{model}: 3 images: price unknown\n"
    assert len(command("cost", "--model", model, "-r", "2K").out.splitlines()) == 1
    assert len(command("cost", "--model", model, "--json").document["costs"]) == 4


def test_cost_says_that_an_id_has_ended_and_what_follows(command: Any) -> None:
    printed = command("cost", "--model", PREVIEW)
    assert len(printed.out.splitlines()) == 4
    assert f"{PREVIEW}: ended on 2026-06-25; successor: {NEXT}." in printed.err
    assert "ended" not in command("cost", "--model", NEXT).err
