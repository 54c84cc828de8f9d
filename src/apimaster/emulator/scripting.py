"""Which fault happens next: what a test scripted first, then chance.

Rules wait in one queue per place; each is used up ``times`` times. ``ok`` lets a request pass, so that a
script can say "two go well, the third fails". Random faults draw from one generator per place, seeded, so that
a run with one caller can be repeated.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from .fault import PLACES, Fault, Place
from .faults import FAULTS, fault_named

_PASS: Final = "ok"  # noqa: S105  # the name of the rule that lets a request pass


@dataclass(slots=True)
class Rule:
    """One scripted fault: what, how often (None: always), and for which requests."""

    fault: Fault
    times: int | None = 1
    prompt: str | None = None
    task: str | None = None

    def fits(self, prompt: str, task: str | None) -> bool:
        """Whether it is meant for this request."""
        return (self.prompt is None or self.prompt in prompt) and (self.task is None or self.task == task)


def make_rules(
    items: tuple[str | Mapping[str, Any], ...],
    *,
    times: int | None = 1,
    on: str | None = None,
    prompt: str | None = None,
    task: str | None = None,
    **options: Any,
) -> list[tuple[Place, Rule]]:
    """Read a script: names, or mappings with ``fault`` and any of the keyword arguments.

    Raises:
        ValueError: an unknown fault, place or option.
    """
    rules: list[tuple[Place, Rule]] = []
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
        rules.append((cast("Place", place), Rule(fault, times, prompt, task)))
    return rules


def _check_place(fault: Fault, place: str) -> None:
    if place not in PLACES:
        raise ValueError(f"place {place!r} is not known; accepted: {', '.join(PLACES)}")
    if fault.name == _PASS:
        return
    if (fault.outcome is not None) != (place == "task"):
        raise ValueError(f"fault {fault.name!r} can't happen at {place!r}: only how a job ends belongs to 'task'")
    if (fault.picture is not None or fault.wire == "endless") and place not in ("download", "output"):
        raise ValueError(f"fault {fault.name!r} can't happen at {place!r}; accepted: download, output")


class Script:
    """The queues and the dice of one emulator; safe to use from any thread."""

    def __init__(self, chances: Mapping[str, float], seed: int) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, list[Rule]] = {place: [] for place in PLACES}
        self._seed = seed
        self.set_chances(chances)

    def set_chances(self, chances: Mapping[str, float]) -> None:
        """Use these probabilities from now on, from the start of the seed's sequence."""
        with self._lock:
            self._chances: dict[str, list[tuple[Fault, float]]] = {place: [] for place in PLACES}
            for name, chance in chances.items():
                self._chances[FAULTS[name].place].append((FAULTS[name], chance))
            # a generator per place: polls, whose number depends on time, do not disturb the others
            self._dice = {place: random.Random(f"{self._seed}/{place}") for place in PLACES}  # noqa: S311  # no secret

    def add(self, rules: list[tuple[Place, Rule]]) -> None:
        """Append rules."""
        with self._lock:
            for place, rule in rules:
                self._queues[place].append(rule)

    def clear(self) -> None:
        """Forget all rules; the probabilities stay."""
        with self._lock:
            for queue in self._queues.values():
                queue.clear()

    @property
    def pending(self) -> int:
        """How many scripted faults have not happened yet; those that happen always do not count."""
        with self._lock:
            return sum(rule.times or 0 for queue in self._queues.values() for rule in queue)

    def next(self, place: Place, *, prompt: str = "", task: str | None = None) -> Fault | None:
        """The fault that happens to this request, or None."""
        queue, chances = self._queues[place], self._chances[place]
        if not queue and not chances:  # the usual case, on every poll: no lock
            return None
        with self._lock:
            for index, rule in enumerate(queue):
                if rule.fits(prompt, task):
                    if rule.times is not None:
                        rule.times -= 1
                        if not rule.times:
                            del queue[index]
                    return None if rule.fault.name == _PASS else rule.fault
            if chances:
                drawn = self._dice[place].random()
                for fault, chance in chances:
                    drawn -= chance
                    if drawn < 0:
                        return fault
            return None
