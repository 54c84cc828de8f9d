"""What a model sees of a tool: flat fields, written for it, narrowed by the application.

Only strings, integers, booleans and arrays of strings, no unions and no nesting: Gemini, OpenAI and Anthropic take that
alike. An optional field has a default instead of null; where a model sends null all the same, the default holds. What
is not shown to the model is refused if it comes anyway, for nothing that was asked for is silently dropped.

Which values are right is decided by the core, which knows spellings (``2k``, ``16x9``); the lists in the schema are
there to tell the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, create_model, model_validator

from apimaster import BadRequestError, ImageRequest
from apimaster.catalog import ASPECT_RATIOS, AUTO, DEFAULT_RESOLUTION, RESOLUTIONS, spec_for

OPTIONAL: Final = ("aspect_ratio", "resolution", "reference_images", "n", "google_search")
"""What an application may leave to the model, or choose itself."""

MOST_PER_CALL: Final = 4
"""Images that a model may ask for in one call, unless ``allowed`` says otherwise."""

_BUILT_IN: Final[Mapping[str, Any]] = {
    "aspect_ratio": AUTO,
    "resolution": DEFAULT_RESOLUTION,
    "reference_images": [],
    "n": 1,
    "google_search": False,
}
_PROMPT: Final = (
    "What to draw, in full sentences: subject, setting, composition, style, light, and any text that is to stand in "
    "the picture, word for word."
)
_CHANGE: Final = (
    "What to change in the reference images, or what to make of them, in full sentences. Say what must stay."
)


class Arguments(BaseModel):
    """The base of every schema: null means the default, and unknown fields are refused."""

    model_config = ConfigDict(defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_offered(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        unknown = [name for name in given if name not in cls.model_fields]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} can't be chosen here; accepted: {', '.join(cls.model_fields)}")
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Choices:
    """Who chooses what: the model, or the application. Values are kept in the endpoint's own spelling.

    Args:
        model: the id of the image model.
        defaults: the application's values, for fields of ``OPTIONAL``.
        expose: which of them the model may choose; None for all. The others are pinned.
        allowed: for some of them, the values that the model may choose from.

    Raises:
        ValueError: a name or a value is not accepted.
    """

    model: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expose: frozenset[str] | None = None
    allowed: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for argument, names in (("defaults", self.defaults), ("expose", self.expose or ()), ("allowed", self.allowed)):
            unknown = sorted(set(names) - set(OPTIONAL))
            if unknown:
                raise ValueError(f"{argument} names {', '.join(unknown)}; accepted: {', '.join(OPTIONAL)}")
        if "reference_images" in self.allowed:
            raise ValueError(
                "allowed can't list reference_images; leave it out of expose to keep the model from choosing"
            )
        object.__setattr__(self, "allowed", {name: self._spelled_all(name, of) for name, of in self.allowed.items()})
        object.__setattr__(self, "defaults", {name: self._spelled(name, of) for name, of in self.defaults.items()})
        for name, value in self.defaults.items():
            if name in self.allowed and value not in self.allowed[name]:
                raise ValueError(f"defaults has {name}={value!r}, which allowed does not list")

    def is_exposed(self, name: str) -> bool:
        """Whether the model may choose ``name``."""
        return self.expose is None or name in self.expose

    @property
    def can_refer(self) -> bool:
        """Whether there can be reference images at all."""
        return self.is_exposed("reference_images") or bool(self.defaults.get("reference_images"))

    def default(self, name: str) -> Any:
        """What holds where the model does not choose: the application's value, else the usual or first allowed one."""
        if name in self.defaults:
            return self.defaults[name]
        usual = _BUILT_IN[name]
        allowed = self.allowed.get(name, ())
        return usual if not allowed or usual in allowed else allowed[0]

    def on_the_wire(self, name: str, value: Any) -> Any:
        """``value`` as a request takes it: None for what is the gateway's own default anyway."""
        return None if value == _BUILT_IN[name] and name not in self.defaults else value

    def check(self, request: ImageRequest) -> None:
        """Hold ``request`` against ``allowed``.

        Raises:
            BadRequestError: a value is not one of those that the application allows.
        """
        for name, allowed in self.allowed.items():
            value = getattr(request, name)
            value = _BUILT_IN[name] if value is None else value
            if value not in allowed:
                raise BadRequestError(f"{name} {value!r} is not allowed here; allowed: {', '.join(map(str, allowed))}")
        if "n" not in self.allowed and request.n > self.most:
            raise BadRequestError(f"n is {request.n}; at most {self.most} pictures can be asked for in one call")

    @property
    def most(self) -> int:
        """Images per call, where ``allowed`` does not say."""
        return max(MOST_PER_CALL, int(self.default("n")))

    def _spelled_all(self, name: str, values: Any) -> tuple[Any, ...]:
        if isinstance(values, (str, bytes)) or not values:
            raise ValueError(f"allowed[{name!r}] must be a list of values, not {values!r}")
        return tuple(dict.fromkeys(self._spelled(name, value) for value in values))

    def _spelled(self, name: str, value: Any) -> Any:
        if name == "reference_images":
            if isinstance(value, (str, bytes)):
                raise ValueError("defaults['reference_images'] must be a list")
            return list(value)
        request = ImageRequest(prompt="(a check)", model=self.model, **{name: value})
        return getattr(request, name)


def arguments_of(title: str, choices: Choices, *, with_n: bool, must_refer: bool, has_folders: bool) -> type[Arguments]:
    """The schema of a tool that asks for pictures."""
    shown: dict[str, Any] = {"prompt": (str, Field(description=_CHANGE if must_refer else _PROMPT))}
    for name in OPTIONAL:
        if not choices.is_exposed(name) or (name == "n" and not with_n):
            continue
        default = choices.default(name)
        kind: Any
        if name in ("aspect_ratio", "resolution"):
            offered = choices.allowed.get(name, ASPECT_RATIOS if name == "aspect_ratio" else RESOLUTIONS)
            # As metadata of the type: LangChain copies fields, and leaves a field's own extras behind.
            kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(offered)})]
        elif name == "n":
            counts = choices.allowed.get(name, (1, choices.most))
            kind = Annotated[int, Field(ge=min(counts), le=max(counts))]
        else:
            kind = bool if name == "google_search" else list[str]
        about = _description(name, choices, has_folders)
        if name != "reference_images":
            shown[name] = (kind, Field(default=default, description=about))
        elif must_refer and not default:
            shown[name] = (kind, Field(description=about))
        else:
            # The application's own pictures are no business of the model's, and may be bytes.
            shown[name] = (kind, Field(default=[], description=about))
    return create_model(title, __base__=Arguments, **shown)


@lru_cache(maxsize=1)
def task_arguments() -> type[Arguments]:
    """The schema of ``get_image``."""
    wait = "true: wait until the picture is there. false: look once and say how far it is."
    return create_model(
        "GetImage",
        __base__=Arguments,
        task_id=(str, Field(description="The id of the task, as submit_image or an error message named it.")),
        wait=(bool, Field(default=True, description=wait)),
    )


def _description(name: str, choices: Choices, has_folders: bool) -> str:
    if name == "aspect_ratio":
        return "Width to height. 'auto' leaves it to the image model, which follows the first reference image."
    if name == "resolution":
        prices = spec_for(choices.model).prices
        offered = choices.allowed.get("resolution", RESOLUTIONS)
        costs = ", ".join(f"{tier} ${prices[tier]}" for tier in offered if tier in prices)
        usual = choices.default(name)
        return (
            f"How large the picture is; {usual} if left out. Larger ones take longer."
            f"{f' Cost per picture: {costs}.' if costs else ''}"
        )
    if name == "n":
        counts = choices.allowed.get(name, (1, choices.most))
        return f"How many pictures to make of this prompt, {min(counts)} to {max(counts)}. Each is paid for."
    if name == "google_search":
        return "true: look real, current facts up with Google first (weather, events, people, places)."
    files = ", a file name in the folder opened to you" if has_folders else ""
    return (
        "Pictures to start from: the id of an earlier picture (img_…), attachment:1 for the first image that the user "
        f"attached, attachment:2 for the second{files}, or a public https URL."
    )


def explain_validation(error: Any) -> str:
    """What is wrong with a model's arguments, for the model."""
    if not isinstance(error, ValidationError):
        return f"The arguments were not accepted: {error}"
    faults = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        cause = fault.get("ctx", {}).get("error")  # our own checks raise; pydantic's have a message only
        problem = fault["msg"] if cause is None else str(cause)
        faults.append(f"{place}: {problem}" if place else problem)
    return f"The arguments were not accepted: {'; '.join(faults)}. Nothing was sent or charged. Correct them."
