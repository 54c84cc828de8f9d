"""Random faults: how a caller writes their probabilities, and which probabilities are possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .faults import FAULTS, PLACES, fault_named


def parse_fault_rates(value: str | Mapping[str, float] | Iterable[str] | None) -> Mapping[str, float]:
    """Read probabilities: ``"rate_limited=0.1,task_failed=0.05"``, a mapping, or None for no faults.

    Raises:
        ValueError: a name is unknown, a probability lies outside 0 to 1, or the faults of one place add up to more
            than 1.
    """
    if value is None:
        return {}
    pairs: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        for part in value.split(",") if isinstance(value, str) else value:
            name, equals, number = part.partition("=")
            if name.strip():
                pairs.append((name.strip(), number.strip() if equals else 1.0))
    rates: dict[str, float] = {}
    for name, given in pairs:
        fault_named(name)
        try:
            rate = float(given)  # type: ignore[arg-type]  # anything that is no number is refused below
        except (TypeError, ValueError):
            rate = -1.0
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"fault {name}={given!r} is not a probability; accepted: 0 to 1")
        rates[name] = rate
    for place in PLACES:
        total = sum(rate for name, rate in rates.items() if FAULTS[name].place == place)
        if total > 1.0 + 1e-9:
            raise ValueError(f"the faults at {place!r} have probability {total:g} together; at most 1 is possible")
    return MappingProxyType(rates)
