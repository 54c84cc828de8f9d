"""The FastAPI example, served over HTTP: the emulator delivers to it, and no task is polled."""

from __future__ import annotations

import runpy
from pathlib import Path

import httpx
import pytest
from waiting import post, register

from apimaster.emulator import Emulator
from apimaster.emulator.server import Server, listen

EXAMPLE = Path(__file__).parents[1] / "examples" / "web" / "fastapi_app.py"


def test_a_picture_is_ordered_and_saved_without_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Emulator(latency=0.2, pictures="small") as emu:
        socket = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        endpoint_id, secret = register(emu, f"{url}/webhooks/apimaster")
        variables = {"APIMASTER_WEBHOOK_SECRET": secret, "APIMASTER_WEBHOOK_ENDPOINT": endpoint_id}
        for name, value in (emu.env | variables).items():
            monkeypatch.setenv(name, value)
        server = Server(runpy.run_path(str(EXAMPLE))["app"], [socket])
        server.start()
        try:
            post(emu, f"/webhook-endpoints/{endpoint_id}/verify")
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as browser:
                made = browser.post("/pictures", json={"prompt": "an orange cat"})
                assert made.status_code == 200, made.text
                assert (tmp_path / made.json()["path"]).stat().st_size > 0
                assert made.json()["cost"] == "0.0375"
                assert browser.post("/webhooks/apimaster", json={}).status_code == 400
                assert browser.get("/webhooks/apimaster").status_code == 405
                assert emu.requests_to("poll") == []
                emu.set_faults({"task_failed": 1.0})
                assert browser.post("/pictures", json={"prompt": "an orange cat"}).status_code == 502
        finally:
            server.stop()
        assert len(emu.requests_to("poll")) == 1, "which confirms the failure"
        assert len(emu.bill.charges) == 2
