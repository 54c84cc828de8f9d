"""Which reference images a model may name, and how it names them.

=====================  ==================================================================================
a model writes         it stands for
=====================  ==================================================================================
``img_…``              a picture in the store, from any earlier turn or thread that shares the store
``attachment:N``       the Nth image that the user put into the conversation, read from the graph's state
``https://…``          a public URL: the gateway fetches it, not this machine
a path                 a file, only if it lies in a folder that the application opened to the model
=====================  ==================================================================================

Everything else is refused: a model, or a document that a model has read, must not choose what this machine reads or
what is fetched inside a private network. Symbolic links and ``..`` are resolved before a path is checked. Host names
are not looked up here, so a public name with a private address passes; the gateway looks it up, in its own network.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from langchain_core.messages import HumanMessage

from apimaster import ReferenceImageError
from apimaster.adapters import ForbiddenAddress, check_public_url

if TYPE_CHECKING:
    from apimaster.request import ReferenceLike

    from .store import Store

_ATTACHMENT: Final = re.compile(r"attachment[:_ #-]?(\d{1,4})", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Host names that mean something only inside a private network.
_PRIVATE_ENDINGS: Final = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".corp", ".home.arpa")


@dataclass(frozen=True, slots=True)
class ReferenceResolver:
    """Turns a model's names of reference images into pictures.

    Attributes:
        store: where ``img_…`` is found.
        messages: the conversation, or None if this tool can't see one.
        folders: the folders of ``allow_files_under``.
    """

    store: Store
    messages: Sequence[Any] | None = None
    folders: tuple[Path, ...] = ()

    def resolve(self, names: Sequence[str]) -> list[ReferenceLike]:
        """The picture behind each of ``names``. Blocks: it reads the store and looks at files.

        Raises:
            ReferenceImageError: one of them is refused; the advice says what can be named instead.
        """
        return [self._resolve(name.strip()) for name in names]

    def _resolve(self, name: str) -> ReferenceLike:
        if name.startswith("img_"):
            image = self.store.image(name)
            if image is None:
                raise ReferenceImageError(f"there is no picture {_shown(name)}", advice=self._accepted())
            return self.store.content(image)
        if attachment := _ATTACHMENT.fullmatch(name):
            return self._attachment(int(attachment[1]))
        if name[:8].lower() == "https://":
            return _public_url(name)
        if _SCHEME.match(name) and not Path(name).drive:
            raise ReferenceImageError(f"{_shown(name)} can't be used as a reference image", advice=self._accepted())
        return self._file(name)

    def _attachment(self, number: int) -> ReferenceLike:
        if self.messages is None:
            raise ReferenceImageError(
                f"attachment:{number} can't be looked up, because the conversation is not visible to this tool here",
                advice=self._accepted(),
            )
        images = attached_images(self.messages)
        if not 1 <= number <= len(images):
            count = "no image" if not images else "1 image" if len(images) == 1 else f"{len(images)} images"
            raise ReferenceImageError(f"there is no attachment:{number}; the user has attached {count}")
        block = images[number - 1]
        if data := block.get("base64"):
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise ReferenceImageError(f"attachment:{number} is damaged: its data is not base64") from None
        url = block.get("url")
        if isinstance(url, str) and url[:5].lower() == "data:":
            return url
        if isinstance(url, str) and url[:8].lower() == "https://":
            return _public_url(url)
        raise ReferenceImageError(
            f"attachment:{number} is neither in the conversation itself nor at a public https URL, so it can't be used"
        )

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
            "Name an earlier picture by its id (img_…), an image the user attached (attachment:1),"
            f"{files} or a public https URL."
        )


def attached_images(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """The images that the user put into the conversation, as LangChain's standard content blocks, oldest first."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, HumanMessage) and not isinstance(message.content, str):
            found += [dict(block) for block in message.content_blocks if block.get("type") == "image"]
    return found


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
