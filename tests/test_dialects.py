"""Every dialect of the gateway, in every mode, with every client: one picture for one charge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from doors import DOORS, Door

from apimaster.catalog import spec_for
from apimaster.emulator import Emulator
from apimaster.emulator.dialects import WORDS
from apimaster.results import Progress

DIALECTS = (
    "tracked",
    "legacy",
    "mixed",
    "tracked+upper_case",
    "legacy+upper_case",
    "tracked+url_list",
    "legacy+url_string",
    "tracked+no_envelope",
    "legacy+no_envelope",
    "tracked+unknown_words",
    "legacy+unknown_words+upper_case",
    "success_word",
    "no_code",
    "sync_as_task",
    "legacy+sync_as_task+no_envelope",
    "submit_as_image",
    "submit_as_image+no_code",
    "no_async",
    "no_async+sync_as_task",
    "b64",
    "b64+submit_as_image",
    "n_ignored",
    "n_honoured",
    "lying_ending",
    "extra_fields",
    "legacy+extra_fields+url_list+lying_ending",
    "batch",
    "batch+no_envelope",
    "batch+upper_case+url_list",
    "batch+unknown_words+extra_fields",
    "batch+sync_as_task",
    "batch+no_envelope+sync_as_task",
    "batch+submit_as_image",
    "batch+no_async+b64",
)


pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def emu(server: Emulator) -> Iterator[Emulator]:
    server.reset()
    yield server
    assert server.complaints == []


def test_this_file_tests_every_word_of_a_dialect() -> None:
    assert {word for dialect in DIALECTS for word in dialect.split("+")} == set(WORDS)


WITH_ASYNC_ROUTE = [dialect for dialect in DIALECTS if "no_async" not in dialect]
IN_EVERY_MODE = [(mode, dialect) for mode in ("auto", "sync") for dialect in DIALECTS]
# test_error_table.py tests what mode "async" does without that route
IN_EVERY_MODE += [("async", dialect) for dialect in WITH_ASYNC_ROUTE]


@pytest.mark.parametrize(("mode", "dialect"), IN_EVERY_MODE)
@pytest.mark.parametrize("kind", DOORS)
def test_one_picture_for_one_charge(emu: Emulator, kind: str, model: str, mode: str, dialect: str) -> None:
    emu.dialect = dialect
    emu.latency = "2 polls"
    door = Door(kind, emu, model=model)
    result = door("generate", "a cat", aspect_ratio="16:9", mode=mode)
    assert result.model == model
    assert len(result.images) == 1
    assert result.cost == (emu.bill.total if spec_for(model).prices else None)
    assert len(emu.bill) == 1
    assert result.failures == ()
    (image,) = result.images
    assert image.index == 0
    data = door("read", image)
    assert data.startswith(b"\x89PNG")
    assert (image.url is None) == ("b64" in dialect and (not result.tasks or "batch" in dialect))
    if result.tasks:
        assert image.task_id == result.tasks[0].id == emu.jobs[0].id
        assert image.task_id.startswith("imagine_batch_" if "batch" in dialect else "task_")
        assert result.tasks[0].done
    for name in ("b64_json", "sk-emulator"):
        assert name not in result.model_dump_json()
    # JSON holds everything except the bytes of a picture that came inside the response.
    assert result.model_validate_json(result.model_dump_json()).model_dump() == result.model_dump()


@pytest.mark.parametrize("dialect", WITH_ASYNC_ROUTE)
@pytest.mark.parametrize("kind", DOORS)
def test_submit_then_retrieve_then_wait(emu: Emulator, kind: str, model: str, dialect: str) -> None:
    emu.dialect = dialect
    emu.latency = "2 polls"
    door = Door(kind, emu, model=model)
    task = door("submit", "a cat")
    if "submit_as_image" in dialect:
        assert task.status == "succeeded"
        assert len(door("wait", task).images) == 1
    else:
        assert task.status == "queued"
        retrieved = door("retrieve", task)
        assert retrieved.id == task.id
        assert retrieved.status in ("queued", "running")
        result = door("wait", task.id)
        assert len(result.images) == 1
        assert result.tasks[0].id == task.id
    assert len(emu.bill) == 1


@pytest.mark.parametrize("kind", DOORS)
def test_the_caller_sees_the_progress_of_the_legacy_dialect(emu: Emulator, kind: str, model: str) -> None:
    emu.dialect = "legacy"
    emu.latency = "4 polls"
    seen: list[Progress] = []
    Door(kind, emu, model=model)("generate", "a cat", on_progress=seen.append)
    assert [progress.stage for progress in seen][:2] == ["submitting", "queued"]
    assert seen[-1].stage == "done"
    percents = [progress.percent for progress in seen if progress.stage == "running"]
    assert percents
    assert all(percent is not None and 0 <= percent < 100 for percent in percents)
    assert all(progress.task is not None and progress.task.id for progress in seen[1:])
    assert [progress.elapsed for progress in seen] == sorted(progress.elapsed for progress in seen)


@pytest.mark.parametrize(
    "body",
    [
        '{"data":[{"status":"submitted","task_id":"task_X","extra":{"deep":[1]}}],"created":1}',
        '{"data":{"status":"pending","task_id":"task_X"}}',
        '{"code":200,"data":[{"id":"task_X","status":"PENDING"}]}',
        '{"task_id":"task_X","status":"submitted"}',
        '{"data":[{"note":"first"},{"task_id":"task_X"}]}',
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_shapes_of_a_submit_response(emu: Emulator, kind: str, model: str, body: str) -> None:
    emu.script("reply", status=200, body=body)
    task = Door(kind, emu, model=model)("submit", "a cat")
    assert task.id == "task_X"
    assert not task.done


PICTURES: list[tuple[str, list[str]]] = [
    ('{"data":{"status":"completed","result":{"images":[{"url":["https://a/1"]}]}}}', ["https://a/1"]),
    ('{"data":{"status":"Success","result":{"images":[{"url":"https://a/1"}]}}}', ["https://a/1"]),
    ('{"status":"SUCCEEDED","result":{"images":["https://a/1"]}}', ["https://a/1"]),
    ('{"data":[{"status":"succeeded","result":{"images":{"url":"https://a/1"}}}]}', ["https://a/1"]),
    (
        '{"data":{"status":"completed","result":{"images":[{"url":["https://a/1","https://a/2"]},{"url":"https://a/3"}]}}}',
        ["https://a/1", "https://a/2", "https://a/3"],
    ),
]


@pytest.mark.parametrize(("body", "urls"), PICTURES)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_shapes_of_a_finished_task(emu: Emulator, kind: str, model: str, body: str, urls: list[str]) -> None:
    emu.script("reply", on="poll", status=200, body=body)
    result = Door(kind, emu, model=model)("generate", "a cat")
    assert [image.url for image in result.images] == urls
    assert [image.index for image in result.images] == list(range(len(urls)))
    assert [image.output_index for image in result.images] == list(range(len(urls)))
    assert len(emu.bill) == 1, "a task is one charge, however many pictures it delivers"
    assert result.cost == (emu.bill.total if spec_for(model).prices else None)


@pytest.mark.parametrize(
    "word", ["queued", "PROCESSING", "in_progress", "reticulating", "complete-ish", "", "finished?"]
)
def test_the_client_goes_on_polling_at_an_unknown_status_word(emu: Emulator, word: str) -> None:
    emu.script("reply", on="poll", status=200, body=json.dumps({"data": {"status": word}}))
    assert len(Door("sync", emu)("generate", "a cat").images) == 1
    assert len(emu.requests_to("poll")) >= 2


@pytest.mark.parametrize("kind", DOORS)
def test_the_client_sends_only_what_the_caller_set(emu: Emulator, kind: str) -> None:
    door = Door(kind, emu)
    door("generate", "a cat", n=2)
    assert [request.body for request in emu.requests_to("submit")] == [
        {"model": "gemini-3.1-flash-image-preview", "prompt": "a cat"}
    ] * 2
    emu.reset()
    options: dict[str, Any] = {"google_search": False, "extra_body": {"response_format": "url", "seed": 7}}
    door("submit", "a cat", model="nano-banana-2", resolution="2k", aspect_ratio="16x9", **options)
    assert emu.requests[0].body == {
        "model": "gemini-3.1-flash-image-preview",
        "prompt": "a cat",
        "size": "16:9",
        "resolution": "2K",
        "google_search": False,
        "response_format": "url",
        "seed": 7,
    }
