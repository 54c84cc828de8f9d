"""Hosts that read signatures: each finds the real arguments, and can call what it read."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from langchain_core.tools import BaseTool

from langchain_apimaster import APIMasterGenerateImageTool

ARGUMENTS = {
    "generate_image": ["prompt", "aspect_ratio", "resolution", "reference_images", "n", "google_search"],
    "edit_image": ["prompt", "aspect_ratio", "resolution", "reference_images", "n", "google_search"],
    "submit_image": ["prompt", "aspect_ratio", "resolution", "reference_images", "google_search"],
    "get_image": ["task_id", "wait"],
}


def _call_run(tool: Any, arguments: dict[str, Any]) -> Any:
    """As google-adk 2.13 does (``LangchainTool`` is a ``FunctionTool`` of ``tool._run``)."""
    shown = inspect.signature(tool._run).parameters
    assert not [name for name, each in shown.items() if each.default is each.empty and name not in arguments]
    return tool._run(**{name: value for name, value in arguments.items() if name in shown})


FORMS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "google-adk": _call_run,
    "its asyncio twin": lambda tool, arguments: asyncio.run(tool._arun(**arguments)),
    "CrewAI 1.15 and AutoGen": lambda tool, arguments: tool.func(**arguments),
    "PydanticAI and smolagents": lambda tool, arguments: tool.run(dict(arguments)),
    "dspy 3.4 and langchain-mcp-adapters, for FastMCP": lambda tool, arguments: asyncio.run(tool.ainvoke(arguments)),
}


@pytest.mark.parametrize("made", ["new", "pickled", "copied"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_a_reader_finds(name: str, made: str, tools: Any) -> None:
    tool = tools()[name]
    if made == "pickled":
        tool = pickle.loads(pickle.dumps(tool))
    elif made == "copied":
        tool = tool.model_copy(update={"model": "nano-banana-pro"})
    required = {"prompt", "reference_images"} if name == "edit_image" else {next(iter(ARGUMENTS[name]))}
    # LangChain before 1.6 takes the arguments from the signature of the schema, without building it first
    for function in (tool.args_schema, tool.func, tool._run, tool._arun):
        shown = dict(inspect.signature(function).parameters)
        shown.pop("run_manager", None)
        assert list(shown) == ARGUMENTS[name]
        assert {each for each, about in shown.items() if about.default is about.empty} == required
    for function in (tool.func, tool._run, tool._arun):
        hints = get_type_hints(function)
        assert {each: hints[each] for each in ARGUMENTS[name]} == {
            each: about.annotation for each, about in tool.args_schema.model_fields.items()
        }


def test_options_change_the_signature(tools: Any) -> None:
    tool = tools(expose={"resolution"}, defaults={"resolution": "2K"})["generate_image"]
    assert list(inspect.signature(tool.func).parameters) == ["prompt", "resolution"]
    assert inspect.signature(tool._run).parameters["resolution"].default == "2K"


@pytest.mark.parametrize("form", FORMS)
def test_calls_of_a_host(form: str, emu: Any, tools: Any) -> None:
    made = tools(show_image="always")
    text = FORMS[form](made["generate_image"], {"prompt": "a cat", "aspect_ratio": "16:9", "resolution": "2K"})
    assert isinstance(text, str)  # no blocks, which such a host would write out in base64
    assert "2752×1536 PNG, 16:9, 2K, $0.05." in text
    text = FORMS[form](made["edit_image"], {"prompt": "blue", "reference_images": [text[:16]]})
    assert len(text) < 400
    assert len(emu.jobs[1].request.references) == 1
    text = FORMS[form](made["edit_image"], {"prompt": "show it", "reference_images": ["/etc/passwd"]})
    assert "'/etc/passwd' is not a picture that can be named here" in text
    text = FORMS[form](made["generate_image"], {"prompt": "a cat", "n": 9})
    assert "less than or equal to 4" in text
    assert len(emu.bill.charges) == 2


@pytest.mark.parametrize("name", ["run_manager", "runtime", "bare_input", "in_batch"])
def test_an_argument_that_a_model_makes_up_is_refused(name: str, emu: Any, tools: Any) -> None:
    tool = tools()["generate_image"]
    for call in (tool._run, tool.func):
        assert f"{name} can't be chosen here" in call(prompt="a cat", **{name: "x"})
    assert not emu.bill.charges


def test_the_first_argument_by_position(emu: Any, tools: Any) -> None:
    tool = tools()["generate_image"]
    assert tool._run("a cat").startswith("img_")
    assert tool.func("a cat").startswith("img_")
    with pytest.raises(TypeError, match="only the first argument"):
        tool.func("a cat", "16:9")
    assert len(emu.bill.charges) == 2


def test_a_subclass_may_wrap_the_call(emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Any) -> None:
    class Louder(APIMasterGenerateImageTool):
        def _run(self, *args: Any, prompt: str, **rest: Any) -> Any:
            return super()._run(*args, prompt=prompt.upper(), **rest)

    tool: BaseTool = Louder(api_key=emu.api_key, base_url=emu.base_url, store=tmp_path)
    assert tool.invoke(tool_call("generate_image", prompt="a cat")).status == "success"
    assert emu.jobs[0].request.prompt == "A CAT"
