"""From the call to the file, and from the file to the call, through both clients against the emulator.

Every test checks three things: the result, the files on the disk, and the bill.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pytest
from blockbuster import blockbuster_ctx
from doors import Door
from PIL import Image

from apimaster import AsyncAPIMaster, ImageRequest
from apimaster._images.inspect import inspect
from apimaster.emulator import Emulator
from apimaster.emulator.options import DEFAULT_URL_LIFETIME
from apimaster.errors import BadRequestError, DownloadError, ReferenceImageError, ResultExpiredError
from apimaster.results import GeneratedImage, Progress, Task

ONE = Decimal("0.0375")
pytestmark = pytest.mark.usefixtures("without_pauses")


@pytest.fixture
def emu(server: Emulator) -> Iterator[Emulator]:
    server.reset()
    yield server
    assert server.complaints == []
    assert not server.cdn_saw_key


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest, emu: Emulator) -> Door:
    return Door(request.param, emu)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def routes(emu: Emulator) -> list[str]:
    """The requests for pictures, after the task had succeeded."""
    return [record.route for record in emu.requests if record.route in ("download", "output")]


@contextlib.contextmanager
def another_emulator(server: Emulator, **settings: Any) -> Iterator[Emulator]:
    """Another emulator, for settings that can't be changed on a running one."""
    with Emulator(**{"pictures": "plain", **settings}) as emu:
        yield emu


# --- saving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_a_folder(door: Door, mode: str, tmp_path: Path) -> None:
    result = door("generate", "A cat", aspect_ratio="16:9", mode=mode, save_to=tmp_path / "out")
    (image,) = result.images
    (name,) = listing(tmp_path)
    assert image.path == tmp_path / name
    if mode != "sync":
        assert image.path == tmp_path / "out" / f"{result.tasks[0].id}-0.png"
    assert (image.media_type, image.width, image.height) == ("image/png", 1376, 768)
    assert image.deviations == ()
    assert image.path.read_bytes() == door("read", image)
    assert result.cost == door.emu.bill.total == ONE


@pytest.mark.parametrize("size", [("21:9", "0.5K"), ("1:8", "1K"), ("3:2", "2K")])
def test_a_file_of_the_requested_pixels(door: Door, size: tuple[str, str], tmp_path: Path) -> None:
    result = door("generate", "A cat", aspect_ratio=size[0], resolution=size[1], save_to=tmp_path / "new" / "cat.png")
    assert result.images[0].path == tmp_path / "new" / "cat.png"
    assert listing(tmp_path) == ["new/cat.png"]
    with Image.open(result.images[0].path) as picture:
        assert picture.size == result.request.pixels == (result.images[0].width, result.images[0].height)


def test_urls_behind_fsspec(door: Door, tmp_path: Path) -> None:
    for url in (f"memory://{secrets.token_hex(4)}/out/", tmp_path.as_uri() + "/"):
        task = door("submit", "A cat")
        result = door("wait", task, save_to=url)
        assert result.images[0].path == f"{url}{task.id}-0.png"
        with fsspec.open(result.images[0].path, "rb") as file:
            assert file.read() == door("read", result.images[0])
    assert len(door.emu.bill.standing) == 2


def test_several_images_into_files_and_into_a_folder(door: Door, tmp_path: Path) -> None:
    result = door("generate", "A cat", n=3, save_to=tmp_path / "cat.png")
    assert [image.path for image in result.images] == [tmp_path / f"cat-{number}.png" for number in (1, 2, 3)]
    result = door("generate", "A cat", n=3, save_to=tmp_path / "out/")
    assert len(listing(tmp_path / "out")) == 3
    assert {str(image.path) for image in result.images} == {
        str(tmp_path / "out" / x) for x in listing(tmp_path / "out")
    }
    assert door.emu.bill.total == 6 * ONE


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"picture_format": "jpeg"}, "auto"),
        ({"picture_format": "jpeg", "dialect": "lying_ending"}, "auto"),
        ({"picture_format": "jpeg", "dialect": "legacy+url_list"}, "auto"),
        ({"picture_format": "jpeg", "dialect": "b64"}, "sync"),
        ({"picture_format": "jpeg", "dialect": "submit_as_image+b64"}, "auto"),
        ({"picture_format": "jpeg", "dialect": "sync_as_task"}, "sync"),
        ({"picture_format": "jpeg", "cdn": True}, "auto"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_the_ending_follows_the_bytes(
    server: Emulator, kind: str, settings: dict[str, Any], mode: str, tmp_path: Path
) -> None:
    with another_emulator(server, **settings) as emu:
        result = Door(kind, emu)("generate", "A cat", mode=mode, save_to=tmp_path / "cat.png")
        assert result.images[0].path == tmp_path / "cat.jpg"
        assert result.images[0].media_type == "image/jpeg"
        assert listing(tmp_path) == ["cat.jpg"]
        assert emu.bill.total == ONE
        assert not emu.cdn_saw_key


def test_waiting_again_makes_no_copy_and_costs_nothing(door: Door, tmp_path: Path) -> None:
    task = door("submit", "A cat")
    first = door("wait", task, save_to=tmp_path)
    # as another process would, from what was stored
    again = door("wait", Task.model_validate_json(task.model_dump_json()), save_to=tmp_path)
    by_id = door("wait", task.id, save_to=tmp_path)
    assert first.images[0].path == again.images[0].path == by_id.images[0].path
    assert listing(tmp_path) == [f"{task.id}-0.png"]
    assert door.emu.bill.total == ONE


def test_other_files_are_not_overwritten(door: Door, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"precious")
    result = door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert result.images[0].path == tmp_path / "cat-2.png"
    assert (tmp_path / "cat.png").read_bytes() == b"precious"


def test_download_and_read_later(door: Door, tmp_path: Path) -> None:
    (image,) = door("generate", "A cat").images
    assert (image.path, image.width) == (None, None)
    stored = GeneratedImage.model_validate_json(image.model_dump_json())
    path = door("download", stored, tmp_path / "cat.png")
    assert path == tmp_path / "cat.png"
    assert path.read_bytes() == door("read", stored)
    assert inspect(path.read_bytes()).width == 1024
    assert door.emu.bill.total == ONE


@pytest.mark.parametrize("save_to", ["cat.gif", "file/cat.png", "file/", "nowhere://x/", ""])
def test_a_place_that_cannot_be_written_costs_nothing(
    door: Door, save_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadRequestError, match="save_to"):
        door("generate", "A cat", save_to=save_to)
    assert door.emu.requests == []
    assert listing(tmp_path) == ["file"]


# --- downloads that fail -----------------------------------------------------------------------------------------

PASSING = [
    "download_500", "download_503", "download_429", "download_cut", "download_truncated", "download_html_as_png",
    "download_cut_short", "download_empty",
]  # fmt: skip


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_retried(door: Door, fault: str, tmp_path: Path) -> None:
    door.emu.script(fault, times=2)
    result = door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert listing(tmp_path) == ["cat.png"]
    assert result.images[0].width == 1024
    assert routes(door.emu) == ["download"] * 3
    assert door.emu.bill.total == ONE


LASTING = [
    "download_expired", "download_404", "download_410", "download_500", "download_truncated", "download_html_as_png",
    "download_cut_short", "download_redirect_private", "download_redirect_loop", "download_oversized",
]  # fmt: skip


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_leads_to_the_durable_output(
    door: Door, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apimaster._flows.download.MAX_PICTURE_BYTES", 2_000_000)
    door.emu.script(fault, times=None)
    result = door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert listing(tmp_path) == ["cat.png"]
    assert result.images[0].path == tmp_path / "cat.png"
    assert routes(door.emu)[0] == "download"
    assert routes(door.emu)[-1] == "output"
    assert routes(door.emu).count("output") == 1
    assert door.emu.bill.total == ONE


def test_an_expired_url(door: Door, tmp_path: Path) -> None:
    (image,) = door("generate", "A cat").images
    door.emu.advance(DEFAULT_URL_LIFETIME + 1)
    assert door("download", image, tmp_path) == tmp_path / f"{image.task_id}-0.png"
    assert routes(door.emu) == ["download", "output"]


def test_a_redirect_is_followed_without_the_key(door: Door, tmp_path: Path) -> None:
    door.emu.script("download_redirect")
    door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert listing(tmp_path) == ["cat.png"]
    (at_cdn,) = door.emu.cdn_requests
    assert not at_cdn.had_authorization
    assert "output" not in routes(door.emu)


def test_a_stalled_download(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apimaster._drivers.httpx.STALLED", 0.05)
    door.emu.script("download_hang")
    door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert listing(tmp_path) == ["cat.png"]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("download_expired", "download_404", ResultExpiredError),
        ("download_404", "download_404", ResultExpiredError),
        ("download_500", "download_404", DownloadError),
        ("download_expired", "download_html_as_png", DownloadError),
        ("download_oversized", "download_cut_short", DownloadError),
    ],
)
def test_a_picture_that_no_source_delivers_can_be_downloaded_later(
    door: Door, first: str, second: str, kind: type[DownloadError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apimaster._flows.download.MAX_PICTURE_BYTES", 2_000_000)
    door.emu.script(first, times=None)
    door.emu.script(second, times=None, on="output")
    with pytest.raises(DownloadError, match="a second charge") as lost:
        door("generate", "A cat", save_to=tmp_path / "cat.png")
    error = lost.value
    assert type(error) is kind
    assert (error.billed, error.retryable) == ("yes", False)
    assert error.task is not None
    assert listing(tmp_path) == []
    door.emu.clear_script()
    assert door("download", error.images[0], tmp_path / "cat.png") == tmp_path / "cat.png"
    assert door("wait", error.task, save_to=tmp_path / "cat.png").images[0].path == tmp_path / "cat.png"
    assert listing(tmp_path) == ["cat.png"]
    assert door.emu.bill.total == ONE


def test_wrong_pixels_are_kept_recorded_and_warned_about(
    door: Door, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    door.emu.script("download_wrong_pixels")
    result = door("generate", "A cat", aspect_ratio="1:1", save_to=tmp_path / "cat.png")
    (image,) = result.images
    assert (image.width, image.height) == (512, 512)
    (deviation,) = image.deviations
    assert deviation.endswith("1024×1024 pixels; delivered 512×512")
    assert deviation in caplog.text
    assert listing(tmp_path) == ["cat.png"]


def test_another_format_than_the_url_says(door: Door, tmp_path: Path) -> None:
    door.emu.script("download_wrong_format")
    result = door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert result.images[0].media_type == "image/jpeg"
    assert listing(tmp_path) == ["cat.jpg"]


def test_a_broken_picture_inside_a_reply(door: Door, tmp_path: Path) -> None:
    body = '{"created":1,"data":[{"b64_json":"' + base64.b64encode(b"<html>no picture</html>").decode() + '"}]}'
    door.emu.script("reply", body=body)
    with pytest.raises(DownloadError, match="not a whole picture: this is an HTML page") as lost:
        door("generate", "A cat", mode="sync", save_to=tmp_path / "cat.png")
    assert type(lost.value) is DownloadError
    assert listing(tmp_path) == []


def test_a_disk_that_is_full_at_the_last_moment(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        with pytest.raises(DownloadError, match="No space left on device") as lost:
            door("generate", "A cat", save_to=tmp_path / "cat.png")
    assert listing(tmp_path) == []
    assert door("download", lost.value.images[0], tmp_path / "cat.png") == tmp_path / "cat.png"
    assert door.emu.bill.total == ONE


def test_cancelling_leaves_no_file_behind(emu: Emulator, tmp_path: Path) -> None:
    emu.script("download_slow", seconds=30)

    async def main() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            began = asyncio.Event()

            async def note(progress: Progress) -> None:
                if progress.stage == "downloading":
                    began.set()

            work = asyncio.create_task(client.generate("A cat", save_to=tmp_path / "cat.png", on_progress=note))
            await began.wait()
            while not emu.requests_to("download"):
                await asyncio.sleep(0.005)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(main())
    assert listing(tmp_path) == []


# --- references --------------------------------------------------------------------------------------------------


def drawn(kind: str = "PNG", colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def noise(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", size, secrets.token_bytes(3 * size[0] * size[1])).save(out, "PNG", compress_level=1)
    return out.getvalue()


def seen(emu: Emulator, number: int = 0) -> list[str | None]:
    """The references of one generation as they arrived: digests of bytes, and URLs."""
    record = [record for record in emu.requests if record.route in ("sync", "submit")][number]
    return [reference.url or reference.sha256 for reference in record.references]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_references_of_every_kind_arrive_byte_by_byte(door: Door, mode: str, tmp_path: Path) -> None:
    png, jpeg, webp, large = drawn("PNG"), drawn("JPEG"), drawn("WEBP"), noise((900, 700))
    (tmp_path / "a.png").write_bytes(large)
    (tmp_path / "lies.gif").write_bytes(webp)
    url = "https://example.com/cat.png?a=1&b=ü"
    image = Image.new("RGB", (50, 20), "green")
    stream = io.BytesIO(b"skipped" + jpeg)
    stream.seek(7)
    with open(tmp_path / "a.png", "rb") as file:
        door(
            "generate",
            "A cat",
            mode=mode,
            references=[
                str(tmp_path / "a.png"),
                tmp_path / "lies.gif",
                url,
                png,
                "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
                stream,
                file,
                image,
            ],
        )
    out = io.BytesIO()
    image.save(out, "PNG")
    expected = [large, webp, b"", png, jpeg, jpeg, large, out.getvalue()]
    assert seen(door.emu) == [url if not data else digest(data) for data in expected]
    record = next(record for record in door.emu.requests if record.references)
    assert [one.media_type for one in record.references] == [
        "image/png", "image/webp", None, "image/png", "image/jpeg", "image/jpeg", "image/png", "image/png",
    ]  # fmt: skip
    assert record.headers["content-length"] == str(record.body_size)
    assert "transfer-encoding" not in record.headers
    assert door.emu.bill.total == ONE


def test_as_many_references_as_the_model_accepts(door: Door, tmp_path: Path) -> None:
    pictures = [noise((300, 200)) for _ in range(16)]
    paths = []
    for number, data in enumerate(pictures):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(data)
    door("generate", "A cat", model="gpt-image-2", references=paths)
    assert seen(door.emu) == [digest(data) for data in pictures]
    with pytest.raises(ReferenceImageError, match="at most 14"):
        door("generate", "A cat", references=paths[:15])
    assert len(door.emu.bill) == 1


def test_each_image_and_each_retry_sends_everything(door: Door, tmp_path: Path) -> None:
    png, streamed = noise((400, 300)), noise((300, 200))
    (tmp_path / "a.png").write_bytes(png)
    door.emu.script("rate_limited", retry_after=0)
    door("generate", "A cat", n=2, references=[tmp_path / "a.png", io.BytesIO(streamed)])
    for number in range(3):
        assert seen(door.emu, number) == [digest(png), digest(streamed)]
    assert door.emu.bill.total == 2 * ONE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "this is HEIC"),
        (drawn("GIF"), "this is GIF"),
        (drawn()[:-5], "cut short"),
        (drawn() + b"\0" * 10 * 1024 * 1024, "larger than the 10 MiB"),
    ],
)
def test_a_reference_that_is_refused_costs_nothing(door: Door, data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    for value in (tmp_path / "x.png", data):
        with pytest.raises(ReferenceImageError, match=f"reference 2 .*{reason}") as refused:
            door("generate", "A cat", references=["https://example.com/a.png", value])
        assert refused.value.billed == "no"
    assert door.emu.requests == []


CHANGES: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(path.read_bytes() + b"x"),
    lambda path: os.truncate(path, 100_000),
    lambda path: path.unlink(),
]


@pytest.mark.parametrize("change", CHANGES, ids=["grown", "cut", "removed"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_reference_that_changes_before_it_is_sent_costs_nothing(
    door: Door, mode: str, change: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(noise((900, 700)))

    def at_the_last_moment(progress: Progress) -> None:
        if progress.stage == "submitting":
            change(path)

    with pytest.raises(ReferenceImageError, match=r"was changed|can't be read any more") as refused:
        door("generate", "A cat", mode=mode, references=[path], on_progress=at_the_last_moment)
    assert refused.value.billed == "no"
    assert len(door.emu.bill) == 0
    assert door.emu.jobs == []


def test_a_stored_request_can_be_sent_again_if_its_pictures_are_files(door: Door, tmp_path: Path) -> None:
    png = noise((30, 20))
    (tmp_path / "a.png").write_bytes(png)
    result = door("generate", ImageRequest(prompt="A cat", references=(tmp_path / "a.png", "https://example.com/b")))  # type: ignore[arg-type]
    stored = type(result).model_validate_json(result.model_dump_json())
    assert stored.request == result.request
    door("generate", stored.request)
    assert seen(door.emu, 1) == [digest(png), "https://example.com/b"]

    result = door("generate", "A cat", references=[png])
    stored = type(result).model_validate_json(result.model_dump_json())
    assert base64.b64encode(png)[:40].decode() not in result.model_dump_json()
    with pytest.raises(ReferenceImageError, match="pass the bytes again"):
        door("generate", stored.request)
    assert len(door.emu.bill) == 3


def test_the_loop_is_never_blocked(emu: Emulator, tmp_path: Path) -> None:
    """Neither by references nor by saving, nor by a download that fails."""
    (tmp_path / "a.png").write_bytes(noise((900, 700)))

    async def main() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            await client.models()  # loads the modules that the first call needs
            with blockbuster_ctx(excluded_modules=["apimaster.emulator"]):
                request = ImageRequest(prompt="A cat", references=(tmp_path / "a.png", "~/b.png"))  # type: ignore[arg-type]
                with pytest.raises(ReferenceImageError):
                    await client.generate(request, save_to=tmp_path / "out")
                result = await client.generate(
                    request, n=2, references=[tmp_path / "a.png", io.BytesIO(drawn())], save_to=tmp_path / "out/"
                )
                emu.script("download_404", times=None)
                emu.script("download_cut_short", times=None, on="output")
                with pytest.raises(DownloadError):
                    await client.download(result.images[0], tmp_path / "never")

    asyncio.run(main())
    assert len(listing(tmp_path / "out")) == 2
    assert listing(tmp_path / "never") == []
