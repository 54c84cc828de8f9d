"""Whole pictures of any number of bytes, made quickly: a small one, padded by what every decoder passes over."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from PIL import Image

MEGABYTE = 1024 * 1024


def padded_png(size: int, colour: int = 0, pixels: tuple[int, int] = (60, 40)) -> bytes:
    """A PNG of exactly ``size`` bytes: an ancillary chunk of nothing comes before its pixels."""
    output = io.BytesIO()
    Image.new("RGB", pixels, (colour * 37 % 256, colour * 91 % 256, 120)).save(output, "PNG")
    small = output.getvalue()
    padding = bytes(size - len(small) - 12)
    chunk = len(padding).to_bytes(4, "big") + b"puFf" + padding + zlib.crc32(b"puFf" + padding).to_bytes(4, "big")
    header = small[:33]  # signature and IHDR
    return header + chunk + small[33:]


def padded_files(folder: Path, count: int = 14, size: int = 10 * MEGABYTE) -> list[Path]:
    """So many files of so many bytes, all different."""
    files = []
    for number in range(count):
        file = folder / f"reference-{number:02}.png"
        file.write_bytes(padded_png(size, number))
        files.append(file)
    return files
