"""The delivered pictures: their public URLs, which expire, and their bytes, which are drawn when somebody first asks.

The name in a URL can't be guessed, so such a URL needs no key; the durable route asks by task id and key instead. Two
threads draw, so that a 4K picture does not block the server, and clients that ask for the same picture at the same
time share one drawing. Only the latest pictures stay in memory.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .clock import Clock
from .image_jobs import ImageJob
from .options import Options
from .picture import MEDIA_TYPES, Drawing, draw_picture
from .worker_threads import WorkerThreads

_CACHE_BYTES: Final = 64 * 1024 * 1024
_REFERENCE_BYTES: Final = 64 * 1024 * 1024
_ENDINGS: Final = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One delivered picture: its name, its job, its place among the job's pictures, and when its URL expires.

    ``expires`` is in clock seconds.
    """

    token: str
    job: ImageJob
    index: int
    expires: float


@dataclass(frozen=True, slots=True)
class _KeptPictures:
    """The bytes of the pictures that came inside a request, for its thumbnails."""

    references: tuple[bytes, ...] = ()
    mask: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.references)) + len(self.mask or b"")


class PictureStore:
    """Finds a picture by the name in its URL, and draws it."""

    def __init__(self, options: Options, clock: Clock, threads: WorkerThreads) -> None:
        self._options = options
        self._clock = clock
        self._threads = threads
        self._pictures: OrderedDict[str, StoredPicture] = OrderedDict()
        self._bytes: OrderedDict[str, bytes] = OrderedDict()
        self._byte_count = 0
        self._drawings: dict[str, asyncio.Future[bytes]] = {}
        self._references: OrderedDict[str, _KeptPictures] = OrderedDict()
        self._reference_bytes = 0
        self._lock = threading.Lock()

    @property
    def media_type(self) -> str:
        """The media type of the pictures."""
        return MEDIA_TYPES[self._options.picture_format]

    def remember_references(self, job: ImageJob) -> None:
        """Take the reference images from a job and keep them for its thumbnails, as long as there is room."""
        kept = _KeptPictures(job.request.reference_data, job.request.mask_data)
        job.request.reference_data, job.request.mask_data = (), None
        if not kept.size or self._options.pictures != "full":
            return
        with self._lock:
            self._references[job.id] = kept
            self._reference_bytes += kept.size
            while self._reference_bytes > _REFERENCE_BYTES:
                self._reference_bytes -= self._references.popitem(last=False)[1].size

    def publish(self, job: ImageJob) -> list[str]:
        """The URL paths of a finished job's pictures; the first call names the pictures."""
        if not job.image_tokens:
            expires = (job.ended_at if job.ended_at is not None else self._clock.now()) + self._options.url_lifetime
            for index in range(job.images + job.extra_images):
                token = secrets.token_urlsafe(15)
                self._pictures[token] = StoredPicture(token, job, index, expires)
                job.image_tokens.append(token)
            while len(self._pictures) > self._options.history:
                self._pictures.popitem(last=False)
        lying = job.dialect.lying_ending and self._options.picture_format != "jpeg"
        ending = "jpg" if lying else _ENDINGS[self._options.picture_format]
        return [f"/imgs/{token}.{ending}" for token in job.image_tokens]

    def find(self, token: str) -> StoredPicture | None:
        """The picture of that name, even if its URL has expired."""
        return self._pictures.get(token)

    def expired(self, picture: StoredPicture) -> bool:
        """Whether the URL of a picture has expired."""
        return self._clock.now() >= picture.expires

    async def read(self, picture: StoredPicture) -> bytes:
        """The bytes of a picture, drawn now if nobody has asked for it before."""
        data = self._bytes.get(picture.token)
        if data is not None:
            self._bytes.move_to_end(picture.token)
            return data
        drawing = self._drawings.get(picture.token)
        if drawing is None:
            drawing = asyncio.ensure_future(self._draw_and_keep(picture.token, self.drawing_of(picture)))
            self._drawings[picture.token] = drawing
        return await asyncio.shield(drawing)

    async def draw(self, drawing: Drawing, picture_format: str | None = None, kind: str | None = None) -> bytes:
        """Draw something that is not kept: a thumbnail, or a wrong picture."""
        return await self._in_thread(
            drawing, kind or self._options.pictures, picture_format or self._options.picture_format
        )

    def drawing_of(self, picture: StoredPicture, size: tuple[int, int] | None = None) -> Drawing:
        """What to draw for a picture, at its own size or at another."""
        job, request = picture.job, picture.job.request
        width, height = request.pixels
        delivered = job.images + job.extra_images
        number = f" · {picture.index + 1} of {delivered}" if delivered > 1 else ""
        asked = f"{request.aspect_ratio} · {request.resolution} · {width} x {height}"
        width, height = size or request.pixels
        kept = self._references.get(job.id, _KeptPictures())
        masked = " · mask" if request.mask is not None else ""
        return Drawing(
            seed=f"{request.prompt}/{job.id}/{picture.index}",
            prompt=request.prompt,
            caption=f"{asked} · {request.model}{number}{masked} · emulator",
            width=width,
            height=height,
            thumbnails=kept.references,
            references=len(request.references),
            has_mask=request.mask is not None,
            mask=kept.mask,
        )

    def clear(self) -> None:
        """Forget all pictures."""
        with self._lock:
            self._pictures.clear()
            self._bytes.clear()
            self._byte_count = 0
            self._references.clear()
            self._reference_bytes = 0

    async def _draw_and_keep(self, token: str, drawing: Drawing) -> bytes:
        try:
            data = await self._in_thread(drawing, self._options.pictures, self._options.picture_format)
        finally:
            self._drawings.pop(token, None)
        self._bytes[token] = data
        self._byte_count += len(data)
        while self._byte_count > _CACHE_BYTES and len(self._bytes) > 1:
            self._byte_count -= len(self._bytes.popitem(last=False)[1])
        return data

    async def _in_thread(self, drawing: Drawing, kind: str, picture_format: str) -> bytes:
        abandoned = self._threads.closing
        # make_options has checked both texts
        return await self._threads.run(draw_picture, drawing, kind, picture_format, abandoned)  # type: ignore[arg-type]
