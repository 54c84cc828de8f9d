"""Uploads, driven by hand: what is sent in which order, and for how long a URL is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hand_driver import HandDriver, accepted, context, finished, refusal, reply
from large_pictures import padded_png

from apimaster import ImageRequest
from apimaster._flows.generation import generate
from apimaster._flows.image_run import CallOptions
from apimaster._flows.operations import Broken, Flow, Reply, Send
from apimaster._flows.uploads import UPLOADS_AT_ONCE, upload
from apimaster._references.checked import check_reference
from apimaster._references.reference import Reference
from apimaster._references.uploaded import (
    LEAST_LIMIT,
    LIFETIME,
    LIMIT_LASTS,
    LONGEST_WAIT,
    REFUSAL_LASTS,
)
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    BadRequestError,
    InternalServerError,
    OutcomeUnknownError,
)
from apimaster.request import ReferencesBy

PICTURES = [padded_png(2_000, number) for number in range(9)]
NO_DATA_URIS = "image_urls[0]: data URIs are not supported"
SUBMIT, UPLOAD = "POST /images/generations/async", "POST /uploads/images"


def run_of(driver: HandDriver, shared: Any, *, by: ReferencesBy = "upload", pictures: Any = None, n: int = 1) -> Any:
    request = ImageRequest(prompt="a cat", references=tuple(pictures or PICTURES[:1]), n=n)
    return driver.run(generate(shared, request, "auto", CallOptions(timeout=1000.0, references_by=by)))


def gateway(submit: Callable[[int], Reply | Exception] = lambda count: accepted()) -> Any:
    """Answers uploads with URLs, polls with pictures, and the purchase number ``count`` as ``submit`` says."""
    counts = {"submit": 0, "upload": 0}

    def answer(send: Send, now: float) -> Reply | Exception:
        if send.call.method == "GET":
            return finished()
        if send.call.path.startswith("/uploads"):
            counts["upload"] += 1
            return reply({"url": f"https://gateway.test/uploads/{counts['upload']}.png"})
        counts["submit"] += 1
        return submit(counts["submit"])

    return answer


def posts(driver: HandDriver) -> list[str]:
    return [path for path in driver.paths if path.startswith("POST")]


@pytest.mark.parametrize(("later", "expected"), [(LIFETIME - 100, 1), (LIFETIME + 1, 2)])
def test_a_url_is_used_for_an_hour(later: float, expected: int) -> None:
    driver, shared = HandDriver(gateway()), context()
    run_of(driver, shared)
    driver.now = 1000.0 + later
    run_of(driver, shared)
    assert posts(driver).count(UPLOAD) == expected


@pytest.mark.parametrize(("age", "waits"), [(LONGEST_WAIT - 100, True), (LONGEST_WAIT - 50, False)])
def test_an_upload_that_never_ends_is_waited_for_so_long(age: float, waits: bool) -> None:
    driver, shared = HandDriver(gateway()), context()
    picture = check_reference(Reference.of(PICTURES[0]), 1, 10_000).fingerprinted()
    driver.now = 1000.0 + age
    assert shared.uploads.begin(picture, 1000.0)[1]
    flow = upload(shared, Reference.of(PICTURES[0]), 10_000, 80.0)
    if waits:
        with pytest.raises(APIConnectionError, match="another call"):
            driver.run(flow)
    else:
        driver.run(flow)
    assert posts(driver) == ([] if waits else [UPLOAD])


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_purchase_goes_out_once_more_by_upload(status: int) -> None:
    driver = HandDriver(gateway(lambda count: accepted() if count > 1 else refusal(status, NO_DATA_URIS)))
    run_of(driver, context(), by="auto")
    assert posts(driver) == [SUBMIT, UPLOAD, SUBMIT]


ABOUT_PICTURES: list[dict[str, object]] = [
    {"message": NO_DATA_URIS},
    {"message": "Invalid URL in request"},
    {"message": "could not fetch image_url"},
    {"message": "mask_url must be public"},
    {"message": "this model takes no Base64 images"},
    {"message": "expected https://, got data:image/png"},
    {"message": "data URLs are refused by this endpoint"},
    {"message": "the reference image could not be read"},
    {"message": "inline images are off"},
    {"message": "bad value", "param": "image_urls[3]"},
    {"message": "bad value", "param": "image"},
    {"message": "bad value", "code": "invalid_image_url"},
    {"message": "", "code": "unsupported_data_uri"},
]
ABOUT_SOMETHING_ELSE: list[dict[str, object]] = [
    {"message": "no"},
    {"message": ""},
    {},
    {"message": "unsupported parameter value", "param": "seed"},
    {"message": "imageSize must be one of 1K, 2K, 4K"},
    {"message": "the size of image_urls[0] is wrong", "param": "image_urls"},
    {"message": "image_urls: resolution 4K is off"},
    {"message": "this model takes no reference images", "param": "image_urls"},
    {"message": "the model is not served by this endpoint, see https://a.test"},
    {"message": "base64 data is too large"},
    {"message": "image generation failed"},
    {"message": "wrong API", "code": "wrong_endpoint"},
    {"message": "prompt is empty"},
]


@pytest.mark.parametrize(
    ("error", "repeated"), [(each, True) for each in ABOUT_PICTURES] + [(each, False) for each in ABOUT_SOMETHING_ELSE]
)
def test_only_a_refusal_of_the_pictures_publishes_them(error: dict[str, object], repeated: bool) -> None:
    driver = HandDriver(gateway(lambda count: accepted() if count > 1 else reply({"error": error}, 400)))
    if repeated:
        run_of(driver, context(), by="auto")
        assert posts(driver) == [SUBMIT, UPLOAD, SUBMIT]
    else:
        with pytest.raises(BadRequestError):
            run_of(driver, context(), by="auto")
        assert posts(driver) == [SUBMIT]


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>image_urls: data URIs are not supported</html>", 400),
        reply(b"", 400),
        reply({"message": NO_DATA_URIS}, 400),
        refusal(422, NO_DATA_URIS),
        refusal(400, NO_DATA_URIS, "sensitive_words_detected"),
    ],
)
def test_what_else_publishes_no_picture(answer: Reply) -> None:
    driver = HandDriver(gateway(lambda count: answer))
    with pytest.raises(BadRequestError):
        run_of(driver, context(), by="auto")
    assert posts(driver) == [SUBMIT]


def submits_by_size(limit: int) -> Any:
    """A gateway that takes purchases of so many bytes."""
    answer = gateway()
    return lambda send, now: (
        refusal(413) if send.call.path.startswith("/images") and send.call.size > limit else answer(send, now)
    )


@pytest.mark.parametrize(("later", "known"), [(LIMIT_LASTS - 100, True), (LIMIT_LASTS + 100, False)])
def test_a_refused_size_is_remembered_for_an_hour(later: float, known: bool) -> None:
    driver, shared = HandDriver(submits_by_size(LEAST_LIMIT + 100)), context()
    large = [padded_png(LEAST_LIMIT, number) for number in range(2)]
    run_of(driver, shared, by="auto", pictures=large[:1])
    driver.now = 1000.0 + later
    run_of(driver, shared, by="auto", pictures=large[1:])
    assert posts(driver)[3:] == ([UPLOAD, SUBMIT] if known else [SUBMIT, UPLOAD, SUBMIT])


def test_a_small_request_that_is_refused_for_its_size_teaches_nothing() -> None:
    driver, shared = HandDriver(submits_by_size(1000)), context()
    before = shared.uploads.limit(driver.now)
    run_of(driver, shared, by="auto")
    assert shared.uploads.limit(driver.now) == before


@pytest.mark.parametrize(
    ("later", "model", "known"),
    [(REFUSAL_LASTS - 100, None, True), (REFUSAL_LASTS + 100, None, False), (0, "gemini-nano-banana-2.1", False)],
)
def test_a_model_that_takes_no_pictures_inside_is_remembered_for_minutes(
    later: float, model: str | None, known: bool
) -> None:
    answer = gateway()

    def no_data_uris(send: Send, now: float) -> Reply | Exception:
        inside = send.call.path.startswith("/images") and send.call.size > 1000
        return refusal(400, NO_DATA_URIS) if inside else answer(send, now)

    driver, shared = HandDriver(no_data_uris), context()
    run_of(driver, shared, by="auto")
    driver.now = 1000.0 + later
    request = ImageRequest(prompt="a cat", references=(PICTURES[1],), n=3, **({"model": model} if model else {}))
    driver.run(generate(shared, request, "auto", CallOptions(timeout=1000.0)))
    assert posts(driver)[3:] == ([UPLOAD, *[SUBMIT] * 3] if known else [SUBMIT, UPLOAD, *[SUBMIT] * 3])
    with pytest.raises(BadRequestError):
        run_of(driver, shared, by="inline")
    assert posts(driver)[-1] == SUBMIT  # the caller has said so


@pytest.mark.parametrize("second", [refusal(400), refusal(413), refusal(503), Broken("cut")])
def test_there_is_no_third_form(second: Reply | Exception) -> None:
    driver = HandDriver(gateway(lambda count: second if count > 1 else refusal(400, NO_DATA_URIS)))
    with pytest.raises(APIMasterError) as caught:
        run_of(driver, context(), by="auto")
    if isinstance(second, Exception):
        assert type(caught.value) is OutcomeUnknownError
        assert posts(driver) == [SUBMIT, UPLOAD, SUBMIT]
    elif second.status == 503:
        assert type(caught.value) is InternalServerError
        assert posts(driver) == [SUBMIT, UPLOAD, *[SUBMIT] * 4]
    else:
        assert posts(driver) == [SUBMIT, UPLOAD, SUBMIT]


def test_what_may_have_been_charged_is_not_repeated_by_upload() -> None:
    driver = HandDriver(gateway(lambda count: Broken("cut")))
    with pytest.raises(OutcomeUnknownError):
        run_of(driver, context(), by="auto")
    assert posts(driver) == [SUBMIT]


def test_uploads_run_side_by_side_but_not_all_at_once() -> None:
    driver = HandDriver(gateway(), takes=1.0)
    run_of(driver, context(), pictures=PICTURES)
    assert driver.most_at_once == UPLOADS_AT_ONCE
    uploaded = [when for when, send in driver.sent if send.call.path.startswith("/uploads")]
    assert uploaded == [1000.0] * 4 + [1001.0] * 4 + [1002.0]
    assert all(send.long for _, send in driver.sent if send.call.path.startswith("/uploads"))


def test_the_upload_comes_before_the_purchase_of_any_image() -> None:
    driver = HandDriver(gateway())
    run_of(driver, context(), pictures=PICTURES[:2], n=3)
    assert posts(driver) == [UPLOAD] * 2 + [SUBMIT] * 3


@pytest.mark.parametrize(
    "document",
    [
        {"url": "https://a.test/1.png"},
        {"data": {"url": "https://a.test/1.png"}},
        {"url": "http://a.test/1.png", "filename": "x", "content_type": "image/png", "bytes": 3, "created_at": 1},
    ],
)
def test_replies_with_a_url(document: object) -> None:
    url = HandDriver([reply(document)]).run(upload_of(context()))
    assert url.endswith("a.test/1.png")


@pytest.mark.parametrize(
    "document",
    [{}, [], "", "no json", {"url": None}, {"url": 3}, {"url": ""}, {"url": "/a.png"}, {"url": "ftp://a.test/a"},
     {"url": "https://"}, {"url": "https://a b/c"}, {"url": "http://[::1"}, {"data": "x"}],
)  # fmt: skip
def test_replies_without_a_url(document: object) -> None:
    driver = HandDriver([reply(document)] * 4)
    with pytest.raises(InternalServerError, match="could not be uploaded: the reply can't be read"):
        driver.run(upload_of(context()))
    assert driver.slept == [0.5, 1.0, 2.0]


def upload_of(shared: Any) -> Flow[str]:
    return upload(shared, Reference.of(PICTURES[0]), 10_000, 100.0)
