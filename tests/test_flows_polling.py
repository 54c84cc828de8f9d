"""Waiting for a task, without network or clock: a ten-minute wait takes a millisecond here."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hand_driver import Answer, HandDriver, accepted, context, failed, finished, page, refusal, reply, running

from apimaster._flows.generation import CallOptions, generate, retrieve, wait
from apimaster._flows.operations import Broken, NotSent, Refused, Send
from apimaster._polling.rate_limit import RateLimiter
from apimaster.errors import (
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    GenerationFailedError,
    InternalServerError,
    NoImageError,
    NotFoundError,
    PermissionDeniedError,
    TaskTimeoutError,
)
from apimaster.request import ImageRequest
from apimaster.results import GeneratedImage, ImageResult, Task

REQUEST = ImageRequest(prompt="a cat")
TASK = Task(id="task_1", model=REQUEST.model, request=REQUEST)


def gateway(duration: float, look: Any = running) -> Any:
    """Accepts every order; the task is finished after so many seconds."""

    def answer(send: Send, at: float) -> Answer:
        if send.call.method == "POST":
            return accepted()
        return finished() if at >= duration else look() if callable(look) else look

    return answer


def make(driver: HandDriver, timeout: float | None = None, **changes: Any) -> ImageResult:
    result = driver.run(generate(context(**changes), REQUEST, "async", CallOptions(timeout)))
    assert isinstance(result, ImageResult)
    return result


def test_a_job_of_ten_minutes() -> None:
    driver = HandDriver(gateway(590.0), takes=0.05)
    make(driver, timeout=600)
    assert 590 <= driver.now - 1000.0 <= 596
    gaps = [b - a for a, b in zip(driver.looks(), driver.looks()[1:], strict=False)]
    assert max(gaps) <= 5.1
    assert len(gaps) < 150


FAULTS: list[tuple[str, Answer]] = [
    ("500", refusal(500)),
    ("502", refusal(502)),
    ("503", refusal(503)),
    ("502 page", page(502)),
    ("524 page", page(524)),
    ("429", refusal(429)),
    ("408", refusal(408)),
    ("never sent", NotSent("refused")),
    ("broken", Broken("reset")),
    ("without end", Refused("it is larger than 128 MB")),
    ("elsewhere", reply(b"", 302, {"location": "https://login.test"})),
    ("a page", page(200)),
    ("nothing", reply(b"")),
    ("half a reply", reply(b'{"data": {"sta')),
    ("a list", reply([1, 2])),
    ("no status", reply({"data": {}})),
    ("a number for a status", reply({"data": {"status": 5}})),
    ("an unknown word", reply({"data": {"status": "contemplating"}})),
]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS])
def test_no_passing_fault_ends_a_wait(fault: Answer) -> None:
    driver = HandDriver(gateway(120.0, fault))
    assert make(driver).images
    assert driver.paths.count("POST /images/generations/async") == 1
    assert driver.now - 1000.0 <= 130


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS])
def test_a_wait_ends_at_its_deadline_and_names_the_task_and_the_last_fault(fault: Answer) -> None:
    driver = HandDriver(gateway(1e9, fault))
    with pytest.raises(TaskTimeoutError, match="task_1") as caught:
        make(driver, timeout=60)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.billed, error.retryable) == ("yes", False)
    assert error.task is not None
    assert error.task.id == "task_1"
    assert error.tasks == (error.task,)
    assert driver.now - 1000.0 == pytest.approx(60.0, abs=1.0)
    assert driver.looks()[-1] == pytest.approx(60.0, abs=1.0), "the last look is made at the deadline"
    assert ("The last poll failed" in error.message) == (b"contemplating" not in getattr(fault, "body", b""))


def test_a_job_that_ends_at_the_last_moment_is_taken() -> None:
    driver = HandDriver(gateway(60.0))
    assert make(driver, timeout=60).images


def test_faults_make_the_looks_rarer() -> None:
    driver = HandDriver(gateway(100.0, refusal(503)))
    make(driver)
    gaps = [b - a for a, b in zip(driver.looks(), driver.looks()[1:], strict=False)]
    assert gaps[-3] == pytest.approx(8.0), "backoff up to its cap"
    assert len(gaps) < 25


def test_a_poll_that_is_refused_waits_as_long_as_it_was_told() -> None:
    answers = iter([refusal(429, retry_after="20")])
    driver = HandDriver(lambda send, at: accepted() if send.call.method == "POST" else next(answers, finished()))
    make(driver)
    first, second = driver.looks()
    assert second - first >= 20


def test_a_retry_after_beyond_the_deadline_does_not_lose_the_last_look() -> None:
    answers = iter([refusal(429, retry_after="9999")])
    driver = HandDriver(lambda send, at: accepted() if send.call.method == "POST" else next(answers, finished()))
    assert make(driver, timeout=30).images
    assert driver.looks()[-1] <= 31


def test_a_rate_that_other_tasks_fill_hardly_moves_the_deadline() -> None:
    limiter = RateLimiter(0.5)
    driver = HandDriver(gateway(40.0))
    for _ in range(100):
        limiter.reserve(driver.now)
    assert make(driver, timeout=60, rate_limiter=limiter).images
    assert driver.looks() == [pytest.approx(70.0, abs=1.0)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(401), AuthenticationError),
        (refusal(403), PermissionDeniedError),
        (refusal(400), BadRequestError),
    ],
)
def test_a_refusal_that_looking_again_cannot_change_ends_the_wait_with_the_task(
    answer: Answer, kind: type[APIMasterError]
) -> None:
    driver = HandDriver(gateway(50.0, answer))
    with pytest.raises(kind) as caught:
        make(driver)
    assert caught.value.task is not None
    assert caught.value.task.id == "task_1"
    assert caught.value.billed == "yes"
    assert not caught.value.retryable
    assert len(driver.looks()) == 1


def test_a_new_task_may_be_unknown_for_a_moment() -> None:
    answers = iter([refusal(404)] * 3)
    driver = HandDriver(lambda send, at: accepted() if send.call.method == "POST" else next(answers, finished()))
    assert make(driver).images


def test_a_task_that_stays_unknown_ends_the_wait() -> None:
    driver = HandDriver(gateway(1e9, refusal(404)))
    with pytest.raises(NotFoundError) as caught:
        make(driver)
    assert caught.value.task is not None
    assert len(driver.looks()) == 5


def test_a_task_of_another_process_that_is_unknown_ends_at_once() -> None:
    driver = HandDriver([refusal(404)])
    with pytest.raises(NotFoundError) as caught:
        driver.run(wait(context(), TASK, CallOptions()))
    assert caught.value.task == TASK


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (failed(), GenerationFailedError, "the gateway gave no reason"),
        (failed("upstream fell over"), GenerationFailedError, "upstream fell over"),
        (failed({"code": "E7", "message": "out of paint"}), GenerationFailedError, "out of paint"),
        (failed({"code": "sensitive_words_detected", "message": "rude"}), ContentPolicyError, "rude"),
        (reply({"status": "CANCELLED"}), GenerationFailedError, "the gateway gave no reason"),
    ],
)
def test_a_failed_task_is_refunded(answer: Answer, kind: type[APIMasterError], words: str) -> None:
    driver = HandDriver(gateway(50.0, answer))
    with pytest.raises(kind, match=words) as caught:
        make(driver)
    assert type(caught.value) is kind
    assert caught.value.billed == "no"
    assert caught.value.task is not None
    assert caught.value.task.status == "failed"


def test_a_success_with_nothing_in_it_may_have_been_billed() -> None:
    driver = HandDriver(gateway(50.0, reply({"data": {"status": "completed", "result": {"images": []}}})))
    with pytest.raises(NoImageError, match="task_1") as caught:
        make(driver)
    assert caught.value.billed == "maybe"
    assert caught.value.task is not None


def test_a_failed_job_teaches_nothing_about_how_long_jobs_take() -> None:
    shared = context()
    driver = HandDriver(gateway(50.0, failed()))
    with pytest.raises(GenerationFailedError):
        driver.run(generate(shared, REQUEST, "async", CallOptions()))
    assert shared.history.known((REQUEST.model, "1K")) == ()


def test_a_resumed_task_is_looked_at_right_away() -> None:
    driver = HandDriver([finished()])
    result = driver.run(wait(context(), TASK, CallOptions()))
    assert driver.looks() == [0.0]
    assert result.images[0].url == "https://cdn.test/a.png"


def test_a_task_that_has_succeeded_already_is_not_looked_at() -> None:
    image = GeneratedImage(url="https://cdn.test/a.png", task_id=TASK.id)
    done = TASK.model_copy(update={"status": "succeeded", "images": (image,)})
    assert HandDriver([]).run(wait(context(), done, CallOptions())).images == (image,)


def test_a_task_of_which_somebody_says_that_it_failed_is_looked_at_once() -> None:
    told = TASK.model_copy(update={"status": "failed", "error": "spilt"})
    driver = HandDriver([finished()])
    assert driver.run(wait(context(), told, CallOptions())).images
    driver = HandDriver([failed("broken")])
    with pytest.raises(GenerationFailedError, match="broken"):
        driver.run(wait(context(), told, CallOptions()))
    assert driver.looks() == [0.0]


def test_without_time_a_resumed_task_still_gets_one_look() -> None:
    driver = HandDriver([running()])
    with pytest.raises(TaskTimeoutError):
        driver.run(wait(context(), TASK, CallOptions(timeout=0)))
    assert len(driver.looks()) == 1


def test_progress_that_is_exact_saves_looks() -> None:
    def answer(send: Send, at: float) -> Answer:
        if send.call.method == "POST":
            return accepted()
        return finished() if at >= 30.0 else running(progress=int(100 * at / 30.0), estimated_time=60)

    told, silent = HandDriver(answer), HandDriver(gateway(30.0))
    make(told)
    make(silent)
    assert told.now <= 1000 + 30.5
    assert len(told.looks()) < len(silent.looks())


def test_what_one_task_teaches_the_next_one_uses() -> None:
    shared = context()
    polls = []
    for _ in range(20):
        driver = HandDriver(gateway(19.0), takes=0.01)
        driver.run(generate(shared, REQUEST, "async", CallOptions()))
        polls.append(len(driver.looks()))
    assert polls[0] >= 8
    assert sum(polls[10:]) / 10 <= 2


def test_a_hundred_tasks_of_one_call_share_one_cap_on_polls() -> None:
    request = ImageRequest(prompt="a cat", n=100)
    numbers = iter(range(1000))
    driver = HandDriver(lambda send, at: accepted(f"task_{next(numbers)}") if send.call.method == "POST" else running())
    with pytest.raises(TaskTimeoutError) as caught:
        driver.run(generate(context(rate_limiter=RateLimiter(4)), request, "async", CallOptions(timeout=60)))
    looks = driver.looks()
    assert all(sum(1 for other in looks if at <= other < at + 1.0) <= 6 for at in looks if at < 60)
    assert len(caught.value.tasks) == 8, "those that were submitted; the others had no time left"


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_of_faults_is_survived(seed: int) -> None:
    chance = random.Random(seed)
    driver = HandDriver(gateway(90.0, lambda: chance.choice([fault for _, fault in FAULTS])))
    assert make(driver).images


def test_retrieve_repeats_passing_faults_and_answers_once() -> None:
    driver = HandDriver([refusal(503), page(502), NotSent("no"), running(progress=3)])
    task = driver.run(retrieve(context(), TASK, 60.0))
    assert (task.status, task.progress) == ("running", 3.0)
    assert driver.slept == [0.5, 1.0, 2.0]


def test_retrieve_gives_up_before_its_time_is_over() -> None:
    driver = HandDriver([refusal(429, retry_after="90")])
    with pytest.raises(APIMasterError) as caught:
        driver.run(retrieve(context(), TASK, 60.0))
    assert caught.value.task == TASK
    assert caught.value.billed == "no"


def test_retrieve_says_what_it_could_not_read() -> None:
    driver = HandDriver([page(200)] * 4)
    with pytest.raises(InternalServerError, match="no JSON"):
        driver.run(retrieve(context(), TASK, 60.0))
