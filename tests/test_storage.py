"""Saving: folders, names, and that nothing is lost, overwritten or left over."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from apimaster._images.inspect import NotAPicture, Picture
from apimaster._storage import local, remote
from apimaster._storage.target import MemorySink, PendingFile, SavedPicture, Target
from apimaster.errors import BadRequestError


def drawn(kind: str = "PNG", colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(out, kind)
    return out.getvalue()


PNG, JPEG, WEBP = drawn("PNG"), drawn("JPEG"), drawn("WEBP")


def save(save_to: str | os.PathLike[str], data: bytes = PNG, stem: str = "task_1-0", **place: int) -> SavedPicture:
    target = Target.parse(save_to)
    target.check()
    pending = target.open(stem, **place)
    for start in range(0, len(data), 50):
        pending.write(data[start : start + 50])
    return pending.commit()


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- folders and names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("save_to", "data", "expected"),
    [
        ("out", PNG, "out/task_1-0.png"),
        ("out/", JPEG, "out/task_1-0.jpg"),
        ("out.d/", WEBP, "out.d/task_1-0.webp"),
        ("deep/er/", PNG, "deep/er/task_1-0.png"),
        (".", PNG, "task_1-0.png"),
        ("there", PNG, "there/task_1-0.png"),
        ("there.png", PNG, "there.png/task_1-0.png"),
        ("cat.png", PNG, "cat.png"),
        ("new/cat.png", PNG, "new/cat.png"),
        ("cat.png", JPEG, "cat.jpg"),
        ("cat.jpeg", JPEG, "cat.jpeg"),
        ("cat.JPG", JPEG, "cat.JPG"),
        ("cat.PNG", WEBP, "cat.webp"),
        ("my.cat.v2.png", JPEG, "my.cat.v2.jpg"),
        (".hidden.png", PNG, ".hidden.png"),
        ("a b ü%20.png", PNG, "a b ü%20.png"),
    ],
)
def test_the_path_of_a_picture(
    save_to: str, data: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there.png").mkdir()
    saved = save(save_to, data)
    assert listing(tmp_path) == [expected]
    assert saved.path == Path(expected)
    assert (tmp_path / expected).read_bytes() == data
    assert (saved.size, saved.picture.width, saved.picture.height) == (len(data), 20, 10)


def test_path_objects_home_and_file_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert save(tmp_path / "a.png").path == tmp_path / "a.png"
    assert save("~/b.png").path == tmp_path / "b.png"
    url = (tmp_path / "ü c.png").as_uri()
    assert save(url).path == url
    assert save(tmp_path.as_uri()).path == (tmp_path / "task_1-0.png").as_uri()
    assert listing(tmp_path) == ["a.png", "b.png", "task_1-0.png", "ü c.png"]


def test_several_pictures_of_one_call(tmp_path: Path) -> None:
    names = [save(tmp_path / "cat.png", PNG, position=number, total=3).path for number in range(3)]
    assert names == [tmp_path / f"cat-{number}.png" for number in (1, 2, 3)]
    save(tmp_path / "folder/", PNG, stem="task_a-0", position=1, total=3)
    assert listing(tmp_path / "folder") == ["task_a-0.png"]


HOSTILE = [
    ("task_01K8SGYNNNVBQTXNR4MM964S7K-0", "task_01K8SGYNNNVBQTXNR4MM964S7K-0"),
    ("../../etc/passwd", "etc_passwd"),
    ("/etc/passwd", "etc_passwd"),
    ("..\\..\\x", "x"),
    (".bashrc", "bashrc"),
    ("a\0b\nc", "a_b_c"),
    ("C:evil", "C_evil"),
    ("con", "_con"),
    ("NUL.tar", "_NUL.tar"),
    ("x. ", "x"),
    ("~root", "root"),
    ("日本", "picture"),
    ("", "picture"),
    ("...", "picture"),
    ("a" * 1000, "a" * 120),
]


@pytest.mark.parametrize(("stem", "expected"), HOSTILE, ids=range(len(HOSTILE)))
def test_names_from_the_gateway_are_made_harmless(stem: str, expected: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    assert save(folder, stem=stem).path == folder / f"{expected}.png"
    assert listing(tmp_path) == [f"deep/out/{expected}.png"]


# --- refused before money is spent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("save_to", "reason"),
    [
        ("", "save_to is ''"),
        ("  ", "save_to is '  '"),
        ("a\0b", "save_to is"),
        (7, "save_to is 7; accepted: a folder, or a file"),
        (None, "save_to is None"),
        (b"out", "save_to is b'out'"),
        ("file://server/share/cat.png", "must be absolute"),
        ("ftp://me:s3cr3t@example.com/out/", "password"),
    ],
)
def test_values_that_parse_refuses(save_to: Any, reason: str) -> None:
    with pytest.raises(BadRequestError, match=reason) as refused:
        Target.parse(save_to)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("save_to", "reason"),
    [
        ("cat.gif", r"ends in '.gif'; accepted: .*For a folder of that name, add a slash"),
        ("results.v2", "ends in '.v2'"),
        ("file/", "can't be written"),
        ("file/cat.png", "can't be written: Not a directory"),
        ("file/deep/er/", "can't be written: Not a directory"),
        ("x" * 300 + "/", "can't be written: File name too long"),
        ("x" * 254 + ".png", "can't be written: File name too long"),
        ("/proc/none/", "can't be written"),
        ("nowhere://bucket/out/", "can't be opened: Protocol not known"),
        ("http://127.0.0.1:9/out/", "can't be (written|opened)"),
        ("memory://x/cat.gif", "ends in '.gif'"),
        ("nul.png", "Windows reserves the name 'nul'"),
        ("pictures/CON.jpg", "Windows reserves the name 'CON'"),
        ("com1.old.webp", "Windows reserves the name 'com1.old'"),
        ("LPT³.png", "Windows reserves"),
        ("cat..png", "Windows reserves the name 'cat.'"),
        ("memory://x/aux.png", "Windows reserves"),
    ],
)
def test_places_that_check_refuses(save_to: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadRequestError, match=reason):
        Target.parse(save_to).check()
    assert listing(tmp_path) == ["file"]


def test_check_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    Target.parse(tmp_path / "a" / "b" / "cat.png").check()
    assert (tmp_path / "a" / "b").is_dir()
    assert listing(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadRequestError, match="Permission denied"):
        Target.parse(tmp_path / "cat.png").check()


# --- never overwritten, never half, never left over --------------------------------------------------------------


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"precious")
    (tmp_path / "cat-2.png").mkdir()
    (tmp_path / "cat-3.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "cat-4.png")
    assert save(tmp_path / "cat.png").path == tmp_path / "cat-5.png"
    assert save(tmp_path / "cat.png", drawn(colour="blue")).path == tmp_path / "cat-6.png"
    assert (tmp_path / "cat.png").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_the_same_bytes_are_not_saved_twice(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"x" * len(PNG))  # as long, and different
    first = save(tmp_path / "cat.png")
    assert first.path == tmp_path / "cat-2.png"
    assert save(tmp_path / "cat.png") == first
    assert save(tmp_path) == save(tmp_path / "")
    assert listing(tmp_path) == ["cat-2.png", "cat.png", "task_1-0.png"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        saved = save(tmp_path / "cat.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(saved.path).st_mode) == 0o640


def test_no_file_before_the_first_byte_and_never_half_a_picture_under_its_name(tmp_path: Path) -> None:
    pending = Target.parse(tmp_path / "cat.png").open("x")
    assert listing(tmp_path) == []
    pending.write(PNG[:40])
    (part,) = listing(tmp_path)
    assert part.startswith(".")
    pending.discard()
    assert listing(tmp_path) == []


def test_a_download_that_starts_over(tmp_path: Path) -> None:
    pending = Target.parse(tmp_path / "cat.png").open("x")
    pending.reset()
    pending.write(b"<html>" * 1000)
    with pytest.raises(NotAPicture, match="HTML"):
        pending.commit()
    pending.reset()
    with pytest.raises(NotAPicture, match="it is empty"):
        pending.commit()
    pending.write(PNG[:40])
    with pytest.raises(NotAPicture, match="cut short"):
        pending.commit()
    pending.reset()
    pending.write(JPEG)
    assert pending.commit().picture == Picture("image/jpeg", 20, 10)
    pending.discard()
    assert listing(tmp_path) == ["cat.jpg"]


@pytest.mark.parametrize("end", [PendingFile.commit, PendingFile.discard])
def test_nothing_can_be_written_after_the_end(end: Callable[[PendingFile], object], tmp_path: Path) -> None:
    pending = Target.parse(tmp_path / "cat.png").open("x")
    pending.write(PNG)
    end(pending)
    before = listing(tmp_path)
    with pytest.raises(ValueError, match="committed or discarded"):
        pending.write(b"late")
    with pytest.raises(ValueError, match="committed or discarded"):
        pending.commit()
    pending.discard()
    assert listing(tmp_path) == before


def test_a_folder_that_vanished_is_made_again(tmp_path: Path) -> None:
    target = Target.parse(tmp_path / "out" / "cat.png")
    target.check()
    (tmp_path / "out").rmdir()
    pending = target.open("x")
    pending.write(PNG)
    assert pending.commit().path == tmp_path / "out" / "cat.png"


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    found: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


COLOURS = ["red", "green", "blue", "black", "white", "orange", "cyan", "purple"]


@pytest.mark.parametrize("place", ["local", "remote"])
def test_writers_of_the_same_name_at_the_same_time(place: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if place == "local" else f"memory://{secrets.token_hex(4)}"
    pictures = [drawn(colour=colour) for colour in COLOURS]
    saved = at_once(8, lambda number: save(f"{folder}/cat.png", pictures[number]))
    assert len({one.path for one in saved}) == 8
    for one, data in zip(saved, pictures, strict=True):
        with fsspec.open(str(one.path), "rb") as file:
            assert file.read() == data


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file system without hard links (FAT) can't be mounted here; this is its error.
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "cat.png").write_bytes(b"precious")
    saved = at_once(8, lambda number: save(tmp_path / "cat.png", drawn(colour=COLOURS[number])))
    assert len({one.path for one in saved}) == 8
    assert (tmp_path / "cat.png").read_bytes() == b"precious"
    assert len(listing(tmp_path)) == 9


def test_the_name_is_free_again_if_the_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "replace", no_links)
    pending = Target.parse(tmp_path / "cat.png").open("x")
    pending.write(PNG)
    with pytest.raises(OSError, match="not permitted"):
        pending.commit()
    assert [name[0] for name in listing(tmp_path)] == ["."]
    pending.discard()
    assert listing(tmp_path) == []


def test_a_full_disk() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "r+b") as file:
        spool = local.Spool(file)
        spool.file.write(PNG)
        with pytest.raises(OSError, match="No space left"):
            spool.file.flush()
        spool.drop()
    assert file.closed


def test_a_file_system_that_refuses_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "link", link)
    pending = Target.parse(tmp_path / "cat.png").open("x")
    pending.write(PNG)
    with pytest.raises(OSError, match="quota"):
        pending.commit()
    pending.discard()
    assert listing(tmp_path) == []


def test_random_names_follow_when_the_numbers_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apimaster._storage.file_names._MOST_NUMBERS", 4)
    for colour in COLOURS:
        save(tmp_path / "cat.png", drawn(colour=colour))
    names = listing(tmp_path)
    assert len(names) == 8
    assert {"cat.png", "cat-2.png", "cat-3.png"} < set(names)


# --- behind fsspec -----------------------------------------------------------------------------------------------


@pytest.fixture
def bucket() -> str:
    return f"memory://bucket-{secrets.token_hex(4)}"


@pytest.mark.parametrize(
    ("save_to", "data", "expected"),
    [
        ("", PNG, "/task_1-0.png"),
        ("/", PNG, "/task_1-0.png"),
        ("/deep/er", JPEG, "/deep/er/task_1-0.jpg"),
        ("/v1.5/", PNG, "/v1.5/task_1-0.png"),
        ("/cat.png", JPEG, "/cat.jpg"),
        ("/new/cat.webp", WEBP, "/new/cat.webp"),
    ],
)
def test_urls(save_to: str, data: bytes, expected: str, bucket: str) -> None:
    saved = save(bucket + save_to, data)
    assert saved.path == bucket + expected
    assert fsspec.open(saved.path, "rb").open().read() == data
    files = fsspec.filesystem("memory")
    assert files.find(bucket) == [str(saved.path).removeprefix("memory:/")]  # the probe is gone


def test_an_existing_folder_with_a_dot_in_its_name(bucket: str) -> None:
    fsspec.filesystem("memory").makedirs(f"{bucket}/v1.5")
    assert save(f"{bucket}/v1.5").path == f"{bucket}/v1.5/task_1-0.png"


def test_urls_are_never_overwritten_nor_written_twice(bucket: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file(f"{bucket}/cat.png", b"x" * len(PNG))
    files.makedirs(f"{bucket}/cat-2.png")
    assert save(f"{bucket}/cat.png").path == f"{bucket}/cat-3.png"
    assert save(f"{bucket}/cat.png").path == f"{bucket}/cat-3.png"
    assert save(f"{bucket}/cat.png", JPEG).path == f"{bucket}/cat.jpg"
    assert files.cat_file(f"{bucket}/cat.png") == b"x" * len(PNG)


class Disk(LocalFileSystem):  # type: ignore[misc]
    """A remote disk with a rename of its own, as SFTP has one."""

    protocol = "testdisk"
    root_marker = "/"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        # Older versions of fsspec know the protocols of a local disk only.
        return str(super()._strip_protocol(str(path).removeprefix("testdisk://")))


class Store(MemoryFileSystem):  # type: ignore[misc]
    """An object store: it has no folders, and must not be asked to make one."""

    protocol = ("gs", "teststore")
    store: dict[str, Any] = {}  # noqa: RUF012  # as its base class has it
    pseudo_dirs = [""]  # noqa: RUF012

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise AssertionError("this would make a bucket")


class Refusing(MemoryFileSystem):  # type: ignore[misc]
    """Raises errors of its own, as every backend does."""

    protocol = "testrefusing"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        raise RuntimeError("NoSuchBucket")

    def isdir(self, path: str) -> bool:
        raise RuntimeError("AccessDenied")


@pytest.fixture
def backends() -> None:
    for name, backend in (("testdisk", Disk), ("teststore", Store), ("testrefusing", Refusing)):
        fsspec.register_implementation(name, backend, clobber=True)


@pytest.mark.usefixtures("backends")
def test_a_backend_with_a_rename(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"precious")
    url = f"testdisk://{tmp_path}/cat.png"
    assert save(url).path == f"testdisk://{tmp_path}/cat-2.png"
    assert listing(tmp_path) == ["cat-2.png", "cat.png"]
    assert (tmp_path / "cat-2.png").read_bytes() == PNG


@pytest.mark.usefixtures("backends")
def test_a_rename_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mv(*_: object, **__: object) -> None:
        raise RuntimeError("connection lost")

    monkeypatch.setattr(Disk, "mv", mv)
    pending = Target.parse(f"testdisk://{tmp_path}/cat.png").open("x")
    pending.write(PNG)
    with pytest.raises(OSError, match="RuntimeError: connection lost"):
        pending.commit()
    pending.discard()
    assert listing(tmp_path) == []


@pytest.mark.usefixtures("backends")
def test_an_upload_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no permission")

    pending = Target.parse(f"testdisk://{tmp_path}/cat.png").open("x")
    pending.write(PNG)
    monkeypatch.setattr(Disk, "_open", refuse)
    with pytest.raises(OSError, match="RuntimeError: no permission"):
        pending.commit()
    pending.discard()
    assert listing(tmp_path) == []


def test_a_name_that_is_being_written_is_taken(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = MemoryFileSystem.pipe_file
    others: list[SavedPicture] = []

    def slowly(self: MemoryFileSystem, path: str, value: bytes, **options: Any) -> None:
        if value == PNG:  # in the middle of it, another save uses the same name
            others.append(save(f"{bucket}/cat.png", drawn(colour="blue")))
        write(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", slowly)
    assert save(f"{bucket}/cat.png").path == f"{bucket}/cat.png"
    assert [other.path for other in others] == [f"{bucket}/cat-2.png"]


@pytest.mark.usefixtures("backends")
def test_an_object_store() -> None:
    assert save("teststore://bucket/out/").path == "teststore://bucket/out/task_1-0.png"
    assert save("teststore://bucket/out/").path == "teststore://bucket/out/task_1-0.png"
    ((key, file),) = Store.store.items()  # the probe is gone
    assert key.endswith("bucket/out/task_1-0.png")
    assert file.getvalue() == PNG


@pytest.mark.usefixtures("backends")
def test_errors_of_a_backend_come_before_money_is_spent() -> None:
    with pytest.raises(BadRequestError, match="can't be written: RuntimeError: NoSuchBucket"):
        Target.parse("testrefusing://bucket/out/").check()
    with pytest.raises(BadRequestError, match="can't be read: RuntimeError: AccessDenied"):
        Target.parse("testrefusing://bucket/v1.5").check()


def test_an_account_that_may_write_but_not_delete(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def rm_file(*_: object) -> None:
        raise RuntimeError("AccessDenied")

    monkeypatch.setattr(MemoryFileSystem, "rm_file", rm_file)
    assert save(f"{bucket}/cat.png").path == f"{bucket}/cat.png"


def test_a_place_is_checked_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Target.parse(f"{bucket}/").check()
    monkeypatch.setattr(remote.RemoteFolder, "_make_folder", lambda _: pytest.fail("asked again"))
    Target.parse(f"{bucket}/").check()


def test_without_fsspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(BadRequestError, match=r'pip install "apimaster\[storage\]"'):
        Target.parse("s3://bucket/cat.png").check()


# --- memory ------------------------------------------------------------------------------------------------------


def test_memory_sink() -> None:
    sink = MemorySink(len(PNG))
    sink.write(PNG)
    with pytest.raises(NotAPicture, match=f"larger than {len(PNG)} bytes"):
        sink.write(b"x")
    assert sink.commit() == PNG
    sink.reset()
    with pytest.raises(NotAPicture, match="it is empty"):
        sink.commit()
    sink.write(PNG[:-4])
    with pytest.raises(NotAPicture, match="cut short"):
        sink.commit()
