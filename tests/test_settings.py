"""The sources of the key and the base URL, and the values that are refused before anything is sent."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from apimaster import settings
from apimaster.errors import AuthenticationError, BadRequestError

KEY = "sk-made-up-0123456789"


def write_config(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    return tmp_path / "nothing" / "config.json"


@pytest.mark.parametrize(
    ("argument", "env", "config", "expected", "source"),
    [
        ("k-arg", {"APIMASTER_API_KEY": "k-env", "APIMASTER_KEY": "k-env2"}, {"key": "k-file"}, "k-arg", "argument"),
        (None, {"APIMASTER_API_KEY": "k-env", "APIMASTER_KEY": "k-env2"}, {"key": "k-file"}, "k-env", "APIMASTER_API_"),
        (None, {"APIMASTER_KEY": "k-env2"}, {"key": "k-file"}, "k-env2", "APIMASTER_KEY"),
        (None, {"APIMASTER_API_KEY": " \n"}, {"key": "k-file"}, "k-file", "config.json (key)"),
        (None, {}, {"api_key": "k-file"}, "k-file", "config.json (api_key)"),
        (None, {}, {"key": "k-file", "api_key": "other"}, "k-file", "config.json (key)"),
        (None, {}, {"key": "", "api_key": "k-file"}, "k-file", "config.json (api_key)"),
        (None, {}, {"key": None, "api_key": "k-file"}, "k-file", "config.json (api_key)"),
        (SecretStr("k-arg"), {}, {}, "k-arg", "argument"),
    ],
)
def test_order_of_keys(
    argument: str | None, env: dict[str, str], config: object, expected: str, source: str, tmp_path: Path
) -> None:
    found = settings.resolve(argument, env=env, config_path=write_config(tmp_path, config))
    assert found.api_key.get_secret_value() == expected
    assert source in found.key_source


@pytest.mark.parametrize(
    ("argument", "env", "config", "expected", "source"),
    [
        ("http://a.test/v1", {"APIMASTER_BASE_URL": "http://b.test/v1"}, {}, "http://a.test/v1", "argument"),
        (
            None,
            {"APIMASTER_BASE_URL": "http://b.test"},
            {"base_url": "http://c.test"},
            "http://b.test",
            "APIMASTER_BASE",
        ),
        (
            None,
            {"APIMASTER_BASE_URL": ""},
            {"base_url": "http://c.test/x"},
            "http://c.test/x",
            "config.json (base_url)",
        ),
        (None, {}, {}, "https://apimaster.ai/v1", "the default"),
    ],
)
def test_order_of_base_urls(
    argument: str | None, env: dict[str, str], config: object, expected: str, source: str, tmp_path: Path
) -> None:
    found = settings.resolve(KEY, argument, env=env, config_path=write_config(tmp_path, config))
    assert found.base_url == expected
    assert source in found.base_url_source


@pytest.mark.parametrize(
    "pasted",
    [
        f"  {KEY}\n",
        f'"{KEY}"',
        f"'{KEY}'\r\n",
        f" \"'{KEY}' \"",
        f"“{KEY}”",
        f"\ufeff{KEY}\u200b",
        f"\xa0{KEY}\xa0",
        f"Bearer {KEY}",
        f"bearer: {KEY}",
        f"Authorization: Bearer {KEY}",
        f'"Authorization: Bearer {KEY}"',
        f'Bearer "{KEY}"',
    ],
)
def test_blanks_quotes_and_prefixes_of_a_key_are_stripped(pasted: str, absent: Path) -> None:
    for found in (
        settings.resolve(pasted, env={}, config_path=absent),
        settings.resolve(env={"APIMASTER_KEY": pasted}, config_path=absent),
    ):
        assert found.api_key.get_secret_value() == KEY


def test_a_key_that_begins_with_bearer_is_left_alone(absent: Path) -> None:
    found = settings.resolve("bearer-of-news", env={}, config_path=absent)
    assert found.api_key.get_secret_value() == "bearer-of-news"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("sk-secret\nsk-second", "character 10 of 19 is a line break"),
        ("sk-secret part", "a blank"),
        ("sk-se\x07cret", "a control character (U+0007)"),
        ("sk-sеcret", "outside plain ASCII (U+0435)"),  # a Cyrillic letter
        ("", "is empty"),
        ("''", "is empty"),
        ("Bearer ", "is empty"),
    ],
)
def test_an_invalid_key_is_refused_without_showing_it(bad: str, words: str, absent: Path) -> None:
    with pytest.raises(AuthenticationError) as caught:
        settings.resolve(bad, env={}, config_path=absent)
    assert words in str(caught.value)
    assert "api_key argument" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.billed == "no"
    assert not caught.value.retryable


def test_a_missing_key_says_where_to_put_one(absent: Path) -> None:
    with pytest.raises(AuthenticationError) as caught:
        settings.resolve(env={}, config_path=absent)
    message = str(caught.value)
    for place in ("api_key=", "APIMASTER_API_KEY", str(absent), "https://apimaster.ai", "Nothing was charged"):
        assert place in message


def test_no_repr_shows_the_key(absent: Path) -> None:
    found = settings.resolve(KEY, env={}, config_path=absent)
    assert KEY not in repr(found)
    assert KEY not in str(found)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("apimaster.ai/v1", "is 'apimaster.ai/v1'"),
        ("ftp://apimaster.ai/v1", "is 'ftp://"),
        ("https://", "is 'https:'"),
        ("https:///v1", "is 'https:///v1'"),
        ("https://user:secret@apimaster.ai/v1", "a user name or a password"),
        ("user:secret@apimaster.ai", "a user name or a password"),
        ("https://apimaster.ai/v1?key=secret", "a query or a fragment"),
        ("https://apimaster.ai/v1#secret", "a query or a fragment"),
        ("https://apimaster.ai:port/v1", "is not a URL"),
        ("https://apimaster.ai:99999/v1", "is not a URL"),
        ("https://[::1/v1", "is not a URL"),
        ("https://api master.ai/v1", "a blank"),
        ("sk-secret", "does not begin with http:// or https://"),
        ("", "does not begin with http:// or https://"),
    ],
)
def test_invalid_base_urls_are_refused(bad: str, words: str, absent: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        settings.resolve(KEY, bad, env={}, config_path=absent)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "https://apimaster.ai/v1" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://apimaster.ai/v1/", "https://apimaster.ai/v1"),
        (" 'http://127.0.0.1:8788/v1//'\n", "http://127.0.0.1:8788/v1"),
        ("http://[::1]:8788/v1", "http://[::1]:8788/v1"),
        ("https://apimaster.ai", "https://apimaster.ai"),
    ],
)
def test_base_urls_are_used_as_given(given: str, used: str, absent: Path) -> None:
    assert settings.resolve(KEY, given, env={}, config_path=absent).base_url == used


@pytest.mark.parametrize(
    ("base_url", "hint"),
    [
        ("https://apimaster.ai/v1", ""),
        ("https://proxy.test/team/v1", ""),
        ("https://apimaster.ai", "may have to be https://apimaster.ai/v1."),
        ("https://apimaster.ai/api", "may have to be https://apimaster.ai/api/v1."),
        ("https://apimaster.ai/v1/images/generations", "it should be https://apimaster.ai/v1."),
        ("https://apimaster.ai/v1/images/generations/async", "it should be https://apimaster.ai/v1."),
    ],
)
def test_hint_for_404(base_url: str, hint: str) -> None:
    found = settings.hint_for_404(base_url)
    assert hint in found
    assert bool(found) == bool(hint)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{not json", "is not valid JSON (line 1)"),
        ("", "is not valid JSON"),
        ('["list"]', "must hold a JSON object"),
        ('{"key": 5}', "`key` must be a string, not int"),
        (" " * 70_000, "is larger than"),
    ],
)
def test_a_broken_config_file_is_named(content: str, words: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, content)
    with pytest.raises(AuthenticationError) as caught:
        settings.resolve(env={}, config_path=path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    # The file matters only if a value is still missing.
    assert settings.resolve(KEY, "http://a.test/v1", env={}, config_path=path).base_url == "http://a.test/v1"


def test_a_config_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(AuthenticationError, match="is not valid JSON"):
        settings.resolve(env={}, config_path=path)


def test_a_config_file_that_cannot_be_opened(tmp_path: Path) -> None:
    # A folder in its place can't be opened as a file by anybody, root included.
    with pytest.raises(AuthenticationError, match="can't be read"):
        settings.resolve(env={}, config_path=tmp_path)
    assert settings.resolve(KEY, env={}, config_path=tmp_path).base_url_source == "the default"


def test_a_byte_order_mark_in_the_config_file_is_ignored(tmp_path: Path) -> None:
    path = write_config(tmp_path, "\ufeff" + json.dumps({"key": KEY}))
    assert settings.resolve(env={}, config_path=path).api_key.get_secret_value() == KEY


def test_the_defaults_are_the_process_environment_and_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*settings.KEY_VARIABLES, settings.BASE_URL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".apimaster").mkdir()
    write_config(tmp_path / ".apimaster", {"key": "k-home"})
    assert settings.resolve().api_key.get_secret_value() == "k-home"
    assert settings.find_key(env={})[0].get_secret_value() == "k-home"
    assert settings.find_base_url(env={}) == (settings.DEFAULT_BASE_URL, "the default")
    monkeypatch.setenv("APIMASTER_API_KEY", "k-env")
    assert settings.resolve().api_key.get_secret_value() == "k-env"
