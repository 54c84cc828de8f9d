"""Image chat: a conversation in, a picture out, in the form that LiteLLM gives to Gemini's image models.

The last user turn's text is the prompt. Its pictures come first among the references, then those of earlier turns,
the newest first, each once: so "make the sky darker" edits what was drawn last. Other texts, and the system's, are
not sent: the endpoint takes one prompt and has no memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from litellm.types.utils import Choices, Delta, Message, ModelResponseStream, StreamingChoices, Usage

from apimaster import ImageResult
from apimaster.errors import BadRequestError

from . import pictures_in
from .answers import close, data_uri

# What a chat model takes and a picture has no use for.
UNSUPPORTED: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "response_format", "functions"),
        *("function_call", "tool_choice", "parallel_tool_calls", "reasoning_effort", "thinking", "audio", "prediction"),
    }
)
_NOT_PARAMETERS: Final = ("messages", "stream", "stream_options", "modalities")
_IMAGE_PART: Final = "image_url"
_TEXT_PART: Final = "text"
_USER: Final = "user"
_STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a conversation asks for."""

    prompt: str
    pictures: list[str]


def parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments without those that shape the answer and not the picture."""
    return {name: value for name, value in arguments.items() if name not in _NOT_PARAMETERS}


def last_turn(messages: Sequence[Any]) -> Turn:
    """The prompt and the references of a conversation.

    Raises:
        BadRequestError: there is no user turn with text, or a part of it is neither text nor a picture.
        ReferenceImageError: a picture is not given as a URL or a data URI.
    """
    turns = [_as_dict(message) for message in messages]
    asking = next((turn for turn in reversed(turns) if turn.get("role") == _USER), None)
    if asking is None:
        raise BadRequestError("messages holds no user turn; its text is what is drawn")
    prompt, own = _parts(asking.get("content"), strict=True)
    if not prompt.strip():
        raise BadRequestError("the last user turn holds no text; say what to draw")
    earlier = [_pictures(turn) for turn in turns if turn is not asking]
    found = [*own, *(picture for pictures in reversed(earlier) for picture in pictures)]
    return Turn(prompt, pictures_in.urls(list(dict.fromkeys(found))))


def message(answer: Any, result: ImageResult, pictures: Sequence[bytes]) -> Any:
    """Fill LiteLLM's ``ModelResponse``: one message whose ``images`` hold the pictures as data URIs."""
    said = Message(role="assistant", content="", images=_images(pictures))
    answer.choices = [Choices(index=0, finish_reason=_STOP, message=said)]
    answer.usage = _usage()
    close(answer, result)
    return answer


def chunk(result: ImageResult, pictures: Sequence[bytes]) -> ModelResponseStream:
    """The whole answer as one piece of a stream. LiteLLM itself adds the last, empty one."""
    delta = Delta(role="assistant", content="", images=_images(pictures))
    made = _Chunk(choices=[StreamingChoices(index=0, delta=delta)])  # type: ignore[call-arg]  # it fills in the rest
    usage = _usage()
    if result.cost is not None:
        # LiteLLM reads the cost of a stream from here.
        usage.cost = float(result.cost)
    made.usage = usage
    close(made, result)
    return made


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
    """The text and the pictures of a turn's content."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts: list[str] = []
    pictures: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == _TEXT_PART:
            texts.append(str(part.get(_TEXT_PART) or ""))
        elif kind == _IMAGE_PART:
            pictures.append(_url(part.get(_IMAGE_PART)))
        elif strict:
            raise BadRequestError(f"a part of type {kind!r} is not accepted in a turn; accepted: text, image_url")
    return "\n".join(text for text in texts if text), pictures


def _pictures(turn: Mapping[str, Any]) -> list[Any]:
    """The pictures of an earlier turn: its parts, and ``images`` where an image model answered."""
    answered = [_url(_as_dict(each).get(_IMAGE_PART)) for each in turn.get("images") or ()]
    return [*_parts(turn.get("content"), strict=False)[1], *answered]


def _url(value: Any) -> Any:
    return _as_dict(value).get("url") if not isinstance(value, str) else value


def _as_dict(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else {}


def _images(pictures: Sequence[bytes]) -> list[Any]:
    return [
        {"type": _IMAGE_PART, "index": index, _IMAGE_PART: {"url": data_uri(data)}}
        for index, data in enumerate(pictures)
    ]


class _Usage(Usage):
    """LiteLLM 1.80 unpacks the usage of a stream like a mapping."""

    def keys(self) -> list[str]:
        return list(self.model_dump())


def _usage() -> Any:
    # The endpoint is paid per picture; it counts no tokens.
    return _Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
