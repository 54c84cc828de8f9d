"""Each tool against the emulator: what it returns, and how it fits into LangChain."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import render_text_description
from langchain_core.tracers import BaseTracer
from PIL import Image

from apimaster import APIMaster, AsyncAPIMaster
from langchain_apimaster import (
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterToolkit,
    ImageToolError,
)

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}


def test_content_and_artifact(emu: Any, tools: Any, tool_call: Any, tmp_path: Path) -> None:
    message = tools()["generate_image"].invoke(
        tool_call("generate_image", prompt="a cat", aspect_ratio="16:9", resolution="2K")
    )
    (image,) = message.artifact["images"]
    assert message.status == "success"
    assert message.content.startswith(f"{image['id']}: 2752×1536 PNG, 16:9, 2K, $0.05.")
    assert f'reference_images=["{image["id"]}"]' in message.content
    assert len(message.content) < 400
    assert "http" not in message.content
    assert str(tmp_path) not in message.content
    assert (message.artifact["cost_usd"], message.artifact["tasks"]) == ("0.05", [emu.jobs[0].id])
    assert Path(image["path"]).parent == tmp_path / "store"
    assert Image.open(image["path"]).size == (image["width"], image["height"]) == (2752, 1536)
    assert image["url"].startswith("http")
    assert len(json.dumps(message.artifact)) < 2048
    assert json.loads(json.dumps(message.artifact)) == message.artifact
    assert emu.bill.total == Decimal("0.05")


def test_several_images_and_the_other_fields(emu: Any, tools: Any, tool_call: Any) -> None:
    message = tools()["generate_image"].invoke(
        tool_call("generate_image", prompt="a cat", n=3, google_search=True, resolution="0.5k")
    )
    assert len(message.artifact["images"]) == len({image["id"] for image in message.artifact["images"]}) == 3
    assert len(message.content) < 500
    assert emu.bill.total == Decimal("0.1125") == Decimal(message.artifact["cost_usd"])
    sent = [request.body for request in emu.requests if request.method == "POST"]
    assert [body["google_search"] for body in sent] == [True] * 3
    assert [body["resolution"] for body in sent] == ["0.5K"] * 3
    assert all("size" not in body and "image_urls" not in body for body in sent)


def test_null_means_the_default(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("generate_image", prompt="a cat", aspect_ratio=None, n=None, reference_images=None)
    assert tools()["generate_image"].invoke(call).status == "success"
    assert set(emu.requests[0].body) == {"model", "prompt"}


def test_an_argument_that_is_not_offered_is_refused_and_not_dropped(emu: Any, tools: Any, tool_call: Any) -> None:
    tool = tools(expose={"aspect_ratio"})["generate_image"]
    message = tool.invoke(tool_call("generate_image", prompt="a cat", resolution="4K", size="1:1"))
    assert message.status == "error"
    assert "resolution, size can't be chosen here; accepted: prompt, aspect_ratio" in message.content
    wrong = tool.invoke(tool_call("generate_image", prompt=["a", "cat"]))
    assert (wrong.status, emu.requests) == ("error", [])
    assert "prompt: Input should be a valid string. Nothing was sent or charged." in wrong.content


def test_defaults_and_allowed_values(emu: Any, tools: Any, tool_call: Any) -> None:
    by_name = tools(expose={"resolution"}, defaults={"aspect_ratio": "9:16"}, allowed={"resolution": ["0.5K", "1K"]})
    message = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat", resolution="4k"))
    assert message.status == "error"
    assert "allowed: 0.5K, 1K" in message.content
    assert "Nothing was charged." in message.content
    message = by_name["generate_image"].invoke(tool_call("generate_image", "call_2", prompt="a cat"))
    assert (message.artifact["images"][0]["width"], message.artifact["images"][0]["height"]) == (768, 1376)


def test_reference_images_set_by_the_application(emu: Any, tools: Any, png: bytes) -> None:
    edit = tools(expose=set(), defaults={"reference_images": [png]})["edit_image"]
    assert edit.invoke("put the logo on a mug").startswith("img_")
    assert len(emu.jobs[0].request.references) == 1


def test_edit_by_id_and_without_reference(emu: Any, tools: Any, tool_call: Any) -> None:
    by_name = tools()
    first = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
    picture = first.artifact["images"][0]["id"]
    message = by_name["edit_image"].invoke(
        tool_call("edit_image", prompt="make it blue", reference_images=[picture, "https://example.com/a.png"])
    )
    assert message.status == "success"
    assert len(emu.jobs[1].request.references) == 2
    message = by_name["edit_image"].invoke(tool_call("edit_image", prompt="make it blue", reference_images=[]))
    assert message.status == "error"
    assert "needs at least one reference image" in message.content
    assert len(emu.bill.charges) == 2


@pytest.mark.parametrize("form", ["{}", "[{}]", '["{}"]', '"{}"', "`{}.png`", "({})", "**{}**", '{{"id": "{}"}}'])
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_text_for_the_list_of_references_is_understood(
    is_listed: bool, form: str, emu: Any, tools: Any, tool_call: Any
) -> None:
    by_name = tools()
    first = by_name["generate_image"].invoke(tool_call("generate_image", prompt="a cat"))
    text = form.format(first.artifact["images"][0]["id"])
    named = [text] if is_listed else text
    message = by_name["edit_image"].invoke(tool_call("edit_image", prompt="make it blue", reference_images=named))
    assert message.status == "success", message.content
    assert len(emu.jobs[1].request.references) == 1


def test_submit_then_collect(emu: Any, tools: Any, tool_call: Any) -> None:
    by_name = tools()
    submitted = by_name["submit_image"].invoke(tool_call("submit_image", prompt="a cat", resolution="2K"))
    (task,) = submitted.artifact["tasks"]
    assert f'get_image(task_id="{task}")' in submitted.content
    assert submitted.artifact["status"] in ("queued", "running")
    message = by_name["get_image"].invoke(tool_call("get_image", task_id=task))
    again = by_name["get_image"].invoke(tool_call("get_image", "call_2", task_id=task, wait=False))
    assert message.artifact["cost_usd"] == "0.05"
    assert again.artifact == message.artifact | {"replayed": True, "cost_usd": "0"}
    assert "This was made before, and is not paid for again." in again.content
    assert len(emu.bill.charges) == 1


def test_polling_a_task_that_is_not_finished(tools: Any, tool_call: Any, tmp_path: Path) -> None:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain", latency="manual") as slow:
        by_name = tools(base_url=slow.base_url)
        task = by_name["submit_image"].invoke(tool_call("submit_image", prompt="a cat")).artifact["tasks"][0]
        polled = by_name["get_image"].invoke(tool_call("get_image", task_id=task, wait=False))
        assert f"Task {task} is " in polled.content
        assert polled.artifact["status"] in ("queued", "running")
        slow.finish()
        polled = by_name["get_image"].invoke(tool_call("get_image", "call_2", task_id=task, wait=False))
        assert polled.content.startswith("img_")


def test_a_task_that_another_store_submitted(emu: Any, tools: Any, tool_call: Any, tmp_path: Path) -> None:
    task = tools()["submit_image"].invoke(tool_call("submit_image", prompt="a", resolution="2K")).artifact["tasks"][0]
    other = tools(store=tmp_path / "other")["get_image"]
    message = other.invoke(tool_call("get_image", task_id=task))
    assert message.artifact["cost_usd"] is None or message.artifact["cost_usd"] == "0.05"
    assert message.artifact["images"][0]["width"] == 2048
    for word in ("task_" + "0" * 26, "../x", "task id"):
        assert other.invoke(tool_call("get_image", "c" + word, task_id=word)).status == "error"


def test_in_a_chain_with_a_bare_string(emu: Any, tools: Any, scripted: Any) -> None:
    prompt = ChatPromptTemplate.from_template("Describe a picture of {what}")
    chain = prompt | scripted(AIMessage("An orange cat")) | StrOutputParser() | tools()["generate_image"]
    assert chain.invoke({"what": "a cat"}).startswith("img_")
    assert emu.jobs[0].request.prompt == "An orange cat"


def test_get_image_takes_a_bare_string(emu: Any, tools: Any) -> None:
    by_name = tools()
    by_name["submit_image"].invoke("a cat")
    assert by_name["get_image"].invoke(emu.jobs[0].id).startswith("img_")


def test_the_key_is_nowhere_in_plain_text(emu: Any, make_toolkit: Any, tools: Any) -> None:
    key = emu.api_key
    toolkit = make_toolkit()
    for each in (toolkit, *toolkit.get_tools()):
        for text in (
            repr(each),
            str(each),
            str(each.model_dump()),
            repr(each.context if hasattr(each, "context") else ""),
        ):
            assert key not in text
        assert key.encode() not in pickle.dumps(each)


def test_a_pickled_tool_finds_its_key_in_the_environment(
    emu: Any, make_toolkit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolkit = make_toolkit(max_images=2)
    for tool in toolkit.get_tools():
        tool.tool_call_schema  # noqa: B018  # LangChain caches it; the cache must not break pickling
    toolkit.get_tools()[0].invoke("a cat")
    generate, *_, get = pickle.loads(pickle.dumps(toolkit.get_tools()))
    assert generate.context is get.context
    assert generate.args == toolkit.get_tools()[0].args
    monkeypatch.delenv("APIMASTER_API_KEY", raising=False)
    assert "API key is missing" in generate.invoke("a dog")
    monkeypatch.setenv("APIMASTER_API_KEY", emu.api_key)
    assert generate.invoke("a dog").startswith("img_")
    assert "of 2 images holds 2 already" in generate.invoke("a third")
    assert len(emu.bill.charges) == 2
    generate.context.close()


def test_copies_share_everything_unless_an_option_changes(emu: Any, make_toolkit: Any) -> None:
    tool = make_toolkit(max_images=1).get_tools()[0]
    for made in (tool.model_copy(), tool.model_copy(deep=True), copy.deepcopy(tool), copy.copy(tool)):
        assert made.context is tool.context
    assert tool.studio is tool.context, "the former name"
    renamed = tool.model_copy(update={"name": "paint"})
    assert (renamed.name, renamed.context) == ("paint", tool.context)
    other = tool.model_copy(update={"expose": {"n"}})
    assert other.context is not tool.context
    assert list(other.args) == ["prompt", "n"]


def test_clients_of_the_application(emu: Any, tmp_path: Path) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url, model="gemini-3.1-flash-image") as client:
        tool = APIMasterGenerateImageTool(client=client, store=tmp_path)
        assert tool.invoke("a cat").startswith("img_")
        assert asyncio.run(tool.ainvoke("a dog")).startswith("img_")  # in a thread
        assert {job.request.model for job in emu.jobs} == {"gemini-3.1-flash-image"}
        assert tool.model_copy(deep=True).client is client
        toolkit = APIMasterToolkit(client=client, store=tmp_path)
        toolkit.close()
        assert client.models()

    async def main() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            alone = APIMasterGenerateImageTool(async_client=client, store=tmp_path)
            assert (await alone.ainvoke("a bird")).startswith("img_")
            with pytest.raises(TypeError, match="give it client= too"):
                alone.invoke("a fish")

    asyncio.run(main())


def test_async_never_blocks_the_loop(emu: Any, make_toolkit: Any, tool_call: Any, png: bytes) -> None:
    async def main() -> list[Any]:
        async with make_toolkit(show_image="always") as toolkit:
            generate, edit, submit, get = toolkit.get_tools()
            first = await generate.ainvoke(tool_call("generate_image", prompt="a cat", n=2), THREAD)
            picture = first.artifact["images"][0]["id"]
            edited, task, broken = await asyncio.gather(
                edit.ainvoke(tool_call("edit_image", "call_2", prompt="blue", reference_images=[picture])),
                submit.ainvoke(tool_call("submit_image", "call_3", prompt="a dog")),
                edit.ainvoke(tool_call("edit_image", "call_4", prompt="blue", reference_images=["/etc/passwd"])),
            )
            got = await get.ainvoke(tool_call("get_image", "call_5", task_id=task.artifact["tasks"][0]))
            again = await generate.ainvoke(tool_call("generate_image", prompt="a cat", n=2), THREAD)
            assert again.artifact["images"] == first.artifact["images"]
            return [first, edited, task, got, broken]

    with blockbuster_ctx():
        messages = asyncio.run(main())
    assert [message.status for message in messages] == ["success"] * 4 + ["error"]
    assert len(emu.bill.charges) == 4


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.runs: set[Any] = set()

    def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.runs.add(run_id)

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert run_id in self.runs, "an event belongs to the run of the tool"
        self.events.append({"name": name, **data})


class AsyncListener(AsyncCallbackHandler, Listener):  # type: ignore[misc]  # only the two methods below are called
    async def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.runs.add(run_id)

    async def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.events.append({"name": name, **data})


@pytest.mark.parametrize("way", ["sync", "async", "async handler"])
def test_progress_events(way: str, tools: Any, tool_call: Any) -> None:
    listener = AsyncListener() if way == "async handler" else Listener()
    tool = tools()["generate_image"]
    call = tool_call("generate_image", prompt="a cat", n=2)
    if way == "sync":
        tool.invoke(call, {"callbacks": [listener]})
    else:
        asyncio.run(tool.ainvoke(call, {"callbacks": [listener]}))
    assert {event["name"] for event in listener.events} == {"apimaster.progress"}
    assert {event["image"] for event in listener.events} == {1, 2}
    first = [event for event in listener.events if event["image"] == 1]
    assert (first[0]["stage"], first[-1]["stage"], first[-1]["percent"]) == ("submitting", "done", 100.0)
    assert {event["tool_call_id"] for event in first} == {"call_1"}
    assert first[-1]["task"].startswith("task_")
    json.dumps(listener.events)


class Tracer(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.ended.append(run)


@pytest.mark.parametrize("is_async", [False, True])
def test_cost_task_and_model_are_in_the_runs_metadata(is_async: bool, emu: Any, tools: Any) -> None:
    tracer = Tracer()
    tool = tools()["generate_image"]
    config: Any = {"callbacks": [tracer], "metadata": {"mine": 1}}
    given = {"prompt": "a cat", "resolution": "2K"}
    asyncio.run(tool.ainvoke(given, config)) if is_async else tool.invoke(given, config)
    (run,) = tracer.ended
    assert run.extra["metadata"] | {"mine": 1} == run.extra["metadata"]
    assert run.extra["metadata"]["apimaster_cost_usd"] == "0.05"
    assert run.extra["metadata"]["apimaster_task_ids"] == [emu.jobs[0].id]
    assert run.extra["metadata"]["apimaster_model"] == "gemini-3.1-flash-image-preview"
    assert config["metadata"] == {"mine": 1}


class Profiled:
    def __init__(self, **profile: Any) -> None:
        self.profile = profile


class Bound:
    def __init__(self, bound: Any) -> None:
        self.bound = bound


@pytest.mark.parametrize(
    ("show_image", "chat_model", "shown"),
    [
        ("never", Profiled(image_tool_message=True), False),
        ("always", None, True),
        ("auto", Profiled(image_tool_message=True), True),
        ("auto", Bound(Profiled(image_tool_message=True)), True),
        ("auto", Profiled(image_inputs=True), False),
        ("auto", object(), False),
        ("auto", None, False),
    ],
)
def test_show_image(show_image: str, chat_model: Any, shown: bool, tools: Any, tool_call: Any) -> None:
    tool = tools(show_image=show_image, chat_model=chat_model)["generate_image"]
    message = tool.invoke(tool_call("generate_image", prompt="a cat", aspect_ratio="16:9", resolution="2K"))
    assert ("image" in [block["type"] for block in message.content_blocks]) is shown
    assert message.text.startswith("img_")
    if shown:
        block = message.content_blocks[1]
        assert block["mime_type"] == "image/jpeg"
        assert len(block["base64"]) < 100_000
        pickled = pickle.loads(pickle.dumps(tool))
        assert pickled.context.shows_images


def test_previews_of_the_formats(tmp_path: Path) -> None:
    from langchain_apimaster.previews import preview_block

    for name, mode in (("a.png", "RGBA"), ("b.webp", "RGB"), ("c.jpg", "L"), ("d.png", "P")):
        Image.new(mode, (1000, 400)).save(tmp_path / name)
        shown = preview_block(tmp_path / name)
        assert shown["type"] == "image"
        assert preview_block((tmp_path / name).read_bytes()) == shown


def test_a_picture_that_can_not_be_shown_is_delivered(
    emu: Any, tools: Any, tool_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid for and stored, whatever a decoder says about it."""
    tool = tools(show_image="always")["generate_image"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)  # to Pillow, every picture is a decompression bomb
    message = tool.invoke(tool_call("generate_image", prompt="a cat"))
    assert message.status == "success"
    assert len(message.artifact["images"]) == len(emu.bill.charges) == 1
    assert "can't be shown here" in message.text


def test_a_remote_store(emu: Any, tools: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/pictures"
    toolkit = make_toolkit(store=url, show_image="always")
    generate, edit, *_ = toolkit.get_tools()
    message = generate.invoke(tool_call("generate_image", prompt="a cat"))
    (image,) = message.artifact["images"]
    assert image["path"].startswith(url)
    assert toolkit.read(image["id"])[:4] == b"\x89PNG"
    message = edit.invoke(tool_call("edit_image", "call_2", prompt="blue", reference_images=[image["id"]]))
    assert message.status == "success"
    assert len(emu.bill.charges) == 2


def test_ids_resolve_through_the_toolkit(make_toolkit: Any, tmp_path: Path) -> None:
    toolkit = make_toolkit()
    content = toolkit.get_tools()[0].invoke("a cat")
    image = make_toolkit().image(content[:16])
    assert Path(image.path).read_bytes() == toolkit.read(content[:16])
    with pytest.raises(KeyError, match="img_aaaaaaaaaaaa"):
        toolkit.image("img_aaaaaaaaaaaa")


def test_a_long_source_url_stays_out_of_the_artifact() -> None:
    from langchain_apimaster import StoredImage

    image = StoredImage(id="img_aaaaaaaaaaaa", path="/x", url="https://x/?sig=" + "a" * 2000)
    assert image.as_artifact()["url"] is None


def test_a_deviation_is_mentioned(emu: Any, tools: Any, tool_call: Any, caplog: pytest.LogCaptureFixture) -> None:
    emu.script("download_wrong_pixels")
    with caplog.at_level(logging.CRITICAL, logger="apimaster"):
        message = tools()["generate_image"].invoke(tool_call("generate_image", prompt="a cat", aspect_ratio="16:9"))
    assert "Note: asked for 16:9" in message.content
    assert len(message.artifact["images"][0]["deviations"]) == 1


def test_errors_can_be_raised_instead(emu: Any, tools: Any) -> None:
    emu.script("moderation")
    tool = tools()["generate_image"].model_copy(update={"handle_tool_error": False})
    with pytest.raises(ImageToolError) as raised:
        tool.invoke("a cat")
    assert raised.value.error.code == "sensitive_words_detected"
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value)


def test_programming_errors_raise(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tools()["generate_image"]

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tool.context, "wait_options", broken)
    with pytest.raises(ZeroDivisionError):
        tool.invoke("a cat")


def test_an_injected_runtime_cannot_be_forged(emu: Any, tools: Any, tool_call: Any) -> None:
    call = tool_call("edit_image", prompt="a", reference_images=["attachment:1"], runtime={"state": {"messages": []}})
    message = tools()["edit_image"].invoke(call)
    assert message.status == "error"
    assert "runtime can't be chosen here" in message.content


def test_described_in_plain_text(tmp_path: Path) -> None:
    text = render_text_description([APIMasterImageTaskTool(store=tmp_path)])
    assert text.startswith("get_image(*, task_id: ")


def test_the_plain_function(emu: Any, tools: Any) -> None:
    assert tools()["generate_image"].func(prompt="a cat", n=1).startswith("img_")
