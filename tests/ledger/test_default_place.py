"""The place of a ledger that nobody named: a folder, the next folder, the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apimaster.ledger.default_place import default_place


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A folder that can't be made, because a file is in the way."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "folder"


def test_the_first_folder_that_can_be_written_holds_it(tmp_path: Path, blocked: Path) -> None:
    first, second = tmp_path / "first" / "deep", tmp_path / "second"
    assert default_place(first, second) == str(first / "ledger.db")
    assert not second.exists()
    assert default_place(blocked, second) == str(second / "ledger.db")


def test_a_ledger_that_is_there_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it is damaged, or its folder can't be written any more: opening it says so."""
    (tmp_path / "ledger.db").write_text("This is no database.")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert default_place(tmp_path, tmp_path / "next") == str(tmp_path / "ledger.db")


def test_a_folder_without_permission_leads_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda folder, _: Path(folder).name == "next")
    assert default_place(tmp_path, tmp_path / "next") == str(tmp_path / "next" / "ledger.db")


def test_the_memory_is_the_last_and_stays_it(blocked: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that has bought something keeps its ledger, even if the folder can be written later."""
    assert default_place(blocked) == "sqlite://"
    blocked.parent.unlink()
    assert default_place(blocked) == "sqlite://"
    (record,) = (each for each in caplog.records if each.name == "apimaster")
    assert "remembered by this process only" in record.getMessage()
    assert str(blocked) in record.getMessage()
