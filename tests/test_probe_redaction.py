"""No secret that a reply holds, wherever it is, gets into a transcript."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import BUY, run_probe

from apimaster import APIMaster
from apimaster.catalog import KNOWN_MODELS
from apimaster.cli.probe.kept import FIELDS
from apimaster.cli.probe.redaction import Redactor
from apimaster.emulator import Emulator

BASE = "https://gateway.example/v1"
SECRET = "zq7-Hunter2"
HIDDEN = (SECRET, SECRET.lower(), base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex())

secrets = st.sampled_from(
    [
        SECRET,
        SECRET.lower(),
        f"Bearer {SECRET}",
        f"https://{SECRET}.example/a.png",
        f"{BASE}/tasks/{SECRET}",
        f"https://gateway.example/imgs/{SECRET}.png?sig={SECRET}",
        f"http://{SECRET}@127.0.0.1:1/",
        f"http://[{SECRET}",
        base64.b64encode(SECRET.encode()).decode(),
        f"data:image/png;base64,{base64.b64encode(SECRET.encode()).decode()}",
        SECRET.encode().hex(),
        f"task_{SECRET}",
        f"task {SECRET} failed (request id: {SECRET})",
        f"gemini-{SECRET}-image",
        f"application/json; {SECRET}",
        f"1:1 {SECRET}",
        f"2026-10-03{SECRET}",
    ]
)
names = st.sampled_from(sorted(FIELDS)) | secrets
scalars = secrets | st.none() | st.booleans() | st.integers() | st.floats()


def inside(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(names, values, max_size=6)
    return st.lists(values, max_size=5) | objects | objects.map(json.dumps)


replies = st.recursive(scalars, inside, max_leaves=25)


def leaks(value: object) -> bool:
    text = json.dumps(value)
    return any(hidden in text for hidden in HIDDEN)


@given(st.dictionaries(names, replies, min_size=1, max_size=6))
def test_json(document: dict[str, Any]) -> None:
    assert not leaks(Redactor(BASE).body(json.dumps(document).encode()))


@given(st.sampled_from(["<html>{}</html>", "{}", '{{"error": {}', "\x00{}"]), secrets)
def test_other_bodies(form: str, secret: str) -> None:
    assert not leaks(Redactor(BASE).body(form.format(secret).encode()))


HEADERS = [
    "content-type",
    "retry-after",
    "x-request-id",
    "x-apimaster-routing-retry",
    "set-cookie",
    "location",
    "x-any",
]


@given(st.dictionaries(st.sampled_from(HEADERS) | secrets, secrets))
def test_headers(headers: dict[str, str]) -> None:
    assert not leaks(Redactor(BASE).headers(headers))


@given(st.sampled_from(["GET", "POST"]), secrets)
def test_addresses(method: str, secret: str) -> None:
    for url in (secret, f"{BASE}/{secret}", f"{BASE}/models/{secret}", f"{BASE}/models?key={secret}"):
        assert not leaks(Redactor(BASE).address(method, url))


def test_a_key_of_letters_is_no_status_word() -> None:
    redactor = Redactor(BASE, ["LetMeIn"])
    for word in ("LetMeIn", "letmein", "xletmeinx"):
        found = redactor.body(json.dumps({"status": word, "error": {"code": word, "type": word}}).encode())
        assert found == {"status": "<text>", "error": {"code": "<text>", "type": "<text>"}}


@pytest.mark.parametrize("model", KNOWN_MODELS)
def test_the_models_of_the_table_are_image_models(model: str) -> None:
    listed = [{"id": model, "object": "model"}, {"id": f"ft:{model}:acme", "object": "model"}]
    assert Redactor(BASE).body(json.dumps({"data": listed}).encode()) == {"data": [listed[0], "<more>"]}


def test_what_is_kept() -> None:
    redactor = Redactor(BASE)
    redactor.own_tasks["task_mine"] = "submit"
    reply = {
        "code": 200,
        "data": {
            "id": "task_01K8SGYNNNVBQTXNR4MM964S7K",
            "status": "in_progress",
            "progress": 45,
            "created": 1763174708,
        },
        "error": {"message": "for you alone", "type": "new_api_error", "code": None},
        "unheard_of": 1,
        "size": "1:1",
        "unlimited": True,
    }
    assert redactor.body(json.dumps(reply).encode()) == {
        "code": 200,
        "data": {"id": "<task task>", "status": "in_progress", "progress": 45, "created": "<time>"},
        "error": {"message": "<text>", "type": "new_api_error", "code": None},
        "<field 1>": "<number>",
        "size": "1:1",
        "<field 2>": True,
    }


@pytest.mark.parametrize("text", ["1" + "0" * 400, "-1" + "0" * 400, "1e999", "NaN", "[" * 5000, '{"a":' * 5000])
def test_numbers_and_depths_that_break_others(text: str) -> None:
    for body in (text, f'{{"progress": {text}, "code": {text}, "total_used": {text}}}', f'{{"other": "{{{text}"}}'):
        assert "000" not in json.dumps(Redactor(BASE).body(body.encode()))


def test_public_prices_are_kept() -> None:
    row = {"model_name": "gemini-3.1-flash-image", "model_price": 0.045, "model_ratio": 0, "enable_groups": ["vip"]}
    other = {"model_name": "ours-alone", "model_price": 1, "model_ratio": 0}
    found = Redactor(BASE).body(json.dumps({"data": [other, row], "group_ratio": {"vip": 0.5}}).encode())
    assert found == {
        "data": [{**row, "enable_groups": ["<text>"]}, "<more>"],
        "group_ratio": {"<field 1>": "<number>"},
    }


def test_what_a_key_has_spent_is_a_difference() -> None:
    redactor = Redactor(BASE)
    seen = [redactor.body(json.dumps({"data": {"total_used": used}}).encode()) for used in (12_345_678, 12_364_428)]
    assert [each["data"]["total_used"] for each in seen] == [0, 18_750]


def test_rows_of_others_lose_their_amounts() -> None:
    redactor = Redactor(BASE)
    redactor.own_tasks["task_mine"] = "submit"

    def row(task: str) -> dict[str, Any]:
        return {"type": 2, "quota": 18_750, "model_name": "x", "other": json.dumps({"task_id": task})}

    body = json.dumps({"data": [row("task_1"), row("task_2"), row("task_3"), row("task_mine")]}).encode()
    rows = redactor.body(body)["data"]
    assert [each.get("<own>") for each in rows[:-1]] == ["submit", None, None]
    assert [each["quota"] for each in rows[:-1]] == [18_750, "<number>", "<number>"]
    assert rows[-1] == "<more>"


@pytest.mark.parametrize(
    "settings", [{}, {"cdn": True}, {"dialect": "b64"}, {"dialect": "legacy+extra_fields"}], ids=str
)
def test_a_whole_probe(settings: dict[str, Any], tmp_path: Path) -> None:
    """The key, the account, the prompts and tasks of others, hosts, request ids, pictures."""
    with Emulator(api_keys=SECRET, balance="123.45", pictures="plain", **settings) as emulator:
        with APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
            other = client.submit(f"a picture of {SECRET}", client_reference_id=SECRET)
        emulator.script("reply", on="usage", body=json.dumps(usage()), content_type="application/json")
        _, _, path = run_probe(emulator, *BUY)
        text = path.read_text()
        assert len(emulator.bill.charges) == 4
        hidden = [SECRET, other.id, "127.0.0.1", "localhost", "123.45"]
        hidden += [request.id for request in emulator.requests]
        hidden += [token for job in emulator.jobs for token in job.image_tokens]
        hidden += ["61725000", "iVBORw0KGgo", "small orange cat"]
    assert [each for each in hidden if each in text] == []


def usage() -> dict[str, Any]:
    figures = {"object": "token_usage", "name": SECRET, "total_granted": 61_725_000, "total_used": 1, SECRET: SECRET}
    return {"code": True, "message": SECRET, "data": {**figures, "total_available": 0, "unlimited_quota": False}}
