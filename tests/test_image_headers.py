"""Damaged headers of real pictures: what is accepted has the format and the pixels that Pillow finds, too.

``test_image_fuzz.py`` asks whether anything but a refusal leaves the places that read pictures. This asks whether what
they accept is true, since the gateway, which bills a request, decodes the same bytes with another program.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from apimaster import APIMaster, BadRequestError
from apimaster._images.inspect import NotAPicture, Picture, check_complete, inspect
from apimaster._references.checked import check_reference
from apimaster._references.reference import Reference
from apimaster.emulator import Emulator
from apimaster.errors import ReferenceImageError

FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
SIZE: Final = (61, 37)


def drawn(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(SIZE).convert(mode).save(out, kind, **options)
    return out.getvalue()


EXIF: Final = Image.Exif()
EXIF[0x0112] = 6
REAL: Final = {
    "png": drawn("PNG"),
    "png palette": drawn("PNG", "P"),
    "png with EXIF": drawn("PNG", "RGBA", exif=EXIF),
    "apng": drawn("PNG", save_all=True, append_images=[Image.new("RGB", SIZE)]),
    "jpeg": drawn("JPEG"),
    "jpeg progressive": drawn("JPEG", progressive=True),
    "jpeg grey with EXIF": drawn("JPEG", "L", exif=EXIF),
    "jpeg cmyk with ICC": drawn("JPEG", "CMYK", icc_profile=b"i" * 300),
    "mpo": drawn("MPO", save_all=True, append_images=[Image.new("RGB", SIZE)]),
    "webp lossy": drawn("WEBP"),
    "webp lossless": drawn("WEBP", lossless=True),
    "webp extended": drawn("WEBP", "RGBA", exif=EXIF),
    "webp animated": drawn("WEBP", save_all=True, append_images=[Image.new("RGB", SIZE)]),
    "gif": drawn("GIF", "P"),
    "bmp": drawn("BMP"),
    "tiff": drawn("TIFF"),
}
NUMBERS: Final = [0, 1, 2, 7, 8, 0x7F, 0xFF, 0x3FFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]


# --- the parts of a header ------------------------------------------------------------------------------------------


def png_parts(data: bytes) -> list[bytes]:
    """The signature, and each chunk."""
    parts, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + struct.unpack(">I", data[at : at + 4])[0]
        parts.append(data[at:end])
        at = end
    return parts


def jpeg_parts(data: bytes) -> list[bytes]:
    """The start, each segment before the first scan, and the rest."""
    parts, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def webp_parts(data: bytes) -> list[bytes]:
    """The RIFF header, and each chunk."""
    parts, at = [data[:12]], 12
    while at < len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        end = at + 8 + size + size % 2
        parts.append(data[at:end])
        at = end
    return parts


def kind_of(name: str) -> str:
    return {"apng": "png", "mpo": "jpeg"}.get(name, name.split()[0])


def parts_of(name: str) -> list[bytes]:
    data = REAL[name]
    split = {"png": png_parts, "jpeg": jpeg_parts, "webp": webp_parts}.get(kind_of(name))
    return split(data) if split is not None else [data[:40], data[40:]]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


DATA: Final = st.binary(max_size=20) | st.just(REAL["jpeg"]) | st.just(REAL["png"])
CHUNKS: Final = st.builds(png_chunk, st.sampled_from([b"IHDR", b"IDAT", b"tEXt", b"eXIf", b"acTL", b"IEND"]), DATA)
HEADERS: Final = st.builds(
    lambda width, height: png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
    st.sampled_from([0, 1, 61, 65_536, 2**31]),
    st.sampled_from([0, 1, 37, 65_536, 2**31]),
)
SEGMENTS: Final = st.builds(segment, st.integers(0xC0, 0xFE), DATA)
FRAMES: Final = st.builds(
    lambda marker, height, width: segment(marker, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
    st.sampled_from([0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA]),
    st.sampled_from([0, 1, 37, 65_535]),
    st.sampled_from([0, 1, 61, 65_535]),
)
RIFF: Final = st.builds(riff_chunk, st.sampled_from([b"VP8X", b"VP8 ", b"VP8L", b"ANIM", b"EXIF", b"abcd"]), DATA)
FILL: Final = st.sampled_from([b"\xff", b"\xff" * 9, b"\xff\x01", b"\xff\xd0", b"\0", b"\xff\0", b"\xff\xd8", b"stray"])
INSERTED: Final = {
    "png": CHUNKS | HEADERS,
    "jpeg": SEGMENTS | FRAMES | FILL,
    "webp": RIFF,
    **dict.fromkeys(("gif", "bmp", "tiff"), CHUNKS | SEGMENTS | RIFF),
}


def fixed(data: bytes) -> bytes:
    """The same bytes with the lengths and checksums of the outermost header corrected, so that more get past it."""
    if data[:4] == b"RIFF" and len(data) >= 12:
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    if data[:8] == REAL["png"][:8] and len(data) >= 33:
        return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    return data


@st.composite
def damaged(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """A picture whose header has other parts, in another order, with other numbers, or that is cut short."""
    name = draw(st.sampled_from(sorted(REAL)))
    parts = parts_of(name)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, min(len(parts) - 1, 12)))
        how = draw(st.sampled_from(["insert", "insert", "insert", "remove", "repeat", "swap"]))
        if how == "insert":
            parts.insert(at + 1, draw(INSERTED[kind_of(name)]))
        elif how == "remove":
            del parts[at]
        elif how == "repeat":
            parts.insert(at, parts[at])
        else:
            parts[at : at + 2] = parts[at : at + 2][::-1]
        if not parts:
            return b""
    data = bytearray(b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, min(len(data), 300)))
        form = draw(st.sampled_from([">I", "<I", ">H", "<H", "B"]))
        largest = 256 ** struct.calcsize(form) - 1
        data[at : at + struct.calcsize(form)] = struct.pack(form, draw(st.sampled_from(NUMBERS)) & largest)
    if draw(st.integers(0, 3)) == 3:
        at = draw(st.integers(0, min(len(data), 300)))
        data[at : at + 1] = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1])
    if draw(st.booleans()):
        data = bytearray(fixed(bytes(data)))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 5)) == 5 else data)


# --- the property ---------------------------------------------------------------------------------------------------


def accepted(data: bytes) -> Picture | None:
    """The picture that this package finds, if it would send or save it."""
    try:
        picture = inspect(data)
        check_complete(data, picture)
    except NotAPicture:
        return None
    return picture


def found_by_pillow(data: bytes) -> Picture | None:
    """The picture that Pillow finds, however large it says that it is."""
    with mock.patch.object(Image, "MAX_IMAGE_PIXELS", None), warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(io.BytesIO(data)) as image:
                return Picture(FORMATS.get(image.format or "", image.format or ""), *image.size)
        except Exception:  # its parsers raise nearly everything
            return None


@given(data=damaged())
@settings(max_examples=1500, deadline=None)
def test_what_is_accepted_is_what_pillow_finds(data: bytes) -> None:
    picture, other = accepted(data), found_by_pillow(data)
    if picture is not None and other is not None:
        assert picture == other
    if picture is None:
        with pytest.raises(ReferenceImageError, match="reference 1"):
            check_reference(Reference.of(data), 1, 2**20)
    else:
        reference = check_reference(Reference.of(data), 1, 2**20)
        assert (reference.media_type, reference.data) == (picture.media_type, data)


@pytest.mark.parametrize("name", REAL)
def test_real_pictures_are_what_pillow_finds(name: str) -> None:
    """So the strategy begins at pictures that are accepted, where their format is."""
    assert b"".join(parts_of(name)) == fixed(REAL[name]) == REAL[name]
    other = found_by_pillow(REAL[name])
    assert other is not None
    assert (other.width, other.height) == SIZE
    assert accepted(REAL[name]) == (other if other.media_type in FORMATS.values() else None)


def with_stray(name: str, stray: bytes, place: int) -> bytes:
    parts = parts_of(name)
    return b"".join([*parts[:place], stray, *parts[place:]])


STRAY: Final = {
    "text": b"hello",
    "one byte": b"\x01",
    "an escaped FF": b"\xff\0\0\2",
    "many": b"\xff\0" * 30_000 + b"\xff" * 30_000 + b"\0" + b"x" * 60_000,
    "after a length that is too small": segment(0xED, b"Photoshop 3.0\0") + b"8BIM\4\6\0\0\0\0\0\7\0\4\0\0\0\1\1\0",
    "a length that is too large": b"\xff\xee\0\x0fAdobe\0d@\0\0\0\1",
    "a length that is too small by one": b"\xff\xee\0\x0dAdobe\0d\0\0\0\0\1",
}


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("name", [name for name in REAL if kind_of(name) == "jpeg"])
def test_stray_bytes_between_segments_are_skipped(name: str, stray: str) -> None:
    """Cameras and editors write some, and all decoders skip them."""
    places = range(2, len(parts_of(name)))  # the first marker follows at once: it is part of the signature
    if stray == "a length that is too large":
        places = range(1, 2)  # it takes the marker of the next segment, which is lost: that is not to be the frame
    for place in places:
        data = with_stray(name, STRAY[stray], place)
        picture = accepted(data)
        assert picture == Picture("image/jpeg", *SIZE)
        assert found_by_pillow(data) == picture
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        cut = data[: len(b"".join(parts_of(name)[:place])) + len(STRAY[stray])]
        assert accepted(cut) is None


@pytest.mark.parametrize(
    "stray",
    [
        b"x" * 300_000,
        b"\xff" * 300_000,
        b"\xff\0" * 150_000,
        segment(0xE0, b"") + b"\xff\xd9",
        b"\xff\xd8",
        b"\xff\xf5\0\2",
    ],
    ids=["bytes", "fill", "escapes", "end", "start", "extension"],
)
def test_stray_bytes_have_an_end(stray: bytes) -> None:
    assert accepted(with_stray("jpeg", stray, 2)) is None


def test_stray_bytes_are_counted_for_the_whole_picture() -> None:
    assert accepted(with_stray("jpeg", (b"x" * 100 + segment(0xFE, b"")) * 2_000, 2)) is not None
    assert accepted(with_stray("jpeg", (b"x" * 100 + segment(0xFE, b"")) * 3_000, 2)) is None


@pytest.mark.parametrize(("chunks", "is_accepted"), [(5_000, True), (30_000, True), (40_000, False)])
def test_a_png_with_many_texts(chunks: int, is_accepted: bool) -> None:
    data = with_stray("png", png_chunk(b"tEXt", b"a\0b") * chunks, 2)
    assert found_by_pillow(data) is not None
    assert (accepted(data) is not None) == is_accepted
    if not is_accepted:
        with pytest.raises(NotAPicture, match="32768 chunks come before its pixels"):
            check_complete(data, inspect(data))


@given(data=damaged())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_charge_is_a_picture(data: bytes, server: Emulator, soon: None) -> None:
    """Whatever the header says: the client refuses it, the gateway does at no charge, or there is a picture."""
    server.reset()
    with APIMaster(server.api_key, base_url=server.base_url, max_retries=0) as client:
        delivered = 0
        with contextlib.suppress(BadRequestError):
            delivered = len(client.generate("a castle", resolution="0.5K", references=[data]).images)
    assert len(server.bill.charges) == delivered
    assert len(server.requests) == 0 or accepted(data) is not None
