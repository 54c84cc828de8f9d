"""Where pictures are saved: ``save_to`` understood, names chosen, files written without ever losing one.

A picture is written to a temporary file first, looked at there, and only then given its name, in one step
and only if nothing has that name. So a reader never sees half a picture, an older file is never overwritten, and what
a name ends in is what its bytes are. Where the same bytes are there already under the wanted name, as after a
download that is done again, that file is the result and no copy is made.

``save_to`` names a folder if it ends in a slash, is an existing folder, or has no ending; else it names a file.
URLs other than ``file://`` are written through fsspec (``remote.py``).

Nothing waits for the disk to confirm (fsync): measured, that triples the time of saving 20 MB, and what a power cut
within seconds takes away can be fetched again, by its task, for nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..errors import BadRequestError
from .file_names import ENDINGS, Name, safe_stem
from .local import LocalFolder
from .sinks import MemorySink, PendingFile, SavedPicture

if TYPE_CHECKING:
    from .sinks import Folder

__all__ = ["MemorySink", "PendingFile", "SavedPicture", "Target"]

_URL: Final = "[A-Za-z][A-Za-z0-9+.:-]+://"  # also chains, as in simplecache::s3://bucket/folder
_ACCEPTED: Final = "a folder, or a file ending in .png, .jpg, .jpeg or .webp"


@dataclass(frozen=True, slots=True)
class Target:
    """What ``save_to`` means. ``parse`` only reads the text; ``check``, ``open`` and all of PendingFile block."""

    given: str
    path: Path | None

    @classmethod
    def parse(cls, save_to: str | os.PathLike[str]) -> Target:
        """Understand ``save_to``; no disk, no network.

        Raises:
            BadRequestError: it is no path and no URL, or a URL that holds a password.
        """
        try:
            given = os.fspath(save_to)
        except TypeError:
            given = None
        if not isinstance(given, str) or not given.strip() or "\0" in given:
            raise BadRequestError(f"save_to is {save_to!r}; accepted: {_ACCEPTED}, as a path or an fsspec URL")
        if not re.match(_URL, given):
            return cls(given, Path(given))
        parts = urlsplit(given)
        if parts.username is not None or parts.password is not None:
            raise BadRequestError(
                "save_to is a URL with a password in it; configure the storage's own credentials instead"
            )
        if parts.scheme.lower() != "file":
            return cls(given, None)
        if parts.netloc not in ("", "localhost"):
            raise BadRequestError(f"save_to {given!r}: a file:// URL must be absolute, as in file:///home/me/pictures")
        from urllib.request import url2pathname  # slow to import, and rarely wanted

        return cls(given, Path(url2pathname(parts.path)))

    def check(self) -> None:
        """Make sure, before money is spent, that a picture could be saved here; makes missing folders.

        Raises:
            BadRequestError: it can't be written; the message says why.
        """
        folder, name = self._folder()
        try:
            folder.check((name or Name("picture")).candidates(".webp"))
        except OSError as wrong:
            raise BadRequestError(f"save_to {self.given!r} can't be written: {wrong.strerror or wrong}") from wrong

    def open(self, default_stem: str, *, position: int = 0, total: int = 1) -> PendingFile:
        """A file to fill. Nothing is on the disk before the first byte is written.

        Args:
            default_stem: the name without its ending where ``save_to`` is a folder; it may come from the gateway
                and is made harmless.
            position: which picture of the call this is, from 0.
            total: how many the call asked for; where ``save_to`` is a file, more than one makes ``cat-1.png``,
                ``cat-2.png`` and so on.

        Raises:
            BadRequestError: ``save_to`` is neither a folder nor the file name of a picture.
        """
        folder, name = self._folder()
        if name is None:
            name = Name(safe_stem(default_stem))
        elif total > 1:
            name = Name(f"{name.stem}-{position + 1}", name.ending)
        return PendingFile(folder, name)

    def _folder(self) -> tuple[Folder, Name | None]:
        """The folder, and the name that the caller chose for the file, if any."""
        if self.path is None:
            return self._remote_folder(self.given)
        as_url = re.match(_URL, self.given) is not None
        path = self.path if as_url else Path(os.path.expanduser(self.path))
        if self.given.endswith(("/", os.sep)) or os.path.isdir(path):
            return LocalFolder(path, as_url=as_url), None
        name = self._name(path.name)
        return LocalFolder(path if name is None else path.parent, as_url=as_url), name

    def _remote_folder(self, url: str) -> tuple[Folder, Name | None]:
        from .remote import RemoteFolder, is_folder  # fsspec is an extra

        parent, _, last = url.rpartition("/")
        ending = os.path.splitext(last)[1]
        # Asking costs a request, so it is done for the doubtful ones alone.
        if not ending or (ending.lower() not in ENDINGS and is_folder(url)):
            return RemoteFolder(url), None
        return RemoteFolder(f"{parent}/"), self._name(last)

    def _name(self, last: str) -> Name | None:
        stem, ending = os.path.splitext(last)
        if not ending:
            return None
        if ending.lower() not in ENDINGS:
            raise BadRequestError(
                f"save_to {self.given!r} ends in {ending!r}; accepted: {_ACCEPTED}. "
                "For a folder of that name, add a slash at its end"
            )
        return Name(stem, ending)
