"""The record of a picture in the store, kept as JSON, and the ids of pictures."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

IMAGE_ID: Final = re.compile(r"img_[a-z2-7]{12}")
TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MAX_URL_LENGTH: Final = 1000


class StoredImage(BaseModel):
    """A picture in the store.

    Attributes:
        id: ``img_…``; a model names the picture by it.
        path: a local path, or the file's fsspec URL where the store is behind fsspec.
        url: where the gateway keeps the picture for a while.
        expires_at: when ``url`` expires, in unix seconds, if the gateway said so.
        media_type: read from the bytes.
        width: pixels, read from the bytes.
        height: pixels, read from the bytes.
        aspect_ratio: as it was requested, or None.
        resolution: as it was requested, or None for the gateway's default.
        cost_usd: US dollars as exact decimal text, or None where the price is not known.
        model: the id of the image model.
        task: the id of the task that made it, or None if the gateway answered without a task.
        deviations: how the picture differs from the request, one sentence each.
        name: the file's name within the store.
    """

    # Built when first used, not at import.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    id: str
    path: str
    url: str | None = None
    expires_at: int | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    cost_usd: str | None = None
    model: str = ""
    task: str | None = None
    deviations: tuple[str, ...] = ()
    name: str = ""

    def as_artifact(self) -> dict[str, Any]:
        """The facts as a plain dict, for the artifact of a tool message."""
        facts = self.model_dump(mode="json", exclude={"name", "model"})
        if self.url is not None and len(self.url) > _MAX_URL_LENGTH:
            facts["url"] = None  # every checkpoint holds the artifact, and the file is in the store anyway
        return facts


def image_id(task: str | None, output_index: int = 0) -> str:
    """The id of a picture. The same output of the same task always has the same id, however often it is fetched."""
    return _image_id(hashlib.sha256(f"{task}/{output_index}".encode()).digest() if task else secrets.token_bytes(16))


def image_id_without_task(key: str, index: int, position: int) -> str:
    """The id of a picture that the gateway sent without a task: by its purchase, and its place in the reply."""
    return _image_id(hashlib.sha256(f"{key}/{index}/{position}".encode()).digest())


def _image_id(seed: bytes) -> str:
    return "img_" + base64.b32encode(seed)[:12].decode().lower()
