"""Where a ledger lies: what a URL means, and the user's data directory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ..errors import BadRequestError

LEDGER_VARIABLE: Final = "APIMASTER_LEDGER"
PROMPTS_VARIABLE: Final = "APIMASTER_LEDGER_PROMPTS"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_ACCEPTED: Final = "a path, sqlite:///path, or postgresql://user@host/database"
_POSTGRES: Final = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class Location:
    """A ledger's place: a SQLite file, a PostgreSQL database, or (both None) the memory of this process."""

    path: Path | None = None
    url: str | None = None


def parse(place: str | os.PathLike[str]) -> Location:
    """Read a URL or a path, without disk or network.

    Raises:
        BadRequestError: it is neither.
    """
    text = os.fspath(place) if isinstance(place, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise BadRequestError(f"ledger is {place!r}; accepted: {_ACCEPTED}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Location(Path(os.path.abspath(os.path.expanduser(text))))
    if scheme.lower() in _POSTGRES:
        return Location(url=text)
    if scheme.lower() != "sqlite":
        raise BadRequestError(f"a ledger can't be kept at {scheme}://…; accepted: {_ACCEPTED}")
    if rest in ("", "/", "/:memory:"):
        return Location()
    parts = urlsplit(text)
    if parts.netloc or not parts.path.startswith("/"):
        raise BadRequestError(
            f"the ledger {text!r} names the host {parts.netloc!r}; accepted: {_ACCEPTED}",
            advice="A relative path takes three slashes (sqlite:///purchases.db), an absolute one four.",
        )
    # As in SQLAlchemy's URLs: three slashes for a relative path, four for an absolute one.
    return Location(Path(os.path.abspath(os.path.expanduser(unquote(parts.path[1:])))))


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
