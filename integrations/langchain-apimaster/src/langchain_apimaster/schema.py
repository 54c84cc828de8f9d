"""The arguments of a tool as a model sees them, and the application's policy on them.

The fields are strings, integers, booleans and arrays of strings, without unions and nesting, because Gemini, OpenAI and
Anthropic all take those. An optional field has a default instead of null; if a model sends null all the same, the
default holds. A field that the model is not shown is refused if it comes anyway, so that nothing is dropped silently.

The core decides which values are accepted, since it knows their spellings (``2k``, ``16x9``); the schema lists the
values only to inform the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, create_model, model_validator

from apimaster import BadRequestError, ImageRequest
from apimaster.catalog import AUTO, DEFAULT_RESOLUTION, ModelSpec, models_with_masks, spec_for

from .names import names_in

OPTIONAL: Final = ("aspect_ratio", "resolution", "reference_images", "n", "google_search")
"""The arguments that an application may leave to the model, or set itself."""

MASK: Final = "mask"
"""What an application may leave to the model besides, in an edit by an image model that takes masks."""

MAX_PER_CALL: Final = 4
"""Images that a model may ask for in one call, unless ``allowed`` says otherwise."""

_BUILT_IN: Final[Mapping[str, Any]] = {
    "reference_images": [],
    "n": 1,
    "google_search": False,
}
_PROMPT: Final = (
    "What to draw, in full sentences: subject, setting, composition, style, light, and any text that is to stand in "
    "the picture, word for word."
)
_EDIT_PROMPT: Final = (
    "What to change in the reference images, or what to make of them, in full sentences. Say what must stay."
)
_MASK: Final = (
    "A picture that marks what to change in the first reference image, named like one: of the same width and height, "
    "transparent where the picture is to be changed. Leave it out unless the user or the application has made one."
)


class Arguments(BaseModel):
    """The base of every tool's arguments: null means the default, and unknown fields are refused."""

    model_config = ConfigDict(defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _only_offered_fields(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        unknown = [name for name in given if name not in cls.model_fields]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} can't be chosen here; accepted: {', '.join(cls.model_fields)}")
        found = {name: value for name, value in given.items() if value is not None}
        if isinstance(found.get("reference_images"), (str, list, dict)):
            found["reference_images"] = names_in(found["reference_images"])
        if isinstance(found.get(MASK), (str, list, dict)):
            masks = names_in(found.pop(MASK))
            if len(masks) > 1:
                raise ValueError(f"mask is one picture, not {len(masks)}")
            found |= {MASK: masks[0]} if masks else {}
        return found


@dataclass(frozen=True)
class ArgumentPolicy:
    """Which arguments the model may choose, from which values. Values are kept in the endpoint's own spelling.

    Args:
        model: the id of the image model.
        defaults: the application's values, for any of ``OPTIONAL``.
        expose: which of these the model may choose, and ``mask``; None for all. The others keep their default.
        allowed: for any of them, the values that the model may choose from.

    Raises:
        ValueError: a name or a value is not accepted.
    """

    model: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expose: frozenset[str] | None = None
    allowed: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for argument, names in (("defaults", self.defaults), ("expose", self.expose or ()), ("allowed", self.allowed)):
            accepted = OPTIONAL if argument != "expose" else (*OPTIONAL, MASK)
            unknown = sorted(set(names) - set(accepted))
            if unknown:
                raise ValueError(f"{argument} names {', '.join(unknown)}; accepted: {', '.join(accepted)}")
        if MASK in (self.expose or ()) and not self.spec.masks:
            raise ValueError(f"expose names mask; {self.model} takes none, {' or '.join(models_with_masks())} does")
        if "reference_images" in self.allowed:
            raise ValueError(
                "allowed can't list reference_images; leave it out of expose to keep the model from choosing"
            )
        if "google_search" in (self.expose or ()) and not self.spec.google_search:
            raise ValueError(f"expose names google_search, and {self.model} does not search")
        object.__setattr__(self, "allowed", {name: self._canonical_list(name, of) for name, of in self.allowed.items()})
        object.__setattr__(self, "defaults", {name: self._canonical(name, of) for name, of in self.defaults.items()})
        for name, value in self.defaults.items():
            if name in self.allowed and value not in self.allowed[name]:
                raise ValueError(f"defaults has {name}={value!r}, which allowed does not list")

    @property
    def spec(self) -> ModelSpec:
        """What the image model accepts."""
        return spec_for(self.model)

    def is_exposed(self, name: str) -> bool:
        """Whether the model may choose ``name``: if the application lets it, and the image model has it."""
        if name == "google_search" and not self.spec.google_search:
            return False
        if name == "reference_images" and not self.spec.max_references:
            return False
        return self.expose is None or name in self.expose

    @property
    def allows_references(self) -> bool:
        """Whether there can be reference images: the model may name some, or the application has."""
        return self.is_exposed("reference_images") or bool(self.defaults.get("reference_images"))

    @property
    def allows_mask(self) -> bool:
        """Whether the model may name a mask: the image model is known to take one, or the application says so."""
        taken = self.spec.masks and self.spec.known
        return taken if self.expose is None else MASK in self.expose

    def default(self, name: str) -> Any:
        """The value if the model does not choose: the application's, else the usual one or the first allowed one."""
        if name in self.defaults:
            return self.defaults[name]
        usual = self._usual(name)
        allowed = self.allowed.get(name, ())
        return usual if not allowed or usual in allowed else allowed[0]

    def request_value(self, name: str, value: Any) -> Any:
        """``value`` for the request: None if it is the gateway's own default, which need not be sent."""
        return None if value == self._of_gateway(name) and name not in self.defaults else value

    def check(self, request: ImageRequest) -> None:
        """Check ``request`` against ``allowed``.

        Raises:
            BadRequestError: it has a value that the application does not allow.
        """
        for name, allowed in self.allowed.items():
            value = getattr(request, name)
            value = self._of_gateway(name) if value is None else value
            if value not in allowed:
                raise BadRequestError(f"{name} {value!r} is not allowed here; allowed: {', '.join(map(str, allowed))}")
        if "n" not in self.allowed and request.n > self.max_per_call:
            raise BadRequestError(f"n is {request.n}; one call can ask for at most {self.max_per_call} pictures")

    @property
    def max_per_call(self) -> int:
        """Images per call, if ``allowed`` does not say."""
        return max(MAX_PER_CALL, int(self.default("n")))

    def _of_gateway(self, name: str) -> Any:
        """What the gateway takes if a request says nothing."""
        if name == "aspect_ratio":
            return self.spec.default_aspect_ratio
        return DEFAULT_RESOLUTION if name == "resolution" else _BUILT_IN[name]

    def _usual(self, name: str) -> Any:
        """The same, or the first value that the image model accepts."""
        usual = self._of_gateway(name)
        accepted = _accepted(self.spec, name)
        return usual if not accepted or usual in accepted else accepted[0]

    def _canonical_list(self, name: str, values: Any) -> tuple[Any, ...]:
        if isinstance(values, (str, bytes)) or not values:
            raise ValueError(f"allowed[{name!r}] must be a list of values, not {values!r}")
        return tuple(dict.fromkeys(self._canonical(name, value) for value in values))

    def _canonical(self, name: str, value: Any) -> Any:
        if name == "reference_images":
            if isinstance(value, (str, bytes)):
                raise ValueError("defaults['reference_images'] must be a list")
            return list(value)
        request = ImageRequest(prompt="(a check)", model=self.model, **{name: value})
        return getattr(request, name)


def request_arguments(
    title: str, policy: ArgumentPolicy, *, with_n: bool, needs_references: bool, has_folders: bool
) -> type[Arguments]:
    """The schema of a tool that asks for pictures."""
    shown: dict[str, Any] = {"prompt": (str, Field(description=_EDIT_PROMPT if needs_references else _PROMPT))}
    for name in OPTIONAL:
        if not policy.is_exposed(name) or (name == "n" and not with_n):
            continue
        default = policy.default(name)
        kind: Any
        if name in ("aspect_ratio", "resolution"):
            offered = policy.allowed.get(name, _accepted(policy.spec, name))
            # The enum is metadata of the type, because LangChain copies fields without their ``json_schema_extra``.
            kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(offered)})] if offered else str
        elif name == "n":
            counts = policy.allowed.get(name, (1, policy.max_per_call))
            kind = Annotated[int, Field(ge=min(counts), le=max(counts))]
        else:
            kind = bool if name == "google_search" else list[str]
        description = _description(name, policy, has_folders)
        if name != "reference_images":
            shown[name] = (kind, Field(default=default, description=description))
        elif needs_references and not default:
            shown[name] = (kind, Field(description=description))
        else:
            # The model is not shown the application's own pictures, which may be bytes.
            shown[name] = (kind, Field(default=[], description=description))
    if needs_references and policy.allows_mask:
        shown[MASK] = (str, Field(default="", description=_MASK))
    return _built(create_model(title, __base__=Arguments, **shown))


@lru_cache(maxsize=1)
def task_arguments() -> type[Arguments]:
    """The schema of ``get_image``."""
    wait = "true: wait until the picture is there. false: look once and say how far it is."
    return _built(
        create_model(
            "GetImage",
            __base__=Arguments,
            task_id=(str, Field(description="The id of the task, as submit_image or an error message named it.")),
            wait=(bool, Field(default=True, description=wait)),
        )
    )


def _accepted(spec: ModelSpec, name: str) -> Sequence[str]:
    """The values of an argument that an image model accepts; empty if they are no list, or the table states none."""
    if name == "aspect_ratio" and "aspect_ratios" in spec.stated:
        return spec.sizes
    return spec.resolutions if name == "resolution" and "resolutions" in spec.stated else ()


def _built(arguments: type[Arguments]) -> type[Arguments]:
    """``arguments``, complete: a model that is not built yet has an empty signature, and hosts read that.

    LangChain before 1.6 and other frameworks take a tool without arguments from it. Only the base is built late, since
    that is made when the package is imported.
    """
    arguments.model_rebuild()
    return arguments


def _description(name: str, policy: ArgumentPolicy, has_folders: bool) -> str:
    if name == "aspect_ratio":
        choice = " 'auto' leaves it to the image model, which follows the first reference image."
        return f"Width to height.{choice if AUTO in policy.allowed.get(name, _accepted(policy.spec, name)) else ''}"
    if name == "resolution":
        prices = policy.spec.prices
        offered = policy.allowed.get("resolution", policy.spec.resolutions)
        costs = ", ".join(f"{tier} ${prices[tier]}" for tier in offered if tier in prices)
        usual = policy.default(name)
        return (
            f"How large the picture is; {usual} if left out. Larger ones take longer."
            f"{f' Cost per picture: {costs}.' if costs else ''}"
        )
    if name == "n":
        counts = policy.allowed.get(name, (1, policy.max_per_call))
        return f"How many pictures to make of this prompt, {min(counts)} to {max(counts)}. Each is paid for."
    if name == "google_search":
        return "true: look real, current facts up with Google first (weather, events, people, places)."
    files = ", a file name in the folder opened to you" if has_folders else ""
    return (
        "Pictures to start from: the id of an earlier picture (img_…), attachment:1 for the first image that the user "
        "attached, attachment:2 for the second (counted in the whole conversation, also those that you don't see any "
        f"more), attachment:latest for the newest{files}, or a public https URL."
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
