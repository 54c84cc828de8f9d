"""How reference images of a tool go out: ``references_by`` of a toolkit and of a single tool."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from large_pictures import padded_files, padded_png
from pydantic import ValidationError

from apimaster import APIMaster
from langchain_apimaster import APIMasterEditImageTool, APIMasterToolkit

EDIT = "edit_image"


def kinds(emu: Any) -> list[list[str]]:
    sent = [record for record in emu.requests if record.route in ("sync", "submit")]
    return [[reference.kind for reference in record.references] for record in sent]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_fourteen_references_of_ten_megabytes(emu: Any, tools: Any, tmp_path: Path, how: str) -> None:
    names = [str(file) for file in padded_files(tmp_path)]
    edit = tools(allow_files_under=tmp_path)[EDIT]
    arguments = {"prompt": "a boat", "reference_images": names}
    result = edit.invoke(arguments) if how == "invoke" else asyncio.run(edit.ainvoke(arguments))
    assert "image_id" in str(result) or "id" in str(result)
    assert kinds(emu) == [["upload"] * 14]
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize(("by", "kind"), [(None, "data"), ("auto", "data"), ("inline", "data"), ("upload", "upload")])
def test_the_toolkit_chooses_the_form(emu: Any, tools: Any, tmp_path: Path, by: Any, kind: str) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(padded_png(2_000))
    edit = tools(allow_files_under=tmp_path, references_by=by)[EDIT]
    edit.invoke({"prompt": "a boat", "reference_images": [str(file)]})
    assert kinds(emu) == [[kind]]


def test_a_client_of_the_applications_keeps_its_form(emu: Any, tools: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(padded_png(2_000))
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
        for by, kind in ((None, "upload"), ("inline", "data")):
            edit = tools(client=client, allow_files_under=tmp_path, references_by=by)[EDIT]
            edit.invoke({"prompt": f"a boat {by}", "reference_images": [str(file)]})
            assert kinds(emu)[-1] == [kind]


@pytest.mark.parametrize("kind", [APIMasterToolkit, APIMasterEditImageTool])
def test_other_forms_are_refused(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="references_by"):
        kind(api_key="sk-test", store=tmp_path, references_by="pigeon")


def test_the_form_is_not_the_models_to_choose(tools: Any) -> None:
    for tool in tools(references_by="upload").values():
        assert "references_by" not in tool.args
