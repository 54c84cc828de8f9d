"""The catalogue of models against Google's table of sizes and the vendor's prices, and the mapping from pixels."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from apimaster import ImageRequest
from apimaster.catalog import (
    ASPECT_RATIOS,
    DEFAULT_MODEL,
    KNOWN_MODELS,
    RESOLUTIONS,
    ModelSpec,
    fit_pixels,
    known_specs,
    model_id,
    same_model,
    spec_for,
    spellings,
)

NANO = spec_for("nano-banana-2")
SIZES = [(ratio, tier) for ratio in ASPECT_RATIOS if ratio != "auto" for tier in RESOLUTIONS]


def test_the_product_name_and_both_ids_are_the_same_model_to_a_caller() -> None:
    assert NANO.id == DEFAULT_MODEL == "gemini-3.1-flash-image-preview"
    assert NANO is spec_for(DEFAULT_MODEL) is spec_for("gemini-3.1-flash-image")
    assert NANO.ids == spellings("nano-banana-2") == (DEFAULT_MODEL, "gemini-3.1-flash-image")
    assert spellings("gemini-3.1-flash-image") == NANO.ids[::-1]
    assert (NANO.successor, NANO.retired, NANO.known) == ("gemini-nano-banana-2.1", None, True)
    assert set(NANO.ids) < set(KNOWN_MODELS)


def test_an_id_is_sent_as_it_is_spelled_and_an_alias_as_the_preferred_id() -> None:
    names = (DEFAULT_MODEL, "gemini-3.1-flash-image", "nano-banana-2", "nano-banana-2.1", "new")
    assert [model_id(name) for name in names] == [*NANO.ids, DEFAULT_MODEL, "gemini-nano-banana-2.1", "new"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (DEFAULT_MODEL, "gemini-3.1-flash-image", True),
        ("gemini-3.1-flash-image", "nano-banana-2", True),
        (DEFAULT_MODEL, "gemini-nano-banana-2.1", False),
        ("new", "new", True),
        ("new", "newer", False),
        (None, DEFAULT_MODEL, False),
    ],
)
def test_which_ids_are_spellings_of_one_model(one: str | None, other: str, same: bool) -> None:
    assert same_model(one, other) == same == same_model(other, one)


def test_the_successor_has_its_own_rules() -> None:
    spec = spec_for("nano-banana-2.1")
    assert spec.ids == ("gemini-nano-banana-2.1",)
    assert spec.sizes == ASPECT_RATIOS[1:]
    assert spec.resolutions == ("1K", "2K", "4K")
    assert (spec.max_n, spec.max_references, spec.masks, spec.reports_usage) == (1, 14, False, True)
    assert (spec.price("1K"), spec.price_list) == (None, "")
    assert spec.pixels(None, None) == (1024, 1024)


@pytest.mark.parametrize(
    ("resolution", "price"), [(None, "0.0375"), ("0.5K", "0.0375"), ("1K", "0.0375"), ("2K", "0.05"), ("4K", "0.075")]
)
def test_prices_are_those_of_the_product_page(resolution: str | None, price: str) -> None:
    assert NANO.price(resolution) == Decimal(price)
    assert NANO.price_list == "list price of 2026-09-22"


@pytest.mark.parametrize(
    ("ratio", "tier", "pixels"),
    [
        ("1:1", None, (1024, 1024)),
        ("16:9", "2K", (2752, 1536)),
        ("21:9", "0.5K", (792, 168)),
        ("1:8", "4K", (1536, 12288)),
        ("auto", "4K", None),
        (None, "4K", None),
    ],
)
def test_pixels(ratio: str | None, tier: str | None, pixels: tuple[int, int] | None) -> None:
    assert NANO.pixels(ratio, tier) == pixels


@pytest.mark.parametrize(("ratio", "tier"), SIZES)
def test_every_size_of_the_table_maps_to_itself(ratio: str, tier: str) -> None:
    pixels = NANO.pixels(ratio, tier)
    assert pixels is not None
    fit = fit_pixels(*pixels)
    assert (fit.aspect_ratio, fit.resolution) == (ratio, tier)
    assert NANO.resolution_of(*pixels) == tier


@pytest.mark.parametrize(
    ("width", "height", "ratio", "tier"),
    [
        (1920, 1080, "16:9", "2K"),  # 1K is 1376×768: smaller
        (1792, 1024, "16:9", "2K"),
        (1376, 700, "16:9", "1K"),
        (1000, 100, "8:1", "0.5K"),
        (600, 600, "1:1", "1K"),
        (3840, 2160, "16:9", "4K"),
        (1, 1, "1:1", "0.5K"),
    ],
)
def test_pixels_map_to_the_nearest_ratio_and_the_smallest_tier_that_covers(
    width: int, height: int, ratio: str, tier: str
) -> None:
    fit = fit_pixels(width, height)
    assert (fit.aspect_ratio, fit.resolution) == (ratio, tier)


@pytest.mark.parametrize(("width", "height", "said"), [(0, 5, "at least 1"), (9000, 9000, "4096x4096")])
def test_pixels_that_no_size_covers_are_refused_with_the_largest(width: int, height: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_pixels(width, height)


def test_an_unknown_model_has_base_limits_and_no_price() -> None:
    spec = spec_for("something-new")
    assert (spec.id, spec.max_references, spec.price("2K"), spec.pixels("1:1", "1K")) == (
        "something-new",
        14,
        None,
        None,
    )
    assert spec.resolution_of(1024, 1024) is None
    assert spec_for("gpt-image-2").max_references == 16


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Nano-Banana-2.1", "gemini-nano-banana-2.1"),
        ("NANO-BANANA-2", "gemini-3.1-flash-image-preview"),
        ("Gemini-3.1-Flash-Image", "gemini-3.1-flash-image"),
        ("GEMINI-3.1-flash-image-PREVIEW", "gemini-3.1-flash-image-preview"),
        ("Midjourney-V8.2", "midjourney-v8.2"),
        ("GPT-Image-2", "gpt-image-2"),
        ("A-Model-Of-Tomorrow", "A-Model-Of-Tomorrow"),
    ],
)
def test_the_case_of_a_name_does_not_count(name: str, sent: str) -> None:
    assert (model_id(name), spec_for(name)) == (sent, spec_for(sent))
    assert ImageRequest(prompt="a cat", model=f" {name} ").model == sent
    assert spellings(name) == spellings(sent)
    assert same_model(name, sent)
    assert same_model(sent, name)


def test_models_that_the_table_does_not_hold_are_their_own() -> None:
    assert not same_model("a-model", "A-Model")
    assert not same_model("a-model", "nano-banana-2")
    assert not same_model(None, "a-model")


@pytest.mark.parametrize("name", ["prices", "retired_ids", "pixel_table"])
def test_nobody_changes_the_table_for_others(name: str) -> None:
    spec = spec_for(DEFAULT_MODEL)
    found = getattr(spec, name)
    with pytest.raises(TypeError):
        found["1K"] = Decimal(0)
    with pytest.raises(TypeError):
        spec.pixel_table["1:1"]["1K"] = (1, 1)  # type: ignore[index]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda spec: pickle.loads(pickle.dumps(spec))])
def test_a_spec_can_be_copied(make: Callable[[ModelSpec], ModelSpec]) -> None:
    for spec in (*known_specs(), spec_for("a-model-of-tomorrow")):
        made = make(spec)
        assert made == spec
        with pytest.raises(TypeError):
            made.prices["1K"] = Decimal(0)  # type: ignore[index]
    assert replace(spec_for(DEFAULT_MODEL), prices={"1K": Decimal(1)}).price("1K") == 1


@pytest.mark.parametrize("model", ["midjourney-v9", "Midjourney-V8.2", "midjourney-v8.2", "something-new"])
def test_a_502_is_not_repeated_for_a_model_whose_rule_nobody_knows(model: str) -> None:
    assert not spec_for(model).resubmit_502
    assert spec_for("gpt-image-2").resubmit_502
