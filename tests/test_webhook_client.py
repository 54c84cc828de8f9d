"""``client.webhooks`` over HTTP with the emulator, through each kind of client: from an endpoint to its deliveries."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import DOORS, Door
from webhook_receiver import Receiver

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.emulator import Emulator
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from apimaster.webhooks import (
    TASK_COMPLETED,
    WebhookOutcomeUnknownError,
    parse_webhook,
    read_secrets,
)

PUBLIC = "https://example.com/hooks"
HIDDEN = "**********"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(pictures="plain", latency=0) as emulator:
        yield emulator


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def client(emu: Emulator) -> Iterator[APIMaster]:
    with APIMaster(emu.api_key, base_url=emu.base_url) as made:
        yield made


class Hooks:
    """Calls a method of ``client.webhooks``, blocking, whatever kind of client it is."""

    def __init__(self, kind: str, emu: Emulator, **settings: Any) -> None:
        self._door = Door(kind, emu, **settings)

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        if self._door.kind == "sync":
            with APIMaster(**self._door.settings) as client:
                return getattr(client.webhooks, method)(*args, **options)
        return self._door.run(lambda client: getattr(client.webhooks, method)(*args, **options))

    def error(self, method: str, *args: Any, **options: Any) -> APIMasterError:
        with pytest.raises(APIMasterError) as caught:
            self(method, *args, **options)
        assert "Nothing was charged." in str(caught.value)
        return caught.value


@pytest.mark.parametrize("kind", DOORS)
def test_from_the_first_endpoint_to_a_delivery(
    emu: Emulator, receiver: Receiver, kind: str, tmp_path: Path, soon: None
) -> None:
    hooks, path = Hooks(kind, emu), tmp_path / "secrets.json"
    made = hooks("create", receiver.url, save_secret=path)
    secret = made.signing_secret.get_secret_value()
    assert read_secrets(path) == {made.endpoint.key_id: secret}
    assert (made.endpoint.url, made.endpoint.enabled) == (receiver.url, True)
    verified = hooks("verify", made.endpoint)
    assert (verified.id, verified.verified) == (made.endpoint.id, True)
    assert hooks("list") == (verified,)
    can = hooks("capabilities")
    assert (can.supported, TASK_COMPLETED in can.events) == (True, True)

    task = Door(kind, emu)("submit", "a cat", webhook=made.endpoint.id, client_reference_id="order-7")
    received = receiver.next()
    event = parse_webhook(received.body, received.headers, read_secrets(path))
    assert event.task is not None
    assert (event.task.id, event.client_reference_id) == (task.id, "order-7")
    emu.settle_webhooks()

    (summary,) = hooks("events", task=task)
    assert (summary.id, summary.type, summary.status, summary.attempts) == (event.id, TASK_COMPLETED, "delivered", 1)
    assert hooks("events", task="task_of_another") == ()
    assert hooks("events", task=task, offset=1) == ()
    assert hooks("events", status="failed") == ()
    details = hooks("event", summary)
    assert details.payload == event.model_copy(update={"delivery_id": None})
    assert details.event == summary
    (delivery,) = hooks("deliveries", summary.id)
    assert (delivery.id, delivery.status_code, delivery.error) == (event.delivery_id, 200, None)
    assert hooks("redeliver", summary) is None
    assert receiver.next().event(secret).id == event.id
    emu.settle_webhooks()
    assert len(hooks("deliveries", summary)) == 2
    assert len(emu.bill.charges) == 1
    assert not emu.complaints


@pytest.mark.parametrize("kind", DOORS)
def test_after_a_rotation_both_secrets_verify(emu: Emulator, receiver: Receiver, kind: str, tmp_path: Path) -> None:
    hooks, path = Hooks(kind, emu), tmp_path / "secrets.json"
    made = hooks("create", receiver.url, save_secret=path)
    hooks("verify", made.endpoint)
    rotated = hooks("rotate", made.endpoint, save_secret=path)
    assert rotated.previous_key_id == made.endpoint.key_id
    assert list(read_secrets(path)) == [made.endpoint.key_id, rotated.key_id]
    assert list(read_secrets(path, now=rotated.previous_valid_until + 301)) == [rotated.key_id]
    assert hooks("list")[0].key_id == rotated.key_id
    emu.script("delivery_old_secret")
    used = set()
    in_order = [rotated.signing_secret, made.signing_secret]
    for _ in range(2):
        Door(kind, emu)("submit", "a cat", webhook=made.endpoint.id)
        received = receiver.next()
        for secrets in (read_secrets(path), in_order, [each.get_secret_value() for each in in_order]):
            assert parse_webhook(received.body, received.headers, secrets).type == TASK_COMPLETED
        used.add(received.headers["X-APIMaster-Signature"].rpartition("kid=")[2])
    assert used == {made.endpoint.key_id, rotated.key_id}


@pytest.mark.parametrize("kind", DOORS)
def test_an_endpoint_that_is_off_gets_what_waited_when_it_is_on_again(
    emu: Emulator, receiver: Receiver, kind: str
) -> None:
    hooks = Hooks(kind, emu)
    made = hooks("create", receiver.url)
    hooks("verify", made.endpoint)
    receiver.statuses = [410]
    Door(kind, emu)("submit", "a cat", webhook=made.endpoint.id)
    receiver.next()
    emu.settle_webhooks()
    assert hooks("list")[0].enabled is False
    assert hooks("enable", made.endpoint).enabled is True
    assert receiver.next().event(made.signing_secret.get_secret_value()).type == TASK_COMPLETED
    assert hooks("disable", made.endpoint.id).enabled is False
    assert isinstance(hooks.error("redeliver", hooks("events")[0]), BadRequestError)


def test_a_receiver_that_answers_wrongly_is_not_verified(client: APIMaster, receiver: Receiver) -> None:
    receiver.answer_to = lambda challenge: (200, b'{"challenge": "guessed"}')
    made = client.webhooks.create(receiver.url)
    with pytest.raises(BadRequestError, match="did not repeat the challenge") as caught:
        client.webhooks.verify(made.endpoint)
    assert "Start a receiver" in caught.value.advice
    with pytest.raises(BadRequestError, match="not verified"):
        client.submit("a cat", webhook=made.endpoint.id)


def test_the_twenty_first_endpoint(client: APIMaster, emu: Emulator) -> None:
    for number in range(20):
        client.webhooks.create(f"{PUBLIC}/{number}")
    with pytest.raises(RateLimitError) as caught:
        client.webhooks.create(PUBLIC)
    assert not caught.value.retryable
    assert "20 webhook endpoints" in caught.value.advice
    assert len(client.webhooks.list()) == 20
    assert len([each for each in emu.requests_to("webhooks") if each.method == "POST"]) == 21


def test_five_redeliveries_a_day(client: APIMaster, emu: Emulator, receiver: Receiver) -> None:
    made = client.webhooks.create(receiver.url)
    client.webhooks.verify(made.endpoint)
    client.submit("a cat", webhook=made.endpoint.id)
    for _ in range(5):
        receiver.next()
        emu.settle_webhooks()
        client.webhooks.redeliver(client.webhooks.events()[0])
    receiver.next()
    emu.settle_webhooks()
    with pytest.raises(RateLimitError) as caught:
        client.webhooks.redeliver(client.webhooks.events()[0])
    assert "client.wait(task)" in caught.value.advice


ONCE = {"create": (PUBLIC,), "rotate": ("whep_1",), "redeliver": ("evt_1",)}
REPEATED: dict[str, tuple[Any, ...]] = {"list": (), "events": (), "capabilities": ()}


@pytest.mark.parametrize("kind", DOORS)
def test_a_create_whose_answer_is_lost_made_one_endpoint_which_a_rotation_makes_usable(
    emu: Emulator, kind: str, without_pauses: None
) -> None:
    hooks = Hooks(kind, emu)
    emu.script("webhooks_cut_after", times=1)
    error = hooks.error("create", PUBLIC)
    assert isinstance(error, WebhookOutcomeUnknownError)
    assert not error.retryable
    (found,) = hooks("list")
    assert found.url == PUBLIC
    emu.script("webhooks_cut_after", times=1)
    error = hooks.error("rotate", found)
    assert isinstance(error, WebhookOutcomeUnknownError)
    assert error.endpoint_id == found.id
    (again,) = hooks("list")
    assert again.key_id != found.key_id
    rotated = hooks("rotate", found)
    assert hooks("list")[0].key_id == rotated.key_id


@pytest.mark.parametrize("fault", ["cut", "502_html", "hang", "500", "503", "429", "garbage", "html_200"])
@pytest.mark.parametrize("name", ONCE)
def test_a_change_is_sent_once(emu: Emulator, without_pauses: None, name: str, fault: str) -> None:
    hooks = Hooks("sync", emu, timeout=0.3 if fault == "hang" else 30.0)
    emu.script(f"webhooks_{fault}", times=None)
    if name == "redeliver" and fault in ("garbage", "html_200"):
        hooks(name, *ONCE[name])  # nothing in the reply is needed
    else:
        error = hooks.error(name, *ONCE[name])
        lost = fault in ("cut", "502_html", "hang", "garbage", "html_200")
        assert isinstance(error, WebhookOutcomeUnknownError) == lost
    assert len(emu.requests_to("webhooks")) == 1


@pytest.mark.parametrize("fault", ["cut", "cut_after", "502_html", "500", "503"])
@pytest.mark.parametrize("name", REPEATED)
def test_a_question_is_asked_again(emu: Emulator, without_pauses: None, name: str, fault: str) -> None:
    emu.script(f"webhooks_{fault}", times=3)
    Hooks("sync", emu)(name, *REPEATED[name])
    assert len(emu.requests_to("webhooks")) == 4
    emu.script(f"webhooks_{fault}", times=None)
    assert isinstance(Hooks("sync", emu).error(name, *REPEATED[name]), (InternalServerError, APIConnectionError))


@pytest.mark.parametrize("fault", ["cut", "cut_after", "502_html", "500"])
def test_a_change_that_may_be_made_twice_is_sent_again(
    emu: Emulator, receiver: Receiver, without_pauses: None, fault: str
) -> None:
    hooks = Hooks("sync", emu)
    made = hooks("create", receiver.url)
    changes = {"verify": ("verified", True), "disable": ("enabled", False), "enable": ("enabled", True)}
    for name, expected in changes.items():
        emu.script(f"webhooks_{fault}", times=2)
        assert getattr(hooks(name, made.endpoint), expected[0]) is expected[1]


@pytest.mark.parametrize(("fault", "name"), [("garbage", "list"), ("html_200", "events"), ("garbage", "capabilities")])
def test_a_reply_that_can_not_be_read(emu: Emulator, fault: str, name: str) -> None:
    emu.script(f"webhooks_{fault}")
    error = Hooks("sync", emu).error(name)
    assert isinstance(error, InternalServerError)
    assert "can't be read" in error.message


@pytest.mark.parametrize("kind", DOORS)
def test_unknown_ids_and_a_wrong_key(emu: Emulator, kind: str) -> None:
    hooks = Hooks(kind, emu)
    for name in ("verify", "enable", "disable", "rotate"):
        error = hooks.error(name, "whep_none")
        assert isinstance(error, NotFoundError)
        assert "client.webhooks.list()" in error.advice
    for name in ("event", "deliveries", "redeliver"):
        error = hooks.error(name, "evt_none")
        assert isinstance(error, NotFoundError)
        assert "client.webhooks.events()" in error.advice
    assert isinstance(hooks.error("events", status="of-tomorrow"), BadRequestError)
    emu.script("webhooks_401")
    assert isinstance(hooks.error("list"), AuthenticationError)


def test_a_gateway_without_these_routes() -> None:
    with Emulator(webhook_routes=False) as emu:
        for name, arguments in {"create": (PUBLIC,), **REPEATED}.items():
            error = Hooks("sync", emu).error(name, *arguments)
            assert isinstance(error, NotFoundError)
            assert "register the endpoint in its console" in error.advice


def test_no_log_and_no_error_shows_a_secret(
    emu: Emulator, client: APIMaster, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    made = client.webhooks.create(PUBLIC, save_secret=tmp_path / "secrets.json")
    rotated = client.webhooks.rotate(made.endpoint, save_secret=tmp_path / "secrets.json")
    secrets = [each.signing_secret.get_secret_value() for each in (made, rotated)]
    body = json.dumps({"error": {"message": "no"}, "signing_secret": secrets[0]})
    calls = {
        "create": (PUBLIC,),
        "rotate": ("whep_1",),
        "list": (),
        "events": (),
        "event": ("evt_1",),
        "capabilities": (),
    }
    for status, answer in ((200, body[:-1]), (500, body), (400, body), (200, f"[{body}]"), (200, f"<p>{body}</p>")):
        for name, arguments in calls.items():
            emu.script("reply", times=None, status=status, body=answer, on="webhooks")
            error = Hooks("sync", emu, max_retries=0).error(name, *arguments)
            assert not any(secret in f"{error} {error!r} {error.__dict__}" for secret in secrets)
            emu.clear_script()
    for record in caplog.records:
        assert not any(secret in f"{record.getMessage()} {record.__dict__}" for secret in secrets)
    for shown in (repr(made), made.model_dump_json(), repr(rotated), rotated.model_dump_json()):
        assert HIDDEN in shown
        assert not any(secret in shown for secret in secrets)


def test_one_client_manages_from_many_tasks(emu: Emulator) -> None:
    async def work() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            made = await asyncio.gather(*(client.webhooks.create(f"{PUBLIC}/{number}") for number in range(10)))
            assert {each.id for each in await client.webhooks.list()} == {each.endpoint.id for each in made}

    asyncio.run(work())


def test_webhooks_are_loaded_when_they_are_needed() -> None:
    program = (
        "import sys, apimaster; client = apimaster.APIMaster('sk-made-up'); "
        "assert not [name for name in sys.modules if 'webhook' in name]; "
        "client.webhooks; assert 'apimaster.webhooks.management' in sys.modules; assert 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
