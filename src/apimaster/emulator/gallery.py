"""The delivered pictures: public names that end, drawn when somebody first asks, kept within bounds.

A name can't be guessed, needs no key and ends after the URL lifetime; the durable route asks by task id instead.
Drawing runs on a small pool of threads, so that a 4K picture does not hold the server up, and callers that ask
for the same picture at the same time share one drawing.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .jobs import Clock, Job
from .options import Options
from .render import MEDIA_TYPES, Drawing, render
from .workers import Workers

_CACHE_BYTES: Final = 64 * 1024 * 1024
_REFERENCE_BYTES: Final = 64 * 1024 * 1024
_ENDINGS: Final = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One delivered picture: whose it is, which of them, and until when its URL works (clock seconds)."""

    token: str
    job: Job
    index: int
    ends: float


class Gallery:
    """Tokens to pictures, pictures to bytes."""

    def __init__(self, options: Options, clock: Clock, workers: Workers) -> None:
        self._options = options
        self._clock = clock
        self._workers = workers
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._bytes: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._drawing: dict[str, asyncio.Future[bytes]] = {}
        self._references: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        self._reference_bytes = 0
        self._lock = threading.Lock()

    @property
    def media_type(self) -> str:
        """What the pictures are."""
        return MEDIA_TYPES[self._options.picture_format]

    def remember_references(self, job: Job) -> None:
        """Keep the references of a job for its picture, as long as there is room; the job lets go of them."""
        data, job.order.reference_data = job.order.reference_data, ()
        if not data or self._options.pictures != "full":
            return
        with self._lock:
            self._references[job.id] = data
            self._reference_bytes += sum(map(len, data))
            while self._reference_bytes > _REFERENCE_BYTES:
                self._reference_bytes -= sum(map(len, self._references.popitem(last=False)[1]))

    def issue(self, job: Job) -> list[str]:
        """The paths of a finished job's pictures, each with the name that it was given at first."""
        if not job.image_tokens:
            ends = (job.ended_at if job.ended_at is not None else self._clock.now()) + self._options.url_lifetime
            for index in range(job.images):
                token = secrets.token_urlsafe(15)
                self._pictures[token] = Picture(token, job, index, ends)
                job.image_tokens.append(token)
            while len(self._pictures) > self._options.history:
                self._pictures.popitem(last=False)
        lying = job.dialect.lying_ending and self._options.picture_format != "jpeg"
        ending = "jpg" if lying else _ENDINGS[self._options.picture_format]
        return [f"/imgs/{token}.{ending}" for token in job.image_tokens]

    def find(self, token: str) -> Picture | None:
        """The picture of that name, also after its URL has ended."""
        return self._pictures.get(token)

    def expired(self, picture: Picture) -> bool:
        """Whether its URL has ended."""
        return self._clock.now() >= picture.ends

    async def read(self, picture: Picture) -> bytes:
        """Its bytes, drawn now if they were not yet."""
        held = self._bytes.get(picture.token)
        if held is not None:
            self._bytes.move_to_end(picture.token)
            return held
        running = self._drawing.get(picture.token)
        if running is None:
            drawing = self.drawing(picture)
            running = asyncio.ensure_future(self._draw(picture.token, drawing))
            self._drawing[picture.token] = running
        return await asyncio.shield(running)

    async def draw(self, drawing: Drawing, picture_format: str | None = None, kind: str | None = None) -> bytes:
        """Draw something else: a thumbnail, or a picture that is not the right one."""
        return await self._in_thread(
            drawing, kind or self._options.pictures, picture_format or self._options.picture_format
        )

    def drawing(self, picture: Picture, size: tuple[int, int] | None = None) -> Drawing:
        """What to draw for it, in its own pixels or in others."""
        job, order = picture.job, picture.job.order
        width, height = order.pixels
        number = f" · {picture.index + 1} of {job.images}" if job.images > 1 else ""
        asked = f"{order.aspect_ratio} · {order.resolution} · {width} x {height}"
        wide, high = size or order.pixels
        return Drawing(
            seed=f"{order.prompt}/{job.id}/{picture.index}",
            prompt=order.prompt,
            caption=f"{asked} · {order.model}{number} · emulator",
            width=wide,
            height=high,
            thumbnails=self._references.get(job.id, ()),
            references=len(order.references),
        )

    def clear(self) -> None:
        """Forget all pictures."""
        with self._lock:
            self._pictures.clear()
            self._bytes.clear()
            self._held = 0
            self._references.clear()
            self._reference_bytes = 0

    async def _draw(self, token: str, drawing: Drawing) -> bytes:
        try:
            data = await self._in_thread(drawing, self._options.pictures, self._options.picture_format)
        finally:
            self._drawing.pop(token, None)
        self._bytes[token] = data
        self._held += len(data)
        while self._held > _CACHE_BYTES and len(self._bytes) > 1:
            self._held -= len(self._bytes.popitem(last=False)[1])
        return data

    async def _in_thread(self, drawing: Drawing, kind: str, picture_format: str) -> bytes:
        # the words were checked when the options were made
        return await self._workers.run(render, drawing, kind, picture_format)  # type: ignore[arg-type]
