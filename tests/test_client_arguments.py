"""Arguments that a client refuses before anything is sent: each error names the value and the accepted ones."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from doors import DOORS, Door

import apimaster
from apimaster import APIMaster, APIMasterError, AsyncAPIMaster, BadRequestError, ImageRequest, Task
from apimaster.emulator import Emulator
from apimaster.errors import DownloadError, RateLimitError
from apimaster.results import GeneratedImage, Progress


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(pictures="plain") as emu:
        yield emu


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, server: Emulator) -> Door:
    server.reset()
    return Door(request.param, server)


REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("generate", ("a cat",), {"mode": "fast"}, "mode 'fast' is not known; accepted: auto, sync, async"),
    ("generate", ("a cat",), {"timeout": -1}, "timeout must be a number of seconds, 0 or more, not -1"),
    ("generate", ("a cat",), {"timeout": math.nan}, "not nan"),
    ("generate", ("a cat",), {"timeout": math.inf}, "not inf"),
    ("generate", ("a cat",), {"timeout": True}, "not True"),
    ("generate", ("a cat",), {"timeout": "60"}, "not '60'"),
    ("generate", ("  ",), {}, "prompt is empty"),
    ("generate", ("\u200b",), {}, "prompt is empty"),
    ("submit", ("\x1b[0m",), {}, "prompt is empty"),
    ("generate", ("a cat",), {"aspect_ratio": "7:4"}, "7:4"),
    ("generate", ("a cat",), {"resolution": "8K"}, "8K"),
    ("generate", ("a cat",), {"model": " "}, "model is empty"),
    ("generate", ("a cat",), {"extra_body": {"n": 3}}, "extra_body must not hold 'n'"),
    ("generate", ("a cat",), {"references": ["a.png"] * 15}, "at most 14"),
    ("submit", ("",), {}, "prompt is empty"),
    ("retrieve", ("",), {}, "task must be a task or its id, not ''"),
    ("retrieve", (None,), {}, "not None"),
    ("wait", (" \n",), {}, "task must be a task or its id"),
    ("wait", (17,), {}, "not 17"),
    ("wait", ("task_1",), {"timeout": -0.1}, "not -0.1"),
]


@pytest.mark.parametrize(("method", "args", "options", "words"), REFUSED)
def test_bad_arguments(
    door: Door, server: Emulator, method: str, args: tuple[Any, ...], options: dict[str, Any], words: str
) -> None:
    error = door.error(method, *args, **options)
    assert isinstance(error, BadRequestError)
    assert isinstance(error, ValueError)
    assert words in error.message
    assert (error.billed, error.retryable) == ("no", False)
    assert server.requests == []


@pytest.mark.parametrize("make", [APIMaster, AsyncAPIMaster])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number, 0 or more, not -1"),
        ({"max_retries": 1.5}, "not 1.5"),
        ({"timeout": -2}, "timeout must be a number of seconds"),
        ({"max_polls_per_second": 0}, "max_polls_per_second must be a finite number above 0, not 0"),
        ({"base_url": "ftp://gateway.test"}, "ftp://gateway.test"),
    ],
)
def test_bad_settings(make: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        make("sk-made-up-key", **({"base_url": "http://127.0.0.1:9/v1"} | settings))
    assert words in caught.value.message


def test_an_async_callback_needs_the_async_client(server: Emulator) -> None:
    async def callback(progress: Progress) -> None:
        raise AssertionError("never called")

    with (
        APIMaster(server.api_key, base_url=server.base_url) as client,
        pytest.raises(BadRequestError, match="on_progress is an async function; this client takes a plain one"),
    ):
        client.generate("a cat", on_progress=callback)


def test_an_async_callback_is_awaited(server: Emulator) -> None:
    stages: list[str] = []

    async def callback(progress: Progress) -> None:
        await asyncio.sleep(0)
        stages.append(progress.stage)

    Door("async", server)("generate", "a cat", on_progress=callback)
    assert stages[0] == "submitting"
    assert stages[-1] == "done"


def test_the_settings_of_the_client_are_the_defaults_of_its_calls(server: Emulator) -> None:
    server.reset()
    with APIMaster(server.api_key, base_url=server.base_url, model="gpt-image-2", timeout=0) as client:
        assert client.model == "gpt-image-2"
        assert client.base_url == server.base_url
        with pytest.raises(APIMasterError, match="time ran out"):
            client.generate("a cat")
        assert client.submit("a cat", timeout=30).model == "gpt-image-2"
        assert client.submit(ImageRequest(prompt="a cat"), timeout=30).model == "gemini-3.1-flash-image-preview"
        assert client.submit(ImageRequest(prompt="a cat"), model="gpt-image-2", timeout=30).model == "gpt-image-2"


def test_a_whole_request_can_be_passed_and_changed(door: Door, server: Emulator) -> None:
    request = ImageRequest(prompt="a cat", aspect_ratio="16:9", n=2)
    result = door("generate", request, resolution="2K", n=1)
    assert result.request == ImageRequest(prompt="a cat", aspect_ratio="16:9", resolution="2K")
    assert len(server.bill) == 1


def test_the_model_of_a_poll(door: Door, server: Emulator) -> None:
    task = door("submit", "a cat", model="gpt-image-2")
    assert door("retrieve", task.id, model="gpt-image-2").model == "gpt-image-2"
    assert door("wait", Task(id=task.id, model="nano-banana-2"), model="gpt-image-2").model == "gpt-image-2"
    assert {request.query for request in server.requests_to("poll")} == {"model=gpt-image-2"}


class Stopped(BaseException):
    """Not an Exception, like Ctrl-C or the timeout of a test."""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_exception_of_another_kind_stops_all_images_of_a_call(server: Emulator, kind: str) -> None:
    server.reset()
    server.latency = "manual"

    def callback(progress: Progress) -> None:
        if progress.index == 2 and progress.stage == "queued":
            raise Stopped

    with pytest.raises(Stopped):
        Door(kind, server)("generate", "a cat", n=4, on_progress=callback)
    assert [thread.name for thread in threading.enumerate() if thread.name == "apimaster"] == []
    server.latency = 0.0


ERRORS = [
    getattr(apimaster, name)
    for name in apimaster.__all__
    if isinstance(getattr(apimaster, name), type) and issubclass(getattr(apimaster, name), APIMasterError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_can_be_pickled(kind: type[APIMasterError]) -> None:
    task = Task(id="task_1", model="m")
    error = kind("it broke", billed="maybe", retryable=True, status_code=500, code="E", request_id="r", task=task)
    error.args = ("it broke. And this was added.",)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert (copy.billed, copy.retryable, copy.task, copy.tasks) == ("maybe", True, task, (task,))


def test_attributes_of_single_error_classes_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(RateLimitError("slow down", retry_after=3.5))).retry_after == 3.5
    images = (GeneratedImage(url="https://cdn.test/a.png"),)
    assert pickle.loads(pickle.dumps(DownloadError("gone", images=images))).images == images
