"""An emulator like a recorded gateway: a probe of it shows the same facts, and what is no transcript is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import forked
import httpx
import pytest
from probes import BUY, edited, run_probe
from quick_polls import poll_at_once

from apimaster import APIMaster, NotFoundError
from apimaster.cli.app import run
from apimaster.cli.probe import purchases
from apimaster.emulator import Emulator
from apimaster.emulator.like import likeness_of
from apimaster.emulator.transcript import read_transcript


@pytest.fixture(scope="module", autouse=True)
def at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        poll_at_once(patch)
        patch.setattr(purchases, "_LOG_PAUSE", 0.0)
        yield


def facts(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What was seen of each fact; of times only whether they are as believed."""
    return {each["name"]: (each["state"], "" if "time" in each["name"] else each["seen"]) for each in document["facts"]}


SETTINGS = [
    {},
    {"dialect": "legacy"},
    {"dialect": "legacy+url_string+no_envelope+upper_case"},
    {"dialect": "tracked+success_word+url_list"},
    {"dialect": "unknown_words", "latency": "3 polls"},
    {"dialect": "sync_as_task+no_code"},
    {"dialect": "submit_as_image"},
    {"dialect": "b64"},
    {"dialect": "no_async"},
    {"models": ("gemini-3.1-flash-image", "gpt-image-2")},
    {"models": ("gpt-image-2",)},
    {"account_routes": False},
    {"cdn": True, "picture_format": "jpeg"},
    {"pictures": "small"},
    {"channel": "google"},
    {"channel": "several"},
    {"dialect": "legacy+no_envelope", "models": ("gemini-3.1-flash-image",), "account_routes": False, "cdn": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_same_facts(settings: dict[str, Any], tmp_path: Path) -> None:
    with Emulator(**{"pictures": "plain", **settings}) as emulator:
        code, seen, path = run_probe(emulator, *BUY)
        balance = emulator.bill.total
    more = {"latency": settings["latency"]} if "latency" in settings else {}
    with Emulator(like=path, pictures="plain", **more) as emulator:
        again, seen_again, _ = run_probe(emulator, *BUY)
        assert emulator.bill.total == balance
    assert facts(seen_again) == facts(seen)
    assert again == code


def test_a_client_meets_the_recorded_gateway(tmp_path: Path) -> None:
    with Emulator(pictures="plain", dialect="legacy", models=("gemini-3.1-flash-image",)) as emulator:
        transcript = read_transcript(run_probe(emulator, *BUY)[2])
    refusal = {"error": {"message": "<text>", "type": "<text>", "param": "", "code": "model_not_found"}}
    transcript = edited(transcript, "no_such_model", status=404, body=refusal)
    path = tmp_path / "probe.json"
    path.write_text(json.dumps(transcript.document()))
    for like in (path, str(path), likeness_of(transcript)):
        with (
            Emulator(like=like, dialect="tracked", models=("gemini-3.1-flash-image",)) as emulator,
            APIMaster(emulator.api_key, base_url=emulator.base_url, max_retries=0) as client,
        ):
            assert client.models()[0] == "gemini-3.1-flash-image"
            with pytest.raises(NotFoundError) as caught:  # an emulator of its own would answer 503
                client.submit("a cat", model="no-such-model")
            assert (caught.value.status_code, caught.value.code) == (404, "model_not_found")
            assert str(emulator.dialect) == "tracked"  # what is said wins over the transcript
    with (
        Emulator(models=("gemini-3.1-flash-image",)) as emulator,
        APIMaster(emulator.api_key, base_url=emulator.base_url, max_retries=0) as client,
        pytest.raises(NotFoundError) as caught,
    ):
        client.submit("a cat", model="no-such-model")
    assert caught.value.status_code == 503


def test_latency_price_and_words_are_recorded() -> None:
    with Emulator(pictures="plain") as emulator:
        transcript = read_transcript(run_probe(emulator, *BUY)[2])
    polled = edited(transcript, "submit", "poll", at=transcript.all("submit", "submit")[0].at + 23.5)
    found = likeness_of(polled)
    assert 23 < found.settings["latency"] < 24
    assert found.price == Decimal("0.0375")
    assert found.request_ids == ("x-request-id", "x-oneapi-request-id")
    only_one = edited(transcript, "models", headers={"x-request-id": "<present>"})
    for step in {each.step for each in only_one.exchanges}:
        only_one = edited(only_one, step, headers={"cf-ray": "<present>", "content-type": "application/json"})
    with Emulator(like=likeness_of(only_one)) as emulator:
        headers = httpx.get(f"{emulator.base_url}/models", trust_env=False).headers
        assert "cf-ray" in headers
        assert "x-request-id" not in headers


def test_a_probe_stops_where_pictures_cost_more_than_the_list_says() -> None:
    with Emulator(pictures="plain") as emulator:
        transcript = read_transcript(run_probe(emulator, *BUY)[2])

    def dearer(value: Any) -> Any:
        for row in value["data"]:
            row["quota"] = 25_000  # $0.05
        return value

    with Emulator(pictures="plain", like=likeness_of(edited(transcript, "log", body=dearer))) as emulator:
        _, seen, _ = run_probe(emulator, *BUY)
        assert facts(seen)["charge"] == ("differs", "$0.05")
        assert emulator.bill.total == Decimal("0.10")  # the third would have passed the limit of $0.12


GOOD: dict[str, Any] = {
    "format": "apimaster-probe",
    "version": 1,
    "made_by": "",
    "made_on": "",
    "model": "",
    "spend": None,
    "purchases": [],
    "exchanges": [],
}
EXCHANGE: dict[str, Any] = {"step": "models", "route": "models", "method": "GET", "path": "/v1/models", "fault": ""}
PURCHASE: dict[str, Any] = {"step": "submit", "list_price": "1", "state": "task", "task_id": "", "model": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("[]", '"format" is "apimaster-probe"'),
        ("{}", '"format" is "apimaster-probe"'),
        ("[" * 100_000, "nested too deep"),
        (json.dumps({**GOOD, "version": 2}), "version must be 1, not 2"),
        (json.dumps({**GOOD, "exchanges": {}}), "exchanges must be an array"),
        (json.dumps({**GOOD, "spend": 1}), "spend must be a text or null"),
        (json.dumps({**GOOD, "exchanges": [1]}), "exchanges[0] must be an object"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "step": 1}]}), "exchanges[0].step must be a text"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "status": 99}]}), "exchanges[0].status must be a number"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "status": True}]}), "exchanges[0].status must be a number"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "headers": {"a": "b\r\n"}}]}), "headers must be an object"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "keyed": 1}]}), "keyed must be true or false"),
        (json.dumps({**GOOD, "exchanges": [{**EXCHANGE, "at": -1}]}), "at must be a number of seconds"),
        (json.dumps({**GOOD, "purchases": [{**PURCHASE, "state": "?"}]}), "purchases[0].state must be one of sent"),
    ],
)
def test_what_is_no_transcript(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "strange.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a transcript of `apimaster probe`") as caught:
        Emulator(like=path)
    assert message in str(caught.value)
    for words in (["emulator", "--like", str(path)], ["probe", "--read", str(path)]):
        assert run(words) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert not printed.out


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        Emulator(like=tmp_path / "none.json")


def test_the_command_runs_an_emulator_like_it(tmp_path: Path) -> None:
    with Emulator(pictures="plain", models=("gemini-3.1-flash-image",), dialect="legacy+no_envelope") as emulator:
        path = run_probe(emulator, *BUY)[2]
    words = ["-m", "apimaster.cli", "emulator", "--port", "0", "--like", str(path)]
    env = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    with forked.start(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
            base_url = f"{line.split(' at ')[1].split(' ')[0]}/v1"
            with APIMaster("sk-emulator", base_url=base_url, model="gemini-3.1-flash-image") as client:
                assert client.models() == ["gemini-3.1-flash-image", "gpt-5.5"]
                task = client.submit("a cat")
                poll = httpx.get(
                    f"{base_url}/tasks/{task.id}?model={task.model}",
                    headers={"Authorization": "Bearer sk-emulator"},
                    trust_env=False,
                ).json()
                assert poll["id"] == task.id
            process.send_signal(signal.SIGINT)
            process.communicate()
        finally:
            watchdog.cancel()
            process.kill()
