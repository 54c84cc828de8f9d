"""What a folder remembers of its batch: its name, and the place of its ledger if that is a shared one. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import BadRequestError
from ..ledger.location import Location

NAME: Final = "name"
LEDGER: Final = "ledger"
LONGEST_NAME: Final = 200


def checked_name(name: str) -> str:
    """The name of a batch.

    Raises:
        BadRequestError: it is empty or too long, or has a slash in it.
    """
    if not name.strip() or len(name) > LONGEST_NAME or "/" in name or not name.isprintable():
        raise BadRequestError(f"name must be a text of 1 to {LONGEST_NAME} characters without '/', not {name!r}")
    return name


def written(location: Location) -> str:
    """A ledger's place as a folder remembers it: without a password."""
    if location.url is None:
        return str(location.path)
    parts = urlsplit(location.url)
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    query = urlencode([each for each in parse_qsl(parts.query) if each[0] != "password"])
    return f"{parts.scheme}://{user}{'@' if user else ''}{host}{parts.path}{'?' if query else ''}{query}"


def is_lasting(location: Location) -> bool:
    """Whether a ledger outlives the process."""
    return location.path is not None or location.url is not None
