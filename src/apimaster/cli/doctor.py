"""``apimaster doctor``: what stands between this machine and a picture, checked from the inside out.

Each check gives a finding; the first one that is wrong decides the exit code, and what depends on it is left out, as it
could only fail for the same reason. Nothing here costs money: the only call is for the list of models.
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
from . import options, printing
from .connectivity import walk
from .exit_codes import OK, exit_code
from .findings import Finding

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def doctor(
    base_url: options.BaseUrl = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For each step.", min=0.1)] = 10.0,
    as_json: options.AsJson = False,
) -> int:
    """Find out what is wrong, and what to do.

    Looks at the key, the base URL, proxies and the way to the gateway. It is free.
    """
    findings: list[Finding] = []
    for finding in examine(os.environ, base_url, timeout):
        findings.append(finding)
        if not as_json:
            printing.say(finding.line())
    worst = next((finding.exit_code for finding in findings if finding.state == "wrong"), OK)
    if as_json:
        printing.print_json({"ok": worst == OK, "findings": [each.facts() for each in findings], "exit_code": worst})
    else:
        printing.say("Something is wrong: see above." if worst else "All is well.")
    return worst


def examine(env: Mapping[str, str], base_url: str | None, timeout: float) -> Iterator[Finding]:
    """Every finding, in the order in which things have to be right."""
    key_is_there = True
    try:
        key, source = find_key(env=env)
        yield Finding("key", "right", f"{len(key.get_secret_value())} characters, from {source}")
    except APIMasterError as error:
        key_is_there = False
        yield Finding("key", "wrong", error.message, exit_code=exit_code(error))
    given = [name for name in KEY_VARIABLES if env.get(name)]
    if len({env[name] for name in given}) > 1:
        yield Finding("key", "odd", f"{' and '.join(given)} differ; {given[0]} is used.", "Unset one of them.")
    try:
        url, source = find_base_url(base_url, env=env)
    except APIMasterError as error:
        yield Finding("base URL", "wrong", error.message, exit_code=exit_code(error))
        return
    yield from _base_url(url, source)
    reached = True
    for finding in walk(url, timeout):
        reached &= finding.state != "wrong"
        yield finding
    if reached and key_is_there:
        yield from _models(url, timeout)


def _base_url(url: str, source: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    yield Finding("base URL", "right", f"{url}, from {source}")
    hint = hint_for_404(url)
    if hint:
        yield Finding("base URL", "odd", hint, f"Set {BASE_URL_VARIABLE}, or leave it unset for the default.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        yield Finding("base URL", "odd", "The key would travel unencrypted.", "Use https.")


def _models(url: str, timeout: float) -> Iterator[Finding]:
    try:
        with APIMaster(base_url=url, timeout=timeout, max_retries=0) as client:
            ids = client.models()
    except APIMasterError as error:
        yield Finding("models", "wrong", error.message, exit_code=exit_code(error))
        return
    yield Finding("models", "right", f"the gateway accepts the key and offers {len(ids)} models")
    if DEFAULT_MODEL not in ids:
        nearest = [each for each in ids if "image" in each or "banana" in each]
        offered = f"It offers: {', '.join(nearest[:10])}." if nearest else "See `apimaster models`."
        yield Finding("models", "odd", f"{DEFAULT_MODEL} is not among them.", f"{offered} Choose one with --model.")
