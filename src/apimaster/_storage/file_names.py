"""Names of saved files. The stem may come from the gateway (a task id), so it is hostile until it went through here."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS: Final = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpg", ".webp": ".webp"}
"""What a caller may write, and the ending that it stands for."""

_UNSAFE: Final = "[^A-Za-z0-9._-]+"
# Windows gives these names to devices, in any case and with any ending: a file NUL.png can't be written there.
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)
_LONGEST: Final = 120  # leaves room for a number and an ending below the usual limit of 255 bytes
_MOST_NUMBERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Name:
    """A file name whose ending is known once the bytes are: ``ending`` is what the caller wrote, or empty."""

    stem: str
    ending: str = ""

    def candidates(self, found: str) -> Iterator[str]:
        """The names to try in turn for a picture with the usual ending ``found``: ``cat.png``, ``cat-2.png``…"""
        ending = self.ending if ENDINGS.get(self.ending.lower()) == found else found
        yield self.stem + ending
        for number in range(2, _MOST_NUMBERS):
            yield f"{self.stem}-{number}{ending}"
        while True:
            yield f"{self.stem}-{secrets.token_hex(8)}{ending}"


def safe_stem(text: str) -> str:
    """``text`` as a stem that is one plain, visible file name on every system: no folders, no leading dots."""
    stem = re.sub(_UNSAFE, "_", text)[:_LONGEST].strip("._ ")
    if is_reserved_file_name(stem):
        stem = f"_{stem}"
    return stem or "picture"


def is_reserved_file_name(name: str) -> bool:
    """Whether Windows refuses or changes this name: a device's (``CON``, ``nul.png``), or one with a dot at its end."""
    return name.partition(".")[0].rstrip(" ").upper() in _DEVICES or name.endswith((".", " "))
