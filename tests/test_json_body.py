"""The streamed JSON body: the intended JSON arrives, in little memory, without blocking a loop."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from PIL import Image

from apimaster._references.checked import check_references
from apimaster._references.reference import Reference
from apimaster._wire.json_body import PIECE, STEP, StreamedBody, json_body
from apimaster.errors import BadRequestError, ReferenceImageError


def picture(size: int, seed: int = 0) -> bytes:
    """``size`` bytes with the beginning and the end of a PNG."""
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG")
    frame = out.getvalue()
    noise = bytes((i * 7 + seed) % 251 for i in range(251)) * (size // 251 + 1)
    return frame[:-12] + noise[: size - len(frame)] + frame[-12:]


def built(*values: Any, fields: dict[str, object] | None = None) -> bytes | StreamedBody:
    references = [Reference.of(value) for value in values]
    ready = check_references(references, max_count=99, max_bytes=1 << 24, model="m")
    return json_body({"prompt": "a cat"} if fields is None else fields, {"image_urls": ready})


def streamed(*values: Any) -> StreamedBody:
    body = built(*values)
    assert isinstance(body, StreamedBody)
    return body


def read_body(body: StreamedBody) -> bytes:
    return b"".join(body)


def read_body_in_a_loop(body: StreamedBody) -> bytes:
    async def collect() -> bytes:
        return b"".join([piece async for piece in body])

    return asyncio.run(collect())


BOTH = pytest.mark.parametrize("read", [read_body, read_body_in_a_loop])

# Around every boundary: base64 groups, pieces, steps.
SIZES = [100, 101, 102, PIECE - 1, PIECE, PIECE + 1, STEP - 1, STEP, STEP + 1, 2 * STEP + PIECE + 2]


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_the_intended_json_arrives(read: Callable[[StreamedBody], bytes], size: int, tmp_path: Path) -> None:
    data = picture(size)
    path = tmp_path / "x"
    path.write_bytes(data)
    url = 'https://example.com/ü?a="b"'
    body = streamed(path, url, data, path)
    sent = read(body)
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    assert json.loads(sent) == {"prompt": "a cat", "image_urls": [uri, url, uri, uri]}
    assert len(sent) == body.length
    assert read(body) == sent  # a retry sends it again


def test_plain_bytes_if_nothing_is_streamed() -> None:
    assert built() == b'{"prompt":"a cat"}'
    assert built("https://e.com/x", fields={}) == b'{"image_urls":["https://e.com/x"]}'
    assert json_body({}, {}) == b"{}"
    assert built(fields={"a": [1, {"b": None}], "ü": '日本 \n "☃" \U0001f600'}) == (
        '{"a":[1,{"b":null}],"ü":"日本 \\n \\"☃\\" \U0001f600"}'.encode()
    )


def test_several_arrays_and_an_empty_one() -> None:
    (one,) = check_references([Reference.of(picture(100))], max_count=1, max_bytes=1000, model="m")
    body = json_body({"p": 1}, {"none": (), "image_urls": (one,), "masks": (one, one)})
    assert {key: len(value) for key, value in json.loads(b"".join(body)).items() if key != "p"} == {  # type: ignore[arg-type]
        "image_urls": 1,
        "masks": 2,
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("half \ud83d", r"extra holds half a character \(the lone surrogate U\+D83D\)"),
        (float("nan"), "extra can't be written as JSON"),
        ({1, 2}, "extra can't be written as JSON: .*set"),
        (b"x", "extra can't be written as JSON: .*bytes"),
    ],
)
def test_values_that_json_cannot_hold_are_refused(value: object, reason: str) -> None:
    with pytest.raises(BadRequestError, match=reason):
        json_body({"prompt": "x", "extra": value}, {})


def test_a_circular_list_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(BadRequestError, match="extra can't be written"):
        json_body({"extra": circle}, {})


def rewrite(path: Path) -> None:
    path.write_bytes(picture(3 * STEP, seed=1))
    os.utime(path, ns=(1, 1))


CHANGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("grown", lambda path: path.write_bytes(path.read_bytes() + b"x"), "was changed"),
    ("cut", lambda path: os.truncate(path, 1000), "was changed"),
    ("rewritten", rewrite, "was changed"),
    ("removed", lambda path: path.unlink(), "can't be read any more: there is no such file"),
    ("a folder", lambda path: (path.unlink(), path.mkdir()), "can't be read any more: it is a folder"),
]


@BOTH
@pytest.mark.parametrize(("how", "change", "reason"), CHANGES, ids=[change[0] for change in CHANGES])
def test_a_file_that_changed_before_sending(
    read: Callable[[StreamedBody], bytes], how: str, change: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture(3 * STEP))
    body = streamed(path)
    change(path)
    with pytest.raises(ReferenceImageError, match=reason) as refused:
        read(body)
    assert "cat.png" in str(refused.value)
    assert refused.value.billed == "no"


@pytest.mark.parametrize("change", [change[1] for change in CHANGES[:3]], ids=[change[0] for change in CHANGES[:3]])
@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_file_that_changes_while_it_is_sent(
    change: Callable[[Path], object], in_a_loop: bool, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture(3 * STEP))
    body = streamed(path)
    sent = bytearray()

    def arrive(number: int, piece: bytes) -> None:
        if number == 3:
            change(path)
        sent.extend(piece)

    def read() -> None:
        for number, piece in enumerate(body):
            arrive(number, piece)

    async def read_in_a_loop() -> None:
        number = 0
        async for piece in body:
            arrive(number, piece)
            number += 1

    with pytest.raises(ReferenceImageError, match="was changed"):
        asyncio.run(read_in_a_loop()) if in_a_loop else read()
    assert 3 * PIECE < len(sent) < body.length  # cut in the middle, so the request was not whole


def test_two_readers_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture(3 * PIECE))
    body = streamed(path)
    pairs = list(zip(body, body, strict=True))
    assert b"".join(left for left, _ in pairs) == b"".join(right for _, right in pairs) == b"".join(body)


def test_the_loop_is_never_blocked_and_nothing_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture(2 * STEP))
    body = streamed(path)
    before = set(os.listdir("/dev/fd"))

    async def stop_early() -> None:
        with blockbuster_ctx():
            async for _ in body:
                pass
            async for _ in body:
                break

    asyncio.run(stop_early())
    assert len(os.listdir("/dev/fd")) <= len(before)


@pytest.mark.parametrize(("in_a_loop", "limit"), [(False, 1_000_000), (True, 5_000_000)])
def test_memory_does_not_grow_with_the_body(in_a_loop: bool, limit: int, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture(10_000_000))
    body = streamed(*[path] * 3)

    async def drain() -> int:
        return sum([len(piece) async for piece in body])

    tracemalloc.start()
    try:
        assert (asyncio.run(drain()) if in_a_loop else sum(map(len, body))) == body.length
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
