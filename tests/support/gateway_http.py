"""Calls to the emulator with plain httpx, for tests that check the gateway itself and not a client."""

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
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, but each client would spend 40 ms on making its own
REQUEST = {"model": DEFAULT_MODEL, "prompt": "A lighthouse at night", "size": "16:9", "resolution": "0.5K"}

without_key = httpx.Client(verify=NO_TLS, timeout=10)


def client_of(emulator: Emulator, **headers: str) -> httpx.Client:
    """A client with the emulator's base URL and key."""
    return httpx.Client(
        base_url=emulator.base_url,
        headers={"authorization": f"Bearer {emulator.api_key}", **headers},
        timeout=10,
        verify=NO_TLS,
    )


def submit(client: httpx.Client, **fields: Any) -> str:
    """Submit ``REQUEST``, changed by ``fields``; returns the task id."""
    response = client.post(SUBMIT, json={**REQUEST, **fields})
    assert response.status_code == 200, response.text
    task_id: str = response.json()["data"][0]["task_id"]
    return task_id


def poll(client: httpx.Client, task_id: str) -> dict[str, Any]:
    """Poll a task, as a good client does: with its model."""
    response = client.get(f"/tasks/{task_id}", params={"model": DEFAULT_MODEL})
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, which has to be whole."""
    return format_and_size(data)[1]


def format_and_size(data: bytes) -> tuple[str | None, tuple[int, int]]:
    """Format, width and height of a picture, which has to be whole."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.format, image.size
