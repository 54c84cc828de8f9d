"""Deliveries from the gateway: verified or refused, and the events in them."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from typing import Any

import pytest

from apimaster.errors import APIMasterError, BadRequestError
from apimaster.webhooks import (
    VERIFICATION,
    WebhookEvent,
    WebhookVerificationError,
    challenge_response,
    parse_webhook,
    sign,
)

SECRET = "whsec-made-up"
NOW = 1_790_000_000
COMPLETED: dict[str, Any] = {
    "id": "evt_1",
    "type": "task.completed",
    "api_version": "2026-10-03",
    "created_at": NOW,
    "data": {
        "task_id": "task_01",
        "model": "gemini-3.1-flash-image-preview",
        "kind": "image",
        "status": "completed",
        "client_reference_id": "order-7",
        "completed_at": NOW,
        "task_url": "https://apimaster.ai/v1/tasks/task_01",
        "result": {
            "outputs": [
                {"output_id": "0", "type": "image", "url": "https://apimaster.ai/v1/a", "expires_at": None},
                {"output_id": "1", "type": "text", "url": "https://apimaster.ai/v1/b"},
                {"output_id": "2", "type": "image", "url": "https://apimaster.ai/v1/c", "expires_at": NOW + 60},
                "nonsense",
                {"output_id": "x", "type": "image"},
            ]
        },
        "error": None,
    },
}


def encode(event: object) -> bytes:
    return json.dumps(event).encode()


def test_the_signature_is_the_gateways() -> None:
    # Written out once more, by hand, so that sign() and parse_webhook() can't be wrong together.
    body = encode(COMPLETED)
    digest = hmac.new(SECRET.encode(), str(NOW).encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-APIMaster-Timestamp": str(NOW), "X-APIMaster-Signature": f"v1={digest},kid=k1"}
    assert sign(body, SECRET, timestamp=NOW, key_id="k1") == headers
    assert parse_webhook(body, headers, SECRET, now=NOW).id == "evt_1"


def test_a_finished_task() -> None:
    body = encode(COMPLETED)
    headers = {
        **sign(body, SECRET, timestamp=NOW),
        "X-APIMaster-Event-ID": "evt_forged",
        "X-APIMaster-Delivery-ID": "d1",
    }
    event = parse_webhook(body, headers, SECRET, now=NOW)
    assert (event.id, event.type, event.delivery_id) == ("evt_1", "task.completed", "d1")
    assert event.client_reference_id == "order-7"
    task = event.task
    assert task is not None
    assert (task.id, task.model, task.status, task.done) == (
        "task_01",
        "gemini-3.1-flash-image-preview",
        "succeeded",
        True,
    )
    assert [(i.url, i.index, i.output_index, i.expires_at) for i in task.images] == [
        ("https://apimaster.ai/v1/a", 0, 0, None),
        ("https://apimaster.ai/v1/c", 1, 2, NOW + 60),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "blocked", "message": "no such thing"}, "blocked: no such thing"),
        ({"code": None, "message": "no such thing"}, "no such thing"),
        ({}, None),
        ("plain words", "plain words"),
        (None, None),
    ],
)
def test_a_failed_task(error: object, reason: str | None) -> None:
    data = {"task_id": "task_01", "model": "m", "status": "failed", "result": None, "error": error}
    task = WebhookEvent(id="evt_2", type="task.failed", data=data).task
    assert task is not None
    assert (task.status, task.error, task.images) == ("failed", reason, ())


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_3", "type": "task.completed", "data": {}},
        {"id": "evt_3", "type": "task.completed", "data": {"task_id": "task_01"}},
        {"id": "evt_3", "type": "task.completed"},
        {"id": "evt_3", "type": "balance.low", "data": {"task_id": "task_01", "model": "m"}},
    ],
)
def test_events_without_a_task(event: dict[str, Any]) -> None:
    body = encode(event)
    parsed = parse_webhook(body, sign(body, SECRET, timestamp=NOW), SECRET, now=NOW)
    assert parsed.task is None
    assert parsed.client_reference_id is None


OUTPUTS = {"outputs": [{"output_id": "0", "type": "image", "url": "https://apimaster.ai/v1/a"}]}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("task.failed", {"status": "completed"}),
        ("task.failed", {"status": "cancelled"}),
        ("task.failed", {"status": True}),
        ("task.failed", {"result": OUTPUTS}),
        ("task.failed", {"status": "failed", "result": "a picture"}),
        ("task.completed", {"status": "failed", "result": OUTPUTS}),
        ("task.completed", {"status": "", "result": OUTPUTS}),
        ("task.completed", {"result": OUTPUTS, "error": {"code": "x"}}),
        ("task.completed", {"status": "completed", "result": []}),
    ],
)
def test_a_contradictory_event_has_an_unfinished_task(kind: str, data: dict[str, Any]) -> None:
    task = WebhookEvent(id="evt_5", type=kind, data={"task_id": "task_01", "model": "m", **data}).task
    assert task is not None
    assert (task.status, task.images, task.error) == ("running", (), None)


def test_an_event_without_outputs_has_an_unfinished_task() -> None:
    data = {"task_id": "task_01", "model": "m", "result": None}
    task = WebhookEvent(id="evt_4", type="task.completed", data=data).task
    assert task is not None
    assert (task.images, task.done) == ((), False)


def headers_for(body: bytes, **changes: str) -> dict[str, str]:
    return {**sign(body, SECRET, timestamp=NOW), **changes}


BODY = encode(COMPLETED)
DIGEST = sign(BODY, SECRET, timestamp=NOW)["X-APIMaster-Signature"].removeprefix("v1=").removesuffix(",kid=1")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-apimaster-timestamp": str(NOW), "X-APIMASTER-SIGNATURE": f"v1={DIGEST},kid=1"},
        {"X-APIMaster-Timestamp": f" {NOW} ", "X-APIMaster-Signature": f" kid=1 , v1={DIGEST.upper()} "},
        {"X-APIMaster-Timestamp": str(NOW), "X-APIMaster-Signature": f"v1=00,v1={DIGEST}"},
    ],
)
@pytest.mark.parametrize("secret", [SECRET, f"{SECRET}\n", {"1": SECRET}, {"0": "older", "1": SECRET}])
def test_ways_to_write_a_good_signature(headers: dict[str, str], secret: str | dict[str, str]) -> None:
    assert parse_webhook(BODY, headers, secret, now=NOW).id == "evt_1"


@pytest.mark.parametrize(
    ("body", "headers", "secret", "words"),
    [
        (BODY + b" ", headers_for(BODY), SECRET, "does not match the body"),
        (BODY, headers_for(BODY, **{"X-APIMaster-Timestamp": str(NOW + 1)}), SECRET, "does not match the body"),
        (BODY, headers_for(BODY), "another", "does not match the body"),
        (BODY, headers_for(BODY, **{"X-APIMaster-Signature": "v1=é€"}), SECRET, "does not match the body"),
        (BODY, headers_for(BODY), {"2": SECRET}, "signed with the key '1'; known keys: 2"),
        (BODY, headers_for(BODY, **{"X-APIMaster-Signature": f"v2={DIGEST}"}), SECRET, "holds no v1="),
        (BODY, headers_for(BODY, **{"X-APIMaster-Signature": DIGEST}), SECRET, "holds no v1="),
        (BODY, {"X-APIMaster-Timestamp": str(NOW)}, SECRET, "x-apimaster-signature is missing"),
        (BODY, {"X-APIMaster-Signature": f"v1={DIGEST}"}, SECRET, "x-apimaster-timestamp is missing"),
        (b"x" * (1024 * 1024 + 1), {}, SECRET, "at most 1048576"),
    ],
)
def test_refused_deliveries(body: bytes, headers: dict[str, str], secret: str | dict[str, str], words: str) -> None:
    with pytest.raises(WebhookVerificationError) as caught:
        parse_webhook(body, headers, secret, now=NOW)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, APIMasterError)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "a JSON list"),
        (b'{"id": "evt_1"}', "missing or wrong: type"),
        (b'{"id": "", "type": 5, "data": []}', "missing or wrong: data, id, type"),
    ],
)
def test_a_signed_body_that_is_not_an_event(body: bytes, words: str) -> None:
    with pytest.raises(WebhookVerificationError, match=words):
        parse_webhook(body, sign(body, SECRET, timestamp=NOW), SECRET, now=NOW)


@pytest.mark.parametrize(
    ("now", "tolerance", "words"),
    [
        (NOW + 300, 300.0, None),
        (NOW - 300, 300.0, None),
        (NOW + 301, 300.0, "301 s old"),
        (NOW - 301, 300.0, "301 s ahead of this machine's clock"),
        (NOW + 6, 5.0, "accepted: up to 5 s"),
        (NOW + 10**6, math.inf, None),
    ],
)
def test_the_age_of_a_delivery(now: int, tolerance: float, words: str | None) -> None:
    headers = sign(BODY, SECRET, timestamp=NOW)
    if words is None:
        assert parse_webhook(BODY, headers, SECRET, now=now, tolerance=tolerance).id == "evt_1"
        return
    with pytest.raises(WebhookVerificationError, match=words):
        parse_webhook(BODY, headers, SECRET, now=now, tolerance=tolerance)


def test_the_age_is_measured_by_this_machines_clock_by_default() -> None:
    with pytest.raises(WebhookVerificationError, match=r"s (old|ahead)"):
        parse_webhook(BODY, sign(BODY, SECRET, timestamp=1_000_000_000), SECRET)


def test_a_signed_timestamp_that_is_not_a_number() -> None:
    digest = hmac.new(SECRET.encode(), b"soon." + BODY, hashlib.sha256).hexdigest()
    headers = {"X-APIMaster-Timestamp": "soon", "X-APIMaster-Signature": f"v1={digest}"}
    with pytest.raises(WebhookVerificationError, match="not a number"):
        parse_webhook(BODY, headers, SECRET, now=NOW)


@pytest.mark.parametrize("secret", ["", " \n", {}, {"1": ""}, {"1": SECRET, "2": " "}])
def test_an_empty_secret_is_a_fault_of_the_receiver(secret: str | dict[str, str]) -> None:
    body = encode(COMPLETED)
    with pytest.raises(BadRequestError, match="secret is empty"):
        parse_webhook(body, sign(body, "", timestamp=NOW), secret, now=NOW)


def test_text_instead_of_bytes_is_a_fault_of_the_receiver() -> None:
    with pytest.raises(BadRequestError, match="raw bytes of the delivery, not str"):
        parse_webhook(BODY.decode(), headers_for(BODY), SECRET, now=NOW)  # type: ignore[arg-type]


def test_the_challenge_of_a_new_endpoint() -> None:
    body = encode({"id": "evt_5", "type": VERIFICATION, "data": {"challenge": "c-123"}})
    event = parse_webhook(body, sign(body, SECRET, timestamp=NOW), SECRET, now=NOW)
    assert challenge_response(event) == {"challenge": "c-123"}


@pytest.mark.parametrize(
    "event",
    [
        WebhookEvent(id="e", type="task.completed", data={"challenge": "c"}),
        WebhookEvent(id="e", type=VERIFICATION),
    ],
)
def test_no_response_to_an_event_without_a_challenge(event: WebhookEvent) -> None:
    with pytest.raises(BadRequestError, match="holds no challenge"):
        challenge_response(event)


def test_events_survive_json() -> None:
    event = parse_webhook(BODY, headers_for(BODY), SECRET, now=NOW)
    assert WebhookEvent.model_validate_json(event.model_dump_json()) == event
