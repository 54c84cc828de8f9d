"""The file that ``APIMASTER_CATALOG`` names: models that a user adds or corrects, checked field by field.

Its form is that of ``models.json``. An entry for a model of the table changes the fields that it holds and no others;
an entry for another model adds it. All faults of the file are in one error, which names the file, the model, the field
and what is accepted.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, get_args

from ..errors import BadRequestError
from .spec import AUTO, MEBIBYTE, RESOLUTIONS, EditRoute, PixelSizes

MAX_BYTES: Final = MEBIBYTE
_MOST_FAULTS: Final = 10
_LONGEST_NAME: Final = 200
_RATIO: Final = re.compile(r"[1-9][0-9]{0,3}:[1-9][0-9]{0,3}")
_NAME: Final = re.compile(r"[!-~]{1,200}")
_PRICE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,12})?")
_MOST_DIGITS: Final = 20
_ADVICE: Final = "Correct the file, or unset APIMASTER_CATALOG. docs/models.md tells its form."

Check = Callable[[Any], bool]


def _whole(least: int, most: int) -> tuple[Check, str]:
    return lambda value: type(value) is int and least <= value <= most, f"a whole number from {least} to {most}"


def _list_of(check: Check, of: str, least: int = 0) -> tuple[Check, str]:
    def fits(value: Any) -> bool:
        return isinstance(value, list) and len(value) >= least and all(map(check, value)) and not _repeats(value)

    return fits, f"a list of {of}{'' if not least else f', at least {least}'}, each once"


def _map_of(check_name: Check, check: Check, of: str) -> tuple[Check, str]:
    return lambda value: isinstance(value, dict) and all(check_name(n) and check(v) for n, v in value.items()), of


def _repeats(value: list[Any]) -> bool:
    return len(set(map(str, value))) < len(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_resolution(value: Any) -> bool:
    return value in RESOLUTIONS


def _is_ratio(value: Any) -> bool:
    return isinstance(value, str) and _RATIO.fullmatch(value) is not None


def _is_price(value: Any) -> bool:
    if isinstance(value, Decimal) and -_MOST_DIGITS < value.adjusted() < _MOST_DIGITS:
        value = f"{value:f}"
    if type(value) is int:
        value = str(value)
    return isinstance(value, str) and _PRICE.fullmatch(value) is not None


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int and 0 < each < 10**5 for each in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST_NAME and value.isprintable()


_BOOLEAN: Final = (lambda value: isinstance(value, bool), "true or false")
_NAMES: Final = _list_of(_is_name, "names without spaces")
_TIERS: Final = ", ".join(RESOLUTIONS)

# Each field of a model: what a value must pass, and how to say that.
FIELDS: Final[Mapping[str, tuple[Check, str]]] = {
    "ids": _list_of(_is_name, "model ids, which are names without spaces", 1),
    "aliases": _NAMES,
    "aspect_ratios": _list_of(_is_ratio, "ratios such as 16:9", 1),
    "strict_sizes": _BOOLEAN,
    "auto": _BOOLEAN,
    "default_aspect_ratio": (lambda value: value == AUTO or _is_ratio(value), "auto or a ratio such as 1:1"),
    "pixel_sizes": (lambda value: value in get_args(PixelSizes), ", ".join(get_args(PixelSizes))),
    "pixels": (_is_name, "the name of a table of pixels"),
    "resolutions": _list_of(_is_resolution, f"resolutions ({_TIERS})", 1),
    "lower_case_resolution": _BOOLEAN,
    "max_n": _whole(1, 100),
    "max_references": _whole(0, 1000),
    "max_reference_bytes": _whole(1, 1024 * MEBIBYTE),
    "google_search": _BOOLEAN,
    "masks": _BOOLEAN,
    "edit_route": (lambda value: value in get_args(EditRoute), ", ".join(get_args(EditRoute))),
    "prices": _map_of(_is_resolution, _is_price, f'US dollars by resolution ({_TIERS}), such as {{"1K": "0.05"}}'),
    "price_list": (_is_text, "a text that names the list, such as list price of 2026-09-22"),
    "retired": (lambda value: value is None or _is_date(value), "a date such as 2026-06-25, or null"),
    "retired_ids": _map_of(_is_name, _is_date, "dates such as 2026-06-25, by model id"),
    "successor": (lambda value: value is None or _is_name(value), "a model id, or null"),
    "strict_fields": _BOOLEAN,
    "fields": _NAMES,
    "resubmit_502": _BOOLEAN,
    "reports_usage": _BOOLEAN,
    "batches": _BOOLEAN,
}
_SECTIONS: Final = ("models", "pixels")


def corrected(own: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The package's table with the corrections of a file.

    Raises:
        BadRequestError: the file can't be read, or does not have the form; the message names every fault, up to ten.
    """
    given = _read(path)
    accepted = ", ".join(_SECTIONS)
    faults = [f"{name!r} is not a section; accepted: {accepted}" for name in given if name not in _SECTIONS]
    pixels = {**own["pixels"], **_checked_pixels(given.get("pixels", {}), faults)}
    models = {key: dict(entry) for key, entry in own["models"].items()}
    entries = given.get("models", {})
    if not isinstance(entries, dict):
        faults.append(f"models must be an object with an entry for each model, not {_shown(entries)}")
        entries = {}
    corrected_by: dict[str, str] = {}  # the name by which the file corrects a model, by the model's key
    for name, entry in entries.items():
        key = _key_of(models, name)
        if key in corrected_by:
            faults.append(
                f"the models {corrected_by[key]!r} and {name!r} are one model, {key!r}; accepted: one entry for it"
            )
            continue
        corrected_by[key] = name
        _correct(models, name, entry, pixels, path, faults)
    _check_names(models, faults)
    if faults:
        more = f"; {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise _unusable(path, "; ".join(faults[:_MOST_FAULTS]) + more)
    return {"pixels": pixels, "models": models}


def _correct(
    models: dict[str, dict[str, Any]],
    name: str,
    entry: Any,
    pixels: Mapping[str, Any],
    path: str,
    faults: list[str],
) -> None:
    """Put one entry into the table, or say what is wrong with it."""
    place = f"model {_shown(name)}"
    if not _is_name(name):
        faults.append(f"{place}: a model is named by its id, a name without spaces")
        return
    if not isinstance(entry, dict):
        faults.append(f"{place} must be an object of fields, not {_shown(entry)}")
        return
    found = len(faults)
    for field, value in entry.items():
        if field not in FIELDS:
            faults.append(f"{place}: {field!r} is not a field; accepted: {', '.join(FIELDS)}")
        elif not FIELDS[field][0](value):
            faults.append(f"{place}: {field} must be {FIELDS[field][1]}, not {_shown(value)}")
    if len(faults) > found:
        return
    key = _key_of(models, name)
    before = models.get(key, {})
    after = {**before, **entry}
    if "prices" in entry and "price_list" not in entry:
        after["price_list"] = f"prices of {os.path.basename(path)}"
    ids = after.get("ids", [key])
    if missing := [each for each in before.get("ids", [key]) if each not in ids]:
        faults.append(f"{place}: ids must keep {', '.join(missing)}, which requests and ledgers may hold")
    if after.get("pixels") not in (None, *pixels):
        faults.append(f"{place}: there are no pixels {after['pixels']!r}; accepted: {', '.join(pixels)}")
    elif after.get("pixel_sizes", "as is") != "as is" and not after.get("pixels"):
        faults.append(f"{place}: pixel_sizes {after['pixel_sizes']!r} needs pixels; accepted: {', '.join(pixels)}")
    if unknown := [each for each in after.get("retired_ids", {}) if each not in ids]:
        faults.append(f"{place}: retired_ids holds {', '.join(unknown)}; accepted: {', '.join(ids)}")
    models[key] = after


def _key_of(models: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The key of the model that has this name; for another name itself."""
    return next((each for each, known in models.items() if name.lower() in _lowered(each, known)), name)


def _names(key: str, entry: Mapping[str, Any]) -> list[str]:
    return [*entry.get("ids", [key]), *entry.get("aliases", [])]


def _lowered(key: str, entry: Mapping[str, Any]) -> list[str]:
    return [name.lower() for name in _names(key, entry)]


def _check_names(models: Mapping[str, Mapping[str, Any]], faults: list[str]) -> None:
    owners: dict[str, str] = {}
    for key, entry in models.items():
        for name in _names(key, entry):
            if name.lower() in owners:
                other = owners[name.lower()]
                where = f"twice in model {key!r}" if other == key else f"in the models {other!r} and {key!r}"
                faults.append(f"the name {name!r} stands {where}; accepted: one model for each id and alias")
            owners[name.lower()] = key


def _checked_pixels(given: Any, faults: list[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        faults.append(f"pixels must be an object of tables by their names, not {_shown(given)}")
        return {}
    is_row, _ = _map_of(_is_resolution, _is_size, "")
    is_table, _ = _map_of(_is_ratio, is_row, "")
    for name, table in given.items():
        if not is_table(table):
            form = '{"16:9": {"1K": [1376, 768]}}'
            faults.append(f"pixels {_shown(name)} must be width and height by ratio and resolution, such as {form}")
    return given


def _read(path: str) -> dict[str, Any]:
    """The object in the file.

    Raises:
        BadRequestError: there is none, or it is too large.
    """
    place = os.path.expanduser(path)
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):  # opening a pipe would wait for its writer
            raise _unusable(path, "it is not a regular file")
        with open(place, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, BadRequestError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unusable(path, f"it can't be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise _unusable(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        found = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=Decimal,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise _unusable(path, "it is not text in UTF-8; a JSON object is accepted") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _unusable(path, f"it holds no JSON object: {reason}") from None
    if not isinstance(found, dict):
        raise _unusable(path, f"it must hold a JSON object with models, not {_shown(found)}")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _unusable(path: str, problem: str) -> BadRequestError:
    return BadRequestError(f"the catalogue {path} can't be used: {problem}", code="bad_catalog", advice=_ADVICE)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"
