"""Requests and replies in the endpoint's field names, in every shape that the gateway uses, without I/O."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from apimaster import GeneratedImage, ImageRequest, Task
from apimaster._flows.operations import Reply
from apimaster._wire.messages import (
    BrokenPicture,
    Empty,
    Unreadable,
    generation_call,
    output_path,
    read_accepted,
    read_models,
    read_task,
    task_call,
)

REQUEST = ImageRequest(prompt="a cat")
KNOWN = Task(id="task_1", model=REQUEST.model, request=REQUEST)
URL = "https://cdn.example.com/imgs/a.jpg"


def reply(document: Any) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(200, {}, body)


def sent(request: ImageRequest) -> dict[str, Any]:
    body = generation_call(request, (), submit=True).body
    assert isinstance(body, bytes)
    return dict(json.loads(body))


def test_only_fields_that_are_set_are_sent() -> None:
    assert sent(REQUEST) == {"model": "gemini-3.1-flash-image-preview", "prompt": "a cat"}


def test_every_field_has_the_endpoints_name() -> None:
    request = ImageRequest(
        prompt="a cat",
        aspect_ratio="16x9",
        resolution="2k",
        n=3,
        google_search=False,
        google_image_search=True,
        client_reference_id="mine",
        webhook="ep_1",
        extra_body={"response_format": "b64_json", "seed": None},
    )
    assert sent(request) == {
        "model": "gemini-3.1-flash-image-preview",
        "prompt": "a cat",
        "size": "16:9",
        "resolution": "2K",
        "google_search": False,
        "google_image_search": True,
        "client_reference_id": "mine",
        "notifications": {"webhook": {"endpoint_id": "ep_1", "events": ["task.completed", "task.failed"]}},
        "response_format": "b64_json",
        "seed": None,
    }


def test_other_models_get_the_resolution_in_lower_case() -> None:
    assert sent(ImageRequest(prompt="a cat", model="gpt-image-2", resolution="2K"))["resolution"] == "2k"


def test_paths() -> None:
    assert generation_call(REQUEST, (), submit=True).path == "/images/generations/async"
    assert generation_call(REQUEST, (), submit=False).path == "/images/generations"
    poll = task_call("task/../1", "some model")
    assert (poll.method, poll.path, poll.query) == ("GET", "/tasks/task%2F..%2F1", {"model": "some model"})
    assert output_path("task_1", 2) == "/tasks/task_1/outputs/2/content"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"created": 1, "data": [{"url": URL}]}, (URL,)),
        ({"created": 1, "data": [{"url": URL, "size": "1:1", "revised_prompt": "x", "z_index": 0}]}, (URL,)),
        ({"created": 1, "data": [{"url": [URL, URL + "2"]}]}, (URL, URL + "2")),
        ({"data": [{"status": "submitted", "task_id": "task_9"}]}, "task_9"),
        ({"code": 200, "data": [{"status": "submitted", "task_id": "task_9"}]}, "task_9"),
        ({"created": 5, "data": [{"status": "submitted", "task_id": "task_9"}]}, "task_9"),
        ({"code": 200, "data": {"id": "task_9", "status": "processing"}}, "task_9"),
        ({"task_id": "task_9", "status": "QUEUED"}, "task_9"),
    ],
)
def test_a_purchase_is_answered_with_pictures_or_with_a_task(document: Any, expected: tuple[str, ...] | str) -> None:
    accepted = read_accepted(reply(document), REQUEST)
    if isinstance(accepted, Task):
        assert (accepted.id, accepted.model, accepted.request) == (expected, REQUEST.model, REQUEST)
        assert not accepted.done
    else:
        assert tuple(image.url for image in accepted) == expected
        assert [image.output_index for image in accepted] == list(range(len(accepted)))


def test_a_picture_inside_the_reply_is_kept_out_of_json_and_repr() -> None:
    data = b"picture bytes"
    encoded = base64.b64encode(data).decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        accepted = read_accepted(reply({"data": [{"b64_json": text}]}), REQUEST)
        assert isinstance(accepted, tuple)
        (image,) = accepted
        assert image._data == data
        assert image.model_copy(update={"index": 3})._data == data
        assert encoded not in image.model_dump_json()
        assert encoded not in repr(image)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"created": 1, "data": []}, Empty),
        ({"created": 1, "data": [{"url": ""}]}, Empty),
        ({"created": 1}, Empty),
        ({"error": {"message": "no"}}, Unreadable),
        ([], Unreadable),
        (b"<html>fine</html>", Unreadable),
        (b"", Unreadable),
        ({"data": [{"b64_json": "a"}]}, BrokenPicture),
    ],
)
def test_an_empty_success_is_not_an_unreadable_one(document: Any, kind: type[Unreadable]) -> None:
    with pytest.raises(Unreadable) as unreadable:
        read_accepted(reply(document), REQUEST)
    assert type(unreadable.value) is kind


@pytest.mark.parametrize("word", ["completed", "succeeded", "success", "COMPLETED", " Succeeded "])
@pytest.mark.parametrize("url", [URL, [URL]])
@pytest.mark.parametrize("envelope", ["object", "list", "none"])
def test_finished(word: str, url: Any, envelope: str) -> None:
    task: Any = {
        "id": "task_1",
        "status": word,
        "progress": 100,
        "result": {"images": [{"url": url, "expires_at": 1763174708}]},
    }
    document = {"object": {"code": 200, "data": task}, "list": {"data": [task]}, "none": task}[envelope]
    seen = read_task(reply(document), KNOWN)
    assert (seen.status, seen.progress, seen.request) == ("succeeded", 100, REQUEST)
    assert seen.images == (GeneratedImage(url=URL, expires_at=1763174708, task_id="task_1"),)


@pytest.mark.parametrize("word", ["failed", "error", "cancelled", "canceled", "FAILED"])
@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (None, None, None),
        ("too many cats", "too many cats", None),
        ({"code": 7, "message": "too many cats"}, "too many cats", "7"),
        ({"code": "prompt_blocked", "message": ""}, None, "prompt_blocked"),
    ],
)
def test_failed(word: str, error: Any, message: str | None, code: str | None) -> None:
    seen = read_task(reply({"data": {"status": word, "error": error}}), KNOWN)
    assert (seen.status, seen.error, seen.error_code) == ("failed", message, code)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", "queued"),
        ("submitted", "queued"),
        ("processing", "running"),
        ("in_progress", "running"),
        ("reticulating_splines", "running"),
        ("", "running"),
    ],
)
def test_every_other_status_means_keep_waiting(word: str, status: str) -> None:
    seen = read_task(reply({"data": {"status": word}}), KNOWN)
    assert (seen.status, seen.done) == (status, False)


@pytest.mark.parametrize(
    ("figures", "progress", "estimate"),
    [
        ({"progress": 45, "estimated_time": 60}, 45, 60),
        ({"progress": "45%"}, 45, None),
        ({"progress": 145, "estimated_time": -1}, None, None),
        ({"progress": True}, None, None),
        ({"progress": "soon", "estimated_time": float("nan")}, None, None),
    ],
)
def test_only_valid_figures_are_read(figures: dict[str, Any], progress: float | None, estimate: float | None) -> None:
    seen = read_task(reply({"data": {"status": "processing", **figures}}), KNOWN)
    assert (seen.progress, seen.estimated_time) == (progress, estimate)


@pytest.mark.parametrize("document", [{"data": {}}, {"data": []}, {"data": {"status": 3}}, [], b"<html>", b"", b"\xff"])
def test_a_poll_without_a_status_is_unreadable(document: Any) -> None:
    with pytest.raises(Unreadable):
        read_task(reply(document), KNOWN)


@pytest.mark.parametrize("result", [{"images": URL}, {"images": [URL]}, {"images": {"url": URL}}, [{"url": URL}], URL])
def test_pictures_are_found_in_every_wrapping(result: Any) -> None:
    seen = read_task(reply({"data": {"status": "completed", "result": result}}), KNOWN)
    assert [image.url for image in seen.images] == [URL]


def test_models() -> None:
    document = {"object": "list", "data": [{"id": "a", "object": "model"}, {"object": "model"}, "b", {"id": "c"}]}
    assert read_models(reply(document)) == ["a", "c"]
    with pytest.raises(Unreadable):
        read_models(reply({"data": {}}))


BATCH_ID = "imagine_batch_7"
BATCH = Task(id=BATCH_ID, model="midjourney-v8.2")
FOUR = [f"{URL}?{number}" for number in range(4)]
PARTS = [{"id": f"imagine_{number}", "status": "completed", "url": url} for number, url in enumerate(FOUR)]


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"id": BATCH_ID, "status": "submitted"}, "queued"),
        ({"task_id": BATCH_ID, "status": "pending"}, "queued"),
        ({"batch_id": BATCH_ID, "status": "processing", "progress": "12%"}, "running"),
        ({"batch_id": BATCH_ID, "id": "req_1", "status": "pending_timeout"}, "running"),
        ({"id": BATCH_ID, "status": "submitted", "data": None}, "queued"),
        ({"id": BATCH_ID, "status": "submitted", "data": []}, "queued"),
        ({"id": BATCH_ID, "status": "pending", "data": [{"id": "imagine_0"}, {"id": "imagine_1"}]}, "queued"),
        ({"id": BATCH_ID, "status": "processing", "data": [PARTS[0], {"id": "imagine_1"}]}, "running"),
        ({"batch_id": BATCH_ID, "status": "pending", "data": [{"task_id": "t1", "status": "pending"}]}, "queued"),
        ({"id": BATCH_ID, "status": "running", "data": [{"task_id": "t1", "status": "success"}]}, "running"),
        ({"batch_id": BATCH_ID, "status": "pending", "data": {"task_id": "t1", "status": "success"}}, "queued"),
        ({"code": 200, "data": [{"status": "submitted", "task_id": BATCH_ID}]}, "queued"),
        ({"id": "req_1", "status": "success", "data": [{"status": "submitted", "task_id": BATCH_ID}]}, "queued"),
    ],
)
def test_the_task_of_a_batch(document: Any, status: str) -> None:
    accepted = read_accepted(reply(document), REQUEST)
    assert isinstance(accepted, Task)
    assert (accepted.id, accepted.status, accepted.images) == (BATCH_ID, status, ())


@pytest.mark.parametrize("word", ["done, I think", "completed"])
def test_a_batch_that_is_finished_when_it_is_submitted(word: str) -> None:
    accepted = read_accepted(reply({"id": BATCH_ID, "status": word, "data": PARTS}), REQUEST)
    images = accepted.images if isinstance(accepted, Task) else accepted
    assert [image.url for image in images] == FOUR
    assert isinstance(accepted, Task) == (word == "completed")


@pytest.mark.parametrize(
    "pictures",
    [
        {"result": {"images": [{"url": FOUR}]}},
        {"result": {"outputs": PARTS}},
        {"result": {"images": [], "outputs": [{"url": FOUR}]}},
        {"url": FOUR},
        {"result": {"images": PARTS}, "data": None},
        {"result": FOUR},
        {"images": PARTS},
        {"result": None, "images": FOUR},
        {"image_urls": FOUR},
        {"data": PARTS},
        {"result": {"images": []}, "data": PARTS},
    ],
)
@pytest.mark.parametrize("name", ["id", "task_id", "batch_id"])
def test_the_pictures_of_a_batch(pictures: dict[str, Any], name: str) -> None:
    task = read_task(reply({name: BATCH_ID, "status": "completed", **pictures}), BATCH)
    assert task.status == "succeeded"
    assert [image.url for image in task.images] == FOUR
    assert [image.output_index for image in task.images] == [0, 1, 2, 3]
    assert {image.task_id for image in task.images} == {BATCH_ID}


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"id": BATCH_ID, "status": "pending_timeout"}, "running"),
        ({"id": BATCH_ID, "status": "PENDING_TIMEOUT", "error": {"message": "still pending"}}, "running"),
        ({"id": BATCH_ID, "status": "processing", "data": PARTS[:2]}, "running"),
        ({"status": "processing", "data": PARTS[:2]}, "running"),  # two of them have ended, the batch has not
        ({"id": BATCH_ID, "status": "pending", "data": []}, "queued"),
        ({"id": BATCH_ID, "status": "failed", "error": {"message": "banned", "code": "prompt_blocked"}}, "failed"),
        ({"id": "req_1", "status": "success", "data": {"id": BATCH_ID, "status": "processing"}}, "running"),
        ({"status": "success", "data": {"id": BATCH_ID, "status": "pending_timeout"}}, "running"),
    ],
)
def test_the_state_of_a_batch(document: Any, status: str) -> None:
    task = read_task(reply(document), BATCH)
    assert (task.id, task.status, task.images) == (BATCH_ID, status, ())
    assert task.error_code == ("prompt_blocked" if status == "failed" else None)


@pytest.mark.parametrize("data", [None, [], {}, {"note": "later"}])
@pytest.mark.parametrize("word", ["success", "error"])
def test_the_status_of_an_envelope_ends_no_task(word: str, data: Any) -> None:
    with pytest.raises(Unreadable, match="no task status"):
        read_task(reply({"status": word, "data": data}), KNOWN)
