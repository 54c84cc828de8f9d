"""Programs that use a ledger, as processes of their own: with the emulator as the gateway, started at one moment."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import forked
import pytest

from apimaster import APIMaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger
from apimaster.ledger.postgres import PostgresBackend
from apimaster.ledger.sqlite import SQLiteBackend

CLIENT = """
import asyncio, json, os, signal, sys, threading, time
from apimaster import APIMaster, AsyncAPIMaster
from apimaster.errors import APIMasterError, BudgetExceededError
from apimaster.ledger import Ledger, postgres, sqlite
place, settings = sys.argv[1], json.loads(sys.argv[2])
"""


def start(program: str, place: str, gateway: Emulator, **settings: object) -> forked.Child:
    environment = {**os.environ, **gateway.env}
    return forked.start(
        ["-c", program, place, json.dumps(settings)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until_ready(child: forked.Child) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()[1]


def let_go(children: list[forked.Child]) -> list[str]:
    """Start all at the same moment; what each printed."""
    for child in children:
        wait_until_ready(child)
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
    with ThreadPoolExecutor(len(children)) as pool:
        printed = list(pool.map(lambda child: child.communicate(120), children))
    assert all(child.returncode == 0 for child in children), [errors for _, errors in printed if errors]
    return [text for text, _ in printed]


def client_of(gateway: Emulator, ledger: Ledger) -> APIMaster:
    return APIMaster(gateway.api_key, base_url=gateway.base_url, ledger=ledger)


def let_time_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """For whoever settles in this process, so much time has passed since all that is in the ledger and in the log."""
    for backend in (SQLiteBackend, PostgresBackend):
        clock = backend.now
        monkeypatch.setattr(backend, "now", lambda self, clock=clock: clock(self) + seconds)
