"""Hostile pictures at every place that reads one: a documented refusal, free and soon, or a picture. Nothing else."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from apimaster._images.inspect import NotAPicture, check_complete, inspect
from apimaster._references.checked import check_reference
from apimaster._references.reference import Reference
from apimaster._storage.target import MemorySink, Target
from apimaster.emulator.picture import Drawing, draw_picture
from apimaster.emulator.reference_images import UnusableReference, read_reference
from apimaster.errors import ReferenceImageError

LIMIT = 8 * 1024 * 1024
SECONDS = 3.0  # of computing for any one picture


# --- the pictures ----------------------------------------------------------------------------------------------------


def drawn(kind: str, *, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    size = struct.pack(">I", len(data) if length is None else length)
    return size + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments: bytes) -> bytes:
    whole = drawn("JPEG")
    return whole[:2] + b"".join(segments) + whole[2:]


def exif(*, next_ifd: int = 0, count: int = 1, order: str = "<", entries: int = 1, kind: int = 3) -> bytes:
    """EXIF with an orientation; ``next_ifd`` may point back at its own start."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, kind, count, 6, 0)
    return mark + struct.pack(order + "IH", 8, entries) + entry + struct.pack(order + "I", next_ifd)


def with_exif(data: bytes) -> bytes:
    return jpeg(segment(0xE1, b"Exif\0\0" + data))


def webp(kind: bytes, data: bytes, riff: int | None = None) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def tiff(next_ifd: int) -> bytes:
    whole = bytearray(drawn("TIFF"))
    start = struct.unpack("<I", whole[4:8])[0]
    entries = struct.unpack("<H", whole[start : start + 2])[0]
    at = start + 2 + 12 * entries
    whole[at : at + 4] = struct.pack("<I", next_ifd or start)
    return bytes(whole)


def box(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I", len(data) + 8 if size is None else size) + kind + data


ZEROS = zlib.compress(b"\0" * 30_000_000, 9)
MPO = drawn("MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
HOSTILE: dict[str, bytes] = {
    "png of no width": png(0, 30),
    "png of 4 gigapixels": png(65_535, 65_535, chunk(b"IDAT", ZEROS)),
    "png of the largest sides": png(2**32 - 1, 2**32 - 1, chunk(b"IDAT", b"x")),
    "png of 16 bits and 300 megapixels": png(17_000, 17_000, chunk(b"IDAT", ZEROS), depth=16, colour=6),
    "png below the limit of a bomb": png(12_000, 7_000, chunk(b"IDAT", ZEROS)),
    "png with a text that unfolds": png(40, 30, chunk(b"zTXt", b"a\0\0" + ZEROS), chunk(b"IDAT", b"x")),
    "png with a profile that unfolds": png(40, 30, chunk(b"iCCP", b"a\0\0" + ZEROS), chunk(b"IDAT", b"x")),
    "png with a chunk of 4 gigabytes": png(40, 30, chunk(b"tEXt", b"a\0b", length=2**32 - 1)),
    "png with a chunk of negative length": png(40, 30, chunk(b"IDAT", b"", length=2**31)),
    "png of an unknown colour": png(40, 30, chunk(b"IDAT", b"x"), depth=3, colour=5),
    "png without pixels": png(40, 30),
    "png with 100,000 chunks": png(40, 30, *[chunk(b"tEXt", b"a\0b")] * 100_000),
    "png with a broken checksum": drawn("PNG")[:29] + b"abcd" + drawn("PNG")[33:],
    "jpeg of no height": jpeg(segment(0xC0, b"\x08\0\0\0\x28\x03" + b"\1\x11\0" * 3)),
    "jpeg of the largest sides": jpeg(segment(0xC0, b"\x08\xff\xff\xff\xff\x03" + b"\1\x11\0" * 3)),
    "jpeg of fill bytes": b"\xff\xd8" + (b"\xff" * 500 + b"\x01") * 4_096 + b"\xff\xd9",
    "jpeg of stray bytes": b"\xff\xd8" + b"x" * 2_000_000,
    "jpeg of escaped bytes": b"\xff\xd8" + b"\xff\0" * 500_000,
    "jpeg of stray bytes between segments": b"\xff\xd8" + (b"x" * 60 + segment(0xE0, b"")) * 20_000,
    "jpeg of bare markers": b"\xff\xd8" + b"\xff\x01" * 200_000 + b"\xff\xd9",
    "jpeg of empty segments": b"\xff\xd8" + segment(0xE0, b"") * 100_000 + b"\xff\xd9",
    "jpeg with a segment of no length": jpeg(b"\xff\xe0\0\0"),
    "jpeg with a segment behind the end": jpeg(b"\xff\xe0\xff\xff"),
    "jpeg with a loop of IFDs": with_exif(exif(next_ifd=8)),
    "jpeg with a loop of IFDs, the other order": with_exif(exif(next_ifd=8, order=">")),
    "jpeg with a million orientations": with_exif(exif(count=2**32 - 1)),
    "jpeg with an IFD of 65,535 entries": with_exif(exif(entries=65_535)),
    "jpeg with an orientation that is a text": with_exif(exif(kind=2)),
    "jpeg with an orientation of an unknown type": with_exif(exif(kind=99)),
    "jpeg with an orientation that is a fraction": with_exif(exif(kind=5)),
    "jpeg with an IFD outside": with_exif(b"II*\0" + struct.pack("<I", 2**32 - 1)),
    "jpeg with EXIF cut short": with_exif(b"II*\0"),
    "jpeg with EXIF of nothing": with_exif(b""),
    "jpeg with a broken MPO index": jpeg(segment(0xE2, b"MPF\0II*\0" + struct.pack("<I", 2**32 - 1))),
    "jpeg with an MPO index that loops": jpeg(segment(0xE2, b"MPF\0" + exif(next_ifd=8))),
    "mpo": MPO,
    "mpo without its second picture": MPO[: len(MPO) // 2],
    "webp of the largest sides": webp(b"VP8X", b"\0\0\0\0" + b"\xff" * 6),
    "webp, lossless, of the largest sides": webp(b"VP8L", b"\x2f\xff\xff\xff\xff" + b"\0" * 20),
    "webp, lossy, of no width": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + b"\0" * 20),
    "webp that says it is empty": webp(b"VP8X", b"\0" * 10, riff=0),
    "webp that says it has 4 gigabytes": webp(b"VP8X", b"\0" * 10, riff=2**32 - 1),
    "webp with a frame behind the end": webp(b"VP8X", b"\x02" + b"\0" * 9 + b"ANMF\xff\xff\xff\xff"),
    "gif of the largest sides": b"GIF89a" + b"\xff" * 4 + b"\0" * 20,
    "bmp of negative sides": b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, -1, -(2**31)) + b"\0" * 40,
    "tiff with a loop of IFDs": tiff(0),
    "tiff with an IFD outside": tiff(2**32 - 1),
    "ico of 65,535 pictures": b"\0\0\1\0\xff\xff" + b"\0" * 100,
    "heic whose box has no size": box(b"ftyp", b"heic\0\0\0\0", size=0),
    "heic whose box is huge": box(b"ftyp", b"heic\0\0\0\0mif1", size=2**32 - 1),
    "avif whose boxes nest": box(b"ftyp", b"avif\0\0\0\0") + box(b"meta", b"", size=1) * 1000,
    "svg that unfolds": b'<!DOCTYPE svg [<!ENTITY a "' + b"&b;" * 1000 + b'">]><svg>&a;</svg>',
    "svg of huge sides": b'<svg width="1e999" height="-1"/>',
}
VALID = {
    **{kind: drawn(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")},
    "palette": drawn("PNG", mode="P"),
    "ICO": drawn("ICO", size=(32, 32)),
    "AVIF": box(b"ftyp", b"avif\0\0\0\0mif1avif") + box(b"meta", b"\0" * 40) + b"\0" * 200,
    "HEIC": box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", b"\0" * 40) + b"\0" * 200,
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>',
    "MPO": MPO,
    "EXIF": with_exif(exif()),
    "WebP with EXIF": drawn("WEBP", exif=exif()),
    "PNG with EXIF": drawn("PNG", exif=exif()),
}
NUMBERS = [0, 1, 2, 3, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]


@st.composite
def damaged(draw_value: Any) -> bytes:
    """A picture whose header fields are overwritten, cut, repeated or moved."""
    data = bytearray(VALID[draw_value(st.sampled_from(sorted(VALID)))])
    for _ in range(draw_value(st.integers(1, 4))):
        at = draw_value(st.integers(0, min(len(data), 400)))
        how = draw_value(st.sampled_from(["byte", "number", "cut", "insert", "remove", "repeat"]))
        if how == "byte":
            data[at : at + 1] = bytes([draw_value(st.integers(0, 255))])
        elif how == "number":
            form = draw_value(st.sampled_from([">I", "<I", ">H", "<H"]))
            number = draw_value(st.sampled_from(NUMBERS)) & (0xFFFF if form[1] == "H" else 0xFFFF_FFFF)
            data[at : at + struct.calcsize(form)] = struct.pack(form, number)
        elif how == "cut":
            del data[at:]
        elif how == "insert":
            data[at:at] = draw_value(st.binary(max_size=12))
        elif how == "remove":
            del data[at : at + draw_value(st.integers(1, 12))]
        else:
            data[at:at] = bytes(data[at : at + 24]) * draw_value(st.integers(1, 40))
    return bytes(data)


# --- the places that read one ----------------------------------------------------------------------------------------


class Doors:
    """Each place that reads the bytes of a picture, with the only error that may leave it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def in_memory(self, data: bytes) -> None:
        check_reference(Reference.of(data), 1, LIMIT)

    def file(self, data: bytes) -> None:
        path = self._folder / "reference"
        path.write_bytes(data)
        check_reference(Reference.of(path), 1, LIMIT)

    def open_file(self, data: bytes) -> None:
        check_reference(Reference.of(io.BytesIO(data)), 1, LIMIT)

    def data_uri(self, data: bytes) -> None:
        text = "data:image/png;base64," + base64.b64encode(data).decode()
        check_reference(Reference.of(text), 1, LIMIT)

    def pillow(self, data: bytes) -> None:
        with warnings.catch_warnings(action="ignore"):
            try:
                image = Image.open(io.BytesIO(data))
            except Exception:
                return  # the caller's own call
            check_reference(Reference.of(image), 1, LIMIT)

    def emulator(self, data: bytes) -> None:
        for media_type in ("image/png", "image/jpeg"):
            uri = f"data:{media_type};base64," + base64.b64encode(data).decode()
            with contextlib.suppress(UnusableReference):
                read_reference(uri, LIMIT)

    def thumbnail(self, data: bytes) -> None:
        drawing = Drawing(seed="a", prompt="a", caption="a", width=64, height=64, thumbnails=(data,), references=1)
        assert draw_picture(drawing, "full", "png")

    def download(self, data: bytes) -> None:
        sink = MemorySink(LIMIT)
        sink.write(data)
        with contextlib.suppress(NotAPicture):
            sink.commit()

    def saved(self, data: bytes) -> None:
        pending = Target.parse(self._folder).open("a")
        try:
            pending.write(data)
            with contextlib.suppress(NotAPicture):
                pending.commit()
        finally:
            pending.discard()


DOORS = [name for name in vars(Doors) if not name.startswith("_")]


def go_through(door: Callable[[bytes], None], data: bytes) -> None:
    started = time.thread_time()
    with contextlib.suppress(ReferenceImageError):
        door(data)
    assert time.thread_time() - started < SECONDS


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_or_read(name: str, door: str, tmp_path: Path) -> None:
    go_through(getattr(Doors(tmp_path), door), HOSTILE[name])


@pytest.mark.parametrize("door", DOORS)
@given(data=damaged())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_picture_is_refused_or_read(door: str, data: bytes, tmp_path: Path) -> None:
    go_through(getattr(Doors(tmp_path), door), data)


class Counting(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_read_in_few_steps(name: str) -> None:
    """Each is a call to the system, for a file on disk."""
    file = Counting(HOSTILE[name])
    with contextlib.suppress(NotAPicture):
        check_complete(file, inspect(file))
    assert file.reads < 50_000


class Lying:
    """An array that does not hold what its interface says."""

    def __init__(self, shape: tuple[int, ...], data: bytes) -> None:
        self.__array_interface__ = {"shape": shape, "typestr": "|u1", "version": 3}
        self._data = data

    def tobytes(self) -> bytes:
        return self._data


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (2**31, 2**31), (-1, 30)], ids=str)
def test_an_array_that_lies_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ReferenceImageError, match="an array"):
        Reference.of(Lying(shape, b"xx"))  # type: ignore[arg-type]  # the interface makes it one


@pytest.mark.parametrize("error", [Image.DecompressionBombError, MemoryError, IndexError, KeyError, struct.error])
def test_whatever_pillow_raises_is_a_refusal(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoders raise all of these about some broken file."""
    image = Image.open(io.BytesIO(drawn("PNG")))

    def fail() -> None:
        raise error("broken")

    monkeypatch.setattr(image, "load", fail)
    with pytest.raises(ReferenceImageError, match="can't be encoded as PNG"):
        check_reference(Reference.of(image), 1, LIMIT)


def test_a_webp_that_says_it_is_empty_was_never_finished() -> None:
    with pytest.raises(ReferenceImageError, match="cut short"):
        check_reference(Reference.of(HOSTILE["webp that says it is empty"]), 1, LIMIT)
