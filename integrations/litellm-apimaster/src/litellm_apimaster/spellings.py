"""Names under which the APIs of other models take an aspect ratio, a resolution and a number of images.

The gateway ignores them, and charges what it draws instead. What clearly means a parameter of this provider is read as
that one; what else changes how much is bought is refused, with the name to use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apimaster.errors import BadRequestError

from .parameter_values import is_nothing
from .shape import ASPECT_RATIO, IMAGE_CONFIG, IMAGE_CONFIGS, RESOLUTION, object_of

N: Final = "n"

# Names without "_" and "-", in small letters.
_SAME: Final = {
    "aspectratio": ASPECT_RATIO,
    "ratio": ASPECT_RATIO,
    "imagesize": RESOLUTION,
    "numimages": N,
    "numberofimages": N,
}
_REFUSED: Final = {
    **dict.fromkeys(("width", "height"), 'size="WIDTHxHEIGHT"'),
    **dict.fromkeys(("numoutputs", "numimagesperprompt", "candidatecount", "samplecount"), N),
}
_ONE: Final = "1"
_HOLDERS: Final = ("google", "generationConfig", "generation_config")


def read_other_spellings(given: dict[str, Any]) -> None:
    """Put what has a name of another API under the name that it has here. Members without a meaning here stay.

    Raises:
        BadRequestError: two names of one thing have different values, or one has no meaning here and costs money.
    """
    _take_out_configs(given, given)
    for name in list(given):
        folded = _fold(name)
        if folded in _REFUSED:
            _refuse(name, given.pop(name))
        same = _SAME.get(folded)
        if same is None or name == same:
            continue
        value = given.pop(name)
        if not is_nothing(value):
            _put(given, same, name, value)


def _take_out_configs(given: dict[str, Any], place: dict[str, Any], path: str = "") -> None:
    """Move ``generationConfig.imageConfig``, ``google.image_config`` and the like to where ``image_config`` is."""
    for name in [each for each in place if each in _HOLDERS]:
        holder = object_of(place[name])
        if not isinstance(holder, Mapping):
            continue
        rest = dict(holder)
        _take_out_configs(given, rest, f"{path}{name}.")
        for member in list(rest):
            if member in IMAGE_CONFIGS:
                _put(given, IMAGE_CONFIG, f"{path}{name}.{member}", rest.pop(member))
            elif _fold(member) in _REFUSED:
                _refuse(f"{path}{name}.{member}", rest.pop(member))
        if rest:
            place[name] = rest
        else:
            del place[name]


def _put(given: dict[str, Any], here: str, name: str, value: Any) -> None:
    known = given.get(here)
    if is_nothing(known):
        given[here] = value
    elif str(object_of(known)).strip().lower() != str(object_of(value)).strip().lower():
        raise BadRequestError(
            f"{name} {value!r} contradicts {here} {known!r}", advice=f"Send one of them; the name here is {here}."
        )


def _refuse(name: str, value: Any) -> None:
    """Refuse a name, unless its value asks for nothing."""
    here = _REFUSED[_fold(name.rpartition(".")[2])]
    if is_nothing(value) or (here == N and str(value).strip() == _ONE):
        return
    raise BadRequestError(f"{name} is not accepted: the gateway would ignore it", advice=f"Use {here} instead.")


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
