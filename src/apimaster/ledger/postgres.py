"""A ledger in PostgreSQL, for many machines. It needs the extra ``postgres``: psycopg 3 with its pool.

Leases are measured by the server's clock. Nothing relies on the session: no prepared statement, no advisory lock that
outlives a transaction, no ``LISTEN``; so a PgBouncer in transaction mode may stand in between. Rows are locked in one
order (purchases by key, then budgets by name); where two processes add the same row, the slower one starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from .backend import (
    Answer,
    Worker,
    apply_group,
    budget_names,
    count_log_read,
    given_away,
    row_ids,
)
from .migrations import pending_statements
from .postgres_database import Database, StartOver
from .rows import COLUMNS, Books, BudgetRow, Row, RowCount, RowId
from .schema import (
    POSTGRES_TYPES,
    QUOTED,
    PageKey,
    Where,
    count_query,
    noted,
    owner_queries,
    page_query,
    prune_near_unknown_query,
    prune_query,
    pruned,
    remember_pruned,
)
from .steps import Step, must_survive_power_cut

if TYPE_CHECKING:
    from psycopg import Connection

_EPOCH: Final = "extract(epoch FROM clock_timestamp())::double precision"
_LOCK: Final = 7_203_104_411  # any number that is no other program's: who migrates the tables holds it
_SETTLE_LOCK: Final = _LOCK + 1  # who gives charges of the usage log away holds it
_UPGRADE: Final = 60  # seconds to wait for a process that brings large tables up to date
_ARRAYS: Final = ", ".join(f"%s::{POSTGRES_TYPES[name]}[]" for name in COLUMNS)
_INSERT: Final = (
    f"INSERT INTO apimaster.purchase ({QUOTED}) SELECT * FROM unnest({_ARRAYS}) "  # noqa: S608 -- names of this package
    "ON CONFLICT DO NOTHING"
)
_UPDATE: Final = (
    "UPDATE apimaster.purchase AS old SET "  # noqa: S608
    + ", ".join(f'"{name}" = new."{name}"' for name in COLUMNS if name not in ("key", "index"))
    + f" FROM unnest({_ARRAYS}) AS new ({QUOTED}) "
    'WHERE old."key" = new."key" AND old."index" = new."index"'
)
_BEAT: Final = (
    f"INSERT INTO apimaster.worker VALUES (%s, %s, %s, {_EPOCH}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
)

_NEW_GATEWAY_ROW: Final = "INSERT INTO apimaster.gateway VALUES (%s, '[]') ON CONFLICT (account) DO NOTHING"


class PostgresBackend:
    """A PostgreSQL database.

    Args:
        url: ``postgresql://user@host/database``, with whatever libpq understands.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.name = self._database.name
        self._transaction = self._database.transaction
        try:
            self._transaction(self._migrate)
        except BaseException:
            self._database.close()
            raise

    def apply(self, steps: Sequence[Step], worker: Worker, *, lease: float, beat: bool) -> list[Answer]:
        durable = must_survive_power_cut(steps)

        def transact(connection: Connection[Any]) -> list[Answer]:
            if not durable:
                connection.execute("SET LOCAL synchronous_commit = off")
            if beat:
                connection.execute(_BEAT, (worker.id, worker.host, worker.pid))
            given = owner_queries(*given_away(steps), table="apimaster.purchase")
            if given:  # first, so that nobody who holds rows waits for it
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SETTLE_LOCK,))
            keys, indexes = zip(*row_ids(steps), strict=True)
            found = connection.execute(
                f'SELECT {QUOTED} FROM apimaster.purchase WHERE ("key", "index") IN '  # noqa: S608
                '(SELECT * FROM unnest(%s::text[], %s::integer[])) ORDER BY "key", "index" FOR UPDATE',
                (list(keys), list(indexes)),
            ).fetchall()
            books = Books(_now(connection), worker.id)
            for values in found:
                row = Row(*values)
                books.rows[row.id] = row
            for query, wanted in given:
                found = connection.execute(_translated(query), wanted).fetchall()
                books.owners.update({each: (key, index) for each, key, index in found})
            names = budget_names(steps, list(books.rows.values()))
            if names:
                for values in connection.execute(
                    "SELECT * FROM apimaster.budget WHERE name = ANY(%s) ORDER BY name FOR UPDATE", (names,)
                ):
                    books.budgets[values[0]] = BudgetRow(*values)
            owners = [row.worker for row in books.rows.values() if row.worker not in (None, worker.id)]
            if owners:
                alive = connection.execute(
                    "SELECT id FROM apimaster.worker WHERE id = ANY(%s) AND seen > %s", (owners, books.now - lease)
                )
                books.alive = frozenset(name for (name,) in alive)
            answers = apply_group(books, steps)
            self._write(connection, books)
            return answers

        return self._transaction(transact)

    def _write(self, connection: Connection[Any], books: Books) -> None:
        added = [books.rows[each] for each in sorted(books.added)]
        if added and connection.execute(_INSERT, _arrays(added)).rowcount != len(added):
            raise StartOver
        changed = [books.rows[each] for each in sorted(books.changed - books.added)]
        if changed:
            connection.execute(_UPDATE, _arrays(changed))
        for name in sorted(books.touched):
            budget = books.budgets[name]
            connection.execute(
                "UPDATE apimaster.budget SET usd = %s, images = %s WHERE name = %s", (budget.usd, budget.images, name)
            )

    def beat(self, worker: Worker) -> None:
        def transact(connection: Connection[Any]) -> None:
            connection.execute(_BEAT, (worker.id, worker.host, worker.pid))
            connection.execute(f"DELETE FROM apimaster.worker WHERE seen < {_EPOCH} - 86400")  # noqa: S608

        self._transaction(transact)

    def leave(self, worker: Worker) -> None:
        self._transaction(lambda each: each.execute("DELETE FROM apimaster.worker WHERE id = %s", (worker.id,)))

    def orphans(self, lease: float) -> list[RowId]:
        return self._transaction(
            lambda each: each.execute(
                'SELECT "key", "index" FROM apimaster.purchase AS p WHERE "worker" IS NOT NULL AND NOT EXISTS '  # noqa: S608
                f'(SELECT 1 FROM apimaster.worker AS w WHERE w.id = p."worker" AND w.seen > {_EPOCH} - %s)',
                (lease,),
            ).fetchall()
        )

    def rows(self, where: Where, after: PageKey | None, limit: int, *, newest: bool = False) -> list[Row]:
        query, values = page_query(where, after, limit, newest=newest, table="apimaster.purchase")
        found = self._transaction(lambda each: each.execute(_translated(query), values).fetchall())
        return [Row(*each) for each in found]

    def counts(self, where: Where) -> list[RowCount]:
        query, values = count_query(where, table="apimaster.purchase")
        found = self._transaction(lambda each: each.execute(_translated(query), values).fetchall())
        return [RowCount(*each) for each in found]

    def workers(self, where: Where, lease: float) -> list[Worker]:
        condition, values = where.sql()
        query = (
            f"SELECT id, host, pid FROM apimaster.worker WHERE seen > {_EPOCH} - %s AND id IN "  # noqa: S608
            f'(SELECT "worker" FROM apimaster.purchase WHERE "worker" IS NOT NULL AND {condition}) ORDER BY host, pid'
        )
        found = self._transaction(lambda each: each.execute(_translated(query), [lease, *values]).fetchall())
        return [Worker(*each) for each in found]

    def plan(self, rows: Sequence[Row]) -> int:
        def transact(connection: Connection[Any]) -> int:
            connection.execute("SET LOCAL synchronous_commit = off")
            ordered = sorted(rows, key=lambda row: row.id)  # one order for all processes
            return connection.execute(_INSERT, _arrays(ordered)).rowcount if ordered else 0

        return self._transaction(transact)

    def budgets(self) -> list[BudgetRow]:
        found = self._transaction(lambda each: each.execute("SELECT * FROM apimaster.budget ORDER BY name").fetchall())
        return [BudgetRow(*each) for each in found]

    def set_budget(self, name: str, max_usd: Decimal | None, max_images: int | None) -> BudgetRow:
        (found,) = self._transaction(
            lambda each: each.execute(
                "INSERT INTO apimaster.budget VALUES (%s, %s, %s, 0, 0) ON CONFLICT (name) DO UPDATE SET "
                "max_usd = excluded.max_usd, max_images = excluded.max_images RETURNING *",
                (name, max_usd, max_images),
            ).fetchall()
        )
        return BudgetRow(*found)

    def prune(self, before: float) -> int:
        def transact(connection: Connection[Any]) -> int:
            kept: dict[str, list[tuple[str | None, str | None]]] = {}
            query = prune_near_unknown_query("apimaster.purchase")
            for account, task_id, images in connection.execute(_translated(query), (before,)).fetchall():
                kept.setdefault(noted(pruned(account)), []).append((task_id, images))
            for name, found in sorted(kept.items()):
                names = remember_pruned(_lock_gateway_row(connection, name), found)
                connection.execute("UPDATE apimaster.gateway SET log_reads = %s WHERE account = %s", (names, name))
            return connection.execute(_translated(prune_query("apimaster.purchase")), (before,)).rowcount

        return self._transaction(transact)

    def note(self, name: str) -> str | None:
        found = self._transaction(
            lambda each: each.execute(
                "SELECT log_reads FROM apimaster.gateway WHERE account = %s", (noted(name),)
            ).fetchone()
        )
        return found[0] if found else None

    def set_note(self, name: str, text: str) -> None:
        self._transaction(
            lambda each: each.execute(
                "INSERT INTO apimaster.gateway VALUES (%s, %s) ON CONFLICT (account) DO UPDATE SET "
                "log_reads = excluded.log_reads",
                (noted(name), text),
            )
        )

    def change_note(self, name: str, change: Callable[[str | None], str]) -> None:
        row = noted(name)

        def transact(connection: Connection[Any]) -> None:
            made = connection.execute(_NEW_GATEWAY_ROW, (row,)).rowcount
            stored = _lock_gateway_row(connection, row)
            text = change(None if made else stored)
            if made or text != stored:
                connection.execute("UPDATE apimaster.gateway SET log_reads = %s WHERE account = %s", (text, row))

        self._transaction(transact)

    def reserve_log_read(
        self, account: str, *, limit: int, period: float, pause: float = 0.0, count: bool = True
    ) -> float:
        def transact(connection: Connection[Any]) -> float:
            stored = _lock_gateway_row(connection, account)
            wait, reads = count_log_read(stored, _now(connection), limit=limit, period=period, pause=pause)
            if count and not wait:
                connection.execute("UPDATE apimaster.gateway SET log_reads = %s WHERE account = %s", (reads, account))
            return wait

        return self._transaction(transact)

    def now(self) -> float:
        return self._transaction(_now)

    def close(self) -> None:
        self._database.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _migrate(self, connection: Connection[Any]) -> None:
        """Make the tables, or bring them up to date. One process at a time: the others wait for its transaction."""
        connection.execute(f"SET LOCAL lock_timeout = '{_UPGRADE}s'")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = connection.execute("SELECT to_regclass('apimaster.version')").fetchone()
        if found is None or found[0] is None:  # only then the role needs the right to create it
            connection.execute("CREATE SCHEMA IF NOT EXISTS apimaster")
            connection.execute("CREATE TABLE IF NOT EXISTS apimaster.version (version integer NOT NULL)")
        found = connection.execute("SELECT max(version) FROM apimaster.version").fetchone()
        version = (found[0] if found else None) or 0
        for statement in pending_statements(version, self.name, postgres=True):
            connection.execute(statement)


def _lock_gateway_row(connection: Connection[Any], name: str) -> str | None:
    """What the row holds. Until the transaction ends, nobody else changes it; if it is new, nobody else makes it."""
    connection.execute(_NEW_GATEWAY_ROW, (name,))
    query = "SELECT log_reads FROM apimaster.gateway WHERE account = %s FOR UPDATE"
    found = connection.execute(query, (name,)).fetchone()
    return found[0] if found else None


def _translated(query: str) -> str:
    """A query of ``schema.py`` for psycopg. A prefix is a range of bytes; the order of a language is not."""
    placed = query.replace("?", "%s")
    return placed.replace('"key" >= %s AND "key" < %s', '"key" COLLATE "C" >= %s AND "key" COLLATE "C" < %s')


def _now(connection: Connection[Any]) -> float:
    found = connection.execute(f"SELECT {_EPOCH}").fetchone()
    assert found is not None
    return float(found[0])


def _arrays(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*(row.values() for row in rows), strict=True)]
