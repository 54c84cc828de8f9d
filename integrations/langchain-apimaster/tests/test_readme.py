"""The README's code blocks run in order, against the emulator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_code_blocks(
    emu: Any, scripted: Any, calls: Any, last_result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(messages: list[Any]) -> AIMessage:
        picture = last_result(messages).artifact["images"][0]["id"]
        return calls(("edit_image", {"prompt": "make it blue", "reference_images": [picture]}, "call_b"))

    model = scripted(
        AIMessage("An orange cat on a wall."),
        calls(("generate_image", {"prompt": "a cat"}, "call_a")),
        edit,
        AIMessage("Done."),
        calls(("generate_image", {"prompt": "a dog"}, "call_c")),
        AIMessage("Done."),
    )
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: model)
    monkeypatch.setenv("APIMASTER_API_KEY", emu.api_key)
    monkeypatch.setenv("APIMASTER_BASE_URL", emu.base_url)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert len(blocks) == 9
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["data"][:4] == b"\x89PNG"
    assert str(names["toolkit"].budget.spent_usd) == "0.1125"
    assert len(emu.bill.standing) == 6
    names["toolkit"].close()


def test_the_readme_names_each_option() -> None:
    from langchain_apimaster.options import Options

    text = README.read_text(encoding="utf-8")
    assert [name for name, field in Options.model_fields.items() if f"`{field.alias or name}`" not in text] == []
