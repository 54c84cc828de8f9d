"""What bytes are that are not a PNG, JPEG or WebP picture, so that an error can say "this is HEIC", not "unknown"."""

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


def what_it_is(head: bytes) -> str:
    """A clause for an error message, from the first bytes (a few hundred are enough): ``this is HEIC``."""
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(int.from_bytes(head[:4], "big"), len(head)), 4)}
        if brands & {b"avif", b"avis"}:
            return "this is AVIF"
        return "this is HEIC" if brands & _HEIF_BRANDS else "this is a video (MP4 or QuickTime)"
    for start, name in _OTHER_KINDS:
        if head.startswith(start):
            return f"this is {name}"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "this is SVG"
    if text.startswith((b"<!doctype html", b"<html")):
        return "this is an HTML page"
    if text.startswith(b"<"):
        return "this is XML or HTML"
    if text.startswith((b"{", b"[")):
        return "this is JSON"
    if text.startswith(b"data:image/"):
        return "this is the text of a data URI"
    if not any(head):
        return "it holds nothing but zeros"
    return "these bytes are no picture format that is known here"
