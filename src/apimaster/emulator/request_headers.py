"""Headers by which one request asks for its own fault, dialect or latency, from whatever process it comes.

``X-Emulator-Fault: rate_limited`` or ``rate_limited {"retry_after": 3}``, ``X-Emulator-Dialect: legacy+url_string``,
``X-Emulator-Latency: 2-6``. The gateway itself would take no notice of them. A client may send the same headers with
every request: a fault counts only at its own place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from .dialects import Dialect
from .fault import Fault, Place
from .faults import fault_named
from .options import Latency, parse_latency

_PREFIX: Final = b"x-emulator-"


def read_marks(
    headers: Iterable[tuple[bytes, bytes]], place: Place, dialect: Dialect, latency: Latency
) -> tuple[Fault | None, Dialect, Latency]:
    """What the headers ask for at ``place``; ``dialect`` and ``latency`` where they ask for nothing.

    Raises:
        ValueError: one of them can't be read.
    """
    fault = None
    for name, value in headers:
        if not name.startswith(_PREFIX):
            continue
        word, text = name[len(_PREFIX) :], value.decode("latin-1").strip()
        if word == b"fault":
            named = _fault(text)
            fault = named if named.place == place else fault
        elif word == b"dialect":
            dialect = Dialect.parse(text)
        elif word == b"latency":
            latency = parse_latency(text)
    return fault, dialect, latency


def _fault(text: str) -> Fault:
    name, _, options = text.partition(" ")
    wanted = json.loads(options) if options.strip() else {}
    if not isinstance(wanted, dict):
        raise ValueError(f"the options of fault {name!r} must be a JSON object")  # noqa: TRY004  # the caller's text
    return fault_named(name).changed(wanted)
