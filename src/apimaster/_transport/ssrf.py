"""Which addresses a URL that somebody else wrote may lead to.

Strategy: the name in a URL says nothing, the address that is dialled says everything. So a name is looked up once,
every address that it has is checked, and exactly those addresses are dialled: a second lookup could answer otherwise.
The certificate is still checked against the name. ``check_url`` adds what can be seen without a lookup, for early and
clear errors, and for requests through a proxy, which does the lookup where nobody here can see it.

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
        "168.63.129.16/32",  # public by its number, but inside Azure the host's own service
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
    """A URL that must not be fetched: never try it again, and never by another way."""


def address_is_public(address: IPAddress) -> bool:
    """True if packets to ``address`` leave for the public internet, also for an IPv4 address wrapped in an IPv6 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    wrapped = address.ipv4_mapped or address.sixtofour
    if wrapped is None and address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if wrapped is not None:
        return address_is_public(wrapped)
    return address in _GLOBAL_V6 and not any(address in network for network in _FORBIDDEN_V6)


def literal_address(host: str) -> IPAddress | None:
    """The address that ``host`` spells, in any way that a resolver takes (``0x7f.1``, ``2130706433``), else None."""
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
    """Lets requests through to public addresses and to ``trusted_hosts``, on any port; refuses the rest.

    Args:
        trusted_hosts: host names or addresses that are as trusted as the configured base URL.
    """

    def __init__(self, trusted_hosts: Iterable[str] = ()) -> None:
        self.trusted_hosts = frozenset(_plain(host) for host in trusted_hosts)

    def trusts(self, host: str) -> bool:
        """Whether ``host`` is one of the trusted hosts."""
        return _plain(host) in self.trusted_hosts

    def check_url(self, url: str | httpx.URL) -> None:
        """Refuse what can be refused without looking a name up.

        Raises:
            ForbiddenAddress: not http or https, a user name or password in it, no host, or a host that is not public.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise ForbiddenAddress(f"{str(url)[:200]!r} is not a URL: {error}") from error
        host = _plain(parsed.host)
        if parsed.scheme not in ("http", "https"):
            raise ForbiddenAddress(f"scheme {parsed.scheme!r} of a result URL: only http and https are fetched")
        if parsed.userinfo:
            raise ForbiddenAddress(f"the URL at {host!r} holds a user name or a password: such a URL is not fetched")
        if not host:
            raise ForbiddenAddress("a result URL without a host is not fetched")
        if host in self.trusted_hosts:
            return
        if host == "localhost" or host.endswith(".localhost"):
            raise ForbiddenAddress(f"{host!r} is this machine, not a public address")
        address = literal_address(host)
        if address is not None:
            self.check_addresses(host, (str(address),))

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Refuse ``host`` if any one of the addresses that it was resolved to is not public.

        One is enough: a name that mixes public and private addresses is set up to pass a check and then lead elsewhere.

        Raises:
            ForbiddenAddress: naming the host and the address.
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
            OSError: there is no such name, or nobody to ask.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        self.check_addresses(host, addresses)
        return addresses


def check_url(url: str | httpx.URL, trusted_hosts: Iterable[str] = ()) -> None:
    """``AddressGuard(trusted_hosts).check_url(url)``: what can be refused without looking a name up."""
    AddressGuard(trusted_hosts).check_url(url)


def resolve_and_check(host: str, port: int = 443, trusted_hosts: Iterable[str] = ()) -> tuple[str, ...]:
    """``AddressGuard(trusted_hosts).resolve(host, port)``, for use in front of a client that is not ours.

    Such a client looks the name up once more, so this is the best that can be done, and not a guarantee.
    """
    return AddressGuard(trusted_hosts).resolve(host, port)
