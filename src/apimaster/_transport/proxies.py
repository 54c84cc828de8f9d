"""The proxies of the environment: which one counts for a URL, and what is wrong with it.

httpx reads the same variables, and fails on them while a client is built: with an error of any kind, which names no
variable and may show a password. Here nothing fails before a request needs the setting: a broken ``HTTPS_PROXY`` does
not concern an http URL. What is wrong is then a ``BadSetting``, which names the variable and what it may hold.

An entry of ``NO_PROXY`` is a host, a host with a port, an address, or a network (``10.0.0.0/8``, ``fd00::/8``), IPv6
with brackets or without. An entry that is none of these matches nothing, as in other programs.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.request import getproxies

import httpx

from .bad_setting import BadSetting

_INSTALL_SOCKS: Final = 'pip install "httpx[socks]"'

_SCHEMES: Final = ("http", "https", "all")
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT: Final = re.compile(r"[0-9]{1,5}/?")
_LONGEST_SHOWN: Final = 200
_ENTRY: Final = re.compile(
    r"(?:(?P<scheme>[a-z0-9+.-]*)://)?"
    r"(?:\[(?P<v6>[^\[\]]*)\](?P<v6_prefix>/\d+)?|(?P<host>[^\[\]:]*))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy that ``variable`` names. ``value`` may hold a password: show ``shown``."""

    variable: str
    value: str

    @property
    def shown(self) -> str:
        """The value without the user and the password."""
        start = _SCHEME.match(self.value)
        scheme = start.group() if start else ""
        rest = self.value[len(scheme) :]
        if "@" in rest:
            rest = f"***@{rest.rpartition('@')[2]}"
        elif not rest.startswith("["):  # after a colon comes a port, or a password whose host is missing
            host, colon, port = rest.partition(":")
            rest = host + colon + (port if _PORT.fullmatch(port) else "***" if port else "")
        text = scheme + rest
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

    def url(self, *, socks: bool = True) -> str:
        """The proxy's URL for httpx: ``socks://`` is ``socks5://``, as in curl. ``socks``: whether SOCKS is possible.

        Raises:
            BadSetting: it is not a URL of a proxy, or a package is missing for it.
        """
        text = self.value if "://" in self.value else f"http://{self.value}"
        scheme, _, rest = text.partition("://")
        scheme = "socks5" if scheme.lower() == "socks" else scheme.lower()
        text = f"{scheme}://{rest}"
        other = (
            f"Set {self.variable} to a URL like http://host:port (accepted: {', '.join(_PROXY_SCHEMES)}), or unset it."
        )
        if scheme not in _PROXY_SCHEMES:
            raise BadSetting(f"{self.variable} is {self.shown!r}, and its scheme is not that of a proxy", other)
        if not _is_usable(text):
            raise BadSetting(f"{self.variable} is {self.shown!r}, which is not the URL of a proxy", other)
        if scheme.startswith("socks") and not socks:
            raise BadSetting(
                f"{self.variable} is {self.shown!r}, and a client on aiohttp can't use a SOCKS proxy",
                "Use the transport httpx, or a proxy with http:// or https://.",
            )
        if scheme.startswith("socks") and not supports_socks():
            raise BadSetting(
                f"{self.variable} is {self.shown!r}, and the package for SOCKS proxies is missing",
                f"Install it: {_INSTALL_SOCKS}. Or set {self.variable} to a proxy with http:// or https://.",
            )
        return text


def _is_usable(url: str) -> bool:
    try:
        parsed = httpx.Proxy(url).url  # without the user and the password
        host, port = parsed.host, parsed.port
        parsed.raw_host.decode("ascii").encode("idna")  # as a lookup does, which would name no variable
    except (httpx.InvalidURL, ValueError):  # its text may hold the password
        return False
    # "http://me:a/b@host" would name the host "me": the slash belongs to a password that is not percent-encoded.
    return bool(host) and (port is None or 0 < port < 65536) and "@" not in str(parsed)


@dataclass(frozen=True, slots=True)
class _Direct:
    """One entry of ``NO_PROXY``: the hosts that are reached without a proxy."""

    scheme: str = ""
    port: int | None = None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    name: str = ""
    itself: bool = True
    below: bool = True

    def matches(self, url: httpx.URL, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        if self.scheme and self.scheme != url.scheme:
            return False
        if self.port is not None and self.port != (url.port or {"http": 80, "https": 443}.get(url.scheme)):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if not self.name:
            return True
        return (self.itself and host == self.name) or (self.below and host.endswith("." + self.name))


class ProxyChoice:
    """The proxies of the environment, as they are when this is made."""

    def __init__(self, proxies: dict[str, Proxy], direct: Sequence[_Direct]) -> None:
        self.proxies = proxies
        self._direct = direct

    @classmethod
    def of_environment(cls) -> ProxyChoice:
        """What the environment, and on Windows and macOS the system, say now. Never raises."""
        found = {name: value.strip() for name, value in getproxies().items()}
        entries = [entry for entry in re.split(r"[,\s]+", found.get("no", "")) if entry]
        if "*" in entries:
            return cls({}, ())
        proxies = {scheme: Proxy(_variable(scheme), found[scheme]) for scheme in _SCHEMES if found.get(scheme)}
        return cls(proxies, [rule for rule in map(_direct, entries) if rule is not None])

    def proxy_for(self, url: str | httpx.URL) -> Proxy | None:
        """The proxy for ``url``; None: it is reached directly."""
        url = httpx.URL(url)
        proxy = self.proxies.get(url.scheme) or self.proxies.get("all")
        if proxy is None:
            return None
        host = url.raw_host.decode("ascii").rstrip(".").lower()
        address = _address(host)
        return None if any(rule.matches(url, host, address) for rule in self._direct) else proxy


def proxy_for(url: str) -> Proxy | None:
    """The proxy of the environment for ``url``, unchecked; None: it is reached directly."""
    return ProxyChoice.of_environment().proxy_for(url)


def supports_socks() -> bool:
    """Whether httpx can go through a SOCKS proxy here."""
    return importlib.util.find_spec("socksio") is not None


def _variable(scheme: str) -> str:
    """The name of the variable that ``getproxies`` read: one in lower case wins."""
    wanted = f"{scheme}_proxy"
    if os.environ.get(wanted):
        return wanted
    names = [name for name in os.environ if name.lower() == wanted and os.environ[name]]
    return names[-1] if names else f"the system's {scheme} proxy"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _direct(entry: str) -> _Direct | None:
    """The rule that an entry of ``NO_PROXY`` stands for; None if it is none."""
    entry = entry.strip("\"'").lower()
    network = _network(entry)  # an address is full of colons, so it comes before the ports
    if network is not None:
        return _Direct(network=network)
    match = _ENTRY.fullmatch(entry)
    if match is None or not entry:
        return None
    scheme = match["scheme"] or ""
    scheme = "" if scheme == "all" else scheme
    port = int(match["port"]) if match["port"] else None
    if match["v6"] is not None:
        network = _network(match["v6"] + (match["v6_prefix"] or ""))
        return None if network is None else _Direct(scheme, port, network)
    host = match["host"]
    network = _network(host)
    if network is not None:
        return _Direct(scheme, port, network)
    name = host.removeprefix("*").removeprefix(".").rstrip(".")
    if not name:  # "https://" and "https://*" stand for all hosts of that scheme; "." stands for none
        return _Direct(scheme, port) if match["scheme"] and host in ("", "*") else None
    with_dot = host.startswith((".", "*."))
    return _Direct(scheme, port, name=_ascii(name), itself=not with_dot, below=name != "localhost")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](/\d+)?", text)  # [::1/128] is written too
    if bracketed is not None:
        text = bracketed[1] + (bracketed[2] or "")
    address, slash, prefix = text.partition("/")
    try:
        return ipaddress.ip_network(address.partition("%")[0] + slash + prefix, strict=False)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    try:
        return httpx.URL(f"http://{name}").raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        return name
