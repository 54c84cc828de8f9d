"""The file that ``APIMASTER_CATALOG`` names: models that a user adds or corrects, and files that can't be used."""

from __future__ import annotations

import json
import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster import APIMaster, ImageRequest, catalog
from apimaster.catalog import DEFAULT_MODEL, RESOLUTIONS, ModelSpec, known_specs, spec_for
from apimaster.catalog.corrections import FIELDS, MAX_BYTES
from apimaster.cli.app import run as apimaster
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError

OWN = json.loads((Path(catalog.__file__).parent / "models.json").read_text(encoding="utf-8"))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def written(document: object) -> Path:
        path = tmp_path / "models.json"
        if isinstance(document, bytes):
            path.write_bytes(document)
        else:
            path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        monkeypatch.setenv("APIMASTER_CATALOG", str(path))
        return path

    return written


def test_the_packages_own_table_passes_the_checks_for_users(write: Any) -> None:
    before = known_specs()
    write(OWN)
    assert known_specs() == before
    assert {name for entry in OWN["models"].values() for name in entry} <= set(FIELDS)


def test_each_field_of_a_model_can_be_corrected() -> None:
    of_spec = set(ModelSpec.__slots__) - {"id", "known", "pixel_table", "stated"}
    assert set(FIELDS) == of_spec | {"pixels"}


@pytest.mark.parametrize("name", ["nano-banana-2", DEFAULT_MODEL, "gemini-3.1-flash-image"])
def test_a_partial_entry_corrects_the_fields_that_it_holds(write: Any, name: str) -> None:
    before = spec_for(DEFAULT_MODEL)
    write({"models": {name: {"prices": {"1K": "0.031", "4K": 0.06}, "retired": "2026-10-29", "max_references": 20}}})
    after = spec_for("gemini-3.1-flash-image")
    assert after is spec_for(DEFAULT_MODEL)
    assert dict(after.prices) == {"1K": Decimal("0.031"), "4K": Decimal("0.06")}
    assert (after.price_list, after.retired) == ("prices of models.json", date(2026, 10, 29))
    assert (after.ids, after.sizes, after.pixels("16:9", "2K")) == (before.ids, before.sizes, (2752, 1536))
    assert len(ImageRequest(prompt="a", references=["a"] * 20).references) == 20


def test_a_new_model_and_a_new_spelling_are_known_everywhere(write: Any) -> None:
    ids = [DEFAULT_MODEL, "gemini-3.1-flash-image", "gemini-3.1-flash-image-002"]
    new = {"aliases": ["best"], "resolutions": ["2K"], "strict_sizes": True, "aspect_ratios": ["5:3"], "auto": False}
    write({"models": {DEFAULT_MODEL: {"ids": ids}, "new-1": new}})
    assert catalog.KNOWN_MODELS[-1] == "new-1"
    assert catalog.same_model(DEFAULT_MODEL, ids[2])
    assert ImageRequest(prompt="a", model="best", aspect_ratio="10:6", resolution="2K").aspect_ratio == "5:3"
    with pytest.raises(BadRequestError, match="accepted: 2K") as refused:
        ImageRequest(prompt="a", model="best", aspect_ratio="1:1", resolution="1K")
    assert "'1:1'" in refused.value.message
    with Emulator() as gateway, APIMaster(gateway.api_key, base_url=gateway.base_url, model="best") as client:
        assert client.generate("a cat", resolution="2K", aspect_ratio="5:3").model == "new-1"
        assert {"new-1", ids[2]} <= set(client.models())


def test_only_an_added_model_that_says_so_has_its_502_repeated(write: Any) -> None:
    write({"models": {"a": {}, "b": {"resubmit_502": True}, "gpt-image-2": {"max_references": 3}}})
    assert [spec_for(model).resubmit_502 for model in ("a", "b", "gpt-image-2")] == [False, True, True]


def test_pixels_of_a_users_own(write: Any) -> None:
    pixels = {"mine": {"5:3": {"1K": [1000, 600], "2K": [2000, 1200]}}}
    entry = {"aspect_ratios": ["5:3"], "pixels": "mine", "pixel_sizes": "exact", "resolutions": ["1K", "2K"]}
    write({"pixels": pixels, "models": {"m": entry}})
    request = ImageRequest(prompt="a", model="m", aspect_ratio="1500x900")
    assert (request.aspect_ratio, request.resolution, request.pixels) == ("5:3", "2K", (2000, 1200))


def test_without_the_variable_the_table_is_the_packages_own(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    before = known_specs()
    write({"models": {"new-1": {}}})
    assert len(known_specs()) == len(before) + 1
    for value in ("", "  "):
        monkeypatch.setenv("APIMASTER_CATALOG", value)
        assert known_specs() == before


def refused() -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        APIMaster("sk-test")
    error = caught.value
    assert (error.code, error.billed, error.retryable) == ("bad_catalog", "no", False)
    assert "APIMASTER_CATALOG" in error.advice
    return error


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", ["JSON"]),
        ("[", ["JSON"]),
        ("[]", ["JSON object", "[]"]),
        ("null", ["JSON object", "null"]),
        ("7", ["JSON object", "7"]),
        (b"\xff\xfe\x00\x89PNG", ["UTF-8"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), ["UTF-8"]),
        (b" " * (MAX_BYTES + 1), ["larger than"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"models": {"a": {"max_n": 1' + "0" * 5000 + "}}}", ["digits"]),
        ('{"models": {"a": {"max_n": NaN}}}', ["NaN"]),
        ('{"models": {"a": {}, "a": {}}}', ["'a'", "twice"]),
        ({"model": {}}, ["'model'", "accepted: models, pixels"]),
        ({"models": []}, ["models must be an object", "[]"]),
        ({"models": {"a": 3}}, ['"a"', "object of fields", "3"]),
        ({"models": {"": {}}}, ['""', "name without spaces"]),
        ({"models": {"a b": {}}}, ['"a b"', "name without spaces"]),
        ({"models": {"a": {"price": "1"}}}, ['"a"', "'price'", "accepted", "prices"]),
        ({"pixels": []}, ["pixels must be an object"]),
        ({"pixels": {"p": {"16:9": {"1K": [1]}}}}, ['"p"', "width and height"]),
        ({"pixels": {"p": {"wide": {"1K": [1, 1]}}}}, ['"p"', "width and height"]),
        ({"models": {"a": {"pixels": "none"}}}, ['"a"', "'none'", "accepted: gemini-3.1-flash-image"]),
        ({"models": {"a": {"pixel_sizes": "nearest"}}}, ['"a"', "needs pixels"]),
        ({"models": {"a": {"aliases": ["nano-banana-2"]}}}, ["'nano-banana-2'", "one model for each"]),
        ({"models": {"a": {"ids": ["b"]}}}, ['"a"', "ids must keep a"]),
        ({"models": {"nano-banana-2": {"ids": [DEFAULT_MODEL]}}}, ["must keep gemini-3.1-flash-image"]),
        ({"models": {"a": {"retired_ids": {"b": "2026-01-01"}}}}, ['"a"', "retired_ids holds b", "accepted: a"]),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, list) else None,
)
def test_files_that_can_not_be_used(write: Any, document: object, words: list[str]) -> None:
    path = write(document)
    message = refused().message
    for word in (str(path), *words):
        assert word in message
    assert len(message) < 1500


WRONG: dict[str, list[object]] = {
    "ids": [[], "a", ["a b"], ["a", "a"], [1], None],
    "aliases": ["a", [""], [None], ["x" * 201]],
    "aspect_ratios": [[], ["auto"], ["1:0"], ["16x9"], "1:1", [[]]],
    "strict_sizes": ["yes", 1, None],
    "auto": ["true", 0],
    "default_aspect_ratio": ["wide", None, 1],
    "pixel_sizes": ["near", None, ["nearest"]],
    "pixels": [{}, "", None],
    "resolutions": [[], ["8K"], ["1k"], "1K", ["1K", "1K"], [["1K"]]],
    "lower_case_resolution": [1],
    "max_n": [0, 101, "4", 4.0, True, None],
    "max_references": [-1, 1001, "14", True],
    "max_reference_bytes": [0, -5, "10MB", 10**12],
    "google_search": ["no"],
    "masks": [None],
    "edit_route": ["edit", "/v1/images/edits", None, 1, ["edits"]],
    "prices": [{"8K": "1"}, {"1K": "-1"}, {"1K": "1e3"}, {"1K": True}, {"1K": None}, ["0.1"], {"1K": 1e300}, "0.1"],
    "price_list": ["", "  ", 3, "a\nb", None],
    "retired": ["soon", "2026-13-01", 20260625, "20260625"],
    "retired_ids": [["a"], {"a": "x"}, {"a b": "2026-01-01"}],
    "successor": ["", "a b", 1],
    "strict_fields": ["true"],
    "fields": ["seed", [1]],
    "resubmit_502": ["no"],
    "reports_usage": [1],
    "batches": ["yes", 1],
}


def test_there_are_wrong_values_for_each_field() -> None:
    assert set(WRONG) == set(FIELDS)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_its_model_its_field_and_what_is_accepted(
    write: Any, field: str, value: object
) -> None:
    path = write({"models": {"some-model": {field: value}}})
    message = refused().message
    for word in (str(path), '"some-model"', f"{field} must be {FIELDS[field][1]}"):
        assert word in message


def test_all_faults_are_named_at_once_up_to_ten(write: Any) -> None:
    write({"models": {"a": {"max_n": 0, "auto": 1}, "b": 3, "c": {"x": 1}}, "more": 1})
    message = refused().message
    for word in ("max_n", "auto", '"b"', "'x'", "'more'"):
        assert word in message
    write({"models": {f"m{number}": 0 for number in range(30)}})
    assert "; 20 more" in refused().message


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "unreadable name"])
def test_places_that_hold_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = str(tmp_path / "place")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable name":
        path += "x" * 5000
    monkeypatch.setenv("APIMASTER_CATALOG", path)
    assert path in refused().message


def test_nothing_is_sent_and_every_door_says_so(
    write: Any, server: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reset()
    path = write({"models": {"a": {"max_n": 0}}})
    with pytest.raises(BadRequestError, match="max_n"):
        ImageRequest(prompt="a cat")
    with pytest.raises(BadRequestError, match="max_n"):
        Emulator()
    monkeypatch.setenv("APIMASTER_API_KEY", server.api_key)
    monkeypatch.setenv("APIMASTER_BASE_URL", server.base_url)
    assert apimaster(["generate", "a cat"]) == 2
    shown = capsys.readouterr().err
    assert "max_n" in shown
    assert path.name in shown
    assert server.requests == []


def test_the_table_is_read_once_for_a_file(write: Any) -> None:
    path = write({"models": {"a": {"max_n": 3}}})
    assert spec_for("a").max_n == 3
    path.unlink()
    assert spec_for("a").max_n == 3
    assert set(RESOLUTIONS) == set(spec_for("a").resolutions)


# --- docs/models.md -------------------------------------------------------------------------------------------------

TEXT = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_blocks_of_the_document_run(
    apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    assert [language for language, _ in BLOCKS] == ["python", "python", "python", "json"]
    for language, code in BLOCKS:
        if language == "python":
            exec(compile(code, "models.md", "exec"), {"__name__": "__main__"})  # our own text
    printed = capsys.readouterr().out
    for spelling in spec_for("nano-banana-2").ids:
        assert f"{spelling} 0.05 {{'default': Decimal('1')}} {apimaster_emulator.url}/api/pricing " in printed


def test_its_example_of_a_file_adds_and_corrects(write: Any) -> None:
    (example,) = (code for language, code in BLOCKS if language == "json")
    write(example)
    assert ImageRequest(prompt="a", model="nano-banana-3", aspect_ratio="16:9").model == "gemini-nano-banana-3"
    with Emulator() as gateway, APIMaster(gateway.api_key, base_url=gateway.base_url) as client:
        result = client.generate("a cat")
    assert (result.cost, result.price_list) == (Decimal("0.03"), "our contract of 2026-11-01")


def test_its_table_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \|$", TEXT, re.MULTILINE)
    assert rows == [(name, accepted) for name, (_, accepted) in FIELDS.items()]


def test_its_numbers() -> None:
    assert MAX_BYTES == 1024 * 1024
    assert "over 1 MiB" in TEXT


@pytest.mark.parametrize("name", ["Nano-Banana-2", "GEMINI-3.1-flash-image"])
def test_the_case_of_a_name_in_the_file_does_not_count(write: Any, name: str) -> None:
    write({"models": {name: {"max_references": 20}}})
    assert spec_for(DEFAULT_MODEL).max_references == 20
    assert len(known_specs()) == len(OWN["models"])


def test_names_that_differ_in_case_only_are_one_name(write: Any) -> None:
    write({"models": {"mine": {"aliases": ["GPT-Image-2"]}}})
    with pytest.raises(BadRequestError, match="the name 'GPT-Image-2' stands in the models 'gpt-image-2' and 'mine'"):
        spec_for(DEFAULT_MODEL)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("nano-banana-2", DEFAULT_MODEL),
        ("gemini-3.1-flash-image", DEFAULT_MODEL),
        ("gpt-image-2", "GPT-IMAGE-2"),
        ("mine", "Mine"),
    ],
)
def test_two_entries_for_one_model_are_an_error_that_names_both(write: Any, one: str, two: str) -> None:
    write({"models": {one: {"max_references": 3}, two: {"max_references": 4}}})
    with pytest.raises(BadRequestError, match=f"the models {one!r} and {two!r} are one model") as caught:
        spec_for(DEFAULT_MODEL)
    assert caught.value.code == "bad_catalog"


def test_an_entry_that_takes_the_name_of_an_earlier_one_is_an_error(write: Any) -> None:
    write({"models": {"mine": {"aliases": ["yours"]}, "yours": {"max_references": 4}}})
    with pytest.raises(BadRequestError, match="the models 'mine' and 'yours' are one model"):
        spec_for(DEFAULT_MODEL)
