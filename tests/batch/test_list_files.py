"""Lists of images: every fault with its line, ids that stay the same."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from apimaster import ImageRequest
from apimaster.adapters import is_reserved_file_name, safe_file_stem
from apimaster.batch import InvalidLines
from apimaster.batch.image_list import ImageListBuilder
from apimaster.batch.list_files import parse_list, read_list_file
from apimaster.errors import BadRequestError

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000003000100"
    "18dd8db00000000049454e44ae426082"
)


def prompts(text: str, **options: Any) -> list[str]:
    return [image.request.prompt for image in parse_list(text, **options)]


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("a cat\n\n  a dog \r\n", None, ["a cat", "a dog"]),
        ("# a comment\na cat\n", None, ["a cat"]),
        ("\\# begins with a sign\n", None, ["# begins with a sign"]),
        ("a\u2028b\n", None, ["a\u2028b"]),
        ('{"prompt": "a cat"}\n\n{"prompt": "a dog", "resolution": "2k"}', None, ["a cat", "a dog"]),
        ("prompt,resolution\na cat,2K\n\na dog,\n", None, ["a cat", "a dog"]),
        ('prompt;tags\n"a cat; a hat";x|y\n', None, ["a cat; a hat"]),
        ("Prompt\tid\na cat\tone\n", None, ["a cat"]),
        ('prompt\n"two\nlines"\n', "csv", ["two\nlines"]),
        ("prompt\n", "text", ["prompt"]),
    ],
)
def test_formats(text: str, form: Any, expected: list[str]) -> None:
    assert prompts(text, form=form) == expected


def test_a_csv_row_sets_every_field() -> None:
    text = (
        "id,prompt,aspect_ratio,resolution,n,references,tags,google_search,extra_body\n"
        'hero,a cat,16x9,2k,1,https://x.example/a.png|https://x.example/b.png,"[""x, y"", ""z""]",yes,"{""seed"": 7}"\n'
    )
    (image,) = parse_list(text)
    assert (image.id, image.line, image.tags) == ("hero", 2, ("x, y", "z"))
    request = image.request
    assert (request.aspect_ratio, request.resolution, request.google_search) == ("16:9", "2K", True)
    assert [str(reference) for reference in request.references] == [
        "https://x.example/a.png",
        "https://x.example/b.png",
    ]
    assert request.extra_body == {"seed": 7}


def test_every_fault_is_listed_with_its_line() -> None:
    text = "\n".join(
        [
            '{"prompt": "fine", "id": "a"}',
            '{"prompt": ""}',
            "{not json",
            '{"prompt": "x", "resolution": "3K"}',
            '{"prompt": "x", "sice": "1:1"}',
            '["x"]',
            '{"prompt": "x", "id": "A"}',
            '{"prompt": "x", "id": "../x"}',
            '{"resolution": "1K"}',
            '{"prompt": "x", "n": 0}',
            '{"prompt": "x", "prompt": "y"}',
            '{"prompt": "x", "tags": {"a": 1}}',
        ]
    )
    with pytest.raises(InvalidLines) as caught:
        parse_list(text)
    found = {fault.line: str(fault) for fault in caught.value.faults}
    expected = {
        2: "prompt is empty",
        3: "not JSON",
        4: "0.5K, 1K, 2K, 4K",
        5: "'sice' not known",
        6: "an object with a prompt",
        7: "taken by line 1",
        8: "can't name a file",
        9: "prompt is missing",
        10: "n must be a whole number",
        11: "given twice",
        12: "tags must be",
    }
    assert found.keys() == expected.keys()
    for number, part in expected.items():
        assert part in found[number]
    assert "line 12: tags" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("prompt,colour\nx,red\n", 1, "not known as a column: 'colour'"),
        ("id,resolution\nx,1K\n", 1, "one of them must be prompt"),
        ("prompt,prompt\nx,y\n", 1, "named twice"),
        ("prompt,n\nx,many\n", 2, "whole number"),
        ("prompt,google_search\nx,perhaps\n", 2, "true, yes"),
        ("prompt,id\nx,a,b\n", 2, "Put quotes"),
        ('prompt,extra_body\nx,{"seed\n', 2, "extra_body"),
        ('prompt\n"x\n', 2, "not CSV"),
    ],
)
def test_faults_of_csv(text: str, line: int, part: str) -> None:
    with pytest.raises(InvalidLines) as caught:
        parse_list(text, form="csv")
    (fault,) = caught.value.faults
    assert fault.line == line
    assert part in str(fault)


def test_many_faults_are_cut_short_in_the_message_only() -> None:
    with pytest.raises(InvalidLines, match="120 faults") as caught:
        parse_list("{\n" * 120)
    assert len(caught.value.faults) == 120
    assert "and 70 more" in str(caught.value)


def test_made_ids_are_stable_and_tell_lines_apart() -> None:
    first = [image.id for image in parse_list("a cat\na dog\na cat")]
    later = [image.id for image in parse_list("new on top\na cat\na dog\na cat")]
    assert later[1:] == first
    assert first[0].startswith("a-cat-")
    assert first[2] == first[0] + "-2"
    other = parse_list("a cat", defaults={"resolution": "2K"})[0].id
    assert other != first[0]
    (only,) = parse_list("星空\n")
    assert only.id.startswith("image-")


RESERVED = [
    *("CON", "con", "PRN", "AUX", "nul", "COM1", "com9", "LPT1", "lpt9", "COM0"),
    *("COM¹", "com²", "LPT³", "CONIN$", "conout$"),
    *("aux.txt", "com1.x", "NUL.tar.gz", "nul .png", "cat.", "cat ", "cat. ."),
]
NOT_RESERVED = ["cat", "console", "CON1", "com", "COM10", "COM⁴", "lpt", "a.con", "_nul", "nul-1", "CONIN", "x$", "a.b"]


@pytest.mark.parametrize("name", [*RESERVED, *NOT_RESERVED])
def test_names_that_windows_reserves(name: str) -> None:
    assert is_reserved_file_name(name) == (name in RESERVED)
    assert not is_reserved_file_name(safe_file_stem(name))


@pytest.mark.parametrize("name", [name for name in RESERVED if not name.endswith(" ")])
def test_an_id_that_windows_reserves_is_refused(name: str) -> None:
    with pytest.raises(InvalidLines, match="no name that Windows reserves, such as CON") as caught:
        parse_list(json.dumps({"prompt": "x", "id": name}))
    assert f"line 1: id {name!r} can't name a file" in str(caught.value)


@pytest.mark.parametrize("name", ["cat", "console", "COM10", "a.con", "nul-1", "a.b", "7"])
def test_other_ids_are_accepted(name: str) -> None:
    assert parse_list(json.dumps({"prompt": "x", "id": name}))[0].id == name


@pytest.mark.parametrize("prompt", [*(name for name in RESERVED), "...", "-", "con con", "  nul\n"])
def test_an_id_that_is_made_from_a_prompt_is_never_reserved(prompt: str) -> None:
    builder = ImageListBuilder()
    for line in (1, 2):
        builder.add(line, prompt)
    builder.add(3, ImageRequest(prompt=prompt, n=2))
    assert not any(is_reserved_file_name(image.id) for image in builder.finish())


def test_n_images_of_a_line_are_n_planned_images() -> None:
    images = parse_list('{"prompt": "x", "n": 3, "id": "cat"}')
    assert [(image.id, image.request.n) for image in images] == [("cat-1", 1), ("cat-2", 1), ("cat-3", 1)]


def test_a_line_overrides_the_defaults() -> None:
    images = parse_list(
        '{"prompt": "x"}\n{"prompt": "y", "resolution": "4K"}', defaults={"resolution": "2K", "model": None}
    )
    assert [image.request.resolution for image in images] == ["2K", "4K"]


def test_requests_and_mappings_from_python() -> None:
    builder = ImageListBuilder()
    builder.add(1, ImageRequest(prompt="x", n=2))
    builder.add(2, {"prompt": "y", "id": 7, "tags": "one"})
    builder.add(3, 5)  # type: ignore[arg-type]  # what a caller may get wrong
    assert [(image.line, image.tags) for image in builder.images] == [(1, ()), (1, ()), (2, ("one",))]
    with pytest.raises(InvalidLines, match="not 'int'"):
        builder.finish()


def test_references_are_checked_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "page.png").write_text("<html>")
    lists = tmp_path / "list.jsonl"
    lists.write_text(
        "\n".join(
            json.dumps({"prompt": "x", "references": reference})
            for reference in ("cat.png", ["cat.png", "page.png"], ["gone.png"], "https://x.example/a.png")
        )
    )
    with pytest.raises(InvalidLines) as caught:
        read_list_file(str(lists))
    assert {fault.line for fault in caught.value.faults} == {2, 3}
    assert "reference 2" in caught.value.faults[0].message
    lists.write_text(json.dumps({"prompt": "x", "references": "cat.png"}))
    (image,) = read_list_file(str(lists))
    assert str(image.request.references[0]) == str(tmp_path / "cat.png")


MASKED = {"prompt": "x", "model": "gpt-image-2", "references": "cat.png"}


def test_a_mask_is_checked_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "mask.png").write_bytes(PNG)
    (tmp_path / "empty.png").write_bytes(b"")
    masks = ["mask.png", "gone.png", "empty.png", "https://x.example/mask.png", ["mask.png"], 7]
    entries = [{**MASKED, "mask": mask} for mask in masks]
    lists = tmp_path / "list.jsonl"
    for more in ({"model": "nano-banana-2"}, {"references": None}):
        lists.write_text(json.dumps({**MASKED, "mask": "mask.png", **more}))
        with pytest.raises(
            InvalidLines, match=r"line 1: (mask can.t be set: gemini.* takes no mask|mask is given without)"
        ):
            read_list_file(str(lists))
    lists.write_text("\n".join(map(json.dumps, entries)))
    with pytest.raises(InvalidLines) as caught:
        read_list_file(str(lists))
    assert [fault.line for fault in caught.value.faults] == [5, 6]
    lists.write_text("\n".join(map(json.dumps, entries[:4])))
    with pytest.raises(InvalidLines) as caught:
        read_list_file(str(lists))
    assert [fault.line for fault in caught.value.faults] == [2, 3]
    assert all("the mask" in fault.message for fault in caught.value.faults)
    lists.write_text("\n".join(map(json.dumps, entries[::3])))
    first, second = read_list_file(str(lists))
    assert (str(first.request.mask), str(second.request.mask)) == (str(tmp_path / "mask.png"), masks[3])
    assert first.id != second.id


def test_a_table_may_have_a_column_of_masks(tmp_path: Path) -> None:
    for name in ("cat.png", "mask.png"):
        (tmp_path / name).write_bytes(PNG)
    lists = tmp_path / "list.csv"
    lists.write_text("prompt,model,references,mask\na,gpt-image-2,cat.png,mask.png\nb,gpt-image-2,cat.png,\n")
    first, second = read_list_file(str(lists))
    assert (str(first.request.mask), second.request.mask) == (str(tmp_path / "mask.png"), None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="can't be read"):
        read_list_file(str(tmp_path / "gone.txt"))
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(BadRequestError, match="no lines"):
        read_list_file(str(tmp_path / "empty.txt"))
    (tmp_path / "latin.txt").write_bytes(b"ok\nk\xe4se\n")
    with pytest.raises(BadRequestError, match="line 2: not UTF-8"):
        read_list_file(str(tmp_path / "latin.txt"))
    with pytest.raises(BadRequestError, match="format 'xml'"):
        parse_list("x", form="xml")  # type: ignore[arg-type]  # what a caller may get wrong


def test_stdin_and_a_byte_order_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa cat\n")))
    assert [image.request.prompt for image in read_list_file("-")] == ["a cat"]
