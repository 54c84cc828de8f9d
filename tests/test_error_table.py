"""The error table of docs/endpoint.md against the emulator: every row, through every client, in every mode.

Each test checks two things: that the caller is charged at most once per image, and that the error says what to do, by
its class, ``billed``, ``retryable``, the status and the gateway's own words.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from doors import DOORS, Door

from apimaster.emulator import FAULTS, Emulator
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
    TaskTimeoutError,
    describe_charge,
    sentence,
)


@dataclass(frozen=True)
class Row:
    """The error that the caller gets, the number of attempts (1, or 4 with retries), and the charges that remain.

    ``model``: for a reply that means something else for other models.
    """

    kind: type[APIMasterError]
    status: int | None
    words: str
    sent: int = 1
    charged: int = 0
    model: str | None = None

    @property
    def billed(self) -> str:
        return "maybe" if issubclass(self.kind, (OutcomeUnknownError, NoImageError)) else "no"


WITH_RETRIES = 4
ADVICE = "usage log before you ask again"
PURCHASE: dict[str, Row] = {
    "bad_request": Row(BadRequestError, 400, "unsupported parameter value"),
    "wrong_endpoint": Row(BadRequestError, 400, "not served by the Images API"),
    "moderation": Row(ContentPolicyError, 400, "Change the prompt"),
    "prompt_blocked": Row(ContentPolicyError, 400, "blocked by the safety system"),
    "unauthorized": Row(AuthenticationError, 401, "APIMASTER_API_KEY"),
    "no_balance_402": Row(InsufficientBalanceError, 402, "Top up"),
    "no_balance_403": Row(InsufficientBalanceError, 403, "Top up"),
    "model_forbidden": Row(PermissionDeniedError, 403, "may not use"),
    "not_found": Row(NotFoundError, 404, "Invalid URL"),
    "not_found_html": Row(NotFoundError, 404, "404 page not found"),
    "method_not_allowed": Row(NotFoundError, 405, "405 Not Allowed"),
    "too_large": Row(BadRequestError, 413, "too large"),
    "proxy_413_html": Row(BadRequestError, 413, "Request Entity Too Large"),
    "unprocessable": Row(BadRequestError, 422, "could not be processed"),
    "rate_limited": Row(RateLimitError, 429, "slow down", WITH_RETRIES),
    "rate_limited_date": Row(RateLimitError, 429, "too many requests", WITH_RETRIES),
    "rate_limited_far": Row(RateLimitError, 429, "today"),
    "concurrency_limited": Row(RateLimitError, 429, "too many running jobs", WITH_RETRIES),
    "server_error_500": Row(InternalServerError, 500, "internal server error", WITH_RETRIES),
    "bad_gateway_json_502": Row(InternalServerError, 502, "bad response from upstream", WITH_RETRIES),
    "unavailable_503": Row(InternalServerError, 503, "no available channel", WITH_RETRIES),
    "generation_failed_502": Row(GenerationFailedError, 502, "image generation failed", WITH_RETRIES),
    "redirect": Row(BadRequestError, 307, "HTTP 307"),
    # Sent, and cut before the gateway accepted it: the client can't distinguish that from the next block.
    "cut_before_acceptance": Row(OutcomeUnknownError, None, ADVICE),
    "gateway_timeout_408": Row(OutcomeUnknownError, 408, ADVICE, charged=1),
    "do_not_resubmit_502": Row(OutcomeUnknownError, 502, ADVICE, charged=1, model="midjourney-v8.2"),
    "proxy_502_html": Row(OutcomeUnknownError, 502, ADVICE, charged=1),
    "proxy_502_empty": Row(OutcomeUnknownError, 502, ADVICE, charged=1),
    "proxy_504_html": Row(OutcomeUnknownError, 504, ADVICE, charged=1),
    "proxy_524_html": Row(OutcomeUnknownError, 524, ADVICE, charged=1),
    "proxy_524_empty": Row(OutcomeUnknownError, 524, ADVICE, charged=1),
    "cut_after_acceptance": Row(OutcomeUnknownError, None, ADVICE, charged=1),
    "hang": Row(OutcomeUnknownError, None, ADVICE, charged=1),
    "slow_body": Row(OutcomeUnknownError, None, ADVICE, charged=1),
    "truncated_body": Row(OutcomeUnknownError, None, ADVICE, charged=1),
    "garbage_json": Row(OutcomeUnknownError, 200, "can't be read", charged=1),
    "html_200": Row(OutcomeUnknownError, 200, "can't be read", charged=1),
    "empty_success": Row(NoImageError, 200, "success without a picture", charged=1),
}
IMPATIENT = ("hang", "slow_body")
TASK: dict[str, tuple[type[APIMasterError], str, int]] = {
    "task_failed": (GenerationFailedError, "no", 0),
    "task_failed_text": (GenerationFailedError, "no", 0),
    "task_failed_object": (GenerationFailedError, "no", 0),
    "task_cancelled": (GenerationFailedError, "no", 0),
    "task_moderated": (ContentPolicyError, "no", 0),
    "task_no_image": (NoImageError, "maybe", 1),
    "task_never_ends": (TaskTimeoutError, "yes", 1),
}
PASSING_POLLS = [name for name, fault in FAULTS.items() if fault.place == "poll" and name != "poll_401"]


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, without_pauses: None) -> None:
    monkeypatch.setattr("apimaster._wire.errors.parse_retry_after", far_or_now)
    monkeypatch.setattr("apimaster._flows.poll._SHORTEST_TIMEOUT", 0.05)


def far_or_now(header: str | None, wall: float) -> float | None:
    return None if header is None else 86400.0 if header == "86400" else 0.0


def assert_facts_and_advice_are_apart(error: APIMasterError) -> None:
    charge = describe_charge(error.billed)
    assert str(error) == f"{sentence(error.message)} {charge} {error.advice}"
    for text in (charge, error.advice):
        assert text
        assert text.rstrip(".").lower() not in error.message.lower()
    assert error.advice == sentence(error.advice)  # one whole sentence


def test_every_fault_of_the_emulator_has_a_row() -> None:
    named = {name for name, fault in FAULTS.items() if fault.place == "generate"} - {"ok", "reply"}
    assert named == set(PURCHASE)
    assert {name for name, fault in FAULTS.items() if fault.place == "task"} == set(TASK)


@pytest.mark.parametrize("name", PURCHASE)
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
def test_a_purchase(emu: Emulator, kind: str, model: str, mode: str, name: str) -> None:
    row = PURCHASE[name]
    emu.script(name, times=None)
    door = Door(kind, emu, model=model)
    error = door.error("generate", "a cat", mode=mode, model=row.model, timeout=0.5 if name in IMPATIENT else 30)
    assert type(error) is row.kind
    assert error.billed == row.billed
    assert error.retryable == (row.sent == WITH_RETRIES or isinstance(error, (RateLimitError, APIConnectionError)))
    assert error.status_code == row.status
    assert row.words in f"{error.message} {error.advice}"
    assert_facts_and_advice_are_apart(error)
    assert len(emu.requests) == row.sent
    assert len(emu.bill.charges) - len(emu.bill.refunds) == len(emu.bill.standing) == row.charged
    assert emu.complaints == []


@pytest.mark.parametrize("name", [name for name, row in PURCHASE.items() if row.sent == WITH_RETRIES])
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
def test_a_purchase_that_succeeds_after_retries_is_charged_once(
    emu: Emulator, kind: str, model: str, mode: str, name: str
) -> None:
    emu.script(name, name)
    result = Door(kind, emu, model=model)("generate", "a cat", mode=mode)
    assert result.model == model
    assert len(result.images) == 1
    assert len(emu.bill.standing) == 1
    assert result.cost in (emu.bill.total, None), "the table has no price for some models"


@pytest.mark.parametrize("name", TASK)
@pytest.mark.parametrize("dialect", ["tracked", "legacy"])
@pytest.mark.parametrize("kind", DOORS)
def test_the_end_of_a_task(emu: Emulator, kind: str, model: str, dialect: str, name: str) -> None:
    expected, billed, charged = TASK[name]
    emu.dialect = dialect
    emu.script(name)
    error = Door(kind, emu, model=model).error("generate", "a cat", timeout=0.6 if name == "task_never_ends" else 30)
    assert type(error) is expected
    assert error.billed == billed
    assert error.task is not None
    assert error.task.id == emu.jobs[0].id
    assert error.task.id in error.message
    assert len(emu.bill.standing) == charged
    assert len(emu.requests_to("submit")) == 1


@pytest.mark.parametrize("name", PASSING_POLLS)
@pytest.mark.parametrize("kind", DOORS)
def test_a_fault_while_polling_never_costs_the_picture(
    emu: Emulator, kind: str, model: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apimaster._flows.poll.ASK_TIMEOUT", 0.2)
    emu.script(name, name)
    result = Door(kind, emu, model=model)("generate", "a cat", timeout=30)
    assert result.model == model
    assert len(result.images) == 1
    assert len(emu.requests_to("submit")) == 1
    assert len(emu.bill.standing) == 1


@pytest.mark.parametrize("kind", DOORS)
def test_a_key_that_is_revoked_while_waiting_leaves_the_task(emu: Emulator, kind: str, model: str) -> None:
    emu.script("poll_401", times=None)
    error = Door(kind, emu, model=model).error("generate", "a cat")
    assert isinstance(error, AuthenticationError)
    assert error.billed == "yes"
    assert error.task is not None
    emu.clear_script()
    assert len(Door(kind, emu, model=model)("wait", error.task).images) == 1
    assert len(emu.bill.standing) == 1


@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_an_unreachable_gateway(emu: Emulator, kind: str, mode: str) -> None:
    door = Door(kind, emu, base_url="http://127.0.0.1:9/v1", max_retries=1)
    error = door.error("generate", "a cat", mode=mode)
    assert isinstance(error, APIConnectionError)
    assert (error.billed, error.retryable) == ("no", True)
    assert "http://127.0.0.1:9/v1" in error.message
    assert_facts_and_advice_are_apart(error)
    assert "Nothing was charged." in str(error)


@pytest.mark.parametrize("kind", DOORS)
def test_auto_finds_the_one_shot_route_of_an_older_gateway(emu: Emulator, kind: str, model: str) -> None:
    emu.dialect = "no_async"
    result = Door(kind, emu, model=model)("generate", "a cat")
    assert result.model == model
    assert len(result.images) == 1
    assert [request.route for request in emu.requests] == ["submit", "sync"]
    assert len(emu.bill.standing) == 1


@pytest.mark.parametrize("kind", DOORS)
def test_a_base_url_without_v1_is_named_as_the_likely_cause(emu: Emulator, kind: str) -> None:
    door = Door(kind, emu, base_url=emu.base_url.removesuffix("/v1"))
    for method, args in [("generate", ("a cat",)), ("models", ()), ("retrieve", ("task_1",))]:
        error = door.error(method, *args)
        assert isinstance(error, NotFoundError)
        assert "/v1" in error.advice


@pytest.mark.parametrize("kind", DOORS)
def test_the_list_of_models_and_a_wrong_key(emu: Emulator, kind: str) -> None:
    assert "gemini-3.1-flash-image-preview" in Door(kind, emu)("models")
    assert isinstance(Door(kind, emu, api_key="sk-wrong-key").error("models"), AuthenticationError)
