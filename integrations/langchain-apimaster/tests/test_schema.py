"""The schemas that models see, and the application's policy on their arguments."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool

from apimaster import BadRequestError, ImageRequest
from apimaster.catalog import spec_for
from apimaster.emulator import Emulator
from langchain_apimaster import (
    APIMasterEditImageTool,
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterSubmitImageTool,
    APIMasterToolkit,
)
from langchain_apimaster.schema import ArgumentPolicy

SNAPSHOTS = Path(__file__).parent / "snapshots"
TOOLS = (APIMasterGenerateImageTool, APIMasterEditImageTool, APIMasterSubmitImageTool, APIMasterImageTaskTool)


def for_openai(tool: Any) -> Any:
    return convert_to_openai_tool(tool)


def for_anthropic(tool: Any) -> Any:
    from langchain_anthropic import convert_to_anthropic_tool  # here, since every worker collects, and it takes 3 s

    return convert_to_anthropic_tool(tool)


def for_gemini(tool: Any) -> Any:
    from langchain_google_genai._function_utils import convert_to_genai_function_declarations  # the same

    (declared,) = convert_to_genai_function_declarations([tool])
    return json.loads(declared.model_dump_json(exclude_none=True))


@pytest.mark.parametrize("convert", [for_openai, for_anthropic, for_gemini])
def test_schemas_as_each_provider_gets_them(convert: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = {kind.__name__: convert(kind(store=tmp_path)) for kind in TOOLS}
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    snapshot = SNAPSHOTS / f"{convert.__name__}.json"
    if not snapshot.exists():  # to update the snapshots, remove them and run this twice
        snapshot.write_text(text, encoding="utf-8")
        pytest.fail(f"{snapshot.name} was missing and has been written")
    assert text == snapshot.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", TOOLS)
def test_the_schemas_are_flat(kind: Any, tmp_path: Path) -> None:
    for name, about in kind(store=tmp_path).tool_call_schema.model_json_schema()["properties"].items():
        assert about["type"] in ("string", "integer", "boolean", "array"), name
        assert about.get("items", {"type": "string"}) == {"type": "string"}
        assert about["description"]
        assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(about)


def test_an_argument_that_is_not_exposed_is_not_in_the_schema(tmp_path: Path) -> None:
    tool = APIMasterGenerateImageTool(store=tmp_path, expose={"aspect_ratio"}, defaults={"resolution": "2k"})
    assert list(tool.args) == ["prompt", "aspect_ratio"]


def test_enums_and_defaults_follow_the_application(tmp_path: Path) -> None:
    tool = APIMasterGenerateImageTool(
        store=tmp_path,
        defaults={"aspect_ratio": "16x9"},
        allowed={"resolution": ["2k", "4K"], "n": [1, 2]},
    )
    args = tool.tool_call_schema.model_json_schema()["properties"]
    assert args["aspect_ratio"]["default"] == "16:9"
    assert args["resolution"] | {"description": ""} == {
        "default": "2K",
        "description": "",
        "enum": ["2K", "4K"],
        "title": "Resolution",
        "type": "string",
    }
    assert "2K $0.05, 4K $0.075" in args["resolution"]["description"]
    assert (args["n"]["minimum"], args["n"]["maximum"]) == (1, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"defaults": {"size": "1:1"}}, "defaults names size; accepted: aspect_ratio"),
        ({"expose": {"prompt"}}, "expose names prompt"),
        ({"allowed": {"colour": ["red"]}}, "allowed names colour"),
        ({"allowed": {"resolution": "2K"}}, "must be a list"),
        ({"allowed": {"resolution": []}}, "must be a list"),
        ({"allowed": {"resolution": ["8K"]}}, "'8K' is not known"),
        ({"allowed": {"reference_images": ["img_x"]}}, "can't list reference_images"),
        ({"defaults": {"resolution": "4K"}, "allowed": {"resolution": ["1K"]}}, "which allowed does not list"),
        ({"defaults": {"n": 0}}, "n must be a whole number from 1 to 100"),
        ({"defaults": {"reference_images": "cat.png"}}, "must be a list"),
        ({"resolutoin": "4K"}, "resolutoin"),
        ({"budget_usd": 1, "model": "midjourney-v8.2"}, "use max_images instead"),
        ({"budget_usd": -1}, "budget_usd"),
        ({"show_image": "sometimes"}, "show_image"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    for kind in (APIMasterToolkit, APIMasterGenerateImageTool):
        with pytest.raises(ValueError, match=words):
            kind(store=tmp_path, **options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"resolution": "4K"}, "resolution '4K' is not allowed here; allowed: 0.5K, 1K"),
        ({"aspect_ratio": "1920x1080"}, "resolution '2K' is not allowed here"),
        ({"google_search": True}, "google_search True is not allowed here; allowed: False"),
        ({"n": 5}, "at most 4"),
    ],
)
def test_a_request_is_checked_against_allowed(fields: dict[str, Any], words: str) -> None:
    policy = ArgumentPolicy("nano-banana-2", allowed={"resolution": ["0.5k", "1k"], "google_search": [False]})
    policy.check(ImageRequest(prompt="a cat", resolution="1K"))
    policy.check(ImageRequest(prompt="a cat"))
    with pytest.raises(BadRequestError, match=words):
        policy.check(ImageRequest(prompt="a cat", **fields))


def test_a_toolkit_without_references_has_no_edit_tool(tmp_path: Path) -> None:
    names = [tool.name for tool in APIMasterToolkit(store=tmp_path, expose={"resolution"}).get_tools()]
    assert names == ["generate_image", "submit_image", "get_image"]
    pinned = APIMasterToolkit(store=tmp_path, expose={"n"}, defaults={"reference_images": ["logo.png"]}).get_tools()
    assert list(pinned[1].args) == ["prompt", "n"]


@pytest.mark.parametrize("kind", TOOLS)
def test_a_schema_is_complete_before_anybody_looks(kind: Any, tmp_path: Path) -> None:
    """LangChain before 1.6 reads the signature of the schema and takes an empty one for a tool without arguments."""
    schema = kind(store=tmp_path).args_schema
    assert list(inspect.signature(schema).parameters) == list(schema.model_fields)


def test_a_toolkit_offers_only_what_its_image_model_takes(tmp_path: Path) -> None:
    tool = APIMasterGenerateImageTool(store=tmp_path, model="nano-banana-2.1")
    ratio, resolution = tool.args["aspect_ratio"], tool.args["resolution"]
    spec = spec_for("nano-banana-2.1")
    assert (ratio["enum"], ratio["default"]) == (list(spec.aspect_ratios), "1:1")
    assert (resolution["enum"], resolution["default"]) == (["1K", "2K", "4K"], "1K")
    assert "auto" not in ratio["description"]
    assert "$" not in resolution["description"]  # its price is not known
    assert "google_search" not in APIMasterGenerateImageTool(store=tmp_path, model="gpt-image-2").args
    with pytest.raises(ValueError, match="does not search"):
        APIMasterGenerateImageTool(store=tmp_path, model="gpt-image-2", expose={"google_search"})
    with pytest.raises(ValueError, match="accepted: 1K, 2K, 4K"):
        APIMasterGenerateImageTool(store=tmp_path, model="nano-banana-2.1", allowed={"resolution": ["0.5K"]})


@pytest.mark.parametrize("model", ["gpt-image-2", "doubao-seedream-5-0-pro-260628", "midjourney-v8.2", "new-model"])
def test_a_list_that_the_catalogue_does_not_state_is_not_offered(model: str, tmp_path: Path) -> None:
    shown = APIMasterGenerateImageTool(store=tmp_path, model=model).args
    for name in ("aspect_ratio", "resolution"):
        assert shown[name]["type"] == "string"
        assert "enum" not in shown[name]
        assert "'auto'" not in shown[name]["description"]
    chosen = APIMasterGenerateImageTool(store=tmp_path, model=model, allowed={"resolution": ["2k"]})
    assert chosen.args["resolution"]["enum"] == ["2K"]


def test_a_picture_of_the_successor_by_the_tools_own_defaults(tmp_path: Path, apimaster_emulator: Emulator) -> None:
    emulator = apimaster_emulator
    tool = APIMasterGenerateImageTool(
        store=tmp_path, model="nano-banana-2.1", api_key=emulator.api_key, base_url=emulator.base_url
    )
    tool.invoke({"prompt": "a cat", "aspect_ratio": "16:9", "resolution": "2K"})
    tool.invoke({"prompt": "a cat"})
    first, second = (request.body for request in emulator.requests_to("submit"))
    assert (first["model"], first["size"], first["resolution"]) == ("gemini-nano-banana-2.1", "16:9", "2K")
    assert not {"size", "resolution"} & set(second)
    assert len(emulator.bill) == 2
