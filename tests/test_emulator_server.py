"""The emulator from outside its API: control routes, status page, coming and going, the pytest fixture."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asking import NO_TLS, ORDER, SUBMIT, SYNC, client_of, http, look, size_of, submit

from apimaster.emulator import Emulator
from apimaster.emulator.server import Server, listen


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(pictures="plain") as emulator:
        yield emulator


# --- the control routes and the page ----------------------------------------------------------------------


def test_control_from_another_process(emu: Emulator) -> None:
    with httpx.Client(base_url=f"{emu.url}/_emulator", verify=NO_TLS) as control, client_of(emu) as client:
        wanted = {
            "faults": ["rate_limited", {"fault": "poll_503", "times": 2}],
            "latency": "manual",
            "dialect": "legacy",
        }
        assert control.post("/script", json=wanted).json() == {"ok": True}
        assert client.post(SUBMIT, json=ORDER).status_code == 429
        task_id = submit(client)
        assert [client.get(f"/tasks/{task_id}").status_code for _ in range(3)] == [503, 503, 200]
        control.post("/finish", json={"task": task_id})
        assert look(client, task_id)["data"]["status"] == "completed"
        other = submit(client)
        control.post("/fail", json={"task": other, "reason": "because"})
        assert look(client, other)["data"]["error"] == "because"
        assert len(control.get("/tasks", params={"last": 1}).json()["tasks"]) == 1
        assert control.get("/faults").json()["faults"]["hang"] == "generate"
        control.post("/advance", json={"seconds": 7})
        control.post("/reset", json={})
        assert control.get("/bill").json()["total"] == "0"
        assert emu.requests == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("script", {"faults": ["nonsense"]}, "nonsense"),
        ("script", {"fault": "hang"}, "'fault' is not known"),
        ("script", {"dialect": "klingon"}, "klingon"),
        ("script", {"faults": [{"fault": "hang", "on": "moon"}]}, "moon"),
        ("script", {"chances": {"hang": 2}}, "no probability"),
        ("advance", {"seconds": -1}, "-1"),
        ("advance", {}, "seconds"),
        ("finish", {"task": "task_NONE"}, "task_NONE"),
    ],
)
def test_control_refuses_with_the_reason(emu: Emulator, path: str, body: dict[str, Any], said: str) -> None:
    reply = http.post(f"{emu.url}/_emulator/{path}", json=body)
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


def test_a_web_page_can_not_control_it(emu: Emulator) -> None:
    reply = http.post(f"{emu.url}/_emulator/reset", content=b"{}", headers={"content-type": "text/plain"})
    assert reply.status_code == 415


def test_the_status_page_escapes_what_it_shows() -> None:
    with Emulator() as emu, client_of(emu) as client:
        evil = '<script>alert("x")</script>'
        url = client.post(SYNC, json={**ORDER, "prompt": evil}).json()["data"][0]["url"]
        client.get("/<b>bold</b>")
        page = http.get(emu.url)
        token = url.rpartition("/")[2].partition(".")[0]
        thumb = http.get(f"{emu.url}/_emulator/thumbs/{token}")
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert "<b>bold" not in page.text
    assert "$0.0375" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert size_of(thumb.content) == (144, 80)
    assert "src=http" not in page.text
    assert "https://" not in page.text  # nothing from elsewhere


# --- up and down ------------------------------------------------------------------------------------------


def test_it_comes_and_goes_quickly_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with Emulator(), Emulator():  # warm; and two at once
        pass
    began = time.perf_counter()
    for _ in range(10):
        with Emulator() as emu:
            url = emu.base_url
    assert (time.perf_counter() - began) / 10 < 0.1  # about 2 ms where nothing else runs
    assert set(threading.enumerate()) == before
    with pytest.raises(httpx.ConnectError):
        http.get(url)


def test_replies_are_not_held_back_by_nagle() -> None:
    """40 ms per reply, wherever asyncio's own loop runs, if the listening socket does not name its protocol."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        option = scope["state"]["transport"].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"1" if option else b"0"})

    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = Server(app, [listening])
    server.start()
    try:
        assert http.get(f"http://127.0.0.1:{port}").text == "1"
    finally:
        server.stop()
    assert listening.proto == socket.IPPROTO_TCP  # which is all that asyncio looks at


def test_stopping_cuts_what_is_still_open_and_ends_the_drawing(capfd: pytest.CaptureFixture[str]) -> None:
    with Emulator(latency="manual") as emu, client_of(emu) as client:
        errors: list[Exception] = []

        def ask(path: str, fields: dict[str, Any]) -> None:
            try:
                client.post(path, json={**ORDER, **fields})
            except httpx.TransportError as error:
                errors.append(error)

        waiting = threading.Thread(target=ask, args=(SYNC, {}))
        waiting.start()
        while not emu.jobs:
            time.sleep(0.001)
        big = submit(client, resolution="4K", size="1:1")
        emu.finish(big)
        url = look(client, big)["data"]["result"]["images"][0]["url"]
        with httpx.Client(verify=NO_TLS) as other:

            def fetch() -> None:
                with contextlib.suppress(httpx.TransportError):  # a fast machine may have drawn it by then
                    other.get(url)

            drawing = threading.Thread(target=fetch)
            drawing.start()
            while len(emu.requests) < 4:
                time.sleep(0.001)
            began = time.perf_counter()
            emu.stop()
            emu.stop()
            took = time.perf_counter() - began
            drawing.join(5)
        waiting.join(5)
    assert len(errors) == 1
    assert took < 3
    assert len(emu.bill) == 2  # still readable
    assert capfd.readouterr().err == ""


def test_a_taken_port_is_named() -> None:
    with Emulator() as emu:
        port = int(emu.url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            Emulator(port=port).start()
        with pytest.raises(RuntimeError, match="runs already"):
            emu.start()


def test_ipv6_loopback() -> None:
    try:
        emu = Emulator(host="::1", pictures="plain").start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        with client_of(emu) as client:
            url = client.post(SYNC, json=ORDER).json()["data"][0]["url"]
            assert url.startswith("http://[::1]:")
            assert http.get(url).status_code == 200
    finally:
        emu.stop()


@pytest.mark.apimaster_emulator(latency="manual", dialect="legacy")
def test_the_fixture_takes_settings_from_its_marker(apimaster_emulator: Emulator) -> None:
    assert apimaster_emulator.latency.manual
    assert apimaster_emulator.dialect.polls == "legacy"
    assert len(apimaster_emulator.bill) == 0
    assert apimaster_emulator.env["APIMASTER_BASE_URL"] == apimaster_emulator.base_url
