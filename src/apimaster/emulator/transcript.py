"""The transcript of a probe: what was sent to a gateway and what it answered, without anything that is secret.

``apimaster probe`` writes it, ``apimaster probe --read`` shows its facts again, and the emulator takes from it what a
gateway does differently (``like.py``). Reading checks every field, since the file comes from somebody else. What may
stand in a transcript is decided where it is written, in ``cli/probe/redaction.py``.

The file is one JSON object: ``format``, ``version``, ``made_by``, ``made_on``, ``model``, ``spend``, ``purchases`` and
``exchanges``. This module does no I/O but for the reading of a file, and needs no extra.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

FORMAT: Final = "apimaster-probe"
VERSION: Final = 1
_MAX_BYTES: Final = 16 * 1024 * 1024
_MAX_DEPTH: Final = 40

PurchaseState = Literal["sent", "task", "delivered", "failed", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply.

    Attributes:
        step: the step of the probe that sent it, such as ``"wrong_key"``.
        route: what was asked for: ``models``, ``sync``, ``submit``, ``poll``, ``output``, ``upload``, ``usage``,
            ``log``, ``download``, ….
        method: of HTTP.
        path: with placeholders in place of ids.
        keyed: whether the request held a key.
        request: the JSON body with placeholders; None if there was none.
        status: of HTTP; None if no reply came.
        headers: the few that the client reads, their names in lower case.
        body: the JSON body with placeholders; a text such as ``"<html>"`` for another one.
        fault: the kind of the exception, if no reply came.
        at: seconds since the probe began, when the request went out.
        seconds: until the whole reply was there.
    """

    step: str
    route: str
    method: str
    path: str
    keyed: bool = True
    request: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    fault: str = ""
    at: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Purchase:
    """One picture that a probe bought, or tried to buy.

    Attributes:
        step: ``submit``, ``one_shot`` or ``edit``.
        list_price: US dollars, as text.
        state: ``sent`` (written before the request goes out), ``task`` (paid for, under way), ``delivered``,
            ``failed`` (given back), ``refused`` (not charged), or ``unknown`` (maybe charged).
        task_id: picks up a picture that is paid for; empty if there is none.
        model: the id that was sent.
    """

    step: str
    list_price: str
    state: PurchaseState = "sent"
    task_id: str = ""
    model: str = ""


@dataclass(slots=True)
class Transcript:
    """Everything that a probe recorded, in the order in which it happened.

    Attributes:
        made_by: the version of the program.
        made_on: the date, ISO.
        model: the model id that the probe used.
        spend: the most that the probe was allowed to spend, in US dollars as text; None for a free probe.
        purchases: what was bought.
        exchanges: requests with their replies.
    """

    made_by: str = ""
    made_on: str = ""
    model: str = ""
    spend: str | None = None
    purchases: list[Purchase] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def all(self, step: str, route: str | None = None) -> list[Exchange]:
        """The exchanges of one step that got a reply, and with ``route`` only those of that route."""
        return [
            each
            for each in self.exchanges
            if each.step == step and route in (None, each.route) and each.status is not None
        ]

    def first(self, step: str, route: str | None = None) -> Exchange | None:
        """The first of them."""
        return next(iter(self.all(step, route)), None)

    def last(self, step: str, route: str | None = None) -> Exchange | None:
        """The last of them."""
        return next(reversed(self.all(step, route)), None)

    def document(self) -> dict[str, Any]:
        """The JSON object that is the file."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def read_transcript(path: str | os.PathLike[str]) -> Transcript:
    """The transcript in a file.

    Raises:
        ValueError: the file can't be read, or is not a transcript; the message says what is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)} can't be read: {error.strerror or error}") from None
    try:
        return parse_transcript(_json(raw))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} is not a transcript of `apimaster probe`: {error}") from None


def parse_transcript(document: object) -> Transcript:
    """The transcript in a JSON value.

    Raises:
        ValueError: it is none; the message names the field, what it holds, and what is accepted.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'it must be a JSON object whose "format" is "{FORMAT}"')
    if document.get("version") != VERSION:
        raise ValueError(f"version must be {VERSION}, not {document.get('version')!r}")
    if _depth(document) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    spend = document.get("spend")
    if spend is not None and not isinstance(spend, str):
        raise ValueError(f"spend must be a text or null, not {spend!r}")
    return Transcript(
        made_by=_text(document, "made_by"),
        made_on=_text(document, "made_on"),
        model=_text(document, "model"),
        spend=spend,
        purchases=[_purchase(item, f"purchases[{n}].") for n, item in enumerate(_list(document, "purchases"))],
        exchanges=[_exchange(item, f"exchanges[{n}].") for n, item in enumerate(_list(document, "exchanges"))],
    )


def _purchase(item: object, where: str) -> Purchase:
    fields = _object(item, where)
    state = _text(fields, "state", where)
    if state not in get_args(PurchaseState):
        raise ValueError(f"{where}state must be one of {', '.join(get_args(PurchaseState))}, not {state!r}")
    return Purchase(
        step=_text(fields, "step", where),
        list_price=_text(fields, "list_price", where),
        state=state,  # type: ignore[arg-type]  # checked above
        task_id=_text(fields, "task_id", where),
        model=_text(fields, "model", where),
    )


def _exchange(item: object, where: str) -> Exchange:
    fields = _object(item, where)
    status = fields.get("status")
    if status is not None and (isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599):
        raise ValueError(f"{where}status must be a number from 100 to 599 or null, not {status!r}")
    headers = fields.get("headers", {})
    if not isinstance(headers, dict) or not all(_is_header(*each) for each in headers.items()):
        raise ValueError(f"{where}headers must be an object of plain texts, not {headers!r}")
    keyed = fields.get("keyed", True)
    if not isinstance(keyed, bool):
        raise ValueError(f"{where}keyed must be true or false, not {keyed!r}")  # noqa: TRY004  # a file's text
    return Exchange(
        step=_text(fields, "step", where),
        route=_text(fields, "route", where),
        method=_text(fields, "method", where),
        path=_text(fields, "path", where),
        keyed=keyed,
        request=fields.get("request"),
        status=status,
        headers=headers,
        body=fields.get("body"),
        fault=_text(fields, "fault", where),
        at=_seconds(fields, "at", where),
        seconds=_seconds(fields, "seconds", where),
    )


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where.rstrip('.')} must be an object, not {value!r}")  # noqa: TRY004  # a file's text
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} must be an array, not {value!r}")  # noqa: TRY004  # a file's text
    return value


def _text(fields: Mapping[str, Any], name: str, where: str = "") -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{where}{name} must be a text, not {value!r}")  # noqa: TRY004  # a file's text
    return value


def _seconds(fields: Mapping[str, Any], name: str, where: str) -> float:
    value = fields.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e6:
        raise ValueError(f"{where}{name} must be a number of seconds, not {value!r}")
    return float(value)


def _is_header(name: object, value: object) -> bool:
    return all(isinstance(text, str) and text.isascii() and text.isprintable() for text in (name, value))


def _json(raw: bytes) -> object:
    if len(raw) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES // 2**20} MB")
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def _depth(value: object) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting += [(each, depth + 1) for each in inner]
    return deepest
