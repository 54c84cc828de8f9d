"""What the package's metadata says about LiteLLM."""

from __future__ import annotations

from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

LITELLM = next(each for text in requires("litellm-apimaster") or () if (each := Requirement(text)).name == "litellm")


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("1.80.10", False),
        ("1.80.11", True),
        ("1.82.6", True),
        ("1.82.7", False),
        ("1.82.8", False),
        ("1.82.9", True),
        ("1.106.2", True),
        ("1.107.0", False),
        ("1.107.1", True),
    ],
)
def test_malicious_releases_are_excluded(version: str, accepted: bool) -> None:
    assert LITELLM.specifier.contains(version) is accepted
