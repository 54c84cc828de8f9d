"""Checks the way to a host step by step: certificates, proxies of the environment, name, connection, TLS.

An HTTP library tells these steps apart only in prose. Here each step runs by itself, so that the one that fails can say
what to do. The check ends with the first finding that is wrong.
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
_CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_CHECK_CLOCK: Final = "Check this machine's clock; if it is right, the server's certificate is at fault."
_SET_AUTHORITY: Final = (
    "Something on the way, such as a company's proxy, answers with a certificate of its own: "
    "set SSL_CERT_FILE to a file with the certificate of its authority."
)
_CHECK_HOST: Final = "The certificate is for another host: check the base URL."
# OpenSSL's numbers of verification errors, X509_V_ERR_…
_CERTIFICATE_ADVICE: Final[dict[int, str]] = {
    9: _CHECK_CLOCK,  # CERT_NOT_YET_VALID
    10: _CHECK_CLOCK,  # CERT_HAS_EXPIRED
    18: _SET_AUTHORITY,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _SET_AUTHORITY,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _SET_AUTHORITY,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    62: _CHECK_HOST,  # HOSTNAME_MISMATCH
    64: _CHECK_HOST,  # IP_ADDRESS_MISMATCH
}


def check_connection(url: str, timeout: float) -> Iterator[Finding]:
    """Findings on the way to ``url``, or to the proxy in front of it; ``timeout`` is in seconds for each step."""
    for name in _CERTIFICATE_VARIABLES:
        place = os.environ.get(name)
        if place and not os.path.exists(place):
            yield _wrong("certificates", f"{name} is {place}, which does not exist.", "Unset it, or name a file.")
            return
    proxy = _proxy_for(url)
    if proxy is not None:
        finding = _check_proxy(proxy)
        yield finding
        if finding.state == "wrong":
            return
    target = _target(proxy or url)
    if target is None:
        # The base URL was checked before, so this is the proxy's. It may hold a password, so the finding leaves it out.
        yield _wrong("proxy", "The proxy in the environment is not a URL.", "Set it to a URL like http://host:port.")
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


def _check_proxy(proxy: str) -> Finding:
    parts = urlsplit(proxy)
    # Without the user and the password that the URL may hold.
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme.startswith("socks") and not supports_socks():
        return _wrong("proxy", f"{shown} needs a package that is missing.", 'Install it: pip install "httpx[socks]".')
    return Finding("proxy", "right", f"{shown}, from the environment; NO_PROXY lists hosts that bypass it")


def _connect(host: str, port: int, timeout: float, *, tls: bool) -> Iterator[Finding]:
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as fault:  # UnicodeError: a text that no name can be, such as a..b
        advice = "Check the spelling of the base URL, and whether this machine can resolve names at all."
        yield _wrong("name", f"{host} has no address here: {getattr(fault, 'strerror', None) or fault}.", advice)
        return
    yield Finding("name", "right", f"{host} is {', '.join(addresses[:3])}")
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as fault:
        advice = "A firewall may block it, or the network may need a proxy: set HTTPS_PROXY to its URL."
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
        detail = f"The certificate of {host} is not trusted: {fault.verify_message or fault}."
        return _wrong("TLS", detail, certificate_advice(fault.verify_code))
    except ssl.SSLError as fault:
        return _wrong("TLS", f"{host} does not speak TLS there: {fault.reason or fault}.", "Check scheme and port.")
    except OSError as fault:
        advice = "A firewall may block it."
        return _wrong("TLS", f"The TLS handshake with {host} broke off: {fault.strerror or fault}.", advice)


def certificate_advice(verify_code: int) -> str:
    """What to do about a certificate that OpenSSL refused with this number; empty if nothing helps on this side."""
    return _CERTIFICATE_ADVICE.get(verify_code, "")


def supports_socks() -> bool:
    """Whether httpx can go through a SOCKS proxy here."""
    return importlib.util.find_spec("socksio") is not None


def _wrong(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, "wrong", detail, advice, exit_code=UNREACHABLE)
