"""Waiting for a task by webhook, without network or clock: the real waiter, and a driver that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest
from deliveries import MODEL, SECRET, delivery, event
from hand_driver import Answer, HandDriver, accepted, context, failed, finished, refusal, running

from apimaster._flows.generation import CallOptions, generate, submit, wait
from apimaster._flows.operations import Send
from apimaster.errors import BadRequestError, ContentPolicyError, GenerationFailedError, TaskTimeoutError
from apimaster.request import ImageRequest
from apimaster.results import ImageResult, Task
from apimaster.webhooks import WebhookWaiter

REQUEST = ImageRequest(prompt="a cat")
TASK = Task(id="task_1", model=REQUEST.model, request=REQUEST)
ENDPOINT = "whep_1"


@pytest.fixture
def waiter() -> WebhookWaiter:
    return WebhookWaiter(SECRET, endpoint_id=ENDPOINT)


def gateway(duration: float, *, ends: Answer | None = None, task_id: str = "task_1") -> Any:
    def answer(send: Send, at: float) -> Answer:
        if send.call.method == "POST":
            return accepted(task_id)
        return (ends or finished()) if at >= duration else running()

    return answer


def deliver(driver: HandDriver, waiter: WebhookWaiter, at: float, document: Any, secret: str = SECRET) -> None:
    """Hand a delivery to the waiter, so many seconds after the start."""
    driver.at(at, lambda: waiter.handle(*delivery(document, secret)))


def make(driver: HandDriver, waiter: WebhookWaiter, timeout: float | None = None, **request: Any) -> ImageResult:
    wanted = REQUEST.model_copy(update=request)
    result = driver.run(generate(context(waiter=waiter), wanted, "async", CallOptions(timeout)))
    assert isinstance(result, ImageResult)
    return result


def body_of(send: Send) -> bytes:
    body = send.call.body
    assert body is not None
    return body if isinstance(body, bytes) else b"".join(body)


def test_an_event_ends_the_wait_at_once_and_without_a_poll(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(19.0), takes=0.05)
    deliver(driver, waiter, 19.3, event("task_1"))
    result = make(driver, waiter)
    assert driver.now - 1000.0 == pytest.approx(19.3)
    assert driver.looks() == []
    assert [image.url for image in result.images] == ["https://gateway.test/v1/tasks/task_1/outputs/0/content"]
    assert (result.tasks[0].status, result.tasks[0].request, result.cost) == ("succeeded", REQUEST, REQUEST.cost)


def test_the_submit_asks_for_the_waiters_endpoint_and_the_task_stays_what_was_asked_for(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(5.0))
    deliver(driver, waiter, 5.0, event("task_1"))
    result = make(driver, waiter)
    assert b'"notifications":{"webhook":{"endpoint_id":"whep_1"' in body_of(driver.sent[0][1]).replace(b" ", b"")
    assert result.request is not None
    assert result.request.webhook is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"webhook": "whep_2"}, b"whep_2"),
        ({"extra_body": {"notifications": {"webhook": {"endpoint_id": "whep_3"}}}}, b"whep_3"),
    ],
)
def test_a_call_that_names_its_own_webhook_gets_that_one_and_is_polled_as_usual(
    waiter: WebhookWaiter, fields: dict[str, Any], expected: bytes
) -> None:
    driver = HandDriver(gateway(19.0))
    result = driver.run(
        generate(context(waiter=waiter), ImageRequest(prompt="a cat", **fields), "async", CallOptions())
    )
    assert expected in body_of(driver.sent[0][1])
    assert b"whep_1" not in body_of(driver.sent[0][1])
    assert driver.now - 1000.0 < 23, "no event comes here, so polls are not rare"
    assert result.images


def test_a_lost_delivery_costs_time_and_no_picture(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(19.0))
    assert make(driver, waiter).images
    assert driver.looks() == [pytest.approx(120.0, abs=1)]


def test_the_polls_of_the_safety_net_are_further_and_further_apart(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(3000.0))
    assert make(driver, waiter, timeout=3600).images
    gaps = [b - a for a, b in zip(driver.looks(), driver.looks()[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] == pytest.approx(60, abs=2)
    assert max(gaps) == pytest.approx(300)


def test_known_durations_bring_the_first_poll_forward(waiter: WebhookWaiter) -> None:
    shared = context(waiter=waiter)
    for number in range(3):
        driver = HandDriver(gateway(4.0, task_id=f"task_{number}"))
        deliver(driver, waiter, 4.0, event(f"task_{number}"))
        driver.run(generate(shared, REQUEST, "async", CallOptions()))
        assert driver.looks() == []
    driver = HandDriver(gateway(4.0, task_id="task_9"))
    driver.run(generate(shared, REQUEST, "async", CallOptions()))
    assert driver.looks() == [pytest.approx(1.5 * 4.0 + 30.0, abs=0.5)]


def test_what_other_tasks_show_reaches_a_wait_that_has_begun(waiter: WebhookWaiter) -> None:
    shared = context(waiter=waiter)
    driver = HandDriver(gateway(4.0))
    driver.at(50.0, lambda: shared.history.observe((REQUEST.model, "1K"), 4.0, 4.0))
    driver.run(generate(shared, REQUEST, "async", CallOptions()))
    assert 50.0 <= driver.looks()[0] < 75.0


def test_when_no_delivery_comes_tasks_are_polled_as_usual_until_one_does(waiter: WebhookWaiter) -> None:
    for _ in range(3):
        driver = HandDriver(gateway(19.0))
        make(driver, waiter)
        assert driver.now - 1000.0 > 60
    assert waiter.silent
    driver = HandDriver(gateway(19.0))
    make(driver, waiter)
    assert driver.now - 1000.0 < 23
    waiter.handle(*delivery(event("task_of_another_process")))
    assert not waiter.silent
    driver = HandDriver(gateway(19.0))
    make(driver, waiter)
    assert driver.now - 1000.0 > 60


def test_an_event_before_the_reply_to_the_submit_counts(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(0.0), takes=10.0)
    deliver(driver, waiter, 4.0, event("task_1"))
    make(driver, waiter)
    assert driver.now - 1000.0 == pytest.approx(10.0)
    assert driver.looks() == []


def test_a_wait_for_what_this_process_submitted_needs_no_poll(waiter: WebhookWaiter) -> None:
    shared = context(waiter=waiter)
    driver = HandDriver(gateway(19.0))
    task = driver.run(submit(shared, REQUEST, CallOptions()))
    deliver(driver, waiter, 19.0, event("task_1"))
    driver.run(wait(shared, task, CallOptions()))
    assert driver.now - 1000.0 == pytest.approx(19.0)
    assert driver.looks() == []
    again = HandDriver(gateway(19.0))
    assert again.run(wait(shared, task, CallOptions())).images
    assert again.sent == [], "the event is still here"


@pytest.mark.parametrize("request_", [REQUEST, None])
def test_a_task_of_another_process_is_polled_once_and_then_rarely(
    waiter: WebhookWaiter, request_: ImageRequest | None
) -> None:
    driver = HandDriver(gateway(19.0))
    deliver(driver, waiter, 19.0, event("task_1"))
    task = Task(id="task_1", model=MODEL, request=request_)
    assert driver.run(wait(context(waiter=waiter), task, CallOptions())).images
    assert driver.now - 1000.0 == pytest.approx(19.0)
    assert driver.looks() == [0.0]


def test_two_waits_for_one_task_are_both_woken(waiter: WebhookWaiter) -> None:
    from apimaster._flows.operations import Gather

    shared = context(waiter=waiter)
    driver = HandDriver(gateway(19.0))
    deliver(driver, waiter, 19.0, event("task_1"))

    def both() -> Any:
        return (yield Gather([wait(shared, TASK, CallOptions()), wait(shared, TASK, CallOptions())], limit=2))

    outcomes = driver.run(both())
    assert all(isinstance(each, ImageResult) for each in outcomes)
    assert driver.now - 1000.0 == pytest.approx(19.0)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"code": "image_generation_failed", "message": "no picture came"}, GenerationFailedError, "no picture came"),
        ({"code": "sensitive_words_detected", "message": "refused"}, ContentPolicyError, "refused"),
        (None, GenerationFailedError, "no reason"),
    ],
)
def test_an_event_of_a_failed_task_is_the_error_of_a_failed_poll(
    waiter: WebhookWaiter, error: Any, kind: type[Exception], text: str
) -> None:
    driver = HandDriver(gateway(7.0, ends=failed()))
    deliver(driver, waiter, 7.0, event("task_1", "task.failed", error=error))
    with pytest.raises(kind, match=text) as caught:
        make(driver, waiter)
    assert driver.looks() == [pytest.approx(7.0)], "one poll confirms it"
    assert driver.now - 1000.0 == pytest.approx(7.0)
    polled = HandDriver(gateway(0.0, ends=failed(error)))
    with pytest.raises(kind) as by_poll:
        polled.run(wait(context(), TASK, CallOptions()))
    assert type(by_poll.value) is type(caught.value)
    assert caught.value.billed == by_poll.value.billed  # type: ignore[attr-defined]
    assert caught.value.code == by_poll.value.code  # type: ignore[attr-defined]


ODD: list[tuple[str, Any]] = [
    ("no outputs", {"result": {"outputs": []}}),
    ("no result", {"result": None}),
    ("a text for a result", {"result": "done"}),
    ("an output without a URL", {"result": {"outputs": [{"output_id": "0", "type": "image"}]}}),
    ("of another gateway", {"task_url": "https://other.test/v1/tasks/task_1"}),
    ("a URL that is none", {"task_url": "https://[/"}),
    ("the other scheme", {"task_url": "http://gateway.test/v1/tasks/task_1"}),
    ("without an address", {"task_url": None}),
    ("a number for an address", {"task_url": 1}),
    ("a status that contradicts", {"status": "failed"}),
    ("a status of another kind", {"status": 1}),
    ("an error beside the pictures", {"error": {"code": "x", "message": "y"}}),
    ("of another model", {"model": "gpt-image-2"}),
    ("without a model", {"model": None}),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ODD])
def test_an_odd_event_leads_to_one_poll(waiter: WebhookWaiter, data: dict[str, Any]) -> None:
    driver = HandDriver(gateway(19.0))
    deliver(driver, waiter, 19.0, event("task_1", **data))
    result = make(driver, waiter)
    assert [image.url for image in result.images] == ["https://cdn.test/a.png"], "what the gateway says itself"
    assert driver.looks() == [pytest.approx(19.0)]


def test_an_odd_event_before_the_end_leads_to_the_usual_polls(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(22.0))
    deliver(driver, waiter, 19.0, event("task_1", result=None))
    assert make(driver, waiter).images
    assert driver.looks()[0] == pytest.approx(19.0)
    assert driver.now - 1000.0 < 30


def test_a_refused_poll_after_an_odd_event_is_sent_again_as_late_as_the_gateway_asks(waiter: WebhookWaiter) -> None:
    answers = iter([refusal(429, retry_after="20")])
    driver = HandDriver(lambda send, at: accepted() if send.call.method == "POST" else next(answers, finished()))
    deliver(driver, waiter, 19.0, event("task_1", result=None))
    assert make(driver, waiter).images
    assert driver.looks() == [pytest.approx(19.0), pytest.approx(39.0)]


OUTPUT = {"output_id": "0", "type": "image", "url": "https://gateway.test/v1/tasks/task_1/outputs/0/content"}
FAILURES: list[tuple[str, Any]] = [
    ("as the gateway writes it", {}),
    ("without a status", {"status": None}),
    ("with the status of a success", {"status": "completed"}),
    ("with pictures", {"result": {"outputs": [OUTPUT]}}),
    ("both", {"status": "completed", "result": {"outputs": [OUTPUT]}, "error": None}),
    ("of another gateway", {"task_url": "https://other.test/v1/tasks/task_1"}),
    ("without an address", {"task_url": None}),
    ("of another model", {"model": "gpt-image-2"}),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in FAILURES])
def test_a_failure_that_only_a_webhook_tells_ends_nothing(waiter: WebhookWaiter, data: dict[str, Any]) -> None:
    driver = HandDriver(gateway(22.0))
    deliver(driver, waiter, 15.0, event("task_1", "task.failed", **data))
    assert make(driver, waiter).images
    assert driver.looks()[0] == pytest.approx(15.0)
    posts = [send for _, send in driver.sent if send.call.method == "POST"]
    assert len(posts) == 1


def test_the_reason_of_a_failure_elsewhere_is_not_taken_over(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(7.0, ends=failed()))
    deliver(driver, waiter, 7.0, event("task_1", "task.failed", task_url="https://other.test/v1/tasks/task_1"))
    with pytest.raises(GenerationFailedError, match="no reason"):
        make(driver, waiter)


@pytest.mark.parametrize(
    "data",
    [
        {"task_url": "https://GATEWAY.test:443/v1/tasks/task_1"},
        {"status": None},
        {"status": "Completed"},
        {"model": "gemini-3.1-flash-image"},
    ],
)
def test_another_way_to_write_the_same_is_believed(waiter: WebhookWaiter, data: dict[str, Any]) -> None:
    driver = HandDriver(gateway(19.0))
    deliver(driver, waiter, 19.0, event("task_1", **data))
    assert make(driver, waiter).images
    assert driver.looks() == []


def test_contradictory_events_lead_to_a_poll(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(0.0), takes=10.0)
    deliver(driver, waiter, 3.0, event("task_1", "task.failed"))
    deliver(driver, waiter, 4.0, event("task_1"))
    assert make(driver, waiter).images
    assert len(driver.looks()) == 1


def test_a_forged_event_is_not_believed(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(19.0))
    deliver(driver, waiter, 3.0, event("task_1", url="https://evil.test/a.png"), secret="another")
    deliver(driver, waiter, 4.0, event("task_1", "task.failed"), secret="another")
    deliver(driver, waiter, 19.0, event("task_1"))
    result = make(driver, waiter)
    assert [image.url for image in result.images] == ["https://gateway.test/v1/tasks/task_1/outputs/0/content"]
    assert driver.now - 1000.0 == pytest.approx(19.0)


def test_an_event_of_another_task_wakes_nobody(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(60.0))
    deliver(driver, waiter, 3.0, event("task_2"))
    deliver(driver, waiter, 60.0, event("task_1"))
    make(driver, waiter)
    assert driver.now - 1000.0 == pytest.approx(60.0)
    assert driver.looks() == []


def test_a_wait_ends_at_its_deadline_with_a_last_poll(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(1e9))
    with pytest.raises(TaskTimeoutError) as caught:
        make(driver, waiter, timeout=40)
    assert driver.looks() == [pytest.approx(40.0)]
    assert caught.value.task is not None
    assert caught.value.task.id == "task_1"
    deliver(driver, waiter, driver.now - 1000.0 + 5, event("task_1"))
    assert driver.run(wait(context(waiter=waiter), caught.value.task, CallOptions())).images


def test_a_call_that_ends_leaves_nothing_behind(waiter: WebhookWaiter) -> None:
    driver = HandDriver(gateway(1e9))
    with pytest.raises(TaskTimeoutError):
        make(driver, waiter, timeout=40)
    flow = wait(context(waiter=waiter), TASK, CallOptions())
    flow.send(None)
    flow.close()
    assert waiter._watches == {}


def test_a_webhook_that_the_gateway_refuses_costs_no_picture(waiter: WebhookWaiter) -> None:
    answers = iter([refusal(400, "no webhooks for this model", "invalid_webhook_configuration"), accepted()])
    driver = HandDriver(
        lambda send, at: next(answers) if send.call.method == "POST" else finished() if at >= 19 else running()
    )
    assert make(driver, waiter).images
    first, second = (body_of(send) for _, send in driver.sent[:2])
    assert b"whep_1" in first
    assert b"notifications" not in second
    assert driver.now - 1000.0 < 23, "polled as usual"


def test_a_webhook_that_the_caller_named_is_not_given_up(waiter: WebhookWaiter) -> None:
    driver = HandDriver([refusal(400, "not verified", "invalid_webhook_configuration")])
    with pytest.raises(BadRequestError, match="not verified"):
        driver.run(generate(context(waiter=waiter), ImageRequest(prompt="a", webhook="whep_9"), "async", CallOptions()))
    assert len(driver.sent) == 1


def test_thousands_of_tasks_in_flight_are_hardly_polled(waiter: WebhookWaiter) -> None:
    from apimaster._flows.operations import Gather

    shared, count = context(waiter=waiter), 2_000
    names = iter(f"task_{number}" for number in range(count))
    driver = HandDriver(
        lambda send, at: accepted(next(names)) if send.call.method == "POST" else finished() if at > 19 else running()
    )
    for number in range(count):
        deliver(driver, waiter, 19.0 + number / count * 20, event(f"task_{number}"))

    def all_of_them() -> Any:
        return (yield Gather([generate(shared, REQUEST, "async", CallOptions()) for _ in range(count)], limit=count))

    outcomes = driver.run(all_of_them())
    assert all(isinstance(each, ImageResult) for each in outcomes)
    assert len(driver.looks()) < 0.01 * count
