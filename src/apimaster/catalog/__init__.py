"""What each model accepts and costs: a table in a data file, and a few pure functions of it.

``models.json`` beside this module holds the package's own table. It is read once, when a model is first looked up, and
not when this module is imported. ``APIMASTER_CATALOG`` may name a file of the same form that corrects its models or
adds others (docs/models.md). Where each fact comes from is in docs/endpoint.md.

A model id that the table does not hold is accepted: with the usual limits, no other checks, and without a price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import (
    ASPECT_RATIOS,
    AUTO,
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    MAX_IMAGES,
    MAX_REFERENCE_BYTES,
    MEBIBYTE,
    REFERENCE_MEDIA_TYPES,
    RESOLUTIONS,
    SUBMIT_TIMEOUT,
    AspectRatio,
    EditRoute,
    ModelSpec,
    PixelSizes,
    Resolution,
    one_shot_limit,
)
from .table import CATALOG_VARIABLE, known_specs, model_id, models_with_masks, same_model, spec_for, spellings

if TYPE_CHECKING:
    from .fit import Fit, fit_pixels, nearest_ratio

    KNOWN_MODELS: tuple[str, ...]

__all__ = [
    "ASPECT_RATIOS",
    "AUTO",
    "CATALOG_VARIABLE",
    "DEFAULT_MODEL",
    "DEFAULT_RESOLUTION",
    "KNOWN_MODELS",
    "MAX_IMAGES",
    "MAX_REFERENCE_BYTES",
    "MEBIBYTE",
    "REFERENCE_MEDIA_TYPES",
    "RESOLUTIONS",
    "SUBMIT_TIMEOUT",
    "AspectRatio",
    "EditRoute",
    "Fit",
    "ModelSpec",
    "PixelSizes",
    "Resolution",
    "fit_pixels",
    "known_specs",
    "model_id",
    "models_with_masks",
    "nearest_ratio",
    "one_shot_limit",
    "same_model",
    "spec_for",
    "spellings",
]


def __getattr__(name: str) -> object:
    """What needs the table, or is rarely needed, is not made before somebody asks for it."""
    if name == "KNOWN_MODELS":  # every id of every model, in the order of the table
        return tuple(each for spec in known_specs() for each in spec.ids)
    if name in ("Fit", "fit_pixels", "nearest_ratio"):
        from . import fit

        return getattr(fit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
