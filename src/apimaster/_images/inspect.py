"""Read from bytes which kind of picture they are, how large it is, and whether it is whole.

Names, endings and Content-Type headers may be wrong; the first bytes are not. This module reads the formats that the
endpoint takes and delivers (PNG, JPEG and WebP), from their published layouts and with the standard library alone;
``other_formats.py`` only names others. Input is hostile until proven otherwise: every read has a fixed size, every walk
over segments a fixed number of steps, and ``NotAPicture`` is the only error that bytes can cause.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO, Final

from . import other_formats

_HEAD: Final = 512  # enough to tell every format apart
_STEP: Final = 64 * 1024
_MAX_SEGMENTS: Final = 4096  # a JPEG with a full ICC profile and extended XMP has some 300
_MAX_CHUNKS: Final = 32_768  # some programs write a PNG text chunk for each entry of a log
_MAX_STRAY: Final = 256 * 1024  # bytes between segments: the rest of a few whose length is wrong

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_HEADER: Final = b"\x00\x00\x00\x0dIHDR"
_PNG_HEADER_END: Final = 33
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_JPEG_END: Final = b"\xff\xd9"
_START_OF_SCAN: Final = 0xDA
# Frame headers hold the size; C4, C8 and CC are in their range, but are tables.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # no length follows
# Nobody knows whether a length follows, or (a second start, an end before any data) decoders refuse it.
_REFUSED_MARKERS: Final = frozenset({*range(0x02, 0xC0), 0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)})
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")

_SHORTEST_WEBP: Final = 30  # up to the size; a file that says it is shorter was never finished
_WEBP_PIXELS: Final = (b"VP8 ", b"VP8L", b"ANMF")

_ENDINGS: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


class NotAPicture(ValueError):  # a fact about bytes; callers add whose picture it is
    """The bytes are not a whole PNG, JPEG or WebP picture; the message says what they are instead.

    ``format`` names another format that was recognised, such as ``HEIC``; None if none was.
    """

    def __init__(self, message: str, *, format: str | None = None) -> None:  # noqa: A002  # what it is
        super().__init__(message)
        self.format = format


@dataclass(frozen=True, slots=True)
class Picture:
    """The facts that the bytes of a picture hold.

    Attributes:
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``.
        width: pixels, as stored (an EXIF rotation is not applied).
        height: pixels, as stored.
    """

    media_type: str
    width: int
    height: int

    @property
    def ending(self) -> str:
        """The usual ending of a file name, with its dot."""
        return _ENDINGS[self.media_type]


def inspect(source: BinaryIO | bytes) -> Picture:
    """Read the kind and the size in pixels from the first bytes.

    Args:
        source: the bytes, or a seekable binary file, which is read from its beginning and left at any position.

    Raises:
        NotAPicture: it is not a PNG, JPEG or WebP picture.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    file.seek(0)
    head = _read(file, _HEAD)
    if head.startswith(_PNG):
        picture = _png(head)
    elif head.startswith(b"\xff\xd8\xff"):
        picture = _jpeg(file)[0]
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        picture = _webp(head)
    else:
        raise _unsupported(head)
    if picture.width < 1 or picture.height < 1:
        raise NotAPicture(f"its header says {picture.width}×{picture.height} pixels")
    return picture


def check_complete(source: BinaryIO | bytes, picture: Picture) -> None:
    """Make sure that the picture is whole, and not cut short by a broken download or copy.

    Bytes after the end are accepted: cameras and phones put padding, previews and whole videos there.

    Args:
        source: the bytes, or a seekable binary file.
        picture: the result of ``inspect`` for the same bytes.

    Raises:
        NotAPicture: its end is missing.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    size = file.seek(0, io.SEEK_END)
    whole = {"image/png": _png_is_whole, "image/jpeg": _jpeg_is_whole, "image/webp": _webp_is_whole}
    if not whole[picture.media_type](file, size):
        kind = picture.media_type.removeprefix("image/").upper()
        raise NotAPicture(f"this {kind} picture is cut short after {size} bytes")


def _unsupported(head: bytes) -> NotAPicture:
    found = other_formats.identify(head)
    if found is not None:
        return NotAPicture(f"this is {found}", format=found)
    if not head:
        return NotAPicture("it is empty")
    if not any(head):
        return NotAPicture("it holds nothing but zeros")
    return NotAPicture("these bytes are not in a known picture format")


def _png(head: bytes) -> Picture:
    if head[8:16] != _PNG_HEADER or len(head) < _PNG_HEADER_END:
        raise NotAPicture("it begins like PNG, but its header is missing")
    depth, colour, compression, filtering, interlaced = head[24:29]
    known = depth in _PNG_DEPTHS.get(colour, ()) and not compression and not filtering and interlaced in (0, 1)
    if not known or zlib.crc32(head[12:29]) != _big(head[29:33]):
        raise NotAPicture("it begins like PNG, but its header is damaged")
    return Picture("image/png", _big(head[16:20]), _big(head[20:24]))


def _png_is_whole(file: BinaryIO, size: int) -> bool:
    found = _first_chunk(file, _PNG_HEADER_END, size, (b"IDAT", b"IHDR"), big=True)
    if found == b"IHDR":
        raise NotAPicture("it begins like PNG, but its size is in it twice")
    if found is None:
        return False
    file.seek(max(0, size - len(_PNG_END)))
    if _read(file, len(_PNG_END)) == _PNG_END:
        return True
    # Either something follows the end, or there is none: search for it, across chunk borders. A false hit inside
    # compressed data would need eight matching bytes by chance.
    return _find(file, _PNG_END[4:], len(_PNG))


def _jpeg(file: BinaryIO) -> tuple[Picture, int]:
    """The picture, and the offset of its first scan. This skips from segment to segment, past their data.

    Bytes between segments are skipped up to the next marker, as decoders do: cameras and editors write some.
    """
    file.seek(2)
    picture: Picture | None = None
    stray = _MAX_STRAY
    for _ in range(_MAX_SEGMENTS):
        marker, skipped = _next_marker(file, stray)
        stray -= skipped
        if marker in _BARE_MARKERS:
            continue
        if marker in _REFUSED_MARKERS:
            break
        length = _big(_read(file, 2))
        if length < 2:
            break
        if marker in _FRAME_HEADERS:
            frame = _read(file, 5)
            if len(frame) < 5:
                break
            if picture is not None:  # programs that show it would disagree on its size, if they show it
                raise NotAPicture("it begins like JPEG, but its size is in it twice")
            picture = Picture("image/jpeg", _big(frame[3:5]), _big(frame[1:3]))
            length -= 5
        if marker == _START_OF_SCAN:
            if picture is None:
                break
            return picture, file.tell()
        file.seek(max(0, length - 2), io.SEEK_CUR)
    if picture is None:
        raise NotAPicture("it begins like JPEG, but no size can be found in it")
    raise NotAPicture("this JPEG picture is cut short before its data")


def _next_marker(file: BinaryIO, most: int) -> tuple[int, int]:
    """The next marker, and how many bytes were before it: fill bytes (FF) or stray ones. ``most`` are accepted."""
    start = file.tell()
    data, more = b"", 2
    while len(data) < most + 2:
        piece = _read(file, more)
        data += piece
        found = _MARKER.search(data)
        if found is not None:
            file.seek(start + found.end())
            return data[found.start() + 1], found.start()
        if len(piece) < more:
            break
        more = min(4 * len(data), most + 2 - len(data))  # so that few searches read few bytes
    raise NotAPicture("it begins like JPEG, but is cut short or damaged")


def _jpeg_is_whole(file: BinaryIO, size: int) -> bool:
    _, scan = _jpeg(file)
    # Inside a scan every FF is followed by 00 or a restart marker, so after its start FF D9 means the end. Most
    # files end with it; only if something follows, this searches the scan itself.
    file.seek(max(scan, size - 2))
    return _read(file, 2) == _JPEG_END or _find(file, _JPEG_END, scan)


def _webp(head: bytes) -> Picture:
    kind, length, data = head[12:16], _little(head[16:20]), head[20:30]
    if len(data) == 10 and length >= (5 if kind == b"VP8L" else 10):
        if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
            return Picture("image/webp", _little(data[6:8]) & 0x3FFF, _little(data[8:10]) & 0x3FFF)
        if kind == b"VP8L" and data[0] == 0x2F:
            bits = _little(data[1:5])
            return Picture("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        if kind == b"VP8X":
            return Picture("image/webp", _little(data[4:7]) + 1, _little(data[7:10]) + 1)
    raise NotAPicture("it begins like WebP, but no size can be found in it")


def _webp_is_whole(file: BinaryIO, size: int) -> bool:
    file.seek(4)
    end = _little(_read(file, 4)) + 8
    return _SHORTEST_WEBP <= end <= size and _first_chunk(file, 12, end, _WEBP_PIXELS, big=False) is not None


def _first_chunk(file: BinaryIO, start: int, end: int, wanted: Collection[bytes], *, big: bool) -> bytes | None:
    """Which of these chunks comes first, if it is whole; ``big``: as in PNG, else as in RIFF. Skips their data."""
    at = start
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = _read(file, 8)
        length, kind = (_big(head[:4]), head[4:]) if big else (_little(head[4:]), head[:4])
        at += 8 + length
        if len(head) < 8 or at > end:
            return None
        if kind in wanted:
            return kind
        at += 4 if big else length % 2  # a checksum, or a byte that makes the length even
    raise NotAPicture(f"it begins like {'PNG' if big else 'WebP'}, and {_MAX_CHUNKS} chunks come before its pixels")


def _find(file: BinaryIO, needle: bytes, start: int) -> bool:
    file.seek(start)
    kept = b""
    while piece := _read(file, _STEP):
        if needle in kept + piece:
            return True
        kept = piece[-(len(needle) - 1) :]
    return False


def _read(file: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes, fewer only at the end: a raw file may return less at once."""
    data = file.read(size) or b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
