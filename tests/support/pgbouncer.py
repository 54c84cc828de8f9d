"""A real PgBouncer in transaction mode, in front of the PostgreSQL server of the tests.

It hands one server connection to many clients, a transaction at a time: what relies on the session breaks behind it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg
from ports import reserve_port
from postgres import PostgresServer, as_user, install


def _program() -> str:
    for _ in range(2):
        found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if found is not None:
            return found
        install("pgbouncer")
    raise RuntimeError("PgBouncer is not installed: apt-get install pgbouncer")


class PgBouncer:
    """A pooler with two connections to ``server``."""

    def __init__(self, server: PostgresServer) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="apimaster-pgbouncer-"))
        self._root.chmod(0o755)
        self._port_holder = reserve_port()
        self.port = self._port_holder.getsockname()[1]
        settings = self._root / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=tester\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n"
        )
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(as_user([_program(), str(settings)]), stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url(server.url("postgres")), connect_timeout=2).close()
            except psycopg.OperationalError:  # noqa: PERF203  # not up yet
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._root / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def url(self, server_url: str) -> str:
        """The URL of a database of the server, through the pooler."""
        return f"postgresql://tester@127.0.0.1:{self.port}/{server_url.rpartition('/')[2]}"

    def __enter__(self) -> PgBouncer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        self._port_holder.close()
        shutil.rmtree(self._root, ignore_errors=True)
