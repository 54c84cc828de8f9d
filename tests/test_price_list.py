"""The gateway's public price list: every shape that a list may have, and each client over HTTP."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from doors import DOORS, Door
from hand_driver import BASE_URL, WALL, HandDriver, context, page, refusal, reply

from apimaster import APIMaster, ModelPrice, PriceList
from apimaster._flows.operations import Reply
from apimaster._flows.pricing import price_list
from apimaster._wire.messages import Unreadable
from apimaster._wire.pricing import marketplace_call, pricing_call, read_prices
from apimaster.catalog import DEFAULT_MODEL, KNOWN_MODELS, RESOLUTIONS, spec_for, spellings
from apimaster.emulator import Emulator
from apimaster.errors import APIConnectionError, APIMasterError, BadRequestError, InternalServerError, NotFoundError

FOUR = {"0.5K": Decimal("0.045"), "1K": Decimal("0.067"), "2K": Decimal("0.101"), "4K": Decimal("0.151")}
LOWER = {name.lower(): float(price) for name, price in FOUR.items()}
ROW = {"model_name": "m", "quota_type": 1, "model_price": 0.045, "enable_groups": ["default", "vip"]}


def listed(*rows: object, **envelope: object) -> Reply:
    return reply({"success": True, "data": list(rows), **envelope})


def read_one(**changes: object) -> ModelPrice:
    ((model,), _) = read_prices(listed({**ROW, **changes}))
    return model


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


# --- what a list says -------------------------------------------------------------------------------------


def test_both_calls_go_beside_v1_and_without_the_key() -> None:
    for call in (pricing_call(), marketplace_call("a b")):
        assert (call.method, call.beside_v1, call.public) == ("GET", True, True)
        assert call.max_bytes
    assert marketplace_call("a b").query == {"model": "a b"}


def test_a_price_for_each_image() -> None:
    assert read_one() == ModelPrice(model="m", flat=Decimal("0.045"), groups=("default", "vip"))
    assert read_one().price("4K") == Decimal("0.045")


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution_prices": LOWER},
        {"pricing": {"image": {"by_resolution": LOWER}}},
        {"price": {name: str(price) for name, price in FOUR.items()}},
        {"price": {name: {"price": price} for name, price in LOWER.items()}},
        {"tiers": [{"resolution": name, "price": price} for name, price in LOWER.items()]},
        {"tiers": [{"size": name, "price_usd": f"${price}"} for name, price in LOWER.items()]},
        {"billing_mode": "tiered_expr", "billing_expr": "…", "image_prices": {**LOWER, "8k": 3, "note": "x"}},
        {"quota_type": 0, "model_price": 0, "prices": LOWER},
    ],
)
def test_prices_by_resolution_are_found_wherever_they_are(changes: dict[str, object]) -> None:
    model = read_one(**changes)
    assert (model.billing, dict(model.prices), model.flat) == ("image", FOUR, None)
    assert model.price() == FOUR["1K"]
    assert [model.price(resolution) for resolution in RESOLUTIONS] == list(FOUR.values())


def test_a_resolution_that_the_list_leaves_out_has_no_price() -> None:
    model = read_one(resolution_prices={"1k": 0.067, "2K": None, "4k": "much"})
    assert (model.price("1K"), model.price("2K"), model.price("4K")) == (Decimal("0.067"), None, None)


@pytest.mark.parametrize(
    ("changes", "billing"),
    [
        ({"quota_type": 0, "model_price": 0, "model_ratio": 37.5}, "token"),
        ({"billing_mode": "tiered_expr", "billing_expr": "p * 2"}, "unknown"),
        ({"model_price": None}, "unknown"),
        ({"model_price": -1}, "unknown"),
        ({"model_price": True}, "unknown"),
        ({"model_price": "NaN"}, "unknown"),
        ({"model_price": "1e999999"}, "unknown"),
        ({"model_price": []}, "unknown"),
    ],
)
def test_what_is_no_price_is_none(changes: dict[str, object], billing: str) -> None:
    model = read_one(**changes)
    assert (model.billing, model.flat, model.prices, model.price("1K")) == (billing, None, {}, None)


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "data": [ROW]},
        {"data": [ROW, 3, None, {"quota_type": 1}]},
        {"code": 200, "data": {"models": [ROW]}},
        {"data": {"items": [ROW], "total": 1}},
        {"data": {"model": "m", "price": "0.045", "enable_groups": ["default", "vip"]}},
        {"data": {"m": {"price": 0.045, "enable_groups": ["default", "vip"]}}},
        {"models": [{**ROW, "id": 7}]},
        {**ROW, "model_price": "$0.045"},
    ],
)
def test_the_rows_are_found_wherever_they_are(document: object) -> None:
    assert read_prices(reply(document)) == ((read_one(),), {})


@pytest.mark.parametrize(
    "document",
    [
        {"success": False, "message": "not logged in"},
        {"success": False, "data": [ROW]},
        {"code": False, "data": []},
        {"error": {"message": "no"}, "data": []},
        {"success": True},
        {"success": True, "data": None},
        {"data": {}},
        {"data": "soon"},
        [ROW],
        b"<!doctype html>",
        b"",
        b'{"success": true, "data": [{"mod',
    ],
)
def test_what_is_no_list_of_prices_is_unreadable(document: Any) -> None:
    with pytest.raises(Unreadable):
        read_prices(reply(document))


def test_the_ratios_of_groups() -> None:
    _, ratios = read_prices(listed(group_ratio={"default": 1, "vip": 0.8, "odd": "x", "minus": -1}))
    assert ratios == {"default": Decimal(1), "vip": Decimal("0.8")}
    prices = PriceList(url="u", read_at=0, models=(read_one(resolution_prices=LOWER),), group_ratios=ratios)
    assert prices.price("m", "2K") == Decimal("0.101")
    assert prices.price("m", "2K", group="vip") == Decimal("0.0808")
    assert prices.price("m", "2K", group="other") is None
    assert prices.price("n") is None
    assert PriceList.model_validate_json(prices.model_dump_json()) == prices


# --- the flow ---------------------------------------------------------------------------------------------


def test_one_model_under_any_of_its_spellings() -> None:
    driver = HandDriver([listed({**ROW, "model_name": "other"}, {**ROW, "model_name": "b"}, group_ratio={"x": 2})])
    found = driver.run(price_list(context(), 60, ("a", "b")))
    assert ([each.model for each in found.models], found.group_ratios) == (["b"], {"x": Decimal(2)})
    assert (found.url, found.read_at) == (BASE_URL.removesuffix("/v1") + "/api/pricing", WALL)
    assert driver.paths == ["GET /api/pricing"]


def test_what_the_list_does_not_price_is_asked_for_by_itself() -> None:
    tokens = listed({**ROW, "model_name": "a", "quota_type": 0}, group_ratio={"x": 2})
    driver = HandDriver([tokens, listed(), listed({"model": "b", "price": LOWER})])
    found = driver.run(price_list(context(), 60, ("a", "b")))
    assert found.price("b", "4K") == FOUR["4K"]
    assert (found.group_ratios, found.url.endswith("/api/public/marketplace")) == ({"x": Decimal(2)}, True)
    assert driver.paths == ["GET /api/pricing", *["GET /api/public/marketplace"] * 2]


def test_a_page_of_one_model_alone() -> None:
    driver = HandDriver([page(404), listed({"model": "a", "price": 0.5})])
    assert driver.run(price_list(context(), 60, ("a",))).price("a") == Decimal("0.5")


def test_a_model_whose_price_nobody_tells_is_no_error() -> None:
    tokens = listed({**ROW, "model_name": "a", "quota_type": 0})
    found = HandDriver([tokens, page(404)]).run(price_list(context(), 60, ("a",)))
    assert ([each.billing for each in found.models], found.price("a")) == (["token"], None)
    assert HandDriver([listed(), listed()]).run(price_list(context(), 60, ("a",))).models == ()
    assert HandDriver([page(404), listed()]).run(price_list(context(), 60, ("a",))).models == ()


NOT_PUBLIC = (page(404), page(200), refusal(404), refusal(401), refusal(403), reply({"success": False}))


@pytest.mark.parametrize("answer", NOT_PUBLIC)
@pytest.mark.parametrize("ids", [(), ("a",)])
def test_a_gateway_without_prices(answer: Reply, ids: tuple[str, ...]) -> None:
    driver = HandDriver([answer] * 2)
    with pytest.raises(NotFoundError, match="This gateway has no public price list: ") as caught:
        driver.run(price_list(context(), 60, ids))
    assert (caught.value.billed, caught.value.status_code) == ("no", answer.status)
    assert "console" in caught.value.advice
    assert len(driver.sent) == 1 + len(ids)


def test_a_gateway_that_is_down_has_prices_all_the_same() -> None:
    with pytest.raises(InternalServerError):
        HandDriver([refusal(500)] * 4).run(price_list(context(), 60, ("a",)))


# --- over HTTP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DOORS)
def test_the_emulator_publishes_what_it_charges(emu: Emulator, kind: str) -> None:
    door = Door(kind, emu)
    found = door("price_list")
    assert [each.model for each in found.models] == list(KNOWN_MODELS)
    for each in found.models:
        for resolution in RESOLUTIONS:
            spec = spec_for(each.model)
            # The successor has no published price: the emulator takes that of the model that it follows.
            followed = spec_for(DEFAULT_MODEL) if spec_for(DEFAULT_MODEL).successor == spec.id else spec
            expected = followed.price(resolution) if resolution in spec.resolutions else None
            assert found.price(each.model, resolution) == expected
            assert found.price(each.model, resolution, group="default") == expected
    assert found.url == emu.base_url.removesuffix("/v1") + "/api/pricing"
    one = door("price_list", model="nano-banana-2")
    assert [each.model for each in one.models] == list(spellings(DEFAULT_MODEL))
    assert one.price(DEFAULT_MODEL, "2K") == Decimal("0.05")
    assert not any(request.had_authorization for request in emu.requests)
    assert emu.complaints == []
    assert emu.bill.entries == ()


def test_a_model_that_the_emulator_does_not_price(emu: Emulator) -> None:
    door = Door("sync", emu)
    assert door("price_list", model="gpt-image-2").find("gpt-image-2").billing == "token"
    assert door("price_list", model="nobody-1").models == ()
    assert [request.query for request in emu.requests_to("pricing")][1::2] == ["model=gpt-image-2", "model=nobody-1"]


@pytest.mark.parametrize("kind", DOORS)
def test_an_older_emulator(kind: str) -> None:
    with Emulator(price_routes=False) as emu:
        for options in ({}, {"model": "gpt-image-2"}):
            error = Door(kind, emu).error("price_list", **options)
            assert type(error) is NotFoundError
            assert "no public price list" in error.message


@pytest.mark.parametrize("fault", ["pricing_refused", "pricing_html_200", "pricing_garbage"])
def test_a_list_that_can_not_be_read(emu: Emulator, fault: str) -> None:
    emu.script(fault)
    assert type(Door("sync", emu).error("price_list")) is NotFoundError


@pytest.mark.parametrize("kind", DOORS)
def test_a_passing_fault_and_a_list_that_is_too_large(
    emu: Emulator, kind: str, without_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    emu.script("pricing_500", times=2)
    assert Door(kind, emu)("price_list").models
    monkeypatch.setattr("apimaster._wire.pricing.MAX_BYTES", 1000)
    emu.script("reply", on="pricing", times=None, status=200, body=json.dumps({"data": [ROW] * 1000}))
    error: APIMasterError = Door(kind, emu).error("price_list")
    assert type(error) is APIConnectionError
    assert "it is larger than" in error.message
    emu.clear_script()


@pytest.mark.parametrize("model", ["", "  ", 3, b"gpt-image-2", ["gpt-image-2"], True])
def test_what_is_no_model_is_refused_before_anything_is_sent(emu: Emulator, model: Any) -> None:
    for kind in ("sync", "async"):
        error = Door(kind, emu).error("price_list", model=model)
        assert type(error) is BadRequestError
        assert "model must be a model id" in error.message
    assert emu.requests == []


@pytest.mark.parametrize(
    ("settings", "model", "resolution", "price"),
    [
        ({}, "gemini-nano-banana-2.1", "1K", "0.0375"),
        ({}, "gemini-nano-banana-2.1", "4K", "0.075"),
        ({"prices": {"nano-banana-2.1": {"1K": "0.05"}}}, "gemini-nano-banana-2.1", "1K", "0.05"),
        ({"prices": {"gpt-image-2": {"1K": Decimal("0.04")}}}, "gpt-image-2", "1K", "0.04"),
        ({"prices": {"gemini-3.1-flash-image": {"2K": "0.101"}}}, "gemini-3.1-flash-image-preview", "2K", "0.101"),
        ({"prices": {"nobodys": {"1K": 1}}, "models": ["nobodys"]}, "nobodys", None, "1"),
    ],
)
def test_the_emulator_lists_what_it_charges(settings: dict[str, Any], model: str, resolution: Any, price: str) -> None:
    with (
        Emulator(pictures="plain", **settings) as emulator,
        APIMaster(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        assert client.price_list().price(model, resolution) == Decimal(price)
        for mode in ("sync", "async"):
            client.generate("a boat", model=model, resolution=resolution, mode=mode)
        assert [each.amount for each in emulator.bill.charges] == [Decimal(price)] * 2
        assert [each.cost for each in client.charges()] == [Decimal(price)] * 2
        assert client.account().used == 2 * Decimal(price)


def test_a_model_that_nobody_has_set_a_price_for_is_listed_by_tokens() -> None:
    with Emulator() as emulator, APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
        listed = client.price_list()
        assert {
            each.model: each.billing for each in listed.models if each.model.startswith(("gpt-image", "gemini"))
        } == {
            "gemini-3.1-flash-image-preview": "image",
            "gemini-3.1-flash-image": "image",
            "gemini-nano-banana-2.1": "image",
            "gpt-image-2": "token",
        }


@pytest.mark.parametrize(
    "prices",
    [
        *({"nope": {"1K": "1"}}, {"gpt-image-2": {}}, {"gpt-image-2": {"8K": "1"}}, {"gpt-image-2": "0.05"}),
        *({"gpt-image-2": {"1K": value}} for value in ("much", "-1", "nan", "inf", True, 0.05, None)),
    ],
)
def test_prices_that_are_none(prices: Any) -> None:
    with pytest.raises(ValueError, match="prices"):
        Emulator(prices=prices)
