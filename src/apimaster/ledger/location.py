"""Where a ledger lies: what a URL means, and the user's data directory."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ..errors import BadRequestError
from ..request import text_fault

LEDGER_VARIABLE: Final = "APIMASTER_LEDGER"
PROMPTS_VARIABLE: Final = "APIMASTER_LEDGER_PROMPTS"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_ACCEPTED: Final = (
    "a path, sqlite:///relative.db, sqlite:////absolute/path.db, postgresql://user@host/database, or, for a ledger in "
    "memory, :memory: or sqlite://"
)
_MEMORY: Final = ":memory:"
_POSTGRES: Final = ("postgresql", "postgres")
_SCHEMES: Final = frozenset(
    {"sqlite", "sqlite3", "postgresql", "postgres", "psql", "pgsql", "mysql", "mariadb", "mssql", "oracle", "duckdb"}
    | {"mongodb", "redis", "jdbc", "file", "http", "https"}
)
"""What nobody means as the beginning of a file's name."""
_HOST: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d*)?")
_PARAMETERS: Final = re.compile(r"\s*(host|hostaddr|port|dbname|user|password|service)\s*=")  # of libpq


@dataclass(frozen=True, slots=True)
class Location:
    """A ledger's place: a SQLite file, a PostgreSQL database, or (both None) the memory of this process."""

    path: Path | None = None
    url: str | None = None


def parse(place: str | os.PathLike[str]) -> Location:
    """Read a URL or a path, without disk or network. URLs are those of SQLAlchemy: a driver's name after a plus is left
    out, a relative path takes three slashes and an absolute one four, and without a path the ledger is in memory.

    Raises:
        BadRequestError: it is neither. What may hold a password is not shown.
    """
    text = os.fspath(place) if isinstance(place, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.strip():
        given = repr(place) if text is not None or place is None else f"of the type {type(place).__name__}"
        raise BadRequestError(f"ledger is {given}; accepted: {_ACCEPTED}")
    if fault := text_fault(text):
        raise BadRequestError(f"ledger {fault}; accepted: {_ACCEPTED}")
    if text.strip().lower() == _MEMORY:
        return Location()
    scheme, colon, rest = text.partition(":")
    kind = scheme.partition("+")[0].strip().lower()
    if colon and rest.startswith("//"):
        if kind in _POSTGRES:
            return _database(rest)
        if kind == "sqlite":
            return _sqlite(rest.removeprefix("//"))
        raise BadRequestError(f"a ledger can't be kept at {scheme}://…; accepted: {_ACCEPTED}")
    if colon and kind in _SCHEMES:
        raise BadRequestError(
            f"the ledger begins with {scheme}: and is no URL, which has slashes there; accepted: {_ACCEPTED}",
            advice=f"A file of that name is ./{scheme}:…",
        )
    if _PARAMETERS.match(text):
        raise BadRequestError(f"the ledger is given as parameters of a connection; accepted: {_ACCEPTED}")
    return _file(text)


def _file(text: str) -> Location:
    if fault := text_fault(text):
        raise BadRequestError(f"the path of the ledger {fault}; accepted: {_ACCEPTED}")
    if text.endswith(("/", os.sep)):
        raise BadRequestError(f"the ledger {text!r} is a folder, and not a file in one; accepted: {_ACCEPTED}")
    return Location(Path(os.path.abspath(os.path.expanduser(text))))


def _sqlite(rest: str) -> Location:
    """What comes after the first two slashes."""
    path, _, options = rest.partition("?")
    host, slash, file = path.partition("/")
    if host not in ("", _MEMORY):
        name = f" {host!r}" if re.fullmatch(r"[\w.-]+", host) else ""  # else a password may be in it
        raise BadRequestError(
            f"the URL of the ledger names a host{name}; accepted: {_ACCEPTED}",
            advice="A relative path takes three slashes (sqlite:///purchases.db), an absolute one four.",
        )
    if options:
        raise BadRequestError(
            f"the URL of a ledger in SQLite takes no options after a question mark; accepted: {_ACCEPTED}",
            advice="A question mark in a name is %3F.",
        )
    if path.removeprefix("/") in ("", _MEMORY):
        return Location()
    if host or not slash:
        raise BadRequestError(f"the URL of the ledger goes on after {host}; accepted: {_ACCEPTED}")
    return _file(unquote(file, errors="surrogateescape"))


def _database(rest: str) -> Location:
    """What comes after the colon. libpq knows no drivers, and no capitals in the scheme."""
    url = f"postgresql:{rest}"
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that don't match, such as those of an IPv6 address
        raise BadRequestError(f"the host in the ledger's URL can't be read; accepted: {_ACCEPTED}") from None
    # libpq would look for a host whose name is the rest of the password, and say so.
    *user, hosts = parts.netloc.split("@")
    stray = parts.path + parts.fragment + (parts.query.partition("=")[0] if parts.path else parts.query)
    if len(user) > 1 or "@" in stray or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise BadRequestError(
            f"the user and the password in the ledger's URL can't be told from the host; accepted: {_ACCEPTED}",
            advice="Write special characters of a password in percent encoding: %40 for @, %2F for /, %3F for ?.",
        )
    return Location(url=url)


def stores_prompts() -> bool:
    """Whether ledgers store prompts if nobody says so in the program: what ``APIMASTER_LEDGER_PROMPTS`` says, else yes.

    Raises:
        BadRequestError: the variable says neither yes nor no. Prompts that were not to be stored must not be stored
            because of a misspelling.
    """
    said = os.environ.get(PROMPTS_VARIABLE, "").strip()
    if said.lower() in ("", *_YES):
        return True
    if said.lower() in _NO:
        return False
    raise BadRequestError(f"{PROMPTS_VARIABLE} is {said!r}; accepted: {', '.join((*_YES, *_NO))}")


def data_folder() -> Path:
    """The folder for this program's data in the user's home, where each system keeps such folders. Not made yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "apimaster"
