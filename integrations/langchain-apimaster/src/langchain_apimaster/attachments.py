"""The images of a conversation that a model names as ``attachment:N``: the user's, and those of other tools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage

from apimaster import ReferenceImageError
from apimaster.adapters import picture_in


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image of the conversation.

    Attributes:
        block: the content block that holds it.
        message_id: a digest of the id of its message; empty if the message has none.
        fingerprint: a digest of the image, or of its URL: the same wherever it is attached again.
    """

    block: Mapping[str, Any]
    message_id: str
    fingerprint: str


def attached_images(messages: Sequence[Any]) -> list[Attachment]:
    """The images of a conversation, oldest first. It reads all of them: some 10 ms for each MB.

    Those of a provider that nobody else can fetch count, too: they are refused by name when they are asked for.
    """
    return [
        Attachment(block, message_digest(message), fingerprint)
        for message in messages_with_parts(messages)
        for block in _parts(message)
        if (fingerprint := _fingerprint(block)) is not None
    ]


def messages_with_parts(messages: Sequence[Any]) -> Iterator[Any]:
    """The messages that may hold an image: it looks at none."""
    for message in messages:
        is_own = isinstance(message, ToolMessage) and _is_of_this_package(message.artifact)
        if isinstance(message, (HumanMessage, ToolMessage)) and not is_own and any(True for _ in _parts(message)):
            yield message


def message_digest(message: Any) -> str:
    """A short name of a message, whatever its id looks like; empty if it has no id."""
    return _digest(message.id.encode("utf-8", "surrogatepass")) if message.id else ""


def _parts(message: Any) -> Iterator[Mapping[str, Any]]:
    for block in message.content if isinstance(message.content, list) else ():
        if isinstance(block, Mapping) and block.get("type") != "text":
            yield block


def _is_of_this_package(artifact: Any) -> bool:
    """Whether these tools brought a message: its pictures are in the store, and the block is a small copy."""
    images = artifact.get("images") if isinstance(artifact, Mapping) else None
    return bool(images) and all(isinstance(each, Mapping) and "id" in each and "path" in each for each in images or ())


def _fingerprint(block: Mapping[str, Any]) -> str | None:
    """A digest of the image of a block; None if it holds none."""
    try:
        found = picture_in(block)
    except ReferenceImageError:
        found = json.dumps(block, sort_keys=True, default=repr)
    if found is None:
        return None
    return _digest(found.encode("utf-8", "surrogatepass") if isinstance(found, str) else found)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
