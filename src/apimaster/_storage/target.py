"""Read ``save_to``, choose names, and save pictures without ever losing one.

A picture goes to a temporary file first. It gets its name after a check, in one step, and only if nothing else has that
name. So a reader never sees half a picture, a save never overwrites an older file, and the ending of a name matches the
bytes. If a file with this name holds the same bytes already, as after a repeated download, that file is the result.

``save_to`` names a folder if it ends in a slash, is an existing folder, or has no ending; else it names a file.
URLs other than ``file://`` are written through fsspec (``remote.py``).

A save does not wait for the disk to confirm (fsync). Measured, that would triple the time for 20 MB, and a picture that
a power cut destroys within seconds can be downloaded again, by its task, for free. Who needs it calls ``flush``.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..errors import BadRequestError
from .file_names import ENDINGS, Name, is_reserved_file_name, safe_stem
from .local import LocalFolder
from .sinks import MemorySink, PendingFile, SavedPicture

if TYPE_CHECKING:
    from .sinks import Folder

__all__ = ["MemorySink", "PendingFile", "SavedPicture", "Target", "flush", "is_there"]

_URL: Final = "[A-Za-z][A-Za-z0-9+.:-]+://"  # also chains, as in simplecache::s3://bucket/folder
_ACCEPTED: Final = "a folder, or a file ending in .png, .jpg, .jpeg or .webp"


@dataclass(frozen=True, slots=True)
class Target:
    """The place that ``save_to`` names. ``parse`` reads only the text; ``check``, ``open`` and PendingFile block."""

    given: str
    path: Path | None

    @classmethod
    def parse(cls, save_to: str | os.PathLike[str]) -> Target:
        """Read ``save_to``, without disk or network.

        Raises:
            BadRequestError: it is neither a path nor a URL, or it is a URL that holds a password.
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
        from urllib.request import url2pathname  # slow to import, and rarely needed

        return cls(given, Path(url2pathname(parts.path)))

    def check(self) -> None:
        """Make sure, before money is spent, that a picture can be saved here. Makes missing folders.

        Raises:
            BadRequestError: it can't be written; the message says why.
        """
        folder, name = self._folder()
        try:
            folder.check((name or Name("picture")).candidates(".webp"))
        except OSError as error:
            raise BadRequestError(f"save_to {self.given!r} can't be written: {error.strerror or error}") from error

    def open(self, default_stem: str, *, position: int = 0, total: int = 1) -> PendingFile:
        """A file for one picture. The disk is not touched before the first byte is written.

        Args:
            default_stem: the name without its ending if ``save_to`` is a folder; it may come from the gateway, so
                ``safe_stem`` makes it harmless.
            position: the picture's position in the call, from 0.
            total: how many the call asked for; if ``save_to`` is a file, more than one makes ``cat-1.png``,
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

    def holds(self, path: Path | str) -> bool:
        """Whether a picture that was saved as ``path`` lies in this place, so that it need not be saved again. Blocks.

        False for a place that may be a file's name: to save it again finds out.
        """
        if self.path is None:
            named = isinstance(path, str) and self.given.endswith("/")
            return named and path.rpartition("/")[0] == self.given.rstrip("/")  # type: ignore[union-attr]  # checked
        if not isinstance(path, Path):
            return False
        folder, name = self._folder()
        return name is None and isinstance(folder, LocalFolder) and folder.path.absolute() == path.absolute().parent

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
        # Asking costs a request, so the client asks only about doubtful names.
        if not ending or (ending.lower() not in ENDINGS and is_folder(url)):
            return RemoteFolder(url), None
        return RemoteFolder(f"{parent}/"), self._name(last)

    def _name(self, last: str) -> Name | None:
        stem, ending = os.path.splitext(last)
        if not ending:
            return None
        if ending.lower() not in ENDINGS:
            raise BadRequestError(
                f"save_to {self.given!r} ends in {ending!r}; accepted: {_ACCEPTED}",
                advice="For a folder of that name, add a slash at its end.",
            )
        if is_reserved_file_name(stem):
            # Refused on every system: pictures move from one to another, and there it would open a device.
            raise BadRequestError(
                f"save_to {self.given!r}: Windows reserves the name {stem!r}", advice="Choose another file name."
            )
        return Name(stem, ending)


def is_there(path: Path | str) -> bool:
    """Whether the file of a saved picture still exists, and holds something. Blocks. True where nobody can tell.

    A file that was not on the disk when the power failed may be there and be empty.
    """
    if isinstance(path, Path) or not re.match(_URL, path):
        return os.path.isfile(path) and os.path.getsize(path) > 0
    from .remote import exists  # fsspec is an extra

    return exists(path)


def flush(paths: Iterable[Path | str | None]) -> None:
    """Wait until saved pictures are on the disk; those that lie elsewhere are left out. Blocks.

    A disk that can't say so is no reason to lose a picture that is there: its errors are ignored.
    """
    for path in paths:
        if isinstance(path, Path) and os.name != "nt":
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
