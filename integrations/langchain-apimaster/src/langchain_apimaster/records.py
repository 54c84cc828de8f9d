"""What the store remembers, as JSON: pictures, and the tool calls that asked for them."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

IMAGE_ID: Final = re.compile(r"img_[a-z2-7]{12}")
TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class StoredImage(BaseModel):
    """One picture of the store.

    Attributes:
        id: ``img_…``, by which a model names it.
        path: a local path, or the URL of the file where the store is one.
        url: where the gateway keeps it, for a while.
        expires_at: when ``url`` ends, unix seconds, if the gateway said so.
        media_type: read from the bytes.
        width: pixels, read from the bytes.
        height: pixels, read from the bytes.
        aspect_ratio: what was asked for, or None.
        resolution: what was asked for, or None for the gateway's default.
        cost_usd: US dollars as exact decimal text, or None where the price is not known.
        model: the id of the image model.
        task: the id of the task that made it, or None after a one-shot call.
        deviations: what differs from what was asked, one sentence each.
        name: the file's name below the store's place.
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
        """The facts as a plain dict."""
        facts = self.model_dump(mode="json", exclude={"name", "model"})
        if self.url is not None and len(self.url) > _LONGEST_URL:
            facts["url"] = None  # the file is there, and an artifact lies in every checkpoint
        return facts


_LONGEST_URL: Final = 1000


class Job(BaseModel):
    """One image that a tool call asked for.

    ``sent``: the request went out, or was about to, and no answer is known. ``task``: it has a task.
    ``done``: its pictures are in the store. ``failed``: it ended without a charge. ``unsure``: it ended, and was or may
    have been charged, and there is no task to ask about it; ``error`` says what happened.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    state: Literal["sent", "task", "done", "failed", "unsure"] = "sent"
    task: str | None = None
    images: tuple[str, ...] = ()
    error: str | None = None
    message: str | None = None
    billed: Literal["no", "maybe", "yes"] = "maybe"


class CallRecord(BaseModel):
    """A tool call that asked for images: one job each. It is what a replay of the same call finds."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    tool: str
    model: str
    jobs: list[Job]


def image_id(task: str | None, output_index: int = 0) -> str:
    """The id of a picture: always the same for the same output of the same task, so fetching twice makes no second."""
    seed = hashlib.sha256(f"{task}/{output_index}".encode()).digest() if task else secrets.token_bytes(16)
    return "img_" + base64.b32encode(seed)[:12].decode().lower()
