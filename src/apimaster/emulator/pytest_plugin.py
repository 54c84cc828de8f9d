"""The pytest fixture ``apimaster_emulator``: a fresh emulator per test, loaded only when a test asks for it.

Settings come from a marker: ``@pytest.mark.apimaster_emulator(dialect="legacy", latency="manual")``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from .emulator import Emulator
    from .options import Settings


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "apimaster_emulator(**settings): settings for the fixture of the same name, as for Emulator"
    )


@pytest.fixture
def apimaster_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The APIMaster gateway on this machine, with nothing on its bill."""
    from . import Emulator

    settings: Settings = {}
    for mark in reversed(list(request.node.iter_markers("apimaster_emulator"))):  # the nearest marker wins
        settings.update(cast("Settings", mark.kwargs))
    with Emulator(**settings) as emulator:
        yield emulator
