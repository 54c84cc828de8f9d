"""Uploaded reference images, as far as the emulator keeps them.

That is a picture's size, its digest and a thumbnail; the bytes only of the latest ones, since a test may upload
hundreds of megabytes. A request for an image that names the URL knows the picture as if it were inside it.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from PIL import Image

from ..catalog import AUTO, MEBIBYTE, spec_for
from .clock import Clock
from .records import ReceivedReference
from .validation import GenerationRequest, Refusal, check_mask_size, pixels_for

UPLOAD_PATH: Final = "/uploads/"

_CACHE_BYTES: Final = 32 * MEBIBYTE
_THUMBNAIL_SIDE: Final = 256
_PIECE: Final = MEBIBYTE
_OPENED: Final = ("PNG", "JPEG", "GIF", "WEBP")
_FORMATS: Final = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "MPO": ("image/jpeg", "jpg"),  # a phone's JPEG with a second picture behind it
    "GIF": ("image/gif", "gif"),
    "WEBP": ("image/webp", "webp"),
}


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """What the emulator keeps of an uploaded picture. ``expires`` is in clock seconds."""

    token: str
    ending: str
    media_type: str
    size: int
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    expires: float


class Uploads:
    """Every uploaded picture, by the name in its URL; safe to use from any thread."""

    def __init__(self, clock: Clock, lifetime: float, history: int) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._history = history
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, UploadedImage] = OrderedDict()
        self._bytes: OrderedDict[str, bytes] = OrderedDict()
        self._byte_count = 0

    def add(self, file: BinaryIO) -> UploadedImage:
        """Keep a picture. Blocking: it reads and measures the file.

        Raises:
            Refusal: 400, it is not an image of a kind that the route takes.
        """
        made = _measured(file, self._clock.now() + self._lifetime)
        with self._lock:
            self._kept[made.token] = made
            if len(self._kept) > self._history:
                self._kept.popitem(last=False)
            file.seek(0)
            self._bytes[made.token] = file.read()
            self._byte_count += made.size
            while self._byte_count > _CACHE_BYTES:
                self._byte_count -= len(self._bytes.popitem(last=False)[1])
        return made

    def find(self, name: str) -> UploadedImage | None:
        """The picture with this file name; None if there is none, or if its URL has expired."""
        found = self._kept.get(name.partition(".")[0])
        return None if found is None or self._clock.now() >= found.expires else found

    def content(self, image: UploadedImage) -> tuple[bytes, str]:
        """The bytes that are left of a picture, and their media type."""
        data = self._bytes.get(image.token)
        return (image.thumbnail, "image/png") if data is None else (data, image.media_type)

    def all(self) -> list[UploadedImage]:
        """Every picture that is kept, oldest first."""
        with self._lock:
            return list(self._kept.values())

    def clear(self) -> None:
        """Forget all pictures."""
        with self._lock:
            self._kept.clear()
            self._bytes.clear()
            self._byte_count = 0

    def look_up(self, request: GenerationRequest) -> None:
        """Replace the references and the mask of a request that are uploads by what is known of them.

        Raises:
            Refusal: 400, the URL of an upload has expired, or there was never one, or the mask has another size.
        """
        given = request.references if request.mask is None else (*request.references, request.mask)
        if not any(reference.kind == "url" for reference in given):
            return
        inline = iter(request.reference_data)
        references: list[ReceivedReference] = []
        shown: list[bytes] = []
        for index, reference in enumerate(request.references):
            found = self._look_up(reference, f"image_urls[{index}]")
            if found is not None:
                shown.append(found.thumbnail)
                reference = described(reference, found)
            elif reference.kind == "data":
                shown.append(next(inline))
            references.append(reference)
        request.references, request.reference_data = tuple(references), tuple(shown)
        if request.mask is not None:
            found = self._look_up(request.mask, "mask_url")
            if found is not None:
                request.mask, request.mask_data = described(request.mask, found), found.thumbnail
            check_mask_size(request.mask, references[0])
        if request.aspect_ratio == AUTO:
            request.pixels = pixels_for(spec_for(request.model), AUTO, request.resolution, references)

    def _look_up(self, reference: ReceivedReference, place: str) -> UploadedImage | None:
        path = urlsplit(reference.url or "").path
        if reference.kind != "url" or not path.startswith(UPLOAD_PATH):
            return None
        found = self.find(path.removeprefix(UPLOAD_PATH))
        if found is None:
            raise Refusal(400, f"{place} could not be fetched", code="invalid_image")
        return found


def _measured(file: BinaryIO, expires: float) -> UploadedImage:
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    try:
        with Image.open(file, formats=_OPENED) as image:
            media_type, ending = _FORMATS[image.format or ""]
            width, height = image.size
            image.draft("RGB", (_THUMBNAIL_SIDE * 2, _THUMBNAIL_SIDE * 2))  # JPEG is decoded at a fraction of its size
            image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
            thumbnail = io.BytesIO()
            mode = "RGBA" if image.has_transparency_data else "RGB"  # of a mask, what is transparent counts
            image.convert(mode).save(thumbnail, "PNG", compress_level=1)
    except Exception:  # noqa: BLE001  # a decoder may raise anything about a broken picture
        raise Refusal(400, "the file is not an image; use JPEG, PNG, GIF or WebP", code="invalid_image") from None
    token = secrets.token_urlsafe(15)
    return UploadedImage(
        token, ending, media_type, size, digest.hexdigest(), width, height, thumbnail.getvalue(), expires
    )


def described(reference: ReceivedReference, image: UploadedImage) -> ReceivedReference:
    """A reference with what is known of the uploaded picture that it stands for."""
    return replace(
        reference,
        kind="upload",
        media_type=image.media_type,
        size=image.size,
        sha256=image.sha256,
        width=image.width,
        height=image.height,
    )
