"""docs/ledger.md: its blocks run, and its table of states is that of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from apimaster.cli.app import run
from apimaster.emulator import Emulator
from apimaster.ledger import STATES, ledger, location, states

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_table_of_states() -> None:
    written = ROW.findall(TEXT)
    in_code = re.findall(rf"^({'|'.join(STATES)}) {{2,}}(.+?) {{2,}}(.+)$", states.__doc__ or "", re.MULTILINE)
    assert [name for name, _, _ in written] == list(STATES)
    assert written == in_code
    assert {name: charged.partition(",")[0] for name, _, charged in written} == states.BILLED


def test_the_table_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = re.search(r"^\| place \| means \|\n(.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert rows is not None
    relative, absolute = tmp_path / "purchases.db", Path("/data/purchases.db").absolute()
    found = [location.parse(each) for line in rows[1].splitlines() for each in re.findall("`(.+?)`", line)]
    assert [each.path for each in found] == [relative, absolute, relative, absolute, None, None, None, None]
    assert [each.url for each in found[4:]] == ["postgresql://user@host/database", "postgresql://", None, None]


def test_its_numbers() -> None:
    assert (ledger.HEARTBEAT, ledger.LEASE, ledger.MAX_OPEN_SUBMITS, ledger.PATIENCE) == (10, 60, 16, 30)
    for words in ("every 10 s", "for 60 s", "At most 16 submits", "up to 30 s"):
        assert words in TEXT


def test_its_blocks_run(apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**apimaster_emulator.env, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert {language for language, _ in BLOCKS} == {"python", "sh", "sql"}
    for language, code in BLOCKS:
        if language == "python":
            exec(compile(code, "ledger.md", "exec"), {"__name__": "__main__"})  # our own text
        for line in code.splitlines() if language == "sh" else ():
            assert run(shlex.split(line)[1:]) == 0, line
    assert len(apimaster_emulator.bill.charges) == 2
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists()
