"""Every parameter, through every entry point, compared with what the gateway received."""

from __future__ import annotations

import copy
import inspect
import io
import re
import uuid
from typing import Any

import litellm
import pytest
from litellm import Router

from apimaster.catalog import spec_for
from litellm_apimaster.shape import shape_of

URLS = ["https://example.com/a.png", "https://example.com/b.jpg"]
# The gateway's names for them.
ASPECT_RATIO, RESOLUTION = "size", "resolution"

# case: the arguments of the call, what the gateway must receive besides model and prompt, and how many purchases
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "nothing": ({}, {}, 1),
    "size: a ratio": ({"size": "16:9"}, {ASPECT_RATIO: "16:9"}, 1),
    "size: auto": ({"size": "auto"}, {ASPECT_RATIO: "auto"}, 1),
    "size: exact pixels": ({"size": "1024x1024"}, {ASPECT_RATIO: "1:1", RESOLUTION: "1K"}, 1),
    "size: other pixels": ({"size": "1920x1080"}, {ASPECT_RATIO: "16:9", RESOLUTION: "2K"}, 1),
    "size: small pixels": ({"size": "256x256"}, {ASPECT_RATIO: "1:1", RESOLUTION: "0.5K"}, 1),
    "aspect_ratio": ({"aspect_ratio": "4:5"}, {ASPECT_RATIO: "4:5"}, 1),
    "resolution": ({"resolution": "4k"}, {RESOLUTION: "4K"}, 1),
    "aspect_ratio and resolution": (
        {"aspect_ratio": "21:9", "resolution": "0.5K"},
        {ASPECT_RATIO: "21:9", RESOLUTION: "0.5K"},
        1,
    ),
    "size in pixels and resolution": (
        {"size": "1920x1080", "resolution": "4K"},
        {ASPECT_RATIO: "16:9", RESOLUTION: "4K"},
        1,
    ),
    "quality: low": ({"quality": "low"}, {RESOLUTION: "0.5K"}, 1),
    "quality: medium": ({"quality": "medium"}, {}, 1),
    "quality: standard": ({"quality": "standard"}, {}, 1),
    "quality: auto": ({"quality": "auto"}, {}, 1),
    "quality: high": ({"quality": "high"}, {RESOLUTION: "2K"}, 1),
    "quality: hd": ({"quality": "hd"}, {RESOLUTION: "2K"}, 1),
    "quality and resolution": ({"quality": "hd", "resolution": "1K"}, {RESOLUTION: "1K"}, 1),
    "quality and pixels": ({"quality": "hd", "size": "1024x1024"}, {ASPECT_RATIO: "1:1", RESOLUTION: "1K"}, 1),
    "n": ({"n": 3}, {}, 3),
    "google_search": ({"google_search": True}, {"google_search": True}, 1),
    "google_image_search": ({"google_image_search": True}, {"google_image_search": True}, 1),
    "client_reference_id": ({"client_reference_id": "order-7"}, {"client_reference_id": "order-7"}, 1),
    "user": ({"user": "somebody"}, {}, 1),
    "response_format": ({"response_format": "url"}, {}, 1),
    "extra_body": (
        {"extra_body": {"resolution": "2K", "google_search": True, "aspect_ratio": "3:2"}},
        {RESOLUTION: "2K", "google_search": True, ASPECT_RATIO: "3:2"},
        1,
    ),
    "an unknown field": ({"extra_body": {"style_preset": "woodcut"}}, {"style_preset": "woodcut"}, 1),
}


@pytest.fixture(autouse=True)
def submit_as_image(gateway):
    """The gateway answers a submit with the image itself, so that the client does not poll."""
    gateway.dialect = "submit_as_image"


def parameters_of(purchase: Any) -> dict[str, Any]:
    """The fields of a purchase's body, except model, prompt and references."""
    omitted = {"model", "prompt", "image_urls"}
    assert purchase.body["model"] == "gemini-3.1-flash-image-preview"
    assert purchase.body["prompt"] == "a red kite"
    return {name: value for name, value in purchase.body.items() if name not in omitted}


def assert_received(purchases: Any, expected: dict[str, Any], count: int) -> None:
    assert [parameters_of(purchase) for purchase in purchases()] == [expected] * count


@pytest.mark.parametrize("case", CASES)
def test_a_parameter_of_a_generation_reaches_the_gateway(case, generate, purchases):
    arguments, expected, count = CASES[case]
    response = generate(prompt="a red kite", **arguments)
    assert_received(purchases, expected, count)
    assert len(response.data) == count
    assert all(image.url.startswith("http://127.0.0.1:") for image in response.data)


# LiteLLM 1.80 itself drops these between aimage_edit and image_edit, before it calls the provider.
DROPPED_BY_LITELLM = {"extra_body", "extra_headers"} - set(
    re.findall(r"^\s+(extra_\w+)=extra_\w+,$", inspect.getsource(inspect.unwrap(litellm.aimage_edit)), re.MULTILINE)
)


def skip_if_dropped(arguments, request):
    if DROPPED_BY_LITELLM & arguments.keys() and "async" in request.node.callspec.id:
        pytest.skip(f"this LiteLLM's aimage_edit drops {', '.join(DROPPED_BY_LITELLM)}")


@pytest.mark.parametrize("case", CASES)
def test_a_parameter_of_an_edit_reaches_the_gateway(case, edit, purchases, png, request):
    arguments, expected, count = CASES[case]
    skip_if_dropped(arguments, request)
    response = edit(prompt="a red kite", image=png, **arguments)
    assert_received(purchases, expected, count)
    assert len(response.data) == count
    assert {len(purchase.references) for purchase in purchases()} == {1}


def test_reference_urls_of_a_generation_reach_the_gateway(generate, purchases):
    generate(prompt="a red kite", image_urls=URLS)
    assert [reference.url for reference in purchases()[0].references] == URLS


def test_reference_urls_of_an_edit_follow_its_images(edit, purchases, png):
    edit(prompt="a red kite", image=png, image_urls=URLS)
    assert [reference.url for reference in purchases()[0].references] == [None, *URLS]


@pytest.mark.parametrize("count", [1, 3, 14])
def test_every_image_of_an_edit_reaches_the_gateway(count, edit, purchases, png, tmp_path):
    images = [("a.png", io.BytesIO(png)) for _ in range(count)]
    edit(prompt="a red kite", image=images)
    assert [reference.size for reference in purchases()[0].references] == [len(png)] * count


def test_b64_json_of_a_generation_holds_the_image(generate):
    response = generate(prompt="a red kite", response_format="b64_json", n=2)
    assert [image.url for image in response.data] == [None, None]
    assert all(image.b64_json.startswith("iVBORw0KGgo") for image in response.data)


def test_b64_json_of_an_edit_holds_the_image(edit, png):
    response = edit(prompt="a red kite", response_format="b64_json", image=png)
    assert response.data[0].b64_json.startswith("iVBORw0KGgo")


IMAGE_FORMS = {
    "bytes": lambda data, path: data,
    "open file": lambda data, path: path.open("rb"),
    "bytes in a file": lambda data, path: io.BytesIO(data),
    "name and bytes": lambda data, path: ("a.png", data),
    "name, file and type": lambda data, path: ("a.png", io.BytesIO(data), "image/png"),
    "path": lambda data, path: path,
    "path as text": lambda data, path: str(path),
    "list": lambda data, path: [data],
}


@pytest.mark.parametrize("form", IMAGE_FORMS)
def test_an_edit_accepts_each_form_of_an_image(form, account, purchases, png, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png)
    image = IMAGE_FORMS[form](png, path)
    litellm.image_edit(image=image, prompt="a red kite", **account)
    assert [reference.size for reference in purchases()[0].references] == [len(png)]
    if hasattr(image, "close"):
        image.close()


def test_an_edit_accepts_a_url_and_a_data_uri(account, purchases, data_uri):
    litellm.image_edit(image=[URLS[0], data_uri], prompt="a red kite", **account)
    assert [reference.kind for reference in purchases()[0].references] == ["url", "data"]


def test_positional_arguments_reach_the_gateway(gateway, purchases):
    account = {"api_key": "sk-first", "api_base": gateway.base_url}
    litellm.image_generation("a red kite", "apimaster/nano-banana-2", 2, "hd", None, "16:9", **account)
    assert_received(purchases, {ASPECT_RATIO: "16:9", RESOLUTION: "2K"}, 2)


UNSUPPORTED = {
    "style": "vivid",
    "background": "transparent",
    "output_format": "webp",
    "output_compression": 50,
    "moderation": "low",
    "input_fidelity": "high",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_parameter_is_an_error_and_costs_nothing(name, generate, gateway):
    with pytest.raises(Exception, match=f"does not support: {name}") as caught:
        generate(prompt="a red kite", **{name: UNSUPPORTED[name]})
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


def test_a_mask_is_not_supported(edit, gateway, png):
    with pytest.raises(Exception, match="does not support: mask") as caught:
        edit(prompt="a red kite", image=png, mask=("mask.png", png))
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


@pytest.mark.parametrize("parameters", [{"stream": True}, {"stream": "true"}, {"partial_images": 2}], ids=str)
@pytest.mark.parametrize("drop", [False, True])
def test_what_changes_the_form_of_the_answer_is_never_dropped(drop, parameters, account, gateway, png):
    """The picture would be charged, and a client that waits for a stream would get none."""
    for call, more in ((litellm.image_generation, {}), (litellm.image_edit, {"image": png})):
        with pytest.raises(litellm.UnsupportedParamsError, match=r"Nothing was charged.*Leave it out"):
            call(prompt="a red kite", drop_params=drop, **parameters, **more, **account)
    assert not gateway.requests


@pytest.mark.parametrize(
    "parameters",
    [
        {"background": "auto", "moderation": "auto", "quality": "auto", "output_format": "png"},
        {"stream": False, "partial_images": 0, "input_fidelity": "low", "output_compression": 100},
        {"stream": "false", "partial_images": "0"},
        dict.fromkeys(("quality", "resolution", "n", "response_format", "style", "background", "image_urls"), ""),
    ],
    ids=str,
)
def test_what_asks_for_what_happens_anyway_is_accepted(parameters, account, purchases):
    litellm.image_generation(prompt="a red kite", **parameters, **account)
    assert [parameters_of(purchase) for purchase in purchases()] == [{}]


@pytest.mark.parametrize("name", ["_skip_responses_api_bridge", "_any", "litellm_any"])
def test_what_litellm_marks_a_call_with_is_not_sent(name, generate, purchases):
    generate(prompt="a red kite", **{name: True})
    assert name not in purchases()[-1].body


def test_drop_params_drops_unsupported_parameters(account, purchases, png, monkeypatch):
    litellm.image_generation(prompt="a red kite", drop_params=True, **UNSUPPORTED, **account)
    litellm.image_edit(prompt="a red kite", image=png, mask=png, drop_params=True, style="vivid", **account)
    monkeypatch.setattr(litellm, "drop_params", True)
    litellm.image_generation(prompt="a red kite", style="vivid", **account)
    litellm.image_generation(prompt="a red kite", additional_drop_params=["resolution"], resolution="4K", **account)
    assert [parameters_of(purchase) for purchase in purchases()] == [{}] * 4


INVALID = {
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


@pytest.mark.parametrize("case", INVALID)
def test_the_error_about_an_invalid_value_names_it_and_costs_nothing(case, generate, gateway):
    arguments, pattern = INVALID[case]
    with pytest.raises(Exception, match=pattern) as caught:
        generate(prompt="a red kite", **arguments)
    assert caught.value.status_code == 400
    assert not gateway.requests


def test_a_15th_image_is_an_error(edit, gateway, png):
    with pytest.raises(Exception, match="at most 14") as caught:
        edit(prompt="a red kite", image=[("a.png", png)] * 15)
    assert caught.value.status_code == 400
    assert not gateway.requests


def test_a_client_of_the_proxy_cannot_name_a_file_on_the_proxys_machine(proxy, gateway, tmp_path, png):
    path = tmp_path / "secret.png"
    path.write_bytes(png)
    images = proxy.client.images
    for name in ("image", "image_urls", "image_urls[]"):
        with pytest.raises(Exception, match=r"4\d\d") as caught:
            images.edit(model="nano-banana-1", prompt="a cat", image=("a.png", png), extra_body={name: str(path)})
        assert 400 <= caught.value.status_code < 500
    assert not any(received.route == "submit" for received in gateway.requests)


def test_a_list_sent_as_several_form_fields_is_an_error(proxy, gateway, png):
    with pytest.raises(Exception, match="several fields of a form") as caught:
        proxy.client.images.edit(
            model="nano-banana-1", prompt="a cat", image=("a.png", png), extra_body={"image_urls": URLS}
        )
    assert caught.value.status_code == 400
    assert not gateway.bill.charges


def test_parameters_of_other_models_reach_the_gateway_unchanged(account, purchases):
    arguments = {"quality": "high", "background": "transparent", "size": "1536x1024"}
    litellm.image_generation(prompt="a red kite", **arguments, **account | {"model": "apimaster/gpt-image-2"})
    body = purchases()[0].body
    assert {name: body[name] for name in arguments} == arguments
    assert "resolution" not in body


def test_a_warning_says_that_this_package_finds_no_router(deploy, purchases, monkeypatch, caplog):
    monkeypatch.setattr("litellm_apimaster.deployment_defaults._routers", lambda: iter(()))
    router = Router(model_list=[deploy(aspect_ratio="16:9")], num_retries=0)
    router.image_generation(model="image", prompt="a red kite", size="3:4")
    assert len(purchases()) == 1
    assert "does not keep its Routers where this package knows to look" in caplog.text


def test_extra_headers_reach_the_gateway(generate, gateway):
    generate(prompt="a red kite", extra_headers={"x-trace": "7"})
    assert {received.headers.get("x-trace") for received in gateway.requests} == {"7"}


LITELLM_PARAMETERS = {
    "metadata": {"tags": ["a"]},
    "tags": ["b"],
    "num_retries": 1,
    "caching": False,
    "cache": {"no-cache": True},
    "litellm_call_id": "",
    "litellm_trace_id": "trace-7",
    "drop_params": True,
    "user": "somebody",
    "extra_headers": {"x-a": "b"},
    "timeout": 30,
    "fallbacks": [],
    "no-log": True,
}


def litellm_parameter(name: str) -> dict[str, Any]:
    """One parameter: a copy, because LiteLLM adds entries to the metadata of a call; the id of a call is its own."""
    return {name: str(uuid.uuid4()) if name == "litellm_call_id" else copy.deepcopy(LITELLM_PARAMETERS[name])}


@pytest.mark.parametrize("name", LITELLM_PARAMETERS)
def test_a_generation_sends_no_parameter_of_litellms_own(name, generate, purchases):
    generate(prompt="a red kite", **litellm_parameter(name))
    assert [parameters_of(purchase) for purchase in purchases()] == [{}]


@pytest.mark.parametrize("name", LITELLM_PARAMETERS)
def test_an_edit_sends_no_parameter_of_litellms_own(name, edit, purchases, png):
    edit(prompt="a red kite", image=png, **litellm_parameter(name))
    assert [parameters_of(purchase) for purchase in purchases()] == [{}]


def test_the_lowest_quality_is_the_smallest_resolution_that_the_model_has() -> None:
    for model, smallest in (("nano-banana-2", "0.5K"), ("nano-banana-2.1", "1K")):
        assert shape_of({"quality": "low"}, spec_for(model)) == {RESOLUTION: smallest}
