"""How the tables of an earlier version become those of this one: a table of versions and statements. Pure.

A backend runs the statements, of which the last one writes the new version down, in one transaction under a lock of its
own: a process that is killed in the middle leaves the earlier version, and of many that open a ledger at once, one
upgrades it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import BadRequestError
from .rows import REPORTED_BY_VERSION_2
from .schema import VERSION, create_statements


@dataclass(frozen=True, slots=True)
class Migration:
    """The statements that lead from one version to the next; in PostgreSQL, tables are named with their schema."""

    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


def _mark_of_report(table: str) -> str:
    return (
        f'UPDATE {table} SET "reported" = substr("claim", {len(REPORTED_BY_VERSION_2) + 1}), "claim" = NULL '  # noqa: S608 -- constants
        f"WHERE \"claim\" LIKE '{REPORTED_BY_VERSION_2}%'"
    )


MIGRATIONS: Final[Mapping[int, Migration]] = {
    2: Migration(
        sqlite=('ALTER TABLE purchase ADD COLUMN "reported" TEXT', _mark_of_report("purchase")),
        postgres=(
            'ALTER TABLE apimaster.purchase ADD COLUMN "reported" text',
            _mark_of_report("apimaster.purchase"),
        ),
    ),
}
"""By the version that they start from: each one from the first on that this package can bring up to date.

Version 2 is the first with these tables. Version 1, the ledger of a batch's folder, is the batch's to upgrade, because
what is in it depends on the folder. Whoever raises ``VERSION`` adds the way from the version before.
"""


def pending_statements(version: int, name: str, *, postgres: bool) -> list[str]:
    """The statements that make the tables, or bring them up to date from ``version``, and write that down.

    There are none if the tables are those of this version.

    Args:
        version: of the tables that there are; 0: there are none.
        name: of the ledger, for messages.
        postgres: whether they lie in PostgreSQL.

    Raises:
        BadRequestError: a newer version wrote them, or one that is too old.
    """
    if version > VERSION:
        raise newer_version(name)
    if version == VERSION:
        return []
    written = f"PRAGMA user_version = {VERSION}"
    if postgres:
        written = f"INSERT INTO apimaster.version VALUES ({VERSION})"  # noqa: S608 -- a number of this package
    if version == 0:
        return [*create_statements(postgres=postgres), written]
    if version == 1 and not postgres:
        raise BadRequestError(
            f"{name} is the ledger of a batch, written by an earlier version of apimaster.",
            advice="Run the batch once, which brings its ledger up to date.",
        )
    statements: list[str] = []
    for each in range(version, VERSION):
        migration = MIGRATIONS.get(each)
        if migration is None:
            raise older_version(name, version)
        statements += migration.postgres if postgres else migration.sqlite
    return [*statements, written]


def newer_version(name: str) -> BadRequestError:
    """The error for a ledger whose tables this version does not know."""
    return BadRequestError(
        f"The ledger {name} was written by a newer version of apimaster.",
        advice="Update this installation of apimaster.",
    )


def older_version(name: str, version: int) -> BadRequestError:
    """The error for a ledger whose tables this version does not know any more."""
    return BadRequestError(
        f"The ledger {name} has tables of version {version}, which this version of apimaster can't bring up to date.",
        advice=f"Open it once with an earlier apimaster that knows version {version} and a later one, then with this "
        "one. A new ledger would not know what was bought, and its keys would buy again.",
    )
