"""Small files in the store's folder, which is on this machine or behind fsspec.

On this machine, a file is replaced as a whole: if a process is killed while it writes, the earlier version stays.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from apimaster.adapters import SaveTarget, as_os_errors


class Files(Protocol):
    """Read and write files by their names relative to the store's folder. Every method blocks."""

    def read(self, name: str) -> bytes | None:
        """The bytes, or None if there is no such file."""

    def write(self, name: str, data: bytes) -> None:
        """Replace the file as a whole."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file. An empty one on this machine is none: a power failure may leave it."""

    def names(self, folder: str) -> list[str]:
        """The names of what lies in a folder of the store, in order; none if there is no such folder."""

    def local(self, name: str) -> Path | None:
        """The file's path on this machine, or None if it is elsewhere."""


def files_at(place: str) -> Files:
    """The files in the folder ``place``, which is read as the client reads ``save_to``.

    Raises:
        BadRequestError: it is neither a path nor a URL, or the URL holds a password.
    """
    path = SaveTarget.parse(place).path
    return RemoteFiles(place) if path is None else LocalFiles(path.expanduser())


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)

    def read(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = os.path.join(self._folder, name)
        part = f"{path}.{secrets.token_hex(4)}.part"
        try:
            file = open(part, "xb")  # noqa: SIM115  # closed below; opened here because that shows whether the folder exists
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = open(part, "xb")  # noqa: SIM115  # the same
        try:
            with file:
                file.write(data)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise

    def exists(self, name: str) -> bool:
        path = os.path.join(self._folder, name)
        return os.path.isfile(path) and os.path.getsize(path) > 0

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(os.path.join(self._folder, folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def local(self, name: str) -> Path | None:
        return Path(self._folder, name)


class RemoteFiles:
    """A folder behind fsspec. Needs ``pip install "langchain-apimaster[storage]"``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: tuple[Any, str] | None = None

    def _at(self, name: str) -> tuple[Any, str]:
        if self._opened is None:
            try:
                from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # an extra
            except ImportError:
                raise ImportError(
                    f'store={self._url!r} is a URL, which needs fsspec: pip install "langchain-apimaster[storage]"'
                ) from None
            files, path = url_to_fs(self._url)
            self._opened = files, str(path).rstrip("/")
        return self._opened[0], f"{self._opened[1]}/{name}"

    def read(self, name: str) -> bytes | None:
        files, path = self._at(name)
        try:
            with as_os_errors():
                return bytes(files.cat_file(path))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        files, path = self._at(name)
        with as_os_errors():
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)

    def exists(self, name: str) -> bool:
        files, path = self._at(name)
        with as_os_errors():
            return bool(files.exists(path))

    def names(self, folder: str) -> list[str]:
        files, path = self._at(folder)
        try:
            with as_os_errors():
                return sorted(str(each).rstrip("/").rpartition("/")[2] for each in files.ls(path, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def local(self, name: str) -> Path | None:
        return None

    def __getstate__(self) -> dict[str, object]:
        return {"_url": self._url, "_opened": None}  # connections are not pickled
