"""Polls that come at once, for tests of what a poll brings. When polls are due is tested in test_schedule.py."""

from __future__ import annotations

import pytest


def poll_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of the clients of this process are polled within milliseconds."""
    monkeypatch.setattr("apimaster._polling.schedule.SHORTEST_STEP", 0.002)
    monkeypatch.setattr(
        "apimaster._polling.schedule._BLIND_POLLS", (0.001, 0.004, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    )
