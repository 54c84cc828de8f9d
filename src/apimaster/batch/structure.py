"""What a text looks like that holds no prompts: code, settings, a mail, names of files. Pure.

Some signs tell by one line. Others are found in prose, too, and count only if most lines have them.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Final

from .csv_rows import cells_of, column_names, delimiter_of
from .image_list import ACCEPTED_FIELDS
from .json_lists import LIST_KEYS

_KNOWN: Final = "|".join(sorted({*ACCEPTED_FIELDS, *LIST_KEYS, "custom_id", "body"}))
FIELD: Final = re.compile(rf"""(-\s+)?["']?({_KNOWN})["']?\s*:(\s|$)""", re.IGNORECASE)
"""A line of YAML with a field of an entry."""

_PLAIN_FIELD: Final = re.compile(r"""(-\s+)?(["']?[a-z_][a-z0-9_-]*["']?:\s+\S|["']?\w[\w -]{0,40}["']?:\s*$)""")
_SQL: Final = re.compile(
    r"(?i:insert\s+into\s+\S+\s*(\(|values|select)|create\s+(table|index|view|database)\s+\S+\s*[(;]"
    r"|delete\s+from\s+\S+\s*(;|where\s)|update\s+\S+\s+set\s+\S+\s*=|values\s*\()"
    r"|SELECT\s.*\sFROM\s|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|VIEW|DATABASE)\s|(BEGIN|COMMIT)\b[^;]*;$"
)
_DECLARATION: Final = re.compile(
    r"(export\s+)?(default\s+)?(const|let|var|val|final|static|public|private)\s+[\w$<>\[\]. :]{1,80}="
    r"|(async\s+)?(def|class|function|func|fn)\s+[\w$]+\s*(\(|\{$|:$)"
    r"|from\s+[\w.]+\s+import\s+[\w(*]|import\s[\w{}*, ]{1,200}\sfrom\s?[\"']|import\s+[\w.]+(\s+as\s+\w+|;)$"
    r"|(module\.)?exports?(\.\w+)?\s*=|export\s+default\b|return\s*[\[{(\"';]"
    r"|(if|for|while|switch)\s*\(.*\)\s*\{?$|\w[\w.$]*\(([\"'\[{].*)?\);?$|\\[a-z]+[{\[]"
)
_STRUCTURE: Final = (
    (re.compile(r"[{}]|\[\s*($|[\"'{\[\]])|\],?$|\[[^\]]*\],?$"), "JSON or a settings file"),
    (re.compile(r"""("[^"]*"|'[^']*')\s*(:|,$)"""), "a part of JSON"),
    (re.compile(r"""\(\s*($|["'(])|\),?$"""), "code"),
    (re.compile(r"-($|\s)|---|%YAML|\.\.\.$"), "YAML, or a list of Markdown"),
    (FIELD, "YAML"),
    (_PLAIN_FIELD, "YAML"),
    (re.compile(r"<[!?/a-zA-Z]"), "XML or HTML"),
    (re.compile(r"```|~~~|\|.*\|$"), "Markdown"),
    (re.compile(r"[\w.]+\s*=(\s*[\[{\"'(]|\s+\S|\S*$)"), "a settings file or code"),
    (re.compile(r"//|/\*|;|--\s"), "a comment (comments begin with #) or code"),
    (re.compile(r"""("[^"]*"|)\t|[^\t]+\t"""), "a table with tabs"),
    (re.compile(r'"[^"]*"[,;]'), "CSV"),
    (_SQL, "SQL"),
    (_DECLARATION, "code"),
    (re.compile(r"(null|undefined|NaN)$"), "a value that is missing"),
    (re.compile(r"\[?\d{4}-\d\d-\d\d([T ][\d:.,Z+-]+)?\]?\s+\W?(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)"), "a log"),
    (re.compile(r"Negative prompt:|Steps: \d+, "), "settings of another image generator"),
)

_NOTHING: Final = re.compile(r"null|true|false|None|True|False|undefined|NaN")
_VALUE: Final = re.compile(rf"{_NOTHING.pattern}|[-+]?[0-9][0-9_.,]*([eE][-+]?[0-9]+)?")
_PICTURE: Final = re.compile(
    r"(file:|https?:)?[^,;:!?\"'\s]*( [^,;:!?\"'\s]+){0,3}\.(png|jpe?g|jfif|webp|gif|hei[cf]|avif|tiff?|bmp|svg)",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"(https?|ftp|file|s3|gs|data):\S+", re.IGNORECASE)
_MOSTLY: Final = (
    (_VALUE, "values of JSON"),
    (_PICTURE, "names of image files"),
    (_ADDRESS, "addresses"),
)
_HEADER: Final = re.compile(
    r"(From|To|Cc|Bcc|Subject|Date|Sent|Sender|Reply-To|Return-Path|Received|Delivered-To|Message-I[Dd]|In-Reply-To"
    r"|References|MIME-Version|Content-[A-Z][\w-]*|X-[A-Z][\w-]*|Host|Server|User-Agent|Accept(-\w+)?|Authorization"
    r"|Cookie|Set-Cookie|Title|Author|Name|Version|Description|Style|Lighting|Camera|Mood|Background|Composition"
    r"|Setting|Colou?rs?|Negative[ -]prompt):(\s|$)"
)
_REQUEST_KEYS: Final = frozenset({"prompt", "custom_id", "body", "messages", "contents", *LIST_KEYS})


def structure_of(line: str) -> str | None:
    """What a line looks like that is no prompt; None for a prompt."""
    for pattern, kind in _STRUCTURE:
        if pattern.match(line):
            return kind
    return None


def structure_of_most(lines: Sequence[str]) -> str | None:
    """What most of these lines look like, none of which is blank; None for prompts."""
    for pattern, kind in _MOSTLY:
        if 2 * sum(pattern.fullmatch(line) is not None for line in lines) > len(lines):
            return kind
    names = [found.group(1) for line in lines if (found := _HEADER.match(line))]
    first = [_HEADER.match(line) is not None for line in lines[:2]]
    several = len(set(names)) > 1
    if several and (2 * len(names) > len(lines) or (len(first) > 1 and all(first))):
        return "a mail, or a form whose fields belong together"
    return None


def request_in(text: str) -> str | None:
    """Which structure with requests, or with several prompts, a text is that should be one prompt; None if it is none.

    A prompt may be JSON of the caller's own, as in ``{"scene": "a beach"}``.
    """
    text = text.strip().removeprefix("\ufeff")
    if _NOTHING.fullmatch(text):
        return f"the value {text}"
    lines = itertools.dropwhile(lambda line: not line.strip() or line.startswith(("#", "---")), text.split("\n"))
    text = "\n".join(lines)  # without the comments above it
    if re.match(r"[{\[\s]*\"(prompts?|custom_id)\"\s*:", text):  # also of JSON that is broken further down
        return "JSON with a request"
    try:
        found = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _table_or_yaml_in(text)
    if isinstance(found, list):
        return "a list in JSON" if all(isinstance(each, (str, dict)) for each in found) else None
    if isinstance(found, dict) and not found.keys().isdisjoint(_REQUEST_KEYS):
        return "JSON with a request"
    return None


def _table_or_yaml_in(text: str) -> str | None:
    first, _, below = text.partition("\n")
    if re.match(r"(-\s+)?[\"']?prompts?[\"']?:(\s|$)", first):
        return "YAML with a request"
    names = column_names(cells_of(first, delimiter_of(first)))
    if below and len(names) > 1 and "prompt" in names and set(names) <= set(ACCEPTED_FIELDS):
        return "a table with requests"
    return None
