"""Image chat: a conversation in, an image out, in the form in which LiteLLM returns images from Gemini's models.

The text of the last user message is the prompt, after what the system says. Its images come first among the references,
then those of earlier messages, the newest first, each once: so "make the sky darker" edits the last image. An image may
be a part of a message, in the form of any provider, or stand in its text: as Markdown, as HTML, or as a data URI. The
endpoint takes one prompt and has no memory, so what users and assistants said before is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from litellm.types.utils import Choices, Delta, Message, ModelResponseStream, StreamingChoices, Usage

from apimaster.adapters import picture_in
from apimaster.errors import BadRequestError

from . import reference_images
from .deployment_defaults import EXTRA_BODY
from .parameter_values import ONLY_ON_REQUEST, boolean
from .pictures_in_text import take_pictures
from .responses import Bought, ImageContent, add_metadata, data_uri

# Parameters of text models that mean nothing for an image.
UNSUPPORTED: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "response_format", "functions"),
        *("function_call", "tool_choice", "parallel_tool_calls", "reasoning_effort", "thinking", "audio", "prediction"),
        *reference_images.MASKS,  # nothing says which picture of the conversation it is for
    }
)
_MODALITIES: Final = "modalities"
_IMAGE: Final = "image"
_ASK_FOR_IMAGES: Final = (
    'Send modalities=["image", "text"], or choose a text model for texts, such as titles in a chat interface.'
)
_NOT_IMAGE_PARAMETERS: Final = ("messages", "stream", "stream_options", _MODALITIES)
_IMAGE_PART: Final = "image_url"
_TEXT_PART: Final = "text"
_TEXT_PARTS: Final = (_TEXT_PART, "input_text", "output_text")
_SYSTEM: Final = ("system", "developer")
_USER: Final = "user"
_ASSISTANT: Final = "assistant"
_STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """What a conversation asks for: a text, and its images as URLs, data URIs or bytes."""

    text: str
    references: list[Any]


def image_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments without those that shape the response and not the image."""
    return {name: value for name, value in arguments.items() if name not in _NOT_IMAGE_PARAMETERS}


def check_modalities(arguments: Mapping[str, Any]) -> None:
    """Refuse a request that wants no image, or does not ask for one where the operator wants that.

    A chat interface asks a text model for titles and the like.

    Raises:
        BadRequestError: ``modalities`` names others only; or it is missing, and the deployment answers only requests
            that ask for an image.
    """
    extra_body = arguments.get(EXTRA_BODY)
    given = (extra_body.get(_MODALITIES) if isinstance(extra_body, Mapping) else None) or arguments.get(_MODALITIES)
    modalities = [given] if isinstance(given, str) else given or []
    if not isinstance(modalities, (list, tuple)):
        raise BadRequestError(f"{_MODALITIES} must be a list, not {given!r}", advice=_ASK_FOR_IMAGES)
    asked = _IMAGE in (str(each).strip().lower() for each in modalities)
    if modalities and not asked:
        names = ", ".join(map(str, modalities))
        raise BadRequestError(f"this model answers with images only, not with {names}", advice=_ASK_FOR_IMAGES)
    if boolean(ONLY_ON_REQUEST, arguments.get(ONLY_ON_REQUEST) or False) and not asked:
        raise BadRequestError("this model answers only requests that ask for an image", advice=_ASK_FOR_IMAGES)


def prompt_of(messages: Sequence[Any]) -> ChatPrompt:
    """The prompt and the references of a conversation.

    Raises:
        BadRequestError: no user message has a text, or a part of the last one is neither a text nor an image.
        ReferenceImageError: an image can't be read or fetched.
    """
    conversation = _without_continuation([_as_dict(message) for message in messages])
    last = next((message for message in reversed(conversation) if message.get("role") == _USER), None)
    if last is None:
        raise BadRequestError("messages contains no user message", advice="Add one: its text is the prompt.")
    text, images = _parts(last.get("content"), strict=True)
    images += _attached(last)
    if not text.strip():
        raise BadRequestError("the last user message contains no text", advice="Add one: it is the prompt.")
    said = [_parts(message.get("content"))[0] for message in conversation if message.get("role") in _SYSTEM]
    earlier = [_images_of(message) for message in conversation if message is not last]
    images += [image for images_of_message in reversed(earlier) for image in images_of_message]
    prompt = "\n\n".join([*(each for each in said if each.strip()), text])
    return ChatPrompt(prompt, reference_images.from_urls(list(dict.fromkeys(images))))


def _without_continuation(conversation: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The caller's own messages: after a stream that failed, LiteLLM adds two that ask a text model to go on.

    With them, the fallback of a request would be another request, and would be bought again.
    """
    if len(conversation) > 2 and conversation[-1].get("prefix") is True and conversation[-2].get("role") in _SYSTEM:
        return conversation[:-2]
    return conversation


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


def _parts(content: Any, *, strict: bool = False) -> tuple[str, list[Any]]:
    """The text and the images of a message's content. ``strict`` refuses parts that are neither."""
    texts: list[str] = []
    images: list[Any] = []
    for part in [content] if isinstance(content, str) else content or ():
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str) or kind in _TEXT_PARTS:
            text, found = take_pictures(part if isinstance(part, str) else str(part.get(_TEXT_PART) or ""))
            texts.append(text)
            images += found
            continue
        image = picture_in(part)
        if image is not None:
            images.append(image)
        elif strict:
            raise BadRequestError(f"a part of type {kind!r} is not accepted in a message; accepted: text, image_url")
    return "\n".join(text for text in texts if text), images


def _images_of(message: Mapping[str, Any]) -> list[Any]:
    """The images of an earlier message."""
    return [*_parts(message.get("content"))[1], *_attached(message)]


def _attached(message: Mapping[str, Any]) -> list[Any]:
    """The ``images`` of a message, where image models put theirs: objects, URLs, data URIs or base64."""
    attached = message.get("images") or ()
    each_alone = [attached] if isinstance(attached, (str, Mapping)) else attached
    images = [{_IMAGE_PART: image} if isinstance(image, str) else _as_dict(image) for image in each_alone]
    return [picture_in(image, expected=True) for image in images]


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
