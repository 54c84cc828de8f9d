"""Image chat: a conversation in, an image out, in the form in which LiteLLM returns images from Gemini's models.

The text of the last user message is the prompt. Its images come first among the references, then those of earlier
messages, the newest first, each once: so "make the sky darker" edits the last image. The endpoint takes one prompt and
has no memory, so other texts, the system's included, are not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from litellm.types.utils import Choices, Delta, Message, ModelResponseStream, StreamingChoices, Usage

from apimaster.errors import BadRequestError

from . import reference_images
from .responses import Bought, ImageContent, add_metadata, data_uri

# Parameters of text models that mean nothing for an image.
UNSUPPORTED: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "response_format", "functions"),
        *("function_call", "tool_choice", "parallel_tool_calls", "reasoning_effort", "thinking", "audio", "prediction"),
    }
)
_NOT_IMAGE_PARAMETERS: Final = ("messages", "stream", "stream_options", "modalities")
_IMAGE_PART: Final = "image_url"
_TEXT_PART: Final = "text"
_USER: Final = "user"
_ASSISTANT: Final = "assistant"
_STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """What a conversation asks for: a text, and the URLs or data URIs of its images."""

    text: str
    references: list[str]


def image_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments without those that shape the response and not the image."""
    return {name: value for name, value in arguments.items() if name not in _NOT_IMAGE_PARAMETERS}


def prompt_of(messages: Sequence[Any]) -> ChatPrompt:
    """The prompt and the references of a conversation.

    Raises:
        BadRequestError: no user message has a text, or a part of the last one is neither a text nor an image.
        ReferenceImageError: an image is not given as a URL or a data URI.
    """
    conversation = [_as_dict(message) for message in messages]
    last = next((message for message in reversed(conversation) if message.get("role") == _USER), None)
    if last is None:
        raise BadRequestError("messages contains no user message", advice="Add one: its text is the prompt.")
    text, images = _parts(last.get("content"), strict=True)
    if not text.strip():
        raise BadRequestError("the last user message contains no text", advice="Add one: it is the prompt.")
    earlier = [_images_of(message) for message in conversation if message is not last]
    images += [image for images_of_message in reversed(earlier) for image in images_of_message]
    return ChatPrompt(text, reference_images.from_urls(list(dict.fromkeys(images))))


def chat_response(response: Any, bought: Bought) -> Any:
    """Fill LiteLLM's ``ModelResponse``: one message whose ``images`` are data URIs."""
    message = Message(role=_ASSISTANT, content="", images=_image_parts(bought.contents))
    response.choices = [Choices(index=0, finish_reason=_STOP, message=message)]
    response.usage = _usage()
    add_metadata(response, bought)
    return response


def stream_chunk(bought: Bought) -> ModelResponseStream:
    """The whole response as one chunk of a stream. LiteLLM itself adds the last, empty one."""
    delta = Delta(role=_ASSISTANT, content="", images=_image_parts(bought.contents))
    chunk = _Chunk(choices=[StreamingChoices(index=0, delta=delta)])  # type: ignore[call-arg]  # the rest has defaults
    chunk.usage = _usage()
    add_metadata(chunk, bought)
    return chunk


class _Chunk(ModelResponseStream):
    """LiteLLM 1.106 passes such an object through; 1.80 reads it like a dict with the keys of its generic chunk."""

    def __getitem__(self, key: str) -> Any:
        return self._generic()[key] if key in self._generic() else super().__getitem__(key)  # type: ignore[no-untyped-call]

    def get(self, key: str, default: Any = None) -> Any:
        return self._generic().get(key) or super().get(key, default)  # type: ignore[no-untyped-call]

    def __contains__(self, key: object) -> bool:
        return key in self._generic() or super().__contains__(key)

    def _generic(self) -> dict[str, Any]:
        return {_TEXT_PART: "", "is_finished": False, "finish_reason": "", "original_chunk": self, "tool_use": None}


def _parts(content: Any, *, strict: bool) -> tuple[str, list[Any]]:
    """The text and the images of a message's content."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts: list[str] = []
    images: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == _TEXT_PART:
            texts.append(str(part.get(_TEXT_PART) or ""))
        elif kind == _IMAGE_PART:
            images.append(_url(part.get(_IMAGE_PART)))
        elif strict:
            raise BadRequestError(f"a part of type {kind!r} is not accepted in a message; accepted: text, image_url")
    return "\n".join(text for text in texts if text), images


def _images_of(message: Mapping[str, Any]) -> list[Any]:
    """The images of an earlier message: its parts, and ``images`` where an image model answered."""
    generated = [_url(_as_dict(image).get(_IMAGE_PART)) for image in message.get("images") or ()]
    return [*_parts(message.get("content"), strict=False)[1], *generated]


def _url(value: Any) -> Any:
    return _as_dict(value).get("url") if not isinstance(value, str) else value


def _as_dict(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else {}


def _image_parts(contents: Sequence[ImageContent]) -> list[Any]:
    images = [content for content in contents if isinstance(content, bytes)]
    return [
        {"type": _IMAGE_PART, "index": index, _IMAGE_PART: {"url": data_uri(data)}} for index, data in enumerate(images)
    ]


class _Usage(Usage):
    """LiteLLM 1.80 unpacks the usage of a stream like a mapping."""

    def keys(self) -> list[str]:
        return list(self.model_dump())


def _usage() -> Any:
    # The endpoint charges per image and counts no tokens.
    return _Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
