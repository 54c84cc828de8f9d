"""A PIL image, or an array of pixels, as the PNG that a person would expect to see.

A phone's photo is upright, a picture of 16 bits or of floats has its own range of brightness, and transparency stays.
Pillow itself would drop the orientation, cut bright pixels off, or refuse. It is imported only for a picture that is
Pillow's already, or an array; this package does not need it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from ..errors import ReferenceImageError

if TYPE_CHECKING:
    from .in_memory import ImageLike

_AS_THEY_ARE: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_OTHER_MODES: Final = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
_SIXTEEN_BITS: Final = 65535
_EIGHT_BITS: Final = 255
_ORIENTATION: Final = 0x0112
_ARRAYS: Final = "An array must hold bytes (uint8), as (height, width), (height, width, 3) or (height, width, 4)."


def png_of(image: ImageLike) -> bytes:
    """The image as PNG.

    Raises:
        ReferenceImageError: it can't be encoded, or nobody can tell how bright it is.
    """
    out = io.BytesIO()
    try:
        _with_eight_bits(_upright(image)).save(out, format="PNG")
    except ReferenceImageError:
        raise
    except Exception as error:  # a decoder may raise anything about a broken file, and memory may run out
        raise ReferenceImageError(f"a reference that is a PIL image can't be encoded as PNG: {error}") from error
    return out.getvalue()


def image_of_array(array: Any) -> ImageLike:
    """The PIL image of an array with the array interface, such as numpy's.

    Raises:
        ReferenceImageError: its pixels are not bytes, its shape is not that of a picture, or Pillow is missing.
    """
    interface = array.__array_interface__
    shape, kind = tuple(interface.get("shape", ())), str(interface.get("typestr", ""))[1:]
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if kind not in ("u1", "b1") or not is_picture or 0 in shape or (kind == "b1" and len(shape) == 3):
        raise ReferenceImageError(f"an array of {kind} with the shape {shape} is not a picture", advice=_ARRAYS)
    try:
        from PIL import Image
    except ImportError:
        raise ReferenceImageError(
            "a reference that is an array needs Pillow", advice="Install it (pip install pillow), or pass a file."
        ) from None
    height, width, *_ = shape
    mode = {3: "RGB", 4: "RGBA"}[shape[2]] if len(shape) == 3 else "L"
    try:
        image: ImageLike = Image.frombytes(mode, (width, height), array.tobytes())
    except Exception as error:  # an array that does not hold what its interface says
        raise ReferenceImageError(f"an array with the shape {shape} can't be read: {error}", advice=_ARRAYS) from error
    return image.point(lambda value: value * _EIGHT_BITS) if kind == "b1" else image  # type: ignore[attr-defined]


def _upright(image: ImageLike) -> Any:
    drawable: Any = image
    exif = getattr(drawable, "getexif", None)
    if not callable(exif) or exif().get(_ORIENTATION, 1) == 1:
        return drawable
    from PIL import ImageOps

    return ImageOps.exif_transpose(drawable)  # it has an orientation, so it is Pillow's


def _with_eight_bits(image: Any) -> Any:
    mode = image.mode
    if mode in _AS_THEY_ARE:
        return image
    if mode.startswith("I;16"):
        return _scaled(image.convert("I"), _SIXTEEN_BITS)
    if mode in ("I", "F"):
        return _scaled(image, _brightest(image))
    return image.convert(_OTHER_MODES.get(mode, "RGB"))


def _brightest(image: Any) -> float:
    """What white is in an image whose mode does not say it."""
    low, high = image.getextrema()
    whites = (1.0, _EIGHT_BITS) if image.mode == "F" else (_EIGHT_BITS, _SIXTEEN_BITS)
    found = next((white for white in whites if low >= 0 and high <= white), None)
    if found is None:
        raise ReferenceImageError(
            f"a PIL image of mode {image.mode} has values from {low} to {high}, and nobody can tell which one is white",
            advice='Scale it to 0 to 255, and convert it: image.convert("L").',
        )
    return found


def _scaled(image: Any, white: float) -> Any:
    factor = _EIGHT_BITS / white
    return (image if factor == 1 else image.point(lambda value: value * factor + 0)).convert("L")
