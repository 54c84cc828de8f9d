"""How an OpenAI client writes lists and objects into a multipart form, and how to read them back.

An edit is sent as a form, whose values are texts and files. The OpenAI client writes ``{"a": {"b": "c"}}`` as a field
``a[b]``, and a list as several fields ``a[]``; others number them, ``a[0]``, ``a[1]``. LiteLLM's proxy keeps only the
last of several fields with one name, but for ``image`` and ``image[]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from apimaster.errors import BadRequestError

from .call_arguments import FROM_PROXY

_BRACKETS: Final = re.compile(r"\[([^\]]*)\]")
_FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


def is_form(arguments: Mapping[str, Any]) -> bool:
    """Whether a client of the proxy has sent a form, in which fields may have been lost."""
    client = arguments.get(FROM_PROXY)
    headers = client.get("headers") if isinstance(client, Mapping) else None
    if not isinstance(headers, Mapping):
        return False
    kind = next((str(value) for name, value in headers.items() if str(name).lower() == "content-type"), "")
    return kind.strip().lower().startswith(_FORMS)


def nest_bracketed_fields(
    arguments: Mapping[str, Any], is_list: Callable[[str], bool], *, from_form: bool
) -> dict[str, Any]:
    """The arguments, with fields such as ``a[b]`` put back into objects, and ``a[0]``, ``a[1]`` into lists.

    Args:
        arguments: as LiteLLM passes them on, from a form or not.
        is_list: tells for a name whether its value is a list.
        from_form: whether they are fields of a form. Elsewhere, ``a[]`` has one value, and none is lost.

    Raises:
        BadRequestError: a list came as several fields, and the proxy has dropped all but one, or a field has a name
            that means nothing.
    """
    nested: dict[str, Any] = {}
    numbered: dict[str, dict[int, Any]] = {}
    for name, value in arguments.items():
        root, bracket, _ = name.partition("[")
        if not bracket or not name.endswith("]"):
            nested[name] = value
            continue
        path = _BRACKETS.findall(name)
        if is_list(root):
            if path == [""] and not isinstance(value, list) and not from_form:
                value = [] if value is None else [value]
            _add_to_list(numbered.setdefault(root, {}), name, path, value)
        else:
            _set_at(nested, [root, *(key for key in path if key)], value)
    for root, entries in numbered.items():
        nested[root] = [*_entries(nested.get(root)), *(entries[index] for index in sorted(entries))]
    return nested


def _add_to_list(entries: dict[int, Any], name: str, path: list[str], value: Any) -> None:
    first, *rest = path
    if not first and not rest:
        if not isinstance(value, list):
            raise _lost(name)
        entries.update(enumerate(value, start=max(entries, default=-1) + 1))
    elif not (first.isascii() and first.isdecimal() and len(first) < 6):
        raise BadRequestError(f"the field {name} means nothing here", advice="Number the fields of a list: [0], [1], …")
    elif rest:
        entry = entries.setdefault(int(first), {})
        if not isinstance(entry, dict) or not all(rest):
            raise BadRequestError(f"the field {name} contradicts another one of the form")
        _set_at(entry, rest, value)
    else:
        entries[int(first)] = value


def _lost(name: str) -> BadRequestError:
    root = name.partition("[")[0]
    return BadRequestError(
        f"{root} came as several fields of a form, of which LiteLLM's proxy keeps only one",
        advice=f'Send the list as one JSON text: extra_body={{"{root}": json.dumps([…])}}, or upload files as image[].',
    )


def _entries(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _set_at(target: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for key in parents:
        child = target.get(key)
        if not isinstance(child, dict):
            child = target[key] = {}
        target = child
    target[last] = value
