"""From LiteLLM's parameters to an ``ImageRequest``: a table of names, and what each means here.

=====================================  ==================================================================
parameter                              meaning
=====================================  ==================================================================
aspect_ratio, resolution               as they are
size                                   an aspect ratio, ``auto`` (no wish where a model has none), or pixels
quality                                low the smallest, high and hd 2K, others no change; passed on to other models
image_config                           ``aspect_ratio`` and ``image_size``, as other gateways' chat clients ask
aspectRatio, imageSize, …              the same under the names of other APIs (``spellings``)
n                                      1 to 10, each image a task of its own
response_format                        ``url`` or ``b64_json``
image, image_urls, images, …           references (``reference_images``), those of ``image`` first
mask, mask_url                         marks what to change in the first one; only for models that take one
references_by                          ``auto``, ``inline`` or ``upload``: how pictures of the call go out
google_search, google_image_search     true or false
client_reference_id, webhook           as they are
idempotency_key                        the same key of the same caller brings the same image (``identity``)
style, background, mask elsewhere, …   UnsupportedParamsError, or dropped under ``drop_params``; ``auto`` is accepted
stream, partial_images                 refused, also under ``drop_params`` and ``additional_drop_params``
messages, contents, input              refused: a call for images draws ``prompt``
anything else that is not LiteLLM's    passed to the gateway unchanged, as LiteLLM's other providers do
=====================================  ==================================================================

The caller can put all of them in the call or in its ``extra_body``, an operator in a deployment's ``litellm_params``.
The call wins over the deployment: the aspect ratio and the resolution are from the call if it says them in any way, and
else from the deployment. ``user`` stays with LiteLLM, which tracks spend by it; the endpoint has no such
field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import litellm
from litellm.exceptions import UnsupportedParamsError

from apimaster import ImageRequest
from apimaster.catalog import DEFAULT_MODEL, ModelSpec, models_with_masks, spec_for
from apimaster.errors import BadRequestError
from apimaster.request import ReferencesBy

from .call_arguments import is_provider_parameter
from .deployment_defaults import EXTRA_BODY, ParameterSource, arguments_of_caller, parameter_sources
from .identity import IDEMPOTENCY_KEY
from .parameter_values import (
    BASE64,
    ONLY_ON_REQUEST,
    URL,
    boolean,
    count,
    is_nothing,
    references_by,
    response_format,
)
from .reference_images import IMAGE_URLS, MASKS, References, gives_mask, is_reference_name
from .shape import ASPECT_RATIO, IMAGE_CONFIG, IMAGE_CONFIGS, QUALITY, RESOLUTION, SIZE, read_image_config, shape_of
from .spellings import N, read_other_spellings
from .stray_pictures import CONVERSATIONS, refuse_conversations, refuse_pictures

PROVIDER: Final = "apimaster"
_RESPONSE_FORMAT: Final = "response_format"
_REFERENCES_BY: Final = "references_by"
_BOOLEANS: Final = ("google_search", "google_image_search")
_UNCHANGED: Final = ("client_reference_id", "webhook")
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{name: partial(boolean, name) for name in _BOOLEANS},
    N: count,
    _RESPONSE_FORMAT: response_format,
    _REFERENCES_BY: references_by,
}
_SHAPE: Final = frozenset({SIZE, QUALITY, ASPECT_RATIO, RESOLUTION, *IMAGE_CONFIGS})
_SUPPORTED: Final = frozenset(
    {*_SHAPE, IMAGE_URLS, N, _RESPONSE_FORMAT, _REFERENCES_BY, *_BOOLEANS, *_UNCHANGED, IDEMPOTENCY_KEY}
)

# OpenAI's other image parameters. Some models behind the endpoint take the first group.
_PASSED_TO_OTHER_MODELS: Final = frozenset({"background", "moderation", "output_compression", "output_format"})
# They change the form of the answer: without them, the caller pays and waits for something else. And LiteLLM, from
# 1.80.11 to 1.110.2, can't carry a stream of images from a custom provider. The proxy's ``image_generation``
# (proxy/image_endpoints/endpoints.py) writes what the provider returns as one JSON answer: of a stream it makes a 500
# after the purchase. The ``client`` wrapper (utils.py) takes ``stream=True`` for a chat stream, which reports its own
# end (``_is_streaming_request``), and leaves out the success event and the cost. Only an edit's stream would reach the
# client of a proxy, and LiteLLM would book no spend for it.
STREAM: Final = "stream"
_NEVER_DROPPED: Final = frozenset({"partial_images", STREAM})
_NO_STREAM: Final = (
    "LiteLLM carries no stream of images from a custom provider, and drop_params does not drop what changes the form "
    "of the answer. Leave it out; the answer comes whole."
)
_UNSUPPORTED: Final = (
    _PASSED_TO_OTHER_MODELS
    | _NEVER_DROPPED
    | MASKS
    | {"extra_query", "input_fidelity", "style", "tools", "web_search_options"}
)
# Values that ask for what happens anyway. A form writes false and 0 as texts.
_ASKS_FOR_NOTHING: Final = {
    "background": ("auto",),
    "moderation": ("auto",),
    "output_format": ("png",),
    "output_compression": ("100",),
    "input_fidelity": ("low",),
    "stream": ("false", "0"),
    "partial_images": ("0",),
}
# The rest of LiteLLM's own signature: other code reads these, or the endpoint has no use for them.
_NOT_FOR_THE_GATEWAY: Final = frozenset(
    {
        *("model", "prompt", "messages", "user", "timeout", "client", "stream_options", "modalities"),
        *("api_key", "api_base", "api_version", "base_url", "headers", "extra_headers", EXTRA_BODY),
        *("custom_llm_provider", "async_call", "aimg_generation", "acompletion", "max_retries", "request_timeout"),
        *("deployment_id", "organization", "default_headers"),
        *("drop_params", "additional_drop_params", "allowed_openai_params", ONLY_ON_REQUEST),
    }
)


@dataclass(frozen=True, slots=True)
class ParsedParams:
    """A checked request.

    Attributes:
        request: what goes to the gateway.
        asked: what the caller asked for; a Router chose the model and the deployment's defaults.
        inline: whether the response carries the images themselves instead of URLs.
        references_by: how local reference images go out; None: as the client says.
    """

    request: ImageRequest
    asked: ImageRequest
    inline: bool
    references_by: ReferencesBy | None = None


def parse(
    arguments: Mapping[str, Any],
    *,
    model: str,
    prompt: str,
    reader: References,
    references: Sequence[Any] = (),
    also_unsupported: frozenset[str] = frozenset(),
) -> ParsedParams:
    """The request that a call's arguments stand for.

    Args:
        arguments: all of the call's arguments, LiteLLM's internal ones included.
        model: the model id, without ``apimaster/``.
        prompt: what to draw.
        reader: reads the reference images among the arguments.
        references: reference images from elsewhere; they come first.
        also_unsupported: further names that this kind of call does not support.

    Raises:
        UnsupportedParamsError: a parameter is not supported and ``drop_params`` is off.
        BadRequestError: a value is not accepted. This is the core's error, for the caller to translate.
    """
    about: dict[str, Any] = {
        "prompt": prompt,
        "reader": reader,
        "references": references,
        "also_unsupported": also_unsupported,
    }
    parsed = _parse(arguments, model=model, **about)
    own = arguments_of_caller(arguments, is_parameter=_is_parameter)
    try:  # by the rules of one model, whichever the Router has chosen
        asked = _parse(own, model=_model_to_compare_by(own), **about).request
    except (BadRequestError, UnsupportedParamsError):
        return parsed  # only other models draw this
    return replace(parsed, asked=asked)


def _model_to_compare_by(own: Mapping[str, Any]) -> str:
    """A model that takes what the caller gives: a mask counts also where ``drop_params`` drops it for another model."""
    given = any(gives_mask(source.merged) for source in parameter_sources(own))
    return next(iter(models_with_masks()), DEFAULT_MODEL) if given else DEFAULT_MODEL


def _parse(
    arguments: Mapping[str, Any],
    *,
    model: str,
    prompt: str,
    reader: References,
    references: Sequence[Any],
    also_unsupported: frozenset[str],
) -> ParsedParams:
    spec = spec_for(model)
    unsupported = _UNSUPPORTED | also_unsupported
    if not spec.strict_sizes:
        unsupported -= _PASSED_TO_OTHER_MODELS
    takes_mask = spec.masks and not MASKS & also_unsupported
    if takes_mask:
        unsupported -= MASKS
    known = _SUPPORTED.union(unsupported, CONVERSATIONS, MASKS)
    found: list[dict[str, Any]] = []
    extra_body: dict[str, Any] = {}
    pictures: list[Any] = []
    mask: Any = None
    for source in parameter_sources(arguments):
        given = {name: value for name, value in source.merged.items() if not (name in known and is_nothing(value))}
        pictures = reader.take(given) or pictures
        dropped = arguments.get("additional_drop_params") or ()
        _take_spellings(given, spec, [name for name in dropped if name not in _NEVER_DROPPED])
        if takes_mask:
            own_mask = reader.take_mask(given)
            mask = mask if own_mask is None else own_mask
        refuse_conversations(given)
        _check_supported(given, unsupported, arguments, model)
        unknown = {name: given[name] for name in _parameters_to_pass_on(source) if name in given and name not in known}
        refuse_pictures(unknown)
        extra_body |= unknown
        found.append(given)
    faults: list[BadRequestError] = []
    fields = _request_fields(found, spec, faults)
    qualities = [given[QUALITY] for given in found if QUALITY in given]
    if qualities and not spec.strict_sizes:
        extra_body[QUALITY] = qualities[-1]
    references = [*references, *pictures]
    inline = fields.pop(_RESPONSE_FORMAT, URL) == BASE64
    by = fields.pop(_REFERENCES_BY, None)
    pictures_of = {"references": references, "mask": mask}
    request = _request({"prompt": prompt, "model": model, **pictures_of, "extra_body": extra_body, **fields}, faults)
    return ParsedParams(request, request, inline, by)


def _request(fields: Mapping[str, Any], faults: Sequence[BadRequestError]) -> ImageRequest:
    """The request, unless a parameter was at fault or the model does not take it: all faults are one error."""
    try:
        request = ImageRequest(**fields)
    except BadRequestError as error:
        if not faults:
            raise
        faults = [*faults, error]
    if faults:
        raise BadRequestError("; ".join(fault.message for fault in faults))
    return request


def drops_unsupported(arguments: Mapping[str, Any]) -> bool:
    """Whether the caller or the operator asked LiteLLM to drop parameters that a provider does not support."""
    return litellm.drop_params is True or arguments.get("drop_params") is True


def _parameters_to_pass_on(source: ParameterSource) -> dict[str, Any]:
    """What goes to the gateway unless it is known here: all of ``extra_body``, and arguments that are not LiteLLM's."""
    arguments = {name: value for name, value in source.arguments.items() if _is_passed_on(name)}
    return {**arguments, **{name: value for name, value in source.extra_body.items() if not _is_internal(name)}}


def _is_passed_on(name: str) -> bool:
    return name not in _NOT_FOR_THE_GATEWAY and not _is_internal(name) and is_provider_parameter(name)


def _is_internal(name: str) -> bool:
    """Whether LiteLLM, or a part of it, marks a call with this name."""
    return name.startswith(("_", "litellm_"))


def _is_parameter(name: str) -> bool:
    """Whether an argument of this name says what to draw."""
    known = name in _SUPPORTED or name in _UNSUPPORTED or name == EXTRA_BODY or is_reference_name(name)
    return known or _is_passed_on(name)


def _check_supported(
    given: Mapping[str, Any], unsupported: frozenset[str], arguments: Mapping[str, Any], model: str
) -> None:
    refused = sorted(name for name in unsupported & given.keys() if not _asks_for_nothing(name, given[name]))
    kept = [name for name in refused if name in _NEVER_DROPPED]
    if kept:
        refused, advice = kept, _NO_STREAM
    elif drops_unsupported(arguments):
        return
    else:
        advice = "To drop unsupported parameters, set litellm.drop_params=True."
        if not MASKS.isdisjoint(refused):
            advice += f" {' and '.join(models_with_masks()) or 'No known model'} takes a mask in an edit."
    supported = sorted(_SUPPORTED if MASKS & unsupported else _SUPPORTED | MASKS)
    if refused:
        raise UnsupportedParamsError(
            message=(
                f"{PROVIDER}/{model} does not support: {', '.join(refused)}. Supported: "
                f"{', '.join(supported)}. Nothing was charged. {advice}"
            ),
            llm_provider=PROVIDER,
            model=model,
        )


def _asks_for_nothing(name: str, value: Any) -> bool:
    # False, 0 and an empty list ask for nothing, either.
    return not value or str(value).strip().lower() in _ASKS_FOR_NOTHING.get(name, ())


def _take_spellings(given: dict[str, Any], spec: ModelSpec, dropped: Sequence[str]) -> None:
    """Bring the parameters of one source under their names here, without those that LiteLLM is asked to drop."""
    _drop(given, dropped)
    if spec.strict_sizes:  # another model may have a parameter of such a name
        read_other_spellings(given)
    read_image_config(given)
    _drop(given, dropped)


def _drop(given: dict[str, Any], dropped: Sequence[str]) -> None:
    for name in dropped:
        given.pop(name, None)
    config = given.get(IMAGE_CONFIG)
    if isinstance(config, Mapping):
        given[IMAGE_CONFIG] = {name: value for name, value in config.items() if name not in dropped}


def _request_fields(
    sources: Sequence[Mapping[str, Any]], spec: ModelSpec, faults: list[BadRequestError]
) -> dict[str, Any]:
    """The request's fields that the sources set. Each field is from the last one that says anything about it.

    What is wrong with a value goes to ``faults``, and its field stays out.
    """
    fields: dict[str, Any] = {}
    *_, call = sources
    for given in sources:
        # A quality of the call replaces the deployment's also where it means no change.
        replaced = {QUALITY} if QUALITY in call and given is not call else set()
        shown = {name: value for name, value in given.items() if name not in replaced}
        readings: list[Callable[[], Mapping[str, Any]]] = [partial(shape_of, shown, spec)]
        readings += [partial(_one_field, name, given[name]) for name in _READ if name in given]
        for read in readings:
            try:
                fields |= read()
            except BadRequestError as error:  # noqa: PERF203  # each value has a fault of its own
                faults.append(error)
        fields |= {name: given[name] for name in _UNCHANGED if name in given}
    return fields


def _one_field(name: str, value: Any) -> dict[str, Any]:
    return {name: _READ[name](value)}
