"""What the log is told of a model, once for each client: that the catalogue does not hold it, or that it has ended."""

from __future__ import annotations

import logging
from datetime import date, datetime, timezone

from ..catalog import spec_for
from .context import Context
from .operations import Flow, Instant, Now

_log = logging.getLogger("apimaster")


def note_model(context: Context, model: str) -> Flow[None]:
    """Tell the log once of a model that the catalogue does not hold, or that has ended."""
    spec = spec_for(model)
    if model in context.spellings.noted or (spec.known and spec.retired is None):
        return
    if not spec.known:
        _log.warning(
            "The catalogue does not hold the model %s: it is checked loosely, and its price is not known.", model
        )
    elif spec.retired is not None:
        now: Instant = yield Now()
        if now.wall < _unix_seconds(spec.retired):
            return
        successor = f" Its successor is {spec.successor}." if spec.successor else ""
        _log.warning("The model %s ended on %s, says the catalogue.%s", model, spec.retired.isoformat(), successor)
    context.spellings.noted.add(model)


def _unix_seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
