"""The rules of a model that a request breaks: all at once, with what is accepted, and which models would take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ._images import sizes
from .catalog import AUTO, ModelSpec, Resolution, known_specs, spec_for

# What every model of the endpoint takes beside its own fields (docs/endpoint.md, "Requests").
_COMMON_FIELDS: Final = frozenset({"response_format", "client_reference_id", "notifications"})
_MOST_NAMED: Final = 3

# These decide the checks, the count and the price, so extra_body must not set them, and none of the names that other
# APIs have for the same: the gateway reads some of them.
_ARGUMENTS: Final = {
    "model": "model",
    "prompt": "prompt",
    "size": "aspect_ratio",
    "resolution": "resolution",
    "n": "n",
    "image_urls": "references",
    "image": "references",
    "images": "references",
    "image[]": "references",
    "mask_url": "mask",
    "mask": "mask",
}
_STREAM: Final = "stream"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of its model.

    Attributes:
        aspect_ratio, resolution: as the caller spelled them.
        references: how many reference images it holds.
        grounding: the arguments that turn on Google search.
        mask: whether it has a mask.
        fields: the further fields of the request body.
    """

    aspect_ratio: str | None = None
    resolution: str | None = None
    references: int = 0
    grounding: Sequence[str] = ()
    mask: bool = False
    fields: Sequence[str] = ()


class Fault(NamedTuple):
    """One broken rule: the argument, a sentence that says what is accepted, and advice if another model is none."""

    argument: str
    sentence: str
    advice: str = ""


class Checked(NamedTuple):
    """The size in the endpoint's own spelling, and the rules that are broken."""

    aspect_ratio: str | None
    resolution: Resolution | None
    faults: Sequence[Fault]


def check(spec: ModelSpec, asked: Asked) -> Checked:
    """Hold what is asked against the rules of a model."""
    ratio, resolution, of_sizes = sizes.read_both(spec, asked.aspect_ratio, asked.resolution)
    faults = [Fault("size", sentence) for sentence in of_sizes]
    if asked.references > spec.max_references:
        faults.append(
            Fault(
                "references",
                f"references holds {asked.references} pictures; {spec.id} takes at most {spec.max_references}",
            )
        )
    if asked.grounding and not spec.google_search:
        names = " and ".join(asked.grounding)
        faults.append(Fault("grounding", f"{names} can't be set: {spec.id} does not search"))
    if asked.mask and not spec.masks:
        accepted = f"only a prompt and up to {spec.max_references} reference images"
        faults.append(Fault("mask", f"mask can't be set: {spec.id} takes no mask, {accepted}"))
    if asked.mask and not asked.references:
        sentence = "mask is given without a reference image; it marks what to change in the first one"
        faults.append(Fault("mask", sentence))
    if spec.strict_fields:
        known = sorted(_COMMON_FIELDS.union(spec.fields))
        refused = [name for name in asked.fields if name not in known]
        if refused:
            faults.append(
                Fault(
                    "fields",
                    f"{spec.id} refuses fields that it does not know: {', '.join(refused)}; "
                    f"accepted: {', '.join(known)}",
                )
            )
    return Checked(ratio, resolution, faults)


def check_extra_body(extra_body: Mapping[str, Any]) -> list[Fault]:
    """The fields that no request body takes from ``extra_body``, whatever the model."""
    faults = [
        Fault("extra_body", f"extra_body must not hold {name!r}", f"Use the argument {argument}= for it.")
        for name, argument in _ARGUMENTS.items()
        if name in extra_body
    ]
    if extra_body.get(_STREAM, False) is not False:
        faults.append(
            Fault(
                "extra_body",
                f"extra_body holds {_STREAM!r}, and this client takes no streams; accepted: False",
                "Leave stream out: the answer comes whole, and on_progress= shows how far it is.",
            )
        )
    return faults


def models_that_take(asked: Asked) -> list[str]:
    """The models of the table that would accept all of it, each as an id that did not end.

    Only those are named of which the table states what they take: a default of the table is no promise.
    """
    return [
        spec.current_ids[0]
        for spec in known_specs()
        if spec.current_ids and _needed(asked) <= spec.stated and not check(spec, asked).faults
    ]


def _needed(asked: Asked) -> set[str]:
    """The fields of a model's entry that say whether it takes this."""
    ratio = asked.aspect_ratio
    needed = {
        "aspect_ratios": ratio is not None,
        "auto": ratio is not None and ratio.strip().lower() == AUTO,
        "resolutions": asked.resolution is not None,
        "max_references": asked.references > 0,
        "google_search": bool(asked.grounding),
        "masks": asked.mask,
    }
    return {name for name, counts in needed.items() if counts}


def advice_about(faults: Sequence[Fault], asked: Asked) -> str:
    """What to do about broken rules: what each has of its own, and which models would take the rest."""
    own = list(dict.fromkeys(fault.advice for fault in faults if fault.advice))
    return " ".join(own if all(fault.advice for fault in faults) else [*own, advice_for(asked)])


def advice_for(asked: Asked) -> str:
    """What to do about broken rules of a model."""
    if asked.mask and not asked.references:
        takers = " or ".join(models_that_take(replace(asked, references=1))[:_MOST_NAMED])
        return f"Pass the picture to change as a reference image; {takers or 'no model of the catalogue'} takes both."
    found = models_that_take(asked)[:_MOST_NAMED]
    if not found:
        return "Correct the request: no model of the catalogue takes all of it."
    return f"Correct the request, or use a model that takes all of it: {' or '.join(found)}."


def read_loosely(data: dict[str, Any]) -> tuple[ModelSpec, Asked]:
    """What arguments that are not checked yet ask of a model: of those of the wrong type nothing."""
    model, references, extra = data.get("model"), data.get("references"), data.get("extra_body")
    extra = extra if isinstance(extra, dict) else {}
    ratio, resolution = data.get("aspect_ratio"), data.get("resolution")
    many = references if isinstance(references, (list, tuple)) else () if references is None else (references,)
    return spec_for(model.strip() if isinstance(model, str) else ""), asked_of(
        aspect_ratio=ratio if isinstance(ratio, str) else None,
        resolution=resolution if isinstance(resolution, str) else None,
        references=len(many),
        mask=data.get("mask") is not None,
        google_search=data.get("google_search") is True,
        google_image_search=data.get("google_image_search") is True,
        fields=[name for name in extra if isinstance(name, str)],
    )


def asked_of(
    *,
    aspect_ratio: str | None,
    resolution: str | None,
    references: int,
    mask: bool,
    google_search: bool | None,
    google_image_search: bool | None,
    fields: Sequence[str],
) -> Asked:
    """What a request asks of its model, from its arguments."""
    flags = {"google_search": google_search, "google_image_search": google_image_search}
    return Asked(
        aspect_ratio,
        resolution,
        references,
        tuple(name for name, value in flags.items() if value),
        mask,
        fields,
    )
