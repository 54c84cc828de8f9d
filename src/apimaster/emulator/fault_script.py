"""Which fault happens next: the faults that a test scripted come first, then random ones.

The rules of a script wait in one queue per place, and each applies ``times`` times. The fault ``ok`` lets a request
pass, so a script can say "two succeed, the third fails". Random faults draw from one seeded generator per place, so a
run with a single caller repeats exactly.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from .faults import FAULTS, PLACES, Fault, Place, fault_named

_PASS: Final = "ok"  # noqa: S105  # the name of the fault that lets a request pass


@dataclass(slots=True)
class FaultRule:
    """One scripted fault: what happens, how often (None: always), and to which requests."""

    fault: Fault
    times: int | None = 1
    prompt: str | None = None
    task: str | None = None

    def matches(self, prompt: str, task: str | None) -> bool:
        """Whether the rule applies to this request."""
        return (self.prompt is None or self.prompt in prompt) and (self.task is None or self.task == task)


def make_rules(
    items: tuple[str | Mapping[str, Any], ...],
    *,
    times: int | None = 1,
    on: str | None = None,
    prompt: str | None = None,
    task: str | None = None,
    **options: Any,
) -> list[tuple[Place, FaultRule]]:
    """Read a script: names of faults, or mappings with ``fault`` and any of the keyword arguments.

    Raises:
        ValueError: a fault, a place or an option is unknown.
    """
    rules: list[tuple[Place, FaultRule]] = []
    for item in items:
        if isinstance(item, Mapping):
            merged: dict[str, Any] = {"times": times, "on": on, "prompt": prompt, "task": task, **options, **item}
            name = merged.pop("fault", None)
            if not isinstance(name, str):
                raise ValueError(f"a scripted fault has its name under 'fault', not {item!r}")  # noqa: TRY004
            rules += make_rules((name,), **merged)
            continue
        fault = fault_named(item).changed(options)
        place = on or fault.place
        _check_place(fault, place)
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times {times!r} must be at least 1, or None for always")
        rules.append((cast("Place", place), FaultRule(fault, times, prompt, task)))
    return rules


def _check_place(fault: Fault, place: str) -> None:
    if place not in PLACES:
        raise ValueError(f"place {place!r} is not known; accepted: {', '.join(PLACES)}")
    if fault.name == _PASS:
        return
    accepted: tuple[str, ...] = tuple(each for each in PLACES if each not in ("task", "delivery"))
    if fault.outcome is not None:
        accepted = ("task",)
    elif fault.delivery is not None:
        accepted = ("delivery",)
    elif fault.picture is not None or fault.wire == "endless":
        accepted = ("download", "output")
    if place not in accepted:
        raise ValueError(f"fault {fault.name!r} can't happen at {place!r}; accepted: {', '.join(accepted)}")


class FaultScript:
    """The scripted rules and the random faults of one emulator; safe to use from any thread."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, list[FaultRule]] = {place: [] for place in PLACES}
        self._seed = seed
        self.set_rates(rates)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Use these probabilities from now on, and restart the random sequence."""
        with self._lock:
            self._rates: dict[str, list[tuple[Fault, float]]] = {place: [] for place in PLACES}
            for name, rate in rates.items():
                self._rates[FAULTS[name].place].append((FAULTS[name], rate))
            # One generator per place: the number of polls depends on time, and must not shift the other draws.
            self._random = {place: random.Random(f"{self._seed}/{place}") for place in PLACES}  # noqa: S311  # no secret

    def add(self, rules: list[tuple[Place, FaultRule]]) -> None:
        """Append rules."""
        with self._lock:
            for place, rule in rules:
                self._queues[place].append(rule)

    def clear(self) -> None:
        """Drop all rules; the probabilities stay."""
        with self._lock:
            for queue in self._queues.values():
                queue.clear()

    @property
    def pending(self) -> int:
        """How many scripted faults are still to happen; rules that apply always don't count."""
        with self._lock:
            return sum(rule.times or 0 for queue in self._queues.values() for rule in queue)

    def next_fault(self, place: Place, *, prompt: str = "", task: str | None = None) -> Fault | None:
        """The fault that happens to this request, or None."""
        queue, rates = self._queues[place], self._rates[place]
        if not queue and not rates:  # the usual case of a poll takes no lock
            return None
        with self._lock:
            for index, rule in enumerate(queue):
                if rule.matches(prompt, task):
                    if rule.times is not None:
                        rule.times -= 1
                        if not rule.times:
                            del queue[index]
                    return None if rule.fault.name == _PASS else rule.fault
            if rates:
                drawn = self._random[place].random()
                for fault, rate in rates:
                    drawn -= rate
                    if drawn < 0:
                        return fault
            return None
