"""Whether a refusal of the gateway is about the pictures of a request, as far as its words tell.

The client uploads local pictures to public URLs where the gateway does not take them inside a request. So it must not
take a refusal of something else for one of the pictures: in doubt, a refusal is about something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .messages import text_of

_FIELD: Final = re.compile(
    r"(?:\w+\.)*(?:image_?urls?|mask_?url|mask|images?|input_?images?|references?|reference_?images?)(?:\[\d*\]|\.\d+)*",
    re.IGNORECASE,
)
_CODE: Final = re.compile(
    r"image_?urls?|mask_?url|reference|data_?ur[il]|base64|(?:input|inline)_?image", re.IGNORECASE
)
# A refusal of the form itself may add "by this model".
_FORM: Final = re.compile(r"\bdata[ _-]?ur[il]s?\b|\bdata:|\bbase ?64\b|\binline[ _-](?:images?|data)\b", re.IGNORECASE)
_PICTURES: Final = re.compile(
    r"image_?urls?\b|\bmask_?url\b|\b(?:input|reference|source)[ _-]?images?\b|\breferences?\b|\burls?\b"
    r"|\bimages? (?:inputs?|data)\b",
    re.IGNORECASE,
)
_MEASURE: Final = re.compile(
    r"size|resolution|aspect|ratio\b|quality|pixel|dimension|width|height|too (?:large|big|long|many)|limit|exceed",
    re.IGNORECASE,
)
_OTHER: Final = re.compile(
    r"\bmodels?\b|endpoint|\bapi\b|\broute\b|\bprompt\b|webhook|callback|base[ _]url", re.IGNORECASE
)


def is_about_pictures(error: Mapping[str, Any]) -> bool:
    """Whether the ``error`` object of a refusal names the pictures by its ``param``, its ``code`` or its message."""
    message = text_of(error.get("message")) or ""
    if _MEASURE.search(message):
        return False
    if _FORM.search(message):
        return True
    if _OTHER.search(message):
        return False
    param, code = text_of(error.get("param")) or "", text_of(error.get("code")) or ""
    return bool(_FIELD.fullmatch(param) or _CODE.search(code) or _PICTURES.search(message))
