"""The connections of a ledger to its PostgreSQL database: a small pool, transactions, and errors in plain words.

A transaction that meets another one starts over. What the server says of a URL may quote a password, and so may libpq.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from ..errors import BadRequestError, LedgerError, sentence
from .backend import Unavailable

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")

_ATTEMPTS: Final = 20
_CONNECT: Final = 10  # seconds

# A client that is stopped in the middle of a transaction must not hold the others' rows for longer than this. These
# settings end with the transaction, so PgBouncer may give the connection to somebody else.
_LIMITS: Final = "SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '15s'"
_SIGNS_OF_LIFE: Final = {
    "keepalives_idle": 10,  # seconds, as the interval
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}


class StartOver(Exception):
    """Another process added a row of this transaction first. Raised within a transaction."""


class Database:
    """A PostgreSQL database.

    Args:
        url: ``postgresql://user@host/database``, with whatever libpq understands.

    Attributes:
        name: the URL without its password.

    Raises:
        BadRequestError: libpq can't read the URL, or psycopg is not installed.
        Unavailable: the server can't be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
            import psycopg_pool
        except ImportError as error:
            raise BadRequestError(
                "a ledger in PostgreSQL needs psycopg, which is not installed",
                advice="Run pip install 'apimaster[postgres]'.",
            ) from error
        self._psycopg = psycopg
        self.name = without_password(url)
        check_options(url)
        self._pool: psycopg_pool.ConnectionPool[Connection[Any]] = psycopg_pool.ConnectionPool(
            url,
            min_size=0,
            max_size=2,
            open=True,
            timeout=_CONNECT,
            reconnect_timeout=_CONNECT,
            kwargs={
                "prepare_threshold": None,
                "connect_timeout": _CONNECT,
                "application_name": "apimaster",
                **_SIGNS_OF_LIFE,
            },
        )
        try:
            with self._errors():
                psycopg.connect(url, connect_timeout=_CONNECT).close()  # the pool would wait, and not say why
        except BaseException:
            self.close()
            raise

    def transaction(self, work: Callable[[Connection[Any]], T]) -> T:
        """What ``work`` returns, in a transaction of its own; where it meets another one, it is done again.

        Raises:
            LedgerError: the database refuses it. ``Unavailable``: it can't be reached, or is too busy.
            ValueError: the database can't hold a value.
        """
        errors = self._psycopg.errors
        for attempt in range(_ATTEMPTS):
            try:
                with self._errors(), self._pool.connection() as connection:  # it commits, or rolls back
                    connection.execute(_LIMITS)
                    return work(connection)
            except (StartOver, errors.DeadlockDetected, errors.SerializationFailure):  # noqa: PERF203
                time.sleep(0.002 * attempt)
        raise Unavailable(f"The ledger {self.name} is too busy: {_ATTEMPTS} attempts at a transaction failed.")

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import psycopg_pool

        errors = self._psycopg.errors
        try:
            yield
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError, psycopg_pool.PoolTimeout) as error:
            raise Unavailable(f"The ledger {self.name} can't be reached: {sentence(_first_line(error))}") from error
        except self._psycopg.DataError as error:
            raise ValueError(_first_line(error)) from error  # a value, not the store
        except self._psycopg.Error as error:
            raise LedgerError(f"The ledger {self.name} can't be used: {sentence(_first_line(error))}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def check_options(url: str) -> None:
    """Make sure that libpq can read a URL. Its own words may quote a password.

    Raises:
        BadRequestError: it can't.
    """
    from psycopg import ProgrammingError, conninfo

    try:
        conninfo.conninfo_to_dict(url)
    except (ProgrammingError, UnicodeDecodeError) as error:
        unknown = re.fullmatch(r'invalid URI query parameter: "(\w+)"', _first_line(error))
        fault = f": it knows no option {unknown[1]!r}" if unknown else ""
        raise BadRequestError(
            f"the URL of the ledger {without_password(url)} is none that libpq can read{fault}",
            advice="Write special characters in percent encoding (%25 for %), and options as libpq does (?sslmode=…).",
        ) from None


def without_password(url: str) -> str:
    """A URL as messages show it."""
    parts = urlsplit(url)
    user = parts.username or ""
    return parts._replace(netloc=f"{f'{user}@' if user else ''}{parts.netloc.rpartition('@')[2]}", query="").geturl()
