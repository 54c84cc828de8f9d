"""Several images of one call: each has a task and a charge of its own, and a failure does not affect the others."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from doors import DOORS, Door

from apimaster.emulator import Emulator
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    BadRequestError,
    ContentPolicyError,
    DownloadError,
    GenerationFailedError,
    OutcomeUnknownError,
    TaskTimeoutError,
)

ONE = Decimal("0.0375")


pytestmark = pytest.mark.usefixtures("without_pauses")


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, server: Emulator) -> Door:
    server.reset()
    return Door(request.param, server)


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_n_images_are_n_tasks_and_n_charges(door: Door, server: Emulator, mode: str) -> None:
    result = door("generate", "a cat", n=4, mode=mode, resolution="2K")
    assert [image.index for image in result.images] == [0, 1, 2, 3]
    assert result.cost == Decimal("0.20") == server.bill.total
    assert len(server.bill) == 4
    assert len({image.url for image in result.images}) == 4
    assert len(result.tasks) == (0 if mode == "sync" else 4)
    assert all("n" not in request.body for request in server.requests if request.route in ("sync", "submit"))


@pytest.mark.parametrize("dialect", ["n_ignored", "n_honoured", "sync_as_task", "submit_as_image"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_n_images_arrive_in_every_dialect(door: Door, server: Emulator, mode: str, dialect: str) -> None:
    server.dialect = dialect
    result = door("generate", "a cat", n=3, mode=mode)
    assert len(result.images) == 3
    assert result.cost == server.bill.total == 3 * ONE


def test_more_images_than_run_at_once(door: Door, server: Emulator) -> None:
    result = door("generate", "a cat", n=20)
    assert [image.index for image in result.images] == list(range(20))
    assert result.cost == server.bill.total == 20 * ONE


def test_some_fail_and_the_others_are_delivered(door: Door, server: Emulator) -> None:
    server.script("ok", "moderation", "ok", "proxy_504_html", "ok", "task_failed_text")
    result = door("generate", "a cat", n=5, mode="async")
    failures = {failure.error: failure for failure in result.failures}
    assert set(failures) == {"ContentPolicyError", "OutcomeUnknownError", "GenerationFailedError"}
    assert len(result.images) == 2
    assert result.cost == 2 * ONE
    assert failures["ContentPolicyError"].billed == "no"
    assert failures["ContentPolicyError"].status_code == 400
    assert failures["ContentPolicyError"].code == "sensitive_words_detected"
    assert failures["OutcomeUnknownError"].billed == "maybe"
    assert not failures["OutcomeUnknownError"].retryable
    assert failures["GenerationFailedError"].retryable
    assert failures["GenerationFailedError"].task is not None
    assert len(result.tasks) == 3, "the failed task is named too"
    # The bill: two pictures, and the one whose outcome the client does not know. The failed task was refunded.
    assert server.bill.total == 3 * ONE
    assert {failure.index for failure in result.failures} < set(range(5))
    assert result.model_validate_json(result.model_dump_json()) == result


def test_if_all_are_refused_the_error_says_how_many(door: Door, server: Emulator) -> None:
    server.script("moderation", times=None)
    error = door.error("generate", "a cat", n=3)
    assert type(error) is ContentPolicyError
    assert "None of 3 images arrived" in error.message
    assert [failure.index for failure in error.failures] == [0, 1, 2]
    assert (error.billed, error.retryable) == ("no", False)
    assert server.bill.total == 0


def test_of_several_errors_the_one_that_may_cost_is_raised(door: Door, server: Emulator) -> None:
    server.script("server_error_500", "proxy_502_html", "server_error_500", "bad_request")
    door.settings["max_retries"] = 0
    error = door.error("generate", "a cat", n=4, mode="sync")
    assert type(error) is OutcomeUnknownError
    assert (error.billed, error.retryable) == ("maybe", False)
    assert sorted(failure.billed for failure in error.failures) == ["maybe", "no", "no", "no"]
    assert len(server.bill.standing) == 1


def test_an_error_is_retryable_only_if_the_errors_of_all_images_are(door: Door, server: Emulator) -> None:
    server.script("server_error_500", times=None)
    door.settings["max_retries"] = 0
    assert door.error("generate", "a cat", n=2).retryable
    server.reset()
    server.script("server_error_500", "bad_request")
    assert not door.error("generate", "a cat", n=2).retryable


def test_an_error_names_all_tasks_that_go_on_so_that_each_can_be_resumed(door: Door, server: Emulator) -> None:
    server.latency = "manual"
    error = door.error("generate", "a cat", n=3, timeout=0.8)
    assert type(error) is TaskTimeoutError
    assert error.billed == "yes"
    assert {task.id for task in error.tasks} == {job.id for job in server.jobs}
    server.finish()
    for task in error.tasks:
        assert len(door("wait", task).images) == 1
    assert len(server.bill) == 3


def test_a_picture_that_could_not_be_downloaded_is_in_images_and_in_failures(
    door: Door, server: Emulator, tmp_path: Path
) -> None:
    server.script("download_404", times=None, on="output")
    server.script("ok", "download_404")
    result = door("generate", "a cat", n=2, save_to=f"{tmp_path}/")
    assert [image.path is not None for image in sorted(result.images, key=lambda each: each.path is None)] == [
        True,
        False,
    ]
    assert [failure.billed for failure in result.failures] == ["yes"]
    assert result.cost == server.bill.total == 2 * ONE
    assert len(list(tmp_path.iterdir())) == 1


def test_no_picture_could_be_downloaded(door: Door, server: Emulator, tmp_path: Path) -> None:
    server.script("download_404", times=None, on="output")
    server.script("download_404", times=None)
    error = door.error("generate", "a cat", n=2, save_to=f"{tmp_path}/")
    assert isinstance(error, DownloadError)
    assert (error.billed, error.retryable) == ("yes", False)
    assert len(error.images) == len(error.tasks) == 2
    server.clear_script()
    for image in error.images:
        assert door("download", image, f"{tmp_path}/").is_file()
    assert len(server.bill) == 2


def test_a_model_without_a_price_has_no_cost(door: Door, server: Emulator) -> None:
    result = door("generate", "a cat", n=2, model="gpt-image-2")
    assert len(result.images) == 2
    assert result.cost is None


@pytest.mark.parametrize("n", [0, -1, 101, 1.5, True, "2"])
def test_an_invalid_n_is_refused_before_anything_is_sent(door: Door, server: Emulator, n: object) -> None:
    error = door.error("generate", "a cat", n=n)
    assert isinstance(error, BadRequestError)
    assert "n" in error.message
    assert str(n) in error.message
    assert server.requests == []


def test_an_unreachable_gateway_fails_every_image(door: Door, server: Emulator) -> None:
    door.settings |= {"base_url": "http://127.0.0.1:9/v1", "max_retries": 0}
    error: APIMasterError = door.error("generate", "a cat", n=3)
    assert type(error) is APIConnectionError
    assert error.retryable
    assert len(error.failures) == 3
    assert GenerationFailedError not in type(error).__mro__
