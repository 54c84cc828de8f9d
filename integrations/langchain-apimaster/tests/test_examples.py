"""Each example of examples/langchain runs against the emulator, and costs what it should.

The examples run in this process, because LangChain and the other frameworks take seconds to import.
"""

from __future__ import annotations

import runpy
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "langchain"
NAMES = {"agent_with_uploads", "budget", "chain", "with_autogen", "with_pydantic_ai", "with_smolagents"}


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
def test_example(
    name: str,
    words: list[str],
    cost: str,
    emu: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = EXAMPLES / f"{name}.py"
    for variable, value in emu.env.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.syspath_prepend(EXAMPLES)  # as the interpreter does for a script
    runpy.run_path(str(script), run_name="__main__")
    output = capsys.readouterr().out
    for each in words:
        assert each in output
    assert emu.bill.total == Decimal(cost)
    assert list((tmp_path / "pictures").glob("*.png"))


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} - {"stand_in"} == NAMES
