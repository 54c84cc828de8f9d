"""The way to a host, step by step: certificates, proxies of the environment, name, connection, TLS.

An HTTP library tells these apart only in prose; here each step is taken by itself, so that the one that fails names
what to do. A finding that is wrong ends the walk.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..adapters import shared_ssl_context
from .exit_codes import UNREACHABLE
from .findings import Finding

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_CERTIFICATE_ADVICE: Final = (
    (("expired", "not yet valid"), "Check this machine's clock; if it is right, the server's certificate is at fault."),
    (
        ("self-signed", "self signed", "local issuer"),
        "Something on the way, such as a company's proxy, answers with a certificate of its own: "
        "set SSL_CERT_FILE to a file that holds its authority.",
    ),
    (("mismatch", "not valid for"), "The certificate is another host's: check the base URL."),
)


def walk(url: str, timeout: float) -> Iterator[Finding]:
    """Findings on the way to ``url``, or to the proxy in front of it; ``timeout`` is seconds for each step."""
    for name in _CERTIFICATES:
        place = os.environ.get(name)
        if place and not os.path.exists(place):
            yield _wrong("certificates", f"{name} is {place}, which does not exist.", "Unset it, or name a file.")
            return
    proxy = _proxy_for(url)
    if proxy is not None:
        finding = _look_at(proxy)
        yield finding
        if finding.state == "wrong":
            return
    target = _target(proxy or url)
    if target is None:
        # The base URL has been checked before; so this is the proxy's, which may hold a password and is not repeated.
        yield _wrong("proxy", "The proxy in the environment is not a URL.", "It looks like http://host:port.")
        return
    yield from _connect(*target, timeout, tls=(proxy or url).startswith("https:"))


def _target(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _look_at(proxy: str) -> Finding:
    parts = urlsplit(proxy)
    # Without the user and the password that may stand before the host.
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme.startswith("socks") and not can_socks():
        return _wrong("proxy", f"{shown} needs a package that is missing.", 'Install it: pip install "httpx[socks]".')
    return Finding("proxy", "right", f"{shown}, from the environment; NO_PROXY leaves hosts out")


def _connect(host: str, port: int, timeout: float, *, tls: bool) -> Iterator[Finding]:
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as fault:  # the second: a name that can't be one, such as a..b
        advice = "Check the spelling of the base URL, and whether this machine can look names up at all."
        yield _wrong("name", f"{host} has no address here: {getattr(fault, 'strerror', None) or fault}.", advice)
        return
    yield Finding("name", "right", f"{host} is {', '.join(addresses[:3])}")
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as fault:
        advice = "A firewall may be in between, or a proxy is needed: set HTTPS_PROXY to it."
        yield _wrong("connection", f"{host}:{port} does not answer: {fault.strerror or fault}.", advice)
        return
    with connection:
        yield Finding("connection", "right", f"{host}:{port} answers")
        if tls:
            yield _handshake(connection, host)


def _handshake(connection: socket.socket, host: str) -> Finding:
    try:
        with shared_ssl_context().wrap_socket(connection, server_hostname=host) as secured:
            return Finding("TLS", "right", f"{secured.version()}, the certificate is trusted")
    except ssl.SSLCertVerificationError as fault:
        reason = fault.verify_message or str(fault)
        return _wrong("TLS", f"The certificate of {host} is not trusted: {reason}.", certificate_advice(reason))
    except ssl.SSLError as fault:
        return _wrong("TLS", f"{host} does not speak TLS there: {fault.reason or fault}.", "Check scheme and port.")
    except OSError as fault:
        advice = "A firewall may be in between."
        return _wrong("TLS", f"The TLS handshake with {host} broke off: {fault.strerror or fault}.", advice)


def certificate_advice(reason: str) -> str:
    """What to do about a certificate that OpenSSL refused for ``reason``; empty where there is nothing to do here."""
    return next((text for words, text in _CERTIFICATE_ADVICE if any(word in reason for word in words)), "")


def can_socks() -> bool:
    """Whether httpx can go through a SOCKS proxy here."""
    return importlib.util.find_spec("socksio") is not None


def _wrong(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, "wrong", detail, advice, exit_code=UNREACHABLE)
