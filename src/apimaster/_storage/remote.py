"""A folder behind fsspec: object stores, remote disks, memory. Needs ``pip install "apimaster[storage]"``.

A picture goes to a nameless local file first: it must be checked before its name is known, and a remote file can't be
read back while it is written. Then the upload becomes visible in one step, which depends on the backend:

* object stores show an object once it is complete: the client writes it under its final name;
* systems with a rename of their own (SFTP, SMB, HDFS): the client writes under a temporary name, then renames;
* others get the whole picture in one call.

Not all of them can create a file exclusively. So "never overwrite" is exact within this process; against other
processes, the client only checks the name before it writes.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..errors import BadRequestError
from .local import Spool, same_bytes
from .sinks import as_os_errors

if TYPE_CHECKING:
    from pathlib import Path

_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "cos", "obs"})
_BLOCK: Final = 1024 * 1024

_lock: Final = threading.Lock()
_being_written: Final[set[str]] = set()
_checked_urls: Final[set[str]] = set()


def is_folder(url: str) -> bool:
    """True if ``url`` is an existing folder.

    Raises:
        BadRequestError: fsspec or the backend for it is missing, or the place can't be read.
    """
    files, path = _filesystem(url)
    try:
        with as_os_errors():
            return bool(files.isdir(path))
    except OSError as error:
        raise BadRequestError(f"save_to {url!r} can't be read: {error}") from error


def exists(url: str) -> bool:
    """True if the file at ``url`` exists, or if its storage can't be asked."""
    try:
        files, path = _filesystem(url)
        with as_os_errors():
            return bool(files.exists(path))
    except (OSError, BadRequestError):
        return True


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    except ImportError:
        raise BadRequestError(
            f'save_to {url!r} is a URL, which needs fsspec: pip install "apimaster[storage]"'
        ) from None
    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadRequestError(f"save_to {url!r} can't be opened: {error}") from error
    return files, str(path)


@dataclass(slots=True)
class RemoteFolder:
    """A folder given as a URL."""

    url: str
    _files: Any = field(init=False, repr=False)
    _path: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._files, path = _filesystem(self.url)
        self._path = path.rstrip("/")

    def check(self, names: Iterator[str]) -> None:
        """Write and remove an empty file, once per URL and process, since each request may cost something."""
        if self.url in _checked_urls:
            return
        place = f"{self._path}/.apimaster-{secrets.token_hex(8)}.tmp"
        with as_os_errors():
            self._files.exists(place)  # every save does this too, and some accounts that may write may not do it
            self._make_folder()
            self._files.pipe_file(place, b"")
        _checked_urls.add(self.url)
        with contextlib.suppress(OSError), as_os_errors():
            self._files.rm_file(place)  # an account that may write but not delete can still save pictures

    def spool(self) -> Spool:
        """A nameless local file."""
        return Spool(tempfile.TemporaryFile())

    def publish(self, spool: Spool, names: Iterator[str]) -> Path | str:
        """Take the first name that is free, or whose file holds the same bytes."""
        while True:
            name = next(names)
            place = f"{self._path}/{name}"
            key = f"{type(self._files).__name__}:{place}"
            with _lock:
                if key in _being_written:
                    continue
                _being_written.add(key)
            try:
                with as_os_errors():
                    is_there = self._put(spool, place)
                if is_there:
                    return f"{self.url.rstrip('/')}/{name}"
            finally:
                with _lock:
                    _being_written.discard(key)

    def _make_folder(self) -> None:
        # An object store has no folders, and to ask for one can make a bucket.
        if not self._is_object_store:
            self._files.makedirs(self._path, exist_ok=True)

    @property
    def _is_object_store(self) -> bool:
        protocol = self._files.protocol
        return not _OBJECT_STORES.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)

    def _put(self, spool: Spool, place: str) -> bool:
        """Write the bytes to ``place``, unless they are there already; False if something else is there."""
        files, file = self._files, spool.file
        size = file.seek(0, 2)
        file.seek(0)
        if files.exists(place):
            if not files.isfile(place) or files.size(place) != size:
                return False
            with files.open(place, "rb") as other:
                return same_bytes(file, other)
        self._make_folder()
        if self._is_object_store:
            with files.open(place, "wb") as out:
                shutil.copyfileobj(file, out, _BLOCK)
        elif _renames(files):
            self._put_and_rename(spool, place)
        else:
            files.pipe_file(place, file.read())
        return True

    def _put_and_rename(self, spool: Spool, place: str) -> None:
        part = f"{self._path}/.apimaster-{secrets.token_hex(8)}.part"
        try:
            with self._files.open(part, "wb") as out:
                shutil.copyfileobj(spool.file, out, _BLOCK)
            self._files.mv(part, place)
        except BaseException:
            if self._files.exists(part):
                self._files.rm_file(part)
            raise


def _renames(files: Any) -> bool:
    """True if ``mv`` is the backend's own, and not a copy and a removal."""
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

    return type(files).mv is not AbstractFileSystem.mv
