"""ImageRequest: what a caller may ask for, checked before anything is sent.

The checks need no network and no disk, so building a request never blocks. The files behind references are read when
the request is sent.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from . import _model_rules as rules
from ._images import sizes
from ._references.reference import Reference, ReferenceLike
from .catalog import DEFAULT_MODEL, MAX_IMAGES, AspectRatio, ModelSpec, Resolution, model_id, spec_for
from .errors import BadRequestError, ReferenceImageError

__all__ = ["AspectRatio", "ImageRequest", "Mode", "Reference", "ReferenceLike", "ReferencesBy", "Resolution", "Webhook"]

Mode: TypeAlias = Literal["auto", "sync", "async"]
"""``auto`` submits and polls, or makes one shot if the gateway has no async route; ``sync`` makes one shot; ``async``
submits and polls only."""

ReferencesBy: TypeAlias = Literal["auto", "inline", "upload"]
"""How local reference images go out: ``auto`` inside the request while it stays below the gateway's limit, otherwise
uploaded before it; ``inline`` always inside; ``upload`` always uploaded. Public URLs go out as they are."""

# What was bought is read by what it was bought by: the rules of a model may have changed since.
_BOUGHT_BEFORE: Final[ContextVar[bool]] = ContextVar("apimaster_bought_before", default=False)
_PICTURES: Final = (("references",), ("mask",))
_ONE_MASK: Final = "Pass one path, URL, data URI, file, PIL image, or the bytes of one picture."

# A terminal draws nothing for these, although they hold letters.
_ESCAPES: Final = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
# Unicode calls them letters or symbols, and fonts leave them blank: Hangul fillers, an empty Braille cell, and the
# place of an object that was not copied.
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\ufffc")


class RegisteredEndpoint(Protocol):
    """What a request needs of a ``WebhookEndpoint``."""

    @property
    def id(self) -> str:
        """The id of the endpoint, ``whep_…``."""

    @property
    def verified(self) -> bool | None:
        """Whether the receiver has answered a challenge."""


class Webhook(BaseModel):
    """Where the gateway reports the end of a task.

    Attributes:
        endpoint_id: the id of a verified webhook endpoint, ``whep_…``; ``client.webhooks`` makes and lists them.
        events: which events to send.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    endpoint_id: str = Field(min_length=1)
    events: tuple[str, ...] = ("task.completed", "task.failed")

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, value: Any) -> Any:
        if isinstance(value, (dict, Webhook)):
            return value
        endpoint = _endpoint_id(value)
        if not isinstance(endpoint, str) or is_blank(endpoint):
            raise ValueError(
                f"webhook must be the id of an endpoint (whep_…), a WebhookEndpoint or a Webhook, not {_shown(value)}"
            )
        return {"endpoint_id": endpoint.strip()}


class ImageRequest(BaseModel):
    """What to make. Only fields that are set are sent.

    Args:
        prompt: what to draw; must not be empty. The gateway moderates it.
        model: a model id, or an alias such as ``nano-banana-2``. An id that the catalogue does not hold is accepted,
            without a price.
        aspect_ratio: ``auto``, ``1:1``, ``2:3``, ``3:2``, ``3:4``, ``4:3``, ``4:5``, ``5:4``, ``9:16``, ``16:9``,
            ``21:9``, ``1:4``, ``4:1``, ``1:8``, ``8:1``, or a size in pixels such as ``1920x1080``, which stands for
            the nearest ratio and the smallest resolution that covers it. Not every model takes all of them.
        resolution: ``0.5K``, ``1K`` (the gateway's default), ``2K`` or ``4K``. It decides the price.
        n: how many images, 1 to 100. Each has a task and a charge of its own.
        references: up to 14 reference images (16 for ``gpt-image-2``): paths, bytes, binary files, PIL images, public
            http(s) URLs or data URIs; JPEG, PNG or WebP, at most 10 MB each.
        mask: a picture of the same kinds and size limit that marks what to change in the first reference image, and has
            its pixels; only for models that take one (``gpt-image-2``).
        google_search: True grounds the picture in a Google search.
        google_image_search: True grounds it in a Google image search.
        client_reference_id: your own reference, which the webhook repeats.
        webhook: the id of a verified webhook endpoint, a ``WebhookEndpoint`` (its id), or a ``Webhook`` with its
            events.
        extra_body: further fields of the request body, sent as they are. What has an argument here must not be among
            them, under any of its names, nor ``stream``.

    What each model accepts is in ``apimaster.catalog``, which a user can correct (docs/models.md). What this says of
    the endpoint has its sources in docs/endpoint.md.

    Raises:
        BadRequestError: values are not accepted; the message names each field, its value and what is accepted, and the
            advice which models would take the request. If only reference images are at fault, it is a
            ``ReferenceImageError``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    prompt: str
    model: str = DEFAULT_MODEL
    aspect_ratio: AspectRatio | str | None = None
    resolution: Resolution | None = None
    n: int = 1
    references: tuple[Reference, ...] = ()
    mask: Reference | None = None
    google_search: bool | None = None
    google_image_search: bool | None = None
    client_reference_id: str | None = None
    webhook: Webhook | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as invalid:
            raise _as_bad_request(invalid, data) from None

    @field_validator("prompt")
    @classmethod
    def _prompt_says_something(cls, value: str) -> str:
        if is_blank(value):
            unseen = " (it holds invisible characters only)" if value.strip() else ""
            raise BadRequestError(f"prompt is empty{unseen}", advice="Say what to draw.")
        return value

    @field_validator("model")
    @classmethod
    def _model_has_a_name(cls, value: str) -> str:
        if not value.strip():
            raise BadRequestError("model is empty", advice="Leave it out for the default.")
        return model_id(value.strip())

    @field_validator("resolution", mode="before")
    @classmethod
    def _resolution_is_spelled_as_the_endpoint_does(cls, value: object) -> object:
        return sizes.read_resolution(value) if isinstance(value, str) else value

    @field_validator("n", mode="before")
    @classmethod
    def _n_is_a_count(cls, value: object) -> object:
        # pydantic would take True for 1, and "4" for 4: too easy a way to pay for more than was meant
        if type(value) is not int or not 1 <= value <= MAX_IMAGES:
            raise ValueError(f"n must be a whole number from 1 to {MAX_IMAGES}, not {_shown(value)}")
        return value

    @field_validator("references", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        # A single path or URL is an easy slip; iterated, it would be a list of letters.
        if value is None:
            return ()
        return value if isinstance(value, (list, tuple)) else (value,)

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_is_one_picture(cls, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            raise ReferenceImageError(f"mask is a {type(value).__name__}, not one picture", advice=_ONE_MASK)
        try:
            return Reference.of(value)
        except ReferenceImageError as error:
            own = error.advice if error.has_own_advice else None
            raise ReferenceImageError(f"mask: {error.message}", advice=own) from None

    @model_validator(mode="after")
    def _fits_the_model(self) -> ImageRequest:
        self._check_texts()
        asked = self._asked
        checked = rules.check(self.spec, asked)
        faults = [*checked.faults, *rules.check_extra_body(self.extra_body)]
        if faults and not _BOUGHT_BEFORE.get():
            raise _broken_rules(faults, asked)
        # The model is frozen for callers; here it is still being built.
        if not checked.faults:
            self.__dict__["aspect_ratio"] = checked.aspect_ratio
            self.__dict__["resolution"] = checked.resolution
        return self

    @property
    def _asked(self) -> rules.Asked:
        return rules.asked_of(
            aspect_ratio=self.aspect_ratio,
            resolution=self.resolution,
            references=len(self.references),
            mask=self.mask is not None,
            google_search=self.google_search,
            google_image_search=self.google_image_search,
            fields=tuple(self.extra_body),
        )

    def _check_texts(self) -> None:
        """Refuse what no request body and no ledger can hold, wherever the request comes from."""
        for name in ("prompt", "model", "client_reference_id"):
            if fault := text_fault(getattr(self, name) or ""):
                raise BadRequestError(f"{name} {fault}", advice="Take the character out.")
        try:
            written = json.dumps(self.extra_body, ensure_ascii=False, allow_nan=False) if self.extra_body else ""
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequestError(f"extra_body can't be written as JSON: {error}") from None
        if fault := text_fault(written):
            raise BadRequestError(f"extra_body {fault}", advice="Take the character out.")

    @property
    def spec(self) -> ModelSpec:
        """What the model accepts and costs."""
        return spec_for(self.model)

    @property
    def pictures(self) -> tuple[Reference, ...]:
        """The pictures that travel with the request: its references in order, and its mask, if it has one, last."""
        return self.references if self.mask is None else (*self.references, self.mask)

    @property
    def cost(self) -> Decimal | None:
        """US dollars for all ``n`` images if all arrive; None if the model's price is not known."""
        price = self.spec.price(self.resolution)
        return None if price is None else price * self.n

    @property
    def pixels(self) -> tuple[int, int] | None:
        """The width and height in pixels that the model draws for this, or None if the model chooses."""
        return self.spec.pixels(self.aspect_ratio, self.resolution)

    @classmethod
    def build(cls, prompt: str | ImageRequest, changes: dict[str, Any]) -> ImageRequest:
        """A request from a prompt, or from another request, with every change that is not None."""
        given = {name: value for name, value in changes.items() if value is not None}
        if isinstance(prompt, ImageRequest):
            if not given:
                return prompt
            return cls(**{name: getattr(prompt, name) for name in cls.model_fields} | given)
        return cls(prompt=prompt, **given)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space, controls, marks without a letter, zero-width and other blanks."""
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("", text)
    return not any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":  # it may be an emoji that is newer than this Python
        code = ord(character)
        unseen = code == 0x2065 or 0xFFF0 <= code <= 0xFFF8 or code >> 12 == 0xE0  # reserved for such characters
        return not unseen and code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF  # nor are these characters
    return category not in ("Cc", "Cf", "Cs", "Mn", "Me", "Mc", "Zs", "Zl", "Zp") and character not in _BLANKS


def read_stored(text: str) -> ImageRequest:
    """A request from the JSON of one that was made before: earlier versions bought blank prompts, too."""
    with bought_before():
        try:
            return ImageRequest.model_validate_json(text)
        except ValueError:
            fields = json.loads(text)
            prompt = fields.get("prompt") if isinstance(fields, dict) else None
            if not isinstance(prompt, str) or not is_blank(prompt):
                raise
            readable = ImageRequest.model_validate_json(json.dumps({**fields, "prompt": "-"}))
            return readable.model_copy(update={"prompt": prompt})


@contextmanager
def bought_before() -> Iterator[None]:
    """Requests that are read meanwhile were made before, and are not held against the rules of their model again.

    What was paid for can be collected, even if the catalogue says by now that the model does not take it.
    """
    token = _BOUGHT_BEFORE.set(True)
    try:
        yield
    finally:
        _BOUGHT_BEFORE.reset(token)


def text_fault(text: str) -> str:
    """What keeps a text out of a request and a ledger: half of a surrogate pair, or a NUL. Empty if nothing does."""
    if "\0" in text:
        return f"holds a NUL character at position {text.index(chr(0)) + 1}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        return f"holds half of a character (the lone surrogate U+{half:04X}) at position {error.start + 1}"
    return ""


def _endpoint_id(value: Any) -> Any:
    """The id in a ``WebhookEndpoint`` of ``client.webhooks``, or in one that was just made; anything else as it is."""
    endpoint = getattr(value, "endpoint", value)
    return endpoint.id if hasattr(endpoint, "id") and hasattr(endpoint, "verified") else value


def _broken_rules(faults: Sequence[rules.Fault], asked: rules.Asked) -> BadRequestError:
    """One error for all rules of a model that a request breaks."""
    kind = ReferenceImageError if all((fault.argument,) in _PICTURES for fault in faults) else BadRequestError
    return kind("; ".join(fault.sentence for fault in faults), advice=rules.advice_about(faults, asked))


def _as_bad_request(invalid: ValidationError, data: dict[str, Any]) -> BadRequestError:
    """One clear sentence per fault, without pydantic's own frame around it; advice if it holds for all faults.

    A fault of a field keeps pydantic from looking at the rules of the model, so these are looked at here: all faults of
    ``data`` are named together.
    """
    sentences = []
    advices = set()
    about_references = True
    only_fields = True
    for fault in invalid.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        cause = fault.get("ctx", {}).get("error")
        advices.add(cause.advice if isinstance(cause, BadRequestError) and cause.has_own_advice else None)
        about_references &= fault["loc"][:1] in _PICTURES or isinstance(cause, ReferenceImageError)
        only_fields &= bool(fault["loc"])
        if cause is not None:
            sentences.append(cause.message if isinstance(cause, BadRequestError) else str(cause))
        elif fault["type"] == "extra_forbidden":
            accepted = ", ".join(ImageRequest.model_fields)
            sentences.append(f"{place} is not a field; accepted: {accepted}")
        else:
            problem = fault["msg"]
            sentences.append(f"{place}: {problem[0].lower()}{problem[1:]}, not {_shown(fault['input'])}")
    if only_fields and not _BOUGHT_BEFORE.get():
        for broken in _rules_broken_by(data):
            if broken.sentence not in sentences:
                sentences.append(broken.sentence)
                advices.add(broken.advice or None)
                about_references &= (broken.argument,) in _PICTURES
    kind = ReferenceImageError if about_references else BadRequestError
    return kind("; ".join(sentences), advice=advices.pop() if len(advices) == 1 else None)


def _rules_broken_by(data: dict[str, Any]) -> Sequence[rules.Fault]:
    try:
        spec, asked = rules.read_loosely(data)
    except BadRequestError:  # the catalogue can't be read, and a fault of the field ``model`` says so
        return ()
    extra = data.get("extra_body")
    return [*rules.check(spec, asked).faults, *rules.check_extra_body(extra if isinstance(extra, dict) else {})]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
