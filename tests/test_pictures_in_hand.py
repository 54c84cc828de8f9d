"""What people have in hand as a reference: pictures arrive as they look, or are refused."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.datastructures import UploadFile

from apimaster import APIMaster, BadRequestError, GeneratedImage, ImageResult, ReferenceImageError
from apimaster._references.reference import Reference
from apimaster.emulator import Emulator


def sent(value: Any) -> Image.Image:
    """The picture that a request holds."""
    in_memory = Reference.of(value).in_memory
    assert in_memory is not None
    picture = Image.open(io.BytesIO(in_memory.data()))
    picture.load()
    return picture


def png(colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(out, "PNG")
    return out.getvalue()


def test_a_photo_is_upright() -> None:
    image = Image.new("RGB", (20, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    turned = sent(Image.open(out))
    assert turned.size == (10, 20)
    assert turned.getexif().get(0x0112, 1) == 1


GREY = {  # mode: the value of half brightness
    "L": 128,
    "I;16": 128 * 257,
    "I;16B": 128 * 257,
    "I": 128 * 257,
    "F": 0.5,
}


@pytest.mark.parametrize("mode", GREY)
def test_brightness_stays(mode: str) -> None:
    white = {"L": 255, "F": 1.0}.get(mode, 65535)
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), GREY[mode])
    image.putpixel((1, 0), white)
    found = sent(image).convert("L")
    assert abs(found.getpixel((0, 0)) - 128) <= 1  # type: ignore[operator]
    assert found.getpixel((1, 0)) == 255


@pytest.mark.parametrize(("mode", "value"), [("I", 200), ("F", 200.0)])
def test_what_holds_bytes_keeps_them(mode: str, value: float) -> None:
    assert sent(Image.new(mode, (2, 2), value)).getpixel((0, 0)) == 200


@pytest.mark.parametrize(("mode", "value"), [("I", -1), ("I", 70_000), ("F", -0.5), ("F", 300.0), ("F", float("nan"))])
def test_a_brightness_that_nobody_can_tell_is_refused(mode: str, value: float) -> None:
    with pytest.raises(ReferenceImageError, match="which one is white"):
        sent(Image.new(mode, (2, 2), value))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_transparency_stays(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image = {"PA": lambda: image.convert("P").convert("PA"), "La": lambda: image.convert("LA").convert("La")}.get(
        mode, lambda: image.convert(mode)
    )()
    found = sent(image).convert("RGBA")
    if mode != "PA":  # converting to a palette loses the transparency before it comes here
        assert (found.getpixel((0, 0))[3], found.getpixel((3, 3))[3]) == (255, 0)  # type: ignore[index]
    assert sent(image).mode in ("RGBA", "LA")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "1", "P"])
def test_other_modes_are_drawable(mode: str) -> None:
    image = Image.new("RGB", (4, 4), "red")
    assert sent(Image.new("LAB", (4, 4)) if mode == "LAB" else image.convert(mode)).size == (4, 4)


def test_a_file_at_its_end_is_read_from_its_beginning(tmp_path: Path) -> None:
    written = io.BytesIO()
    written.write(png())
    assert sent(written).size == (20, 10)
    assert sent(written).size == (20, 10), "handed in a second time"
    (tmp_path / "a.png").write_bytes(png())
    with (tmp_path / "a.png").open("rb") as file:
        assert [sent(file).size for _ in range(2)] == [(20, 10)] * 2
        file.seek(0)
        file.read(3)
        with pytest.raises(OSError, match="cannot identify"):
            sent(file)  # from its current position, as before


def test_an_empty_file_is_still_empty() -> None:
    in_memory = Reference.of(io.BytesIO()).in_memory
    assert in_memory is not None
    assert in_memory.data() == b""


def test_an_upload_of_a_web_framework() -> None:
    assert sent(UploadFile(io.BytesIO(png()), filename="a.png")).size == (20, 10)


class Array:
    """An object with numpy's array interface; numpy itself is not needed."""

    def __init__(self, shape: tuple[int, ...], typestr: str = "|u1") -> None:
        self._data = bytes(range(256)) * 8
        size = 1
        for each in shape:
            size *= each
        width = int(typestr[2:])
        self.__array_interface__ = {"shape": shape, "typestr": typestr, "version": 3}
        self._bytes = b"\0\1" * (size // 2) if typestr == "|b1" else self._data[: size * width]

    def tobytes(self) -> bytes:
        return self._bytes


@pytest.mark.parametrize(("shape", "mode"), [((4, 6), "L"), ((4, 6, 3), "RGB"), ((4, 6, 4), "RGBA")])
def test_an_array_of_bytes(shape: tuple[int, ...], mode: str) -> None:
    found = sent(Array(shape))
    assert (found.mode, found.size) == (mode, (6, 4))
    assert found.tobytes() == Array(shape).tobytes()


def test_an_array_of_bits_is_black_and_white() -> None:
    assert set(sent(Array((4, 6), "|b1")).tobytes()) <= {0, 255}


@pytest.mark.parametrize(
    ("shape", "typestr"),
    [
        ((4, 6, 3), "<f4"),
        ((4, 6), "<f8"),
        ((4, 6), "<i8"),
        ((4,), "|u1"),
        ((1, 4, 6, 3), "|u1"),
        ((4, 6, 5), "|u1"),
        ((0, 3), "|u1"),
        ((4, 6, 3), "|b1"),
    ],
)
def test_another_array_is_refused_by_its_shape(shape: tuple[int, ...], typestr: str) -> None:
    with pytest.raises(ReferenceImageError, match=r"is not a picture.*uint8"):
        Reference.of(Array(shape, typestr))  # type: ignore[arg-type]


def test_a_picture_that_was_made_before(tmp_path: Path) -> None:
    assert Reference.of(GeneratedImage(path=tmp_path / "a.png")).path == tmp_path / "a.png"  # type: ignore[arg-type]
    assert str(Reference.of(GeneratedImage(url="https://example.com/a.png"))) == "https://example.com/a.png"  # type: ignore[arg-type]
    image = GeneratedImage(url="https://example.com/a.png")
    result = ImageResult(images=(image,), model="m", cost=Decimal(0))
    assert str(Reference.of(result)) == "https://example.com/a.png"  # type: ignore[arg-type]
    for wrong in (GeneratedImage(), result.model_copy(update={"images": (image, image)})):
        with pytest.raises(BadRequestError):
            Reference.of(wrong)  # type: ignore[arg-type]


def test_a_result_is_edited_by_the_next_call(server: Emulator, soon: None, tmp_path: Path) -> None:
    server.reset()
    with APIMaster(server.api_key, base_url=server.base_url) as client:
        first = client.generate("a castle", save_to=tmp_path / "castle.png")
        for reference in (first, first.images[0]):
            client.generate("at night", references=[reference])
    assert [len(request.references) for request in server.requests_to("submit")] == [0, 1, 1]


def test_a_phones_picture_is_a_jpeg_for_the_emulator(server: Emulator, soon: None) -> None:
    out = io.BytesIO()
    views = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    views[0].save(out, "MPO", save_all=True, append_images=views[1:])
    server.reset()
    with APIMaster(server.api_key, base_url=server.base_url) as client:
        client.generate("at night", references=[out.getvalue()])
    assert server.requests_to("submit")[-1].references[0].media_type == "image/jpeg"
