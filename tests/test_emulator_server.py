"""The emulator as a server: control routes, status page, start and stop, the pytest fixture."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from gateway_http import NO_TLS, REQUEST, SUBMIT, SYNC, client_of, poll, size_of, submit, without_key

from apimaster.emulator import Emulator
from apimaster.emulator.server import Server, listen


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


# --- the control routes and the page ----------------------------------------------------------------------


def test_control_from_another_process(emu: Emulator) -> None:
    with httpx.Client(base_url=f"{emu.url}/_emulator", verify=NO_TLS) as control, client_of(emu) as client:
        wanted = {
            "faults": ["rate_limited", {"fault": "poll_503", "times": 2}],
            "latency": "manual",
            "dialect": "legacy",
        }
        assert control.post("/script", json=wanted).json() == {"ok": True}
        assert client.post(SUBMIT, json=REQUEST).status_code == 429
        task_id = submit(client)
        assert [client.get(f"/tasks/{task_id}").status_code for _ in range(3)] == [503, 503, 200]
        control.post("/finish", json={"task": task_id})
        assert poll(client, task_id)["data"]["status"] == "completed"
        other = submit(client)
        control.post("/fail", json={"task": other, "reason": "because"})
        assert poll(client, other)["data"]["error"] == "because"
        assert len(control.get("/tasks", params={"last": 1}).json()["tasks"]) == 1
        assert control.get("/faults").json()["faults"]["hang"] == "generate"
        control.post("/advance", json={"seconds": 7})
        control.post("/reset", json={})
        assert control.get("/bill").json()["total"] == "0"
        assert emu.requests == []


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("script", {"faults": ["nonsense"]}, "nonsense"),
        ("script", {"fault": "hang"}, "'fault' is not known"),
        ("script", {"dialect": "klingon"}, "klingon"),
        ("script", {"faults": [{"fault": "hang", "on": "moon"}]}, "moon"),
        ("script", {"fault_rates": {"hang": 2}}, "not a probability"),
        ("script", {"chances": {"hang": 2}}, "not a probability"),  # the old name
        ("advance", {"seconds": -1}, "-1"),
        ("advance", {}, "seconds"),
        ("finish", {"task": "task_NONE"}, "task_NONE"),
    ],
)
def test_the_control_routes_refuse_with_a_reason(emu: Emulator, path: str, body: dict[str, Any], reason: str) -> None:
    response = without_key.post(f"{emu.url}/_emulator/{path}", json=body)
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]


@pytest.mark.parametrize("name", ["fault_rates", "chances"])  # chances is the old name
def test_the_control_route_sets_fault_rates(emu: Emulator, name: str) -> None:
    with client_of(emu) as client:
        for rate, status in ((1.0, 429), (0.0, 200)):
            without_key.post(f"{emu.url}/_emulator/script", json={name: {"rate_limited": rate}})
            assert client.post(SUBMIT, json=REQUEST).status_code == status


def test_a_web_page_can_not_control_the_emulator(emu: Emulator) -> None:
    response = without_key.post(f"{emu.url}/_emulator/reset", content=b"{}", headers={"content-type": "text/plain"})
    assert response.status_code == 415


def test_the_status_page_escapes_what_it_shows() -> None:
    with Emulator() as emu, client_of(emu) as client:
        evil = '<script>alert("x")</script>'
        url = client.post(SYNC, json={**REQUEST, "prompt": evil}).json()["data"][0]["url"]
        client.get("/<b>bold</b>")
        page = without_key.get(emu.url)
        token = url.rpartition("/")[2].partition(".")[0]
        thumbnail = without_key.get(f"{emu.url}/_emulator/thumbs/{token}")
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert "<b>bold" not in page.text
    assert "$0.0375" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert size_of(thumbnail.content) == (144, 80)
    assert "src=http" not in page.text
    assert "https://" not in page.text  # nothing from elsewhere


# --- start and stop ---------------------------------------------------------------------------------------


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
        without_key.get(url)


def test_nagles_delay_is_off() -> None:
    """asyncio's own loop loses 40 ms per response if the listening socket does not name its protocol."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        option = scope["state"]["transport"].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"1" if option else b"0"})

    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = Server(app, [listening])
    server.start()
    try:
        assert without_key.get(f"http://127.0.0.1:{port}").text == "1"
    finally:
        server.stop()
    assert listening.proto == socket.IPPROTO_TCP  # all that asyncio looks at


def test_stopping_cuts_what_is_still_open_and_ends_the_drawing(capfd: pytest.CaptureFixture[str]) -> None:
    with Emulator(latency="manual") as emu, client_of(emu) as client:
        errors: list[Exception] = []

        def ask(path: str, fields: dict[str, Any]) -> None:
            try:
                client.post(path, json={**REQUEST, **fields})
            except httpx.TransportError as error:
                errors.append(error)

        waiting = threading.Thread(target=ask, args=(SYNC, {}))
        waiting.start()
        while not emu.jobs:
            time.sleep(0.001)
        big = submit(client, resolution="4K", size="1:1")
        emu.finish(big)
        url = poll(client, big)["data"]["result"]["images"][0]["url"]
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
        with pytest.raises(RuntimeError, match="already running"):
            emu.start()


def test_ipv6_loopback() -> None:
    try:
        emu = Emulator(host="::1", pictures="plain").start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        with client_of(emu) as client:
            url = client.post(SYNC, json=REQUEST).json()["data"][0]["url"]
            assert url.startswith("http://[::1]:")
            assert without_key.get(url).status_code == 200
    finally:
        emu.stop()


@pytest.mark.apimaster_emulator(latency="manual", dialect="legacy")
def test_the_fixture_takes_settings_from_its_marker(apimaster_emulator: Emulator) -> None:
    assert apimaster_emulator.latency.manual
    assert apimaster_emulator.dialect.polls == "legacy"
    assert len(apimaster_emulator.bill) == 0
    assert apimaster_emulator.env["APIMASTER_BASE_URL"] == apimaster_emulator.base_url
