"""How an OpenAI client writes lists and objects into a multipart form, and how to read them back.

An edit is sent as a form, whose values are texts. The OpenAI client writes ``{"a": {"b": "c"}}`` as a field ``a[b]``,
and a list as several fields ``a[]``, of which LiteLLM's proxy keeps only the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from apimaster.errors import BadRequestError

_BRACKETS: Final = re.compile(r"\[([^\]]*)\]")


def nest_bracketed_fields(arguments: Mapping[str, Any], lists: frozenset[str]) -> dict[str, Any]:
    """The arguments, with fields such as ``a[b]`` put back into objects.

    Args:
        arguments: as LiteLLM passes them on, from a form or not.
        lists: names whose values are lists.

    Raises:
        BadRequestError: a list came as several fields, and the proxy has dropped all but one.
    """
    nested: dict[str, Any] = {}
    for name, value in arguments.items():
        root, bracket, _ = name.partition("[")
        if not bracket or not name.endswith("]"):
            nested[name] = value
            continue
        path = _BRACKETS.findall(name)
        if root in lists and path == [""] and not isinstance(value, list):
            raise BadRequestError(
                f"{root} came as several fields of a form, of which LiteLLM's proxy keeps only one",
                advice=f'Send the list as one JSON text: extra_body={{"{root}": json.dumps([…])}}.',
            )
        _set_at(nested, [root, *(key for key in path if key)], value)
    return nested


def _set_at(target: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for key in parents:
        child = target.get(key)
        if not isinstance(child, dict):
            child = target[key] = {}
        target = child
    target[last] = value
