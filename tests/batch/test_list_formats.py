"""What a list holds is read as what it is, whatever its ending, or refused with its line."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apimaster.batch import InvalidLines
from apimaster.batch.list_files import read_image_list
from apimaster.batch.structure import request_in, structure_of, structure_of_most
from apimaster.errors import BadRequestError

TWO = ["a cat", "a dog"]
OBJECTS = [{"prompt": "a cat"}, {"prompt": "a dog", "aspect_ratio": "16:9"}]
OPENAI = [
    {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/images/generations",
        "body": {"prompt": prompt, "size": "1024x1024", "quality": "auto", "response_format": "url"},
    }
    for number, prompt in enumerate(TWO)
]
CSV = 'prompt,aspect_ratio\na cat,16:9\n"a dog",\n'
YAML = "# for the spring\n- prompt: a cat\n  aspect_ratio: 16:9\n  id: 007\n- prompt: 'a dog'\n  n: 1\n"

UNDERSTOOD = {
    "array of texts": json.dumps(TWO),
    "array of objects": json.dumps(OBJECTS),
    "indented array": json.dumps(OBJECTS, indent=2),
    "mixed array": json.dumps(["a cat", {"prompt": "a dog"}]),
    "below images": json.dumps({"images": OBJECTS}, indent=2),
    "below prompts": json.dumps({"prompts": TWO}),
    "below requests": json.dumps({"requests": OBJECTS}),
    "below items": json.dumps({"items": TWO}, indent=1),
    "objects one after another": "\n".join(json.dumps(each, indent=2) for each in OBJECTS),
    "json lines": "\n".join(map(json.dumps, OBJECTS)),
    "json lines with a comment": "# two\n" + "\r\n".join(map(json.dumps, OBJECTS)),
    "old mac lines": "\r".join(map(json.dumps, OBJECTS)),
    "openai": "\n".join(map(json.dumps, OPENAI)),
    "openai in an array": json.dumps(OPENAI, indent=2),
    "csv": CSV,
    "csv with crlf": CSV.replace("\n", "\r\n"),
    "csv below a comment": "# mine\n\n" + CSV,
    "semicolons": CSV.replace(",", ";"),
    "excel": 'sep=;\r\n"prompt";"tags"\r\n"a cat";"x"\r\na dog;y|z\r\n',
    "excel with tabs": "sep=\t\nPrompt\tAspect Ratio\na cat\t16:9\na dog\t\n",
    "one column": "prompt\na cat\na dog\n",
    "yaml": YAML,
    "yaml of texts": "- a cat\n- a dog\n",
    "yaml below images": "images:\n- a cat\n- prompt: a dog\n",
    "yaml documents": "---\nprompt: a cat\n---\nprompt: a dog\n",
    "yaml with a merge": "- &base\n  prompt: a cat\n  resolution: 2K\n- <<: *base\n  prompt: a dog\n",
    "text": "a cat\n\n# not this\na dog",
}
ENDINGS = ["", ".txt", ".json", ".jsonl", ".csv", ".yaml", ".md"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", [kind for kind in UNDERSTOOD if kind != "text"])
def test_the_content_decides_and_not_the_ending(kind: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"list{ending}"
    path.write_bytes(UNDERSTOOD[kind].encode())
    if kind.startswith("yaml") and ending in (".json", ".jsonl", ".csv"):
        with pytest.raises(InvalidLines):  # an ending that contradicts is refused, at least
            read_image_list(str(path))
        return
    assert [image.request.prompt for image in read_image_list(str(path)).images] == TWO


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", UNDERSTOOD)
def test_on_stdin_in_every_encoding(kind: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UNDERSTOOD[kind].encode(encoding))))
    assert [image.request.prompt for image in read_image_list("-").images] == TWO


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", " \u00ad\u3164", "\u2060\u200e"], ids=ascii)
@pytest.mark.parametrize("kind", ["csv", "json lines", "text", "excel", "yaml of texts"])
def test_a_line_without_a_visible_character_is_an_empty_line(kind: str, blank: str, tmp_path: Path) -> None:
    if kind == "yaml of texts":
        lines = ["- a cat", f"- '{blank}'", "- a dog"]
        (tmp_path / "list").write_text("\n".join(lines), encoding="utf-8")
        with pytest.raises(InvalidLines, match="line 2, item 2: prompt is empty"):  # an entry, not a line
            read_image_list(str(tmp_path / "list"))
        return
    lines = UNDERSTOOD[kind].replace("\r", "").rstrip("\n").split("\n")
    for place in range(len(lines) + 1):
        text = "\n".join([*lines[:place], blank, *lines[place:]])
        (tmp_path / "list").write_text(text, encoding="utf-8")
        assert [image.request.prompt for image in read_image_list(str(tmp_path / "list")).images] == TWO


def test_a_chinese_list_in_utf_16_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("prompt;id\n一只在雨中的狐狸;a\n灯塔;b\n".encode("utf-16-le"))
    assert [image.request.prompt for image in read_image_list(str(path)).images] == ["一只在雨中的狐狸", "灯塔"]


def test_texts_of_yaml_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "list.yml"
    path.write_text("- prompt: yes\n  aspect_ratio: 16:9\n  id: 007\n  tags: [2024-01-01, no]\n  google_search: yes\n")
    (image,) = read_image_list(str(path)).images
    assert (image.request.prompt, image.request.aspect_ratio, image.id) == ("yes", "16:9", "007")
    assert (image.tags, image.request.google_search) == (("2024-01-01", "no"), True)


def test_a_line_of_openai_becomes_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_text("\n".join(map(json.dumps, OPENAI)))
    first = read_image_list(str(path)).images[0]
    assert (first.id, first.request.aspect_ratio, first.line) == ("request-0", "1:1", 1)


def openai(**changes: Any) -> str:
    return json.dumps({**OPENAI[0], **changes})


REFUSED = [
    # text of the list, and what the error must say
    ('[{"prompt": "x"}, 5]', ["line 1, item 2", "a prompt, or an object"]),
    (
        '[\n  {"prompt": "x"},\n  {"promt": "y"}\n]',
        ["line 3, item 2", "'promt' not known", "accepted: id, tags, prompt"],
    ),
    ('[\n {"prompt": "x"},\n {"prompt": }\n]', ["line 3, column 13", "not JSON"]),
    ('["a",\n]', ["line 2", "comma before the end"]),
    ('["a cat"', ["line 1", "not JSON"]),
    ('["a cat"]\n["a dog"]', ["line 2", "Extra data"]),
    ('{"pictures": ["a"]}', ["the list is under 'pictures'", "images, prompts, requests, items"]),
    ('{"version": 1, "images": ["a"]}', ["beside the list 'images': 'version'"]),
    ('{"hero": {"prompt": "x"}}', ["'hero' not known"]),
    ('[{"prompt": "x", "prompt": "y"}]', ["'prompt' is given twice"]),
    ('[{"prompt": "x", "extra_body": {"a": NaN}}]', ["NaN is not a number"]),
    ("[" * 5000, ["line 1"]),
    ('{"prompt": "x", "extra_body": ' + '{"a":' * 50000, ["line 1"]),
    ('{"prompt": "\\ud800 x", "id": "a"}', ["line 1: prompt", "U+D800"]),
    ('{"prompt": "x", "tags": ["a\\udfff"]}', ["line 1: tag", "U+DFFF"]),
    ('{"prompt": "x", "extra_body": {"a": ["\\ud800"]}}', ["line 1: extra_body", "U+D800"]),
    ('{"prompt": "x", "client_reference_id": "\\ud800"}', ["line 1: client_reference_id"]),
    ('{"prompt": "x\\u0000"}', ["line 1: prompt holds a NUL"]),
    ('{"prompt": "x", "id": "\\ud800"}', ["line 1: id"]),
    ('{"prompt": "x", "\\ud800": 1}', ["line 1: '\\ud800' not known"]),
    (openai(url="/v1/chat/completions"), ["url '/v1/chat/completions'", "only /v1/images/generations"]),
    (openai(url="/v1/images/edits"), ["url '/v1/images/edits'"]),
    (openai(method="GET"), ["method 'GET'", "only POST"]),
    (openai(body="a cat"), ["body must be an object"]),
    (openai(body={"prompt": "x", "quality": "hd"}), ["quality 'hd'", "accepted: size, prompt"]),
    (openai(body={"prompt": "x", "user": "me"}), ["user 'me'"]),
    (openai(priority=1), ["'priority' not known", "custom_id, method, url, body"]),
    ("prompt,colour\nx,red\n", ["line 1", "'colour'", "accepted: id, tags, prompt"]),
    ("id,colour\nx,red\n", ["line 1", "'colour'"]),
    ("subject,colour\nx,red\ny,blue\n", ["line 1", "'subject', 'colour'", "--format text"]),
    ("subject;colour\nx, y;red\n", ["'subject', 'colour'"]),
    ("subject\tcolour\nx\tred\n", ["'subject', 'colour'"]),
    ("prompt|size\nx|y\n", ["line 1", "'prompt|size'"]),
    ('# mine\nprompt,n\n"two\nlines",1\nx,many\n', ["line 5", "whole number"]),
    ("- prompt: x\n  colour: red\n- prompt: y\n  prompt: z\n", ["item 1", "'colour'", "line 4, item 2", "given twice"]),
    ("- prompt: x\n  aspect_ratio: [\n", ["line 3", "not YAML"]),
    ("- prompt: !!python/object/apply:os.system [ls]\n", ["tag"]),
    ("- a cat: a portrait\n- b\n", ["item 1", "'a cat' not known"]),
    ("- &a\n  prompt: x\n  extra_body: {b: *a}\n", ["alias"]),
    ("prompts:\n- a\nmodel: x\n", ["beside the list 'prompts': 'model'"]),
    ('A cat\n{"prompt": "x"}\n', ["line 2", "JSON", "--format text"]),
    ("A cat\n- with a hat\n", ["line 2", "YAML"]),
    ("style: oil\nsubject: cat\n", ["line 1", "line 2", "YAML"]),
    ("<prompts>\n<p>x</p>\n", ["line 1", "XML"]),
    ("[pictures]\nprompt = x\n", ["line 1", "line 2", "settings file"]),
    ('prompts = [\n"a",\n]\n', ["line 1", "line 2", "line 3"]),
    ('("a cat", "a dog")', ["line 1", "code"]),
    ("['a cat', 'a dog']", ["line 1", "JSON or a settings file"]),
    ("[[images]]\nprompt = 'x'\n", ["line 1", "not JSON"]),
    ("- text: a cat\n- text: a dog\n", ["item 1", "'text' not known", "item 2"]),
    ('"a cat"\n{"prompt": "x"}', ["line 2", "JSON"]),
    ("// mine\na cat\n", ["line 1", "comments begin with #"]),
    ("| prompt | size |\n|---|---|\n| a | b |\n", ["line 1"]),
    ("```\na cat\n```\n", ["line 1", "Markdown"]),
    ("null", ["line 1", "a value that is missing"]),
    ("5\n", ["line 1", "values of JSON", "--format text"]),
    ("true", ["line 1", "values of JSON"]),
    ("1\n2\n3\n", ["line 1", "values of JSON"]),
    ("a cat\nundefined\n", ["line 2", "missing"]),
    ("const prompts = ['A cat','A dog']", ["line 1", "code"]),
    ("export const prompts: string[] = ['A cat'];", ["line 1", "code"]),
    ("def draw(prompt):\n    return 'a cat'\n", ["line 1", "code"]),
    ("from PIL import Image\na cat\n", ["line 1", "code"]),
    ("import { cats } from './cats'\n", ["line 1", "code"]),
    ("import numpy as np\n", ["line 1", "code"]),
    ("draw('a cat');\n", ["line 1", "code"]),
    ("if (cats) {\n", ["line 1", "code"]),
    ("\\begin{itemize}\n", ["line 1", "code"]),
    ("INSERT INTO x VALUES ('A cat');", ["line 1", "SQL"]),
    ("insert into prompts (text) values ('A cat'),\n('A dog');\n", ["line 1", "SQL", "line 2"]),
    ("SELECT prompt FROM prompts;", ["line 1", "SQL"]),
    ("CREATE TABLE prompts (id int);", ["line 1", "SQL"]),
    ("From: a\nTo: b\nSubject: c\n", ["line 1", "a mail, or a form"]),
    ("From: a\nSubject: c\n\nHello,\nplease draw cats.\nAnd dogs.\nThank you\n", ["line 1", "a mail"]),
    ("Subject: a cat\nStyle: oil\nLighting: soft\n", ["line 1", "a form whose fields belong together"]),
    ("cat.png\ndog.png\n", ["line 1", "names of image files", "cat.png"]),
    ("# mine\n\npictures/my cat.JPG\nC:\\dog.webp\n/a/b.heic\n", ["line 3", "names of image files"]),
    ("https://host/a\nhttps://host/b?c=d\n", ["line 1", "addresses"]),
    ("2024-01-01 INFO cat\n2024-01-01T10:00:00.1Z [ERROR] dog\n", ["line 1", "a log", "line 2"]),
    ("a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler\n", ["line 2", "another image generator", "line 3"]),
    ("; mine\na cat\n", ["line 1", "comments begin with #"]),
    ("-- mine\na cat\n", ["line 1", "comments begin with #"]),
    ("# only\n# comments\n", ["2 comment lines", "\\#"]),
    ("", ["holds no lines"]),
    ("[]", ["holds no lines"]),
    ('{"images": []}', ["holds no lines"]),
    ("prompt\n", ["holds no lines"]),
]


@pytest.mark.parametrize("ending", [".txt", ""])
@pytest.mark.parametrize(("text", "parts"), REFUSED, ids=[ascii(text[:30]) for text, _ in REFUSED])
def test_what_is_not_understood_is_refused(text: str, parts: list[str], ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"list{ending}"
    path.write_text(text)
    with pytest.raises(BadRequestError) as caught:
        read_image_list(str(path))
    assert str(path) in str(caught.value)
    assert "Nothing was charged" in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"ok\na\0b\n", ["line 2, column 2", "NUL"]),
        (b"ok\nk\xe4se\n", ["line 2", "not UTF-8"]),
        (b"\xff\xfea\0\n\0\0\xd8", ["line 2", "not UTF-16"]),
        (b"ok\n\x1b[31mred\n", ["line 2, column 1", "U+001B"]),
        (b"PK\x03\x04rest", ["spreadsheet", "as CSV"]),
        (b"\x89PNG\r\n\x1a\n", ["a picture"]),
        (b"%PDF-1.7", ["PDF"]),
        (b"{\\rtf1 a}", ["RTF"]),
        (b"\x1f\x8b\x08", ["Unpack"]),
        (bytes(range(256)), ["line"]),
    ],
)
def test_bytes_that_are_no_text(data: bytes, parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(BadRequestError) as caught:
        read_image_list(str(path))
    for part in [str(path), *parts]:
        assert part in caught.value.message + str(caught.value)


@pytest.mark.parametrize(
    "prompt",
    [
        "[wide shot] a cat",
        "1girl, smiling, a hat",
        "Cat: a portrait",
        'A sign that says "open", at night',
        "a cat; a hat",
        "7 cats",
        "* a star",
        "50% grey",
        "(a cat:1.2), oil",
        "From: a distance, a castle",
        "Subject: a fox",
        "Select flowers from a garden, in oil",
        "Update the kitchen, set for two",
        "Let there be light",
        "import goods in a harbour",
        "return of the king",
        "class photo of foxes",
        "var. colours of a leaf",
        "if (only) cats could fly",
        "create a table, set for two",
        "a desktop with a file cat.png",
        "a shop of cat(s) and dog(s)",
        "1984",
        "A true story",
        "Null Island at noon",
        "2024-01-01 fireworks",
        "Steps: a staircase of marble",
    ],
)
def test_free_text_stays_possible(prompt: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{prompt}\nanother, longer one; with signs\n")
    found = read_image_list(str(path))
    assert (found.form, found.images[0].request.prompt) == ("text", prompt)


@pytest.mark.parametrize("prompt", ["- a cat", '{"prompt": "x"}', "prompt", "prompt: x", "a\tb"])
def test_format_text_buys_each_line_as_it_is(prompt: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(prompt)
    assert read_image_list(str(path), form="text").images[0].request.prompt == prompt


def test_names_of_images_in_prose_are_prompts(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("A cat\nFrom: a distance, a castle\ncat.png\nTo: the moon\nA dog\n")
    assert len(read_image_list(str(path)).images) == 5


@pytest.mark.parametrize("start", ["import", "const", "SELECT", "insert into", "if (", "cat", "From: a\nTo:", "def"])
@pytest.mark.parametrize("filling", [" ", "a ", "a", ") ", ".", "=", "'"])
def test_a_long_line_takes_no_time(start: str, filling: str) -> None:
    began = time.thread_time()
    for kind in (structure_of, request_in, lambda text: structure_of_most(text.split("\n"))):
        kind(start + filling * 50_000 + "!")
    assert time.thread_time() - began < 1


def test_a_lone_text_is_no_json_list(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('"a cat"')
    with pytest.raises(InvalidLines, match='an object with a prompt, is expected, not "a cat"'):
        read_image_list(str(path))


def test_yaml_without_pyyaml_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "list.yaml"
    path.write_text(YAML)
    with pytest.raises(BadRequestError, match="PyYAML") as caught:
        read_image_list(str(path))
    assert 'pip install "apimaster[yaml]"' in str(caught.value)


def test_a_yaml_text_that_stands_for_billions_of_values(tmp_path: Path) -> None:
    levels = "\n".join(f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))
    path = tmp_path / "list.yaml"
    path.write_text(f"- prompt: x\n  extra_body:\n    a0: &a0 [1, 2]\n{levels}\n")
    with pytest.raises(InvalidLines, match="more than 100000 values"):
        read_image_list(str(path))
