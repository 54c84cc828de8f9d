"""The emulator's route for uploads, its limits, and what the channels behind the gateway refuse."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateway_http import REQUEST, SUBMIT, SYNC, client_of, format_and_size, submit, without_key
from large_pictures import MEGABYTE, padded_png
from PIL import Image

from apimaster.emulator import Channel, Emulator
from apimaster.emulator.channels import WORDS

UPLOAD = "/uploads/images"


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


@pytest.fixture(scope="module")
def client(server: Emulator) -> Iterator[httpx.Client]:
    with client_of(server) as made:
        yield made


def picture(kind: str = "PNG", size: tuple[int, int] = (80, 20)) -> bytes:
    output = io.BytesIO()
    Image.new("RGB", size, "red").save(output, kind)
    return output.getvalue()


def upload(client: httpx.Client, data: bytes, name: str = "a.png") -> httpx.Response:
    return client.post(UPLOAD, files={"file": (name, data, "application/octet-stream")})


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_an_upload_gets_a_public_url(emu: Emulator, client: httpx.Client, kind: str, media_type: str) -> None:
    data = picture(kind)
    document = upload(client, data, "über.bin").json()
    assert set(document) == {"url", "filename", "content_type", "bytes", "created_at"}
    assert (document["filename"], document["content_type"], document["bytes"]) == ("über.bin", media_type, len(data))
    shown = without_key.get(document["url"])
    assert (shown.content, shown.headers["content-type"]) == (data, media_type)
    (reference,) = emu.requests_to("upload")[0].references
    assert reference.sha256 == hashlib.sha256(data).hexdigest()
    assert len(emu.bill) == 0


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"files": {"picture": ("a.png", picture(), "image/png")}}, 400, "the field file is required"),
        ({"data": {"file": "text"}, "files": {"x": ("", b"")}}, 400, "the field file is required"),
        ({"files": {"file": ("a.png", b"no picture at all", "image/png")}}, 400, "not an image"),
        ({"files": {"file": ("a.bmp", picture("BMP"), "image/png")}}, 400, "not an image"),
        ({"files": {"file": ("a.png", b"", "image/png")}}, 400, "not an image"),
        ({"json": {"file": "x"}}, 400, "multipart/form-data"),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form"),
    ],
)
def test_uploads_that_are_refused(
    emu: Emulator, client: httpx.Client, body: dict[str, Any], status: int, message: str
) -> None:
    response = client.post(UPLOAD, **body)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert emu.gateway.uploads.all() == []


def test_an_upload_needs_a_key(emu: Emulator) -> None:
    response = without_key.post(emu.base_url + UPLOAD, files={"file": picture()})
    assert response.status_code == 401


def test_the_limits_of_an_upload(client: httpx.Client, emu: Emulator) -> None:
    assert upload(client, padded_png(20 * MEGABYTE)).status_code == 200
    for size in (20 * MEGABYTE + 1, 33 * MEGABYTE):
        refused = upload(client, padded_png(size))
        assert refused.status_code == 413
        assert set(refused.json()["error"]) == {"message"}  # sometimes without type and code


def test_the_limit_of_a_request() -> None:
    with Emulator(request_limit=2000, pictures="plain") as emu, client_of(emu) as client:
        room = 2000 - len(client.build_request("POST", SYNC, json={**REQUEST, "x": ""}).content)
        assert client.post(SYNC, json={**REQUEST, "x": "a" * room}).status_code == 200
        for path in (SYNC, SUBMIT):
            refused = client.post(path, json={**REQUEST, "x": "a" * (room + 1)})
            assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
            pieces = iter([b'{"a":"', b"x" * 3000, b'"}'])  # without Content-Length
            assert client.post(path, content=pieces).status_code == 413
        assert upload(client, padded_png(1900)).status_code == 413
        assert len(emu.bill.charges) == 1


def test_the_default_limit_is_32_megabytes() -> None:
    with Emulator(pictures="plain") as emu, client_of(emu) as client:
        data = base64.b64encode(padded_png(8 * MEGABYTE)).decode()
        references = [f"data:image/png;base64,{data}"] * 3
        assert client.post(SUBMIT, json={**REQUEST, "image_urls": references[:2]}).status_code == 200
        assert client.post(SUBMIT, json={**REQUEST, "image_urls": references}).status_code == 413


def test_the_bytes_of_many_large_uploads_are_not_kept(emu: Emulator, client: httpx.Client) -> None:
    urls = [upload(client, padded_png(10 * MEGABYTE, number)).json()["url"] for number in range(5)]
    kept = emu.gateway.uploads
    assert [image.size for image in kept.all()] == [10 * MEGABYTE] * 5
    assert sum(map(len, kept._bytes.values())) <= 32 * MEGABYTE
    first = without_key.get(urls[0])
    assert format_and_size(first.content) == ("PNG", (60, 40))  # the thumbnail
    assert len(first.content) < 10_000
    assert len(without_key.get(urls[-1]).content) == 10 * MEGABYTE


def test_a_request_knows_the_uploads_that_it_names(emu: Emulator, client: httpx.Client) -> None:
    first, second = picture(size=(80, 20)), picture("JPEG", (20, 80))
    url = upload(client, first).json()["url"]
    inline = f"data:image/jpeg;base64,{base64.b64encode(second).decode()}"
    fields = {"size": "auto", "image_urls": ["https://pictures.example/a.png", url, inline]}
    task_id = submit(client, **fields)
    record = emu.requests_to("submit")[0]
    assert [reference.kind for reference in record.references] == ["url", "upload", "data"]
    assert [reference.width for reference in record.references] == [None, 80, 20]
    job = emu.gateway.jobs.get(task_id)
    assert job is not None
    assert job.request.pixels == (1024, 256)  # 4:1, as the first reference whose size is known
    assert [reference.sha256 for reference in record.references[1:]] == [
        hashlib.sha256(data).hexdigest() for data in (first, second)
    ]


def test_uploads_are_shown_in_the_picture() -> None:
    with Emulator(pictures="full") as emu, client_of(emu) as client:
        url = upload(client, picture(size=(40, 40))).json()["url"]

        def red_of(**fields: Any) -> int:
            data = without_key.get(client.post(SYNC, json={**REQUEST, **fields}).json()["data"][0]["url"]).content
            with Image.open(io.BytesIO(data)) as image:
                pixels = image.convert("RGB").tobytes()
            return sum(pixels[at : at + 3] == b"\xff\0\0" for at in range(0, len(pixels), 3))

        assert red_of() == 0
        assert red_of(image_urls=["https://pictures.example/a.png"]) == 0
        assert red_of(image_urls=[url]) > 100


@pytest.mark.parametrize("gone", ["expired", "never"])
def test_an_upload_that_is_gone_is_refused(gone: str) -> None:
    with Emulator(pictures="plain", upload_lifetime=60) as emu, client_of(emu) as client:
        url = upload(client, picture()).json()["url"]
        assert client.post(SYNC, json={**REQUEST, "image_urls": [url]}).status_code == 200
        if gone == "expired":
            emu.advance(61)
        else:
            url = f"{emu.url}/uploads/never.png"
        refused = client.post(SYNC, json={**REQUEST, "image_urls": [url]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_image")
        assert without_key.get(url).status_code == 404
        assert len(emu.bill.charges) == 1


# --- channels ---------------------------------------------------------------------------------------------

INLINE = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
REFUSALS = [
    ("no_half_k", {"resolution": "0.5K"}, 400),
    ("no_half_k", {"resolution": "1K"}, 200),
    ("google", {"resolution": "0.5k"}, 400),
    ("no_data_uris", {"image_urls": [INLINE]}, 400),
    ("no_data_uris", {"image_urls": ["https://pictures.example/a.png", INLINE]}, 400),
    ("no_data_uris", {"image_urls": ["https://pictures.example/a.png"]}, 200),
    ("any", {"resolution": "0.5K", "image_urls": [INLINE]}, 200),
]


@pytest.mark.parametrize("chosen_by", ["server", "request"])
@pytest.mark.parametrize(("channel", "fields", "status"), REFUSALS)
def test_what_a_channel_refuses(
    emu: Emulator, client: httpx.Client, channel: str, fields: dict[str, Any], status: int, chosen_by: str
) -> None:
    headers = {}
    if chosen_by == "server":
        emu.channel = channel  # type: ignore[assignment]  # the setter reads texts
    else:
        headers = {"x-emulator-channel": channel}
    for path in (SYNC, SUBMIT):
        response = client.post(path, json={**REQUEST, **fields}, headers=headers)
        assert response.status_code == status, response.text
    assert len(emu.bill.charges) == (2 if status == 200 else 0)
    emu.reset()
    assert emu.channel == Channel()


@pytest.mark.parametrize(("channel", "pixels"), [("any", (1024, 256)), ("auto_square", (512, 512))])
def test_a_channel_that_makes_auto_square(
    emu: Emulator, client: httpx.Client, channel: str, pixels: tuple[int, int]
) -> None:
    fields = {**REQUEST, "size": "auto", "resolution": "0.5K", "image_urls": [INLINE]}
    response = client.post(SYNC, json=fields, headers={"x-emulator-channel": channel})
    assert format_and_size(without_key.get(response.json()["data"][0]["url"]).content)[1] == pixels


def test_a_channel_that_draws_several_charges_for_one(emu: Emulator, client: httpx.Client) -> None:
    emu.channel = "several"  # type: ignore[assignment]
    assert len(client.post(SYNC, json=REQUEST).json()["data"]) == 2
    task = client.get(f"/tasks/{submit(client)}").json()["data"]
    assert len(task["result"]["images"]) == 2
    assert [entry.images for entry in emu.bill.charges] == [1, 1]


def test_channels_are_written_and_read() -> None:
    for word in WORDS:
        assert Channel.parse(str(Channel.parse(word))) == Channel.parse(word)
    assert str(Channel.parse("several, no_half_k")) == "no_half_k+several"
    with pytest.raises(ValueError, match=r"'klingon' is not known; accepted.*no_data_uris"):
        Emulator(channel="klingon")


def test_a_channel_from_another_process(emu: Emulator, client: httpx.Client) -> None:
    control = f"{emu.url}/_emulator/script"
    assert without_key.post(control, json={"channel": "no_half_k"}).status_code == 200
    assert client.post(SYNC, json=REQUEST).status_code == 400
    assert without_key.post(control, json={"channel": "klingon"}).status_code == 400
    bad = client.post(SYNC, json=REQUEST, headers={"x-emulator-channel": "klingon"})
    assert "klingon" in bad.json()["error"]["message"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"request_limit": 0}, "request_limit"),
        ({"request_limit": 1.5}, "request_limit"),
        ({"upload_limit": -1}, "upload_limit"),
        ({"upload_limit": True}, "upload_limit"),
        ({"upload_lifetime": 0}, "upload_lifetime"),
        ({"upload_lifetime": float("nan")}, "upload_lifetime"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Emulator(**settings)
