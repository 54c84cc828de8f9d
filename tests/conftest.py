"""What several of the tests here share: one emulator per module, and waits that take no time."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from doors import MODELS
from hypothesis import settings
from quick_polls import poll_at_once
from xdist.scheduler import LoadFileScheduling

from apimaster._flows.retry import RetryPolicy
from apimaster.emulator import Emulator

# The tests start some hundred interpreters. Without byte code, each of them would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A script's background job ignores SIGINT, and what it starts inherits that. Children of a process that handles it
# don't, so a test can interrupt them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time; to look for new ones: pytest --hypothesis-profile=search
settings.register_profile("search", max_examples=20_000)
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


class Scheduler(LoadFileScheduling):
    """Distributes files over the workers, those of LiteLLM to one of them: its proxy takes 15 s to start."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "litellm" if file.startswith("integrations/litellm-apimaster/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler | None:
    """The scheduler above, unless the command line asks for another distribution."""
    return Scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for a core: half of the time, the tests wait for servers and processes."""
    return (os.cpu_count() or 2) * 2


def pytest_collection_finish() -> None:
    """What the test files import stays until the end: the garbage collector need not look through it each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Write the coverage of this process now: pytest-xdist kills a worker that takes over ten seconds to exit."""
    module = sys.modules.get("coverage")
    current = module and module.Coverage.current()
    if current:
        current.save()


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(pictures="plain") as emulator:
        yield emulator


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """The id of a model: the contract holds for each of them."""
    return str(request.param)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    poll_at_once(monkeypatch)


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch, soon: None) -> None:
    """Repeats come at once, too. How long to pause is tested in test_retry.py and test_flows_*.py."""
    monkeypatch.setattr(RetryPolicy, "backoff", lambda self, attempt: 0.0)
