"""Real pictures of the exact pixels, with what was asked for written on them, so that a person sees that it worked.

Three kinds: ``full`` (a scene, the prompt, the size, the references as thumbnails), ``plain`` (one colour in the exact
pixels, encoded once per size: for load tests) and ``small`` (64 pixels at most: where pixels do not matter).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from .options import PictureFormat, Pictures
from .picture import scene

MEDIA_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_SMALL_SIDE: Final = 64
# tried in turn for prompts that the built-in font has no letters for
_WIDE_FONTS: Final = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "msyh.ttc")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw.

    Attributes:
        seed: decides the scene; the same seed, the same scene.
        prompt: written large.
        caption: written small below it.
        width, height: pixels.
        thumbnails: reference images, drawn small; broken ones become an empty frame.
        references: how many references there were, also those without bytes here.
    """

    seed: str
    prompt: str
    caption: str
    width: int
    height: int
    thumbnails: Sequence[bytes] = ()
    references: int = 0


def render(drawing: Drawing, kind: Pictures | Literal["scene"], picture_format: PictureFormat) -> bytes:
    """Draw and encode; ``scene`` is ``full`` without the letters. Call it off the event loop: 4K takes some 300 ms."""
    if kind == "plain":
        return _plain(drawing.width, drawing.height, picture_format)
    if kind == "small":
        scale = min(1.0, _SMALL_SIDE / max(drawing.width, drawing.height))
        size = max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))
        return _encoded(scene(drawing.seed, *size), picture_format, drawing)
    picture = scene(drawing.seed, drawing.width, drawing.height)
    if kind == "full":
        _letter(picture, drawing)
    return _encoded(picture, picture_format, drawing)


@functools.lru_cache(maxsize=64)
def _plain(width: int, height: int, picture_format: PictureFormat) -> bytes:
    return _encoded(Image.new("RGB", (width, height), (58, 96, 115)), picture_format, None)


def _encoded(picture: Image.Image, picture_format: PictureFormat, drawing: Drawing | None) -> bytes:
    output = io.BytesIO()
    if picture_format == "jpeg":
        picture.save(output, "JPEG", quality=88)
    elif picture_format == "webp":
        picture.save(output, "WEBP", quality=80, method=0)
    else:
        notes = PngInfo()
        notes.add_text("Software", "apimaster emulator")
        if drawing is not None:
            notes.add_itxt("Description", drawing.prompt)
        picture.save(output, "PNG", compress_level=1, pnginfo=notes)
    return output.getvalue()


def _letter(picture: Image.Image, drawing: Drawing) -> None:
    width, height = picture.size
    margin = max(6, min(width, height) // 24)
    inner = width - 4 * margin
    thumbs = _thumbnails(drawing, inner, max(24, min(height // 6, min(width, height) // 5)))
    room = height - 4 * margin - (thumbs[0].height + margin if thumbs else 0)
    size = max(9, min(width, height) // 14, min(height // 6, width // 40))
    while True:
        big, small = _font(drawing.prompt, size), _font(drawing.caption, max(8, size // 2))
        lines = _wrapped(drawing.prompt, big, inner)
        notes = _wrapped(drawing.caption, small, inner)
        line, note = _line_height(big), _line_height(small)
        tall = line * len(lines) + note * len(notes) + margin // 2
        if tall <= room or size <= 9:
            break
        size = max(9, int(size * 0.85))
    if tall > room:  # even the smallest letters do not fit: show the beginning
        keep = max(1, int((room - note * len(notes)) // line))
        lines = [*lines[: keep - 1], lines[keep - 1].rstrip() + "…"] if len(lines) > keep else lines
        tall = line * len(lines) + note * len(notes) + margin // 2
    block = tall + (thumbs[0].height + margin if thumbs else 0)
    top = max(margin, height - margin - block - 2 * margin)
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.rounded_rectangle((margin, top, width - margin, height - margin), radius=margin, fill=(12, 16, 24, 168))
    x, y = 2 * margin, top + margin
    for text in lines:
        draw.text((x, y), text, font=big, fill=(255, 255, 255, 255))
        y += line
    y += margin // 2
    for text in notes:
        draw.text((x, y), text, font=small, fill=(205, 216, 230, 255))
        y += note
    y += margin
    for thumb in thumbs:
        picture.paste(thumb, (x, y))
        draw.rectangle((x, y, x + thumb.width - 1, y + thumb.height - 1), outline=(255, 255, 255, 200))
        x += thumb.width + max(2, margin // 3)


def _thumbnails(drawing: Drawing, inner: int, side: int) -> list[Image.Image]:
    if not drawing.references:
        return []
    gap = max(2, side // 6)
    side = max(8, min(side, (inner - gap * (drawing.references - 1)) // drawing.references))
    made = [_thumbnail(data, side) for data in drawing.thumbnails]
    blanks = drawing.references - len(made)
    return [*made, *(Image.new("RGB", (side, side), (70, 78, 92)) for _ in range(max(0, blanks)))]


def _thumbnail(data: bytes, side: int) -> Image.Image:
    square = Image.new("RGB", (side, side), (70, 78, 92))
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.draft("RGB", (side * 2, side * 2))  # JPEG is decoded at a fraction of its size
            image.thumbnail((side, side))
            shown = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return square
    square.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2))
    return square


@functools.lru_cache(maxsize=256)
def _font_of_size(size: int, name: str | None) -> Font:
    return ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)


@functools.lru_cache(maxsize=1)
def _wide_font() -> str | None:
    for name in _WIDE_FONTS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        return name
    return None


def _font(text: str, size: int) -> Font:
    # the built-in font has the letters of western languages
    return _font_of_size(size, None if all(ord(mark) < 0x180 or mark == "…" for mark in text) else _wide_font())


def _line_height(font: Font) -> int:
    _, top, _, bottom = font.getbbox("Ág|")
    return round((bottom - min(0, top)) * 1.25) or 1


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text[:2000].splitlines() or [""]:
        line = ""
        for word in paragraph.split() or [""]:
            candidate = f"{line} {word}" if line else word
            if font.getlength(candidate) <= width:
                line = candidate
                continue
            if line:
                lines.append(line)
            line = word
            while len(line) > 1 and font.getlength(line) > width:  # a word, or a language, without blanks
                keep = max(1, next(n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= width))
                lines.append(line[:keep])
                line = line[keep:]
        lines.append(line)
    return lines
