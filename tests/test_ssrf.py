"""The addresses that a URL from the gateway may lead to: the rules as tables, and over real sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apimaster._transport import (
    AddressGuard,
    ForbiddenAddress,
    build_async_client,
    build_client,
    check_url,
    resolve_and_check,
    ssrf,
)

PUBLIC = ["8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"]
PUBLIC += ["2002:808:808::1", "::ffff:8.8.8.8"]
PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "168.63.129.16"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:0:808:808::1", "2001:db8::1"),
    *("3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "5f00::1", "4000::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert ssrf.address_is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address: str) -> None:
    assert not ssrf.address_is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}/cat.png")


@pytest.mark.parametrize(
    "url",
    [
        *("http://0x7f.1/", "http://2130706433/", "http://0177.0.0.1/", "http://127.1/", "http://0/", "http://0x0/"),
        *("http://127.0.0.1./", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://localhost/"),
        *("http://LOCALHOST:80/", "http://a.localhost./", "http://169.254.169.254/latest/meta-data"),
        *("https://user@cdn.example/", "https://user:pass@cdn.example/", "http://127.0.0.1@cdn.example/"),
        *("file:///etc/passwd", "ftp://cdn.example/", "gopher://cdn.example/", "data:image/png;base64,AAAA"),
        *("//cdn.example/x.png", "/imgs/x.png", "cdn.example/x.png", "", "https://", "http://[::1"),
    ],
)
def test_urls_that_are_refused_without_a_lookup(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(url)


@pytest.mark.parametrize("url", ["https://cdn.example/x.png?a=b", "http://8.8.8.8:8080/", "https://[2606:4700::1111]/"])
def test_urls_that_pass(url: str) -> None:
    check_url(url)
    check_url(httpx.URL(url))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "::1", "[::1]"])
def test_a_trusted_host_is_allowed_on_any_port(host: str) -> None:
    rules = AddressGuard({host})
    written = f"[{host.strip('[]')}]" if ":" in host else host
    rules.check_url(f"http://{written}:8788/imgs/x.png")
    assert rules.trusts(host.upper())
    with pytest.raises(ForbiddenAddress):
        rules.check_url("http://127.0.0.2/")
    with pytest.raises(ForbiddenAddress):
        rules.check_url(f"ftp://{written}/")


def test_a_name_is_refused_if_one_of_its_addresses_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("8.8.8.8", "8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(ForbiddenAddress, match=r"10\.0\.0\.1"):
        resolve_and_check("cdn.example")
    assert resolve_and_check("cdn.example", 80, {"cdn.example"}) == ("8.8.8.8", "10.0.0.1")


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """Answers any request with 204; yields its port, and the heads of the requests."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                heads.append(sock.recv(65536))
                sock.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1], heads
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def fetch(kind: str, url: str, rules: AddressGuard) -> int:
    """The status of a GET through a guarded client of that kind."""
    if kind == "sync":
        with build_client(guard=rules) as client:
            return client.get(url, timeout=5).status_code

    async def get() -> int:
        async with build_async_client(guard=rules) as client:
            return (await client.get(url, timeout=5)).status_code

    return asyncio.run(get())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes every name lead to this machine once, and to an unreachable address from then on."""
    looked_up: list[str] = []
    original = socket.getaddrinfo

    def lookup(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        if text.replace(".", "").isdigit():
            return original(host, port, *arguments, **options)
        looked_up.append(text)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(looked_up) == 1 else "192.0.2.1", port))
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return looked_up


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_connection_to_a_name_that_leads_to_this_machine(
    kind: str, server: tuple[int, list[bytes]], names: list[str]
) -> None:
    port, heads = server
    with pytest.raises(ForbiddenAddress, match="rebinding"):
        fetch(kind, f"http://rebinding.example:{port}/", AddressGuard({"127.0.0.1"}))
    with pytest.raises(ForbiddenAddress):
        fetch(kind, f"http://127.0.0.1:{port}/", AddressGuard())
    assert heads == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_client_connects_to_the_address_that_it_checked(
    kind: str, server: tuple[int, list[bytes]], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heads = server
    monkeypatch.setattr(ssrf, "address_is_public", lambda address: True)
    assert fetch(kind, f"http://cdn.example:{port}/", AddressGuard()) == 204
    assert names == ["cdn.example"]
    assert f"cdn.example:{port}".encode() in heads[0]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_trusted_host_may_be_this_machine(kind: str, server: tuple[int, list[bytes]]) -> None:
    assert fetch(kind, f"http://127.0.0.1:{server[0]}/", AddressGuard({"127.0.0.1"})) == 204


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_proxy_is_not_sent_to_a_private_address_either(
    kind: str, server: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heads = server
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ForbiddenAddress):
        fetch(kind, "http://10.0.0.1/", AddressGuard())
    assert heads == []
    assert fetch(kind, "http://cdn.example/", AddressGuard()) == 204


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_unknown_name_is_a_connection_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(httpx.ConnectError, match="no such name"):
        fetch(kind, "http://cdn.example/", AddressGuard())
