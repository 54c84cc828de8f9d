"""Multipart forms: what an OpenAI client makes of lists and objects when it uploads files, and how to read it back.

An edit travels as a form, whose values are texts. The OpenAI client writes ``{"a": {"b": "c"}}`` as a field ``a[b]``,
and a list as several fields ``a[]``, of which LiteLLM's proxy keeps the last one only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from apimaster.errors import BadRequestError

_BRACKETS: Final = re.compile(r"\[([^\]]*)\]")


def unfolded(arguments: Mapping[str, Any], lists: frozenset[str]) -> dict[str, Any]:
    """The arguments with fields such as ``a[b]`` put back into objects.

    Args:
        arguments: as LiteLLM hands them over, from a form or not.
        lists: names whose values are lists.

    Raises:
        BadRequestError: a list came as several fields, and all but one are lost.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        root, bracket, _ = name.partition("[")
        if not bracket or not name.endswith("]"):
            found[name] = value
            continue
        path = _BRACKETS.findall(name)
        if root in lists and path == [""] and not isinstance(value, list):
            raise BadRequestError(
                f"{root} came as several fields of a form, of which LiteLLM's proxy keeps only one: send them as one "
                f'JSON text, extra_body={{"{root}": json.dumps([…])}}'
            )
        _put(found, [root, *(key for key in path if key)], value)
    return found


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    *way, last = path
    for key in way:
        below = into.get(key)
        if not isinstance(below, dict):
            below = into[key] = {}
        into = below
    into[last] = value
