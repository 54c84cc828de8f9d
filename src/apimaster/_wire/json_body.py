"""The JSON body of a request, with local pictures streamed into it as base64.

Fourteen pictures of 10 MB make 187 MB of JSON. The text around them is small and built at once. The body reads and
encodes the pictures while it is sent, in pieces whose size is a multiple of three, so that the base64 of the pieces is
the base64 of the whole. It knows its length from their sizes, and can be iterated again for a retry.

If a picture has changed since it was checked, the body ends with an error in the middle. That is safe: the gateway
knows the length and has received no whole request (and no JSON), so it neither draws nor charges anything.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from ..errors import BadRequestError

if TYPE_CHECKING:
    from .._references.checked import CheckedReference

PIECE: Final = 90 * 1024
"""Raw bytes per piece, a multiple of three. Measured: above 96 KiB base64 leaves the cache and slows by half."""

STEP: Final = 24 * PIECE
"""Raw bytes that a thread reads at once, so that reading does not block an event loop."""


class StreamedBody:
    """A body of known length that can be iterated any number of times, also side by side (``operations.Body``)."""

    __slots__ = ("_length", "_parts")

    def __init__(self, parts: Sequence[bytes | CheckedReference]) -> None:
        self._parts = tuple(parts)
        self._length = sum(len(part) if isinstance(part, bytes) else 4 * -(-part.size // 3) for part in self._parts)

    @property
    def length(self) -> int:
        """Bytes in all: the Content-Length."""
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            elif part.data is not None:
                yield from _encoded(part.data)
            else:
                yield from _encoded_file(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio  # a blocking program need not load it

        # One buffer serves all files, and this thread encodes: a piece takes less time than a switch to another thread,
        # and memory that one thread takes and another drops goes back to the system. Measured: half the time.
        buffer = memoryview(b"")
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            elif part.data is not None:
                for piece in _encoded(part.data):
                    yield piece
            else:
                buffer = buffer or memoryview(bytearray(STEP))
                for start in range(0, part.size, STEP):
                    step = buffer[: part.size - start]
                    await asyncio.to_thread(_read_step, part, start, step)
                    for piece in _encoded(step):
                        yield piece


def json_body(
    fields: Mapping[str, object],
    arrays: Mapping[str, Sequence[CheckedReference]],
    pictures: Mapping[str, CheckedReference] | None = None,
) -> bytes | StreamedBody:
    """Compact UTF-8 JSON of ``fields`` and, after them, each array of references; empty arrays are left out.

    Args:
        fields: values that JSON can hold.
        arrays: field name to references: URLs as they are, local pictures as data URIs.
        pictures: field name to one picture, in the same forms, after the arrays.

    Returns:
        Plain bytes if there is no local picture to stream; else a body with ``length``.

    Raises:
        BadRequestError: a value of ``fields`` can't be written as JSON; the message names the field.
    """
    members: list[list[bytes | CheckedReference]] = [[_json(name, value)] for name, value in fields.items()]
    members += [_array(name, references) for name, references in arrays.items() if references]
    members += [[f"{_dumps(name)}:".encode(), *_picture(one)] for name, one in (pictures or {}).items()]
    parts: list[bytes | CheckedReference] = [b"{"]
    for number, member in enumerate(members):
        parts += [b",", *member] if number else member
    parts.append(b"}")
    joined = _joined(parts)
    return StreamedBody(joined) if len(joined) > 1 else b"".join(part for part in joined if isinstance(part, bytes))


def _json(name: str, value: object) -> bytes:
    try:
        text = f"{_dumps(name)}:{_dumps(value)}"
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadRequestError(
            f"{name} holds half a character (the lone surrogate U+{ord(error.object[error.start]):04X}), "
            "which can't be sent"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequestError(f"{name} can't be written as JSON: {error}") from None


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _array(name: str, references: Sequence[CheckedReference]) -> list[bytes | CheckedReference]:
    parts: list[bytes | CheckedReference] = [f"{_dumps(name)}:[".encode()]
    for number, one in enumerate(references):
        parts += [b",", *_picture(one)] if number else _picture(one)
    parts.append(b"]")
    return parts


def _picture(one: CheckedReference) -> list[bytes | CheckedReference]:
    if one.url is not None:
        return [_dumps(one.url).encode()]
    return [f'"data:{one.media_type};base64,'.encode(), one, b'"']


def _joined(parts: Sequence[bytes | CheckedReference]) -> list[bytes | CheckedReference]:
    """Join neighbouring text into one piece, since each piece is a write to a socket."""
    joined: list[bytes | CheckedReference] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            joined[-1] = last + part
        else:
            joined.append(part)
    return joined


def _encoded(data: bytes | memoryview) -> Iterator[bytes]:
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        yield binascii.b2a_base64(view[start : start + PIECE], newline=False)


def _encoded_file(picture: CheckedReference) -> Iterator[bytes]:
    buffer = bytearray(min(PIECE, picture.size))
    with picture.open() as file, memoryview(buffer) as view:
        left = picture.size
        while left:
            with view[: min(PIECE, left)] as part:
                fill(part, file, picture)
                yield binascii.b2a_base64(part, newline=False)
                left -= len(part)
        picture.check_unchanged(file)


def _read_step(picture: CheckedReference, start: int, step: memoryview) -> None:
    """Read one step of a file. Each step opens the file anew, so that a cancelled task leaves nothing open."""
    with picture.open() as file:
        file.seek(start)
        fill(step, file, picture)
        picture.check_unchanged(file)


def fill(view: memoryview, file: BinaryIO, picture: CheckedReference) -> None:
    """Read until ``view`` is full: a raw file may return less at once, and base64 needs groups of three."""
    filled = 0
    while filled < len(view):
        got = file.readinto(view[filled:])  # type: ignore[attr-defined]  # raw files have it
        if not got:
            raise picture.changed()
        filled += got
