"""The emulator as a server: control routes, status page, start and stop, the pytest fixture."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from gateway_http import NO_TLS, REQUEST, SUBMIT, SYNC, client_of, poll, size_of, submit, without_key

from apimaster.emulator import Emulator
from apimaster.emulator.picture import DrawingAbandoned
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


def worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("apimaster-emulator-worker")]


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


def test_an_emulator_starts_and_stops_without_a_trace() -> None:
    before = set(threading.enumerate())
    with Emulator(pictures="small") as one, Emulator(), client_of(one) as client:  # two at once
        url = client.post(SYNC, json=REQUEST).json()["data"][0]["url"]
        without_key.get(url)
        assert worker_threads()  # they drew the picture
    assert set(threading.enumerate()) == before
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with Emulator() as emu:
            url = emu.base_url
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1  # about 2 ms; uvicorn's own loop would need 100 ms to see that it should stop
    assert set(threading.enumerate()) == before
    with pytest.raises(httpx.ConnectError):
        without_key.get(url)


@pytest.mark.parametrize("requests", [0, 1])
def test_stopping_cuts_idle_connections(requests: int) -> None:
    with Emulator(pictures="plain") as emu:
        host, _, port = emu.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            for _ in range(requests):
                connection.sendall(b"GET /_emulator/faults HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert connection.recv(1 << 20).startswith(b"HTTP/1.1 200 OK")
            emu.stop()
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1 << 16):  # the rest of the response; then the end, or else a timeout
                    pass


def test_stopping_cuts_calls_that_wait_for_a_response(capfd: pytest.CaptureFixture[str]) -> None:
    errors: list[Exception] = []

    def call(client: httpx.Client) -> None:
        try:
            client.post(SYNC, json=REQUEST)
        except httpx.TransportError as error:
            errors.append(error)

    with Emulator(latency="manual", pictures="plain") as emu, client_of(emu) as client:
        waiting = threading.Thread(target=call, args=(client,))
        waiting.start()
        until(lambda: emu.jobs)
        emu.stop()
        emu.stop()  # does nothing
        waiting.join(5)
        assert len(errors) == 1
        assert len(emu.bill) == 1  # still readable
    assert capfd.readouterr().err == ""


def test_stopping_does_not_wait_for_a_drawing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    of_others = set(worker_threads())  # of an emulator that other tests of this process share
    started, stopped = threading.Event(), threading.Event()
    found: list[bool] = []

    def draw_until_stopped(drawing: object, kind: str, picture_format: str, abandoned: threading.Event) -> bytes:
        started.set()
        stopped.wait(10)
        found.append(abandoned.is_set())
        raise DrawingAbandoned

    def fetch(url: str) -> None:
        with pytest.raises(httpx.TransportError):
            without_key.get(url)

    with Emulator() as emu, client_of(emu) as client:
        url = poll(client, submit(client))["data"]["result"]["images"][0]["url"]
        with monkeypatch.context() as patch:
            patch.setattr("apimaster.emulator.picture_store.draw_picture", draw_until_stopped)
            fetching = threading.Thread(target=fetch, args=(url,))
            fetching.start()
            started.wait(10)
            emu.stop()
        assert found == []  # the drawing still runs
        stopped.set()
        for thread in set(worker_threads()) - of_others:
            thread.join(5)
        fetching.join(5)
        assert found == [True]
        assert set(worker_threads()) == of_others
        emu.start()  # with new threads
        with client_of(emu) as again:
            url = poll(again, submit(again))["data"]["result"]["images"][0]["url"]
            assert size_of(without_key.get(url).content) == (688, 384)
    assert capfd.readouterr().err == ""


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
