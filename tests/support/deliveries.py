"""Deliveries of webhooks as the gateway makes them, for tests of what receives them."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

from apimaster.webhooks import sign

SECRET = "whsec-made-up"
MODEL = "gemini-3.1-flash-image-preview"

_numbers = itertools.count(1)


def event(
    task_id: str,
    kind: str = "task.completed",
    *,
    gateway: str = "https://gateway.test/v1",
    event_id: str = "",
    url: str | None = None,
    **data: Any,
) -> dict[str, Any]:
    """The event at the end of a task; ``data`` replaces parts of its content."""
    completed = kind == "task.completed"
    output = url or f"{gateway}/tasks/{task_id}/outputs/0/content"
    content = {
        "task_id": task_id,
        "model": MODEL,
        "kind": "image",
        "status": "completed" if completed else "failed",
        "task_url": f"{gateway}/tasks/{task_id}",
        "result": {"outputs": [{"output_id": "0", "type": "image", "url": output}]} if completed else None,
        "error": None if completed else {"code": "image_generation_failed", "message": "no picture came"},
    }
    name = event_id or f"evt_made_{next(_numbers)}"
    return {"id": name, "type": kind, "api_version": "2026-10-03", "created_at": 1, "data": content | data}


def delivery(document: Any, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """Body and headers, signed."""
    body = json.dumps(document).encode()
    return body, sign(body, secret, timestamp=int(time.time()))
