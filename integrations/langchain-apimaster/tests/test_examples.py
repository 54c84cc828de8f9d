"""Every example of examples/langchain runs against the emulator, and costs what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "langchain"
NEEDS = {"agent_with_uploads": "langchain", "budget": "langchain", "with_pydantic_ai": "pydantic_ai",
         "with_smolagents": "smolagents", "with_autogen": "autogen_ext"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words", "cost"),
    [
        ("chain", ["1376×768 PNG, 16:9, $0.0375."], "0.0375"),
        ("agent_with_uploads", ["  submitting 0 %", "  done 100 %", "ai: Your photo is a watercolour now."], "0.0375"),
        ("budget", ["does not allow this", "spent: $0.0750 of $0.10"], "0.075"),
        ("with_pydantic_ai", ["Done. ", "512×512 PNG, 0.5K, $0.0375."], "0.0375"),
        ("with_smolagents", ["Done. ", "512×512 PNG, 0.5K, $0.0375."], "0.0375"),
        ("with_autogen", ["Done. ", "512×512 PNG, 0.5K, $0.0375."], "0.0375"),
    ],
)
def test_example(name: str, words: list[str], cost: str, emu: Any, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(name, "langchain_core"))
    environment = {
        **os.environ,
        "APIMASTER_BASE_URL": emu.base_url,
        "APIMASTER_API_KEY": emu.api_key,
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for each in words:
        assert each in done.stdout
    assert emu.bill.total == Decimal(cost)
    assert list((tmp_path / "pictures").glob("*.png"))


def test_every_example_is_run() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"stand_in"}
    assert names == {"chain", *NEEDS}
