"""Probes in this process, and edited transcripts: what several tests of ``apimaster probe`` share."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from apimaster.cli.app import run
from apimaster.emulator import Emulator
from apimaster.emulator.transcript import Exchange, Transcript, parse_transcript

BUY = ("--spend", "0.12", "--yes")
PAGES: Mapping[str, Any] = {
    "pricing": {"success": True, "data": [{"model_name": "gemini-3.1-flash-image", "quota_type": 1}]},
    "marketplace": {"success": True, "data": []},
    "capabilities": {"model": "<text>", "supported": True, "events": ["task.completed"], "api_version": "2026-10-03"},
}
"""Replies of routes that the emulator may not play."""


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_probe(emulator: Emulator, *words: str) -> tuple[int, dict[str, Any], Path]:
    """The exit code, the JSON on stdout, and the transcript, in a new folder."""
    path = Path(tempfile.mkdtemp()) / "probe.json"
    out = io.StringIO()
    with (
        environment(**emulator.env, NO_PROXY="127.0.0.1", HOME=str(path.parent)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        code = run(["probe", "--json", "--out", str(path), *words])
    return code, json.loads(out.getvalue()), path


def with_pages(transcript: Transcript) -> Transcript:
    """The transcript of a gateway that has every route."""
    for step, body in PAGES.items():
        transcript = edited(transcript, step, status=200, body=body, headers={"content-type": "application/json"})
    return transcript


def edited(transcript: Transcript, step: str, route: str | None = None, **changes: Any) -> Transcript:
    """A copy in which every exchange of a step is changed: fields of `Exchange`, or a function for ``body``."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.step != step or route not in (None, exchange.route):
            return exchange
        new = dict(changes)
        if callable(new.get("body")):
            body = copy.deepcopy(exchange.body)
            new["body"] = new["body"](body) or body
        return replace(exchange, **new)

    found = parse_transcript(copy.deepcopy(transcript.document()))
    found.exchanges = [change(each) for each in found.exchanges]
    return found


def body(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An edit of a body that changes it in place."""

    def change(value: Any) -> Any:
        act(value)
        return value

    return change
