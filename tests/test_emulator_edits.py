"""Edits at the emulated gateway: its routes, its forms, and what it refuses of a mask."""

from __future__ import annotations

import base64
import io
from typing import Any

from gateway_http import client_of
from PIL import Image

from apimaster.catalog import DEFAULT_MODEL
from apimaster.emulator import Emulator

MASKED = "gpt-image-2"
URL = "https://example.com/a.png"
MASK_URL = "https://example.com/mask.png"
SIZE = (64, 48)


def photo(kind: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", SIZE, (20, 90, 160)), kind)


def mask(size: tuple[int, int] = SIZE) -> bytes:
    return encoded(Image.new("RGBA", size, (0, 0, 0, 0)), "PNG")


def encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def purchases(server: Emulator) -> list[Any]:
    return [request for request in server.requests if request.route in ("sync", "submit")]


def test_the_gateway_checks_what_a_client_sends(server: Emulator) -> None:
    """A client without checks of its own gets these answers."""
    server.reset()
    table: list[tuple[dict[str, Any], str]] = [
        ({"model": DEFAULT_MODEL, "mask_url": MASK_URL}, "mask_url is not supported by"),
        ({"mask_url": MASK_URL, "image_urls": []}, "mask_url requires an image"),
        ({"mask_url": [MASK_URL]}, "mask_url: a URL or a data URI is required"),
        ({"mask_url": "mask.png"}, "mask_url: not an http(s) URL"),
        ({"mask_url": data_uri(b"x")}, "mask_url: the image could not be decoded"),
        ({"mask_url": data_uri(mask((9, 9))), "image_urls": [data_uri(photo())]}, "mask_url is 9x9, but the image is"),
    ]
    with client_of(server) as raw:
        for fields, reason in table:
            body = {"model": MASKED, "prompt": "a hat", "image_urls": [URL], **fields}
            for path in ("/images/generations", "/images/generations/async", "/images/edits", "/images/edits/async"):
                response = raw.post(path, json=body)
                expected = "image is required" if "edits" in path and not body["image_urls"] else reason
                assert (response.status_code, expected in response.json()["error"]["message"]) == (400, True)
    assert not server.bill.charges


def test_the_routes_of_edits_take_json_and_forms(server: Emulator) -> None:
    server.reset()
    fields = {"model": MASKED, "prompt": "a hat", "n": "2", "size": "1:1"}
    with client_of(server) as raw:
        for path, route in (("/images/edits", "sync"), ("/images/edits/async", "submit")):
            server.reset()
            body = {**fields, "n": 2, "image_urls": [data_uri(photo())], "mask_url": data_uri(mask())}
            files = [("image", ("a.png", photo())), ("mask", ("mask.png", mask()))]
            lists = [("image[]", ("a.png", photo())), ("image[]", ("b.jpg", photo("JPEG")))]
            replies = [raw.post(path, json=body), raw.post(path, data=fields, files=files)]
            replies += [raw.post(path, data={**fields, "mask": MASK_URL}, files=lists)]
            assert [each.status_code for each in replies] == [200] * 3, [each.text for each in replies]
            first, second, third = purchases(server)
            assert {each.route for each in (first, second, third)} == {route}
            assert first.mask == second.mask
            assert first.references == second.references
            assert (third.mask and third.mask.url, len(third.references)) == (MASK_URL, 2)
            assert [each.body["n"] for each in (first, second, third)] == [2, 2, 2]
            bad = [
                raw.post(path, data=fields, files=[("mask", ("mask.png", mask()))]),
                raw.post(path, data=fields, files=[*files, ("mask", ("mask.png", mask()))]),
                raw.post(path, json={**fields, "n": 2}),
                raw.post(path, content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"}),
                raw.post(path, content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"}),
                raw.post("/images/generations", data=fields, files=files),
            ]
            assert [each.status_code for each in bad] == [400] * len(bad)
            assert len(purchases(server)) == 3 + len(bad)
            assert len(server.bill.charges) == 3
