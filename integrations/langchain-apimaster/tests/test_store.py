"""The store keeps pictures and records alike in a folder and behind fsspec, for every process that shares it."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from decimal import Decimal
from pathlib import Path

import pytest

from apimaster import BadRequestError, GeneratedImage, ImageRequest, Task
from langchain_apimaster.records import IMAGE_ID, CallRecord, ImageRecord, image_id
from langchain_apimaster.store import Store, default_place, task_file_name


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "a" / "b" if request.param == "folder" else f"memory://{tmp_path.name}/pictures")


def test_records_are_read_as_they_were_written(store: Store) -> None:
    request = ImageRequest(prompt="a cat", aspect_ratio="16:9", resolution="2K")
    task = Task(id="task_1", model="m", request=request)
    image = GeneratedImage(url="https://x/1", task_id="task_1", path=f"{store.place}/task_1-0.png", width=3, height=2)
    stored = store.keep_image(image, request=request, model="m", cost=Decimal("0.05"))
    store.keep_task(task)
    call = CallRecord(tool="generate_image", model="m", image_records=[ImageRecord(), ImageRecord()])
    store.begin_call("key", call)
    call.image_records[1] = ImageRecord(state="done", images=(stored.id,))
    store.keep_image_record("key", call, 1)
    call.image_records[0] = ImageRecord(state="task", task="task_1")
    store.keep_image_record("key", call, 0)
    for other in (store, pickle.loads(pickle.dumps(store)), Store(store.place)):
        assert other.image(stored.id) == stored
        assert other.images_of("task_1") == (stored,)
        assert other.task("task_1") == task
        assert other.call("key") == call
    store.forget_call("key")
    store.forget_call("key")
    assert store.call("key") is None


def test_a_line_that_was_cut_off_is_ignored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    call = CallRecord(tool="generate_image", model="m", image_records=[ImageRecord()])
    store.begin_call("key", call)
    with open(tmp_path / ".apimaster" / "calls" / "key.json", "ab") as file:
        file.write(b'{"index":0,"state":"ta')
    assert store.call("key") == call


def test_the_format_on_the_disk_stays_as_older_versions_wrote_it(tmp_path: Path) -> None:
    text = (
        b'{"tool":"generate_image","model":"m","jobs":[{"state":"sent","images":[],"billed":"maybe"}]}\n'
        b'{"index": 0, "job": {"state": "task", "task": "task_1", "images": [], "billed": "maybe"}}\n'
    )
    call = CallRecord(tool="generate_image", model="m", image_records=[ImageRecord()])
    store = Store(tmp_path)
    store.begin_call("key", call)
    call.image_records[0] = ImageRecord(state="task", task="task_1")
    store.keep_image_record("key", call, 0)
    assert (tmp_path / ".apimaster" / "calls" / "key.json").read_bytes() == text
    assert store.call("key") == call


def test_the_content_of_a_picture(store: Store, png: bytes) -> None:
    store._files.write("task_1-0.png", png)
    image = GeneratedImage(task_id="task_1", path=f"{store.place}/task_1-0.png")
    content = store.content(store.keep_image(image, request=None, model="m", cost=None))
    assert (content if isinstance(content, bytes) else content.read_bytes()) == png


def test_ids_are_short_and_the_same_for_the_same_output() -> None:
    first = image_id("task_1")
    assert IMAGE_ID.fullmatch(first)
    assert image_id("task_1", 0) == first
    assert image_id("task_1", 1) != first
    assert image_id(None) != image_id(None)


@pytest.mark.parametrize("word", ["img_", "img_AAAAAAAAAAAA", "img_aaaaaaaaaaaa/../x", "../img_aaaaaaaaaaaa", ""])
def test_a_malformed_id_is_not_looked_up(store: Store, word: str) -> None:
    assert store.image(word) is None


def test_a_task_id_from_outside_names_no_other_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_task(Task(id="../../escape", model="m"))
    assert store.task("../../escape") is not None
    assert [path.name for path in tmp_path.parent.rglob("escape*")] == []


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


FILE_NAMES = {
    # ids as the gateway and the emulator give them name their own files
    "task_01K8SGYNNNVBQTXNR4MM964S7K": "task_01K8SGYNNNVBQTXNR4MM964S7K",
    "task_1": "task_1",
    "0": "0",
    "-_a_-": "-_a_-",
    "a" * 120: "a" * 120,
    "console": "console",
    "com": "com",
    "com10": "com10",
    "_con": "_con",
    "nul-1": "nul-1",
    # every other id is hashed, as before
    "a" * 121: sha256("a" * 121),
    "": sha256(""),
    "-_-": sha256("-_-"),
    "task.1": sha256("task.1"),
    "../../escape": sha256("../../escape"),
    "C:\\task": sha256("C:\\task"),
    "task_1 ": sha256("task_1 "),
    "task_1\n": sha256("task_1\n"),
    "task_é": sha256("task_é"),
    # and so are the names that Windows reserves
    **{
        name: sha256(name)
        for device in ("con", "prn", "aux", "nul", "com0", "com1", "com9", "lpt1", "com¹", "lpt³", "conin$", "conout$")
        for name in (device, device.upper(), device.title(), f"{device}.", f"{device}.json", f"{device} ")
    },
    "task_1.": sha256("task_1."),
    # a name that looks like a hash could be the hash of another id
    sha256("con"): sha256(sha256("con")),
    "f" * 64: sha256("f" * 64),
    "F" * 64: sha256("F" * 64),
}


@pytest.mark.parametrize("task_id", FILE_NAMES)
def test_a_task_id_becomes_a_file_name_that_every_system_takes(task_id: str) -> None:
    assert task_file_name(task_id) == FILE_NAMES[task_id]


def test_each_task_id_has_a_file_of_its_own() -> None:
    assert len({name.casefold() for name in FILE_NAMES.values()}) == len(FILE_NAMES)


def test_a_file_system_that_ignores_case_does_not_mix_tasks_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_task(Task(id="task_A", model="m"))
    folder = tmp_path / ".apimaster" / "tasks"
    (folder / "task_A.json").rename(folder / "task_a.json")  # what such a file system returns for task_a
    assert store.task("task_a") is None


def test_a_store_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with pytest.raises(BadRequestError, match="the application's store can't be written"):
        store.begin_call("key", CallRecord(tool="t", model="m", image_records=[]))
    with caplog.at_level(logging.ERROR):  # a paid picture is still delivered, and the log names the file
        store.keep_task(Task(id="task_1", model="m"))
    assert "tasks/task_1.json" in caplog.text


def test_a_damaged_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_task(Task(id="task_1", model="m"))
    (tmp_path / ".apimaster" / "tasks" / "task_1.json").write_text("{")
    with pytest.raises(BadRequestError, match=r"damaged record: \.apimaster/tasks/task_1\.json"):
        store.task("task_1")


def test_a_write_that_fails_leaves_the_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.keep_task(Task(id="task_1", model="m"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        store.keep_task(Task(id="task_1", model="other"))
    found = store.task("task_1")
    assert found is not None
    assert found.model == "m"
    assert [path.name for path in tmp_path.rglob("*.part")] == []


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_place() == tmp_path / "apimaster" / "langchain"
    assert Store().place == str(tmp_path / "apimaster" / "langchain")
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_place().parts[-4:-2] == ("Library", "Application Support")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_place() == tmp_path / "local" / "apimaster" / "langchain"


def test_a_relative_path_is_recorded_as_an_absolute_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("pictures/")
    image = GeneratedImage(task_id="task_1", path=Path("pictures/task_1-0.png"))
    stored = store.keep_image(image, request=None, model="m", cost=None)
    assert stored.path == str(tmp_path / "pictures" / "task_1-0.png")
    assert store.image(stored.id) == stored
