"""The picture in a content block, in every provider's form, and blocks that hold none or one that can't be fetched."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimaster.adapters import picture_in
from apimaster.errors import ReferenceImageError

DATA = b"\x89PNG, say"
TEXT = base64.b64encode(DATA).decode()
URI = f"data:image/png;base64,{TEXT}"
URL = "https://example.com/a.png"
OF_GOOGLE = "https://generativelanguage.googleapis.com/v1beta/files/abc"

PICTURES: list[tuple[str, dict[str, Any], str | bytes]] = [
    ("OpenAI chat", {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}, URL),
    ("OpenAI chat, a text", {"type": "image_url", "image_url": URI}, URI),
    ("OpenAI responses", {"type": "input_image", "image_url": URL, "detail": "auto"}, URL),
    ("OpenAI responses, an answer", {"type": "image_generation_call", "id": "ig_1", "result": TEXT}, DATA),
    ("OpenAI file", {"type": "file", "file": {"filename": "a.png", "file_data": URI}}, URI),
    ("OpenAI file, flat", {"type": "input_file", "filename": "a.png", "file_data": TEXT}, DATA),
    ("LiteLLM's file", {"type": "file", "file": {"file_id": URL, "format": "image/png", "file_data": TEXT}}, DATA),
    ("OpenAI file, by URL", {"type": "input_file", "filename": "a.jpeg", "file_url": URL}, URL),
    ("Anthropic", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}}, DATA),
    ("Anthropic, a URL", {"type": "image", "source": {"type": "url", "url": URL}}, URL),
    ("Google", {"inline_data": {"mime_type": "image/png", "data": TEXT}}, DATA),
    ("Google, camel case", {"inlineData": {"mimeType": "image/png", "data": TEXT}}, DATA),
    ("Google, bytes", {"inline_data": {"mime_type": "image/png", "data": DATA}}, DATA),
    ("Google, a URL", {"file_data": {"mime_type": "image/png", "file_uri": URL}}, URL),
    ("Google through LangChain", {"type": "media", "mime_type": "image/png", "data": TEXT}, DATA),
    ("Google through LangChain, a URL", {"type": "media", "mime_type": "image/png", "file_uri": URL}, URL),
    ("Bedrock", {"image": {"format": "png", "source": {"bytes": DATA}}}, DATA),
    ("LangChain", {"type": "image", "base64": TEXT, "mime_type": "image/png", "id": "lc_1"}, DATA),
    ("LangChain, a URL", {"type": "image", "url": URL}, URL),
    ("LangChain, a file", {"type": "file", "base64": TEXT, "mime_type": "image/png"}, DATA),
    ("LangChain 0", {"type": "image", "source_type": "base64", "data": TEXT, "mime_type": "image/png"}, DATA),
    ("LangChain 0, a URL", {"type": "image", "source_type": "url", "url": URL}, URL),
    ("LangChain, other", {"type": "non_standard", "value": {"type": "image", "base64": TEXT}}, DATA),
    ("MCP", {"type": "image", "data": TEXT, "mimeType": "image/png"}, DATA),
    ("MCP, a resource", {"type": "resource", "resource": {"uri": "x:a", "mimeType": "image/png", "blob": TEXT}}, DATA),
    ("AI SDK", {"type": "image", "image": URI, "mediaType": "image/png"}, URI),
    ("AI SDK, a URL", {"type": "image", "image": URL}, URL),
    ("AI SDK, a file", {"type": "file", "data": TEXT, "mediaType": "image/png"}, DATA),
    ("url-safe, unpadded", {"type": "image", "base64": "__79"}, b"\xff\xfe\xfd"),
    ("line breaks", {"type": "image", "base64": f"{TEXT[:4]}\n{TEXT[4:]}"}, DATA),
    ("OpenAI's screenshot", {"type": "computer_screenshot", "image_url": URI}, URI),
    ("a file by its URL", {"type": "file", "url": URL}, URL),
    ("a file by its URL, with a query", {"type": "file", "url": f"{URL}?a=b.pdf#c"}, f"{URL}?a=b.pdf#c"),
    ("a type that tells nothing", {"type": "file", "mime_type": "application/octet-stream", "filename": "a.png",
                                   "base64": TEXT}, DATA),
    ("a type that tells nothing, a URL", {"type": "file", "mime_type": "binary/octet-stream", "url": URL}, URL),
    ("a file by its name", {"type": "file", "file": {"filename": "a.webp", "file_data": TEXT}}, DATA),
]  # fmt: skip
OTHERS: list[dict[str, Any]] = [
    {"type": "text", "text": URL},
    {"type": "text", "text": "a", "image_url": URL},
    {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{TEXT}"}},
    {"type": "file", "mime_type": "application/pdf", "base64": TEXT},
    {"type": "file", "mime_type": "application/pdf", "url": URL},
    {"type": "file", "url": "https://example.com/a.pdf?b=c.png"},
    {"type": "file", "url": "https://example.com/a"},
    {"type": "file", "mime_type": "application/octet-stream", "filename": "a.bin", "base64": TEXT},
    {"type": "media", "mime_type": "video/mp4", "file_uri": "gs://a/b"},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"inline_data": {"mime_type": "audio/wav", "data": TEXT}},
    {"video": {"format": "mp4", "source": {"bytes": DATA}}},
    {"document": {"format": "pdf", "name": "a", "source": {"bytes": DATA}}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": TEXT}},
    {"type": "tool_use", "id": "1", "name": "draw", "input": {"image_url": URL}},
    {"type": "resource", "resource": {"uri": "x://a", "mimeType": "text/plain", "text": "a"}},
    {"type": "reasoning", "reasoning": "a"},
    {},
]
ELSEWHERE: list[tuple[dict[str, Any], str]] = [
    ({"type": "input_image", "file_id": "file-1"}, "file-1"),
    ({"type": "computer_screenshot", "file_id": "file-7"}, "file-7"),
    ({"type": "image", "source": {"type": "file", "file_id": "file_2"}}, "file_2"),
    ({"type": "file", "file": {"file_id": "file-6", "format": "image/png"}}, "file-6"),
    ({"type": "image", "source_type": "id", "id": "img-3"}, "img-3"),
    ({"type": "image", "file_id": "file-4"}, "file-4"),
    ({"type": "image_file", "image_file": {"file_id": "file-5"}}, "file-5"),
    ({"file_data": {"mime_type": "image/png", "file_uri": "gs://bucket/a.png"}}, "gs://bucket/a.png"),
    ({"type": "media", "mime_type": "image/png", "file_uri": "files/abc"}, "files/abc"),
    ({"type": "media", "mime_type": "image/png", "file_uri": OF_GOOGLE}, OF_GOOGLE),
    ({"type": "media", "mimeType": "image/png", "fileUri": OF_GOOGLE}, OF_GOOGLE),
    ({"fileData": {"mimeType": "image/png", "fileUri": OF_GOOGLE}}, OF_GOOGLE),
    ({"type": "image_url", "image_url": {"url": OF_GOOGLE}}, OF_GOOGLE),
    ({"type": "image", "url": OF_GOOGLE.replace("generativelanguage", "GenerativeLanguage")}, "files/abc"),
    ({"type": "image_url", "image_url": {"url": "s3://bucket/a.png"}}, "s3://bucket/a.png"),
    ({"type": "image", "url": "file:///etc/a.png"}, "file:///etc/a.png"),
    ({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a/b.png"}}}}, "s3://a/b.png"),
    ({"type": "image", "base64": "§§§"}, "not base64"),
    ({"type": "image"}, "type"),
    ({"type": "image_url", "image_url": {}}, "image_url"),
    ({"type": "image_url", "image_url": ""}, "image_url"),
]


@pytest.mark.parametrize(("block", "expected"), [row[1:] for row in PICTURES], ids=[row[0] for row in PICTURES])
def test_each_providers_picture_is_found(block: dict[str, Any], expected: str | bytes) -> None:
    assert picture_in(block) == expected
    assert picture_in(block, expected=True) == expected


def test_an_object_is_read_like_its_mapping() -> None:
    class Block:
        def model_dump(self, **_: object) -> dict[str, Any]:
            return {"type": "image_url", "image_url": {"url": URL}}

    assert picture_in(Block()) == URL


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_a_block_without_a_picture_is_none(block: dict[str, Any]) -> None:
    assert picture_in(block) is None


@pytest.mark.parametrize("block", [{"a": 1}, {}, {"type": "text", "text": "a"}, 5, None, {"url": 5}], ids=str)
def test_where_a_picture_is_expected_there_must_be_one(block: object) -> None:
    with pytest.raises(ReferenceImageError, match="a picture can't be found"):
        picture_in(block, expected=True)


@pytest.mark.parametrize(("block", "named"), ELSEWHERE, ids=[str(row[0]) for row in ELSEWHERE])
def test_a_picture_that_only_its_provider_has_is_refused_by_name(block: dict[str, Any], named: str) -> None:
    with pytest.raises(ReferenceImageError) as refusal:
        picture_in(block)
    assert named in str(refusal.value)


NAMES = st.sampled_from(
    [
        "type",
        "url",
        "data",
        "image_url",
        "source",
        "file_id",
        "mime_type",
        "base64",
        "image",
        "file",
        "inline_data",
        "id",
    ]
)
LEAVES = st.none() | st.integers() | st.text(max_size=6) | st.binary(max_size=4)
LEAVES |= st.sampled_from(["image", "image_url", "file", "image/png", URL, URI, "gs://a", "text"])


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner), max_leaves=8))
def test_any_block_is_read_or_refused(block: object) -> None:
    try:
        found = picture_in(block)
    except ReferenceImageError:
        return
    assert found is None or isinstance(found, (str, bytes))
