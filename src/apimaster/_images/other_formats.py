"""Name the format of bytes that are not PNG, JPEG or WebP, for error messages: HEIC, SVG, an HTML page."""

from __future__ import annotations

from typing import Final

_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_OTHER_KINDS: Final = (
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
)
_TEXT_KINDS: Final = (
    ((b"<!doctype html", b"<html"), "an HTML page"),
    ((b"<",), "XML or HTML"),
    ((b"{", b"["), "JSON"),
    ((b"data:image/",), "the text of a data URI"),
)


def identify(head: bytes) -> str | None:
    """The name of the format, from the first bytes (a few hundred are enough): ``HEIC``, ``an HTML page``, or None."""
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(int.from_bytes(head[:4], "big"), len(head)), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & _HEIF_BRANDS else "a video (MP4 or QuickTime)"
    for start, name in _OTHER_KINDS:
        if head.startswith(start):
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "SVG"
    return next((name for starts, name in _TEXT_KINDS if text.startswith(starts)), None)
