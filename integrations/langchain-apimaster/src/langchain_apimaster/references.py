"""Which reference images a model may name, and how it names them.

=====================  ==================================================================================
a model writes         it stands for
=====================  ==================================================================================
``img_…``              a picture in the store, from any earlier turn or thread that shares the store
a path in the store    the same
``attachment:N``       the Nth image of the conversation, read from the graph's state: the user's, another tool's,
                       or one that the assistant made with another tool. It keeps its number when older
                       messages are removed (``attachment_numbers.py``)
``attachment:latest``  the newest of them; ``attachment:-2`` is the one before
``https://…``          a public URL: the gateway fetches it, not this machine
a path                 a file, only if it lies in a folder that the application opened to the model
=====================  ==================================================================================

Everything else is refused: a model, or a document that a model has read, must not choose what this machine reads or
what is fetched inside a private network. Symbolic links and ``..`` are resolved before a path is checked. Host names
are not looked up here, so a public name with a private address passes; the gateway looks it up, in its own network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from apimaster import ReferenceImageError
from apimaster.adapters import ForbiddenAddress, check_public_url, picture_in

from .attachment_numbers import Number, Numbering, counted
from .attachments import Attachment, attached_images, files_of_providers
from .names import attachment_in, plain_name
from .records import IMAGE_ID, image_id

if TYPE_CHECKING:
    from apimaster.request import ReferenceLike

    from .records import StoredImage
    from .store import Store

_ENDING: Final = re.compile(r"\.(?:png|jpe?g|webp)$", re.IGNORECASE)
_FILE_IN_STORE: Final = re.compile(r"(?P<task>.+)-(?P<index>\d{1,3})\.[a-z]{3,4}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MAX_LISTED: Final = 5
# Host names that mean something only inside a private network.
_PRIVATE_ENDINGS: Final = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".corp", ".home.arpa")

_Held: TypeAlias = tuple[list[Attachment], Numbering]


@dataclass(frozen=True, slots=True)
class ReferenceResolver:
    """Turns a model's names of reference images into pictures.

    Attributes:
        store: where ``img_…`` is found.
        messages: the conversation, or None if this tool can't see one.
        folders: the folders of ``allow_files_under``.
        number: numbers the images of the conversation.
        used: the attachments that ``resolve`` has found, by their numbers.
    """

    store: Store
    messages: Sequence[Any] | None = None
    folders: tuple[Path, ...] = ()
    number: Number = counted
    used: list[str] = field(default_factory=list)

    def resolve(self, names: Sequence[str]) -> list[ReferenceLike]:
        """The picture behind each of ``names``. Blocks: it reads the store and looks at files.

        Raises:
            ReferenceImageError: one of them is refused; the advice says what can be named instead.
        """
        held = cache(self._held)
        return [self._resolve(plain_name(name), held) for name in names]

    def _resolve(self, name: str, held: Callable[[], _Held]) -> ReferenceLike:
        if number := attachment_in(name):
            return self._attachment(name, number, held)
        if name[:8].lower() == "https://":
            return _public_url(name)
        image = self._stored(name)
        if image is not None:
            return self.store.content(image)
        if name.startswith("img_"):
            raise ReferenceImageError(f"there is no picture {_shown(name)}", advice=self._accepted())
        if _SCHEME.match(name) and not Path(name).drive:
            raise ReferenceImageError(f"{_shown(name)} can't be used as a reference image", advice=self._accepted())
        return self._file(name)

    def _stored(self, name: str) -> StoredImage | None:
        """The picture of the store that a name means: its id, with whatever a model puts around it, or its path."""
        last = re.split(r"[/\\]", name)[-1]
        stem = _ENDING.sub("", last)
        if IMAGE_ID.fullmatch(stem):
            return self.store.image(stem)
        parts = _FILE_IN_STORE.fullmatch(last)
        image = self.store.image(image_id(parts["task"], int(parts["index"]))) if parts is not None else None
        return image if image is not None and name in (image.name, image.path) else None

    def _attachment(self, name: str, number: str, held: Callable[[], _Held]) -> ReferenceLike:
        if self.messages is None:
            raise ReferenceImageError(
                f"{name} can't be looked up, because the conversation is not visible to this tool here",
                advice=self._accepted(),
            )
        images, numbering = held()
        wanted = int(number) if number.lstrip("-").isdigit() else -1
        place = numbering.place_of(wanted) if wanted > 0 else len(images) + wanted
        if place is None or wanted == 0 or not 0 <= place < len(images):
            raise _not_there(name, wanted, numbering, files_of_providers(self.messages))
        self.used.append(f"attachment:{numbering.numbers[place]}")
        try:
            found = picture_in(images[place].block, expected=True)
        except ReferenceImageError as refusal:
            raise ReferenceImageError(f"{name} can't be used: {refusal.message}", advice=self._accepted()) from refusal
        if isinstance(found, str) and found[:5].lower() != "data:":
            if found[:8].lower() != "https://":
                raise ReferenceImageError(f"{name} is neither in the conversation itself nor at a public https URL")
            return _public_url(found)
        return found  # type: ignore[return-value]  # None was refused

    def _held(self) -> _Held:
        images = attached_images(self.messages or ())
        return images, self.number(images)

    def _file(self, name: str) -> Path:
        for folder in self.folders:
            root = Path(os.path.realpath(folder))
            try:
                path = Path(os.path.realpath(root / name))
                inside = path.is_relative_to(root) and path.is_file()
            except (OSError, ValueError):
                continue
            if inside:
                return path
        # The same message for a missing file and a forbidden one: a model must not find out which files exist.
        raise ReferenceImageError(f"{_shown(name)} is not a picture that can be named here", advice=self._accepted())

    def _accepted(self) -> str:
        files = " a file in the folder opened to you," if self.folders else ""
        return (
            "Name an earlier picture by its id (img_…), an image the user attached (attachment:1, attachment:latest),"
            f"{files} or a public https URL."
        )


def _not_there(name: str, wanted: int, numbering: Numbering, files: Sequence[str]) -> ReferenceImageError:
    """The refusal of an attachment that is not in the conversation: it names those that are, and ``files``."""
    count = len(numbering.numbers)
    there = "Ask the user to attach it, or use a picture by its id (img_…)."
    if count:
        there = f"Attached now: {_listed(numbering.numbers)}. The newest is attachment:latest."
    if 0 < wanted <= numbering.last:
        return ReferenceImageError(
            f"{name} is no longer in the conversation: its message was removed or replaced, and no other image gets "
            "its number",
            advice=there,
        )
    if not count and numbering.last:
        return ReferenceImageError(f"there is no {name}; no image is in the conversation any more", advice=there)
    images = "no image" if not count else "1 image" if count == 1 else f"{count} images"
    if files:  # they may be images, but they may be documents as well, so they don't count
        named = ", ".join(map(_shown, files[-_MAX_LISTED:]))
        images += f", and what only its provider can fetch: the file {named}"
    return ReferenceImageError(f"there is no {name}; the user has attached {images}", advice=there)


def _listed(numbers: Sequence[int]) -> str:
    """Numbers of attachments as a model writes them: ``attachment:2, attachment:4 to attachment:9``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    names = [" to ".join(f"attachment:{number}" for number in run) for run in runs]
    return ", ".join(names if len(names) <= _MAX_LISTED else ["…", *names[-_MAX_LISTED:]])


def _public_url(url: str) -> str:
    if "@" in url.split("/")[2]:
        # The URL is not shown: the part before the @ is a secret.
        raise ReferenceImageError("a URL with a user name or password can't be used", advice="Give one without.")
    try:
        check_public_url(url)
        host = (urlsplit(url).hostname or "").rstrip(".")
    except (ForbiddenAddress, ValueError) as refusal:
        raise ReferenceImageError(f"{_shown(url)} can't be used: {refusal}") from None
    is_number = ":" in host  # an IPv6 address, which check_public_url has judged
    if not is_number and ("." not in host or host.endswith(_PRIVATE_ENDINGS)):
        raise ReferenceImageError(f"{_shown(url)} can't be used: {host!r} is not a public address")
    return url


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:79]}…")
