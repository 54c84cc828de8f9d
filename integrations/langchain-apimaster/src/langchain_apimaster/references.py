"""Which pictures a model may name, and what its words stand for.

=====================  ==================================================================================
a model writes         it stands for
=====================  ==================================================================================
``img_…``              a picture of the store, from any earlier turn or thread that shares it
``attachment:N``       the Nth image that the user put into the conversation, read from the graph's state
``https://…``          a public URL: it is handed to the gateway, and nothing is fetched here
a path                 a file, only if it lies below a folder that the application opened to the model
=====================  ==================================================================================

Everything else is refused: a model, or a document that a model has read, must not choose what this machine reads or
what is fetched inside a private network. Links and ``..`` are followed before a path is judged. Names that lead to
private addresses by way of DNS can't be seen here; it is the gateway, in its own network, that looks them up.
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
# Names that only mean something inside somebody's own network.
_PRIVATE_ENDINGS: Final = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".corp", ".home.arpa")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where words of a model may lead.

    Attributes:
        store: resolves ``img_…``.
        messages: the conversation, or None where there is none to look at.
        folders: what ``allow_files_under`` named.
    """

    store: Store
    messages: Sequence[Any] | None = None
    folders: tuple[Path, ...] = ()

    def resolve(self, words: Sequence[str]) -> list[ReferenceLike]:
        """What each of ``words`` stands for. Blocks: it looks into the store and at files.

        Raises:
            ReferenceImageError: one of them is refused; the message says what can be named instead.
        """
        return [self._one(word.strip()) for word in words]

    def _one(self, word: str) -> ReferenceLike:
        if word.startswith("img_"):
            image = self.store.image(word)
            if image is None:
                raise ReferenceImageError(f"there is no picture {_shown(word)}", advice=self._accepted())
            return self.store.content(image)
        if attachment := _ATTACHMENT.fullmatch(word):
            return self._attachment(int(attachment[1]))
        if word[:8].lower() == "https://":
            return _public(word)
        if _SCHEME.match(word) and not Path(word).drive:
            raise ReferenceImageError(f"{_shown(word)} can't be used as a reference image", advice=self._accepted())
        return self._file(word)

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
            return _public(url)
        raise ReferenceImageError(
            f"attachment:{number} is neither in the conversation itself nor at a public https URL, so it can't be used"
        )

    def _file(self, word: str) -> Path:
        for folder in self.folders:
            root = Path(os.path.realpath(folder))
            try:
                path = Path(os.path.realpath(root / word))
                inside = path.is_relative_to(root) and path.is_file()
            except (OSError, ValueError):
                continue
            if inside:
                return path
        # The same words for a file that is not there and one that is not allowed: a model must not find out which.
        raise ReferenceImageError(f"{_shown(word)} is not a picture that can be named here", advice=self._accepted())

    def _accepted(self) -> str:
        files = " a file in the folder opened to you," if self.folders else ""
        return (
            "Name an earlier picture by its id (img_…), an image the user attached (attachment:1),"
            f"{files} or a public https URL."
        )


def attached_images(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """The images that the user put into the conversation, oldest first, as LangChain's standard content blocks."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, HumanMessage) and not isinstance(message.content, str):
            found += [dict(block) for block in message.content_blocks if block.get("type") == "image"]
    return found


def _public(url: str) -> str:
    if "@" in url.split("/")[2]:
        # Not shown: what stands before the @ is a secret.
        raise ReferenceImageError("a URL with a user name or password can't be used", advice="Give one without.")
    try:
        check_public_url(url)
        host = (urlsplit(url).hostname or "").rstrip(".")
    except (ForbiddenAddress, ValueError) as refusal:
        raise ReferenceImageError(f"{_shown(url)} can't be used: {refusal}") from None
    is_number = ":" in host  # an IPv6 address; check_public_url has looked at it
    if not is_number and ("." not in host or host.endswith(_PRIVATE_ENDINGS)):
        raise ReferenceImageError(f"{_shown(url)} can't be used: {host!r} is not a public address")
    return url


def _shown(word: str) -> str:
    return repr(word if len(word) <= 80 else f"{word[:79]}…")
