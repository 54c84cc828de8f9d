"""The images of a conversation that a model names as ``attachment:N``.

They are the user's, those of other tools, and those that the assistant made with other tools, in the messages of all
three: as a content block of any provider's form, within the result of a tool, or as a data URI in a text. The small
copies that these tools show don't count: their pictures have ids (``img_…``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from apimaster import ReferenceImageError
from apimaster.adapters import picture_in

from .records import IMAGE_ID

_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_DATA_URI: Final = re.compile(r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/_-]{16,}={0,2}", re.IGNORECASE)
# What blocks that hold others keep them in. They are results of tools: Anthropic's ``tool_result`` (content), OpenAI's
# ``computer_call_output`` (output), Google's ``function_response`` (parts) and Bedrock's ``toolResult`` (content).
_WITHIN: Final = ("content", "output", "outputs", "parts", "toolResult", "functionResponse", "function_response")
_MAX_DEPTH: Final = 5
_OF_THESE_TOOLS: Final = re.compile(rf"\b{IMAGE_ID.pattern}\b")
_TELLS_A_TYPE: Final = ("mime_type", "mimeType", "media_type", "mediaType", "format", "filename", "file_name", "name")


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


def files_of_providers(messages: Sequence[Any]) -> list[str]:
    """The ids of attached files of which only their provider knows whether they are images."""
    found = []
    for message in messages_with_parts(messages):
        for block in _parts(message):
            file = block["file"] if isinstance(block.get("file"), Mapping) else block
            held = file.get("file_id") or file.get("fileId")
            is_told = any(isinstance(held_in.get(each), str) for held_in in (block, file) for each in _TELLS_A_TYPE)
            if held and not is_told and block.get("type") in ("file", "input_file") and _fingerprint(block) is None:
                found.append(str(held))
    return found


def messages_with_parts(messages: Sequence[Any]) -> Iterator[Any]:
    """The messages that may hold an image: it looks at none."""
    for message in messages:
        is_own = isinstance(message, ToolMessage) and _is_of_this_package(message.artifact)
        is_known = isinstance(message, (HumanMessage, ToolMessage, AIMessage))
        if is_known and not is_own and any(True for _ in _parts(message)):
            yield message


def message_digest(message: Any) -> str:
    """A short name of a message, whatever its id looks like; empty if it has no id."""
    return _digest(message.id.encode("utf-8", "surrogatepass")) if message.id else ""


def _parts(message: Any) -> Iterator[Mapping[str, Any]]:
    yield from _blocks(message.content)
    # where LangChain's older format has what OpenAI's own tools made
    yield from _blocks(message.additional_kwargs.get("tool_outputs") if isinstance(message, AIMessage) else ())


def _blocks(content: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The blocks of a content that may hold an image, also those within others."""
    if isinstance(content, str):
        yield from ({"type": "image", "url": uri} for uri in _DATA_URI.findall(content))
    elif isinstance(content, Mapping):
        inner = [content[each] for each in _WITHIN if isinstance(content.get(each), (list, Mapping))]
        if content.get("type") in _TEXTS:
            yield from _blocks(str(content.get("text") or ""), depth)
        elif not inner:
            yield content
        elif depth < _MAX_DEPTH and not any(map(_is_from_these_tools, inner)):
            for each in inner:
                yield from _blocks(each, depth + 1)
    elif isinstance(content, list):
        for each in content:
            yield from _blocks(each, depth)


def _is_from_these_tools(content: Any) -> bool:
    """Whether a result of a tool names a picture of the store: then its images are the small copies."""
    blocks = content if isinstance(content, list) else [content]
    texts = [str(each.get("text") or "") for each in blocks if isinstance(each, Mapping)]
    return any(map(_OF_THESE_TOOLS.search, texts))


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
