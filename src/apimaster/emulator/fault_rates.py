"""Faults by chance: how probabilities are written, and what they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .fault import PLACES
from .faults import FAULTS, fault_named


def parse_faults(value: str | Mapping[str, float] | Iterable[str] | None) -> Mapping[str, float]:
    """Read probabilities: ``"rate_limited=0.1,task_failed=0.05"``, a mapping, or None for no faults.

    Raises:
        ValueError: an unknown name, a probability outside 0 to 1, or more than 1 together at one place.
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
    chances: dict[str, float] = {}
    for name, given in pairs:
        fault_named(name)
        try:
            chance = float(given)  # type: ignore[arg-type]  # anything else is refused below
        except (TypeError, ValueError):
            chance = -1.0
        if not 0.0 <= chance <= 1.0:
            raise ValueError(f"fault {name}={given!r} is no probability; accepted: 0 to 1")
        chances[name] = chance
    for place in PLACES:
        together = sum(chance for name, chance in chances.items() if FAULTS[name].place == place)
        if together > 1.0 + 1e-9:
            raise ValueError(f"the faults at {place!r} have probability {together:g} together; at most 1 is possible")
    return MappingProxyType(chances)
