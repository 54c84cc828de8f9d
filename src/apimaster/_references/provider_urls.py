"""URLs that look public, and that only the holder of a provider's key can fetch.

A file that was uploaded to Google's, OpenAI's or Anthropic's API has a URL there. The gateway has none of these keys.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

_HOSTS: Final = frozenset(
    {
        "generativelanguage.googleapis.com",  # the Files API: https://generativelanguage.googleapis.com/v1beta/files/…
        "api.openai.com",
        "api.anthropic.com",
    }
)


def is_for_its_provider(url: str) -> bool:
    """Whether an http(s) URL leads to the API of a provider, where nothing can be fetched without a key of its own."""
    try:
        host = urlsplit(url.strip()).hostname or ""
    except ValueError:
        return False  # not a URL: whoever reads it says so
    return host.rstrip(".") in _HOSTS
