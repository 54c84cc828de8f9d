"""The URL of a webhook endpoint, checked as the gateway does: public https, on port 443.

A base URL on this machine is the emulator, or another test double. Then an endpoint may be on this machine too: http or
https, any port. A name is not looked up here: the gateway does that, each time, and the answer may differ there.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from .._transport.ssrf import address_is_public, literal_address
from ..errors import BadRequestError
from .arguments import shown

_LONGEST: Final = 2048
_ACCEPTED: Final = "accepted: a public https URL on port 443, such as https://example.com/webhooks"
_PRIVATE_ENDINGS: Final = ("localhost", "local", "internal", "lan", "intranet", "home.arpa", "test", "invalid", "onion")


def checked_url(value: object, base_url: str) -> str:
    """The URL, without the blanks around it.

    Args:
        value: what the caller passed.
        base_url: the client's, which says whether an endpoint on this machine can be reached.

    Raises:
        BadRequestError: the gateway would not take it. The message says why, and what it takes.
    """
    if not isinstance(value, str) or not value.strip():
        raise BadRequestError(f"the URL of the endpoint is {shown(value)}; {_ACCEPTED}")
    text = value.strip()
    reason = _fault(text, local=_on_this_machine(urlsplit(base_url).hostname))
    if reason:
        raise BadRequestError(f"the URL of the endpoint {reason}; {_ACCEPTED}")
    return text


def _fault(text: str, *, local: bool) -> str:
    """What is wrong with a URL; empty if nothing is. No part of it is shown that may hold a password."""
    if len(text) > _LONGEST:
        return f"has {len(text)} characters, more than {_LONGEST}"
    if not all("!" <= character <= "~" for character in text) or "\\" in text:
        return "holds a blank, a backslash, or a character outside plain ASCII"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if "@" in parts.netloc:
        return "holds a user name or a password"
    if "#" in text:
        return "holds a fragment (#)"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"is {shown(text)}"
    if local and _on_this_machine(parts.hostname):
        return ""
    return _fault_of_public(parts, port)


def _fault_of_public(parts: SplitResult, port: int | None) -> str:
    host = (parts.hostname or "").rstrip(".")
    address = literal_address(host)
    private = any(host == ending or host.endswith(f".{ending}") for ending in _PRIVATE_ENDINGS)
    if private or (address is not None and not address_is_public(address)):
        return f"has the host {shown(host)}, which is not on the public internet"
    if address is None and ("." not in host or host.rpartition(".")[2].isdigit()):
        return f"has the host {shown(host)}, which is no public name"
    if parts.scheme != "https":
        return "begins with http://"
    if port not in (None, 443):
        return f"has the port {port}"
    return ""


def _on_this_machine(host: str | None) -> bool:
    name = (host or "").rstrip(".").lower()
    address = literal_address(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)
