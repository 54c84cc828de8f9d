"""docs/webhooks.md: its blocks run in order, with the emulator as the gateway and a receiver that it reaches."""

from __future__ import annotations

import json
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
from webhook_receiver import Receiver

from apimaster.cli.app import run
from apimaster.emulator import Emulator

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "webhooks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.apimaster_emulator(latency=0)
def test_the_blocks(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**apimaster_emulator.env, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    with Receiver() as receiver:
        for language, code in BLOCK.findall(TEXT):
            if language == "python":
                here = code.replace("https://example.com/webhooks", receiver.url)
                exec(compile(here, "webhooks.md", "exec"), names)  # our own text
            else:
                assert language == "sh"
                for line in code.splitlines():
                    assert run(shlex.split(line)[1:]) == 0, line
        received = receiver.next()
        assert names["receive"](received.body, received.headers) == (200, {})
        challenge = receiver.challenges[0]
        asked = challenge.document["data"]["challenge"]
        assert names["receive"](challenge.body, challenge.headers) == (200, {"challenge": asked})
        assert names["receive"](received.body + b" ", received.headers) == (400, {})
    printed = capsys.readouterr().out
    assert f"{names['task'].id} succeeded" in printed
    assert stat.S_IMODE((tmp_path / "webhook-secrets.json").stat().st_mode) == 0o600
    assert len(json.loads((tmp_path / "webhook-secrets.json").read_text(encoding="utf-8"))["secrets"]) == 2


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (DOCS / target).exists(), target
