"""Registered webhook endpoints: which URLs the gateway takes, the secrets, and who may see an endpoint.

The gateway takes public https URLs on port 443. The emulator never talks to another machine, so it also takes http and
https URLs on loopback, on any port: only there can a test receive anything. A public URL can be registered, but not
verified.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .clock import Clock
from .options import is_loopback
from .validation import Refusal

PREVIOUS_SECRET: Final = 24 * 3600.0
"""Seconds for which the secret before a rotation stays valid."""

_MAX_URL: Final = 2048
_PRIVATE_NAMES: Final = (".local", ".internal", ".localhost", ".localdomain", ".lan", ".home", ".corp", ".intranet")


@dataclass(slots=True, eq=False)
class WebhookEndpoint:
    """One endpoint.

    Attributes:
        id: ``whep_…``.
        url: where deliveries go.
        key: which key registered it, counted from 0; other keys do not see it.
        created: unix seconds.
        secret: signs deliveries; the gateway shows it once.
        key_id: the id of that secret.
        verified: whether the receiver has answered a challenge.
        enabled: False pauses deliveries; a 410 from the receiver sets it.
        previous_secret, previous_key_id, previous_until: the secret before the last rotation, and the unix second up
            to which it is valid; None before the first rotation.
    """

    id: str
    url: str
    key: int
    created: float
    secret: str
    key_id: str
    verified: bool = False
    enabled: bool = True
    previous_secret: str | None = None
    previous_key_id: str | None = None
    previous_until: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The endpoint as the gateway shows it, without its secret."""
        return {
            "id": self.id,
            "url": self.url,
            "verified": self.verified,
            "enabled": self.enabled,
            "key_id": self.key_id,
            "created_at": int(self.created),
        }

    def signing_key(self, now: float, *, previous: bool = False) -> tuple[str, str]:
        """A secret and its id: the newest, or with ``previous`` the one before it, while that is valid."""
        if previous and self.previous_secret and self.previous_key_id and now < (self.previous_until or 0):
            return self.previous_secret, self.previous_key_id
        return self.secret, self.key_id


class WebhookEndpoints:
    """The endpoints of the emulator's account; safe to use from any thread."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._endpoints: dict[str, WebhookEndpoint] = {}

    def register(self, url: object, key: int) -> WebhookEndpoint:
        """Register a URL.

        Raises:
            Refusal: 400 for a URL that the gateway does not take, 429 if the account has too many endpoints.
        """
        checked = check_webhook_url(url)
        with self._lock:
            if len(self._endpoints) >= self._limit:
                raise Refusal(
                    429,
                    f"at most {self._limit} webhook endpoints are allowed",
                    "new_api_error",
                    "webhook_endpoint_limit_reached",
                )
            endpoint = WebhookEndpoint(
                id=f"whep_{secrets.token_hex(10)}",
                url=checked,
                key=key,
                created=self._clock.unix_time(),
                secret=_new_secret(),
                key_id=_new_key_id(),
            )
            self._endpoints[endpoint.id] = endpoint
            return endpoint

    def rotate(self, endpoint: WebhookEndpoint) -> None:
        """Give an endpoint a new secret; the one before stays valid for 24 hours."""
        with self._lock:
            endpoint.previous_secret, endpoint.previous_key_id = endpoint.secret, endpoint.key_id
            endpoint.previous_until = self._clock.unix_time() + PREVIOUS_SECRET
            endpoint.secret, endpoint.key_id = _new_secret(), _new_key_id()

    def get(self, endpoint_id: str, key: int | None = None) -> WebhookEndpoint | None:
        """The endpoint of that id; None if there is none, or if it belongs to another key."""
        found = self._endpoints.get(endpoint_id)
        return None if found is None or (key is not None and found.key != key) else found

    def all(self, key: int | None = None) -> list[WebhookEndpoint]:
        """Every endpoint of a key, or of all keys, oldest first."""
        with self._lock:
            return [each for each in self._endpoints.values() if key is None or each.key == key]

    def clear(self) -> None:
        """Forget all endpoints."""
        with self._lock:
            self._endpoints.clear()


def check_webhook_url(value: object) -> str:
    """The URL of an endpoint, if the gateway takes it.

    Raises:
        Refusal: 400, the URL is none, or it is not a public https URL on port 443 nor one of this machine.
    """
    if not isinstance(value, str) or not value:
        raise _refused("url is required" if value in (None, "") else "url must be a string")
    if len(value) > _MAX_URL or not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise _refused(f"url must be a URL of at most {_MAX_URL} printable ASCII characters without spaces")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("url is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise _refused("url must be a public https URL")
    if parts.username is not None or parts.password is not None:
        raise _refused("url must not hold a user name or a password")
    if "#" in value:
        raise _refused("url must not hold a fragment")
    if is_loopback(host):
        return value
    if parts.scheme != "https":
        raise _refused("url must be https")
    if port not in (None, 443):
        raise _refused(f"url must use port 443, not {port}")
    if not _is_public(host):
        raise _refused(f"the host {host} is not public")
    return value


def _is_public(host: str) -> bool:
    name = host.rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        labels = name.split(".")
        # a name whose last label is a number is an address in one of its odd spellings (127.1, 0x7f.1)
        odd = labels[-1].isdecimal() or labels[-1].startswith("0x")
        return len(labels) > 1 and all(labels) and not odd and not name.endswith(_PRIVATE_NAMES)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_global
    return address.is_global and not address.is_multicast


def _refused(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_webhook_url")


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def _new_key_id() -> str:
    return f"whk_{secrets.token_hex(6)}"
