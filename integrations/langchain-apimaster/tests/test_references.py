"""A model must not choose what this machine reads or what is fetched inside a private network."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from apimaster import GeneratedImage, ReferenceImageError
from langchain_apimaster.attachments import attached_images
from langchain_apimaster.records import image_id
from langchain_apimaster.references import ReferenceResolver
from langchain_apimaster.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def resolve(store: Store, name: str, **options: Any) -> Any:
    (found,) = ReferenceResolver(store, **options).resolve([name])
    return found


@pytest.mark.parametrize(
    "word",
    [
        "http://example.com/cat.png",
        "https://localhost/cat.png",
        "https://a.localhost/cat.png",
        "https://127.0.0.1/cat.png",
        "https://127.1/cat.png",
        "https://2130706433/cat.png",
        "https://0x7f000001/cat.png",
        "https://0177.0.0.1/cat.png",
        "https://10.1.2.3/cat.png",
        "https://192.168.0.1:8443/cat.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/cat.png",
        "https://[fe80::1]/cat.png",
        "https://[::ffff:10.0.0.1]/cat.png",
        "https://metadata.google.internal/x",
        "https://printer.local/cat.png",
        "https://intranet/cat.png",
        "https://user:secret@example.com/cat.png",
        "https:///cat.png",
        "HTTPS://LOCALHOST/cat.png",
        "file:///etc/passwd",
        "ftp://example.com/cat.png",
        "s3://bucket/cat.png",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "/etc/passwd",
        "~/.ssh/id_rsa",
        "../cat.png",
        "cat.png",
        "sha256:" + "0" * 64,
        "img_aaaaaaaaaaaa",
        "img_../../etc/passwd",
        "attachment:1",
        "",
        "\0",
    ],
)
def test_a_forbidden_reference_is_refused(word: str, store: Store) -> None:
    with pytest.raises(ReferenceImageError) as refusal:
        resolve(store, word)
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "word",
    ["https://example.com/cat.png?width=3", "https://93.184.216.34/cat.png", "https://[2606:4700::1]/cat.png"],
)
def test_a_public_url_goes_to_the_gateway_as_it_is(word: str, store: Store) -> None:
    assert resolve(store, f" {word} ") == word


def test_only_files_in_the_opened_folder_are_accepted(store: Store, tmp_path: Path, png: bytes) -> None:
    opened, other = tmp_path / "opened", tmp_path / "other"
    for folder in (opened / "deep", other):
        folder.mkdir(parents=True)
    (opened / "cat.png").write_bytes(png)
    (opened / "deep" / "cat.png").write_bytes(png)
    (other / "secret.png").write_bytes(png)
    os.symlink(other / "secret.png", opened / "link.png")
    os.symlink(opened / "cat.png", opened / "inner.png")
    options = {"folders": (opened,)}
    assert resolve(store, "cat.png", **options) == opened / "cat.png"
    assert resolve(store, "deep/../cat.png", **options) == opened / "cat.png"
    assert resolve(store, str(opened / "deep" / "cat.png"), **options) == opened / "deep" / "cat.png"
    assert resolve(store, "inner.png", **options) == opened / "cat.png"
    refusals = []
    for word in ("link.png", "../other/secret.png", str(other / "secret.png"), "missing.png", "deep", "."):
        with pytest.raises(ReferenceImageError) as refusal:
            resolve(store, word, **options)
        _, is_not, reason = str(refusal.value).partition(" is not a picture")
        assert is_not
        refusals.append(reason)
    assert len(set(refusals)) == 1, "a missing file and a forbidden one must look alike"


def test_an_id_resolves_to_its_file(store: Store, png: bytes) -> None:
    path = Path(store.place) / "task_1-0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png)
    image = GeneratedImage(task_id="task_1", path=path)
    stored = store.keep_image(image, "img_aaaaaaaaaaab", request=None, model="m", cost=None)
    assert resolve(store, stored.id) == path
    path.unlink()
    with pytest.raises(ValueError, match="no longer in the store"):
        resolve(store, stored.id)


def conversation(png: bytes, data_uri: str) -> list[Any]:
    code = base64.b64encode(png).decode()
    return [
        HumanMessage([{"type": "text", "text": "hi"}, {"type": "image", "base64": code, "mime_type": "image/png"}]),
        AIMessage("nice"),
        ToolMessage(
            [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}],
            tool_call_id="1",
            artifact={"images": [{"id": "img_aaaaaaaaaaaa", "path": "a.png"}]},  # a small copy of an own picture
        ),
        HumanMessage([{"type": "image_url", "image_url": {"url": data_uri}}]),
        HumanMessage([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": code}}]),
        HumanMessage([{"type": "image", "url": "https://example.com/dog.png"}]),
        HumanMessage([{"type": "image", "url": "https://10.0.0.1/dog.png"}]),
        HumanMessage([{"type": "image", "file_id": "file-1"}]),
        HumanMessage([{"type": "image", "base64": "!!", "mime_type": "image/png"}]),
        HumanMessage("and now?"),
    ]


def test_attached_images_the_formats_of_chat_models(store: Store, png: bytes, data_uri: str) -> None:
    messages = conversation(png, data_uri)
    assert len(attached_images(messages)) == 7
    from apimaster.request import Reference

    for number in (1, 2, 3):
        found = resolve(store, f"attachment:{number}", messages=messages)
        assert Reference.of(found).in_memory.data() == png  # type: ignore[union-attr]  # None would fail, as it should
    assert resolve(store, "Attachment 4", messages=messages) == "https://example.com/dog.png"
    for number, words in (
        (5, "not a public address"),
        (6, "only its provider can fetch the picture 'file-1'"),
        (7, "not base64"),
        (8, "there is no attachment:8; the user has attached 7 images"),
        (0, "there is no attachment:0"),
    ):
        with pytest.raises(ReferenceImageError, match=words):
            resolve(store, f"attachment:{number}", messages=messages)


def test_an_attachment_without_a_conversation(store: Store) -> None:
    with pytest.raises(ReferenceImageError, match="the conversation is not visible"):
        resolve(store, "attachment:1")
    with pytest.raises(ReferenceImageError, match="attached no image"):
        resolve(store, "attachment:1", messages=[])


def blocks(png: bytes, data_uri: str) -> dict[str, dict[str, Any]]:
    code = base64.b64encode(png).decode()
    return {
        "Google's media": {"type": "media", "mime_type": "image/png", "data": code},
        "Google's inline_data": {"inline_data": {"mime_type": "image/png", "data": code}},
        "OpenAI's input_image": {"type": "input_image", "image_url": data_uri},
        "image_url as a text": {"type": "image_url", "image_url": data_uri},
        "a file": {"type": "file", "mime_type": "image/png", "base64": code},
        "OpenAI's file": {"type": "file", "file": {"filename": "a.png", "file_data": data_uri}},
        "Bedrock's": {"image": {"format": "png", "source": {"bytes": png}}},
    }


@pytest.mark.parametrize("name", list(blocks(b"", "")))
@pytest.mark.parametrize("role", ["user", "tool"])
def test_a_block_of_any_provider_is_an_attachment(
    role: str, name: str, store: Store, png: bytes, data_uri: str
) -> None:
    block = blocks(png, data_uri)[name]
    message = HumanMessage([block]) if role == "user" else ToolMessage([block], tool_call_id="of another tool")
    from apimaster.request import Reference

    for word in ("attachment:1", "attachment:latest", "attachment:-1", "Attachments 1", "`attachment:last`"):
        found = resolve(store, word, messages=[HumanMessage("hi"), message, AIMessage("nice")])
        assert Reference.of(found).in_memory.data() == png  # type: ignore[union-attr]  # None would fail, as it should


def contents(png: bytes, data_uri: str) -> dict[str, Any]:
    code = base64.b64encode(png).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": code}}
    text = {"type": "text", "text": "done"}
    return {
        "Anthropic's tool result": [{"type": "tool_result", "tool_use_id": "1", "content": [text, image]}],
        "Google's function response": [
            {"function_response": {"name": "f", "parts": [{"inline_data": {"mime_type": "image/png", "data": code}}]}}
        ],
        "OpenAI's screenshot": [
            {
                "type": "computer_call_output",
                "call_id": "1",
                "output": {"type": "computer_screenshot", "image_url": data_uri},
            }
        ],
        "Bedrock's tool result": [
            {"toolResult": {"content": [{"image": {"format": "png", "source": {"bytes": png}}}]}}
        ],
        "OpenAI's image generation": [{"type": "image_generation_call", "id": "ig_1", "result": code}],
        "octet-stream": [
            {"type": "file", "mime_type": "application/octet-stream", "filename": "a.png", "base64": code}
        ],
        "a data URI": data_uri,
        "a data URI in Markdown": f"look: ![a cat]({data_uri}) and say",
        "a data URI in a text block": [{"type": "text", "text": f"![a cat]({data_uri})"}],
        "a data URI in HTML": f'<img src="{data_uri}">',
        "a data URI in JSON": f'{{"picture": "{data_uri}"}}',
    }


@pytest.mark.parametrize("name", list(contents(b"", "")))
@pytest.mark.parametrize("role", ["user", "tool", "assistant"])
def test_an_image_within_something_else_is_an_attachment(
    role: str, name: str, store: Store, png: bytes, data_uri: str
) -> None:
    from apimaster.request import Reference

    content = contents(png, data_uri)[name]
    message: Any = {
        "user": lambda: HumanMessage(content),
        "tool": lambda: ToolMessage(content, tool_call_id="of another tool"),
        "assistant": lambda: AIMessage(content),
    }[role]()
    (image,) = attached_images([message])
    assert attached_images([message])[0].fingerprint == image.fingerprint
    found = resolve(store, "attachment:1", messages=[HumanMessage("hi"), message])
    assert Reference.of(found).in_memory.data() == png  # type: ignore[union-attr]  # None would fail, as it should


def test_what_openai_made_is_an_attachment_in_the_older_format_too(store: Store, png: bytes) -> None:
    made = {"type": "image_generation_call", "id": "ig_1", "result": base64.b64encode(png).decode()}
    message = AIMessage("here it is", additional_kwargs={"tool_outputs": [made]})
    assert resolve(store, "attachment:latest", messages=[message]) == png


def test_several_images_in_the_result_of_a_tool_are_counted_in_order(store: Store) -> None:
    urls = [f"https://example.com/{name}.png" for name in "abcd"]
    first, second, third, fourth = ({"type": "image", "url": url} for url in urls)
    results = [
        {"type": "tool_result", "tool_use_id": str(at), "content": held}
        for at, held in enumerate([[first, second], "nothing", [third]])
    ]
    messages = [HumanMessage([*results, fourth])]
    assert [resolve(store, f"attachment:{at}", messages=messages) for at in (1, 2, 3, 4)] == urls


def test_a_text_without_an_image_is_none() -> None:
    texts = ["data:image/png;base64,…", "see https://example.com/a.png", "data:text/plain;base64," + 40 * "A"]
    calls = [{"type": "tool_use", "id": "1", "name": "draw", "input": {"image_url": "https://example.com/a.png"}}]
    messages = [HumanMessage(each) for each in texts] + [AIMessage(calls), ToolMessage("{}", tool_call_id="1")]
    assert attached_images(messages) == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "input_image", "file_id": "the-name"},
        {"type": "media", "mime_type": "image/png", "file_uri": "https://generativelanguage.googleapis.com/the-name"},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "file", "file_id": "the-name"}}]},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "the-name"}},
        {"type": "media", "mime_type": "image/png", "file_uri": "gs://the-name/a.png"},
        {"type": "image", "source": {"type": "file", "file_id": "the-name"}},
    ],
    ids=str,
)
def test_an_attachment_that_only_its_provider_has_is_named(block: dict[str, Any], store: Store) -> None:
    with pytest.raises(ReferenceImageError, match="the-name"):
        resolve(store, "attachment:1", messages=[HumanMessage([block])])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file_id": "file-1"},
        {"type": "input_file", "file_id": "file-1"},
    ],
    ids=str,
)
def test_a_file_that_may_be_an_image_is_named_and_does_not_count(block: dict[str, Any], store: Store) -> None:
    url = "https://example.com/a.png"
    messages = [HumanMessage([block])]
    with pytest.raises(ReferenceImageError, match="no image, and what only its provider can fetch: the file 'file-1'"):
        resolve(store, "attachment:1", messages=messages)
    messages.append(HumanMessage([{"type": "image", "url": url}]))
    assert resolve(store, "attachment:1", messages=messages) == url
    named = HumanMessage([{**block, "mime_type": "application/pdf"}])
    with pytest.raises(ReferenceImageError, match="attached no image") as refusal:
        resolve(store, "attachment:1", messages=[named])
    assert "file-1" not in str(refusal.value)


def test_the_small_copies_of_these_tools_do_not_count_within_a_result_either(store: Store, png: bytes) -> None:
    image = {"type": "image", "base64": base64.b64encode(png).decode(), "mime_type": "image/png"}
    text = {"type": "text", "text": "Picture img_aaaaaaaaaaaa, 1024x1024."}
    messages = [HumanMessage([{"type": "tool_result", "tool_use_id": "1", "content": [text, image]}])]
    assert attached_images(messages) == []


def test_attachments_are_counted_from_the_newest(store: Store) -> None:
    urls = [f"https://example.com/{name}.png" for name in "abc"]
    messages = [HumanMessage([{"type": "image", "url": url}]) for url in urls]
    for word, url in {"attachment:-1": urls[2], "attachment:-3": urls[0], "attachment:latest": urls[2]}.items():
        assert resolve(store, word, messages=messages) == url
        assert resolve(store, word.replace("-3", "-2"), messages=messages[1:]) in urls[1:], "the history was trimmed"
    with pytest.raises(ReferenceImageError, match="attached 3 images"):
        resolve(store, "attachment:-4", messages=messages)


@pytest.mark.parametrize(
    "word",
    [
        "{id}.png",
        "{id}.JPG",
        "`{id}`",
        '"{id}"',
        "sandbox:/mnt/data/{id}.png",
        "sandbox:{id}",
        "/some/store/{id}.webp",
        "![the cat]({id})",
        "[the cat](sandbox:/{id}.png)",
        "{path}",
        "task_1-0.png",
    ],
)
def test_what_models_put_around_an_id_is_taken_off(word: str, store: Store, png: bytes) -> None:
    path = Path(store.place) / "task_1-0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png)
    image = GeneratedImage(task_id="task_1", path=path)
    stored = store.keep_image(image, image_id("task_1"), request=None, model="m", cost=None)
    assert resolve(store, word.format(id=stored.id, path=path)) == path


@pytest.mark.parametrize("word", ["/elsewhere/task_1-0.png", "https://example.com/{id}.png", "{id}/x.png"])
def test_another_place_is_not_the_store(word: str, store: Store, png: bytes) -> None:
    path = Path(store.place) / "task_1-0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png)
    stored = store.keep_image(
        GeneratedImage(task_id="task_1", path=path), image_id("task_1"), request=None, model="m", cost=None
    )
    word = word.format(id=stored.id)
    try:
        assert resolve(store, word) == word, "a URL stays what it is"
    except ReferenceImageError:
        assert not word.startswith("https")
