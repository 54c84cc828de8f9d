"""Settings written as words joined by ``+``, each of which stands for some traits: dialects and channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Words = Mapping[str, Mapping[str, Any]]
"""Every word, and the traits that it sets."""


def read_words(name: str, value: str, words: Words) -> dict[str, Any]:
    """The traits in a text such as ``"legacy+url_string"``; commas and spaces separate words, too.

    Raises:
        ValueError: a word is unknown; the message names ``name``, and lists the known words.
    """
    traits: dict[str, Any] = {}
    for word in value.replace("+", " ").replace(",", " ").split():
        if word not in words:
            raise ValueError(f"{name} {word!r} is not known; accepted, joined by '+': {', '.join(words)}")
        traits.update(words[word])
    return traits


def write_words(made: object, default: object, words: Words, *, leave_out: Collection[str] = ()) -> str:
    """The words whose traits all differ from those of ``default``, as `read_words` reads them; empty if none do."""
    return "+".join(
        word
        for word, traits in words.items()
        if word not in leave_out
        and all(getattr(made, name) == value != getattr(default, name) for name, value in traits.items())
    )
