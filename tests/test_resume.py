"""What was paid for is never lost: killed in the middle, picked up by another process, one charge."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
from PIL import Image

from apimaster import APIMaster, ImageRequest, NotFoundError, Task
from apimaster.emulator import Emulator

VICTIM = """
import sys
from apimaster import APIMaster

def show(progress):
    if progress.task is not None:
        sys.stdout.write(progress.task.model_dump_json() + "\\n")  # one piece: several threads write
        sys.stdout.flush()

client = APIMaster()
if sys.argv[1] == "generate":
    client.generate("an orange cat", aspect_ratio="16:9", save_to="out/", on_progress=show)
elif sys.argv[1] == "many":
    client.generate("an orange cat", n=3, on_progress=show)
else:
    print(client.submit("an orange cat", aspect_ratio="16:9").model_dump_json(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(latency="manual", pictures="plain") as running:
        yield running


def environment(emu: Emulator) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("APIMASTER_")}
    return env | emu.env | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.005)


def killed(emu: Emulator, what: str, folder: Path, tasks: int = 1) -> list[str]:
    """Run the victim until it knows of so many tasks, then kill it; returns the lines it printed."""
    with forked.start(
        ["-c", VICTIM, what], env=environment(emu), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as victim:
        assert victim.stdout is not None
        lines: list[str] = []
        while len({json.loads(line)["id"] for line in lines}) < tasks:
            line = victim.stdout.readline()
            assert line, "it ended by itself"
            lines.append(line)
        victim.kill()
    assert victim.returncode not in (0, None)
    return lines


def command(emu: Emulator, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "apimaster.cli", *words], env=environment(emu), cwd=folder)


@pytest.mark.parametrize("what", ["generate", "submit"])
def test_the_command_picks_up_what_a_killed_process_had_submitted(emu: Emulator, what: str, tmp_path: Path) -> None:
    task = Task.model_validate_json(killed(emu, what, tmp_path)[-1])
    assert [job.id for job in emu.jobs] == [task.id]
    emu.finish()
    done = command(emu, tmp_path, "task", task.id, "--wait", "-o", "out/", "--json")
    assert done.returncode == 0, done.stderr
    assert task.id in done.stdout
    (picture,) = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    with Image.open(picture) as image:
        assert image.size == (1376, 768)
    assert len(emu.bill) == 1
    assert len(emu.requests_to("submit")) == 1

    again = command(emu, tmp_path, "task", task.id, "--wait", "-o", "out/", "--json")
    assert again.returncode == 0, again.stderr
    assert [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == [picture]
    assert len(emu.bill) == 1


def test_a_task_that_was_stored_as_json_brings_its_request_along(emu: Emulator, tmp_path: Path) -> None:
    task = Task.model_validate_json(killed(emu, "generate", tmp_path)[-1])
    assert task.request == ImageRequest(prompt="an orange cat", aspect_ratio="16:9")
    emu.finish()
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        result = client.wait(task, save_to=tmp_path / "cat.png")
    assert result.request == task.request
    assert result.cost == emu.bill.total
    assert (result.images[0].width, result.images[0].height) == (1376, 768)
    assert len(emu.bill) == 1


def test_of_several_images_all_are_picked_up(emu: Emulator, tmp_path: Path) -> None:
    lines = killed(emu, "many", tmp_path, tasks=3)
    tasks = {task.id: task for task in map(Task.model_validate_json, lines)}
    assert set(tasks) == {job.id for job in emu.jobs}
    emu.finish()
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        for task in tasks.values():
            assert len(client.wait(task).images) == 1
    assert len(emu.bill) == 3


def test_an_id_alone_is_enough_and_the_pixels_tell_the_price(emu: Emulator, tmp_path: Path) -> None:
    task = Task.model_validate_json(killed(emu, "submit", tmp_path)[-1])
    emu.finish()
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        assert client.wait(task.id).cost is None
        saved = client.wait(task.id, save_to=tmp_path / "cat.png")
    assert saved.cost == emu.bill.total
    assert saved.request is None


def test_the_wrong_model_is_not_the_task(emu: Emulator, tmp_path: Path) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url) as client, pytest.raises(NotFoundError) as caught:
        client.wait("task_that_never_was")
    assert caught.value.task is not None
    assert caught.value.task.id == "task_that_never_was"
    done = command(emu, tmp_path, "task", "task_that_never_was", "--wait")
    assert done.returncode not in (0, None)
    assert "task_that_never_was" in done.stderr
