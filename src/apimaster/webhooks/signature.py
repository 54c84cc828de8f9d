"""The signature of a delivery: how it is made, and whether one of the receiver's secrets made it.

``X-APIMaster-Signature: v1=<hex>,kid=<key id>``, where the hex is the HMAC-SHA256 of timestamp, full stop and raw body
(docs/endpoint.md, "Webhooks"). While a secret is replaced, two are valid: so a receiver may hold several secrets, and a
header may hold several signatures and key ids. A delivery is genuine if any of its signatures was made with any of the
secrets that its key ids allow; only the secret proves something, and the key id merely says which one to try.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import SecretStr

from ..errors import APIMasterError, BadRequestError, sentence

WebhookSecrets = str | SecretStr | Mapping[str, str | SecretStr] | Sequence[str | SecretStr]
"""The secret of an endpoint, or several: by key id, or in any order. The key id ``""`` stands for any."""

_MOST_PARTS: Final = 32
_ACCEPTED: Final = "accepted: a text, a mapping of key ids to texts, or a sequence of texts"


class WebhookVerificationError(APIMasterError):
    """Nothing proves that the delivery comes from the gateway, or it is not an event. Don't act on it; answer 400."""

    advice = "Don't act on the delivery, and answer 400."

    def __str__(self) -> str:
        return f"{sentence(self.message)} {self.advice}"  # no word on the charge: a delivery costs nothing


def sign(body: bytes, secret: str, *, timestamp: int, key_id: str = "1") -> dict[str, str]:
    """The two headers that the gateway would send with ``body``: for tests of a receiver.

    Args:
        body: the raw body.
        secret: the endpoint's secret.
        timestamp: unix seconds.
        key_id: the id of that secret.
    """
    digest = _digest(body, str(timestamp), secret.encode())
    return {"X-APIMaster-Timestamp": str(timestamp), "X-APIMaster-Signature": f"v1={digest.decode()},kid={key_id}"}


def check_signature(body: bytes, timestamp: str, header: str, secrets: WebhookSecrets) -> None:
    """Check that one of ``secrets`` signed ``timestamp`` and ``body``.

    Raises:
        WebhookVerificationError: none did.
        BadRequestError: ``secrets`` holds none, an empty one, or something that is no secret.
    """
    known = _by_key_id(secrets)  # first: a mistake of the receiver shows at its first delivery, genuine or not
    signatures, key_ids = _parts(header)
    expected = [_digest(body, timestamp, key) for key in _allowed(known, key_ids)]
    # Every pair is compared, so that the time tells nothing but their number.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures]
    if not any(matches):
        raise WebhookVerificationError(
            "The signature does not match the body: the secret is not this endpoint's, or something changed the body.",
            advice="Don't act on the delivery, and answer 400. Check the secret, and pass the raw bytes of the body.",
        )


def _digest(body: bytes, timestamp: str, key: bytes) -> bytes:
    # A header may hold half a character, which has no bytes; a forged one must not end in another error.
    signed = timestamp.encode("utf-8", "replace") + b"." + body
    return hmac.new(key, signed, hashlib.sha256).hexdigest().encode()


def _parts(header: str) -> tuple[list[bytes], list[str]]:
    """The signatures of a ``v1=…,kid=…`` header, lower case, and its key ids."""
    parts = header.split(",", _MOST_PARTS)
    if len(parts) > _MOST_PARTS:
        raise WebhookVerificationError(f"The signature header has more than {_MOST_PARTS} parts.")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (part.partition("=") for part in parts)]
    # compare_digest takes any bytes, but only ASCII text: a forged header must not cause a TypeError.
    signatures = [value.lower().encode("utf-8", "replace") for name, value in pairs if name == "v1" and value]
    if not signatures:
        raise WebhookVerificationError("The signature header holds no v1=… part, the only kind that this client knows.")
    return signatures, [value for name, value in pairs if name == "kid" and value]


def _by_key_id(secrets: WebhookSecrets) -> list[tuple[str, bytes]]:
    """Each secret with its key id, which is empty if any may be meant."""
    if isinstance(secrets, (str, SecretStr)):
        pairs: list[tuple[str, object]] = [("", secrets)]
    elif isinstance(secrets, Mapping):
        pairs = [(str(key_id).strip(), value) for key_id, value in secrets.items()]
    elif isinstance(secrets, Sequence) and not isinstance(secrets, (bytes, bytearray, memoryview)):
        pairs = [("", value) for value in secrets]
    else:
        raise BadRequestError(f"the webhook secret is of the type {type(secrets).__name__}; {_ACCEPTED}")
    found = [(key_id, _bytes_of(value)) for key_id, value in pairs]
    # Anybody can sign with an empty secret, and a forgotten environment variable results in one.
    if not found or not all(value for _, value in found):
        raise BadRequestError("the webhook secret is empty; it was shown when the endpoint was created")
    return found


def _bytes_of(secret: object) -> bytes:
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if not isinstance(text, str):
        raise BadRequestError(f"one webhook secret is of the type {type(text).__name__}; {_ACCEPTED}")
    try:
        return text.strip().encode()
    except UnicodeEncodeError:
        raise BadRequestError("one webhook secret holds half a character, which no secret does") from None


def _allowed(known: list[tuple[str, bytes]], key_ids: list[str]) -> list[bytes]:
    """The secrets that may have made the signatures of a header with these key ids."""
    allowed = [secret for key_id, secret in known if not key_ids or not key_id or key_id in key_ids]
    if not allowed:
        theirs = ", ".join(repr(each[:80]) for each in key_ids)
        ours = ", ".join(sorted(key_id for key_id, _ in known))
        raise WebhookVerificationError(f"The delivery is signed with the key {theirs}; known keys: {ours}.")
    return allowed
