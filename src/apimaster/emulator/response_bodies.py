"""The bodies of the gateway's responses in every dialect. This module turns an image job into bytes and does no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..catalog import spec_for
from .dialects import Dialect
from .image_jobs import ImageJob, State

_STATUS_WORDS: Final = {
    "tracked": {"queued": "queued", "running": "in_progress", "succeeded": "succeeded", "failed": "failed"},
    "legacy": {"queued": "pending", "running": "processing", "succeeded": "completed", "failed": "failed"},
    "batch": {"queued": "pending", "running": "in_progress", "succeeded": "completed", "failed": "failed"},
}
_TOKENS_A_PICTURE: Final = 1290
_UNKNOWN_WORDS: Final = ("dispatching", "upscaling", "almost_there")


def dump(document: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def error_body(message: str, kind: str, code: object, request_id: str) -> bytes:
    """A JSON error in the gateway's words."""
    text = f"{message} (request id: {request_id})"
    return dump({"error": {"message": text, "type": kind, "param": "", "code": code}})


def submit_body(job: ImageJob, *, one_shot: bool) -> bytes:
    """A response that names a task: to a submit, or to a one-shot call in a dialect that answers it with a task."""
    document: dict[str, Any] = {"data": [{"status": _in_case(job.dialect, "submitted"), "task_id": job.id}]}
    if not one_shot:
        first = {"code": 200} if job.dialect.code else {"created": int(job.created_wall)}
        document = {**first, **document}
    if job.dialect.polls == "batch" and not job.dialect.envelope:
        document = {"id": job.id, "status": _in_case(job.dialect, "submitted"), "created": int(job.created_wall)}
    if job.dialect.extra_fields:
        document.update(trace={"lane": "emulator"}, official_fallback=True)
    return dump(document)


def one_shot_body(job: ImageJob, urls: Sequence[str], encoded: Sequence[str] | None, *, code: bool = False) -> bytes:
    """The response to a one-shot call: pictures by URL, or as base64 if ``encoded`` is given."""
    items: list[dict[str, Any]]
    items = [{"url": url} for url in urls] if encoded is None else [{"b64_json": text} for text in encoded]
    if job.dialect.extra_fields:
        for item in items:
            item.update(revised_prompt=job.request.prompt, size="{}x{}".format(*job.request.pixels), z_index=0)
    document: dict[str, Any] = {"created": int(job.created_wall), "data": items}
    if spec_for(job.request.model).reports_usage and items:
        words, tokens = len(job.request.prompt.split()), _TOKENS_A_PICTURE * len(items)
        document["usage"] = {
            "prompt_tokens": words,
            "completion_tokens": tokens,
            "total_tokens": words + tokens,
        }
    if job.dialect.polls == "batch":
        document = {"id": job.id, "status": _in_case(job.dialect, "completed"), **document}
    if job.dialect.extra_fields:
        document["official_fallback"] = True
    return dump({"code": 200, **document} if code else document)


def poll_body(job: ImageJob, state: State, now: float, urls: Sequence[str], lifetime: float) -> bytes:
    """The response to a poll that found the job in ``state``."""
    if job.dialect.polls == "batch":
        return dump(_batch(job, state, now, urls))
    tracked = job.dialect.polls == "tracked"
    task = _tracked_task(job, state, urls) if tracked else _legacy_task(job, state, now, urls, lifetime)
    if job.dialect.extra_fields:
        task["kind"] = "image"
    if not job.dialect.envelope:
        return dump(task)
    return dump({"data": task} if tracked else {"code": 200, "data": task})


def _tracked_task(job: ImageJob, state: State, urls: Sequence[str]) -> dict[str, Any]:
    task: dict[str, Any] = {"status": _status(job, state)}
    if state == "succeeded":
        task["result"] = {"images": _images(job, urls)}
    if state == "failed" and job.reason is not None:
        task["error"] = job.reason
    return task


def _legacy_task(job: ImageJob, state: State, now: float, urls: Sequence[str], lifetime: float) -> dict[str, Any]:
    task: dict[str, Any] = {
        "id": job.id,
        "status": _status(job, state),
        "progress": int(job.progress(now)),
        "created": int(job.created_wall),
        "estimated_time": job.estimate,
    }
    if state == "queued" or state == "running":
        return task
    took = (job.ended_at or job.created) - job.created
    task.update(completed=int(job.created_wall + took), actual_time=round(took))
    if state == "failed":
        task["error"] = job.reason if job.reason is not None else "generation failed"
        return task
    images = _images(job, urls)
    for image in images:
        image["expires_at"] = int(job.created_wall + took + lifetime)
    task["result"] = {"images": images}
    if job.request.price is not None:
        task["cost"] = float(job.request.price * job.images)
    return task


def _batch(job: ImageJob, state: State, now: float, urls: Sequence[str]) -> dict[str, Any]:
    batch: dict[str, Any] = {
        "id": job.id,
        "status": _status(job, state),
        "progress": int(job.progress(now)),
        "created": int(job.created_wall),
    }
    if state == "succeeded":
        batch["result"] = {"images": _images(job, urls)}
    if state == "failed":
        batch["error"] = job.reason if isinstance(job.reason, Mapping) else {"message": job.reason or "failed"}
    if job.dialect.extra_fields:
        batch["kind"] = "image"
    return batch


def _images(job: ImageJob, urls: Sequence[str]) -> list[dict[str, Any]]:
    return [{"url": [url] if job.dialect.urls_are_lists else url} for url in urls]


def _status(job: ImageJob, state: State) -> str:
    word = _STATUS_WORDS[job.dialect.polls][state]
    if state in ("queued", "running") and job.dialect.running_words:
        word = job.dialect.running_words[job.polls % len(job.dialect.running_words)]
    elif state == "running":
        if job.dialect.unknown_words:
            word = _UNKNOWN_WORDS[job.polls % len(_UNKNOWN_WORDS)]
        elif job.dialect.polls == "legacy" and job.polls % 2:
            word = "in_progress"  # the gateway uses both words for the same state
        elif job.dialect.polls == "batch" and job.polls % 2:
            word = "pending_timeout"  # it waits for longer than was expected, and goes on
    elif state == "succeeded" and job.dialect.finished_word:
        word = job.dialect.finished_word
    elif state == "failed" and job.outcome == "cancelled":
        word = "cancelled"
    return _in_case(job.dialect, word)


def _in_case(dialect: Dialect, word: str) -> str:
    return word.upper() if dialect.upper_case else word
