"""Models that the gateway answers with batches, as Midjourney: their replies, their 502, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import DOORS, Door

from apimaster import APIMaster, BadRequestError, GenerationFailedError, OutcomeUnknownError, TaskTimeoutError
from apimaster.catalog import known_specs
from apimaster.emulator import Emulator

MODEL = "midjourney-v8.2"
PREFIX = "imagine_batch_"

pytestmark = pytest.mark.usefixtures("without_pauses")


@pytest.fixture
def emu(server: Emulator) -> Iterator[Emulator]:
    server.reset()
    yield server
    assert server.complaints == []


def test_the_table_says_which_models_these_are() -> None:
    found = [spec for spec in known_specs() if spec.batches]
    assert {spec.id for spec in found} == {MODEL, "midjourney-niji-7"}
    assert all(spec.strict_fields and not spec.resubmit_502 for spec in found)


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("dialect", ["tracked", "no_envelope", "upper_case+url_list", "sync_as_task", "extra_fields"])
def test_a_picture(emu: Emulator, kind: str, mode: str, dialect: str) -> None:
    emu.dialect, emu.latency = dialect, "4 polls"
    door = Door(kind, emu)
    result = door("generate", "a cat", model=MODEL, mode=mode, aspect_ratio="16:9")
    (image,), (task,) = result.images, result.tasks
    assert task.id.startswith(PREFIX)
    assert (task.model, task.status, image.task_id, result.cost) == (MODEL, "succeeded", task.id, None)
    assert door("read", image).startswith(b"\x89PNG")
    assert len(emu.bill) == 1
    polls = emu.requests_to("poll")
    assert all(poll.path == f"/v1/tasks/{task.id}" and poll.query == f"model={MODEL}" for poll in polls)
    assert len(polls) == (0 if mode == "sync" and dialect != "sync_as_task" else 5)


@pytest.mark.parametrize("kind", DOORS)
def test_all_pictures_of_a_batch(emu: Emulator, kind: str, tmp_path: Path) -> None:
    door = Door(kind, emu)
    urls = [door("generate", f"cat {number}", model=MODEL).images[0].url for number in range(4)]
    parts = [{"id": f"imagine_{number}", "status": "completed", "url": url} for number, url in enumerate(urls)]
    task = door("submit", "four cats", model=MODEL)
    running = {"id": task.id, "status": "pending_timeout", "data": parts[:2]}
    for body in (running, {"id": task.id, "status": "completed", "data": parts}):
        emu.script("reply", on="poll", status=200, body=json.dumps(body))
    result = door("wait", task, save_to=tmp_path)
    assert [image.url for image in result.images] == urls
    assert len({image.path for image in result.images}) == len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("kind", DOORS)
def test_a_task_whose_wait_takes_longer_than_expected_goes_on(emu: Emulator, kind: str) -> None:
    emu.script("task_never_ends")
    door = Door(kind, emu)
    error = door.error("generate", "a cat", model=MODEL, timeout=0.5)
    assert type(error) is TaskTimeoutError
    assert error.task is not None
    body = emu.requests_to("poll")
    assert len(body) > 2  # every second one said pending_timeout
    emu.finish(error.task.id)
    assert len(door("wait", error.task).images) == 1


def test_the_emulator_plays_the_further_state(emu: Emulator) -> None:
    emu.latency = "3 polls"
    headers = {"Authorization": f"Bearer {emu.api_key}"}
    with APIMaster(emu.api_key, base_url=emu.base_url) as client, httpx.Client(headers=headers) as raw:
        task = client.submit("a cat", model=MODEL)
        seen = [raw.get(f"{emu.base_url}/tasks/{task.id}?model={MODEL}").json() for _ in range(4)]
    assert [each["status"] for each in seen] == ["pending", "in_progress", "pending_timeout", "completed"]
    assert all(each["id"] == task.id and "data" not in each for each in seen)


@pytest.mark.parametrize("kind", DOORS)
def test_a_batch_that_fails(emu: Emulator, kind: str) -> None:
    emu.script("task_failed_object")
    error = Door(kind, emu).error("generate", "a cat", model=MODEL)
    assert (type(error), error.billed, error.code) == (GenerationFailedError, "no", "upstream_failure")
    assert emu.bill.standing == ()


# --- what must not be sent again --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("kind", DOORS)
def test_a_502_is_not_sent_again(emu: Emulator, kind: str, mode: str) -> None:
    emu.script("do_not_resubmit_502", times=None)
    error = Door(kind, emu).error("generate", "a cat", model=MODEL, mode=mode)
    assert (type(error), error.billed, error.retryable) == (OutcomeUnknownError, "maybe", False)
    assert "do not resubmit automatically" in error.message
    assert (len(emu.requests), len(emu.bill.standing)) == (1, 1)


@pytest.mark.parametrize("kind", DOORS)
def test_a_502_that_says_that_it_was_refunded_is_not_sent_again_by_itself(emu: Emulator, kind: str) -> None:
    emu.script("generation_failed_502", times=None)
    error = Door(kind, emu).error("generate", "a cat", model=MODEL)
    assert not error.retryable
    assert len(emu.requests) == 1


@pytest.mark.parametrize("fault", ["rate_limited", "server_error_500", "unavailable_503"])
def test_other_faults_that_cost_nothing_are(emu: Emulator, fault: str) -> None:
    emu.script(fault)
    assert len(Door("sync", emu)("generate", "a cat", model=MODEL, timeout=30).images) == 1
    assert len(emu.requests_to("submit")) == 2


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_log_settles_a_502(emu: Emulator, kind: str, tmp_path: Path) -> None:
    door = Door(kind, emu, ledger=str(tmp_path / "ledger.db"))
    emu.script("do_not_resubmit_502")
    error = door.error("generate", "a cat", model=MODEL, idempotency_key="order-1")
    assert type(error) is OutcomeUnknownError
    settled = door("settle", "order-1")
    assert [each.key for each in settled.recovered] == ["order-1"]
    again = door("generate", "a cat", model=MODEL, idempotency_key="order-1")
    assert (len(again.images), again.replayed) == (1, True)
    assert again.images[0].task_id is not None
    assert again.images[0].task_id.startswith(PREFIX)
    assert len(emu.bill) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_another_client_resumes_a_batch_from_the_ledger(emu: Emulator, kind: str, tmp_path: Path) -> None:
    place = str(tmp_path / "ledger.db")
    emu.latency = "manual"
    first = Door(kind, emu, ledger=place).error("generate", "a cat", model=MODEL, idempotency_key="a", timeout=0.3)
    assert type(first) is TaskTimeoutError
    emu.finish()
    result = Door(kind, emu, ledger=place)("generate", "a cat", model=MODEL, idempotency_key="a", save_to=tmp_path)
    assert (result.tasks[0].id, result.replayed) == (emu.jobs[0].id, True)
    assert result.images[0].path is not None
    assert (len(emu.bill), len(emu.requests_to("submit"))) == (1, 1)


# --- what such a model refuses ----------------------------------------------------------------------------

REFUSED: list[dict[str, Any]] = [
    {"extra_body": {"seed": 7}},
    {"extra_body": {"quality": "hd", "style": "raw"}},
    {"google_search": True},
    {"google_image_search": True},
    {"extra_body": {"mask_url": "https://example.com/mask.png"}},
]


@pytest.mark.parametrize("options", REFUSED)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_field_that_it_does_not_know_is_refused_before_anything_is_sent(
    emu: Emulator, kind: str, options: dict[str, Any]
) -> None:
    error = Door(kind, emu).error("generate", "a cat", model=MODEL, **options)
    assert type(error) is BadRequestError
    assert any(name in error.message for name in (*options, *options.get("extra_body", {})))
    assert MODEL in error.message
    assert emu.requests == []


@pytest.mark.parametrize("field", ["seed", "google_search", "mask_url", "quality"])
def test_the_emulator_refuses_it_too(emu: Emulator, field: str) -> None:
    body = {"model": MODEL, "prompt": "a cat", field: False}
    answer = httpx.post(
        f"{emu.base_url}/images/generations", json=body, headers={"Authorization": f"Bearer {emu.api_key}"}
    )
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert len(emu.bill) == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_every_model_takes_is_sent(emu: Emulator, kind: str) -> None:
    task = Door(kind, emu)(
        "submit",
        "a cat",
        model=MODEL,
        aspect_ratio="2:3",
        references=["https://example.com/a.png"],
        google_search=False,  # it never searches, and would refuse the field
        google_image_search=False,
        client_reference_id="mine",
        extra_body={"response_format": "url"},
    )
    assert task.id.startswith(PREFIX)
    assert set(emu.requests[0].body) == {
        *("model", "prompt", "size", "image_urls", "client_reference_id", "response_format")
    }
