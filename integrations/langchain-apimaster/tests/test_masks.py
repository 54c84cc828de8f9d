"""The mask of an edit: for image models that take one, named by the same rules as a reference."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from PIL import Image

from langchain_apimaster import APIMasterToolkit
from langchain_apimaster.schema import ArgumentPolicy

MASKED = "gpt-image-2"
URL = "https://example.com/a.png"
MASK_URL = "https://example.com/mask.png"


@pytest.fixture
def mask() -> bytes:
    """A mask for ``png``, of the same pixels."""
    out = io.BytesIO()
    Image.new("RGBA", (64, 48), (0, 0, 0, 0)).save(out, format="PNG")
    return out.getvalue()


def arguments_of(tools: dict[str, Any], name: str = "edit_image") -> dict[str, Any]:
    schema: dict[str, Any] = tools[name].tool_call_schema.model_json_schema()["properties"]
    return schema


def test_only_an_edit_by_a_model_that_takes_masks_offers_one(tools: Any) -> None:
    offered = {name: "mask" in arguments_of(tools(model=MASKED), name) for name in tools()}
    assert offered == {"generate_image": False, "edit_image": True, "submit_image": False, "get_image": False}
    about = arguments_of(tools(model=MASKED))["mask"]
    assert (about["type"], about["default"]) == ("string", "")
    assert "transparent where the picture is to be changed" in about["description"]
    assert "anyOf" not in about
    for options in ({}, {"model": "doubao-seedream-5-0-pro-260628"}, {"model": "new-model"}):
        assert "mask" not in arguments_of(tools(**options))


def test_the_application_decides_whether_the_model_may_name_one(tools: Any) -> None:
    assert list(arguments_of(tools(model=MASKED, expose={"reference_images"}))) == ["prompt", "reference_images"]
    shown = arguments_of(tools(model=MASKED, expose={"reference_images", "mask"}))
    assert list(shown) == ["prompt", "reference_images", "mask"]
    assert "mask" in arguments_of(tools(model="new-model", expose={"reference_images", "mask"}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "nano-banana-2", "expose": frozenset({"mask"})}, "takes none, gpt-image-2 does"),
        ({"model": MASKED, "expose": frozenset({"masks"})}, "expose names masks; accepted: .*, mask"),
        ({"model": MASKED, "defaults": {"mask": MASK_URL}}, "defaults names mask"),
        ({"model": MASKED, "allowed": {"mask": [MASK_URL]}}, "allowed names mask"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ArgumentPolicy(**options)


def test_an_edit_with_an_earlier_picture_as_mask(emu: Any, tools: Any, tool_call: Any) -> None:
    by_name = tools(model=MASKED)
    made = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
    picture = made.artifact["images"][0]["id"]
    for form in (picture, f"[{picture}]", f"`{picture}.png`", [picture], {"id": picture}):
        message = by_name["edit_image"].invoke(
            tool_call("edit_image", f"call_{form}", prompt="a hat", reference_images=[picture], mask=form)
        )
        assert message.status == "success", message.content
        request = emu.jobs[-1].request
        assert request.mask.sha256 == request.references[0].sha256 is not None


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_no_mask_is_no_mask(emu: Any, tools: Any, tool_call: Any, nothing: Any) -> None:
    call = tool_call("edit_image", prompt="a hat", reference_images=[URL], mask=nothing)
    message = tools(model=MASKED)["edit_image"].invoke(call)
    if nothing == {}:
        assert (message.status, emu.jobs) == ("error", [])
    else:
        assert message.status == "success"
        assert emu.jobs[0].request.mask is None


@pytest.mark.parametrize("place", ["attachment", "folder", "url"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_mask_comes_from_where_references_come(
    emu: Any,
    make_toolkit: Any,
    scripted: Any,
    calls: Any,
    png: bytes,
    mask: bytes,
    tmp_path: Path,
    place: str,
    way: str,
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "cut.png").write_bytes(mask)
    parts: list[Any] = [
        {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/png"} for data in (png, mask)
    ]
    named = {"attachment": "attachment:2", "folder": "cut.png", "url": MASK_URL}[place]
    arguments = {"prompt": "a hat", "reference_images": ["attachment:1"], "mask": named}
    turns = [calls(("edit_image", arguments, "call_1")), AIMessage("Done.")]
    tools = make_toolkit(model=MASKED, allow_files_under=tmp_path / "open").get_tools()
    agent = create_agent(scripted(*turns), tools)
    said: Any = {"messages": [HumanMessage(content=parts)]}
    state = asyncio.run(agent.ainvoke(said)) if way == "ainvoke" else agent.invoke(said)
    (answer,) = [each for each in state["messages"] if isinstance(each, ToolMessage)]
    assert answer.status == "success", answer.content
    found = emu.jobs[0].request.mask
    assert found.url == MASK_URL if place == "url" else found.sha256 == hashlib.sha256(mask).hexdigest()
    assert ("attachment:2" in answer.text) == (place == "attachment")


FORBIDDEN = [
    *("/etc/passwd", "~/.ssh/id_rsa", "../mask.png", "file:///etc/passwd", "http://example.com/mask.png"),
    *("https://127.0.0.1/mask.png", "https://printer.local/m.png", "data:image/png;base64,AAAA", "img_aaaaaaaaaaaa"),
    *("attachment:1", "s3://bucket/mask.png", "https://user:secret@example.com/m.png", "sha256:" + "0" * 64),
]


@pytest.mark.parametrize("word", FORBIDDEN)
def test_a_model_chooses_no_file_and_no_private_address(emu: Any, tools: Any, tool_call: Any, word: str) -> None:
    call = tool_call("edit_image", prompt="a hat", reference_images=[URL], mask=word)
    message = tools(model=MASKED)["edit_image"].invoke(call)
    assert (message.status, emu.requests) == ("error", [])
    assert "secret" not in message.content
    assert "Nothing was charged." in message.content


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mask": [URL, MASK_URL]}, "mask is one picture, not 2"),
        ({"mask": 7}, "mask"),
        ({"mask": MASK_URL, "reference_images": []}, "needs at least one reference image"),
    ],
)
def test_a_wrong_mask_costs_nothing(emu: Any, tools: Any, tool_call: Any, given: dict[str, Any], words: str) -> None:
    call = tool_call("edit_image", **{"prompt": "a hat", "reference_images": [URL], **given})
    message = tools(model=MASKED)["edit_image"].invoke(call)
    assert (message.status, emu.requests) == ("error", [])
    assert words in message.content


def test_a_model_without_masks_is_offered_none_and_may_name_none(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("edit_image", prompt="a hat", reference_images=[URL], mask=MASK_URL)
    message = tools()["edit_image"].invoke(call)
    assert (message.status, emu.requests) == ("error", [])
    assert "mask can't be chosen here" in message.content


def test_a_mask_of_other_pixels_is_refused(emu: Any, tools: Any, tool_call: Any, mask: bytes, tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(mask)
    by_name = tools(model=MASKED, allow_files_under=tmp_path)
    made = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
    picture = made.artifact["images"][0]["id"]
    call = tool_call("edit_image", "call_2", prompt="a hat", reference_images=[picture], mask="mask.png")
    message = by_name["edit_image"].invoke(call)
    assert message.status == "error"
    assert "64×48 pixels, and the first reference" in message.content
    assert len(emu.bill.charges) == 1


def test_a_call_that_is_made_again_is_known_by_its_mask(emu: Any, tools: Any, tool_call: Any) -> None:
    thread: Any = {"configurable": {"thread_id": "thread-1"}}
    edit = tools(model=MASKED)["edit_image"]

    def made(**more: Any) -> Any:
        call = tool_call("edit_image", prompt="a hat", reference_images=[URL], **more)
        return edit.invoke(call, thread)

    first = made(mask=MASK_URL)
    assert made(mask=MASK_URL).artifact["images"] == first.artifact["images"]
    assert len(emu.bill.charges) == 1
    made()
    made(mask="https://example.com/other.png")
    assert len(emu.bill.charges) == 3


def test_a_toolkit_keeps_no_bytes_of_a_mask(emu: Any, make_toolkit: Any, tool_call: Any, mask: bytes) -> None:
    toolkit: APIMasterToolkit = make_toolkit(model=MASKED)
    by_name = {tool.name: tool for tool in toolkit.get_tools()}
    made = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
    picture = made.artifact["images"][0]["id"]
    call = tool_call("edit_image", "call_2", prompt="a hat", reference_images=[picture], mask=picture)
    message = by_name["edit_image"].invoke(call)
    assert "base64" not in json.dumps(message.artifact)
    rows = toolkit.open_ledger.purchases()
    assert sorted(each.request.mask is not None for each in rows) == [False, True]
