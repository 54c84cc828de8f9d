"""``apimaster doctor``: checks everything between this machine and a picture, from the inside out.

Each check gives a finding. The first one that is wrong decides the exit code, and the checks that depend on it are left
out, because they could only fail for the same reason. It costs nothing: the only call is for the list of models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from .. import APIMaster
from ..catalog import DEFAULT_MODEL
from ..errors import APIMasterError
from ..settings import BASE_URL_VARIABLE, KEY_VARIABLES, find_base_url, find_key, hint_for_404
from . import options
from .connectivity import check_connection
from .error_output import HOW_TO_SET_A_KEY
from .exit_codes import OK, exit_code
from .findings import Finding
from .printing import print_json, print_result

_HOW_TO_SET_A_BASE_URL: Final = f"Set {BASE_URL_VARIABLE}, or leave it unset for the default."
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def doctor(
    base_url: options.BaseUrl = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For each step.", min=0.1)] = 10.0,
    as_json: options.AsJson = False,
) -> int:
    """Find out what is wrong, and what to do.

    Checks the key, the base URL, proxies and the way to the gateway. It is free.
    """
    findings: list[Finding] = []
    for finding in run_checks(os.environ, base_url, timeout):
        findings.append(finding)
        if not as_json:
            print_result(finding.line())
    code = next((finding.exit_code for finding in findings if finding.state == "wrong"), OK)
    if as_json:
        print_json({"ok": code == OK, "findings": [each.document() for each in findings], "exit_code": code})
    else:
        print_result("Something is wrong: see above." if code else "All is well.")
    return code


def run_checks(env: Mapping[str, str], base_url: str | None, timeout: float) -> Iterator[Finding]:
    """Every finding; each check relies on those before it."""
    has_key = True
    try:
        key, source = find_key(env=env)
        yield Finding("key", "right", f"{len(key.get_secret_value())} characters, from {source}")
    except APIMasterError as error:
        has_key = False
        yield Finding("key", "wrong", error.message, HOW_TO_SET_A_KEY, exit_code=exit_code(error))
    given = [name for name in KEY_VARIABLES if env.get(name)]
    if len({env[name] for name in given}) > 1:
        yield Finding("key", "odd", f"{' and '.join(given)} differ; {given[0]} is used.", "Unset one of them.")
    try:
        url, source = find_base_url(base_url, env=env)
    except APIMasterError as error:
        yield Finding("base URL", "wrong", error.message, _HOW_TO_SET_A_BASE_URL, exit_code=exit_code(error))
        return
    yield from _base_url(url, source)
    reached = True
    for finding in check_connection(url, timeout):
        reached &= finding.state != "wrong"
        yield finding
    if reached and has_key:
        yield from _models(url, timeout)


def _base_url(url: str, source: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    yield Finding("base URL", "right", f"{url}, from {source}")
    hint = hint_for_404(url)
    if hint:
        yield Finding("base URL", "odd", hint, _HOW_TO_SET_A_BASE_URL)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        yield Finding("base URL", "odd", "The key would travel unencrypted.", "Use https.")


def _models(url: str, timeout: float) -> Iterator[Finding]:
    try:
        with APIMaster(base_url=url, timeout=timeout, max_retries=0) as client:
            ids = client.models()
    except APIMasterError as error:
        yield Finding("models", "wrong", error.message, error.advice, exit_code=exit_code(error))
        return
    yield Finding("models", "right", f"the gateway accepts the key and offers {len(ids)} models")
    if DEFAULT_MODEL not in ids:
        similar = [each for each in ids if "image" in each or "banana" in each]
        offered = f"It offers: {', '.join(similar[:10])}." if similar else "See `apimaster models`."
        yield Finding("models", "odd", f"{DEFAULT_MODEL} is not among them.", f"{offered} Choose one with --model.")
