"""``ModelSpec``: what one model accepts and costs; and what holds for all models of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from decimal import Decimal

DEFAULT_MODEL: Final = "gemini-3.1-flash-image-preview"
DEFAULT_RESOLUTION: Final = "1K"
Resolution: TypeAlias = Literal["0.5K", "1K", "2K", "4K"]
RESOLUTIONS: Final[tuple[Resolution, ...]] = get_args(Resolution)
AspectRatio: TypeAlias = Literal[
    "auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"
]
ASPECT_RATIOS: Final[tuple[AspectRatio, ...]] = get_args(AspectRatio)
AUTO: Final = "auto"
MAX_IMAGES: Final = 100
"""Images per call: more than that is a batch, with a ledger."""

MEBIBYTE: Final = 1024 * 1024
MAX_REFERENCE_BYTES: Final = 10 * MEBIBYTE
REFERENCE_MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/webp")

SUBMIT_TIMEOUT: Final = 120.0
"""Seconds for a submit. The gateway answers at once, but the upload of ten megabytes of references takes time."""

# The gateway gives up on a one-shot call after so many seconds, whatever the model (docs/endpoint.md, "Time").
_ONE_SHOT_LIMIT: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
_ONE_SHOT_MARGIN: Final = 30.0

PixelSizes: TypeAlias = Literal["nearest", "exact", "as is"]
"""What a size in pixels such as ``1920x1080`` stands for: ``nearest``: the nearest aspect ratio, at the smallest
resolution that covers it; ``exact``: the same, if the ratio is exactly one of the model's; ``as is``: itself."""

EditRoute: TypeAlias = Literal["generations", "edits"]
"""The route of a request with reference images: that of all requests, or ``/images/edits``, which takes the same."""


_MAPPINGS: Final = ("prices", "pixel_table", "retired_ids")


def _read_only(value: Any) -> Any:
    if isinstance(value, (dict, MappingProxyType)):
        return MappingProxyType({name: _read_only(each) for name, each in value.items()})
    return value


def _plain(value: Any) -> Any:
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, MappingProxyType) else value


def _spec_of(values: dict[str, Any]) -> ModelSpec:
    return ModelSpec(**values)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What one model accepts and costs. The defaults are those of a model that the table does not hold.

    Attributes:
        id: the preferred one of ``ids``.
        max_references: how many reference images a request may hold.
        max_reference_bytes: how large each of them may be.
        prices: US dollars per delivered image, by resolution; empty if no price is published.
        strict_sizes: whether ``aspect_ratios`` is complete. If not, other ratios are passed on, since some models take
            them.
        lower_case_resolution: whether the resolution is sent in lower case.
        aliases: other names, which are never sent.
        ids: all spellings by which the gateway may know the model, the preferred one first.
        aspect_ratios: the accepted ratios, without ``auto``.
        resolutions: the accepted resolutions.
        auto: whether the model can choose the aspect ratio (``auto``).
        default_aspect_ratio: what it draws if the request names none.
        pixel_sizes: what a size in pixels stands for.
        pixel_table: width and height in pixels, by aspect ratio and resolution; empty if they are not known.
        max_n: the largest ``n`` that the gateway takes in one request; the client never sends one.
        google_search: whether it takes ``google_search`` and ``google_image_search``.
        masks: whether it takes a mask.
        edit_route: which route takes its requests with reference images.
        price_list: which list ``prices`` is, such as ``list price of 2026-09-22``; empty if there are no prices.
        retired: the day on which the model ended; None if it did not.
        retired_ids: for single ids, the day on which the provider of the model ended them.
        successor: the id of the model to use instead; None if there is none.
        known: False for a model that the table does not hold.
        strict_fields: whether the gateway refuses request fields that it does not know.
        fields: further request fields that the gateway takes for it, where ``strict_fields``.
        resubmit_502: False where a 502 does not prove that nothing was charged, so that it must not be sent again.
        reports_usage: whether the reply to a one-shot call holds ``usage``.
        batches: whether the gateway answers with a batch, in a reply shape of its own.
        stated: which of these its entry in the table states; the others are defaults, of which nobody knows whether
            they hold for it.
    """

    id: str
    max_references: int = 14
    max_reference_bytes: int = MAX_REFERENCE_BYTES
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    strict_sizes: bool = False
    lower_case_resolution: bool = True
    aliases: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    aspect_ratios: tuple[str, ...] = ASPECT_RATIOS[1:]
    resolutions: tuple[Resolution, ...] = RESOLUTIONS
    auto: bool = True
    default_aspect_ratio: str = AUTO
    pixel_sizes: PixelSizes = "as is"
    pixel_table: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict, repr=False)
    max_n: int = 10
    google_search: bool = True
    masks: bool = True
    edit_route: EditRoute = "generations"
    price_list: str = ""
    retired: date | None = None
    retired_ids: Mapping[str, date] = field(default_factory=dict)
    successor: str | None = None
    known: bool = True
    strict_fields: bool = False
    fields: tuple[str, ...] = ()
    resubmit_502: bool = False  # nobody has found out that a model which is not in the table gives its charge back
    reports_usage: bool = False
    batches: bool = False
    stated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", (self.id,))
        for name in _MAPPINGS:  # one table serves all callers
            object.__setattr__(self, name, _read_only(getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold plain dictionaries, since a read-only view can't be copied."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return _spec_of, ({**values, **{name: _plain(values[name]) for name in _MAPPINGS}},)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that a caller may call it: its ids and aliases."""
        return self.ids + self.aliases

    @property
    def current_ids(self) -> tuple[str, ...]:
        """Those of ``ids`` that did not end."""
        return () if self.retired else tuple(each for each in self.ids if each not in self.retired_ids)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The accepted values of the aspect ratio, ``auto`` first where the model takes it."""
        return (AUTO, *self.aspect_ratios) if self.auto else self.aspect_ratios

    def price(self, resolution: str | None) -> Decimal | None:
        """US dollars for one image at ``resolution`` (None means the default, 1K), or None if unknown."""
        return self.prices.get(resolution or DEFAULT_RESOLUTION)

    def pixels(self, aspect_ratio: str | None, resolution: str | None) -> tuple[int, int] | None:
        """Width and height in pixels that this model draws, or None where the model chooses (``auto``)."""
        sizes = self.pixel_table.get(aspect_ratio or self.default_aspect_ratio)
        return None if sizes is None else sizes.get(resolution or DEFAULT_RESOLUTION)

    def resolution_of(self, width: int | None, height: int | None) -> Resolution | None:
        """The resolution at which this model draws exactly these pixels, or None if it never does."""
        for sizes in self.pixel_table.values():
            for resolution in self.resolutions:
                if sizes.get(resolution) == (width, height):
                    return resolution
        return None


def one_shot_limit(resolution: str | None) -> float:
    """Seconds after which a one-shot call has ended: a little longer than the gateway's own limit."""
    return _ONE_SHOT_LIMIT[resolution or DEFAULT_RESOLUTION] + _ONE_SHOT_MARGIN
