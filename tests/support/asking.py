"""The emulator as a gateway, asked with plain httpx: what its own tests share."""

from __future__ import annotations

import io
import ssl
from typing import Any

import httpx
from PIL import Image

from apimaster.catalog import DEFAULT_MODEL
from apimaster.emulator import Emulator

SYNC = "/images/generations"
SUBMIT = "/images/generations/async"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used here, and costs 40 ms where each client makes its own
http = httpx.Client(verify=NO_TLS, timeout=10)  # a caller without a key
ORDER = {"model": DEFAULT_MODEL, "prompt": "A lighthouse at night", "size": "16:9", "resolution": "0.5K"}


def client_of(emulator: Emulator, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=emulator.base_url,
        headers={"authorization": f"Bearer {emulator.api_key}", **headers},
        timeout=10,
        verify=NO_TLS,
    )


def submit(client: httpx.Client, **fields: Any) -> str:
    reply = client.post(SUBMIT, json={**ORDER, **fields})
    assert reply.status_code == 200, reply.text
    task_id: str = reply.json()["data"][0]["task_id"]
    return task_id


def look(client: httpx.Client, task_id: str) -> dict[str, Any]:
    reply = client.get(f"/tasks/{task_id}", params={"model": DEFAULT_MODEL})
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.width, image.height
