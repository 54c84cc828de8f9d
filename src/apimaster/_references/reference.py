"""Reference images: the values that a caller may pass, and the form in which a request holds them.

A ``Reference`` is made without touching disk or network, so that building a request never blocks. It is written to
JSON as one plain string and holds bytes only privately:

=============================  ==========================  ====================================================
given                          written as                  read, when the request is sent
=============================  ==========================  ====================================================
``https://…``, ``http://…``    the URL                     never: the gateway fetches it
path                           the path                    in pieces, while it is sent
bytes, ``data:`` URI           ``sha256:…``                they are in memory
binary file                    ``sha256:…``                once, from its current position, and kept
PIL image, array of bytes      ``sha256:…``                encoded as PNG once, and kept
``GeneratedImage``             its path, bytes or URL      as that
=============================  ==========================  ====================================================

A reference that was loaded from a ``sha256:…`` text has the digest of its bytes, but not the bytes: it can be compared,
stored and shown, but not sent.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from ..errors import ReferenceImageError
from .base64_text import decoded
from .in_memory import ImageLike, PictureInMemory, file_within
from .pillow import image_of_array
from .provider_urls import is_for_its_provider

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_ACCEPTED: Final = (
    "a path, an http(s) URL, a data URI, bytes, a binary file, a PIL image, an array of bytes or a GeneratedImage"
)
# Patterns are compiled when they are first used: importing should cost next to nothing.
_DIGEST: Final = "sha256:[0-9a-f]{64}"
_SCHEME: Final = "([A-Za-z][A-Za-z0-9+.-]+):(//)?"
_DATA_URI: Final = "(?i)data:[^,]{0,200}?;base64,"
_LONGEST_NAME: Final = 4096
_SHOWN: Final = 80


class Reference:
    """One reference image of a request. ``ImageRequest(references=[…])`` makes them automatically.

    It never changes, and works as the type of a pydantic field. Two references are equal if their texts are equal: the
    same path, the same URL, or the same bytes.
    """

    __slots__ = ("_in_memory", "_text")

    def __init__(self, text: str, in_memory: PictureInMemory | None = None) -> None:
        """Not for callers: ``of`` checks its argument."""
        self._text = text
        self._in_memory = in_memory

    @classmethod
    def of(cls, value: ReferenceLike) -> Reference:
        """Make a reference of ``value``, without disk or network: files are read later.

        Args:
            value: a path, an http(s) URL or a ``data:`` URI (base64), a path object, bytes, a file opened for reading
                bytes, a PIL image, or a Reference.

        Raises:
            ReferenceImageError: it is none of these; the message says what is accepted.
        """
        if isinstance(value, Reference):
            return value
        return cls(*_parse(value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        from pydantic_core import core_schema  # loaded when a request is first made, not with the package

        as_text = core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema())
        return core_schema.no_info_plain_validator_function(cls.of, serialization=as_text)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        return {"type": "string", "description": "A path or an http(s) URL of a reference image."}

    @property
    def is_url(self) -> bool:
        """True if the gateway fetches the picture itself."""
        return self._in_memory is None and self._text[:4].lower() == "http" and "://" in self._text[:8]

    @property
    def path(self) -> Path | None:
        """The local file, with ``~`` expanded; None for a URL and for bytes."""
        if self._in_memory is not None or self.is_url or re.fullmatch(_DIGEST, self._text):
            return None
        return Path(os.path.expanduser(self._text))  # unlike Path.expanduser it leaves an unknown ~user alone

    @property
    def in_memory(self) -> PictureInMemory | None:
        """The bytes in memory, or still to be read; None for a path, for a URL, and if only a digest is left."""
        return self._in_memory

    @property
    def name(self) -> str:
        """Its name in messages: a path or a URL, shortened, never bytes."""
        return _short(self._text) if self._in_memory is None else self._in_memory.name

    def __str__(self) -> str:
        return self._text if self._in_memory is None else self._in_memory.digest()

    def __repr__(self) -> str:
        return f"Reference({self.name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return self is other or str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


ReferenceLike: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | ImageLike | Reference
"""The types that ``Reference.of`` accepts."""


def _parse(value: object) -> tuple[str, PictureInMemory | None]:
    """The text or the bytes of ``value``: exactly one of the two."""
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "", PictureInMemory(bytes(value))
    if isinstance(value, os.PathLike):
        text = os.fsdecode(value)
        _check_path(text)
        # A path object is always a path. Its text must be read as a path again, even if it looks like a URL.
        is_plain = not (re.match(_SCHEME, text) or re.fullmatch(_DIGEST, text)) or Path(text).is_absolute()
        return (text if is_plain else os.path.join(os.curdir, text)), None
    if isinstance(value, io.TextIOBase):
        raise ReferenceImageError(
            "a reference is a file in text mode", advice="Open the picture in binary mode: open(path, 'rb')."
        )
    named = getattr(value, "as_reference", None)
    if callable(named):  # a picture that this client made
        return _parse(named())
    if not isinstance(value, ImageLike) and hasattr(value, "__array_interface__"):  # which makes Pillow's load
        value = image_of_array(value)
    value = file_within(value)
    if callable(getattr(value, "read", None)) or isinstance(value, ImageLike):
        return "", PictureInMemory(value)  # type: ignore[arg-type]  # checked just now
    raise ReferenceImageError(f"a reference can't be made from a {type(value).__name__}; accepted: {_ACCEPTED}")


def _from_text(text: str) -> tuple[str, PictureInMemory | None]:
    start = text[:16].lower()
    if start.startswith("data:"):
        return "", PictureInMemory(_decoded(text))
    if start.startswith(("http://", "https://")):
        _check_url(text)
        return text, None
    if re.fullmatch(_DIGEST, text):
        return text, None
    scheme = re.match(_SCHEME, text)
    if start.startswith("file:"):
        raise ReferenceImageError(
            f"reference {_short(text)!r} is a file:// URL, which is not accepted",
            advice="Pass the path of a local file without file://.",
        )
    if scheme and scheme[2]:
        raise ReferenceImageError(
            f"reference {_short(text)!r}: the gateway can't fetch from {scheme[1]}://; accepted: {_ACCEPTED}"
        )
    _check_path(text)
    return text, None


def _check_path(text: str) -> None:
    if not text.strip():
        raise ReferenceImageError(f"a reference is an empty string; accepted: {_ACCEPTED}")
    if "\0" in text or "\n" in text or len(text) > _LONGEST_NAME:
        raise ReferenceImageError(f"reference {_short(text)!r} is neither a path nor a URL; accepted: {_ACCEPTED}")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Such a name can't be written to JSON, as requests must be.
        raise ReferenceImageError(
            f"reference {_short(text)!r} is not valid Unicode", advice="Open the file, and pass the open file."
        ) from None


def _check_url(text: str) -> None:
    """Check the syntax. Only the gateway can find out whether it reaches the URL."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ReferenceImageError(f"reference {_short(text)!r} is not a valid URL: {error}") from None
    if not host or any(c.isspace() or not c.isprintable() for c in text):
        raise ReferenceImageError(
            f"reference {_short(text)!r} is not a valid URL", advice="Write blanks as %20, and name a host."
        )
    if parts.username is not None or parts.password is not None:
        # The URL is not shown: the part before the @ is a secret.
        raise ReferenceImageError(
            f"a reference URL for {host} holds a user name or password", advice="Pass a URL without them."
        )
    if is_for_its_provider(text):
        raise ReferenceImageError(
            f"reference {_short(text)!r}: only its provider can fetch it", advice="Pass the picture itself."
        )


def _decoded(uri: str) -> bytes:
    """The bytes of a data URI. Its media type is ignored: the bytes decide."""
    start = re.match(_DATA_URI, uri)
    if start is None:
        raise ReferenceImageError("a data URI must look like data:image/png;base64,… (JPEG, PNG or WebP)")
    code = uri[start.end() :]
    if "%" in code:
        code = unquote(code)
    return decoded(code, "a data URI")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
