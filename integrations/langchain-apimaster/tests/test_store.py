"""The store keeps pictures and records alike in a folder and behind fsspec, for every process that shares it."""

from __future__ import annotations

import logging
import os
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apimaster import BadRequestError, GeneratedImage, ImageRequest
from langchain_apimaster import StoredImage
from langchain_apimaster.records import IMAGE_ID, image_id, image_id_without_task
from langchain_apimaster.store import Store, default_place


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "a" / "b" if request.param == "folder" else f"memory://{tmp_path.name}/pictures")


def keep(store: Store, image: GeneratedImage, **facts: Any) -> StoredImage:
    known = {"request": None, "model": "m", "cost": None, **facts}
    return store.keep_image(image, image_id(image.task_id, image.output_index), **known)


def test_records_are_read_as_they_were_written(store: Store) -> None:
    request = ImageRequest(prompt="a cat", aspect_ratio="16:9", resolution="2K")
    image = GeneratedImage(url="https://x/1", task_id="task_1", path=f"{store.place}/task_1-0.png", width=3, height=2)
    stored = keep(store, image, request=request, cost=Decimal("0.05"))
    for other in (store, pickle.loads(pickle.dumps(store)), Store(store.place)):
        assert other.image(stored.id) == stored
        assert other.images_of("task_1") == (stored,)


def test_a_picture_that_is_there_keeps_its_record(store: Store, png: bytes) -> None:
    image = GeneratedImage(task_id="task_1", path=f"{store.place}/task_1-0.png", width=3)
    first = keep(store, image)
    assert not store.has_file(first)
    changed = keep(store, image.model_copy(update={"width": 4}))
    assert changed.width == 4
    store._files.write("task_1-0.png", png)
    assert store.has_file(first)
    assert keep(store, image) == changed


def test_a_store_that_was_moved_knows_where_its_pictures_are(store: Store) -> None:
    stored = keep(store, GeneratedImage(task_id="task_1", path="/elsewhere/task_1-0.png"))
    found = store.image(stored.id)
    assert found is not None
    assert found.path == f"{store.place}/task_1-0.png"


def test_a_record_that_another_process_is_writing_is_written_again(store: Store) -> None:
    image = GeneratedImage(task_id="task_1", path=f"{store.place}/task_1-0.png")
    stored = keep(store, image)
    for half in (b"", b'{"id":"img'):
        store.write(f".apimaster/images/{stored.id}.json", half)
        assert store.images_of("task_1") == ()
        assert keep(store, image) == stored == store.image(stored.id)


def test_names(store: Store) -> None:
    assert store.names(".apimaster/calls") == []
    for name in ("b.json", "a.json"):
        store.write(f".apimaster/calls/{name}", b"{}")
    assert store.names(".apimaster/calls") == ["a.json", "b.json"]
    assert store.read(".apimaster/calls/a.json") == b"{}"


def test_a_namespace_has_a_folder_of_its_own(store: Store, png: bytes) -> None:
    names = ["tenant", "Tenant", "../tenant", "con", "a" * 300, "tenänt", "."]
    stores = [Store(store.root, name) for name in names]
    assert len({each.place.casefold() for each in stores}) == len(names)
    for each in stores:
        assert os.path.dirname(os.path.abspath(each.place)) == os.path.abspath(store.root) or "://" in each.root
        assert Store(store.root, each.namespace).place == each.place
    image = keep(stores[0], GeneratedImage(task_id="task_1", path=f"{stores[0].place}/task_1-0.png"))
    assert [each.image(image.id) for each in (store, *stores[1:])] == [None] * len(names)
    assert stores[0].location == store.location
    assert stores[0].records == store.records


def test_the_content_of_a_picture(store: Store, png: bytes) -> None:
    store._files.write("task_1-0.png", png)
    image = GeneratedImage(task_id="task_1", path=f"{store.place}/task_1-0.png")
    content = store.content(keep(store, image))
    assert (content if isinstance(content, bytes) else content.read_bytes()) == png


def test_ids_are_short_and_the_same_for_the_same_output() -> None:
    first = image_id("task_1")
    assert IMAGE_ID.fullmatch(first)
    assert image_id("task_1", 0) == first
    assert image_id("task_1", 1) != first
    assert image_id(None) != image_id(None)
    assert IMAGE_ID.fullmatch(image_id_without_task("key", 0, 0))
    assert len({image_id_without_task("key", index, position) for index in (0, 1) for position in (0, 1)}) == 4


@pytest.mark.parametrize("word", ["img_", "img_AAAAAAAAAAAA", "img_aaaaaaaaaaaa/../x", "../img_aaaaaaaaaaaa", ""])
def test_a_malformed_id_is_not_looked_up(store: Store, word: str) -> None:
    assert store.image(word) is None


def test_a_store_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with caplog.at_level(logging.ERROR):  # a paid picture is still delivered, and the log names the file
        store.write(".apimaster/images/img_aaaaaaaaaaaa.json", b"{}")
    assert "images/img_aaaaaaaaaaaa.json" in caplog.text
    with pytest.raises(BadRequestError, match="the application's store can't be read"):
        store.image("img_aaaaaaaaaaaa")


def test_a_damaged_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stored = keep(store, GeneratedImage(task_id="task_1", path=tmp_path / "task_1-0.png"))
    (tmp_path / ".apimaster" / "images" / f"{stored.id}.json").write_text("{")
    with pytest.raises(BadRequestError, match=rf"damaged record: \.apimaster/images/{stored.id}\.json"):
        store.image(stored.id)


def test_a_write_that_fails_leaves_the_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    image = GeneratedImage(task_id="task_1", path=tmp_path / "task_1-0.png", width=3)
    stored = keep(store, image)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        keep(store, image.model_copy(update={"width": 4}))
    assert store.image(stored.id) == stored
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
    stored = keep(store, image)
    assert stored.path == str(tmp_path / "pictures" / "task_1-0.png")
    assert store.image(stored.id) == stored
