"""What a request breaks of its model's rules: all at once, with what is accepted and which model would take it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apimaster import APIMaster, BadRequestError, ImageRequest, ReferenceImageError, Task
from apimaster.catalog import DEFAULT_MODEL, known_specs, spec_for
from apimaster.emulator import Emulator
from apimaster.request import Webhook, read_stored
from apimaster.webhooks import CreatedWebhookEndpoint, WebhookEndpoint

SUCCESSOR = "gemini-nano-banana-2.1"
SPELLINGS = (DEFAULT_MODEL, "gemini-3.1-flash-image")


def refused(**asked: Any) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        ImageRequest(**{"prompt": "a cat", **asked})
    assert (caught.value.billed, caught.value.retryable) == ("no", False)
    return caught.value


@pytest.mark.parametrize("name", [SUCCESSOR, "nano-banana-2.1"])
def test_every_broken_rule_is_named_at_once_with_a_model_that_takes_all_of_it(name: str) -> None:
    error = refused(model=name, resolution="0.5K", aspect_ratio="auto", references=["a.png"] * 15)
    assert type(error) is BadRequestError
    for words in ("'0.5K'", "accepted: 1K, 2K, 4K", "'auto'", "16:9", "15 pictures", "at most 14"):
        assert words in error.message
    assert "no model of the catalogue takes all of it" in error.advice


def test_faults_of_fields_and_of_the_model_are_named_together() -> None:
    error = refused(model=SUCCESSOR, prompt=" ", n=0, resolution="8K", aspect_ratio="auto", references=["a"] * 15)
    for words in ("prompt is empty", "n must be", "'8K'", "'auto'", "at most 14"):
        assert words in error.message
    assert error.message.count("'8K'") == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model": SUCCESSOR, "resolution": "512"}, ["'0.5K'", "1K, 2K, 4K"]),
        ({"model": SUCCESSOR, "aspect_ratio": "AUTO"}, ["'AUTO'", "1:1", "8:1"]),
        ({"model": SUCCESSOR, "aspect_ratio": "1000x100"}, ["1000x100", "16:9"]),
        ({"model": SUCCESSOR, "aspect_ratio": "1000x100", "resolution": "2K"}, ["1000x100", "16:9"]),
        ({"model": SUCCESSOR, "aspect_ratio": "9000x9000"}, ["9000x9000", "4096x4096"]),
        ({"model": SUCCESSOR, "references": ["a"], "mask": "m"}, ["mask", "no mask", "up to 14 reference images"]),
        ({"model": "nano-banana-2", "references": ["a"], "mask": "m"}, ["no mask"]),
        ({"model": "gpt-image-2", "google_search": True}, ["google_search"]),
        ({"model": "gpt-image-2", "google_search": True, "google_image_search": True}, ["google_image_search"]),
        ({"model": "gpt-image-2", "references": ["a"] * 17}, ["17", "at most 16"]),
        ({"model": "midjourney-v8.2", "extra_body": {"seed": 1}}, ["seed", "accepted", "response_format"]),
    ],
)
def test_a_broken_rule_names_what_was_asked_and_what_is_accepted(asked: dict[str, Any], words: list[str]) -> None:
    error = refused(**asked)
    for word in words:
        assert word in error.message
    for spec in known_specs():
        if spec.id in error.advice:  # it says who would take it, and they do
            ImageRequest(**{"prompt": "a cat", **asked, "model": spec.id})


def test_only_references_at_fault_make_an_error_of_references() -> None:
    assert type(refused(model=SUCCESSOR, references=["a"] * 15)) is ReferenceImageError
    assert type(refused(model=SUCCESSOR, references=["a"] * 15, resolution="0.5K")) is BadRequestError


@pytest.mark.parametrize(
    ("asked", "ratio", "resolution"),
    [
        ({"aspect_ratio": "1920x1080"}, "16:9", "2K"),
        ({"aspect_ratio": "1376x768"}, "16:9", "1K"),  # the model's own pixels
        ({"aspect_ratio": "512x512"}, "1:1", "1K"),  # it has no 0.5K
        ({"aspect_ratio": "1920x1080", "resolution": "4k"}, "16:9", "4K"),
        ({"aspect_ratio": "7:3"}, "21:9", None),
        ({}, None, None),
    ],
)
def test_the_successor_takes_pixels_of_its_own_ratios(asked: dict[str, str], ratio: str, resolution: str) -> None:
    request = ImageRequest(prompt="a cat", model=SUCCESSOR, **asked)
    assert (request.aspect_ratio, request.resolution) == (ratio, resolution)


def test_the_successor_draws_a_square_unless_told_otherwise_and_has_no_price_here() -> None:
    request = ImageRequest(prompt="a cat", model=SUCCESSOR, n=4)
    assert (request.pixels, request.cost, request.spec.known) == ((1024, 1024), None, True)


def test_either_spelling_is_kept_and_an_alias_is_not() -> None:
    for spelling in SPELLINGS:
        request = ImageRequest(prompt="a cat", model=spelling)
        assert request.model == spelling
        assert request.spec is spec_for(DEFAULT_MODEL)
    assert ImageRequest(prompt="a cat", model="nano-banana-2").model == DEFAULT_MODEL
    assert ImageRequest(prompt="a cat", model="nano-banana-2.1").model == SUCCESSOR


def test_a_model_that_the_table_does_not_hold_is_checked_loosely() -> None:
    request = ImageRequest(
        prompt="a cat",
        model="new-model",
        aspect_ratio="5:3",
        references=["a"],
        mask="m",
        google_search=True,
        extra_body={"x": 1},
    )
    assert (request.cost, request.spec.known) == (None, False)
    assert "at most 14" in refused(model="new-model", references=["a"] * 15).message


def test_what_was_bought_before_a_rule_changed_can_still_be_read() -> None:
    """A task that is paid for is not lost because the catalogue says by now that its model does not take it."""
    fields = {"prompt": "a cat", "model": "gpt-image-2", "google_search": True, "extra_body": {"seed": 1}}
    with pytest.raises(ValueError, match="google_search"):
        ImageRequest.model_validate_json(json.dumps(fields))
    assert read_stored(json.dumps(fields)).google_search is True
    task = Task.model_validate_json(json.dumps({"id": "task_1", "model": "gpt-image-2", "request": fields}))
    assert task.request is not None
    assert task.request.extra_body == {"seed": 1}
    assert Task.model_validate_json(task.model_dump_json()) == task
    refused(model="gpt-image-2", google_search=True)  # what is asked for now is checked again


STREAMED = [True, "true", 1, 0, "false", None]
OTHER_NAMES = {
    "model": "model", "prompt": "prompt", "size": "aspect_ratio", "resolution": "resolution", "n": "n",
    "image_urls": "references", "image": "references", "images": "references", "image[]": "references",
    "mask_url": "mask", "mask": "mask",
}  # fmt: skip
MODELS = (DEFAULT_MODEL, SUCCESSOR, "gpt-image-2", "a-model-of-tomorrow")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("field", OTHER_NAMES)
def test_a_further_field_must_not_stand_for_an_argument(field: str, model: str) -> None:
    error = refused(model=model, extra_body={field: "https://example.com/a.png"})
    assert f"extra_body must not hold {field!r}" in error.message
    assert error.advice == f"Use the argument {OTHER_NAMES[field]}= for it."


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("value", STREAMED, ids=repr)
def test_no_model_streams(value: object, model: str) -> None:
    error = refused(model=model, extra_body={"stream": value})
    assert "'stream'" in error.message
    assert "accepted: False" in error.message


def test_a_stream_that_is_not_asked_for_is_passed_on() -> None:
    assert ImageRequest(prompt="a cat", extra_body={"stream": False}).extra_body == {"stream": False}


def test_further_fields_are_refused_together_with_everything_else() -> None:
    error = refused(model=SUCCESSOR, resolution="0.5K", extra_body={"stream": True, "mask": "a", "image": "b"})
    for words in ("'0.5K'", "'stream'", "'mask'", "'image'"):
        assert words in error.message
    for words in ("references=", "mask=", "takes all of it"):
        assert words in error.advice
    error = refused(model=SUCCESSOR, n=0, extra_body={"stream": True, "images": ["b"]})
    for words in ("n must be", "'stream'", "'images'"):
        assert words in error.message


def test_what_was_bought_with_such_a_field_is_still_read() -> None:
    stored = json.dumps({"prompt": "a cat", "model": DEFAULT_MODEL, "extra_body": {"stream": True}})
    assert read_stored(stored).extra_body == {"stream": True}


@pytest.mark.parametrize("webhook", [5, "", "  ", True, 1.5, b"whep_1", ["whep_1"], object], ids=repr)
def test_what_is_no_webhook_is_refused_with_what_is(webhook: object) -> None:
    error = refused(webhook=webhook)
    assert "webhook must be the id of an endpoint (whep_…), a WebhookEndpoint or a Webhook, not " in error.message


ENDPOINT = WebhookEndpoint(id="whep_1", url="https://example.com/hook", verified=True)
CREATED = CreatedWebhookEndpoint.model_validate({"endpoint": ENDPOINT, "signing_secret": "whsec_x"})


@pytest.mark.parametrize("webhook", ["whep_1", " whep_1\n", ENDPOINT, CREATED, Webhook(endpoint_id="whep_1")], ids=repr)
def test_a_webhook_is_named_by_its_endpoint(webhook: object) -> None:
    request = ImageRequest(prompt="a cat", webhook=webhook)
    assert request.webhook == Webhook(endpoint_id="whep_1")


def test_an_endpoint_that_the_gateway_refuses_leads_to_the_list_of_endpoints() -> None:
    with Emulator(latency=0, pictures="small") as emulator:
        client = APIMaster(emulator.api_key, base_url=emulator.base_url)
        with pytest.raises(BadRequestError) as caught:
            client.generate("a cat", webhook=ENDPOINT)
        assert not emulator.bill.charges
    assert caught.value.code == "invalid_webhook_configuration"
    for words in ("client.webhooks.list()", "client.webhooks.verify(id)"):
        assert words in caught.value.advice


STABLE, MASKED = "gemini-3.1-flash-image", "gpt-image-2"


@pytest.mark.parametrize(
    ("asked", "takers"),
    [
        ({"model": SUCCESSOR, "resolution": "0.5K"}, [STABLE]),
        ({"model": SUCCESSOR, "aspect_ratio": "auto"}, [STABLE]),
        ({"model": SUCCESSOR, "aspect_ratio": "1000x100"}, [STABLE]),
        ({"model": SUCCESSOR, "references": ["a"] * 15}, [MASKED]),
        ({"model": SUCCESSOR, "references": ["a"] * 15, "resolution": "2K"}, []),
        ({"model": SUCCESSOR, "references": ["a"], "mask": "m"}, [MASKED]),
        ({"model": SUCCESSOR, "references": ["a"], "mask": "m", "aspect_ratio": "16:9"}, []),
        ({"model": MASKED, "google_search": True}, [STABLE, SUCCESSOR]),
        ({"model": MASKED, "google_search": True, "resolution": "2K", "aspect_ratio": "16:9"}, [STABLE, SUCCESSOR]),
    ],
    ids=str,
)
def test_only_models_are_named_of_which_the_table_knows_it(asked: dict[str, Any], takers: list[str]) -> None:
    """By an id that did not end: its provider has ended the one that is sent by default."""
    advice = refused(**asked).advice
    expected = f"a model that takes all of it: {' or '.join(takers)}." if takers else "no model of the catalogue"
    assert expected in advice
