"""The signing secrets of one endpoint in a file: written when one is created or rotated, read by the receiver.

The gateway shows a secret once, so the file is written with care: for its owner alone (mode 0600), under a temporary
name that becomes the file's in one step, and never over the secrets of another endpoint. It is prepared before the
request goes out, so that a folder that can't be written costs no secret. ::

    {"endpoint_id": "whep_1", "url": "https://…", "secrets": {"k1": {"secret": "…", "valid_until": 1790000000},
                                                              "k2": {"secret": "…"}}}

``read_secrets`` reads this form, a plain ``{"k1": "secret"}`` that a person wrote, and a file that holds nothing but
the secret. A secret that was replaced counts until its end, and a little longer for deliveries on their way.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets as random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import BadRequestError
from .arguments import shown

ON_THE_WAY: Final = 300.0
"""Seconds for which a secret still counts after its end: a delivery may be as old as ``DEFAULT_TOLERANCE``."""

REPLACED_FOR: Final = 24 * 3600.0
"""Seconds for which a replaced secret stays valid (docs/endpoint.md), if the gateway's reply names no end."""

_MAX_BYTES: Final = 64 * 1024
_FORM: Final = 'a JSON object of key ids and secrets such as {"key_1": "…"}, or one line with the secret'
_SAVE_ELSEWHERE: Final = "Name another file."
_writing = threading.Lock()


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that the gateway has just shown; after a rotation with the one before it, and its end (unix seconds)."""

    endpoint_id: str
    key_id: str
    secret: str = field(repr=False)
    url: str | None = None
    rotated: bool = False
    previous_key_id: str | None = None
    previous_valid_until: float | None = None


def read_secrets(path: str | os.PathLike[str], *, now: float | None = None) -> dict[str, str]:
    """The secrets in a file that are valid, by key id, as ``parse_webhook`` takes them.

    Args:
        path: a file that ``create`` or ``rotate`` wrote, that holds ``{"key id": "secret"}``, or nothing but a secret;
            that one has the key id ``""``, which stands for any, as blanks do.
        now: unix seconds, instead of this machine's clock.

    Raises:
        BadRequestError: the file can't be read, has another form, or holds no valid secret. The message shows no
            secret.
    """
    place = _checked("the file of webhook secrets", path)
    stored = _read(place)
    if stored is None and not os.path.exists(place):
        raise BadRequestError(
            f"there is no file {place}", advice="Name the file that holds the webhook secrets of the endpoint."
        )
    if stored is None or not stored.entries:
        raise BadRequestError(f"there is no webhook secret in {place}", advice=f"Accepted: {_FORM}.")
    moment = time.time() if now is None else now
    valid = {
        key_id: secret
        for key_id, (secret, valid_until) in stored.entries.items()
        if valid_until is None or moment <= valid_until + ON_THE_WAY
    }
    if not valid:
        raise BadRequestError(
            f"the file {place} holds no webhook secret that is still valid",
            advice="Rotate the endpoint's secret, and save the new one there.",
        )
    return valid


class SecretFile:
    """The file that a new secret is going to be saved in. Its methods block."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # The file behind a link is replaced, not the link.
        self.path = os.path.realpath(_checked("save_secret", path))

    def prepare(self, endpoint_id: str | None) -> None:
        """Check that a secret of this endpoint can be saved; None: of one that is yet to be made.

        Raises:
            BadRequestError: the file holds something else, or its folder can't be written.
        """
        self._mine(endpoint_id)
        try:
            os.unlink(_written(self.path, b""))
        except OSError as error:
            raise BadRequestError(
                f"the webhook secret can't be saved at {self.path}: {error.strerror or error}", advice=_SAVE_ELSEWHERE
            ) from None

    def save(self, new: NewSecret) -> None:
        """Add a secret to those of the same endpoint, and write when those before it end, whatever their key ids.

        Raises:
            BadRequestError: the file holds something else by now.
            OSError: it can't be written.
        """
        with _locked(os.path.dirname(self.path)):
            stored = self._mine(new.endpoint_id if new.rotated else None)
            entries = _with_new(stored.entries, new)
            content: dict[str, Any] = {"endpoint_id": new.endpoint_id, "url": new.url or stored.url}
            content["secrets"] = {
                key_id: {"secret": secret} if valid_until is None else {"secret": secret, "valid_until": valid_until}
                for key_id, (secret, valid_until) in entries.items()
            }
            temporary = _written(self.path, json.dumps(content, indent=2).encode() + b"\n")
            try:
                os.replace(temporary, self.path)
            except OSError:
                os.unlink(temporary)
                raise

    def _mine(self, endpoint_id: str | None) -> _Stored:
        """What the file holds of this endpoint."""
        stored = _read(self.path)
        if stored is None or (endpoint_id is not None and stored.endpoint_id == endpoint_id):
            return stored or _Stored()
        holds = f"of the endpoint {stored.endpoint_id}" if stored.endpoint_id else "of no named endpoint"
        raise BadRequestError(f"the file {self.path} holds webhook secrets {holds}", advice=_SAVE_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The content of a file: key id to secret and end (unix seconds; None: it has none)."""

    entries: Mapping[str, tuple[str, float | None]] = field(default_factory=dict, repr=False)
    endpoint_id: str | None = None
    url: str | None = None


def _with_new(entries: Mapping[str, tuple[str, float | None]], new: NewSecret) -> dict[str, tuple[str, float | None]]:
    """All secrets of an endpoint after it got a new one: every other one has an end."""
    end = time.time() + REPLACED_FOR if new.previous_valid_until is None else new.previous_valid_until
    found: dict[str, tuple[str, float | None]] = {}
    for key_id, (secret, until) in entries.items():
        found[key_id] = (secret, end if until is None else until)
    old = found.pop(new.key_id, None)
    if old is not None and old[0] != new.secret:
        # The gateway names no keys. Blanks stand for any key as "" does, so the old secret is kept under some.
        blank = " "
        while blank in found:
            blank += " "
        found[blank] = old
    found[new.key_id] = (new.secret, None)
    return found


def _checked(name: str, path: str | os.PathLike[str]) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise BadRequestError(f"{name} must be the path of a file, not {shown(path)}")
    return text


def _read(place: str) -> _Stored | None:
    """The content of a file; None if there is none, or if it is empty."""
    try:
        with open(place, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadRequestError(f"the file {place} can't be read: {reason}", advice=_SAVE_ELSEWHERE) from None
    unfit = BadRequestError(f"the file {place} holds no webhook secrets", advice=f"Accepted: {_FORM}.")
    try:
        text = data.decode("utf-8-sig").strip()
        if len(data) > _MAX_BYTES:
            raise unfit
        if not text:
            return None
        if not text.startswith(("{", "[")):
            if not text.isprintable() or " " in text:
                raise unfit
            return _Stored({"": (text, None)})
        document = json.loads(text)
    except (ValueError, RecursionError):  # the error itself may quote a secret
        raise unfit from None
    return _stored(document, unfit)


def _stored(document: object, unfit: BadRequestError) -> _Stored:
    if not isinstance(document, dict):
        raise unfit
    named = isinstance(document.get("secrets"), dict)
    listed: dict[str, object] = document["secrets"] if named else document
    entries: dict[str, tuple[str, float | None]] = {}
    for key_id, value in listed.items():
        secret = value.get("secret") if isinstance(value, dict) else value
        end = value.get("valid_until") if isinstance(value, dict) else None
        if not isinstance(secret, str) or not secret.strip() or isinstance(end, bool):
            raise unfit
        if not isinstance(end, (int, float, type(None))):
            raise unfit
        entries[key_id] = (secret.strip(), end)
    names = (document.get("endpoint_id"), document.get("url")) if named else (None, None)
    endpoint_id, url = (name if isinstance(name, str) and name else None for name in names)
    return _Stored(entries, endpoint_id, url)


def _written(place: str, data: bytes) -> str:
    """The path of a new file beside ``place`` with these bytes, on the disk, for its owner alone."""
    temporary = os.path.join(os.path.dirname(place), f".apimaster-{random.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """One writer in a folder at a time, over all threads and, where the system can lock a folder, all processes."""
    with _writing:
        try:
            import fcntl
        except ImportError:  # pragma: no cover  # Windows
            yield
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a network share may know no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
