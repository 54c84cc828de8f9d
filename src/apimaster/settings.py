"""Find the key and the base URL, and check them.

Order: the argument, the environment (``APIMASTER_API_KEY``, ``APIMASTER_KEY``; ``APIMASTER_BASE_URL``), the file
``~/.apimaster/config.json`` (``key`` or ``api_key``; ``base_url``), which the vendor's own command writes.

People paste keys from the clipboard. So this module strips blanks and quotes around a key, and refuses characters that
no key contains: they would cause a bare 401, or an error deep inside the HTTP library with the key in its message. No
message of this module shows a key, or the user part of a URL.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from .errors import AuthenticationError, BadRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL: Final = "https://apimaster.ai/v1"
KEY_VARIABLES: Final = ("APIMASTER_API_KEY", "APIMASTER_KEY")
BASE_URL_VARIABLE: Final = "APIMASTER_BASE_URL"
CONFIG_FILE: Final = "~/.apimaster/config.json"
WHERE_TO_GET_A_KEY: Final = "https://apimaster.ai"

_KEY_FIELDS: Final = ("key", "api_key")
_MAX_CONFIG_BYTES: Final = 64 * 1024
# Left around a value by clipboards, shells and .env files: blanks, quotes of all kinds, a byte order mark.
_AROUND: Final = " \t\r\n\v\f\0\xa0\u200b\ufeff\"'`“”‘’"

# Every curl example shows the key as `Authorization: Bearer <key>`, and people copy that whole or in part.
_PREFIX: Final = re.compile(r"\A(authorization\s*:\s*)?(bearer(?:[\s:]+|\Z))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The key and the base URL of a client, and the source of each.

    Attributes:
        api_key: the key; its ``repr`` shows stars.
        base_url: without a slash at the end.
        key_source: for people to read, for example ``"APIMASTER_API_KEY"`` or the path of the config file.
        base_url_source: the same; ``"the default"`` if none is set.
    """

    api_key: SecretStr
    base_url: str
    key_source: str
    base_url_source: str


def resolve(
    api_key: str | SecretStr | None = None,
    base_url: str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    config_path: str | os.PathLike[str] | None = None,
) -> Settings:
    """The key and the base URL, from the arguments, the environment or the config file, in that order.

    Args:
        api_key: unless it is None, it wins over everything else.
        base_url: the same. The client uses it as given, and adds no ``/v1``.
        env: instead of ``os.environ``.
        config_path: instead of ``~/.apimaster/config.json``.

    Raises:
        AuthenticationError: there is no key, it can't be one, or the config file is broken.
        BadRequestError: the base URL is not accepted.
    """
    env = os.environ if env is None else env
    config = _Config(config_path)
    # The URL first, so that a broken one is an error even if the key is missing too: both need correction. If neither
    # is set, the URL has a default, and the error is about the key.
    found_url, url_source = find_base_url(base_url, env=env, config=config)
    key, key_source = find_key(api_key, env=env, config=config)
    return Settings(key, found_url, key_source, url_source)


class _Config:
    """The config file. It is read once, when a field is first needed."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(os.path.expanduser(path or CONFIG_FILE))
        self._content: dict[str, object] | None = None

    def text(self, *fields: str, needed: bool) -> tuple[str, str] | None:
        """The first of ``fields`` that is set, and its source.

        A broken file is always an error, because its settings would be ignored silently. A file that this user may
        not open counts as absent unless it is ``needed``: services often run with another account's home directory,
        and with the key in the environment.
        """
        if self._content is None:
            try:
                self._content = self._load()
            except OSError as error:
                if needed:
                    raise AuthenticationError(f"The config file {self.path} can't be read: {error.strerror}.") from None
                return None
        for name in fields:
            value = self._content.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                kind = type(value).__name__
                raise AuthenticationError(f"The config file {self.path}: `{name}` must be a string, not {kind}.")
            if value.strip(_AROUND):
                return value, f"{self.path} ({name})"
        return None

    def _load(self) -> dict[str, object]:
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        if len(data) > _MAX_CONFIG_BYTES:
            raise AuthenticationError(f"The config file {self.path} is larger than {_MAX_CONFIG_BYTES} bytes.")
        try:
            content = json.loads(data.decode("utf-8-sig"))
        except ValueError as error:
            place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise AuthenticationError(f"The config file {self.path} is not valid JSON{place}.") from None
        if not isinstance(content, dict):
            raise AuthenticationError(
                f'The config file {self.path} must hold a JSON object such as {{"key": "…"}}, '
                f"not {type(content).__name__}."
            )
        return content


def find_key(
    api_key: str | SecretStr | None = None, *, env: Mapping[str, str], config: _Config | None = None
) -> tuple[SecretStr, str]:
    """The key, cleaned, and its source.

    Raises:
        AuthenticationError: there is no key, it can't be one, or the config file is broken.
    """
    if api_key is not None:
        given = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        return _clean_key(given, "the api_key argument"), "the api_key argument"
    for name in KEY_VARIABLES:
        if env.get(name, "").strip(_AROUND):
            return _clean_key(env[name], name), name
    config = config or _Config()
    found = config.text(*_KEY_FIELDS, needed=True)
    if found is None:
        raise AuthenticationError(
            "There is no API key.",
            advice=(
                f"Make a key in the console at {WHERE_TO_GET_A_KEY} and put it in one of three places: the argument "
                f"api_key=…, the environment variable {KEY_VARIABLES[0]}, or the file {config.path} as "
                '{"key": "…"}.'
            ),
        )
    text, source = found
    return _clean_key(text, source), source


def find_base_url(
    base_url: str | None = None, *, env: Mapping[str, str], config: _Config | None = None
) -> tuple[str, str]:
    """The base URL, checked, and its source.

    Raises:
        BadRequestError: it is not an http(s) URL, or it holds a user, a query or a fragment.
        AuthenticationError: the config file is broken.
    """
    if base_url is not None:
        return _clean_url(base_url, "the base_url argument"), "the base_url argument"
    if env.get(BASE_URL_VARIABLE, "").strip(_AROUND):
        return _clean_url(env[BASE_URL_VARIABLE], BASE_URL_VARIABLE), BASE_URL_VARIABLE
    found = (config or _Config()).text("base_url", needed=False)
    if found is not None:
        text, source = found
        return _clean_url(text, source), source
    return DEFAULT_BASE_URL, "the default"


def hint_for_404(base_url: str) -> str:
    """The likely mistake in a base URL whose calls end in a 404; empty if it looks right."""
    path = urlsplit(base_url).path.rstrip("/")
    for ending in ("/images/generations/async", "/images/generations", "/images", "/chat/completions", "/models"):
        if path.endswith(ending):
            return f"The base URL {base_url} names one endpoint; it should be {base_url.removesuffix(ending)}."
    if not path.endswith("/v1"):
        return f"The base URL {base_url} does not end in /v1; it may have to be {base_url.rstrip('/')}/v1."
    return ""


def _clean_key(text: str, source: str) -> SecretStr:
    key = text.strip(_AROUND)
    key = _PREFIX.sub("", key).strip(_AROUND)
    if not key:
        raise AuthenticationError(f"The API key from {source} is empty.")
    for position, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            raise AuthenticationError(
                f"The API key from {source} can't be right: character {position} of {len(key)} is "
                f"{_describe(character)}.",
                advice="Copy the key again, without anything around it.",
            )
    return SecretStr(key)


def _describe(character: str) -> str:
    if character in "\r\n":
        return "a line break"
    if character in " \t":
        return "a blank"
    if character < " " or character == "\x7f":
        return f"a control character (U+{ord(character):04X})"
    return f"outside plain ASCII (U+{ord(character):04X})"


def _clean_url(text: str, source: str) -> str:
    url = text.strip(_AROUND).rstrip("/")
    wanted = f"Accepted: an http or https URL such as {DEFAULT_BASE_URL}."
    if any(not "!" <= character <= "~" for character in url):
        raise BadRequestError(
            f"The base URL from {source} holds a blank, a line break or a special character. {wanted}"
        )
    if "@" in url:
        raise BadRequestError(f"The base URL from {source} holds a user name or a password before the host. {wanted}")
    if "?" in url or "#" in url:
        raise BadRequestError(f"The base URL from {source} holds a query or a fragment (? or #). {wanted}")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise BadRequestError(f"The base URL from {source} is not a URL: {error}. {wanted}") from None
    if parts.scheme not in ("http", "https") or not host:
        # A key in the wrong variable looks like this, so the message does not show it.
        shown = f"is {url!r}" if "." in url or ":" in url else "does not begin with http:// or https://"
        raise BadRequestError(f"The base URL from {source} {shown}. {wanted}")
    return url
