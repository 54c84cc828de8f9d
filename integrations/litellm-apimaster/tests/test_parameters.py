"""Every parameter, through every door, compared with what the gateway received."""

from __future__ import annotations

import copy
import inspect
import io
import re
from typing import Any

import litellm
import pytest
from litellm import Router

URLS = ["https://example.com/a.png", "https://example.com/b.jpg"]
RATIO, TIER = "size", "resolution"  # the gateway's own names

# what is said → what the gateway must receive beside model and prompt, and how many jobs
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "nothing": ({}, {}, 1),
    "size: a ratio": ({"size": "16:9"}, {RATIO: "16:9"}, 1),
    "size: auto": ({"size": "auto"}, {RATIO: "auto"}, 1),
    "size: exact pixels": ({"size": "1024x1024"}, {RATIO: "1:1", TIER: "1K"}, 1),
    "size: other pixels": ({"size": "1920x1080"}, {RATIO: "16:9", TIER: "2K"}, 1),
    "size: small pixels": ({"size": "256x256"}, {RATIO: "1:1", TIER: "0.5K"}, 1),
    "aspect_ratio": ({"aspect_ratio": "4:5"}, {RATIO: "4:5"}, 1),
    "resolution": ({"resolution": "4k"}, {TIER: "4K"}, 1),
    "aspect_ratio and resolution": ({"aspect_ratio": "21:9", "resolution": "0.5K"}, {RATIO: "21:9", TIER: "0.5K"}, 1),
    "size in pixels and resolution": ({"size": "1920x1080", "resolution": "4K"}, {RATIO: "16:9", TIER: "4K"}, 1),
    "quality: low": ({"quality": "low"}, {TIER: "0.5K"}, 1),
    "quality: medium": ({"quality": "medium"}, {}, 1),
    "quality: standard": ({"quality": "standard"}, {}, 1),
    "quality: auto": ({"quality": "auto"}, {}, 1),
    "quality: high": ({"quality": "high"}, {TIER: "2K"}, 1),
    "quality: hd": ({"quality": "hd"}, {TIER: "2K"}, 1),
    "quality and resolution": ({"quality": "hd", "resolution": "1K"}, {TIER: "1K"}, 1),
    "quality and pixels": ({"quality": "hd", "size": "1024x1024"}, {RATIO: "1:1", TIER: "1K"}, 1),
    "n": ({"n": 3}, {}, 3),
    "google_search": ({"google_search": True}, {"google_search": True}, 1),
    "google_image_search": ({"google_image_search": True}, {"google_image_search": True}, 1),
    "client_reference_id": ({"client_reference_id": "order-7"}, {"client_reference_id": "order-7"}, 1),
    "user": ({"user": "somebody"}, {}, 1),
    "response_format": ({"response_format": "url"}, {}, 1),
    "extra_body": (
        {"extra_body": {"resolution": "2K", "google_search": True, "aspect_ratio": "3:2"}},
        {TIER: "2K", "google_search": True, RATIO: "3:2"},
        1,
    ),
    "an unknown field": ({"extra_body": {"style_preset": "woodcut"}}, {"style_preset": "woodcut"}, 1),
}


@pytest.fixture(autouse=True)
def at_once(gateway):
    """Submits are answered with the picture: nothing here is about waiting."""
    gateway.dialect = "submit_as_image"


def received(order: Any) -> dict[str, Any]:
    """What was asked for, without what every request has and without the references."""
    own = {"model", "prompt", "image_urls"}
    assert order.body["model"] == "gemini-3.1-flash-image-preview"
    assert order.body["prompt"] == "a red kite"
    return {name: value for name, value in order.body.items() if name not in own}


def check(orders: Any, expected: dict[str, Any], jobs: int) -> None:
    seen = orders()
    assert [received(order) for order in seen] == [expected] * jobs


@pytest.mark.parametrize("case", CASES)
def test_a_generation_parameter_arrives(case, generate, orders):
    said, expected, jobs = CASES[case]
    answer = generate(prompt="a red kite", **said)
    check(orders, expected, jobs)
    assert len(answer.data) == jobs
    assert all(image.url.startswith("http://127.0.0.1:") for image in answer.data)


# LiteLLM 1.80 itself loses these on the way from aimage_edit to image_edit, before a handler can see them.
LOST_BY_LITELLM = {"extra_body", "extra_headers"} - set(
    re.findall(r"^\s+(extra_\w+)=extra_\w+,$", inspect.getsource(inspect.unwrap(litellm.aimage_edit)), re.MULTILINE)
)


def skip_if_lost(said, request):
    if LOST_BY_LITELLM & said.keys() and "async" in request.node.callspec.id:
        pytest.skip(f"this LiteLLM's aimage_edit drops {', '.join(LOST_BY_LITELLM)}")


@pytest.mark.parametrize("case", CASES)
def test_an_edit_parameter_arrives(case, edit, orders, picture, request):
    said, expected, jobs = CASES[case]
    skip_if_lost(said, request)
    answer = edit(prompt="a red kite", image=picture, **said)
    check(orders, expected, jobs)
    assert len(answer.data) == jobs
    assert {len(order.references) for order in orders()} == {1}


def test_reference_urls_of_a_generation_arrive(generate, orders):
    generate(prompt="a red kite", image_urls=URLS)
    assert [seen.url for seen in orders()[0].references] == URLS


def test_reference_urls_of_an_edit_come_after_its_pictures(edit, orders, picture):
    edit(prompt="a red kite", image=picture, image_urls=URLS)
    assert [seen.url for seen in orders()[0].references] == [None, *URLS]


@pytest.mark.parametrize("count", [1, 3, 14])
def test_so_many_pictures_of_an_edit_arrive(count, edit, orders, picture, tmp_path):
    pictures = [("a.png", io.BytesIO(picture)) for _ in range(count)]
    edit(prompt="a red kite", image=pictures)
    assert [seen.size for seen in orders()[0].references] == [len(picture)] * count


def test_b64_json_comes_back_as_a_picture(generate):
    answer = generate(prompt="a red kite", response_format="b64_json", n=2)
    assert [image.url for image in answer.data] == [None, None]
    assert all(image.b64_json.startswith("iVBORw0KGgo") for image in answer.data)


def test_b64_json_of_an_edit_comes_back_as_a_picture(edit, picture):
    answer = edit(prompt="a red kite", response_format="b64_json", image=picture)
    assert answer.data[0].b64_json.startswith("iVBORw0KGgo")


FORMS = {
    "bytes": lambda data, path: data,
    "open file": lambda data, path: path.open("rb"),
    "bytes in a file": lambda data, path: io.BytesIO(data),
    "name and bytes": lambda data, path: ("a.png", data),
    "name, file and type": lambda data, path: ("a.png", io.BytesIO(data), "image/png"),
    "path": lambda data, path: path,
    "path as text": lambda data, path: str(path),
    "list": lambda data, path: [data],
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_picture_is_taken(form, account, orders, picture, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(picture)
    given = FORMS[form](picture, path)
    litellm.image_edit(image=given, prompt="a red kite", **account)
    assert [seen.size for seen in orders()[0].references] == [len(picture)]
    if hasattr(given, "close"):
        given.close()


def test_a_url_and_a_data_uri_are_taken_as_pictures(account, orders, picture_uri):
    litellm.image_edit(image=[URLS[0], picture_uri], prompt="a red kite", **account)
    assert [seen.kind for seen in orders()[0].references] == ["url", "data"]


def test_arguments_by_position_arrive(gateway, orders):
    here = {"api_key": "sk-first", "api_base": gateway.base_url}
    litellm.image_generation("a red kite", "apimaster/nano-banana-2", 2, "hd", None, "16:9", **here)
    check(orders, {RATIO: "16:9", TIER: "2K"}, 2)


UNSUPPORTED = {
    "style": "vivid",
    "background": "transparent",
    "output_format": "webp",
    "output_compression": 50,
    "moderation": "low",
    "input_fidelity": "high",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_an_error_and_costs_nothing(name, generate, gateway):
    with pytest.raises(Exception, match=f"does not support: {name}") as caught:
        generate(prompt="a red kite", **{name: UNSUPPORTED[name]})
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


def test_a_mask_is_not_supported(edit, gateway, picture):
    with pytest.raises(Exception, match="does not support: mask") as caught:
        edit(prompt="a red kite", image=picture, mask=("mask.png", picture))
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


def test_what_is_not_supported_is_dropped_on_demand(account, orders, picture, monkeypatch):
    litellm.image_generation(prompt="a red kite", drop_params=True, **UNSUPPORTED, **account)
    litellm.image_edit(prompt="a red kite", image=picture, mask=picture, drop_params=True, style="vivid", **account)
    monkeypatch.setattr(litellm, "drop_params", True)
    litellm.image_generation(prompt="a red kite", style="vivid", **account)
    litellm.image_generation(prompt="a red kite", additional_drop_params=["resolution"], resolution="4K", **account)
    assert [received(order) for order in orders()] == [{}] * 4


BAD = {
    "size": ({"size": "7:8"}, "'7:8'.*accepted: auto, 1:1"),
    "too many pixels": ({"size": "20000x20000"}, "too large"),
    "resolution": ({"resolution": "8K"}, "'8K'.*accepted: 0.5K, 1K, 2K, 4K"),
    "n too large": ({"n": 11}, "n must be a whole number from 1 to 10, not 11"),
    "n zero": ({"n": 0}, "n must be a whole number from 1 to 10, not 0"),
    "quality": ({"quality": "superb"}, "'superb' is not accepted; accepted: low, medium"),
    "response_format": ({"response_format": "png"}, "'png' is not accepted; accepted: url, b64_json"),
    "google_search": ({"google_search": "maybe"}, "google_search must be true or false, not 'maybe'"),
    "a path as image_urls": ({"image_urls": ["/etc/hostname"]}, "'/etc/hostname' is not accepted"),
    "too many image_urls": ({"image_urls": [URLS[0]] * 15}, "at most 14"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_named_and_costs_nothing(case, generate, gateway):
    said, words = BAD[case]
    with pytest.raises(Exception, match=words) as caught:
        generate(prompt="a red kite", **said)
    assert caught.value.status_code == 400
    assert not gateway.requests


def test_a_15th_picture_is_an_error(edit, gateway, picture):
    with pytest.raises(Exception, match="at most 14") as caught:
        edit(prompt="a red kite", image=[("a.png", picture)] * 15)
    assert caught.value.status_code == 400
    assert not gateway.requests


def test_a_client_of_the_proxy_cannot_name_a_file_of_its_machine(proxy, gateway, tmp_path, picture):
    path = tmp_path / "secret.png"
    path.write_bytes(picture)
    ask = proxy.client.images
    for name in ("image", "image_urls", "image_urls[]"):
        with pytest.raises(Exception, match=r"4\d\d") as caught:
            ask.edit(model="nano-banana-1", prompt="a cat", image=("a.png", picture), extra_body={name: str(path)})
        assert 400 <= caught.value.status_code < 500
    assert not any(seen.route == "submit" for seen in gateway.requests)


def test_a_list_that_litellms_proxy_would_cut_short_is_an_error(proxy, gateway, picture):
    with pytest.raises(Exception, match="several fields of a form") as caught:
        proxy.client.images.edit(
            model="nano-banana-1", prompt="a cat", image=("a.png", picture), extra_body={"image_urls": URLS}
        )
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


def test_parameters_of_other_models_are_passed_on(account, orders):
    said = {"quality": "high", "background": "transparent", "size": "1536x1024"}
    litellm.image_generation(prompt="a red kite", **said, **account | {"model": "apimaster/gpt-image-2"})
    body = orders()[0].body
    assert {name: body[name] for name in said} == said
    assert "resolution" not in body


PRECEDENCE = {
    # what the deployment sets, what the call says, what the gateway must receive
    "default": ({"resolution": "2K", "aspect_ratio": "16:9"}, {}, {TIER: "2K", RATIO: "16:9"}),
    "same name": ({"resolution": "2K"}, {"resolution": "4K"}, {TIER: "4K"}),
    "call in extra_body": ({"resolution": "2K"}, {"extra_body": {"resolution": "4K"}}, {TIER: "4K"}),
    "deployment in extra_body": ({"extra_body": {"resolution": "2K"}}, {"resolution": "4K"}, {TIER: "4K"}),
    "both in extra_body": (
        {"extra_body": {"resolution": "2K", "google_search": True}},
        {"extra_body": {"resolution": "4K"}},
        {TIER: "4K", "google_search": True},
    ),
    "size over aspect_ratio": ({"aspect_ratio": "16:9"}, {"size": "3:4"}, {RATIO: "3:4"}),
    "aspect_ratio over size": ({"size": "16:9"}, {"aspect_ratio": "3:4"}, {RATIO: "3:4"}),
    "pixels over resolution": ({"resolution": "4K"}, {"size": "1024x1024"}, {RATIO: "1:1", TIER: "1K"}),
    "quality under resolution": ({"resolution": "4K"}, {"quality": "hd"}, {TIER: "4K"}),
    "resolution over quality": ({"quality": "hd"}, {"resolution": "1K"}, {TIER: "1K"}),
    "unknown field": ({"extra_body": {"lens": "wide"}}, {"size": "1:1"}, {RATIO: "1:1", "lens": "wide"}),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_the_call_is_stronger_than_the_deployment(case, deploy, orders):
    defaults, said, expected = PRECEDENCE[case]
    router = Router(model_list=[deploy(**defaults)], num_retries=0)
    router.image_generation(model="image", prompt="a red kite", **said)
    assert received(orders()[0]) == expected


def test_a_litellm_that_keeps_its_routers_elsewhere_is_reported(deploy, orders, monkeypatch, caplog):
    monkeypatch.setattr("litellm_apimaster.deployment_defaults._routers", lambda: iter(()))
    router = Router(model_list=[deploy(aspect_ratio="16:9")], num_retries=0)
    router.image_generation(model="image", prompt="a red kite", size="3:4")
    assert len(orders()) == 1
    assert "does not keep its Routers where this package knows to look" in caplog.text


def test_a_deployments_defaults_hold_for_the_proxys_clients(proxy, orders, gateway):
    draw = proxy.client.images.generate
    draw(model="nano-banana-wide", prompt="a red kite")
    draw(model="nano-banana-wide", prompt="a red kite", extra_body={"resolution": "4K"})
    draw(model="nano-banana-wide", prompt="a red kite", size="1:1")
    assert [received(order) for order in orders()] == [
        {RATIO: "16:9", TIER: "2K"},
        {RATIO: "16:9", TIER: "4K"},
        {RATIO: "1:1", TIER: "2K"},
    ]


def test_extra_headers_reach_the_gateway(generate, gateway):
    generate(prompt="a red kite", extra_headers={"x-trace": "7"})
    assert {seen.headers.get("x-trace") for seen in gateway.requests} == {"7"}


LITELLMS_OWN = {
    "metadata": {"tags": ["a"]},
    "tags": ["b"],
    "num_retries": 1,
    "caching": False,
    "cache": {"no-cache": True},
    "litellm_call_id": "call-7",
    "litellm_trace_id": "trace-7",
    "drop_params": True,
    "user": "somebody",
    "extra_headers": {"x-a": "b"},
    "timeout": 30,
    "fallbacks": [],
    "no-log": True,
}


@pytest.mark.parametrize("name", LITELLMS_OWN)
def test_no_parameter_of_litellms_own_reaches_the_gateway(name, generate, orders):
    # A copy: LiteLLM writes its own notes into a caller's metadata.
    generate(prompt="a red kite", **{name: copy.deepcopy(LITELLMS_OWN[name])})
    assert [received(order) for order in orders()] == [{}]


@pytest.mark.parametrize("name", LITELLMS_OWN)
def test_none_of_an_edit_does_either(name, edit, orders, picture):
    edit(prompt="a red kite", image=picture, **{name: copy.deepcopy(LITELLMS_OWN[name])})
    assert [received(order) for order in orders()] == [{}]
