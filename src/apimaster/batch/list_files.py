"""Reads a list of images from a file or from stdin. The error for a bad list names every fault, line by line.

=========  ===============================================================================================
format     what it holds
=========  ===============================================================================================
jsonl      in each line an object with the fields of ``ImageRequest``, and optionally ``id`` and ``tags``
json       an array of such objects or of prompts, alone or below ``images``, ``prompts``, ``requests`` or ``items``
yaml       the same as YAML, with the extra ``yaml``
csv        rows; the header names the same fields; commas, semicolons or tabs; empty cells set nothing
text       a prompt in each line; a line that begins with ``#`` is a comment, and ``\\#`` begins a prompt with ``#``
=========  ===============================================================================================

The content decides, whatever the file's ending. In JSON and YAML, an entry may also be a line of OpenAI's batch files.
In a CSV cell, ``|`` separates references or tags; a JSON list works too. Relative paths of reference images count from
the folder of the list, so that a list works in any current folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

from ..adapters import check_reference
from ..adapters import check_references as check_pictures
from ..errors import BadRequestError, ReferenceImageError
from ..request import Reference
from .csv_rows import read_rows
from .image_list import ImageListBuilder, LineFault, PlannedImage, Record, invalid_lines
from .json_lists import read_json, read_json_lines
from .list_formats import Format, count_comments, format_of, read_prompts
from .list_text import STDIN, name_of, read_text
from .openai_batch import from_openai, is_openai_request
from .yaml_lists import read_yaml

_Picture: TypeAlias = tuple[Reference, int | Reference]
"""A reference with its position in its request, or a mask with the reference that it marks."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """What a file lists.

    Attributes:
        images: the images.
        form: the format as which it was read.
        comments: how many comment lines of a text were left out.
    """

    images: list[PlannedImage]
    form: Format
    comments: int = 0


def read_list_file(
    source: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None
) -> list[PlannedImage]:
    """The images of ``read_image_list``."""
    return read_image_list(source, form=form, defaults=defaults).images


def read_image_list(source: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None) -> ImageList:
    """All images that a file or stdin (``-``) lists, checked, reference images included. Blocking; sends nothing.

    Args:
        source: a path, or ``-``.
        form: ``"jsonl"``, ``"json"``, ``"yaml"``, ``"csv"`` or ``"text"``; None: by the content, else by the file's
            ending.
        defaults: fields of ``ImageRequest`` for lines that don't set them.

    Raises:
        InvalidLines: some lines can't be used; the error lists every fault with its line.
        BadRequestError: the file can't be read, or lists nothing.
    """
    name = name_of(source)
    path = None if source == STDIN else Path(source)
    text = read_text(source)
    ending = path.suffix.lower() if path is not None else ""
    chosen = form or format_of(_with_plain_line_ends(text), ending)
    images = _parse(text, chosen, defaults, path.parent if path is not None else Path(), name, checked=form is None)
    comments = count_comments(_with_plain_line_ends(text)) if chosen == "text" else 0
    if not images:
        what = "holds no lines" if not comments else f"holds no lines but {comments} comment lines (#)"
        advice = "Write one image per line into it."
        if comments:
            advice += " A prompt that begins with # is written \\#."
        raise BadRequestError(f"{name} {what}", advice=advice)
    check_references(images, name)
    return ImageList(images, chosen, comments)


def parse_list(
    text: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None, folder: Path | None = None
) -> list[PlannedImage]:
    """The images that a text lists. Pure: opens no reference image.

    Raises:
        InvalidLines: some lines can't be used; the error lists every fault with its line.
    """
    chosen = form or format_of(_with_plain_line_ends(text), "")
    return _parse(text, chosen, defaults, folder or Path(), "the list", checked=form is None)


def _parse(
    text: str, form: Format, defaults: Mapping[str, Any] | None, folder: Path, name: str, *, checked: bool
) -> list[PlannedImage]:
    if form not in get_args(Format):
        raise BadRequestError(f"format {form!r} is not known; accepted: {', '.join(get_args(Format))}")
    builder = ImageListBuilder(defaults, name)
    for line, entry, item in _records(text, form, checked=checked):
        if isinstance(entry, LineFault):
            builder.faults.append(entry)
            continue
        try:
            if isinstance(entry, dict) and is_openai_request(entry) and form != "csv":
                entry = from_openai(entry)
        except BadRequestError as error:
            builder.faults.append(LineFault.of(line, error, item))
        else:
            builder.add(line, _with_absolute_paths(entry, folder), item)
    return builder.finish()


def _records(text: str, form: Format, *, checked: bool) -> Iterator[Record]:
    if form == "csv":
        return read_rows(text)  # in a cell, a line break stays as it is
    plain = _with_plain_line_ends(text)
    if form == "text":
        return read_prompts(plain, checked=checked)
    return {"jsonl": read_json_lines, "json": read_json, "yaml": read_yaml}[form](plain)


def _with_plain_line_ends(text: str) -> str:
    # Not splitlines(): a prompt may contain U+2028 and the like, which end no line in a file.
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check_references(images: Iterable[PlannedImage], name: str = "the list") -> None:
    """Check every reference image once. Blocking: opens the files.

    Raises:
        InvalidLines: some are missing or unusable; the error lists every line that uses them.
    """
    checked: dict[_Picture, ReferenceImageError | None] = {}
    faults: list[LineFault] = []
    for image in images:
        pictures: list[_Picture] = [(each, place) for place, each in enumerate(image.request.references, start=1)]
        if image.request.mask is not None:
            pictures.append((image.request.mask, image.request.references[0]))
        for picture in pictures:
            if picture not in checked:
                checked[picture] = _reference_error(picture, image)
            error = checked[picture]
            if error is not None:
                faults.append(LineFault.of(image.line, error, image.item))
    if faults:
        # A line for several images is several entries here; its fault is one.
        raise invalid_lines(dict.fromkeys(faults), name)


def _reference_error(picture: _Picture, image: PlannedImage) -> ReferenceImageError | None:
    spec = image.request.spec
    reference, place = picture
    try:
        if isinstance(place, int):
            check_reference(reference, place, spec.max_reference_bytes)
        else:
            limits = {"max_count": 1, "max_bytes": spec.max_reference_bytes}
            check_pictures((place,), model=spec.id, mask=reference, **limits)
    except ReferenceImageError as error:
        return error
    return None


def _with_absolute_paths(entry: Any, folder: Path) -> Any:
    """The entry with the paths of its references and its mask made absolute, relative ones from ``folder``."""
    if not isinstance(entry, dict):
        return entry
    if isinstance(entry.get("mask"), str):
        entry = {**entry, "mask": _absolute_path(entry["mask"], folder)}
    given = entry.get("references")
    listed = [given] if isinstance(given, str) else given
    if not listed or not isinstance(listed, list):
        return entry
    return {**entry, "references": [_absolute_path(one, folder) for one in listed]}


def _absolute_path(reference: Any, folder: Path) -> Any:
    if not isinstance(reference, str):
        return reference
    path = Reference.of(reference).path if is_local_path(reference) else None
    return reference if path is None else str((folder / path).absolute())


def is_local_path(text: str) -> bool:
    """Whether a reference in a list is a path, and not a URL."""
    return bool(text.strip()) and not text[:8].lower().startswith(("http:", "https:", "data:", "sha256:", "file:"))
