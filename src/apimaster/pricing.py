"""The gateway's public price list: what it asks for each model now, before the ratio of an account's group."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Billing = Literal["image", "token", "unknown"]

_DEFAULT_RESOLUTION = "1K"


class _Frozen(BaseModel):
    # The validators are built at their first use: to build them here would be a good part of the import time.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class ModelPrice(_Frozen):
    """What the gateway asks for one model.

    Attributes:
        model: the model id.
        billing: ``"image"`` (an amount for each image), ``"token"`` (by tokens, so that no price of an image follows),
            or ``"unknown"`` (the list says it in a way that this version can't read).
        prices: US dollars for one image by resolution (``0.5K``, ``1K``, ``2K``, ``4K``), exact; empty if the list
            tells one amount for all of them, or none.
        flat: US dollars for one image of any resolution, exact; None if the list tells none.
        groups: the account groups that may use it; empty if the list does not say.
    """

    model: str
    billing: Billing = "image"
    prices: Mapping[str, Decimal] = Field(default_factory=dict)
    flat: Decimal | None = None
    groups: tuple[str, ...] = ()

    def price(self, resolution: str | None = None) -> Decimal | None:
        """US dollars for one image, before the group's ratio; None if the list does not tell.

        Args:
            resolution: ``0.5K``, ``1K``, ``2K`` or ``4K``; None: the gateway's default, 1K.
        """
        return self.prices.get(resolution or _DEFAULT_RESOLUTION) if self.prices else self.flat


class PriceList(_Frozen):
    """The gateway's public price list, or the part of it that was asked for.

    What an account pays is an amount of this list times the ratio of its group, which a key can't read: what was really
    charged stands in ``client.charges()``.

    Attributes:
        url: where it was read.
        read_at: when it was read, in unix seconds by this machine's clock.
        models: the models, in the gateway's order.
        group_ratios: the ratio of each account group that the list names; empty if it names none.
    """

    url: str
    read_at: float
    models: tuple[ModelPrice, ...] = ()
    group_ratios: Mapping[str, Decimal] = Field(default_factory=dict)

    def find(self, *ids: str) -> ModelPrice | None:
        """The first model that has one of these ids, in their order; None if the list has none of them."""
        by_id = {each.model: each for each in reversed(self.models)}
        return next((by_id[each] for each in ids if each in by_id), None)

    def price(self, model: str, resolution: str | None = None, *, group: str | None = None) -> Decimal | None:
        """US dollars for one image; None if the list does not tell.

        Args:
            model: the model id, as the list spells it.
            resolution: ``0.5K``, ``1K``, ``2K`` or ``4K``; None: the gateway's default, 1K.
            group: the account's group, whose ratio counts; None: the price before any ratio.
        """
        found = self.find(model)
        price = None if found is None else found.price(resolution)
        ratio = Decimal(1) if group is None else self.group_ratios.get(group)
        return None if price is None or ratio is None else price * ratio
