"""What the emulator charges for an image: its option ``prices``, else the catalogue's.

A successor without a price of its own costs what the model costs that it follows, since it is charged for each image as
well and no page tells its price. Any other model without a price costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from ..catalog import RESOLUTIONS, known_specs, spec_for

Prices = Mapping[str, Mapping[str, Decimal]]
"""US dollars for one image, by model id and resolution."""


def parse_prices(given: Mapping[str, Mapping[str, Decimal | str | int]] | None, models: Sequence[str]) -> Prices:
    """The prices of all models that are charged for each image.

    Raises:
        ValueError: ``given`` names a model that is not served, or a price or resolution that is none.
    """
    found = {model: _by_catalogue(model) for model in models}
    for model, table in (given or {}).items():
        spellings = [each for each in spec_for(model).ids if each in models]
        if not spellings:
            raise ValueError(f"prices holds {model!r}, which models does not")
        if not isinstance(table, Mapping) or not table or not set(table) <= set(RESOLUTIONS):
            raise ValueError(
                f"prices of {model!r} must be amounts by resolution ({', '.join(RESOLUTIONS)}), not {table!r}"
            )
        parsed = {resolution: _amount(model, value) for resolution, value in table.items()}
        found.update(dict.fromkeys(spellings, parsed))
    return found


def _by_catalogue(model: str) -> Mapping[str, Decimal]:
    spec = spec_for(model)
    if spec.prices:
        return spec.prices
    before = next((each for each in known_specs() if each.successor in spec.ids), None)
    return {} if before is None else {name: each for name, each in before.prices.items() if name in spec.resolutions}


def _amount(model: str, value: Decimal | str | int) -> Decimal:
    try:
        amount = Decimal(value) if isinstance(value, (Decimal, str, int)) and not isinstance(value, bool) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0:
        raise ValueError(f"prices of {model!r} hold {value!r}; accepted: US dollars such as '0.05'")
    return amount
