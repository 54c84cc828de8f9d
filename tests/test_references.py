"""References: the accepted values, their form in JSON, and the values that are refused before anything is sent."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from apimaster._references.checked import CheckedReference, check_references
from apimaster._references.reference import Reference
from apimaster.errors import BadRequestError, ReferenceImageError

MIB = 1024 * 1024


def drawn(kind: str = "PNG", colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(out, kind)
    return out.getvalue()


PNG, JPEG, WEBP = drawn("PNG"), drawn("JPEG"), drawn("WEBP")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def ready(*values: Any, max_count: int = 14, max_bytes: int = 10 * MIB) -> tuple[CheckedReference, ...]:
    references = [Reference.of(value) for value in values]
    return check_references(references, max_count=max_count, max_bytes=max_bytes, model="some-model")


class Holder(BaseModel):
    references: tuple[Reference, ...] = ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cat.png", "cat.png"),
        ("~/cat.png", "~/cat.png"),
        ("a folder/ünïcode: 1.png", "a folder/ünïcode: 1.png"),
        (Path("a") / "cat.png", os.path.join("a", "cat.png")),
        ("https://example.com/cat.png?x=1#y", "https://example.com/cat.png?x=1#y"),
        ("HTTP://example.com:8080/cat", "HTTP://example.com:8080/cat"),
        ("https://[2001:db8::1]/cat", "https://[2001:db8::1]/cat"),
        (PNG, digest(PNG)),
        (bytearray(PNG), digest(PNG)),
        (memoryview(PNG), digest(PNG)),
        (io.BytesIO(PNG), digest(PNG)),
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), digest(PNG)),
        ("DATA:;base64," + base64.encodebytes(PNG).decode(), digest(PNG)),
        ("data:image/png;charset=x;base64," + base64.b64encode(PNG).decode().replace("+", "%2B"), digest(PNG)),
        (digest(PNG), digest(PNG)),
        (Reference.of("cat.png"), "cat.png"),
    ],
)
def test_accepted_values_and_their_text(value: Any, text: str) -> None:
    reference = Reference.of(value)
    holder = Holder(references=[reference])  # type: ignore[arg-type]  # pydantic makes a tuple of it
    stored = holder.model_dump_json()
    assert str(reference) == text
    assert json.loads(stored) == {"references": [text]}
    assert holder.model_dump() == {"references": (text,)}
    again = Holder.model_validate_json(stored)
    assert again == holder
    assert hash(again.references[0]) == hash(reference)
    assert again.model_dump_json() == stored


def test_a_path_object_stays_a_path_even_if_it_looks_like_something_else() -> None:
    for text in ("data:image", "s3:bucket", digest(PNG)):
        reference = Reference.of(Path(text))
        assert str(reference) == os.path.join(os.curdir, text)
        assert Reference.of(str(reference)).path == Path(text)


def test_a_model_takes_every_kind_and_its_schema_is_a_string() -> None:
    holder = Holder(references=("cat.png", PNG, io.BytesIO(PNG)))  # type: ignore[arg-type]
    assert [type(one) for one in holder.references] == [Reference] * 3
    for mode in ("validation", "serialization"):
        assert TypeAdapter(Reference).json_schema(mode=mode)["type"] == "string"  # type: ignore[arg-type]


SECRET = "s3cr3t"
REFUSED = [
    ("", "empty string"),
    ("  ", "empty string"),
    (b"".join, "builtin_function_or_method"),
    (7, "can't be made from a int"),
    (None, "NoneType"),
    ({"url": "x"}, "dict"),
    (io.StringIO("x"), r"open\(path, 'rb'\)"),
    ("file:///home/me/cat.png", "without file://"),
    ("s3://bucket/cat.png", "can't fetch from s3://"),
    ("ftp://example.com/cat.png", "can't fetch from ftp://"),
    ("https://", "not a valid URL"),
    ("https:///cat.png", "not a valid URL"),
    ("https://example.com/a cat.png", "%20"),
    ("https://example.com/a\ncat.png", "not a valid URL"),
    ("https://example.com:port/", "not a valid URL"),
    ("https://[::1/", "not a valid URL"),
    (f"https://me:{SECRET}@example.com/cat.png", "password"),
    (f"https://{SECRET}@example.com/cat.png", "user name"),
    (f"data:image/png,{SECRET}", "data:image/png;base64"),
    (f"data:image/png;base64,{SECRET}=!", "not base64"),
    (f"data:image/png;base64,é{SECRET}", "not base64"),
    ("cat\0.png", "neither a path nor a URL"),
    ("<svg>\n</svg>", "neither a path nor a URL"),
    ("A" * 5000, "neither a path nor a URL"),
    ("cat\udcff.png", "not valid Unicode"),
    (Path("cat\udcff.png"), "not valid Unicode"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_refused_values(value: Any, reason: str) -> None:
    with pytest.raises(ReferenceImageError, match=reason) as refused:
        Reference.of(value)
    assert isinstance(refused.value, ValueError)
    assert SECRET not in str(refused.value)
    assert len(str(refused.value)) < 400
    with pytest.raises(ValidationError, match=reason):
        Holder(references=[value])  # type: ignore[arg-type]


def test_bytes_are_never_shown() -> None:
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    for value in (uri, PNG, io.BytesIO(PNG), Image.new("RGB", (3, 2))):
        reference = Reference.of(value)
        shown = f"{reference!r} {reference} {Holder(references=(reference,))!r} {ready(reference)!r}"
        assert "iVBOR" not in shown
        assert "PNG\\r" not in shown


def test_making_a_reference_reads_nothing() -> None:
    class Unread(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("read too early")

    holder = Holder(references=(Unread(PNG), "/no/such/file", "https://host.invalid/x"))  # type: ignore[arg-type]
    assert "open file" in repr(holder)


def test_equality() -> None:
    assert Reference.of(PNG) == Reference.of(io.BytesIO(PNG)) == Reference.of(digest(PNG))
    assert Reference.of("a.png") != Reference.of("b.png")
    assert Reference.of(PNG) != Reference.of(JPEG)
    assert Reference.of("a.png") != "a.png"
    assert len({Reference.of("a.png"), Reference.of(Path("a.png")), Reference.of(PNG), Reference.of(PNG)}) == 2


@pytest.mark.parametrize("value", [PNG, io.BytesIO(PNG), Image.new("RGB", (3, 2))])
def test_copies_and_pickles_can_still_be_sent(value: Any) -> None:
    reference = Reference.of(value)
    data = ready(reference)[0].data
    for other in (
        copy.copy(reference),
        copy.deepcopy(reference),
        pickle.loads(pickle.dumps(reference)),
        Holder(references=(reference,)).model_copy(deep=True).references[0],
    ):
        assert other == reference
        assert ready(other)[0].data == data


# --- check -------------------------------------------------------------------------------------------------------


def test_every_kind_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "cat.gif"  # the ending is wrong; the bytes count
    path.write_bytes(JPEG)
    url = "https://example.com/cat.heic"
    uri = "data:image/gif;base64," + base64.b64encode(WEBP).decode()
    image = Image.new("RGB", (9, 7), "blue")
    stream = io.BytesIO(b"before" + PNG)
    stream.seek(6)
    with open(path, "rb") as file:
        found = ready(str(path), path, url, PNG, uri, image, stream, file)
    assert [one.media_type for one in found] == [
        "image/jpeg", "image/jpeg", "", "image/png", "image/webp", "image/png", "image/png", "image/jpeg",
    ]  # fmt: skip
    assert [one.is_local for one in found] == [True, True, False, True, True, True, True, True]
    assert found[0].path == path
    assert found[0].size == len(JPEG)
    assert found[2].url == url
    assert [one.data for one in found[3:5]] == [PNG, WEBP]
    assert [one.data for one in found[6:]] == [PNG, JPEG]
    assert Image.open(io.BytesIO(found[5].data or b"")).tobytes() == image.tobytes()


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "cat.png").write_bytes(PNG)
    assert ready("~/cat.png")[0].path == tmp_path / "cat.png"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "F", "I;16"])
def test_pil_images_of_every_mode(mode: str) -> None:
    (found,) = ready(Image.new(mode, (4, 3)))
    assert Image.open(io.BytesIO(found.data or b"")).size == (4, 3)


def test_a_file_is_read_once_for_all_requests_and_threads() -> None:
    stream = io.BytesIO(PNG)
    reference = Reference.of(stream)
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(ready(reference)[0].data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [PNG] * 8
    stream.close()
    assert ready(reference)[0].data == PNG


def heic() -> bytes:
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50


def sparse(path: Path, size: int) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    return path


WRONG_BYTES = [
    (b"", "is empty"),
    (heic(), "this is HEIC; the endpoint takes JPEG, PNG and WebP. Nothing was charged. Convert it first"),
    (drawn("GIF"), "this is GIF; .* Convert it first"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "this is SVG; .*rsvg-convert"),
    (b"<!doctype html>", "not the page that shows it"),
    (PNG[:-1], "PNG picture is cut short"),
    (JPEG[:-1], "JPEG picture is cut short"),
    (WEBP[:-1], "WEBP picture is cut short"),
    (b"hello", "not in a known picture format; the endpoint takes JPEG"),
    (PNG + b"\0" * 5000, "larger than the 5000 bytes"),
]


@pytest.mark.parametrize("how", ["file", "bytes", "stream"])
@pytest.mark.parametrize(("data", "reason"), WRONG_BYTES, ids=range(len(WRONG_BYTES)))
def test_wrong_bytes_are_named_with_their_place(data: bytes, reason: str, how: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(data)
    value = {"file": path, "bytes": data, "stream": io.BytesIO(data)}[how]
    with pytest.raises(ReferenceImageError, match=reason) as refused:
        ready("https://example.com/x.png", value, max_bytes=5000)
    assert str(refused.value).startswith("reference 2 (")
    if how == "file":
        assert str(path)[:60] in str(refused.value)
    assert refused.value.billed == "no"


def test_paths_without_a_picture(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PNG)
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "missing.png", "there is no such file"),
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "cat.png", "part of its path is not a folder"),
        (tmp_path / "pipe", "not a regular file"),
        (Path(os.devnull), "not a regular file"),
        (tmp_path / ("x" * 300), "too long"),
        ("~no-such-user/cat.png", "there is no such file"),
        (sparse(tmp_path / "large", 10 * MIB + 1), "larger than the 10 MiB that the endpoint takes"),
        (sparse(tmp_path / "zeros", 10 * MIB), "nothing but zeros"),
    ):
        with pytest.raises(ReferenceImageError, match=reason):
            ready(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    path.chmod(0)
    with pytest.raises(ReferenceImageError, match="may not be read"):
        ready(path)


def test_too_many_are_refused_before_any_is_opened() -> None:
    with pytest.raises(ReferenceImageError, match="15 references were given; some-model takes at most 14"):
        ready(*["/no/such/file"] * 15)


def test_a_digest_alone_cannot_be_sent() -> None:
    stored = Holder(references=(PNG,)).model_dump_json()  # type: ignore[arg-type]
    with pytest.raises(ReferenceImageError, match=r"reference 1 \(sha256:.* pass the bytes again"):
        ready(*Holder.model_validate_json(stored).references)


class Broken(io.BytesIO):
    def __init__(self, outcome: Exception | object) -> None:
        super().__init__()
        self.outcome = outcome

    def read(self, *_: object) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("outcome", [OSError("the disk is gone"), ValueError("I/O operation on closed file"), "text"])
def test_a_stream_that_cannot_be_read(outcome: object) -> None:
    with pytest.raises(ReferenceImageError, match="reference open file can't be read"):
        ready(Broken(outcome))


def test_an_endless_stream_is_read_to_the_limit_only() -> None:
    reason = r"reference 1 \(open file /dev/zero\) is larger than the 10 MiB"
    with open("/dev/zero", "rb") as zeros, pytest.raises(ReferenceImageError, match=reason):
        ready(zeros)


def test_a_pil_image_that_cannot_be_encoded() -> None:
    cut = Image.open(io.BytesIO(drawn("PNG")[:-30]))
    with pytest.raises(BadRequestError, match="PIL image"):
        ready(cut)


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://GenerativeLanguage.googleapis.com./v1beta/files/abc:download?alt=media",
        "https://api.openai.com/v1/files/file-1/content",
        "https://api.anthropic.com/v1/files/file_1/content",
    ],
)
def test_a_url_that_only_its_provider_can_fetch_is_refused_by_name(url: str) -> None:
    with pytest.raises(ReferenceImageError, match="only its provider can fetch it") as refusal:
        Reference.of(url)
    assert url in str(refusal.value)


@pytest.mark.parametrize("url", ["https://example.com/v1beta/files/abc", "https://storage.googleapis.com/a/b.png"])
def test_a_public_url_of_a_file_is_accepted(url: str) -> None:
    assert Reference.of(url).is_url
