"""The account's own books without network or clock: what the replies mean, and what happens if there are none."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hand_driver import HandDriver, context, page, refusal, reply

from apimaster import Account, Charge
from apimaster._drivers.httpx import HttpxCodec
from apimaster._flows.account import account, charges_for_caller
from apimaster._flows.operations import Broken, Reply, Send
from apimaster._wire.account import log_call, read_log, read_usage, usage_call
from apimaster._wire.messages import Unreadable
from apimaster.errors import AuthenticationError, InternalServerError, NotFoundError, RateLimitError
from apimaster.settings import resolve

FIGURES = {
    "object": "token_usage",
    "name": "laptop",
    "total_granted": 5_000_000,
    "total_used": 18_750,
    "total_available": 4_981_250,
    "unlimited_quota": False,
    "expires_at": 1_800_000_000,
}
REQUEST_DATA = {
    "model": "gemini-3.1-flash-image-preview",
    "prompt": " a cat\n",
    "n": 1,
    "size": "16:9",
    "resolution": "2k",
    "effective_resolution": "0.5k",
    "image_urls": ["https://example.com/a.png"],
}
OTHER = {"task_id": "task_1", "request_data": REQUEST_DATA, "result_url": "https://cdn.test/a.png"}
ROW = {
    "created_at": 1_760_000_000,
    "type": 2,
    "model_name": "gemini-3.1-flash-image",
    "quota": 18_750,
    "use_time": 21,
    "request_id": "req_1",
    "content": "image",
    "other": json.dumps(OTHER),
}


def log(*rows: object, **envelope: object) -> Reply:
    return reply({"success": True, "message": "", "data": list(rows), **envelope})


def usage(**changes: object) -> Reply:
    return reply({"code": True, "message": "ok", "data": {**FIGURES, **changes}})


def read_one(**changes: object) -> Charge:
    (charge,) = read_log(log({**ROW, **changes}))
    return charge


def test_both_calls_go_beside_v1() -> None:
    assert [(call.method, call.path, call.beside_v1) for call in (usage_call(), log_call())] == [
        ("GET", "/api/usage/token", True),
        ("GET", "/api/log/token", True),
    ]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://gateway.test/v1", "https://gateway.test/api/log/token"),
        ("http://127.0.0.1:8788/some/proxy/v1/", "http://127.0.0.1:8788/some/proxy/api/log/token"),
        ("https://gateway.test", "https://gateway.test/api/log/token"),
        ("https://gateway.test/v1beta", "https://gateway.test/v1beta/api/log/token"),
    ],
)
def test_the_url_beside_v1_has_the_key(base_url: str, url: str) -> None:
    with httpx.Client() as client:
        request = HttpxCodec(resolve("sk-secret", base_url)).request(client, Send(log_call(), 1.0))
    assert str(request.url) == url
    assert request.headers["authorization"] == "Bearer sk-secret"


def test_the_figures_of_a_key() -> None:
    assert read_usage(usage()) == Account(
        name="laptop",
        granted=Decimal(10),
        used=Decimal("0.0375"),
        available=Decimal("9.9625"),
        expires_at=1_800_000_000,
    )


def test_a_key_without_a_limit_has_no_figures_of_the_account() -> None:
    seen = read_usage(usage(unlimited_quota=True, total_available=-18_750))
    assert (seen.unlimited, seen.granted, seen.available, seen.used) == (True, None, None, Decimal("0.0375"))


@pytest.mark.parametrize("value", [0, -1, None, "never", float("nan")])
def test_a_key_that_does_not_expire(value: object) -> None:
    assert read_usage(usage(expires_at=value)).expires_at is None


def test_a_figure_that_is_no_number_is_unknown() -> None:
    seen = read_usage(usage(total_used="much", total_granted=None, name=7))
    assert (seen.used, seen.granted, seen.name, seen.available) == (None, None, None, Decimal("9.9625"))


def test_a_row_of_the_log() -> None:
    assert read_one() == Charge(
        at=1_760_000_000,
        kind="charge",
        model="gemini-3.1-flash-image",
        cost=Decimal("0.0375"),
        seconds=21,
        request_id="req_1",
        task_id="task_1",
        prompt=" a cat\n",
        aspect_ratio="16:9",
        resolution="2K",
        effective_resolution="0.5K",
        image_urls=("https://example.com/a.png",),
        result_url="https://cdn.test/a.png",
        content="image",
    )


@pytest.mark.parametrize(
    ("number", "kind"),
    [(2, "charge"), ("2", "charge"), (6, "refund"), (5, "error"), (1, "other"), (None, "other"), ([], "other")],
)
def test_the_kind_of_a_row(number: object, kind: str) -> None:
    assert read_one(type=number).kind == kind


def test_a_charge_that_was_given_back() -> None:
    assert read_one(other=json.dumps({**OTHER, "billing_refunded": True})).refunded
    assert not read_one(other=json.dumps({**OTHER, "billing_refunded": "no"})).refunded


@pytest.mark.parametrize(
    "other", [None, "", "null", "[]", "{", "[" * 100_000, 7, {}, '{"request_data":[]}', '{"request_data":"?"}']
)
def test_a_row_without_its_details_still_counts(other: object) -> None:
    seen = read_one(other=other)
    assert (seen.cost, seen.request_id, seen.model) == (Decimal("0.0375"), "req_1", "gemini-3.1-flash-image")
    assert (seen.task_id, seen.prompt, seen.resolution, seen.image_urls, seen.refunded) == (None, None, None, (), False)


def test_the_details_may_be_an_object() -> None:
    assert read_one(other=OTHER) == read_one()


def test_odd_fields_of_a_row_are_none_each_by_itself() -> None:
    details = {"task_id": 7, "request_data": {**REQUEST_DATA, "size": None, "image_urls": "a", "resolution": "hd"}}
    seen = read_one(created_at="?", use_time=-1, quota="?", model_name=None, content=3, other=json.dumps(details))
    assert (seen.at, seen.seconds, seen.cost, seen.content, seen.task_id) == (0, None, Decimal(0), None, None)
    assert (seen.aspect_ratio, seen.resolution, seen.image_urls) == (None, "hd", ("a",))
    assert (seen.model, seen.prompt) == (REQUEST_DATA["model"], " a cat\n")


def test_rows_keep_their_order() -> None:
    seen = read_log(log({**ROW, "request_id": "b"}, {**ROW, "request_id": "a"}))
    assert [charge.request_id for charge in seen] == ["b", "a"]


@pytest.mark.parametrize("odd", [None, "row", "", 7, True, [], [ROW], {}], ids=repr)
def test_what_is_no_row_counts_as_one_that_says_nothing(odd: object) -> None:
    """A log of 1,000 rows is full, whatever they are: to count 999 would make it complete."""
    full = read_log(log(odd, *[ROW] * 999))
    assert len(full) == 1000
    assert full[0] == Charge(at=0, kind="other", cost=Decimal(0))
    assert full[1:] == (read_one(),) * 999


def test_a_log_without_rows() -> None:
    assert read_log(log()) == read_log(reply({"success": True, "data": None})) == ()


MISSING: list[Any] = [
    reply("<html>console</html>"),
    reply(b""),
    reply([]),
    reply({}),
    reply("[" * 100_000),
    reply({"success": False, "message": "not supported"}),
    reply({"success": False, "data": []}),
    reply({"data": None}),
    reply({"success": True, "data": "?"}),
]


@pytest.mark.parametrize("answer", [*MISSING, reply({"code": False, "data": FIGURES}), reply({"data": {"id": 1}})])
def test_what_is_no_figures_is_unreadable(answer: Reply) -> None:
    with pytest.raises(Unreadable):
        read_usage(answer)


@pytest.mark.parametrize("answer", [*MISSING, reply({"success": True, "data": {}})])
def test_what_is_no_log_is_unreadable(answer: Reply) -> None:
    with pytest.raises(Unreadable):
        read_log(answer)


# --- the flows --------------------------------------------------------------------------------------------


def test_one_call_each() -> None:
    driver = HandDriver([usage(), log(ROW)])
    assert driver.run(account(context(), 60)).name == "laptop"
    assert [charge.request_id for charge in driver.run(charges_for_caller(context(), 60))] == ["req_1"]
    assert driver.paths == ["GET /api/usage/token", "GET /api/log/token"]


@pytest.mark.parametrize("answer", [page(200), page(404), refusal(404), refusal(405), *MISSING])
def test_a_gateway_without_a_log(answer: Reply) -> None:
    driver = HandDriver([answer])
    with pytest.raises(NotFoundError, match="This gateway keeps no usage log that this key can read") as caught:
        driver.run(charges_for_caller(context(), 60))
    assert (caught.value.billed, caught.value.status_code) == ("no", answer.status)
    assert "console" in caught.value.advice
    assert len(driver.sent) == 1


def test_a_gateway_without_figures() -> None:
    with pytest.raises(NotFoundError, match="This gateway keeps no figures that this key can read"):
        HandDriver([page(200)]).run(account(context(), 60))


def test_a_base_url_that_looks_wrong_is_the_likelier_cause() -> None:
    with pytest.raises(NotFoundError) as caught:
        HandDriver([refusal(404)]).run(charges_for_caller(context(base_url="https://gateway.test"), 60))
    assert "does not end in /v1" in caught.value.advice


@pytest.mark.parametrize(("headers", "advice"), [({}, "20 minutes"), ({"retry_after": "90"}, "in 90 s")])
def test_the_rate_limit_of_the_log_ends_the_call_at_once(headers: dict[str, str], advice: str) -> None:
    driver = HandDriver([refusal(429, **headers)])
    with pytest.raises(RateLimitError) as caught:
        driver.run(charges_for_caller(context(), 60))
    assert advice in caught.value.advice
    assert (len(driver.sent), driver.slept) == (1, [])


def test_passing_faults_are_retried() -> None:
    driver = HandDriver([Broken("gone"), refusal(500), log(ROW)])
    assert len(driver.run(charges_for_caller(context(), 60))) == 1
    with pytest.raises(InternalServerError):
        HandDriver([refusal(500)] * 4).run(charges_for_caller(context(), 60))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(AuthenticationError):
        HandDriver([refusal(401)]).run(charges_for_caller(context(), 60))
