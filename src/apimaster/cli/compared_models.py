"""The gateway's list of models beside the catalogue: what is offered, ended, spelled otherwise, or unknown here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from ..catalog import ModelSpec, known_specs, spec_for

State = Literal["offered", "not offered", "retired", "unknown"]


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """One model id.

    Attributes:
        id: as the gateway lists it, or as the catalogue does.
        offered: whether the gateway lists it.
        state: ``offered``, ``not offered`` (the catalogue has it), ``retired`` (not offered, and ended), or ``unknown``
            (offered, and not in the catalogue: checked loosely, and its price is unknown).
        model: the preferred id of the model in the catalogue; None if it is not in there.
        other_spellings: other ids of the same model that the gateway offers.
        retired: the day on which its provider ends it; None if there is none.
        ended: whether that day has come. A gateway may offer the id all the same, through another provider.
        successor: the id of the model to use instead; None if there is none.
    """

    id: str
    offered: bool
    state: State
    model: str | None = None
    other_spellings: tuple[str, ...] = ()
    retired: date | None = None
    ended: bool = False
    successor: str | None = None

    @property
    def note(self) -> str:
        """What there is to say of it, for a person."""
        parts = []
        if self.state == "unknown":
            parts.append("not in the catalogue: checked loosely, price unknown")
        if self.other_spellings:
            parts.append(f"{'also ' if self.offered else ''}offered as {' and '.join(self.other_spellings)}")
        if self.retired is not None:
            parts.append(f"{'ended' if self.ended else 'ends'} on {self.retired.isoformat()}")
        if self.successor is not None:
            parts.append(f"successor: {self.successor}")
        return "; ".join(parts)

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "id": self.id,
            "offered": self.offered,
            "state": self.state,
            "model": self.model,
            "other_spellings": list(self.other_spellings),
            "retired": None if self.retired is None else self.retired.isoformat(),
            "ended": self.ended,
            "successor": self.successor,
            "note": self.note,
        }


def compared(offered: Sequence[str], today: date) -> list[ComparedModel]:
    """Every id that the gateway offers, in its order, and then those of the catalogue that it does not offer."""
    ids = list(dict.fromkeys(offered))
    found = [_compared(each, spec_for(each), ids, today) for each in ids]
    return [*found, *(_compared(each, spec, ids, today) for each, spec in _not_offered(known_specs(), ids))]


def _not_offered(specs: Iterable[ModelSpec], offered: Sequence[str]) -> Iterator[tuple[str, ModelSpec]]:
    for spec in specs:
        yield from ((each, spec) for each in spec.ids if each not in offered)


def _compared(each: str, spec: ModelSpec, offered: Sequence[str], today: date) -> ComparedModel:
    is_offered = each in offered
    if not spec.known:
        return ComparedModel(each, is_offered, "unknown")
    retired = spec.retired_ids.get(each) or spec.retired
    ended = retired is not None and retired <= today
    return ComparedModel(
        each,
        is_offered,
        "offered" if is_offered else "retired" if ended else "not offered",
        model=spec.id,
        other_spellings=tuple(other for other in spec.ids if other != each and other in offered),
        retired=retired,
        ended=ended,
        successor=spec.successor if retired is not None else None,
    )
