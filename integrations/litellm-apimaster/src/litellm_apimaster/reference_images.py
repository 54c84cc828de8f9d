"""References for the core from what callers of LiteLLM hand over as pictures: under which names, and in which forms.

An OpenAI client uploads files. LiteLLM passes them on as bytes, open files, ``(name, content, type)`` tuples, paths or
URLs, one or a list of them. Others write JSON: texts, or objects as in a conversation. Every name of the table below
means the same. A caller of LiteLLM's functions in this process may name a local file, as ``image``. A client of a proxy
may not, and neither may the other names or a conversation, whose text may come from a model or a document. A mask is
one picture, in the same forms.

What looks like a picture and has another name is refused (``stray_pictures``): the gateway would ignore it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from apimaster.adapters import NotAPicture, decode_base64, file_within, inspect_picture, picture_in
from apimaster.catalog import MAX_REFERENCE_BYTES
from apimaster.errors import BadRequestError, ReferenceImageError

IMAGE: Final = "image"
IMAGE_URLS: Final = "image_urls"
MASK: Final = "mask"
MASKS: Final = frozenset({MASK, "mask_url"})

_NAMES: Final = frozenset(
    {
        *("image", "imageurl", "imagefile", "imageinput", "imagebase64", "imageb64"),
        *("inputimage", "inputimageurl", "referenceimage", "referenceimageurl", "refimage"),
        *("initimage", "sourceimage", "baseimage", "attachedimage", "reference", "referenceurl"),
    }
)
_REMOTE: Final = ("http://", "https://", "data:")
_SHORTEST_BASE64: Final = 64
_MAX_SHOWN: Final = 60


def is_reference_name(name: str) -> bool:
    """Whether a parameter of this name holds reference images: ``image``, ``images``, ``image_url``, …"""
    return name.lower().replace("_", "").replace("-", "").removesuffix("s") in _NAMES


def gives_mask(parameters: Mapping[str, Any]) -> bool:
    """Whether one of the parameters holds a mask."""
    return any(not _is_empty(parameters.get(name)) for name in MASKS)


class References:
    """Reads the pictures of one call. Each value is read once, also if it is asked for several times.

    Args:
        local_paths: whether ``image`` and ``mask`` may name a local file.
        from_form: whether the parameters are the fields of a form, of which some may have been lost.
    """

    def __init__(self, *, local_paths: bool, from_form: bool = False) -> None:
        self._local_paths = local_paths
        self._from_form = from_form
        self._read: dict[int, tuple[Any, list[Any]]] = {}

    def take(self, parameters: MutableMapping[str, Any]) -> list[Any] | None:
        """The pictures of all parameters that hold some; they are removed. None if there are none.

        Raises:
            ReferenceImageError: one of them can't be used, or is not there.
            BadRequestError: a field of a form may have been lost.
        """
        names = sorted(filter(is_reference_name, parameters), key=lambda name: (name != IMAGE, name))
        found = [each for name in names for each in self.read(name, parameters.pop(name))]
        return found or None

    def take_mask(self, parameters: MutableMapping[str, Any]) -> Any:
        """The mask among the parameters, which is removed from them. None if there is none.

        Raises:
            ReferenceImageError: it can't be used, or there are several.
        """
        found = [
            (name, each) for name in sorted(MASKS & parameters.keys()) for each in self.read(name, parameters.pop(name))
        ]
        if len(found) > 1:
            names = " and ".join(dict.fromkeys(name for name, _ in found))
            raise ReferenceImageError(f"{names}: {len(found)} pictures are given, and a mask is one")
        return found[0][1] if found else None

    def read(self, name: str, value: Any) -> list[Any]:
        """The pictures of one parameter; none if it is empty.

        Raises:
            ReferenceImageError, BadRequestError: as ``take``.
        """
        known = self._read.get(id(value))
        if known is None or known[0] is not value:
            known = self._read[id(value)] = (value, self._read_now(name, value))
        return known[1]

    def _read_now(self, name: str, value: Any) -> list[Any]:
        if _is_empty(value):
            return []
        if self._from_form and name != IMAGE and name not in MASKS and not isinstance(value, list):
            value = _list_of_field(name, value)
        elif isinstance(value, str):
            value = _list_from_text(value)
        entries = _entries(value)
        for number, entry in enumerate(entries or [None]):
            if _is_empty(entry):
                raise ReferenceImageError(f"{name}: picture {number + 1} of {len(entries) or 1} is empty")
        return [_reference(entry, self._local_paths and name in (IMAGE, MASK)) for entry in entries]


def from_urls(value: Any) -> list[Any]:
    """References from the pictures of a conversation: URLs, data URIs or bytes, and nothing else.

    Raises:
        ReferenceImageError: an entry is something else, such as a path.
    """
    return References(local_paths=False).read(IMAGE_URLS, value)


def _list_of_field(name: str, value: Any) -> Any:
    """The list in a field of a form, as one JSON text. Of all else, the proxy may have kept the last one only."""
    listed = _list_from_text(value) if isinstance(value, str) else None
    if listed is None or listed == [value]:
        raise BadRequestError(
            f"{name} came as a field of a form, and LiteLLM's proxy keeps only one of several fields with this name",
            advice=f'Upload files as {IMAGE} or {IMAGE}[], and send URLs as one JSON text: ["https://…"].',
        )
    return listed


def _list_from_text(text: str) -> Any:
    """The list or the object in a JSON text, which is how a form carries one; any other text is one entry."""
    if text.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return [text]


def _entries(value: Any) -> list[Any]:
    """One picture or several, as a list. A tuple may be either: ``(name, content, …)`` is one uploaded file."""
    if _is_single(value):
        return [value]
    return [entry for each in value for entry in _entries(each)]


def _is_upload(value: tuple[Any, ...]) -> bool:
    """Whether a tuple is ``(file name, content[, media type[, headers]])``, as an OpenAI client writes an upload."""
    if not 2 <= len(value) <= 4 or not isinstance(value[0], (str, type(None))):
        return False
    is_url = isinstance(value[0], str) and value[0][:8].lower().startswith(_REMOTE)
    return not is_url and not isinstance(value[1], (str, Mapping, type(None)))


def _is_single(value: Any) -> bool:
    if isinstance(value, tuple):
        return _is_upload(value)
    kinds = (str, bytes, bytearray, memoryview, Mapping)
    is_object = any(hasattr(value, name) for name in ("read", "save", "model_dump", "__array_interface__"))
    return isinstance(value, kinds) or is_object or not isinstance(value, Iterable)


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _reference(value: Any, local_paths: bool) -> Any:
    if isinstance(value, tuple):  # (file name, content, …): the content alone tells its type
        value = value[1]
    if isinstance(value, str):
        return _from_text(value, local_paths)
    if isinstance(value, os.PathLike):
        return value if local_paths else _url(str(value))
    value = file_within(value)
    if callable(getattr(value, "as_reference", None)):  # a picture that the core's client made
        return value
    if callable(getattr(value, "read", None)):
        return _file_content(value)
    if isinstance(value, Mapping) or callable(getattr(value, "model_dump", None)):
        return picture_in(value, expected=True)
    return value


def _from_text(text: str, local_paths: bool) -> Any:
    found = text.strip()
    if found[:8].lower().startswith(_REMOTE):
        return found
    if len(found) >= _SHORTEST_BASE64:  # a picture as base64, without "data:…"
        with contextlib.suppress(ReferenceImageError, NotAPicture):
            data = decode_base64(found, IMAGE)
            inspect_picture(data)
            return data
    return text if local_paths else _url(text)


def _file_content(file: Any) -> Any:
    """The bytes of an open file. Its position stays where it was, since a Router's next attempt reads it again."""
    try:
        start = file.tell()
    except (AttributeError, OSError, ValueError):
        return file
    try:
        # One byte beyond the limit is enough for the core to refuse the file.
        data = file.read(MAX_REFERENCE_BYTES + 1)
        file.seek(start)
    except (OSError, ValueError) as error:
        raise ReferenceImageError(f"an image can't be read: {error}") from error
    return data if isinstance(data, bytes) else file


def _url(value: str) -> str:
    if value[:8].lower().startswith(_REMOTE):
        return value
    raise ReferenceImageError(
        f"{_shortened(value)} is not accepted as a reference image here",
        advice="Give an http(s) URL or a data: URI, or upload the file.",
    )


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
