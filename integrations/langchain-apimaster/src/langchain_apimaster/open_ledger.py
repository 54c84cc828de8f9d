"""Which ledger the tools use, and the moment at which they open it.

==============================  ====================================================================================
what is given                   the ledger
==============================  ====================================================================================
``ledger=``                     that one
a client with a ledger          the client's
``APIMASTER_LEDGER``            that one
a store on this machine         ``.apimaster/ledger.db`` within the store
a store elsewhere               ``ledger.db`` in the user's data folder; so too if the store's folder can't be written
neither folder can be written   the memory of this process, with one warning
==============================  ====================================================================================

Any fault other than a folder that can't be written is an error, and nothing is sent.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from apimaster.ledger import Ledger
from apimaster.ledger.default_place import default_place
from apimaster.ledger.location import LEDGER_VARIABLE, data_folder

from .migration import migrate

if TYPE_CHECKING:
    from .store import Store


class OpenLedger:
    """Finds the ledger of a toolkit and opens it at its first use. Safe to share between threads.

    Args:
        given: the ledger or its place, if the application named one.
        store: where the default ledger lies, and where records of older versions are.
    """

    def __init__(self, given: Ledger | str | os.PathLike[str] | None, store: Store) -> None:
        self._given = given
        self.store = store
        self._lock = threading.Lock()
        self._place: str | os.PathLike[str] | None = None
        self._migrated: set[int] = set()
        self.has_old_calls = False

    def get(self) -> Ledger:
        """The ledger. Blocks at its first use, to open it and to take over the records of older versions.

        Raises:
            LedgerError: it can't be opened.
        """
        with self._lock:
            if isinstance(self._given, Ledger):
                ledger = self._given
            else:
                if self._place is None:
                    self._place = self._given or os.environ.get(LEDGER_VARIABLE, "").strip() or _default(self.store)
                ledger = Ledger.shared(self._place)
            if os.getpid() not in self._migrated:
                self.has_old_calls = migrate(self.store, ledger)
                self._migrated.add(os.getpid())
            return ledger

    def __getstate__(self) -> dict[str, object]:
        return {"given": None if self._given is None else place_of(self._given), "store": self.store}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["given"], state["store"])  # type: ignore[misc]


def place_of(ledger: Ledger | str | os.PathLike[str]) -> str | None:
    """The place of a ledger, for another process; a URL without its password, None for a ledger in memory."""
    name = ledger.name if isinstance(ledger, Ledger) else os.fspath(ledger)
    if isinstance(ledger, Ledger) and name == "in memory":
        return None
    parts = urlsplit(name) if "://" in name else None
    if parts is None or parts.password is None:
        return name
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}" if parts.username else host))


def _default(store: Store) -> str:
    """The place of a ledger that nobody named."""
    folders = (data_folder(),) if store.records is None else (store.records, data_folder())
    return default_place(*folders)
