"""The multipart body of an upload: one picture, read while it is sent.

Fourteen uploads of 10 MB hold nothing in memory but one piece each. As with ``json_body``, a file that has changed
since it was checked ends the body with an error, and the gateway has received no whole request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from .json_body import fill

if TYPE_CHECKING:
    from .._references.checked import CheckedReference

PIECE: Final = 128 * 1024
"""Bytes that are written at once."""

STEP: Final = 2 * PIECE
"""Bytes that a thread reads at once, into a buffer of the upload's own; several uploads run side by side."""


class MultipartBody:
    """A body of known length that can be iterated any number of times, also side by side (``operations.Body``)."""

    __slots__ = ("_head", "_picture", "_tail")

    def __init__(self, head: bytes, picture: CheckedReference, tail: bytes) -> None:
        self._head = head
        self._picture = picture
        self._tail = tail

    @property
    def length(self) -> int:
        """Bytes in all: the Content-Length."""
        return len(self._head) + self._picture.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._in_memory() if self._picture.data is not None else self._from_file()
        yield self._tail

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio  # a blocking program need not load it

        yield self._head
        if self._picture.data is not None:
            for piece in self._in_memory():
                yield piece
        else:
            # One buffer, and copies made by this thread: memory that one thread takes and another drops stays taken.
            buffer = memoryview(bytearray(min(STEP, self._picture.size)))
            for start in range(0, self._picture.size, STEP):
                step = buffer[: self._picture.size - start]
                await asyncio.to_thread(self._read, start, step)
                for place in range(0, len(step), PIECE):
                    yield bytes(step[place : place + PIECE])
        yield self._tail

    def _in_memory(self) -> Iterator[bytes]:
        view = memoryview(self._picture.data or b"")
        for start in range(0, len(view), PIECE):
            yield bytes(view[start : start + PIECE])

    def _from_file(self) -> Iterator[bytes]:
        with self._picture.open() as file:
            buffer = memoryview(bytearray(min(PIECE, self._picture.size)))
            for start in range(0, self._picture.size, PIECE):
                piece = buffer[: self._picture.size - start]
                fill(piece, file, self._picture)
                yield bytes(piece)
            self._picture.check_unchanged(file)

    def _read(self, start: int, step: memoryview) -> None:
        """Fill ``step``. It opens the file anew, so that a cancelled task leaves nothing open."""
        with self._picture.open() as file:
            file.seek(start)
            fill(step, file, self._picture)
            self._picture.check_unchanged(file)
