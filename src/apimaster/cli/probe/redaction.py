"""What of a reply may stand in a transcript: a list of what is kept, and a placeholder for all the rest.

Nothing is searched for and removed, because nobody can list all that is secret. A value is kept only if its field is
on a list and its form is that of the field:

=======================  ============================================================================
in a reply               in the transcript
=======================  ============================================================================
true, false, null        themselves, and an empty text
a status, type or code   itself, if it is one word of letters and underscores
a model id               itself, if it is of a family of image models
a size, a date           itself, in the form of a size (``1:1``, ``0.5k``) or of ``2026-10-03``
a number                 itself for progress, row types and public prices; amounts only of what the probe bought
a URL                    ``<url gateway imgs>``, ``<url gateway output>``, ``<url gateway>`` or ``<url elsewhere>``
a moment                 ``<time>``
a picture                media type and pixels
any other text           ``<text>``
a field's name           itself, if it is on the list; otherwise ``<field 1>``, ``<field 2>``, …
=======================  ============================================================================

What the key has spent is kept as the difference to the first figure. Rows of the usage log that are not the probe's
own lose their amounts, and only two of them stay, for their shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ...adapters import NotAPicture, inspect_picture
from .kept import (
    DATE,
    DEPTH,
    EVENTS,
    FAMILIES,
    FIELDS,
    FOREIGN_ROWS,
    ITEMS,
    LIST_PRICES,
    MEDIA_TYPES,
    MODELS,
    NUMBERS,
    OWN_NUMBERS,
    REQUEST_IDS,
    SIZE,
    SIZES,
    SMALL_NUMBER,
    TASK_ID,
    TIMES,
    WORD,
    WORDS,
)

OWN: Final = "<own>"
"""In a row of the log: the step of the probe that it belongs to."""
PICTURE: Final = "<picture>"
JSON_TEXT: Final = "<json text>"
_LARGEST: Final = 1e15


class Redactor:
    """Turns replies into what a transcript may hold.

    Args:
        base_url: of the gateway, with ``/v1``.
        secrets: texts that must not appear even where a word may stand: the key.
    """

    def __init__(self, base_url: str, secrets: Iterable[str] = ()) -> None:
        self._base = base_url.rstrip("/")
        self._secrets = {text.lower() for text in secrets if text}
        self._first_used: float | None = None
        self.own_tasks: dict[str, str] = {}
        """Ids of the tasks that the probe submitted → its step."""
        self.own_prompts: dict[str, str] = {}
        """Prompts of the probe → its step."""

    # --- parts of an exchange -------------------------------------------------------------------------------

    def body(self, raw: bytes) -> Any:
        """What a transcript may hold of a body."""
        if not raw.strip():
            return "<nothing>"
        try:
            picture = inspect_picture(raw)
        except NotAPicture:
            pass
        else:
            facts = {"media_type": picture.media_type, "width": picture.width, "height": picture.height}
            return {PICTURE: facts}
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return "<html>" if raw.lstrip()[:1] == b"<" else "<text>"
        return self.value(document)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that the client reads; of those that hold an id, only that they are there."""
        found: dict[str, str] = {}
        for name, value in headers.items():
            lowered = name.lower()
            if lowered == "content-type":
                media_type = value.partition(";")[0].strip().lower()
                found[lowered] = media_type if media_type in MEDIA_TYPES else "<other>"
            elif lowered == "retry-after":
                found[lowered] = value if SMALL_NUMBER.fullmatch(value) else "<other>"
            elif lowered in REQUEST_IDS or lowered == "x-apimaster-routing-retry":
                found[lowered] = "<present>"
        return found

    def address(self, method: str, url: str) -> tuple[str, str]:
        """The route, and a path without ids, of a request."""
        origin = self._base.removesuffix("/v1")
        bare = url.partition("?")[0]
        if bare.startswith(f"{self._base}/"):
            below = bare.removeprefix(self._base)
            if (method, below) in _ROUTES:
                return _ROUTES[method, below], f"/v1{below}"
            if re.fullmatch(r"/tasks/[^/]+", below):
                return "poll", "/v1/tasks/<task>"
            if re.fullmatch(r"/tasks/[^/]+/outputs/\d+/content", below):
                return "output", "/v1/tasks/<task>/outputs/0/content"
            return "other", "/v1/<other>"
        for path, route in _BESIDE.items():
            if bare == origin + path:
                return route, path
        return ("download" if method == "GET" else "other"), self._url(url)

    # --- values ---------------------------------------------------------------------------------------------

    def value(self, value: Any, field: str = "", *, own: bool = False, depth: int = 0) -> Any:
        """A JSON value with placeholders; ``field`` is the name that it has, ``own`` whether the probe paid for it."""
        if depth > DEPTH:
            return "<deep>"
        if isinstance(value, Mapping):
            return self._object(value, own=own, depth=depth)
        if isinstance(value, list):
            return self._array(value, field, own=own, depth=depth)
        if value is None or isinstance(value, bool) or value == "":
            return value
        if isinstance(value, (int, float)):
            return self._number(value, field, own=own)
        return self._text(str(value), field, depth)

    def _object(self, value: Mapping[str, Any], *, own: bool, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        step = self._own_step(value)
        if step:
            found[OWN] = step
        is_model = value.get("object") == "model"
        unknown = 0
        for name, item in value.items():
            if name not in FIELDS:
                unknown += 1
                name = f"<field {unknown}>"  # what is written is the placeholder
                if unknown > ITEMS:
                    continue
            as_field = "model" if is_model and name == "id" else name
            found[name] = self.value(item, as_field, own=own or bool(step), depth=depth + 1)
        return found

    def _array(self, value: list[Any], field: str, *, own: bool, depth: int) -> list[Any]:
        kept: list[Any] = []
        if value and all(isinstance(item, Mapping) for item in value):
            if all(item.get("object") == "model" or "model_ratio" in item for item in value):
                kept = [item for item in value if self._is_image_model(item.get("id") or item.get("model_name"))]
                kept = kept[:100]
            elif all("model_name" in item or "other" in item for item in value):
                mine = [item for item in value if self._own_step(item)]
                foreign = [item for item in value if not self._own_step(item)]
                kept = mine[:100] + foreign[:FOREIGN_ROWS]
            else:
                kept = value[:ITEMS]
        else:
            kept = value[:ITEMS]
        found = [self.value(item, field, own=own, depth=depth + 1) for item in kept]
        return [*found, "<more>"] if len(value) > len(kept) else found

    def _number(self, value: float, field: str, *, own: bool) -> Any:
        if not abs(value) < _LARGEST:  # also true for NaN; an integer in JSON may have thousands of digits
            return "<number>"
        if field == "total_used":
            self._first_used = value if self._first_used is None else self._first_used
            return value - self._first_used
        if field == "code":
            return value if 0 <= value <= 999 else "<number>"
        if field in TIMES:
            return "<time>" if 1e9 < value < 1e11 else "<number>"
        if field in LIST_PRICES and 0 <= value <= 10_000:
            return value
        if (field in NUMBERS and abs(value) <= 100_000) or (own and field in OWN_NUMBERS):
            return value
        return "<number>"

    def _text(self, text: str, field: str, depth: int) -> str | dict[str, Any]:
        if field == "other" and text.lstrip().startswith("{"):
            return self._json_text(text, depth)
        if self._kept(text, field):
            return text
        if field in ("task_id", "id"):
            return f"<task {text.partition('_')[0]}>" if TASK_ID.fullmatch(text) else "<id>"
        if re.match(r"https?://", text):
            return self._url(text)
        if text.startswith("data:"):
            return "<data uri>"
        return "<base64>" if field == "b64_json" else "<text>"

    def _kept(self, text: str, field: str) -> bool:
        if any(secret in text.lower() for secret in self._secrets):
            return False
        if field in WORDS:
            return bool(WORD.fullmatch(text) or (field == "code" and SMALL_NUMBER.fullmatch(text)))
        if field in MODELS:
            return self._is_image_model(text)
        return (
            (field in SIZES and bool(SIZE.fullmatch(text)))
            or (field == "api_version" and bool(DATE.fullmatch(text)))
            or (field == "events" and text in EVENTS)
            or (field == "content_type" and text in MEDIA_TYPES)
        )

    def _json_text(self, text: str, depth: int) -> str | dict[str, Any]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return "<text>"
        own = isinstance(document, dict) and bool(self._own_step({"other": text}))
        return {JSON_TEXT: self.value(document, own=own, depth=depth + 1)}

    def _own_step(self, row: Mapping[str, Any]) -> str:
        """The step of the probe that a row of the usage log belongs to; empty for any other object."""
        other = row.get("other")
        if not isinstance(other, str):
            return ""
        try:
            details = json.loads(other)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(details, dict):
            return ""
        asked = details.get("request_data")
        prompt = asked.get("prompt") if isinstance(asked, dict) else None
        by_task = self.own_tasks.get(str(details.get("task_id")), "")
        return by_task or self.own_prompts.get(str(prompt), "")

    def _is_image_model(self, text: object) -> bool:
        return isinstance(text, str) and bool(FAMILIES.fullmatch(text))

    def _url(self, url: str) -> str:
        try:
            base, parts = urlsplit(self._base), urlsplit(url)
            same = (parts.scheme, parts.hostname, parts.port) == (base.scheme, base.hostname, base.port)
        except ValueError:
            return "<url>"
        if not same:
            return "<url elsewhere>"
        if parts.path.startswith("/imgs/"):
            return "<url gateway imgs>"
        if re.search(r"/tasks/[^/]+/outputs/\d+/content$", parts.path):
            return "<url gateway output>"
        return "<url gateway>"


_ROUTES: Final = {
    ("GET", "/models"): "models",
    ("POST", "/images/generations"): "sync",
    ("POST", "/images/generations/async"): "submit",
    ("POST", "/uploads/images"): "upload",
    ("POST", "/chat/completions"): "chat",
    ("GET", "/webhook-capabilities"): "capabilities",
    ("POST", "/apimaster-probe/no-such-route"): "other",
}
_BESIDE: Final = {
    "/api/usage/token": "usage",
    "/api/log/token": "log",
    "/api/pricing": "pricing",
    "/api/public/marketplace": "marketplace",
}
