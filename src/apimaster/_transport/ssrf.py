"""Guard against SSRF: URLs that somebody else wrote must not lead to private addresses.

Strategy: check the addresses that the client connects to, not the name in the URL. The guard looks a name up once and
checks every address that it has, and the client connects to exactly those: a second lookup could return others. TLS
still checks the certificate against the name. ``check_url`` makes the checks that need no lookup, for early and clear
errors, and for requests through a proxy, which looks the name up itself.

IPv6 is an allow-list (global unicast only), IPv4 a deny-list, both from IANA's registries of special-purpose
addresses rather than from ``ipaddress.is_global``, whose answers depend on the version of Python.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final, TypeAlias

import httpx

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 itself reaches this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, but a service of the host inside Azure
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks between networks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_FORBIDDEN_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols, among them Teredo, which wraps an IPv4 address
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)


class ForbiddenAddress(Exception):
    """A URL that the client must not request: never retry it, nor try it by another route."""


def address_is_public(address: IPAddress) -> bool:
    """True if ``address`` is on the public internet; an IPv6 address that wraps an IPv4 address counts as that one."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    wrapped = address.ipv4_mapped or address.sixtofour
    if wrapped is None and address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if wrapped is not None:
        return address_is_public(wrapped)
    return address in _GLOBAL_V6 and not any(address in network for network in _FORBIDDEN_V6)


def literal_address(host: str) -> IPAddress | None:
    """The address that ``host`` spells, in any form that a resolver takes (``0x7f.1``, ``2130706433``); else None."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host and host.isascii() else None
    except OSError:
        return None


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


class AddressGuard:
    """Allows requests to public addresses and to ``trusted_hosts``, on any port; refuses all others.

    Args:
        trusted_hosts: host names or addresses that are as trusted as the configured base URL.
    """

    def __init__(self, trusted_hosts: Iterable[str] = ()) -> None:
        self.trusted_hosts = frozenset(_plain(host) for host in trusted_hosts)

    def trusts(self, host: str) -> bool:
        """Whether ``host`` is one of the trusted hosts."""
        return _plain(host) in self.trusted_hosts

    def check_url(self, url: str | httpx.URL) -> None:
        """Make the checks that need no lookup.

        Raises:
            ForbiddenAddress: not http or https, a user name or password in it, no host, or a host that is not public.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise ForbiddenAddress(f"{str(url)[:200]!r} is not a URL: {error}") from error
        host = _plain(parsed.host)
        if parsed.scheme not in ("http", "https"):
            raise ForbiddenAddress(f"scheme {parsed.scheme!r} of a result URL is not supported; accepted: http, https")
        if parsed.userinfo:
            raise ForbiddenAddress(f"the URL at {host!r} holds a user name or a password, which is not accepted")
        if not host:
            raise ForbiddenAddress("a result URL has no host")
        if host in self.trusted_hosts:
            return
        if host == "localhost" or host.endswith(".localhost"):
            raise ForbiddenAddress(f"{host!r} is this machine, not a public address")
        address = literal_address(host)
        if address is not None:
            self.check_addresses(host, (str(address),))

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Refuse ``host`` if any one of the addresses that it resolves to is not public.

        One is enough: a name that mixes public and private addresses is set up to pass a check and then lead elsewhere.

        Raises:
            ForbiddenAddress: one of them is not public; the message names it.
        """
        if self.trusts(host):
            return
        for address in addresses:
            if not address_is_public(ipaddress.ip_address(address.partition("%")[0])):
                raise ForbiddenAddress(f"{host!r} leads to {address}, which is not a public address")

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """Look ``host`` up (blocking) and return its addresses, all of them checked.

        Raises:
            ForbiddenAddress: one of them is not public, and the host is not trusted.
            OSError: there is no such name, or no name server answers.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        self.check_addresses(host, addresses)
        return addresses


def check_url(url: str | httpx.URL, trusted_hosts: Iterable[str] = ()) -> None:
    """``AddressGuard(trusted_hosts).check_url(url)``: the checks that need no lookup."""
    AddressGuard(trusted_hosts).check_url(url)


def resolve_and_check(host: str, port: int = 443, trusted_hosts: Iterable[str] = ()) -> tuple[str, ...]:
    """``AddressGuard(trusted_hosts).resolve(host, port)``, for use before a client that is not ours.

    Such a client looks the name up again, so this is the best possible check, and not a guarantee.
    """
    return AddressGuard(trusted_hosts).resolve(host, port)
