"""The TLS context with the certificates that the environment names, and what is wrong with them.

httpx fails on them without naming the variable, or accepts a folder without certificates and then trusts nobody.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

import httpx

from .bad_setting import BadSetting

_ABSENT: Final = "which does not exist"
_HASHED_NAME: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the names under which OpenSSL looks for an authority


def tls_context() -> ssl.SSLContext:
    """A new TLS context, which honours ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` as httpx does: the file wins.

    Raises:
        BadSetting: the certificates that they name can't be used.
    """
    # A client must not trust other authorities than the caller names, and none at all fails later, without a reason.
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and folder:
        _check_folder(folder)
    try:
        context = httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if file:
            _check_file(file)
        log = os.environ.get("SSLKEYLOGFILE")
        if log:
            raise BadSetting(
                f"SSLKEYLOGFILE is {log!r}, which can't be written", "Unset it, or name a file that can be written."
            ) from error
        raise BadSetting(
            f"the certificates can't be loaded: {error}", "Set SSL_CERT_FILE to a file of certificates."
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_file(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        if not os.path.exists(path):
            fault = _ABSENT
        elif os.path.isdir(path):
            fault = "which is a folder"
        elif isinstance(error, ssl.SSLError):
            fault = "which holds no certificates that can be read"
        else:
            fault = f"which can't be read ({getattr(error, 'strerror', None) or type(error).__name__})"
        raise BadSetting(
            f"SSL_CERT_FILE is {path!r}, {fault}", "Unset it, or name a file of certificates (PEM)."
        ) from error


def _check_folder(places: str) -> None:
    faults = [_folder_fault(place or ".") for place in places.split(os.pathsep)]
    if "" in faults:
        return
    fault = next((each for each in faults if each != _ABSENT), _ABSENT)
    raise BadSetting(
        f"SSL_CERT_DIR is {places!r}, {fault}",
        "Unset it, or name a folder of certificates that `openssl rehash` has prepared.",
    )


def _folder_fault(place: str) -> str:
    """What is wrong with one folder of certificates; empty if nothing is."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return _ABSENT
    except NotADirectoryError:
        return "which is not a folder"
    except OSError as error:
        return f"which can't be read ({error.strerror})"
    if any(_HASHED_NAME.fullmatch(name) for name in names):
        return ""
    return "which holds no certificates under the names that OpenSSL looks for"
