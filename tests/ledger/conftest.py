"""A place for a ledger on each backend: a SQLite file, and a database of a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

BACKENDS = ("sqlite", "postgres")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/purchases.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    with Ledger.open(place) as opened:
        yield opened


@pytest.fixture
def emulator(server: Emulator, soon: None) -> Emulator:
    """An emulator whose bill is empty."""
    server.reset()
    return server


@pytest.fixture
def client_for(emulator: Emulator) -> Iterator[Callable[[Ledger], APIMaster]]:
    """Makes clients of the emulator with a ledger."""
    made: list[APIMaster] = []

    def make(ledger: Ledger, **options: object) -> APIMaster:
        made.append(APIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def gateway(emulator: Emulator) -> Emulator:
    """An emulator whose pictures take a moment."""
    emulator.latency = "0.02-0.2"
    return emulator
