"""What a transport raises for a setting of this machine that can't be used."""

from __future__ import annotations


class BadSetting(Exception):  # a fact for the drivers, not an error that a caller sees
    """A variable of the environment that can't be used. Nothing was sent.

    Attributes:
        advice: what the variable may hold.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice
