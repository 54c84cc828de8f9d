"""Kind, pixels and wholeness of pictures, against files that Pillow writes and against hostile bytes."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from apimaster._images.inspect import NotAPicture, Picture, check_complete, inspect


def drawn(kind: str, size: tuple[int, int] = (61, 37), mode: str = "RGB", **options: object) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
WHOLE = {
    "png": (drawn("PNG"), "image/png"),
    "png palette": (drawn("PNG", mode="P"), "image/png"),
    "png alpha": (drawn("PNG", mode="RGBA"), "image/png"),
    "jpeg": (drawn("JPEG"), "image/jpeg"),
    "jpeg progressive": (drawn("JPEG", progressive=True), "image/jpeg"),
    "jpeg grey": (drawn("JPEG", mode="L"), "image/jpeg"),
    "jpeg cmyk": (drawn("JPEG", mode="CMYK"), "image/jpeg"),
    "jpeg restarts": (drawn("JPEG", restart_marker_blocks=1), "image/jpeg"),
    "jpeg with icc and exif": (drawn("JPEG", icc_profile=b"i" * 200_000, exif=b"Exif\0\0" + b"e" * 900), "image/jpeg"),
    "jpeg with a preview inside": (with_segments(drawn("JPEG"), segment(0xE2, drawn("JPEG", (8, 8)))), "image/jpeg"),
    "jpeg with fill bytes": (with_segments(drawn("JPEG"), b"\xff" * 40 + segment(0xE5, b"x")), "image/jpeg"),
    "jpeg with a bare marker": (with_segments(drawn("JPEG"), b"\xff\x01"), "image/jpeg"),
    "webp lossy": (drawn("WEBP", quality=50), "image/webp"),
    "webp lossless": (drawn("WEBP", lossless=True), "image/webp"),
    "webp extended": (drawn("WEBP", exif=b"Exif\0\0II*\0", quality=50), "image/webp"),
    "webp alpha": (drawn("WEBP", mode="RGBA", lossless=True), "image/webp"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_kind_and_pixels_of_whole_pictures(name: str) -> None:
    data, media_type = WHOLE[name]
    for source in (data, io.BytesIO(data)):
        picture = inspect(source)
        assert picture == Picture(media_type, 61, 37)
        check_complete(source, picture)


@pytest.mark.parametrize(
    ("size", "kind"),
    [((1, 1), kind) for kind in ("PNG", "JPEG", "WEBP")]
    + [((8192, 3), kind) for kind in ("PNG", "JPEG", "WEBP")]
    + [((3, 8192), kind) for kind in ("PNG", "JPEG", "WEBP")],
)
def test_extreme_sizes(size: tuple[int, int], kind: str) -> None:
    picture = inspect(drawn(kind, size))
    assert (picture.width, picture.height) == size


def test_endings() -> None:
    assert [inspect(drawn(kind)).ending for kind in ("PNG", "JPEG", "WEBP")] == [".png", ".jpg", ".webp"]


@pytest.mark.parametrize("name", WHOLE)
def test_every_shorter_version_is_refused(name: str) -> None:
    data, _ = WHOLE[name]
    step = max(1, len(data) // 400)
    for cut in [*range(0, len(data) - 40, step), *range(max(0, len(data) - 40), len(data))]:
        with pytest.raises(NotAPicture):
            check_complete(data[:cut], inspect(data[:cut]))


@pytest.mark.parametrize("trailer", [b"\0" * 5000, b"\xff\xd8 a preview that was cut", b"ftypmp42" * 20_000])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bytes_after_the_end_are_accepted(kind: str, trailer: bytes) -> None:
    data = drawn(kind) + trailer
    check_complete(data, inspect(data))


def test_the_end_is_found_across_the_borders_of_reads() -> None:
    jpeg = drawn("JPEG", (900, 900), quality=100)
    start = jpeg.index(b"\xff\xda")
    for shift in range(-3, 3):
        # Entropy-coded data of any content; FF does not occur in it.
        padded = jpeg[: start + 14] + b"\x55" * (64 * 1024 - 12 + shift) + b"\xff\xd9" + b"\0" * 70_000
        check_complete(padded, inspect(padded))


def png_of(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG picture without pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + PNG_END


def box(brand: bytes, *compatible: bytes) -> bytes:
    body = brand + b"\0\0\0\0" + b"".join(compatible)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + b"\0" * 40


OTHERS = [
    (b"", "it is empty"),
    (b"\0" * 100, "nothing but zeros"),
    (b"GIF89a" + b"\0" * 20, "this is GIF"),
    (drawn("GIF", mode="P"), "this is GIF"),
    (drawn("BMP"), "this is BMP"),
    (drawn("TIFF"), "this is TIFF"),
    (drawn("ICO", (16, 16)), "this is an icon"),
    (box(b"heic", b"mif1", b"heic"), "this is HEIC"),
    (box(b"mif1", b"mif1", b"heic"), "this is HEIC"),
    (box(b"avif", b"mif1", b"avif"), "this is AVIF"),
    (box(b"mif1", b"avif"), "this is AVIF"),
    (box(b"isom", b"mp42"), "this is a video"),
    (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "this is SVG"),
    (b"\xef\xbb\xbf  <svg/>", "this is SVG"),
    (b"<!DOCTYPE html><html><body>502 Bad Gateway", "this is an HTML page"),
    (b"<html>", "this is an HTML page"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "this is XML"),
    (b'{"error":{"message":"expired"}}', "this is JSON"),
    (b"%PDF-1.7", "this is PDF"),
    (b"data:image/png;base64,AAAA", "the text of a data URI"),
    (b"hello", "not in a known picture format"),
    (b"RIFF\x10\0\0\0AVI LIST", "not in a known picture format"),
    (b"\x89PNG\r\n\x1a\n", "header is missing"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIDAT" + b"\1" * 30, "header is missing"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\x0eIHDR" + b"\1" * 30, "header is missing"),
    (drawn("PNG")[:32], "header is missing"),
    (png_of(0, 0), "0×0 pixels"),
    (png_of(1, 1)[:19] + b"\2" + png_of(1, 1)[20:], "header is damaged"),
    (png_of(1, 1, colour=5), "header is damaged"),
    (png_of(1, 1, depth=3), "header is damaged"),
    (b"\xff\xd8\xff", "cut short or damaged"),
    (b"\xff\xd8" + b"\xff" * 100_000, "cut short or damaged"),
    (b"\xff\xd8" + segment(0xE0, b"") * 5000, "no size"),
    (b"\xff\xd8\xff\xe0\0\0", "no size"),
    (b"\xff\xd8" + segment(0xC0, b"\x08\0\0\0\0\x01") + segment(0xDA, b""), "0×0 pixels"),
    (b"\xff\xd8" + segment(0xDA, b"xx"), "no size"),
    (with_segments(drawn("JPEG"), segment(0xC0, b"\x08\0\1\0\1\x01")), "its size is in it twice"),
    (with_segments(drawn("JPEG"), segment(0xC2, b"\x08\0\1\0\1\x01")), "its size is in it twice"),
    (with_segments(drawn("JPEG"), segment(0x02, b"")), "no size"),
    (b"\xff\xd8" + segment(0xC0, b"\x08\0\1\0\1\x01") + b"\xff\xe0\0\0", "cut short before its data"),
    (b"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0" + b"\0" * 10, "no size"),
    (b"RIFF\x10\0\0\0WEBPVP8L\0\0\0\0" + b"\0" * 10, "no size"),
    (b"RIFF\x10\0\0\0WEBPVP8X", "no size"),
    (drawn("WEBP")[:16] + b"\x09\0\0\0" + drawn("WEBP")[20:], "no size"),
    (drawn("WEBP", lossless=True)[:16] + b"\x04\0\0\0" + drawn("WEBP", lossless=True)[20:], "no size"),
]


@pytest.mark.parametrize(("data", "reason"), OTHERS, ids=range(len(OTHERS)))
def test_other_formats_and_damaged_pictures_are_named(data: bytes, reason: str) -> None:
    with pytest.raises(NotAPicture, match=reason):
        inspect(data)


class Trickle(io.RawIOBase):
    """A file that returns one byte at a time, as a raw file may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, buffer: bytearray) -> int:
        return self._data.readinto(memoryview(buffer)[:1])

    def seek(self, *where: int) -> int:
        return self._data.seek(*where)

    def tell(self) -> int:
        return self._data.tell()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_short_reads(kind: str) -> None:
    file = Trickle(drawn(kind))
    picture = inspect(file)  # type: ignore[arg-type]
    assert (picture.width, picture.height) == (61, 37)
    check_complete(file, picture)  # type: ignore[arg-type]


STARTS = st.sampled_from(
    [data[:cut] for data, _ in WHOLE.values() for cut in (4, 12, 24, 200)] + [d for d, _ in OTHERS]
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.builds(lambda start, rest: start + rest, STARTS, st.binary(max_size=300)))
@example(b"\xff\xd8\xff\xc0\0\x02\xff\xda\0\x02")
def test_hostile_bytes_raise_one_error_only(data: bytes) -> None:
    with contextlib.suppress(NotAPicture):
        check_complete(data, inspect(data))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damaged_pictures_raise_one_error_only(name: str, draw: st.DataObject) -> None:
    data = bytearray(WHOLE[name][0][:2000])
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(NotAPicture):
        check_complete(bytes(data), inspect(bytes(data)))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        png_of(1, 1),
        png_of(1, 1).replace(PNG_END, b"\0\1\0\0IDAT" + PNG_END),
        png_of(1, 1).replace(PNG_END, b"\xff\xff\xff\xffIDAT" + PNG_END),
        riff((b"VP8X", b"\0" * 10)),
        riff((b"VP8X", b"\0" * 10), (b"EXIF", b"\0" * 100)),
        riff((b"VP8X", b"\0" * 10), (b"ANIM", b"\0" * 6)),
        drawn("WEBP")[:16] + b"\xff\xff" + drawn("WEBP")[18:],
    ],
    ids=range(7),
)
def test_a_header_without_pixels_is_no_whole_picture(data: bytes) -> None:
    picture = inspect(data)
    with pytest.raises(NotAPicture, match="cut short"):
        check_complete(data, picture)


def test_a_png_with_two_sizes() -> None:
    data = drawn("PNG")
    for twice in (data[:33] + data[8:33] + data[33:], data[:33] + png_of(1, 1)[8:33] + data[33:]):
        with pytest.raises(NotAPicture, match="its size is in it twice"):
            check_complete(twice, inspect(twice))
