"""``apimaster webhooks`` against the emulator: what it prints, where a secret goes, and how it ends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webhook_receiver import Receiver

from apimaster import APIMaster
from apimaster.cli.app import run
from apimaster.emulator import Emulator
from apimaster.webhooks import parse_webhook, read_secrets

pytestmark = pytest.mark.usefixtures("without_pauses")
PUBLIC = "https://example.com/hooks"


@pytest.fixture
def emulator(apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    monkeypatch.chdir(tmp_path)
    return apimaster_emulator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], emulator: Emulator) -> Any:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(["webhooks", *words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return call


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "NOW", line))


@pytest.mark.apimaster_emulator(latency=0)
def test_from_an_endpoint_to_a_delivery(command: Any, emulator: Emulator, receiver: Receiver) -> None:
    code, out, err = command("create", receiver.url, "--save-secret", "hooks.json")
    assert (code, "secret" in out) == (0, False)
    endpoint, _, on, key_id, now, url = cells(out.rstrip())
    assert (on, now, url) == ("on", "NOW", receiver.url)
    assert f"The secret {key_id} is in hooks.json." in err
    assert cells(command("verify", endpoint)[1])[1] == "verified"
    assert cells(command("disable", endpoint)[1])[2] == "off"
    assert cells(command("enable", endpoint)[1])[2] == "on"
    assert command("list")[1].startswith(f"{endpoint}  verified  on  {key_id}")

    code, out, err = command("rotate", endpoint, "--save-secret", "hooks.json")
    assert (code, out) == (0, "")
    assert f"The old secret ({key_id}) is valid until" in err
    assert len(read_secrets("hooks.json")) == 2

    with APIMaster() as client:
        task = client.submit("a cat", webhook=endpoint, client_reference_id="order-7")
    received = receiver.next()
    assert parse_webhook(received.body, received.headers, read_secrets("hooks.json")).task is not None
    emulator.settle_webhooks()
    code, out, _ = command("events", "--task", task.id)
    _, event, kind, status, deliveries, of_task, to = cells(out.rstrip())
    assert (kind, status, deliveries) == ("task.completed", "delivered", "1 deliveries")
    assert (of_task, to) == (task.id, endpoint)
    lines = [cells(line) for line in command("show", event)[1].splitlines()]
    assert lines[0] == [f"{event}: delivered"]
    assert ["", "task", task.id] in lines
    assert ["", "reference", "order-7"] in lines
    assert lines[-1][:5] == ["", "delivery", "NOW", "succeeded", "HTTP 200"]
    assert command("redeliver", event)[:2] == (0, f"{event}: a delivery is under way\n")
    assert receiver.next().document["id"] == event
    assert command("events", "--status", "failed") == (0, "", "No such events.\n")


def test_a_secret_is_printed_once(command: Any) -> None:
    assert command("list") == (0, "", "No webhook endpoints.\n")
    code, out, err = command("create", PUBLIC)
    assert (code, out.count("signing secret: whsec_")) == (0, 1)
    assert "This secret is shown this once" in err
    endpoint = out.split()[0]
    assert f"`apimaster webhooks verify {endpoint}`" in err
    code, out, err = command("rotate", endpoint)
    assert (code, out.count("signing secret: whsec_")) == (0, 1)
    assert "whsec_" not in err + command("list")[1]


def test_json(command: Any) -> None:
    made = json.loads(command("create", PUBLIC, "--json")[1])
    assert made["signing_secret"].startswith("whsec_")
    endpoint = made["endpoint"]["id"]
    hidden = json.loads(command("create", PUBLIC, "--save-secret", "hooks.json", "--json")[1])
    assert hidden["signing_secret"] == "**********"
    rotated = json.loads(command("rotate", endpoint, "--json")[1])
    assert rotated["signing_secret"].startswith("whsec_")
    assert [each["id"] for each in json.loads(command("list", "--json")[1])["endpoints"]] == [
        *(endpoint, hidden["endpoint"]["id"]),
    ]
    assert json.loads(command("disable", endpoint, "--json")[1])["enabled"] is False
    assert json.loads(command("events", "--json")[1]) == {"events": []}
    assert json.loads(command("capabilities", "--json")[1])["supported"] is True


@pytest.mark.apimaster_emulator(webhook_models=("gpt-image-2",))
def test_capabilities(command: Any) -> None:
    assert command("capabilities", "--model", "gpt-image-2")[1] == "gpt-image-2: reports task.completed, task.failed\n"
    assert command("capabilities")[1].endswith(": reports nothing\n")


@pytest.mark.parametrize(
    ("words", "code", "advice"),
    [
        (("create", "http://example.com/"), 2, "begins with http://"),
        (("create", PUBLIC, "--save-secret", "no/such/file"), 2, "Name another file."),
        (("events", "--limit", "101"), 2, "a whole number from 1 to 100"),
        (("events", "--status", "of-tomorrow"), 2, "status must be one of"),
        (("verify", "../models"), 2, "accepted: an id"),
        (("verify", "whep_none"), 2, "`apimaster webhooks list` shows the ids."),
        (("show", "evt_none"), 2, "`apimaster webhooks events` shows the ids."),
        (("redeliver", "evt_none"), 2, "`apimaster webhooks events` shows the ids."),
    ],
)
def test_what_is_refused(command: Any, words: tuple[str, ...], code: int, advice: str) -> None:
    ended, out, err = command(*words)
    assert (ended, out) == (code, "")
    assert advice in err
    assert "Nothing was charged." in err
    assert "client." not in err


def test_a_failed_verification(command: Any) -> None:
    endpoint = command("create", PUBLIC)[1].split()[0]
    code, _, err = command("verify", endpoint)
    assert code == 2
    assert "Start a receiver at the endpoint's URL" in err


def test_the_limit_of_endpoints(command: Any, emulator: Emulator) -> None:
    with APIMaster() as client:
        for number in range(20):
            client.webhooks.create(f"{PUBLIC}/{number}")
    code, _, err = command("create", PUBLIC)
    assert code == 5
    assert "however long you wait: `apimaster webhooks list` shows them." in err


@pytest.mark.parametrize("name", ["create", "rotate", "redeliver"])
@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("webhooks_cut", 7, "no answer came back"),
        ("webhooks_502_html", 7, "no answer came back"),
        ("webhooks_500", 6, "Nothing was charged."),
    ],
)
def test_an_answer_that_says_nothing(
    command: Any, emulator: Emulator, name: str, fault: str, code: int, words: str
) -> None:
    emulator.script(fault)
    ended, out, err = command(name, {"create": PUBLIC, "rotate": "whep_1", "redeliver": "evt_1"}[name])
    assert (ended, out) == (code, "")
    assert words in err
    assert "`apimaster webhooks" in err
    assert "client." not in err
    assert len(emulator.requests_to("webhooks")) == 1


def test_a_lost_secret(command: Any, emulator: Emulator) -> None:
    emulator.script("webhooks_cut_after")
    assert command("create", PUBLIC, "--save-secret", "hooks.json")[0] == 7
    assert not Path("hooks.json").exists()
    endpoint = command("list")[1].split()[0]
    code, out, _ = command("rotate", endpoint, "--save-secret", "hooks.json")
    assert (code, out, len(read_secrets("hooks.json"))) == (0, "", 1)


def test_a_secret_that_can_not_be_saved_is_printed(
    command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: str, data: bytes) -> str:
        if data:
            raise OSError(28, "No space left on device")
        return written(place, data)

    from apimaster.webhooks import secrets

    written = secrets._written
    monkeypatch.setattr(secrets, "_written", full)
    code, out, err = command("create", PUBLIC, "--save-secret", "hooks.json")
    assert (code, out.startswith("signing secret: whsec_")) == (6, True)
    assert "No space left on device" in err


@pytest.mark.parametrize("mode", ["async", "sync", "auto"])
def test_generate_with_a_webhook(
    emulator: Emulator, receiver: Receiver, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    with APIMaster() as client:
        made = client.webhooks.create(receiver.url)
        endpoint = client.webhooks.verify(made.endpoint.id)
    words = ["--webhook", endpoint.id, "--client-reference-id", "order-17", "--mode", mode]
    code = run(["generate", "a boat", *words, "-o", "boat.png"])
    assert code == 0, capsys.readouterr().err
    sent = [each for route in ("sync", "submit") for each in emulator.requests_to(route)]
    assert [each.body["notifications"]["webhook"]["endpoint_id"] for each in sent] == [endpoint.id]
    assert [each.body["client_reference_id"] for each in sent] == ["order-17"]


@pytest.mark.parametrize("endpoint", ["whep_none", "", "https://example.com/hooks"])
def test_generate_with_an_endpoint_that_is_none(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], endpoint: str
) -> None:
    assert run(["generate", "a boat", "--webhook", endpoint]) == 2
    assert not emulator.bill.entries
    assert "Error: " in capsys.readouterr().err


@pytest.mark.apimaster_emulator(latency=0, webhook_pause=3600)
def test_a_status_that_was_no_success_is_shown_once_and_a_redelivery_under_way_refused(
    command: Any, emulator: Emulator, receiver: Receiver
) -> None:
    endpoint = command("create", receiver.url)[1].split()[0]
    command("verify", endpoint)
    receiver.statuses[:] = [500]
    answering, asked = threading.Event(), threading.Event()
    with APIMaster() as client:
        client.submit("a cat", webhook=endpoint)
    event = receiver.next().document["id"]
    emulator.settle_webhooks()
    (line,) = [each for each in command("show", event)[1].splitlines() if each.startswith("  delivery")]
    assert line.count("HTTP 500") == 1

    def hold(_: Any) -> None:
        answering.set()
        asked.wait(30)

    receiver.on_event = hold
    assert command("redeliver", event)[0] == 0
    assert answering.wait(30)
    code, out, err = command("redeliver", event)
    asked.set()
    assert (code, out) == (2, "")
    assert "shows how the delivery under way ends" in err


@pytest.mark.parametrize("group", ["webhooks", "ledger", "batch"])
def test_a_group_without_a_subcommand_prints_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([group]) == 2
    printed = capsys.readouterr()
    assert f"Usage: apimaster {group}" in printed.out + printed.err
    assert "Error" not in printed.out + printed.err
    assert "lists what there is" not in printed.out + printed.err


@pytest.mark.parametrize(
    "words",
    [["generate", "a", "--references-by", "foo"], ["generate", "a", "--mode", "foo"]],
    ids=lambda words: words[2],
)
def test_another_word_for_an_option_names_what_is_accepted(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    err = capsys.readouterr().err
    assert "Value error" not in err
    assert "'auto', " in err


@pytest.mark.parametrize("words", [["emulator", "--like"], ["probe", "--read"]], ids=lambda words: words[0])
@pytest.mark.parametrize("name", ["missing.json", "other.json", "."])
def test_a_file_that_is_no_transcript(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text("{}")
    assert run([*words, name]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"Error: {name} ")
    assert "charged" not in err
    assert "Correct the request" not in err
