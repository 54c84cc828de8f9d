"""What a ledger's place means: SQLAlchemy's spellings, and refusals that name what is accepted and show no password."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres import PostgresServer

from apimaster.errors import APIMasterError, BadRequestError
from apimaster.ledger import Ledger
from apimaster.ledger.location import Location, parse
from apimaster.ledger.postgres_database import check_options, without_password

# The folder is the working directory; None: in memory.
FILES: list[tuple[str, str | None]] = [
    ("purchases.db", "purchases.db"),
    ("./a:b.db", "a:b.db"),
    ("a:b.db", "a:b.db"),
    ("./sqlite:x.db", "sqlite:x.db"),
    ("50%.db", "50%.db"),
    ("sqlite:///purchases.db", "purchases.db"),
    ("SQLite:///purchases.db", "purchases.db"),
    ("sqlite+pysqlite:///purchases.db", "purchases.db"),
    ("sqlite+aiosqlite:///purchases.db", "purchases.db"),
    ("sqlite:///a/b c.db", "a/b c.db"),
    ("sqlite:///a%20b%3F.db", "a b?.db"),
    ("sqlite:///a#b.db", "a#b.db"),
    ("sqlite:///purchases.db?", "purchases.db"),
    ("sqlite:////tmp/purchases.db", "/tmp/purchases.db"),
    ("sqlite+pysqlite:////tmp/purchases.db", "/tmp/purchases.db"),
    (":memory:", None),
    (" :memory: ", None),
    (":MEMORY:", None),
    ("sqlite://", None),
    ("sqlite:///", None),
    ("sqlite:///:memory:", None),
    ("sqlite://:memory:", None),
    ("sqlite+pysqlite://", None),
]
DATABASES: list[tuple[str, str]] = [
    ("postgresql://user@host/db", "postgresql://user@host/db"),
    ("postgres://user:pw@host/db", "postgresql://user:pw@host/db"),
    ("POSTGRESQL://user@Host/db", "postgresql://user@Host/db"),
    ("postgresql+psycopg://user@host/db?sslmode=require", "postgresql://user@host/db?sslmode=require"),
    ("postgresql+psycopg2://host/db", "postgresql://host/db"),
    ("postgresql+asyncpg://host/db", "postgresql://host/db"),
    ("postgresql:///db?host=/var/run", "postgresql:///db?host=/var/run"),
    ("postgresql://one:1,two:2/db", "postgresql://one:1,two:2/db"),
    ("postgresql://%2Fvar%2Frun/db", "postgresql://%2Fvar%2Frun/db"),
    ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
    ("postgresql://host/db?user=me@server", "postgresql://host/db?user=me@server"),
    ("postgresql://", "postgresql://"),
]
REFUSED: list[tuple[Any, str]] = [
    ("mysql://me:secret@host/db", "can't be kept at mysql://…"),
    ("mysql+pymysql://me:secret@host/db", "can't be kept at mysql+pymysql://…"),
    ("mongodb://host", "can't be kept at mongodb://…"),
    ("file:///tmp/x.db", "can't be kept at file://…"),
    ("https://me:secret@host/x.db", "can't be kept at https://…"),
    ("sqlite3:///x.db", "can't be kept at sqlite3://…"),
    ("sqlite:relative.db", "begins with sqlite: and is no URL"),
    ("sqlite:/x.db", "begins with sqlite: and is no URL"),
    ("sqlite::memory:", "begins with sqlite: and is no URL"),
    ("sqlite+pysqlite:x.db", "begins with sqlite+pysqlite: and is no URL"),
    (Path("sqlite:///x.db"), "begins with sqlite: and is no URL"),
    ("postgresql:me:secret@host/db", "begins with postgresql: and is no URL"),
    ("postgres:/me:secret@host/db", "begins with postgres: and is no URL"),
    ("file:x.db?mode=memory", "begins with file: and is no URL"),
    ("jdbc:postgresql://me:secret@host/db", "begins with jdbc: and is no URL"),
    ("sqlite://relative.db", "names a host 'relative.db'"),
    ("sqlite://localhost/x.db", "names a host 'localhost'"),
    ("sqlite://me:secret@host/x.db", "names a host;"),
    ("sqlite:///x.db?mode=ro&key=secret", "takes no options after a question mark"),
    ("sqlite:///:memory:?cache=shared", "takes no options after a question mark"),
    ("sqlite://:memory:/x.db", "goes on after :memory:"),
    ("sqlite:///a%00b.db", "holds a NUL character at position 2"),
    ("sqlite:///%FF.db", "holds half of a character"),
    ("\udcff.db", "holds half of a character"),
    ("purchases/", "is a folder"),
    ("sqlite:////tmp/", "is a folder"),
    ("host=localhost password=secret", "parameters of a connection"),
    (" dbname = shop password=secret", "parameters of a connection"),
    ("postgresql://[::1/db", "the host in the ledger's URL can't be read"),
    ("postgresql://me:sec@ret@host/db", "can't be told from the host"),
    ("postgresql://me:sec/ret@host/db", "can't be told from the host"),
    ("postgresql://me:sec?ret@host/db", "can't be told from the host"),
    ("postgresql://me:sec#ret@host/db", "can't be told from the host"),
    ("postgresql://me:sec/?ret@host/db", "can't be told from the host"),
    ("postgresql://me:1/?ret@host/db", "can't be told from the host"),
    ("postgresql://host:port/db", "can't be told from the host"),
    ("postgresql://me\0@host/db", "holds a NUL"),
]


@pytest.mark.parametrize(("place", "file"), FILES)
def test_files(place: str, file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(place) == Location(None if file is None else Path(os.path.abspath(file)))
    if file is not None and set(file) & set("/:?"):  # in other folders, or no name on Windows
        return
    with Ledger.open(place) as ledger:
        ledger.set_budget("b", usd=1)
    assert {each.name for each in tmp_path.iterdir()} == ({file} if file else set())


@pytest.mark.parametrize(("place", "url"), DATABASES)
def test_databases(place: str, url: str) -> None:
    assert parse(place) == Location(url=url)


@pytest.mark.parametrize(("place", "words"), REFUSED)
def test_refusals(place: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadRequestError) as caught:
        Ledger.open(place)
    assert words in caught.value.message
    assert "; accepted: a path, sqlite:///relative.db, " in caught.value.message
    assert not any(secret in str(caught.value) for secret in ("secret", "sec", "ret@"))
    assert list(tmp_path.iterdir()) == []


SCHEMES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg", "mysql", "file", "jdbc:postgresql")
ODD = (*":/@?#[]%=& ~.", "://", "///", ":5432", "%00", "%FF", "%2F", "\0", "\ud83d", "é")
PIECES = st.sampled_from([*SCHEMES, *ODD, ":memory:", "host", "db", "user"])


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        location = parse(text)
    except BadRequestError as error:
        assert "accepted: a path" in error.message  # noqa: PT017 -- a text may be accepted
        return
    assert location.path is None or location.url is None
    str(location.path).encode()
    if location.url is not None:
        assert location.url.startswith("postgresql://")
        assert parse(location.url) == location
        with contextlib.suppress(BadRequestError):  # the store's own words about a URL
            check_options(location.url)


@given(st.sampled_from(SCHEMES), st.lists(st.sampled_from(ODD), max_size=4).map("".join))
@settings(max_examples=500, deadline=None)
def test_no_message_shows_a_password(scheme: str, odd: str) -> None:
    try:
        location = parse(f"{scheme}://me:zz{odd}zz@host/db?sslmode=require")
        check_options(location.url or "")
    except BadRequestError as error:
        assert "zz" not in str(error)  # noqa: PT017 -- a password may be accepted
    else:
        assert without_password(location.url or "") == "postgresql://me@host/db"


def test_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert parse("~/x.db") == parse("sqlite:///~/x.db") == Location(tmp_path / "x.db")


def test_each_ledger_in_memory_is_its_own() -> None:
    with Ledger.open(":memory:") as one, Ledger.open("sqlite://") as other:
        one.set_budget("b", usd=1)
        assert (len(one.budgets()), len(other.budgets())) == (1, 0)
    assert Ledger.shared(":memory:") is Ledger.shared("sqlite://")


def test_a_driver_is_left_out(postgres: PostgresServer) -> None:
    place = postgres.new_database()
    for driver in ("postgres", "postgresql+psycopg", "POSTGRESQL"):
        with Ledger.open(place.replace("postgresql", driver, 1)) as ledger:
            ledger.set_budget(driver, usd=1)
    with Ledger.open(place) as ledger:
        assert len(ledger.budgets()) == 3


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("postgresql://me:sec%ret@host/db", "none that libpq can read"),
        ("postgresql://me:sec ret@host/db", "none that libpq can read"),
        ("postgresql://me:sec%FF@host/db", "none that libpq can read"),
        ("postgresql://me:secret@host/db?ssl=require", "it knows no option 'ssl'"),
    ],
)
def test_a_url_that_libpq_cannot_read(place: str, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        Ledger.open(place)
    assert words in caught.value.message
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 300, f"{'a' * 300}/x.db"])
def test_a_name_that_is_too_long(name: str, tmp_path: Path) -> None:
    with pytest.raises(APIMasterError, match=r"can't be (opened|used)"):
        Ledger.open(tmp_path / name)
