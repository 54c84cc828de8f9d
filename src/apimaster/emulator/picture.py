"""Real pictures of the exact size, with the prompt and the size written on them, so that a person sees that it worked.

There are three kinds: ``full`` (a landscape with the prompt, the size and the references as thumbnails), ``plain``
(one colour at the exact size, encoded once per size, for load tests) and ``small`` (at most 64 pixels a side, for
tests that don't look at the size).

A 4K picture takes some hundred milliseconds. An emulator that stops does not wait for it: the drawing checks between
its steps whether it is still wanted.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from .background import draw_background
from .options import PictureFormat, Pictures

if TYPE_CHECKING:
    from typing_extensions import Buffer

MASK_RED: Final = (226, 32, 48)
"""The colour of what a mask marks, and of its frame."""

MEDIA_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_SMALL_SIDE: Final = 64
_SMALLEST_LETTERS: Final = 9
# Fonts to try in turn for a prompt with letters that the built-in font lacks.
_WIDE_FONTS: Final = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "msyh.ttc")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw.

    Attributes:
        seed: decides the landscape; the same seed gives the same one.
        prompt: large text.
        caption: small text below the prompt.
        width, height: pixels.
        thumbnails: reference images, drawn small; one that can't be decoded becomes an empty frame.
        references: how many references the request has; those without bytes here become empty frames, too.
        has_mask: whether the request has a mask, which is drawn last, in a red frame.
        mask: its bytes, if they are here: what it marks is red, on the first thumbnail.
    """

    seed: str
    prompt: str
    caption: str
    width: int
    height: int
    thumbnails: Sequence[bytes] = ()
    references: int = 0
    has_mask: bool = False
    mask: bytes | None = None


class DrawingAbandoned(Exception):
    """The emulator stopped before the picture was ready."""


def draw_picture(
    drawing: Drawing,
    kind: Pictures | Literal["background"],
    picture_format: PictureFormat,
    abandoned: threading.Event | None = None,
) -> bytes:
    """Draw and encode a picture; ``background`` is ``full`` without text. Call it off the event loop.

    Raises:
        DrawingAbandoned: ``abandoned`` was set in the meantime.
    """
    if kind == "plain":
        return _plain(drawing.width, drawing.height, picture_format)
    width, height = drawing.width, drawing.height
    if kind == "small":
        scale = min(1.0, _SMALL_SIDE / max(width, height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    output = _Output(abandoned)
    picture = draw_background(drawing.seed, width, height)
    output.check()
    if kind == "full":
        _draw_text(picture, drawing)
        output.check()
    _encode(picture, picture_format, output, drawing.prompt)
    return output.getvalue()


class _Output(io.BytesIO):
    """The encoded picture. Pillow writes a PNG in pieces, so an abandoned drawing ends in the middle of one."""

    def __init__(self, abandoned: threading.Event | None) -> None:
        super().__init__()
        self._abandoned = abandoned

    def check(self) -> None:
        if self._abandoned is not None and self._abandoned.is_set():
            raise DrawingAbandoned

    def write(self, data: Buffer) -> int:
        self.check()
        return super().write(data)


@functools.lru_cache(maxsize=64)
def _plain(width: int, height: int, picture_format: PictureFormat) -> bytes:
    output = io.BytesIO()
    _encode(Image.new("RGB", (width, height), (58, 96, 115)), picture_format, output, None)
    return output.getvalue()


def _encode(picture: Image.Image, picture_format: PictureFormat, output: io.BytesIO, prompt: str | None) -> None:
    if picture_format == "jpeg":
        picture.save(output, "JPEG", quality=88)
    elif picture_format == "webp":
        picture.save(output, "WEBP", quality=80, method=0)
    else:
        metadata = PngInfo()
        metadata.add_text("Software", "apimaster emulator")
        if prompt is not None:
            metadata.add_itxt("Description", prompt)
        picture.save(output, "PNG", compress_level=1, pnginfo=metadata)


@dataclass(frozen=True, slots=True)
class _Text:
    """The prompt and the caption, wrapped into lines for one size of letters."""

    font: Font
    lines: Sequence[str]
    small_font: Font
    small_lines: Sequence[str]
    gap: int

    @property
    def line_height(self) -> int:
        return _line_height(self.font)

    @property
    def small_line_height(self) -> int:
        return _line_height(self.small_font)

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines) + self.small_line_height * len(self.small_lines) + self.gap


def _draw_text(picture: Image.Image, drawing: Drawing) -> None:
    width, height = picture.size
    margin = max(6, min(width, height) // 24)
    inner = width - 4 * margin
    thumbnails = _thumbnails(drawing, inner, max(24, min(height // 6, min(width, height) // 5)))
    thumbnails_height = thumbnails[0].height + margin if thumbnails else 0
    text = _fitting_text(drawing, picture.size, inner, height - 4 * margin - thumbnails_height, margin // 2)
    top = max(margin, height - 3 * margin - text.height - thumbnails_height)
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.rounded_rectangle((margin, top, width - margin, height - margin), radius=margin, fill=(12, 16, 24, 168))
    x, y = 2 * margin, top + margin
    for line in text.lines:
        draw.text((x, y), line, font=text.font, fill=(255, 255, 255, 255))
        y += text.line_height
    y += text.gap
    for line in text.small_lines:
        draw.text((x, y), line, font=text.small_font, fill=(205, 216, 230, 255))
        y += text.small_line_height
    y += margin
    for number, thumbnail in enumerate(thumbnails):
        picture.paste(thumbnail, (x, y))
        frame = (*MASK_RED, 255) if number >= drawing.references else (255, 255, 255, 200)
        draw.rectangle((x, y, x + thumbnail.width - 1, y + thumbnail.height - 1), outline=frame)
        x += thumbnail.width + max(2, margin // 3)


def _fitting_text(drawing: Drawing, picture_size: tuple[int, int], width: int, height: int, gap: int) -> _Text:
    """The text in the largest letters that fit; in the smallest, the beginning of a text that is too long."""
    size = max(_SMALLEST_LETTERS, min(picture_size) // 14, min(picture_size[1] // 6, picture_size[0] // 40))
    while True:
        font, small_font = _font(drawing.prompt, size), _font(drawing.caption, max(8, size // 2))
        lines, small_lines = _wrap(drawing.prompt, font, width), _wrap(drawing.caption, small_font, width)
        text = _Text(font, lines, small_font, small_lines, gap)
        if text.height <= height:
            return text
        if size <= _SMALLEST_LETTERS:
            break
        size = max(_SMALLEST_LETTERS, int(size * 0.85))
    keep = max(1, (height - text.small_line_height * len(small_lines)) // text.line_height)
    if len(lines) <= keep:
        return text
    return replace(text, lines=[*lines[: keep - 1], lines[keep - 1].rstrip() + "…"])


def _thumbnails(drawing: Drawing, inner: int, side: int) -> list[Image.Image]:
    count = drawing.references + drawing.has_mask
    if not count:
        return []
    gap = max(2, side // 6)
    side = max(8, min(side, (inner - gap * (count - 1)) // count))
    made = [_thumbnail(data, side) for data in drawing.thumbnails]
    made += [_empty(side) for _ in range(drawing.references - len(made))]
    if drawing.has_mask:
        # A reference that is a URL has no bytes here, so the first thumbnail may be that of another one.
        whole = len(drawing.thumbnails) == drawing.references
        made.append(_marked(made[0] if whole else _empty(side), drawing.mask))
    return made


def _empty(side: int) -> Image.Image:
    return Image.new("RGB", (side, side), (70, 78, 92))


def _marked(thumbnail: Image.Image, mask: bytes | None) -> Image.Image:
    """A thumbnail with red where the mask marks it: where it is transparent, or else where it is bright."""
    side = thumbnail.width
    marked = thumbnail.copy()
    if mask is None:
        return marked
    try:
        with Image.open(io.BytesIO(mask), formats=("PNG", "JPEG", "WEBP")) as image:
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            shown = image.convert("RGBA").getchannel("A") if has_alpha else image.convert("L")
            shown.thumbnail((side, side))
    except Exception:  # noqa: BLE001  # a decoder may raise anything about a broken picture
        return marked
    area = shown.point(lambda value: 255 if (value < 128) == has_alpha else 0)
    marked.paste(MASK_RED, ((side - area.width) // 2, (side - area.height) // 2), area)
    return marked


def _thumbnail(data: bytes, side: int) -> Image.Image:
    square = _empty(side)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.draft("RGB", (side * 2, side * 2))  # JPEG is decoded at a fraction of its size
            image.thumbnail((side, side))
            shown = image.convert("RGB")
    except Exception:  # noqa: BLE001  # a decoder may raise anything about a broken picture
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
    # the built-in font has the letters of western languages only
    return _font_of_size(size, None if all(ord(letter) < 0x180 or letter == "…" for letter in text) else _wide_font())


def _line_height(font: Font) -> int:
    _, top, _, bottom = font.getbbox("Ág|")
    return round((bottom - min(0, top)) * 1.25) or 1


def _wrap(text: str, font: Font, width: int) -> list[str]:
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
            while len(line) > 1 and font.getlength(line) > width:  # a long word, or a language without spaces
                keep = max(1, next(n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= width))
                lines.append(line[:keep])
                line = line[keep:]
        lines.append(line)
    return lines
