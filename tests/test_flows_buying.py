"""Buying an image, without network or clock: which errors are retried, which are not, and when retries end."""

from __future__ import annotations

from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest
from hand_driver import WALL, Answer, HandDriver, accepted, context, finished, page, refusal, reply
from large_pictures import padded_png

from apimaster._flows.generation import CallOptions, Mode, generate, retrieve, submit, wait
from apimaster._flows.operations import Broken, NotSent, Refused
from apimaster._flows.retry import RetryPolicy
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
)
from apimaster.request import ImageRequest
from apimaster.results import ImageResult, Task

REQUEST = ImageRequest(prompt="a cat")
PICTURE = {"created": 1, "data": [{"url": "https://cdn.test/a.png"}]}
SUBMIT, ONE_SHOT = "POST /images/generations/async", "POST /images/generations"


def buy(driver: HandDriver, mode: Mode = "sync", timeout: float | None = None, **changes: Any) -> ImageResult:
    result = driver.run(generate(context(**changes), REQUEST, mode, CallOptions(timeout)))
    assert isinstance(result, ImageResult)
    return result


NOT_RETRIED: list[tuple[str, Answer, type[APIMasterError], str]] = [
    ("400", refusal(400), BadRequestError, "no"),
    ("400 moderation", refusal(400, code="sensitive_words_detected"), ContentPolicyError, "no"),
    ("400 prompt", refusal(400, code="prompt_blocked"), ContentPolicyError, "no"),
    ("401", refusal(401), AuthenticationError, "no"),
    ("402", refusal(402), InsufficientBalanceError, "no"),
    ("403 balance", refusal(403, code="insufficient_user_quota"), InsufficientBalanceError, "no"),
    ("403", refusal(403), PermissionDeniedError, "no"),
    ("404", refusal(404), NotFoundError, "no"),
    ("408", refusal(408, code="image_generation_timeout"), OutcomeUnknownError, "maybe"),
    ("413", refusal(413), BadRequestError, "no"),
    ("422", refusal(422), BadRequestError, "no"),
    ("502 page", page(502), OutcomeUnknownError, "maybe"),
    ("502 nothing", reply(b"", 502), OutcomeUnknownError, "maybe"),
    ("503 page", page(503), OutcomeUnknownError, "maybe"),
    ("504 page", page(504), OutcomeUnknownError, "maybe"),
    ("504 in JSON", refusal(504), OutcomeUnknownError, "maybe"),
    ("524 page", page(524), OutcomeUnknownError, "maybe"),
    ("broken", Broken("reset by peer"), OutcomeUnknownError, "maybe"),
    ("an endless reply", Refused("it is larger than 128 MB"), OutcomeUnknownError, "maybe"),
    ("200 page", page(200), OutcomeUnknownError, "maybe"),
    ("200 without a picture", reply({"data": []}), NoImageError, "maybe"),
    ("a redirect", reply(b"", 307, {"location": "https://elsewhere.test"}), BadRequestError, "no"),
]


@pytest.mark.parametrize(("answer", "kind", "billed"), [pytest.param(*row[1:], id=row[0]) for row in NOT_RETRIED])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_errors_that_may_be_billed_or_would_recur_are_not_retried(
    answer: Answer, kind: type[APIMasterError], billed: str, mode: Mode
) -> None:
    driver = HandDriver([answer])
    with pytest.raises(kind) as caught:
        buy(driver, mode)
    assert type(caught.value) is kind
    assert caught.value.billed == billed
    assert not caught.value.retryable
    assert driver.slept == []
    assert len(driver.sent) == 1


RETRIED: list[tuple[str, Answer, type[APIMasterError]]] = [
    ("429", refusal(429), RateLimitError),
    ("429 concurrency", refusal(429, code="token_concurrency_limit_reached"), RateLimitError),
    ("500", refusal(500), InternalServerError),
    ("502", refusal(502), InternalServerError),
    ("503", refusal(503), InternalServerError),
    ("502 failed", refusal(502, code="image_generation_failed"), GenerationFailedError),
    ("never sent", NotSent("connection refused"), APIConnectionError),
]


@pytest.mark.parametrize(("answer", "kind"), [pytest.param(*row[1:], id=row[0]) for row in RETRIED])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_errors_that_are_provably_not_billed_are_retried_up_to_the_limit(
    answer: Answer, kind: type[APIMasterError], mode: Mode
) -> None:
    driver = HandDriver([answer] * 4)
    with pytest.raises(kind) as caught:
        buy(driver, mode)
    assert (caught.value.billed, caught.value.retryable) == ("no", True)
    assert driver.slept == [0.5, 1.0, 2.0]
    assert len(driver.sent) == 4


@pytest.mark.parametrize(("answer", "kind"), [pytest.param(*row[1:], id=row[0]) for row in RETRIED])
def test_a_retry_that_succeeds_is_a_success(answer: Answer, kind: type[APIMasterError]) -> None:
    result = buy(HandDriver([answer, answer, reply(PICTURE)]))
    assert result.images[0].url == "https://cdn.test/a.png"
    assert result.cost == Decimal("0.0375")


def test_no_retries_if_the_caller_wants_none() -> None:
    driver = HandDriver([refusal(503)])
    with pytest.raises(InternalServerError):
        buy(driver, policy=RetryPolicy(max_retries=0))


@pytest.mark.parametrize("header", ["7", formatdate(WALL + 7, usegmt=True)], ids=["seconds", "date"])
def test_retry_after_is_honoured(header: str) -> None:
    driver = HandDriver([refusal(429, retry_after=header), reply(PICTURE)])
    buy(driver)
    assert driver.slept == [pytest.approx(7.0, abs=1.0)]


def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    driver = HandDriver([refusal(429, retry_after="3600")])
    with pytest.raises(RateLimitError) as caught:
        buy(driver, timeout=60)
    assert caught.value.retry_after == 3600
    assert driver.slept == []


def test_retries_end_before_the_deadline() -> None:
    driver = HandDriver(lambda send, at: refusal(503), takes=2.0)
    with pytest.raises(InternalServerError):
        buy(driver, timeout=5, policy=RetryPolicy(max_retries=99, dice=lambda: 1.0))
    assert driver.now - 1000.0 <= 5.0
    assert all(send.timeout <= 5.0 - (when - 1000.0) for when, send in driver.sent)


def test_a_timeout_of_zero_sends_nothing() -> None:
    driver = HandDriver([])
    with pytest.raises(APIConnectionError, match="Nothing was charged") as caught:
        buy(driver, timeout=0)
    assert caught.value.billed == "no"


def test_auto_falls_back_to_one_shot_if_there_is_no_async_route() -> None:
    for answer in (refusal(404), reply("<html>404</html>", 404), refusal(405)):
        driver = HandDriver([answer, reply(PICTURE)])
        buy(driver, "auto")
        assert driver.paths == [SUBMIT, ONE_SHOT]


def test_auto_does_not_fall_back_after_anything_else() -> None:
    for answer, kind in [(refusal(400), BadRequestError), (page(502), OutcomeUnknownError)]:
        driver = HandDriver([answer])
        with pytest.raises(kind):
            buy(driver, "auto")
        assert driver.paths == [SUBMIT]


def test_async_does_not_fall_back() -> None:
    driver = HandDriver([refusal(404)])
    with pytest.raises(NotFoundError):
        buy(driver, "async")
    assert driver.paths == [SUBMIT]


@pytest.mark.parametrize("mode", ["auto", "sync"])
@pytest.mark.parametrize(
    "answer", [refusal(404), refusal(404, code="model_not_found"), refusal(400, "no data URIs"), refusal(413)]
)
def test_without_repeats_a_purchase_goes_out_once(answer: Answer, mode: Mode) -> None:
    driver = HandDriver([answer])
    request = ImageRequest(prompt="a cat", references=(padded_png(2_000),))
    with pytest.raises(APIMasterError):
        driver.run(generate(context(repeats=False), request, mode, CallOptions()))
    assert driver.paths == [ONE_SHOT if mode == "sync" else SUBMIT]


@pytest.mark.parametrize(("resolution", "seconds"), [(None, 210), ("0.5K", 210), ("2K", 330), ("4K", 930)])
def test_a_one_shot_call_waits_longer_than_the_gateway(resolution: str | None, seconds: float) -> None:
    driver = HandDriver([reply(PICTURE)])
    driver.run(generate(context(), ImageRequest(prompt="x", resolution=resolution), "sync", CallOptions()))
    ((_, send),) = driver.sent
    assert send.timeout == seconds
    assert send.long


def test_submit_returns_the_task_and_reports_it() -> None:
    seen: list[Any] = []
    driver = HandDriver([accepted()])
    task = driver.run(submit(context(), REQUEST, CallOptions(on_progress=seen.append)))
    assert task == Task(id="task_1", model=REQUEST.model, status="queued", request=REQUEST)
    assert [progress.stage for progress in seen] == ["submitting", "queued"]
    assert seen[-1].task.id == "task_1"


def test_submit_that_is_answered_by_a_picture_is_a_finished_task() -> None:
    task = HandDriver([reply(PICTURE)]).run(submit(context(), REQUEST, CallOptions()))
    assert task.status == "succeeded"
    assert [image.url for image in task.images] == ["https://cdn.test/a.png"]
    assert HandDriver([]).run(retrieve(context(), task, 60.0)) == task, "there is nothing to poll"
    assert HandDriver([]).run(wait(context(), task, CallOptions())).images[0].url == "https://cdn.test/a.png"


def test_a_failed_reply_to_a_submit_is_a_failed_generation() -> None:
    answer = reply({"data": {"status": "failed", "id": "task_9", "error": {"message": "model is tired"}}})
    driver = HandDriver([answer])
    with pytest.raises(GenerationFailedError, match="model is tired") as caught:
        buy(driver, "async")
    assert caught.value.task is not None
    assert caught.value.task.id == "task_9"


def test_several_images_share_the_deadline_and_a_limit() -> None:
    request = ImageRequest(prompt="a cat", n=20)
    driver = HandDriver(lambda send, at: reply(PICTURE), takes=10.0)
    result = driver.run(generate(context(), request, "sync", CallOptions()))
    assert len(result.images) == 20
    assert result.cost == Decimal("0.75")
    assert driver.most_at_once == 8
    assert driver.now - 1000.0 == 30.0


def test_an_image_that_never_starts_costs_nothing() -> None:
    request = ImageRequest(prompt="a cat", n=9)
    driver = HandDriver(lambda send, at: reply(PICTURE), takes=10.0)
    result = driver.run(generate(context(), request, "sync", CallOptions(timeout=10)))
    assert len(result.images) == 8
    assert [(f.index, f.error, f.billed) for f in result.failures] == [(8, "APIConnectionError", "no")]


def test_a_whole_generation_in_order() -> None:
    seen: list[Any] = []
    answers = [accepted(), reply({"data": {"status": "in_progress", "progress": 50}}), finished()]
    driver = HandDriver(answers)
    result = driver.run(generate(context(), REQUEST, "auto", CallOptions(on_progress=seen.append)))
    assert [image.url for image in result.images] == ["https://cdn.test/a.png"]
    assert [progress.stage for progress in seen] == ["submitting", "queued", "running", "done"]
    assert [progress.percent for progress in seen] == [None, None, 50.0, 100.0]
    assert [task.id for task in result.tasks] == ["task_1"]
    assert driver.sent[1][1].call.query == {"model": REQUEST.model}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("text", ["failed; Do not resubmit automatically", "the job should not be resubmitted"])
def test_an_error_that_says_not_to_resubmit_is_an_unknown_outcome(status: int, text: str) -> None:
    driver = HandDriver([refusal(status, text, "image_generation_failed"), accepted()])
    with pytest.raises(OutcomeUnknownError) as caught:
        driver.run(generate(context(), ImageRequest(prompt="a cat"), "async", CallOptions()))
    assert (caught.value.billed, len(driver.sent)) == ("maybe", 1)


@pytest.mark.parametrize("model", ["midjourney-v9", "Midjourney-V8.2", "something-new"])
def test_a_502_of_an_unknown_model_is_an_unknown_outcome(model: str) -> None:
    driver = HandDriver([refusal(502, "bad response from upstream", "upstream_error"), accepted()])
    with pytest.raises(OutcomeUnknownError):
        driver.run(generate(context(), ImageRequest(prompt="a cat", model=model), "async", CallOptions()))
    assert len(driver.sent) == 1
