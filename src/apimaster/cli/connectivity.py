"""Checks the way to a host step by step: certificates, proxies of the environment, name, connection, TLS.

An HTTP library tells these steps apart only in prose. Here each step runs by itself, so that the one that fails can say
what to do. The check ends with the first finding that is wrong.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from ..adapters import BadSetting, Proxy, proxy_for, sentence, shared_ssl_context, tls_context
from .exit_codes import UNREACHABLE
from .findings import Finding

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
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
    try:
        proxy = proxy_for(url)
        proxy_url = None if proxy is None else proxy.url()
    except BadSetting as fault:
        yield _wrong("proxy", sentence(str(fault)), fault.advice)
        return
    if proxy is not None:
        detail = f"{proxy.shown}, from {proxy.variable}; NO_PROXY lists hosts that bypass it"
        yield Finding("proxy", "right", detail)
    try:
        tls_context()
    except BadSetting as fault:
        if url.startswith("https:") or proxy is not None:
            yield _wrong("certificates", sentence(str(fault)), fault.advice)
            return
        yield Finding("certificates", "odd", sentence(str(fault)), fault.advice)
    target = _target(proxy_url or url)
    yield from _connect(*target, timeout, tls=(proxy_url or url).startswith("https:"), proxy=proxy)


def _target(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _connect(host: str, port: int, timeout: float, *, tls: bool, proxy: Proxy | None) -> Iterator[Finding]:
    about_proxy = "" if proxy is None else f"Check {proxy.variable}, or list the gateway's host in NO_PROXY."
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as fault:  # UnicodeError: a text that no name can be, such as a..b
        advice = about_proxy or (
            "Check the spelling of the base URL, and whether this machine can resolve names at all."
        )
        yield _wrong("name", f"{host} has no address here: {getattr(fault, 'strerror', None) or fault}.", advice)
        return
    yield Finding("name", "right", f"{host} is {', '.join(addresses[:3])}")
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as fault:
        advice = about_proxy or (
            "A firewall may block it, or the network may need a proxy: set HTTPS_PROXY to its URL."
        )
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


def _wrong(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, "wrong", detail, advice, exit_code=UNREACHABLE)
