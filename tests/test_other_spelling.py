"""A gateway that does not offer a model under the id that was asked for: the repeat under another spelling.

"No such model" costs nothing. So the client asks what the gateway lists, once, and sends a spelling that is listed.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from doors import DOORS, Door
from hand_driver import Answer, HandDriver, accepted, context, finished, page, refusal, reply

from apimaster import APIMaster, ImageRequest
from apimaster._flows.generation import CallOptions, Mode, generate, retrieve
from apimaster._flows.operations import Broken, Send
from apimaster._flows.webhooks import capabilities
from apimaster._wire.json_reply import parsed
from apimaster.catalog import DEFAULT_MODEL
from apimaster.emulator import Emulator
from apimaster.errors import APIMasterError, BadRequestError, InternalServerError, NotFoundError, OutcomeUnknownError
from apimaster.ledger import Ledger
from apimaster.results import ImageResult, Task

PLAIN = "gemini-3.1-flash-image"
SPELLINGS = (DEFAULT_MODEL, PLAIN)
OTHER = dict(zip(SPELLINGS, SPELLINGS[::-1], strict=True))
SUCCESSOR = "gemini-nano-banana-2.1"

pytestmark = pytest.mark.usefixtures("without_pauses")


@pytest.fixture(params=SPELLINGS)
def listed(request: pytest.FixtureRequest) -> str:
    """The spelling that the gateway offers."""
    return str(request.param)


@pytest.fixture
def offered(listed: str) -> Iterator[Emulator]:
    with Emulator(pictures="plain", models=[listed, "gpt-image-2"]) as emulator:
        yield emulator


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
def test_the_spelling_that_is_listed_is_sent_and_named(offered: Emulator, listed: str, kind: str, mode: str) -> None:
    result = Door(kind, offered)("generate", "a cat", model=OTHER[listed], mode=mode)
    assert (result.model, result.cost, len(offered.bill)) == (listed, offered.bill.total, 1)
    assert all(task.model == listed for task in result.tasks)
    assert all(f"model={listed}" in request.query for request in offered.requests_to("poll"))
    bought = [request.body["model"] for request in offered.requests if request.route in ("submit", "sync")]
    assert bought == [OTHER[listed], listed]
    assert len(offered.requests_to("models")) == 1


@pytest.mark.parametrize("kind", DOORS)
def test_an_alias_reaches_whatever_spelling_is_offered(offered: Emulator, listed: str, kind: str) -> None:
    assert Door(kind, offered)("generate", "a cat", model="nano-banana-2").model == listed


def test_the_client_remembers_it_and_so_do_its_copies(offered: Emulator, listed: str) -> None:
    with APIMaster(offered.api_key, base_url=offered.base_url, model=OTHER[listed]) as client:
        copy = client.with_options(purchase_retries=0)
        assert {each.generate("a cat").model for each in (copy, client, copy)} == {listed}
        assert client.submit("a cat").model == listed
    assert len(offered.requests_to("models")) == 1
    assert len(offered.requests_to("submit")) == 5
    assert len(offered.bill) == 4


@pytest.mark.parametrize("kind", DOORS)
def test_images_side_by_side_ask_once(offered: Emulator, listed: str, kind: str) -> None:
    result = Door(kind, offered)("generate", "a cat", n=12, model=OTHER[listed])
    assert (len(result.images), len(offered.bill), result.model) == (12, 12, listed)
    assert {task.model for task in result.tasks} == {listed}
    assert len(offered.requests_to("models")) == 1


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
def test_without_any_spelling_the_error_names_what_to_use(kind: str, mode: str) -> None:
    with Emulator(models=["gpt-image-2"]) as gateway:
        error = Door(kind, gateway).error("generate", "a cat", mode=mode)
        assert type(error) is NotFoundError
        assert (error.code, error.billed, error.retryable) == ("model_not_found", "no", False)
        assert DEFAULT_MODEL in error.message
        for name in (PLAIN, SUCCESSOR, "apimaster models"):
            assert name in error.advice
        assert "/v1" not in error.advice
        assert [request.route for request in gateway.requests] == ["sync" if mode == "sync" else "submit", "models"]
        assert len(gateway.bill) == 0


def test_a_model_with_one_spelling_asks_for_nothing_more() -> None:
    with Emulator(models=["gpt-image-2"]) as gateway:
        for model in (SUCCESSOR, "unheard-of"):
            error = Door("sync", gateway).error("generate", "a cat", model=model)
            assert type(error) is NotFoundError
            assert model in error.message
        assert {request.route for request in gateway.requests} == {"submit"}


def test_other_images_of_a_call_fail_alike() -> None:
    with Emulator(models=["gpt-image-2"]) as gateway:
        error = Door("sync", gateway).error("generate", "a cat", n=5)
        assert type(error) is NotFoundError
        assert len(error.failures) == 5
        assert len(gateway.requests_to("models")) == 1


# --- the rules, by hand ---------------------------------------------------------------------------------------------

WORDS = "No available channel for model gemini-3.1-flash-image-preview under group default"
NOT_FOUND = [
    refusal(404, "no such model", "model_not_found"),
    refusal(503, "no channel", "model_not_found"),
    refusal(400, "no such model", "model_not_found"),
    refusal(503, WORDS),
    refusal(404, WORDS, 503),
]
FORMS = ["404", "503", "400", "words without a code", "words with a number"]


def listing(*ids: str) -> Answer:
    return reply({"object": "list", "data": [{"id": each, "object": "model"} for each in ids]})


def buy(driver: HandDriver, mode: Mode = "async", n: int = 1, **changes: Any) -> ImageResult:
    found = driver.run(generate(context(**changes), ImageRequest(prompt="a cat", n=n), mode, CallOptions()))
    assert isinstance(found, ImageResult)
    return found


def models_sent(driver: HandDriver) -> list[str]:
    bodies = [send.call.body for _, send in driver.sent if send.call.method == "POST"]
    return [parsed(b"".join(body))["model"] for body in bodies if body is not None and not isinstance(body, bytes)] + [
        parsed(body)["model"] for body in bodies if isinstance(body, bytes)
    ]


@pytest.mark.parametrize("refused", NOT_FOUND, ids=FORMS)
@pytest.mark.parametrize("mode", ["auto", "async", "sync"])
def test_no_such_model_is_not_retried_and_not_taken_for_a_missing_route(refused: Answer, mode: Mode) -> None:
    driver = HandDriver([refused, listing("something-else")])
    with pytest.raises(NotFoundError) as caught:
        buy(driver, mode)
    path = "POST /images/generations" + ("" if mode == "sync" else "/async")
    assert driver.paths == [path, "GET /models"]
    assert (caught.value.code, caught.value.billed, caught.value.retryable) == ("model_not_found", "no", False)
    assert driver.slept == []


@pytest.mark.parametrize("refused", NOT_FOUND, ids=FORMS)
def test_each_spelling_is_tried_once(refused: Answer) -> None:
    driver = HandDriver([refused, listing(*SPELLINGS), refused])
    with pytest.raises(NotFoundError, match=" or ".join(SPELLINGS)) as caught:
        buy(driver)
    assert models_sent(driver) == list(SPELLINGS)
    assert SUCCESSOR in caught.value.advice


def test_without_an_async_route_the_other_spelling_goes_in_one_shot() -> None:
    picture = reply({"data": [{"url": "https://cdn.test/a.png"}]})
    no_route = refusal(404, "Invalid URL")
    driver = HandDriver([no_route, NOT_FOUND[0], listing(PLAIN), no_route, picture])
    found = buy(driver, "auto")
    assert (found.model, found.tasks) == (PLAIN, ())
    assert models_sent(driver) == [DEFAULT_MODEL, DEFAULT_MODEL, PLAIN, PLAIN]


@pytest.mark.parametrize(
    "unreadable",
    [refusal(401), page(200), reply({"data": "models"}), refusal(403), refusal(404)],
    ids=["401", "page", "no list", "403", "404"],
)
def test_a_catalogue_that_can_not_be_read_leaves_the_gateways_answer(unreadable: Answer) -> None:
    shared = context()
    driver = HandDriver([NOT_FOUND[1], unreadable, NOT_FOUND[1]])
    for _ in range(2):  # the second call does not ask again so soon
        with pytest.raises(NotFoundError) as caught:
            driver.run(generate(shared, ImageRequest(prompt="a cat"), "async", CallOptions()))
        assert caught.value.code == "model_not_found"
    assert driver.paths.count("GET /models") == 1
    driver.now += 61
    driver = HandDriver([NOT_FOUND[1], listing(PLAIN), accepted(), finished()])
    driver.now += 120
    found = driver.run(generate(shared, ImageRequest(prompt="a cat"), "async", CallOptions()))
    assert found.model == PLAIN


def test_what_can_not_be_sent_again_is_not_sent_under_another_spelling() -> None:
    for answer, kind in ((Broken("reset"), OutcomeUnknownError), (page(503), OutcomeUnknownError)):
        driver = HandDriver([answer])
        with pytest.raises(kind):
            buy(driver)
        assert len(driver.sent) == 1


def test_another_503_is_a_passing_fault_as_before() -> None:
    driver = HandDriver(itertools.repeat(refusal(503, "no available channel", "get_channel_failed"), 4))
    with pytest.raises(InternalServerError):
        buy(driver)
    assert len(driver.sent) == 4


def test_images_side_by_side_wait_for_the_one_that_asks() -> None:
    """All are refused before the catalogue is read, and one reads it."""

    def answer(send: Send, at: float) -> Answer:
        if send.call.path == "/models":
            return listing(PLAIN)
        if send.call.method == "GET":
            return finished()
        body = send.call.body
        data = body if isinstance(body, bytes) else b"".join(body or [])
        return accepted() if parsed(data)["model"] == PLAIN else NOT_FOUND[1]

    driver = HandDriver(answer, takes=0.5)
    found = buy(driver, n=6)
    assert (len(found.images), found.model) == (6, PLAIN)
    assert driver.paths.count("GET /models") == 1
    assert models_sent(driver).count(DEFAULT_MODEL) == 6


@pytest.mark.parametrize(("later", "asked"), [(30.0, 1), (120.0, 2)])
def test_a_gateway_that_changes_what_it_offers_is_asked_again_after_a_minute(later: float, asked: int) -> None:
    offered = [PLAIN]

    def answer(send: Send, at: float) -> Answer:
        if send.call.path == "/models":
            return listing(*offered)
        if send.call.method == "GET":
            return finished()
        body = send.call.body
        data = body if isinstance(body, bytes) else b"".join(body or [])
        return accepted() if parsed(data)["model"] in offered else NOT_FOUND[0]

    driver, shared = HandDriver(answer), context()

    def again() -> Any:
        return driver.run(generate(shared, ImageRequest(prompt="a cat", model=DEFAULT_MODEL), "async", CallOptions()))

    assert again().model == PLAIN
    offered[:] = [DEFAULT_MODEL]
    driver.now += later
    if asked == 1:
        with pytest.raises(NotFoundError):
            again()
    else:
        assert again().model == DEFAULT_MODEL
    assert driver.paths.count("GET /models") == asked


def test_a_call_that_is_stopped_while_it_asks_leaves_the_question_to_another() -> None:
    shared = context()
    flow = generate(shared, ImageRequest(prompt="a cat"), "async", CallOptions())
    operation = next(flow)
    while not (isinstance(operation, Send) and operation.call.path == "/models"):
        match operation:
            case Send():
                operation = flow.send(NOT_FOUND[1])
            case _:
                operation = flow.send(HandDriver()._perform(operation, None)[1])  # type: ignore[arg-type, index]
    flow.close()
    driver = HandDriver([NOT_FOUND[1], listing(PLAIN), accepted(), finished()])
    assert driver.run(generate(shared, ImageRequest(prompt="a cat"), "async", CallOptions())).model == PLAIN


# --- with a ledger --------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/purchases.db", settle_after=0) as opened:
        yield opened


def test_the_ledger_holds_the_task_under_the_id_that_was_sent(offered: Emulator, listed: str, ledger: Ledger) -> None:
    wanted = OTHER[listed]
    with APIMaster(offered.api_key, base_url=offered.base_url, ledger=ledger) as client:
        client.submit("a cat", model=wanted, idempotency_key="k")
        purchase = ledger.get("k")
        assert purchase is not None
        assert purchase.task is not None
        assert purchase.task.model == listed
        again = client.generate("a cat", model=wanted, idempotency_key="k")
    assert (again.replayed, again.model, len(offered.bill)) == (True, listed, 1)
    assert again.price_list == "list price of 2026-09-22"


@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("references", [False, True], ids=["prompt", "references"])
def test_a_key_stands_for_the_model_however_its_id_is_spelled(
    server: Emulator, ledger: Ledger, first: str, references: bool, tmp_path: Path
) -> None:
    """So an upgrade, or another spelling in the configuration, neither buys again nor refuses the key."""
    server.reset()
    pictures: list[Any] = []
    with APIMaster(server.api_key, base_url=server.base_url, ledger=ledger) as client:
        if references:
            pictures = [client.generate("a start", save_to=tmp_path / "a.png").images[0].path]
        asked: dict[str, Any] = {"references": pictures, "n": 2, "idempotency_key": "k"}
        bought = client.generate("a cat", model=first, **asked)
        again = client.generate("a cat", model=OTHER[first], **asked)
        named = client.generate("a cat", model="nano-banana-2", **asked)
        for other in ("a dog", "a cat"):
            with pytest.raises(BadRequestError) as refused:
                client.generate(other, model=SUCCESSOR if other == "a cat" else first, **asked)
            assert refused.value.code == "idempotency_key_reused"
    assert again.replayed
    assert named.replayed
    assert [image.url for image in again.images] == [image.url for image in bought.images]
    assert len(server.bill) == 2 + references


def test_a_charge_under_the_other_spelling_settles_a_lost_purchase(
    offered: Emulator, listed: str, ledger: Ledger
) -> None:
    with APIMaster(offered.api_key, base_url=offered.base_url, ledger=ledger) as client:
        client.generate("a first", model=OTHER[listed])  # from now on, the client sends what is listed
        offered.script("cut_after_acceptance")
        with pytest.raises(OutcomeUnknownError):
            client.generate("a castle", model=OTHER[listed], idempotency_key="lost")
        settled = client.settle("lost")
    (found,) = settled.recovered
    assert found.task is not None
    assert found.task.model == listed
    assert len(offered.bill) == 2
    assert found.cost == Decimal("0.0375")


# --- what the log is told -------------------------------------------------------------------------------------------


def test_a_model_that_the_catalogue_does_not_hold_is_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    with (
        Emulator(models=["new-model"]) as gateway,
        APIMaster(gateway.api_key, base_url=gateway.base_url, model="new-model") as client,
        caplog.at_level(logging.WARNING, "apimaster"),
    ):
        results = [client.generate("a cat") for _ in range(2)]
    assert [(result.cost, result.price_list) for result in results] == [(None, None)] * 2
    (note,) = caplog.messages
    assert "new-model" in note


def test_a_known_model_is_not_noted(server: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "apimaster"):
        result = Door("sync", server)("generate", "a cat")
    assert caplog.messages == []
    assert result.price_list == "list price of 2026-09-22"


# --- models whose 502 proves nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "billed"),
    [(refusal(502, "bad response"), "maybe"), (refusal(502, "failed", "image_generation_failed"), "no")],
)
def test_a_502_is_not_repeated_where_the_model_says_so(answer: Answer, billed: str) -> None:
    driver = HandDriver([answer])
    with pytest.raises(APIMasterError) as caught:
        driver.run(generate(context(), ImageRequest(prompt="a", model="midjourney-v8.2"), "async", CallOptions()))
    assert (caught.value.billed, caught.value.retryable, len(driver.sent)) == (billed, False, 1)


# --- what is free ---------------------------------------------------------------------------------------------------


def asked(driver: HandDriver) -> list[str]:
    return [send.call.query["model"] for _, send in driver.sent if send.call.query]


@pytest.mark.parametrize("refused", NOT_FOUND, ids=FORMS)
def test_a_poll_by_id_is_repeated_once_with_the_other_spelling(refused: Answer) -> None:
    shared = context()
    driver = HandDriver([refused, listing(PLAIN), finished(), finished()])
    for _ in range(2):
        assert driver.run(retrieve(shared, Task(id="task_1", model=DEFAULT_MODEL), 30.0)).images
    assert asked(driver) == [DEFAULT_MODEL, PLAIN, PLAIN]


def test_a_task_that_the_gateway_does_not_know_is_no_question_of_spelling() -> None:
    driver = HandDriver([refusal(404, "no such task", "task_not_found")])
    with pytest.raises(NotFoundError):
        driver.run(retrieve(context(), Task(id="task_1", model=DEFAULT_MODEL), 30.0))
    assert asked(driver) == [DEFAULT_MODEL]


NO_EVENTS = reply({"model": DEFAULT_MODEL, "supported": False, "events": []})
EVENTS = reply({"model": PLAIN, "supported": True, "events": ["task.completed"]})


@pytest.mark.parametrize("first", [NO_EVENTS, NOT_FOUND[0]], ids=["unsupported", "404"])
def test_capabilities_are_those_of_the_spelling_that_is_offered(first: Answer) -> None:
    driver = HandDriver([first, listing(PLAIN), EVENTS])
    assert driver.run(capabilities(context(), DEFAULT_MODEL, 30.0)).supported
    assert asked(driver) == [DEFAULT_MODEL, PLAIN]


@pytest.mark.parametrize("ids", [SPELLINGS, (DEFAULT_MODEL,), ()])
def test_capabilities_of_an_offered_spelling_stand(ids: tuple[str, ...]) -> None:
    driver = HandDriver([NO_EVENTS, listing(*ids)])
    assert not driver.run(capabilities(context(), DEFAULT_MODEL, 30.0)).supported
    assert asked(driver) == [DEFAULT_MODEL]
