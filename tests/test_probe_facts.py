"""Each fact of a probe: it holds at a usual gateway, differs at one that differs, and the emulator can be that one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import BUY, edited, run_probe, with_pages
from quick_polls import poll_at_once

from apimaster.cli.probe import purchases
from apimaster.cli.probe.facts import FACTS, check_facts
from apimaster.emulator import Emulator
from apimaster.emulator.like import likeness_of
from apimaster.emulator.transcript import Transcript, parse_transcript, read_transcript

Edit = Callable[[Transcript], Transcript]


@pytest.fixture(scope="module", autouse=True)
def at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        poll_at_once(patch)
        patch.setattr(purchases, "_LOG_PAUSE", 0.0)
        yield


@pytest.fixture(scope="module")
def usual() -> Transcript:
    """The transcript of a gateway that has every route, bought from over HTTP."""
    with Emulator(pictures="plain") as emulator:
        first = with_pages(read_transcript(run_probe(emulator, *BUY)[2]))
    with Emulator(pictures="plain", like=likeness_of(first), latency="1 poll") as emulator:
        code, _, path = run_probe(emulator, *BUY)
    assert code == 0
    return read_transcript(path)


# --- edits ------------------------------------------------------------------------------------------------


def error(status: int, code: object = "other_code", kind: str = "other_error") -> dict[str, Any]:
    return {"status": status, "body": {"error": {"message": "<text>", "type": kind, "param": "", "code": code}}}


def reply(step: str, route: str | None = None, **changes: Any) -> Edit:
    return lambda transcript: edited(transcript, step, route, **changes)


def body(step: str, act: Callable[[Any], Any], route: str | None = None) -> Edit:
    def change(value: Any) -> Any:
        act(value)
        return value

    return lambda transcript: edited(transcript, step, route, body=change)


def rows(act: Callable[[dict[str, Any]], Any]) -> Edit:
    """Change every row of the log that is the probe's own."""
    return body("log", lambda value: [act(row) for row in value["data"]])


def every(**changes: Any) -> Edit:
    def edit(transcript: Transcript) -> Transcript:
        found = parse_transcript(copy.deepcopy(transcript.document()))
        found.exchanges = [replace(each, **changes) for each in found.exchanges]
        return found

    return edit


def poll(act: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(transcript: Transcript) -> Transcript:
        for step in ("submit", "edit"):
            transcript = body(step, act, "poll")(transcript)
        return transcript

    return edit


def picture(width: int, height: int) -> dict[str, Any]:
    return {"<picture>": {"media_type": "image/png", "width": width, "height": height}}


def both(*edits: Edit) -> Edit:
    def edit(transcript: Transcript) -> Transcript:
        for each in edits:
            transcript = each(transcript)
        return transcript

    return edit


def purchase_state(step: str, state: str) -> Edit:
    def edit(transcript: Transcript) -> Transcript:
        document = copy.deepcopy(transcript.document())
        for each in document["purchases"]:
            each["state"] = state if each["step"] == step else each["state"]
        return parse_transcript(document)

    return edit


def half_k_refused(transcript: Transcript) -> Transcript:
    """One more purchase, before the others, that is refused."""
    found = parse_transcript(copy.deepcopy(transcript.document()))
    submit = next(each for each in found.exchanges if (each.step, each.route) == ("submit", "submit"))
    found.exchanges.insert(0, replace(submit, step="half_k", **error(400, "invalid_resolution")))
    return found


REPLAYED: dict[str, list[Edit]] = {
    "models_list": [],
    "model_id": [body("models", lambda value: value.update(data=[{"id": "gpt-image-2", "object": "model"}]))],
    "error_envelope": [reply("no_such_route", status=404, body="<html>", headers={"content-type": "text/html"})],
    "wrong_key": [reply("wrong_key", **error(403)), reply("wrong_key", **error(400))],
    "unknown_task": [reply("no_such_task", **error(400)), reply("no_such_task", **error(410))],
    "unknown_model": [reply("no_such_model", **error(400)), reply("no_such_model", **error(503, "no_channel"))],
    "bad_parameter": [reply("bad_parameter", **error(422)), reply("bad_parameter", **error(500))],
    "chat": [reply("chat", **error(404))],
    "unknown_route": [reply("no_such_route", **error(405)), reply("no_such_route", status=404, body="<html>")],
    "account": [
        reply("account", status=404, body="<html>"),
        body("account", lambda value: value.update(success=False)),
    ],
    "log": [reply("log", status=404, body="<html>"), reply("log", status=200, body={"success": False, "message": ""})],
    "price_list": [reply("pricing", status=404, body="<html>"), reply("pricing", body={"success": True})],
    "marketplace": [reply("marketplace", **error(401))],
    "webhook_capabilities": [
        reply("capabilities", **error(404)),
        reply("capabilities", body={"supported": "<text>", "events": []}),
    ],
    "half_k": [half_k_refused],
    "pixels": [both(*(reply(step, "download", body=picture(1024, 1024)) for step in ("submit", "one_shot", "edit")))],
    "durable_output": [reply("output", **error(404))],
    "upload": [reply("upload", **error(404))],
    "status_words": [poll(lambda value: "result" in value["data"] or value["data"].update(status="archived"))],
    "charge": [rows(lambda row: row.update(quota=22_500))],
    "submit_reply": [reply("submit", "submit", status=404, body="<html>")],
}
"""Edits that the emulator can replay."""

RECORDED: dict[str, list[Edit]] = {
    "models_list": [
        reply("models", body="<html>"),
        reply("models", status=500),
        body("models", lambda value: value["data"][0].pop("object")),
    ],
    "error_envelope": [reply("no_such_model", status=503, body={"message": "<text>"})],
    "request_id": [every(headers={})],
    "refusals_are_free": [body("account_after_refusals", lambda value: value["data"].update(total_used=18_750))],
    "account": [body("account", lambda value: value["data"].pop("total_used"))],
    "log_rows": [rows(lambda row: row.pop("quota")), rows(lambda row: row.update(other="<text>"))],
    "submit_reply": [
        body("submit", lambda value: value["data"][0].pop("task_id"), "submit"),
        reply("submit", "submit", **error(500)),
    ],
    "one_shot_reply": [reply("one_shot", "sync", body={"data": []}), reply("one_shot", "sync", **error(500))],
    "poll_dialect": [poll(lambda value: value["data"].pop("status"))],
    "task_result": [poll(lambda value: value["data"].pop("result", None))],
    "result_url": [reply("submit", "download", status=403, body="<html>")],
    "result_without_key": [reply("without_key", **error(401))],
    "task_time": [both(reply("submit", "poll", at=500.0), reply("edit", "poll", at=900.0))],
    "one_shot_time": [reply("one_shot", "sync", seconds=181.0)],
    "upload": [body("upload", lambda value: value.pop("bytes"))],
    "upload_is_public": [reply("uploaded", **error(401))],
    "edit": [purchase_state("edit", "failed")],
    "charged_once": [body("log", lambda value: value["data"].extend(copy.deepcopy(value["data"])))],
    "log_details": [
        rows(lambda row: row["other"]["<json text>"].pop("request_data")),
        rows(lambda row: row["other"]["<json text>"]["request_data"].update(effective_resolution="1k")),
        rows(lambda row: row["other"]["<json text>"].pop("task_id", None)),
    ],
    "books_agree": [body("account_after_edit", lambda value: value["data"].update(total_used=1))],
}
"""Edits of what the emulator does not take from a transcript."""

ALL = [(name, edit) for table in (REPLAYED, RECORDED) for name, edits in table.items() for edit in edits]
REPLAYS = [(name, edit) for name, edits in REPLAYED.items() for edit in edits]


def names(cases: list[tuple[str, Edit]]) -> list[str]:
    return [f"{name}-{number}" for number, (name, _) in enumerate(cases)]


def states(transcript: Transcript) -> dict[str, str]:
    return {each.fact.name: each.seen.state for each in check_facts(transcript)}


def differing(transcript: Transcript) -> dict[str, str]:
    return {each.fact.name: each.seen.text for each in check_facts(transcript) if each.seen.state == "differs"}


# --- tests ------------------------------------------------------------------------------------------------


def test_every_fact_holds_at_a_usual_gateway(usual: Transcript) -> None:
    assert set(states(usual)) == {fact.name for fact in FACTS}
    assert set(states(usual).values()) == {"holds"}


def test_there_is_an_edit_for_every_fact() -> None:
    assert {name for name, _ in ALL} == {fact.name for fact in FACTS}


@pytest.mark.parametrize(("name", "edit"), ALL, ids=names(ALL))
def test_each_fact_differs_where_the_gateway_does(usual: Transcript, name: str, edit: Edit) -> None:
    assert states(edit(usual))[name] == "differs"


@pytest.mark.parametrize("name", [fact.name for fact in FACTS])
def test_without_a_reply_nothing_was_seen(name: str) -> None:
    empty = Transcript(model="gemini-3.1-flash-image-preview", spend="0.12")
    assert states(empty)[name] == "not seen"
    assert all(each.seen.text for each in check_facts(empty))


@pytest.mark.parametrize(("name", "edit"), REPLAYS, ids=names(REPLAYS))
def test_the_emulator_differs_like_the_recorded_gateway(
    usual: Transcript, name: str, edit: Edit, tmp_path: Path
) -> None:
    recorded = edit(usual)
    path = tmp_path / "recorded.json"
    path.write_text(json.dumps(recorded.document()))
    with Emulator(pictures="plain", like=path, latency="1 poll") as emulator:
        _, _, written = run_probe(emulator, *BUY)
    replayed = read_transcript(written)
    assert differing(replayed)[name] == differing(recorded)[name]


FIELDS = """data error status task_id url result images other type quota id object total_used unlimited_quota
    request_data success supported events progress <own> <picture>"""
KEYS = st.sampled_from([*FIELDS.split(), "<json text>"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
def test_no_transcript_breaks_a_check_or_the_emulator(usual: Transcript, data: st.DataObject) -> None:
    step = data.draw(st.sampled_from(sorted({each.step for each in usual.exchanges})))
    strange = edited(usual, step, status=data.draw(st.sampled_from([200, 404, 500])), body=data.draw(VALUES))
    assert len(check_facts(strange)) == len(FACTS)
    found = likeness_of(strange)
    Emulator(**{"like": found, **found.settings})
    for recorded in (*found.refusals.values(), *found.pages.values()):
        json.dumps(recorded.document(1e9))
