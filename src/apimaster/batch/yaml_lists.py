"""Lists as YAML, if PyYAML is installed (the extra ``yaml``). Pure.

A plain ``16:9``, ``007`` or ``yes`` is a text here, as people mean it: YAML 1.1 makes other values of these. Only the
fields that hold numbers, switches and objects read a plain scalar as one.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import BadRequestError
from .image_list import LineFault, Record
from .json_lists import entry_fault, lists_in, wrapper_fault

_TYPED_FIELDS: Final = frozenset({"n", "google_search", "google_image_search", "extra_body", "webhook", "body"})
_TEXTS_IN_BODY: Final = frozenset({"prompt", "model", "size", "quality", "user"})
_MOST_VALUES: Final = 100_000
"""Values of one entry, with what aliases repeat: a short text can stand for billions of them."""

_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUE: Final = re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON")
_FALSE: Final = re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


def read_yaml(text: str) -> Iterator[Record]:
    """The entries of all documents, each with the line in which it begins.

    Raises:
        BadRequestError: PyYAML is not installed.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ModuleNotFoundError:
        raise BadRequestError(
            "the list looks like YAML, which needs PyYAML, and that is not installed",
            advice='Install it with pip install "apimaster[yaml]", or write the list as JSON lines or CSV; '
            "--format text buys each line as a prompt.",
        ) from None
    item = 0
    try:
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
            for node in _entries(yaml, document):
                item += 1
                yield _record(yaml, node, item)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 0)
        problem = error.problem or error.context or "not readable"
        yield Record(line, LineFault(line, f"not YAML: {problem}", _QUOTE, column=column))
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)  # of a character that YAML excludes
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        yield Record(line, LineFault(line, f"not YAML: {getattr(error, 'reason', None) or 'not readable'}"))
    except RecursionError:
        yield Record(1, LineFault(1, "not readable: it is nested too deeply"))
    except _Faulty as error:
        yield Record(error.fault.line, error.fault)


_QUOTE: Final = "Put quotes around a text that holds ': ' or ' #' or begins with a sign."


class _Faulty(Exception):
    def __init__(self, fault: LineFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _entries(yaml: Any, document: Any) -> list[Any]:
    if document is None or (isinstance(document, yaml.ScalarNode) and not document.value.strip()):
        return []
    if isinstance(document, yaml.SequenceNode):
        return list(document.value)
    if isinstance(document, yaml.MappingNode):
        members = {key.value: value for key, value in document.value if isinstance(key, yaml.ScalarNode)}
        values: dict[str, Any] = {
            name: [] if isinstance(value, yaml.SequenceNode) else None for name, value in members.items()
        }
        lists = lists_in(values)
        if lists:
            fault = wrapper_fault(document.start_mark.line + 1, list(members), lists)
            if fault is not None:
                raise _Faulty(fault)
            return list(members[lists[0]].value)
    return [document]


def _record(yaml: Any, node: Any, item: int) -> Record:
    line = node.start_mark.line + 1
    try:
        if _size(yaml, node, {}, ()) > _MOST_VALUES:
            return Record(line, LineFault(line, f"holds more than {_MOST_VALUES} values", item=item))
        value = _value(yaml, node, typed=False)
    except _Faulty as error:
        return Record(error.fault.line, LineFault(error.fault.line, error.fault.message, item=item))
    return Record(line, entry_fault(line, value, item) or value, item)


def _size(yaml: Any, node: Any, known: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for."""
    if id(node) in above:
        line = node.start_mark.line + 1
        raise _Faulty(LineFault(line, "an alias names a value that holds it"))
    if id(node) not in known:
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        flat = [each for child in children for each in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_size(yaml, child, known, (*above, id(node))) for child in flat)
    return known[id(node)]


def _value(yaml: Any, node: Any, *, typed: bool) -> Any:
    line = node.start_mark.line + 1
    if node.tag.startswith(("tag:yaml.org,2002:python", "!")):
        raise _Faulty(LineFault(line, f"the tag {node.tag[:60]!r} is not accepted"))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node.value, typed=typed) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(yaml, child, typed=typed) for child in node.value]
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, child in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Faulty(LineFault(key.start_mark.line + 1, "the name of a field must be a text"))
        if key.tag == "tag:yaml.org,2002:merge":
            for base in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                value = _value(yaml, base, typed=typed)
                if not isinstance(value, dict):
                    raise _Faulty(LineFault(key.start_mark.line + 1, "'<<' must name an object"))
                merged = {**value, **merged}
            continue
        if key.value in found:
            raise _Faulty(LineFault(key.start_mark.line + 1, f"the field {key.value[:60]!r} is given twice"))
        below = (typed and key.value not in _TEXTS_IN_BODY) or key.value in _TYPED_FIELDS
        found[key.value] = _value(yaml, child, typed=below)
    return {**merged, **found}


def _scalar(text: str, *, typed: bool) -> Any:
    if _NULL.fullmatch(text):
        return None
    if not typed:
        return text
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
