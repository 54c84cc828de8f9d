"""The emulator's clock: a test moves it forward instead of sleeping."""

from __future__ import annotations

import time


class Clock:
    """Monotonic seconds, and Unix time, that can both be moved forward."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        return time.monotonic() + self.offset

    def unix_time(self) -> float:
        """Unix seconds, moved forward along with ``now``."""
        return time.time() + self.offset
