"""Every fact of a probe, checked against a transcript. It does no I/O."""

from __future__ import annotations

from typing import Final

from ...emulator.transcript import Transcript
from .charge_facts import CHARGE_FACTS
from .fact import Outcome
from .free_facts import FREE_FACTS
from .paid_facts import PAID_FACTS

FACTS: Final = (*FREE_FACTS, *PAID_FACTS, *CHARGE_FACTS)


def check_facts(transcript: Transcript) -> list[Outcome]:
    """What a transcript shows about each fact; those that need a purchase only if the probe was to buy."""
    return [Outcome(fact, fact.check(transcript)) for fact in FACTS if transcript.spend is not None or not fact.paid]
