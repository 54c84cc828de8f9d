"""The table of models: read once, when somebody first asks for a model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from .spec import ModelSpec

CATALOG_VARIABLE: Final = "APIMASTER_CATALOG"
"""The environment variable that names a file with corrections of the table."""

_LISTS: Final = ("ids", "aliases", "aspect_ratios", "resolutions", "fields")


class _Table(NamedTuple):
    specs: tuple[ModelSpec, ...]
    by_name: Mapping[str, ModelSpec]


_read: dict[str, _Table] = {}  # by the value of the variable


def spec_for(model: str) -> ModelSpec:
    """The spec of a model id or alias, in any case; an unknown id gets the base limits and no price.

    Raises:
        BadRequestError: ``APIMASTER_CATALOG`` names a file that can't be used.
    """
    return _table().by_name.get(model.lower()) or ModelSpec(id=model, known=False)


def known_specs() -> tuple[ModelSpec, ...]:
    """The models of the table, each once.

    Raises:
        BadRequestError: ``APIMASTER_CATALOG`` names a file that can't be used.
    """
    return _table().specs


def models_with_masks() -> tuple[str, ...]:
    """The preferred ids of the models of the table that take a mask.

    Raises:
        BadRequestError: ``APIMASTER_CATALOG`` names a file that can't be used.
    """
    return tuple(spec.id for spec in known_specs() if spec.masks and spec.retired is None)


def model_id(name: str) -> str:
    """The id to send for a name: of several spellings of an id the caller's own; for an alias the preferred id.

    The case of a name does not count: an id is sent as the table writes it.
    """
    spec, lowered = spec_for(name), name.lower()
    return next((each for each in spec.ids if each.lower() == lowered), spec.id)


def spellings(model: str) -> tuple[str, ...]:
    """All ids that stand for the same model as this name, the name's own first."""
    own = model_id(model)
    return (own, *(each for each in spec_for(model).ids if each != own))


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two ids or aliases are spellings of one model."""
    if one == other:
        return True
    return one is not None and other is not None and spec_for(one).known and spec_for(one) is spec_for(other)


def _table() -> _Table:
    corrections = os.environ.get(CATALOG_VARIABLE, "").strip()
    table = _read.get(corrections)
    if table is None:
        document = _own_document()
        if corrections:
            from .corrections import corrected  # rarely needed

            document = corrected(document, corrections)
        table = _read[corrections] = _built(document)
    return table


def _own_document() -> dict[str, Any]:
    with open(os.path.join(os.path.dirname(__file__), "models.json"), encoding="utf-8") as file:
        document: dict[str, Any] = json.load(file)
    for entry in document["models"].values():
        entry.setdefault("resubmit_502", True)  # the gateway's rule; a model that is added has to say so
    return document


def _built(document: Mapping[str, Any]) -> _Table:
    pixels = {
        name: {ratio: {tier: (pair[0], pair[1]) for tier, pair in tiers.items()} for ratio, tiers in ratios.items()}
        for name, ratios in document["pixels"].items()
    }
    specs = tuple(_spec(key, entry, pixels) for key, entry in document["models"].items())
    return _Table(specs, {name.lower(): spec for spec in specs for name in spec.names})


def _spec(key: str, entry: Mapping[str, Any], pixels: Mapping[str, Any]) -> ModelSpec:
    """A model from its entry, which is known to be right."""
    fields: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in entry.items()}
    if name := fields.pop("pixels", None):
        fields["pixel_table"] = pixels[name]
    if prices := fields.get("prices"):
        fields["prices"] = {tier: Decimal(str(price)) for tier, price in prices.items()}
    if retired := fields.get("retired"):
        fields["retired"] = date.fromisoformat(retired)
    if retired_ids := fields.get("retired_ids"):
        fields["retired_ids"] = {name: date.fromisoformat(day) for name, day in retired_ids.items()}
    return ModelSpec(id=fields["ids"][0] if fields.get("ids") else key, stated=frozenset(entry), **fields)
