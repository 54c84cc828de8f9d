"""Which ledger a batch uses, and how it is opened: to run, to read, or as a copy that shows what a run would do.

A folder's own ledger is its ``ledger.db``. If a run names a shared one, the folder remembers it, and its ``ledger.db``
holds the list only: a batch never has purchases in two ledgers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import BadRequestError
from ..ledger.backend import Backend
from ..ledger.location import Location
from ..ledger.migrations import newer_version
from ..ledger.schema import VERSION, Where
from ..ledger.sqlite import SQLiteBackend
from ..ledger.sqlite_file import bring_up_to_date, immediate, version_of
from ..request import text_fault
from .bought_at import forget_emulator
from .items import BatchItem
from .ledger import BatchLedger, budget_name
from .lines import Lines, as_ledger_errors, connect, connect_to_read
from .migration import OLD, migrate
from .remembered import LEDGER, LONGEST_NAME, NAME, checked_name, is_lasting, written
from .stores import PlainStore, SharedStore

if TYPE_CHECKING:
    from ..ledger import Ledger

T = TypeVar("T")

LEDGER_NAME: Final = "ledger.db"


def no_batch_in(directory: Path) -> BadRequestError:
    """The error for a folder without a batch."""
    return BadRequestError(
        f"There is no batch in {directory}: it holds no {LEDGER_NAME}.",
        advice="Name the folder of an earlier run, or give the list of images.",
    )


class Place:
    """Where a batch lies.

    Args:
        directory: the folder.
        given: the ledger that the caller names; None: the folder's own, or the one that it remembers.
        default: the client's ledger, for a folder that has none yet.
        name: the batch's name; None: the folder's.
    """

    def __init__(
        self, directory: Path, given: Ledger | None = None, default: Ledger | None = None, name: str | None = None
    ) -> None:
        self.directory = directory
        self.path = directory / LEDGER_NAME
        self._given = given
        self._default = default if default is not None and is_lasting(default.location) else None
        self._name = None if name is None else checked_name(name)
        if given is not None and not is_lasting(given.location):
            raise BadRequestError("a batch can't have its ledger in memory", advice="Leave it out, or name a file.")

    @property
    def exists(self) -> bool:
        """Whether there is a file, which may hold no batch."""
        return self.path.exists()

    def holds_batch(self) -> bool:
        """Whether there is a batch in the folder. Blocks."""
        if self.version() in (0, OLD):
            return self.version() == OLD
        with as_ledger_errors(self.path):
            lines, _ = self._on(connect_to_read(self.path))
            try:
                return lines.exist() and lines.setting(NAME) is not None
            finally:
                lines.close()

    def version(self) -> int:
        """The version of the folder's file; 0 if there is none."""
        if not self.exists:
            return 0
        with as_ledger_errors(self.path):
            connection = connect_to_read(self.path)
            try:
                return version_of(connection)
            finally:
                connection.close()

    def open(self) -> tuple[BatchLedger, Ledger]:
        """The batch, to be run; a new one if there is none. The folder must exist.

        Raises:
            BadRequestError: the folder's batch has another name or another ledger, or a newer version wrote it.
            LedgerError: a ledger can't be opened.
        """
        with as_ledger_errors(self.path):
            if self.version() == OLD:
                connection = connect(self.path)
                try:
                    migrate(connection, self.directory, self._new_name(), budget_name(self._new_name()))
                finally:
                    connection.close()
            SQLiteBackend(self.path).close()  # makes the tables
            lines = Lines(connect(self.path), self.path)
        try:
            lines.create_tables()
            ledger, own = self._ledger(lines)
            store = SharedStore(ledger, own=own)
            try:
                return self._named(lines, store), ledger
            except BaseException:
                store.close()
                raise
        except BaseException:
            lines.close()
            raise

    def read(self) -> BatchLedger:
        """The batch, for reading; others may be running it. A folder of an earlier version is read from a copy.

        Raises:
            BadRequestError: there is no batch, or a newer version wrote it.
            LedgerError: a ledger can't be opened.
        """
        if not self.exists:
            raise no_batch_in(self.directory)
        if 0 < self.version() < VERSION:
            return self.copy()
        with as_ledger_errors(self.path):
            lines, backend = self._on(connect_to_read(self.path))
        newer = version_of(backend.connection) > VERSION
        name = lines.setting(NAME) if not newer and lines.exist() else None
        if name is None:
            lines.close()
            raise newer_version(str(self.path)) if newer else no_batch_in(self.directory)
        try:
            store = PlainStore(backend) if self._is_own(lines) else SharedStore(self._ledger(lines)[0], own=False)
            return BatchLedger(lines, store, name)
        except BaseException:
            lines.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[BatchLedger]:
        """``read``, for a block."""
        batch = self.read()
        try:
            yield batch
        finally:
            batch.close()

    def items(self) -> Iterator[BatchItem]:
        """All images, in the order in which the folder got them; as ``read``."""
        with self.reading() as batch:
            yield from batch.items()

    def copy(self) -> BatchLedger:
        """A copy of the batch in memory, or an empty one: shows what a run would do, and changes no file."""
        with as_ledger_errors(self.path):
            lines, backend = self._on(connect(None))
            memory = backend.connection
            if self.exists:
                original = connect_to_read(self.path)
                try:
                    original.backup(memory)
                finally:
                    original.close()
            if version_of(memory) > VERSION:
                raise newer_version(str(self.path))
            if version_of(memory) == OLD:
                migrate(memory, self.directory, self._new_name(), budget_name(self._new_name()))
            else:
                with immediate(memory):
                    bring_up_to_date(memory, str(self.path))
        lines.create_tables()
        if not self._is_own(lines):
            shared = SharedStore(self._ledger(lines)[0], own=False)
            _copy_rows(self._named(lines, shared), backend)
        return self._named(lines, PlainStore(backend))

    def forget_emulator(self, *, keep_saved: bool) -> None:
        """Plan again what an emulator of an earlier run drew; nobody else may be at work on the folder."""
        with as_ledger_errors(self.path):
            connection = connect(self.path)
            try:
                forget_emulator(connection, str(self.path), keep_saved=keep_saved)
            finally:
                connection.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _on(self, connection: sqlite3.Connection) -> tuple[Lines, SQLiteBackend]:
        return Lines(connection, self.path), SQLiteBackend.on(connection, str(self.path))

    def _new_name(self) -> str:
        text = os.fsencode(self.directory.name).decode("utf-8", "replace")
        made = "".join(letter if letter.isprintable() else "_" for letter in text)[:LONGEST_NAME]
        return self._name or (made if made.strip() else "batch")

    def _named(self, lines: Lines, store: SharedStore | PlainStore) -> BatchLedger:
        """The batch under its name, which the folder keeps."""
        known = lines.setting(NAME)
        if known is not None and self._name not in (None, known):
            raise BadRequestError(
                f"the batch in {self.directory} is called {known!r}, not {self._name!r}",
                advice="Leave the name out, or use a new folder.",
            )
        name = known or self._new_name()
        batch = BatchLedger(lines, store, name)
        if known is None:
            where = Where(key_prefix=f"{name}/")
            if store.run(lambda backend: backend.rows(where, None, 1)):
                raise BadRequestError(
                    f"the ledger holds a batch {name!r} already, which is not in {self.directory}",
                    advice="Give this one another name.",
                )
            shared = store.ledger.location if isinstance(store, SharedStore) else None
            own = shared is None or self._is_own_path(shared)
            lines.store_settings({NAME: name, LEDGER: None if own or shared is None else written(shared)})
        return batch

    def _is_own(self, lines: Lines) -> bool:
        """Whether the purchases are in the folder's own file."""
        if lines.setting(NAME) is not None:
            known = lines.setting(LEDGER)
            if self._given is not None:
                asked = None if self._is_own_path(self._given.location) else written(self._given.location)
                if asked != known:
                    raise BadRequestError(
                        f"the purchases of the batch in {self.directory} are in {known or self.path}, not in "
                        f"{asked or self.path}",
                        advice="Leave the ledger out, or use a new folder.",
                    )
            return known is None
        chosen = self._given or self._default
        return chosen is None or self._is_own_path(chosen.location)

    def _ledger(self, lines: Lines) -> tuple[Ledger, bool]:
        """The ledger of the batch, and whether it is to be closed after the run."""
        from ..ledger import Ledger

        if self._is_own(lines):
            if self._given is not None:
                return self._given, False
            return Ledger.open(self.path), True
        if self._given is not None:
            return self._given, False
        known = lines.setting(LEDGER)
        if self._default is not None and known in (None, written(self._default.location)):
            return self._default, False
        assert known is not None
        return Ledger.shared(known), False

    def _is_own_path(self, location: Location) -> bool:
        return location.path is not None and location.path.absolute() == self.path.absolute()


def place_of(
    directory: Path,
    ledger: Ledger | str | os.PathLike[str] | None = None,
    default: Ledger | None = None,
    name: str | None = None,
) -> Place:
    """The place of a batch; ``ledger`` may be the path or the URL of a ledger.

    Raises:
        BadRequestError: the ledger's place, the name or the folder is not accepted.
    """
    from ..ledger import Ledger

    if fault := text_fault(str(directory.absolute())):
        # The ledger writes down the path of each picture, after it was bought.
        raise BadRequestError(f"the name of the folder {str(directory)!r} {fault}", advice="Use another folder.")

    given = ledger if ledger is None or isinstance(ledger, Ledger) else Ledger.shared(ledger)
    return Place(directory.absolute(), given, default, name)


def read_items(directory: Path) -> Iterator[BatchItem]:
    """All images of a folder, in order. Other processes may be running the batch meanwhile.

    Raises:
        BadRequestError: there is no batch in the folder.
    """
    return place_of(directory).items()


def _copy_rows(batch: BatchLedger, memory: Backend) -> None:
    for page in batch.rows():
        memory.plan(page)
    limits = batch.limits()
    if limits is not None:
        memory.set_budget(limits.name, limits.max_usd, limits.max_images)
