"""A real PostgreSQL server on loopback, started for the tests and removed after them.

Debian's package ``postgresql`` brings the programs. The server refuses to run as root: then it runs as the user
``postgres``, whom the package makes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import psycopg
from ports import reserve_port

from apimaster.ledger import ledger as ledgers


def find() -> Path | None:
    """The folder of the server's programs, or None if it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


def install(package: str) -> None:
    """Install one of Debian's packages as root, as on a fresh machine or container."""
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", *words], stdout=subprocess.DEVNULL, check=False, timeout=600)


def _programs() -> Path:
    if (found := find()) is None:
        install("postgresql")
        found = find()
    if found is None:
        raise RuntimeError("PostgreSQL's server is not installed: apt-get install postgresql")
    return found


def as_user(command: list[str]) -> list[str]:
    """A command that does not run as root: the servers refuse that."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command] if os.getuid() == 0 else command
    )


class PostgresServer:
    """A server with a data folder and a port of its own.

    ``fsync`` is off unless a test asks for it: nothing here survives the machine.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self._programs = _programs()
        self._root = Path(tempfile.mkdtemp(prefix="apimaster-pg-"))
        self._data = self._root / "data"
        self._data.mkdir()
        if os.getuid() == 0:
            self._root.chmod(0o755)
            shutil.chown(self._data, "postgres", "postgres")
        self._run("initdb", "--username=tester", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D")
        self._port_holder = reserve_port()
        self.port = self._port_holder.getsockname()[1]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"\nlisten_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                f"fsync = {'on' if fsync else 'off'}\nmax_connections = 200\nshared_buffers = 32MB\n"
            )
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._programs / program), *options, str(self._data)]
        subprocess.run(as_user(command), check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Start the server, and return when it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        with (self._root / "log").open("ab") as log:
            self._server = subprocess.Popen(as_user(command), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:  # noqa: PERF203  # not up yet
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise RuntimeError((self._root / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, and committed transactions stay."""
        if self._server is not None:
            subprocess.run(
                as_user([str(self._programs / "pg_ctl"), "stop", "-m", "immediate", "-D", str(self._data)]),
                capture_output=True,
                timeout=30,
            )
            self._server.wait(30)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def _close_shared_ledgers(self) -> None:
        """Close what `Ledger.shared` opened here, which stays open until a process ends."""
        for ledger in list(ledgers._shared.values()):
            if ledger.location.url and f":{self.port}/" in ledger.location.url:
                ledger.close()

    def _none_is_open(self) -> None:
        """Raise if a ledger of this process is still open here: it would log errors into the tests that follow."""
        deadline = time.monotonic() + 10  # the threads of a pool that was closed may take a moment
        while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("pool-")]:
            if time.monotonic() > deadline:
                raise AssertionError(f"a test left a PostgreSQL ledger open: {left}")
            time.sleep(0.02)

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close_shared_ledgers()
            self._none_is_open()
        finally:
            self.stop()
            self._port_holder.close()
            shutil.rmtree(self._root, ignore_errors=True)
