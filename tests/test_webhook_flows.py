"""Managing webhooks, by hand: what is sent, what is sent again, what is read from odd replies, what errors advise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_driver import WALL, HandDriver, context, page, refusal, reply

from apimaster._flows import webhooks as flows
from apimaster._flows.operations import Broken, Flow, NotSent, Reply
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from apimaster.webhooks import (
    WebhookCapabilities,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcomeUnknownError,
    WebhookSecretNotSavedError,
    read_secrets,
)
from apimaster.webhooks.secrets import SecretFile

URL = "https://example.com/hooks"
SECRET = "whsec-made-up-0123456789"
ENDPOINT = {"id": "whep_1", "url": URL, "verified": False, "enabled": True, "key_id": "k1", "created_at": 1_790_000_000}
READ = WebhookEndpoint(id="whep_1", url=URL, verified=False, enabled=True, key_id="k1", created_at=1_790_000_000)
CREATED = reply({"endpoint": ENDPOINT, "signing_secret": SECRET}, 201)
ROTATED = {
    "endpoint_id": "whep_1",
    "key_id": "k2",
    "signing_secret": SECRET,
    "previous_key_id": "k1",
    "previous_valid_until": 1_790_086_400,
}
CONTEXT = context()


def create(file: SecretFile | None = None) -> Flow[Any]:
    return flows.create(CONTEXT, URL, file, 60.0)


def rotate(file: SecretFile | None = None) -> Flow[Any]:
    return flows.rotate(CONTEXT, "whep_1", file, 60.0)


CALLS: dict[str, Callable[[], Flow[Any]]] = {
    "create": create,
    "rotate": rotate,
    "redeliver": lambda: flows.redeliver(CONTEXT, "evt_1", 60.0),
    "list": lambda: flows.endpoints(CONTEXT, 60.0),
    "verify": lambda: flows.verify(CONTEXT, "whep_1", 60.0),
    "enable": lambda: flows.enable(CONTEXT, "whep_1", 60.0, enabled=True),
    "disable": lambda: flows.enable(CONTEXT, "whep_1", 60.0, enabled=False),
    "events": lambda: flows.events(CONTEXT, 60.0, task_id=None, status=None, limit=100, offset=0),
    "event": lambda: flows.event(CONTEXT, "evt_1", 60.0),
    "capabilities": lambda: flows.capabilities(CONTEXT, "m", 60.0),
}
ONCE = ("create", "rotate", "redeliver")
ROUTES: dict[str, tuple[str, dict[str, str], object, Reply]] = {
    "create": ("POST /webhook-endpoints", {}, {"url": URL}, CREATED),
    "rotate": ("POST /webhook-endpoints/whep_1/rotate-secret", {}, None, reply(ROTATED)),
    "redeliver": ("POST /webhook-events/evt_1/redeliver", {}, None, reply("", 202)),
    "list": ("GET /webhook-endpoints", {}, None, reply({"data": [ENDPOINT]})),
    "verify": ("POST /webhook-endpoints/whep_1/verify", {}, None, reply({"endpoint": ENDPOINT})),
    "enable": ("PATCH /webhook-endpoints/whep_1", {}, {"enabled": True}, reply({"endpoint": ENDPOINT})),
    "disable": ("PATCH /webhook-endpoints/whep_1", {}, {"enabled": False}, reply({"endpoint": ENDPOINT})),
    "events": ("GET /webhook-events", {"limit": "100"}, None, reply({"data": []})),
    "event": ("GET /webhook-events/evt_1", {}, None, reply({"event": {"id": "evt_1"}})),
    "capabilities": ("GET /webhook-capabilities", {"model": "m"}, None, reply({"supported": False})),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_sent(name: str) -> None:
    path, query, body, answer = ROUTES[name]
    driver = HandDriver([answer])
    driver.run(CALLS[name]())
    assert driver.paths == [path]
    call = driver.sent[0][1].call
    assert dict(call.query) == query
    assert (json.loads(call.body) if isinstance(call.body, bytes) else call.body) == body
    assert not call.beside_v1


def test_the_filters_of_events() -> None:
    driver = HandDriver([reply({"data": None})])
    assert driver.run(flows.events(CONTEXT, 60.0, task_id="task_1", status="failed", limit=7, offset=14)) == ()
    assert dict(driver.sent[0][1].call.query) == {
        "task_id": "task_1",
        "status": "failed",
        "limit": "7",
        "offset": "14",
    }


# --- what is sent again -----------------------------------------------------------------------------------

LOST = [Broken("no reply came in time"), page(502), page(524), reply("", 504), refusal(408), reply("", 502)]


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("lost", LOST, ids=repr)
def test_a_change_whose_answer_is_lost_is_not_sent_again(name: str, lost: Any) -> None:
    driver = HandDriver([lost])
    with pytest.raises(WebhookOutcomeUnknownError) as caught:
        driver.run(CALLS[name]())
    error = caught.value
    assert len(driver.sent) == 1
    assert (error.billed, error.retryable) == ("no", False)
    assert "went out, and no answer came back" in error.message
    assert "client.webhooks." in error.advice
    assert "Nothing was charged." in str(error)
    assert error.endpoint_id == ("whep_1" if name == "rotate" else None)


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("answer", [refusal(500), refusal(503), refusal(400), refusal(401), refusal(429), refusal(409)])
def test_a_change_that_was_answered_is_not_sent_again(name: str, answer: Reply) -> None:
    driver = HandDriver([answer])
    with pytest.raises(APIMasterError) as caught:
        driver.run(CALLS[name]())
    assert len(driver.sent) == 1
    if isinstance(caught.value, InternalServerError):
        assert not caught.value.retryable
        assert "client.webhooks." in caught.value.advice


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_was_never_sent_is_sent_again(name: str) -> None:
    driver = HandDriver([NotSent("no route"), NotSent("no route"), ROUTES[name][3]])
    driver.run(CALLS[name]())
    assert len(driver.sent) == 3
    driver = HandDriver([NotSent("no route")] * 4)
    with pytest.raises(APIConnectionError, match="Nothing was sent"):
        driver.run(CALLS[name]())


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ONCE])
@pytest.mark.parametrize("fault", [*LOST, refusal(500), refusal(503), refusal(429, retry_after="2")], ids=repr)
def test_what_may_be_sent_twice_is_sent_again(name: str, fault: Any) -> None:
    driver = HandDriver([fault, fault, ROUTES[name][3]])
    driver.run(CALLS[name]())
    assert len(driver.sent) == 3


def test_a_verification_may_take_longer_than_a_question() -> None:
    driver = HandDriver([reply({"endpoint": ENDPOINT})])
    driver.run(flows.verify(CONTEXT, "whep_1", 600.0))
    assert driver.sent[0][1].timeout == flows.VERIFY_TIMEOUT
    driver = HandDriver([reply({"data": []})])
    driver.run(flows.endpoints(CONTEXT, 600.0))
    assert driver.sent[0][1].timeout == 30.0


# --- errors -----------------------------------------------------------------------------------------------


def error_of(flow: Flow[Any], *answers: Any) -> APIMasterError:
    with pytest.raises(APIMasterError) as caught:
        HandDriver(answers).run(flow)
    assert "Nothing was charged." in str(caught.value)
    return caught.value


def test_the_limit_of_endpoints_does_not_pass_by_waiting() -> None:
    error = error_of(create(), refusal(429, "at most 20 webhook endpoints are allowed"))
    assert isinstance(error, RateLimitError)
    assert (error.retryable, error.retry_after) == (False, None)
    assert "20 webhook endpoints" in error.advice
    assert "later" not in error.advice


def test_the_limit_of_redeliveries_names_another_way() -> None:
    error = error_of(CALLS["redeliver"](), refusal(429, "5 times a day"))
    assert isinstance(error, RateLimitError)
    assert not error.retryable
    assert "client.wait(task)" in error.advice


@pytest.mark.parametrize("name", ONCE)
def test_a_rate_of_calls_passes_by_waiting(name: str) -> None:
    error = error_of(CALLS[name](), refusal(429, retry_after="7"))
    assert isinstance(error, RateLimitError)
    assert (error.retryable, error.advice) == (True, "Try again in 7 s.")


@pytest.mark.parametrize("name", CALLS)
def test_advice_speaks_of_webhooks(name: str) -> None:
    error = error_of(CALLS[name](), refusal(404))
    assert isinstance(error, NotFoundError)
    assert "client.webhooks." in error.advice or "console" in error.advice
    error = error_of(CALLS[name](), refusal(403))
    assert isinstance(error, PermissionDeniedError)
    assert "webhooks" in error.advice
    assert isinstance(error_of(CALLS[name](), refusal(401)), AuthenticationError)


def test_a_wrong_base_url_is_named_first() -> None:
    flow = flows.endpoints(context(base_url="https://gateway.test"), 60.0)
    assert "does not end in /v1" in error_of(flow, refusal(404)).advice


def test_a_failed_verification_says_why_and_what_to_do() -> None:
    error = error_of(CALLS["verify"](), refusal(400, "the endpoint answered HTTP 500", "webhook_verification_failed"))
    assert isinstance(error, BadRequestError)
    assert error.message == "the endpoint answered HTTP 500"
    assert error.code == "webhook_verification_failed"
    assert "Start a receiver" in error.advice


def test_a_redelivery_under_way() -> None:
    error = error_of(CALLS["redeliver"](), refusal(409, "a delivery of this event is under way"))
    assert isinstance(error, BadRequestError)
    assert "client.webhooks.deliveries" in error.advice


# --- what is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"endpoint": ENDPOINT, "signing_secret": SECRET},
        {"data": {"endpoint": ENDPOINT, "signing_secret": SECRET}},
        {**ENDPOINT, "signing_secret": SECRET},
        {"data": {**ENDPOINT, "signing_secret": f" {SECRET}\n"}},
        {"endpoint": {**ENDPOINT, "signing_secret": SECRET, "more": [1]}},
        {"endpoint": {**ENDPOINT, "verified": 0, "enabled": "true", "created_at": "2026-09-21T14:13:20.123456789Z"}}
        | {"signing_secret": SECRET, "more": None},
        {"endpoint": {**ENDPOINT, "verified": "false", "created_at": 1_790_000_000_000}, "signing_secret": SECRET},
    ],
)
def test_a_new_endpoint_in_any_form(document: object) -> None:
    made = HandDriver([reply(document, 201)]).run(create())
    assert made.endpoint == READ
    assert made.signing_secret.get_secret_value() == SECRET
    assert {key_id: secret.get_secret_value() for key_id, secret in made.secrets.items()} == {"k1": SECRET}


def test_a_new_endpoint_with_little() -> None:
    made = HandDriver([reply({"endpoint": {"id": 7}, "signing_secret": SECRET}, 201)]).run(create())
    assert made.endpoint == WebhookEndpoint(id="7")
    assert list(made.secrets) == [""]


@pytest.mark.parametrize(
    ("answer", "endpoint_id"),
    [
        (reply({"endpoint": ENDPOINT}, 201), "whep_1"),
        (reply({"endpoint": ENDPOINT, "signing_secret": ""}, 201), "whep_1"),
        (reply({"endpoint": ENDPOINT, "signing_secret": 5}, 201), "whep_1"),
        (reply({"endpoint": ENDPOINT, "signing_secret": "x" * 5000}, 201), "whep_1"),
        (reply({"signing_secret": SECRET}, 201), None),
        (reply({"endpoint": {"id": True}, "signing_secret": SECRET}, 201), None),
        (reply({"data": [SECRET]}, 201), None),
        (reply(f"<html>{SECRET}</html>", 200), None),
        (reply("", 204), None),
    ],
)
def test_a_new_endpoint_without_its_secret_or_id(answer: Reply, endpoint_id: str | None) -> None:
    driver = HandDriver([answer])
    with pytest.raises(WebhookOutcomeUnknownError) as caught:
        driver.run(create())
    error = caught.value
    assert len(driver.sent) == 1
    assert error.endpoint_id == endpoint_id
    assert "rotate" in error.advice
    assert SECRET not in f"{error} {error!r} {error.__dict__}"


@pytest.mark.parametrize(
    ("changes", "key_id", "previous", "until"),
    [
        ({}, "k2", "k1", 1_790_086_400.0),
        ({"previous_valid_until": "2026-09-22T14:13:20Z"}, "k2", "k1", 1_790_086_400.0),
        ({"previous_valid_until": None}, "k2", "k1", WALL + 86400.0),
        ({"key_id": 2, "previous_key_id": 1}, "2", "1", 1_790_086_400.0),
        ({"key_id": None, "previous_key_id": []}, None, None, 1_790_086_400.0),
    ],
)
def test_a_rotation(changes: dict[str, object], key_id: str, previous: str, until: float) -> None:
    for document in (ROTATED | changes, {"data": ROTATED | changes}, {"endpoint": ROTATED | changes}):
        made = HandDriver([reply(document)]).run(rotate())
        assert (made.endpoint_id, made.key_id, made.previous_key_id) == ("whep_1", key_id, previous)
        assert made.previous_valid_until == until
        assert made.signing_secret.get_secret_value() == SECRET


def test_a_rotation_without_its_secret() -> None:
    error = error_of(rotate(), reply({**ROTATED, "signing_secret": None}))
    assert isinstance(error, WebhookOutcomeUnknownError)
    assert error.endpoint_id == "whep_1"
    assert "rotate('whep_1')" in error.advice


@pytest.mark.parametrize("answer", [reply({"endpoint": ENDPOINT}), reply(ENDPOINT), reply({"data": ENDPOINT})])
def test_a_change_that_answers_with_the_endpoint(answer: Reply) -> None:
    driver = HandDriver([answer])
    assert driver.run(CALLS["enable"]()) == READ
    assert len(driver.sent) == 1


@pytest.mark.parametrize("answer", [reply("", 204), reply({"success": True}), reply({"id": "whep_2"}), page(200)])
def test_a_change_that_does_not_answer_with_the_endpoint_is_followed_by_the_list(answer: Reply) -> None:
    driver = HandDriver([answer, reply({"data": [{"id": "whep_0"}, {**ENDPOINT, "verified": True}]})])
    found = driver.run(CALLS["verify"]())
    assert driver.paths == ["POST /webhook-endpoints/whep_1/verify", "GET /webhook-endpoints"]
    assert (found.id, found.verified, found.url) == ("whep_1", True, URL)
    found = HandDriver([answer, reply({"data": []})]).run(CALLS["disable"]())
    assert found == WebhookEndpoint(id="whep_1", enabled=False)


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ({"data": [ENDPOINT, {"id": 2}, {"id": None}, "x", None, {"url": URL}]}, ["whep_1", "2"]),
        ({"endpoints": [ENDPOINT]}, ["whep_1"]),
        ({"data": {"endpoints": [ENDPOINT]}}, ["whep_1"]),
        ({"data": {"items": [ENDPOINT]}}, ["whep_1"]),
        ({"data": None}, []),
        ({"data": [{"id": f"whep_{number}"} for number in range(5000)]}, [f"whep_{number}" for number in range(1000)]),
    ],
)
def test_lists_of_endpoints(document: object, ids: list[str]) -> None:
    found = HandDriver([reply(document)]).run(CALLS["list"]())
    assert [each.id for each in found] == ids


@pytest.mark.parametrize("name", ["list", "events", "event", "capabilities"])
@pytest.mark.parametrize(
    "answer", [page(200), reply([]), reply({}), reply({"data": 5}), reply("", 204), reply("[" * 9999)]
)
def test_replies_that_can_not_be_read(name: str, answer: Reply) -> None:
    error = error_of(CALLS[name](), answer)
    assert isinstance(error, InternalServerError)
    assert error.message.startswith("The reply about webhooks can't be read: ")


def test_events() -> None:
    rows = [
        {"id": "evt_1", "type": "task.completed", "task_id": "task_1", "endpoint_id": "whep_1", "status": "Pending"}
        | {"attempts": 2, "created_at": 1_790_000_000, "next_attempt_at": 1_790_000_060},
        {"event_id": 9, "event_type": "task.failed", "attempt_count": "3", "attempts": None, "task_id": 5},
        {"id": "e" * 10_000, "type": 7, "status": None, "created_at": "never", "attempts": -1},
        {"type": "task.failed"},
    ]
    first, second, third = HandDriver([reply({"data": rows})]).run(CALLS["events"]())
    assert first.model_dump() == {**rows[0], "status": "pending"}
    assert (second.id, second.type, second.task_id) == ("9", "task.failed", "5")
    assert (len(third.id), third.type, third.status, third.created_at, third.attempts) == (2048, None, None, None, None)


PAYLOAD = {"id": "evt_1", "type": "task.failed", "data": {"task_id": "task_1", "model": "m", "error": "no"}}


@pytest.mark.parametrize("payload", [PAYLOAD, json.dumps(PAYLOAD)])
@pytest.mark.parametrize("inside", [False, True])
def test_an_event_with_its_deliveries(payload: object, inside: bool) -> None:
    rows: list[object] = [
        {"id": "dlv_1", "attempt": 1, "status": "FAILED", "status_code": 500, "error": "HTTP 500", "created_at": 7},
        {"delivery_id": 2, "status": 502, "error": {"message": "bad"}},
        {"response_status": "200", "status": "succeeded", "body": "x" * 100_000},
        "nonsense",
    ]
    document: object = {"event": {"id": "evt_1", "status": "delivered"}, "payload": payload, "deliveries": rows}
    found = HandDriver([reply({"data": document} if inside else document)]).run(CALLS["event"]())
    assert (found.event.id, found.event.status) == ("evt_1", "delivered")
    assert found.payload is not None
    assert found.payload.task is not None
    assert (found.payload.task.id, found.payload.task.error) == ("task_1", "no")
    first, second, third = found.deliveries
    assert first.details == rows[0]
    assert first.model_copy(update={"details": {}}) == WebhookDelivery(
        id="dlv_1", attempt=1, status="failed", status_code=500, error="HTTP 500", created_at=7
    )
    assert (second.id, second.status, second.status_code, second.error) == ("2", None, 502, "bad")
    assert (third.status, third.status_code, third.details) == ("succeeded", 200, {})


@pytest.mark.parametrize("payload", [None, 5, "no json", "[" * 9999, {"id": "evt_1"}, {"id": "", "type": []}])
def test_an_event_without_a_payload(payload: object) -> None:
    document = {"event": {"type": "task.failed"}, "payload": payload, "deliveries": None}
    found = HandDriver([reply(document)]).run(CALLS["event"]())
    assert (found.event.id, found.event.type, found.payload, found.deliveries) == ("evt_1", "task.failed", None, ())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"model": "m", "supported": True, "events": ["task.completed", 5, ""], "api_version": "2026-10-03"},
            WebhookCapabilities(model="m", supported=True, events=("task.completed",), api_version="2026-10-03"),
        ),
        ({"data": {"supported": 1}}, WebhookCapabilities(model="m", supported=True)),
        ({"supported": "false", "events": None}, WebhookCapabilities(model="m", supported=False)),
    ],
)
def test_capabilities(document: object, expected: WebhookCapabilities) -> None:
    assert HandDriver([reply(document)]).run(CALLS["capabilities"]()) == expected


# --- the secret and its file ------------------------------------------------------------------------------


def test_no_dump_shows_the_secret() -> None:
    for made in (HandDriver([CREATED]).run(create()), HandDriver([reply(ROTATED)]).run(rotate())):
        texts = (repr(made), str(made), made.model_dump_json(), str(made.model_dump()), repr(made.secrets))
        assert not any(SECRET in text for text in texts)
        assert json.loads(made.model_dump_json())["signing_secret"] == "**********"


def test_the_secret_is_saved_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    HandDriver([CREATED]).run(create(SecretFile(path)))
    assert read_secrets(path) == {"k1": SECRET}
    other = {**ROTATED, "signing_secret": "whsec-other"}
    HandDriver([reply(other)]).run(rotate(SecretFile(path)))
    assert read_secrets(path, now=1_790_000_000.0) == {"k1": SECRET, "k2": "whsec-other"}
    assert read_secrets(path, now=1_790_100_000.0) == {"k2": "whsec-other"}


def test_nothing_is_sent_if_the_file_can_not_take_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text('{"k9": "another"}', encoding="utf-8")
    for flow in (create(SecretFile(path)), rotate(SecretFile(path)), create(SecretFile(tmp_path / "no" / "file"))):
        driver = HandDriver([])
        with pytest.raises(BadRequestError):
            driver.run(flow)
        assert driver.sent == []


@pytest.mark.parametrize(("name", "answer"), [("create", CREATED), ("rotate", reply(ROTATED))])
def test_a_secret_that_can_not_be_saved_is_in_the_error(tmp_path: Path, name: str, answer: Reply) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = SecretFile(folder / "secrets.json")

    def answered(operation: Any, when: float) -> Reply:
        folder.rmdir()  # while the request is on its way
        return answer

    with pytest.raises(WebhookSecretNotSavedError) as caught:
        HandDriver(answered).run(create(file) if name == "create" else rotate(file))
    error = caught.value
    assert error.result is not None
    assert error.result.signing_secret.get_secret_value() == SECRET
    assert SECRET not in f"{error} {error!r} {error.__dict__}"
    assert "can't be saved" in error.message


def test_a_file_that_another_process_took_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"

    def answered(operation: Any, when: float) -> Reply:
        path.write_text('{"k9": "another"}', encoding="utf-8")
        return CREATED

    with pytest.raises(WebhookSecretNotSavedError, match="holds webhook secrets of no named endpoint"):
        HandDriver(answered).run(create(SecretFile(path)))
    assert path.read_text(encoding="utf-8") == '{"k9": "another"}'
