"""The pytest fixture ``apimaster_emulator``: a new emulator for each test, imported when a test first asks for it.

A marker holds its settings: ``@pytest.mark.apimaster_emulator(dialect="legacy", latency="manual")``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from .emulator import Emulator
    from .options import Settings


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "apimaster_emulator(**settings): settings for the fixture of the same name, as for Emulator"
    )


@pytest.fixture
def apimaster_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The APIMaster gateway on this machine, with an empty bill."""
    from . import Emulator

    settings: Settings = {}
    for mark in reversed(list(request.node.iter_markers("apimaster_emulator"))):  # the nearest marker wins
        settings.update(cast("Settings", mark.kwargs))
    with Emulator(**settings) as emulator:
        yield emulator
