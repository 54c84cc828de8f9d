"""Request headers that choose a fault, a dialect, a latency or a channel for one request, from any process.

``X-Emulator-Fault: rate_limited`` or ``rate_limited {"retry_after": 3}``, ``X-Emulator-Dialect: legacy+url_string``,
``X-Emulator-Latency: 2-6``, ``X-Emulator-Channel: no_data_uris``. The gateway itself ignores them. A client may send
the same headers with every request, because a fault happens only at its own place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from .channels import Channel
from .dialects import Dialect
from .faults import Fault, Place, fault_named
from .latency import Latency, parse_latency

_PREFIX: Final = b"x-emulator-"


class RequestSettings(NamedTuple):
    """What applies to one request."""

    fault: Fault | None
    dialect: Dialect
    latency: Latency
    channel: Channel


def read_request_headers(
    headers: Iterable[tuple[bytes, bytes]], place: Place, dialect: Dialect, latency: Latency, channel: Channel
) -> RequestSettings:
    """What the headers choose at ``place``; the other arguments apply where the headers choose nothing.

    Raises:
        ValueError: a header can't be read.
    """
    fault = None
    for name, value in headers:
        if not name.startswith(_PREFIX):
            continue
        setting, text = name[len(_PREFIX) :], value.decode("latin-1").strip()
        if setting == b"fault":
            named = _fault(text)
            fault = named if named.place == place else fault
        elif setting == b"dialect":
            dialect = Dialect.parse(text)
        elif setting == b"latency":
            latency = parse_latency(text)
        elif setting == b"channel":
            channel = Channel.parse(text)
    return RequestSettings(fault, dialect, latency, channel)


def _fault(text: str) -> Fault:
    name, _, options = text.partition(" ")
    wanted = json.loads(options) if options.strip() else {}
    if not isinstance(wanted, dict):
        raise ValueError(f"the options of fault {name!r} must be a JSON object")  # noqa: TRY004  # a caller's text
    return fault_named(name).changed(wanted)
