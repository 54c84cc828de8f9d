"""Where a ledger lies if nobody named one.

Only a folder that can't be written leads to the next place. Any other fault, such as a damaged file or one of a newer
version, is left to whoever opens the ledger: a second ledger would not know what the first one bought.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from typing import Final

from .location import LEDGER_VARIABLE

FILE: Final = "ledger.db"
_IN_MEMORY: Final = "sqlite://"
_log = logging.getLogger("apimaster")


@cache  # for as long as this process lives: a ledger that another one replaces half-way knows half of it
def default_place(*folders: Path) -> str:
    """The file ``ledger.db`` in the first of ``folders`` that can be written, else the memory of this process.

    Makes the folder. Warns once if it is the memory.
    """
    for folder in folders:
        if _can_hold(folder):
            return os.path.abspath(folder / FILE)
    _log.warning(
        "Purchases are remembered by this process only, because no ledger can be written in %s: other processes do not "
        "know of them, and a restart forgets them. To change that, set %s to a place that can be written.",
        " or ".join(map(str, folders)),
        LEDGER_VARIABLE,
    )
    return _IN_MEMORY


def _can_hold(folder: Path) -> bool:
    """Whether a ledger can be kept in ``folder``, or is kept there already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / FILE).exists() or os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
