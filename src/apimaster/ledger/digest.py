"""What stands behind a key: digests of requests, of their references, and of accounts.

Two requests with the same digest ask for the same thing: defaults are filled in, and a reference counts by its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..catalog import DEFAULT_RESOLUTION, spellings
from ..errors import BadRequestError

if TYPE_CHECKING:
    from .._references.checked import CheckedReference
    from ..request import ImageRequest

_DIGEST: Final = "sha256:"


def request_digest(request: ImageRequest, references: Sequence[CheckedReference] = ()) -> str:
    """The digest of everything that ``request`` asks for. Blocking if there are references: it reads their files.

    Args:
        request: what is asked for.
        references: its ``pictures``, checked: the references, and the mask, if it has one, last.

    Raises:
        ReferenceImageError: a file can't be read any more, or has changed since it was checked.
    """
    return request_digests(request, references)[0]


def request_digests(request: ImageRequest, references: Sequence[CheckedReference] = ()) -> tuple[str, ...]:
    """The digest of a request, and those of the same request with the other spellings of its model's id.

    Under any of them a ledger may hold it: a key stands for the model, however its id was spelled. Raises as
    ``request_digest``.
    """
    asked: dict[str, Any] = request.model_dump(mode="json", exclude={"references", "mask"}, exclude_none=True)
    asked["resolution"] = asked.get("resolution") or DEFAULT_RESOLUTION
    if request.mask is not None and references:
        *references, mask = references
        asked["mask"] = reference_digest(mask)
    asked["references"] = [reference_digest(reference) for reference in references]
    return tuple(_digest_of({**asked, "model": model}) for model in spellings(request.model))


def _digest_of(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def key_reused(key: str) -> BadRequestError:
    """The error for a key that stands for another request."""
    return BadRequestError(
        f"the idempotency key {key!r} stands for another request",
        code="idempotency_key_reused",
        advice="Use a new key for a new request; the same key brings the same picture.",
    )


def reference_digest(reference: CheckedReference) -> str:
    """A URL counts by itself, since the gateway fetches it; everything else by its bytes."""
    if reference.url is not None:
        return reference.url
    return reference.hashed().digest


def text_digest(text: str) -> str:
    """A text as ``sha256:…``, for a ledger that stores no prompts."""
    return _DIGEST + hashlib.sha256(text.encode()).hexdigest()


def is_digest(text: str) -> bool:
    """Whether a text is a digest from ``text_digest``."""
    return text.startswith(_DIGEST) and len(text) == len(_DIGEST) + 64


def stored_request(request: ImageRequest, *, prompts: bool) -> str:
    """A request as a row stores it; without ``prompts``, digests take the place of everything that a caller wrote."""
    fields = request.model_dump(mode="json", exclude_none=True)
    fields["n"] = 1
    if not prompts:
        fields["prompt"] = text_digest(request.prompt)
        fields.pop("references", None)
        if "mask" in fields:  # that there is one decides what the usage log can tell of it
            fields["mask"] = text_digest(fields["mask"])
        fields.pop("extra_body", None)
        fields.pop("client_reference_id", None)
    elif not fields.get("extra_body"):
        fields.pop("extra_body", None)
    return json.dumps(fields, ensure_ascii=False)


def account_of(base_url: str, api_key: str) -> str:
    """A fingerprint of an account: the gateway's origin and the key, neither of which it shows."""
    parts = urlsplit(base_url)
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}\n{api_key}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
