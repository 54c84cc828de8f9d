"""Any bytes as a list: images, or an error that is free and says what is wrong. Nothing else leaves the reader."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apimaster.batch.image_list import ImageListBuilder
from apimaster.batch.list_files import Format, read_image_list
from apimaster.errors import BadRequestError

FIELDS = ["prompt", "id", "tags", "n", "aspect_ratio", "references", "extra_body", "custom_id", "body", "url", "images"]
SIGNS = list('{:}[]{}",;#|>=é')
WORDS = [
    "a cat",
    "sep=;",
    "- ",
    ": ",
    "\\#",
    "&a ",
    "*a ",
    "<<",
    "!!python/name:os",
    "---",
    "NaN",
    "1e999",
    "%YAML 1.1\n",
]
BLANKS = ["\t", "\n", "\r\n", "\r", " ", "\ufeff", "\\ud800", "\\u0000"]
PIECES = st.sampled_from([*FIELDS, *SIGNS, *WORDS, *BLANKS])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4),
    max_leaves=12,
)
FORMS = st.sampled_from([None, "jsonl", "json", "csv", "yaml", "text"])


@contextmanager
def as_stdin(data: bytes) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        yield


def check(data: bytes, form: Format | None) -> None:
    with as_stdin(data):
        try:
            images = read_image_list("-", form=form).images
        except BadRequestError as error:
            refusal: BadRequestError | None = error
            images = []
        else:
            refusal = None
    if refusal is not None:
        assert refusal.billed == "no"
        str(refusal).encode("utf-8")
        return
    assert images
    for image in images:
        assert image.request.prompt.strip()
        image.request.model_dump_json()
        json.dumps(image.tags, ensure_ascii=False).encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), FORMS)
def test_any_bytes(data: bytes, form: Format | None) -> None:
    check(data, form)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join), FORMS, st.sampled_from(["utf-8", "utf-16", "utf-16-le"]))
def test_pieces_of_every_format(text: str, form: Format | None, encoding: str) -> None:
    check(text.encode(encoding, "surrogatepass"), form)


@settings(max_examples=300, deadline=None)
@given(VALUES, FORMS)
def test_any_json(value: Any, form: Format | None) -> None:
    check(json.dumps(value).encode(), form)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_entry_from_python(value: Any) -> None:
    builder = ImageListBuilder()
    builder.add(1, value)
    for image in builder.images:
        image.request.model_dump_json()
    for fault in builder.faults:
        str(fault).encode("utf-8")
