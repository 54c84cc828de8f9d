"""Settings of the machine that can't be used: every door says so, names the variable, and books nothing.

What is wrong is found before the first byte leaves, so each case ends as ``APIConnectionError`` with nothing charged,
whatever the library underneath raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import DOORS, Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apimaster import APIMaster, AsyncAPIMaster
from apimaster._flows.operations import Call
from apimaster._transport import BadSetting, clients, proxies
from apimaster._transport.certificates import tls_context
from apimaster._transport.proxies import Proxy, ProxyChoice
from apimaster.batch import AsyncBatch
from apimaster.cli.app import run as run_command
from apimaster.emulator import Emulator
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    BadRequestError,
    DownloadError,
    OutcomeUnknownError,
)
from apimaster.ledger import Ledger
from apimaster.results import GeneratedImage

CLOSED = "http://127.0.0.1:9"  # the port "discard": nothing listens there
SECRET = "hunter2secret"
resolve = socket.getaddrinfo
OWN_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that runs the tests, and no TLS context of an earlier test."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in OWN_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setattr(clients, "_tls", None)


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


BROKEN: list[tuple[str, dict[str, str], str]] = [
    (name, {name: value}, name)
    for name, value in [
        ("HTTP_PROXY", "nonsense://x"),
        ("http_proxy", "nonsense://x"),
        ("HTTP_PROXY", "http://[::1"),
        ("HTTP_PROXY", "[::1"),
        ("HTTP_PROXY", "http://"),
        ("HTTP_PROXY", "://"),
        ("http_proxy", "http://exa_mple..com:1"),
        ("http_proxy", ".example.com:1"),
        ("ALL_PROXY", f"http://{'a' * 64}.example:1"),
        ("HTTP_PROXY", "http://proxy:99999"),
        ("HTTP_PROXY", "http://proxy:0"),
        ("HTTP_PROXY", "http://proxy:port"),
        ("HTTP_PROXY", f"http://me:{SECRET}@[::1"),
        ("HTTP_PROXY", f"http://me:{SECRET}@proxy:99999"),
        ("HTTP_PROXY", f"http://me:{SECRET}"),
        ("HTTP_PROXY", f"me:{SECRET}"),
        ("HTTP_PROXY", f"http://{SECRET}/b@proxy:1"),
        ("HTTP_PROXY", f"http://me?{SECRET}@proxy:1"),
        ("ALL_PROXY", "socks4://127.0.0.1:9"),
        ("all_proxy", "ftp://127.0.0.1:9"),
        ("ALL_PROXY", "http://a b"),
        ("ALL_PROXY", "http://\udcff"),
        ("ALL_PROXY", "http://exa\u200bmple:80\u2028"),
        ("ALL_PROXY", "socks://127.0.0.1:9"),
        ("ALL_PROXY", "SOCKS5://127.0.0.1:9"),
        ("ALL_PROXY", f"socks5h://me:{SECRET}@127.0.0.1:9"),
        ("HTTP_PROXY", CLOSED),
        ("ALL_PROXY", f"http://me:{SECRET}@127.0.0.1:9"),
    ]
] + [
    ("SSL_CERT_FILE", {"HTTP_PROXY": CLOSED, "SSL_CERT_FILE": "/nowhere/at-all.pem"}, "SSL_CERT_FILE"),
    ("SSL_CERT_FILE", {"HTTP_PROXY": CLOSED, "SSL_CERT_FILE": "/"}, "SSL_CERT_FILE"),
    ("SSL_CERT_FILE", {"HTTP_PROXY": CLOSED, "SSL_CERT_FILE": os.devnull}, "SSL_CERT_FILE"),
    ("SSL_CERT_DIR", {"HTTP_PROXY": CLOSED, "SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR"),
    ("SSL_CERT_DIR", {"HTTP_PROXY": CLOSED, "SSL_CERT_DIR": os.devnull}, "SSL_CERT_DIR"),
    ("SSLKEYLOGFILE", {"HTTP_PROXY": CLOSED, "SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE"),
]
IDS = [" ".join(f"{name}={value!a}" for name, value in values.items()) for _, values, _ in BROKEN]


@pytest.fixture(params=BROKEN, ids=IDS)
def variable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a variable that can't be used, and that is set."""
    _, values, name = request.param
    for each, value in values.items():
        monkeypatch.setenv(each, value)
    monkeypatch.setattr(proxies, "supports_socks", lambda: False)
    return str(name)


def check(error: APIMasterError, variable: str) -> None:
    assert type(error) is APIConnectionError
    assert error.billed == "no"
    assert variable.lower() in str(error).lower()
    assert SECRET not in str(error)


@pytest.mark.parametrize("kind", DOORS)
def test_every_call_of_a_client_names_the_variable(variable: str, kind: str, emu: Emulator) -> None:
    door = Door(kind, emu, max_retries=0)
    for method, arguments in [("generate", ["a cat"]), ("submit", ["a cat"]), ("models", []), ("retrieve", ["task_1"])]:
        check(door.error(method, *arguments), variable)
    picture = GeneratedImage(url=f"{emu.base_url}/picture.png")
    lost = door.error("read", picture)
    assert isinstance(lost, DownloadError)
    assert variable.lower() in str(lost).lower() or kind == "aiohttp"
    assert SECRET not in str(lost)
    assert emu.requests == []


SOME = [
    {"HTTP_PROXY": "nonsense://x"},
    {"http_proxy": "http://[::1"},
    {"ALL_PROXY": f"socks5://me:{SECRET}@127.0.0.1:9"},
    {"HTTP_PROXY": CLOSED, "SSL_CERT_FILE": "/nowhere/at-all.pem"},
    {"HTTP_PROXY": CLOSED, "SSL_CERT_DIR": "/nowhere"},
]


@pytest.fixture(params=SOME, ids=lambda values: "+".join(values))
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same for a few of them, where the door is what matters."""
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(proxies, "supports_socks", lambda: False)
    return str(list(request.param)[-1])


def repair() -> None:
    """Unset everything, as somebody does who follows the advice."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in OWN_VARIABLES:
            del os.environ[name]


@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere"), ("HTTPS_PROXY", "http://[::1")],
)
def test_what_an_https_url_needs(kind: str, name: str, value: str, emu: Emulator, monkeypatch: Any) -> None:
    monkeypatch.setenv(name, value)
    check(Door(kind, emu, base_url="https://127.0.0.1:9/v1").error("generate", "a cat"), name)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_purchase_with_a_key_stays_free_to_buy(broken: str, kind: str, emu: Emulator, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.set_budget("week", images=1)
        door = Door(kind, emu, ledger=ledger)
        error = door.error("generate", "a cat", idempotency_key="order-1", budget="week")
        check(error, broken)
        assert not error.retryable  # without a pause, since no retry can help
        (row,) = ledger.purchases()
        assert (row.state, row.billed) == ("failed", "no")
        door("settle")
        repair()
        assert len(door("generate", "a cat", idempotency_key="order-1", budget="week").images) == 1
    assert len(emu.bill) == 1


@pytest.mark.parametrize("kind", DOORS)
def test_the_wait_for_a_task_ends_at_once_and_keeps_it(kind: str, emu: Emulator, monkeypatch: Any) -> None:
    door = Door(kind, emu)
    task = door("submit", "a cat")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    error = door.error("wait", task)
    assert isinstance(error, APIConnectionError)
    assert (error.billed, error.task.id) == ("yes", task.id)
    assert "HTTP_PROXY" in str(error)
    repair()
    assert len(door("wait", task).images) == 1
    assert len(emu.bill) == 1


def test_a_batch_books_nothing(broken: str, emu: Emulator, tmp_path: Path) -> None:
    lines = [{"prompt": f"cat {number}", "id": f"c{number}"} for number in range(5)]

    async def run() -> list[Any]:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url) as client:
            batch = AsyncBatch(client, tmp_path / "cats")
            return [item async for item in batch.run(lines, max_images=5)]

    with pytest.raises(APIConnectionError) as raised:
        asyncio.run(run())
    check(raised.value, broken)
    repair()
    items = asyncio.run(run())
    assert [item.state for item in items] == ["saved"] * 5
    assert len(emu.bill) == 5


@pytest.mark.parametrize("words", [["generate", "a cat"], ["models"], ["account"], ["doctor"], ["batch", "run"]])
def test_the_command_names_it(
    broken: str, words: list[str], emu: Emulator, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    for name, value in emu.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    if words[0] == "batch":
        (tmp_path / "list.jsonl").write_text('{"prompt": "a cat"}\n', encoding="utf-8")
        words = [*words, "list.jsonl", "--out", "cats", "--yes"]
    code = run_command(words)
    printed = "".join(capsys.readouterr())
    assert code == 5
    assert broken in printed
    assert SECRET not in printed
    assert "Traceback" not in printed
    assert emu.requests == []


DIRECT = [
    ("localhost,[::1]", "http://[::1]:8000/v1"),
    ("localhost,::1", "http://[::1]/"),
    ("::1/128,127.0.0.0/8", "http://[::1]/"),
    ("::1/128,127.0.0.0/8", "http://127.3.4.5:99/"),
    ("[::1]/128", "http://[::1]/"),
    ("[::1/128]", "http://[::1]/"),
    ("[::1]:8000", "http://[::1]:8000/"),
    ("fd00::/8", "https://[fd12:3456::1]/"),
    ("FE80::/10", "http://[fe80::1]/"),
    ("fe80::1%eth0", "http://[fe80::1]/"),
    ("0:0:0:0:0:0:0:1", "http://[::1]/"),
    ("10.0.0.0/8", "http://10.20.30.40/"),
    ("192.168.1.7", "http://192.168.1.7:80/"),
    ("a.test, b.test", "http://b.test/"),
    ("a.test b.test", "http://b.test/"),
    ("b.test", "http://deep.b.test/"),
    (".b.test", "http://deep.b.test/"),
    ("*.b.test", "http://deep.b.test/"),
    ("B.Test", "http://b.test./"),
    ("b.test:81", "http://b.test:81/"),
    ("b.test:80", "http://b.test/"),
    ("https://b.test", "https://b.test/"),
    ("m\u00fcnchen.test", "http://xn--mnchen-3ya.test/"),
    ("*", "http://b.test/"),
    ("a.test,*", "http://b.test/"),
]
PROXIED = [
    ("localhost,[::1]", "http://[::2]/"),
    ("fd00::/8", "http://[fe80::1]/"),
    ("10.0.0.0/8", "http://11.0.0.1/"),
    ("b.test", "http://xb.test/"),
    (".b.test", "http://b.test/"),
    ("b.test:81", "http://b.test/"),
    ("https://b.test", "http://b.test/"),
    ("[::1", "http://[::1]/"),
    ("::1/999", "http://[::1]/"),
    ("[]", "http://b.test/"),
    (".", "http://b.test/"),
    ("://", "http://b.test/"),
    ("b.test:999999", "http://b.test/"),
    ("\udcff,\u2028", "http://b.test/"),
    ("", "http://b.test/"),
]


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [(*case, True) for case in DIRECT] + [(*case, False) for case in PROXIED],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_that_need_no_proxy(no_proxy: str, url: str, direct: bool, name: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv(name, no_proxy)
    assert (ProxyChoice.of_environment().proxy_for(url) is None) is direct


@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize(
    "no_proxy", ["localhost,[::1],127.0.0.1", "::1/128,127.0.0.0/8", "[::1,127.0.0.1", "fd00::/8 127.0.0.1"]
)
def test_such_a_list_breaks_no_client(no_proxy: str, kind: str, emu: Emulator, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", CLOSED)
    monkeypatch.setenv("no_proxy", no_proxy)
    assert len(Door(kind, emu)("generate", "a cat").images) == 1


@pytest.mark.parametrize(
    ("values", "url", "expected"),
    [
        ({"HTTP_PROXY": "proxy.test:3128"}, "http://b.test/", "http://proxy.test:3128"),
        ({"HTTP_PROXY": " http://proxy.test:3128\n"}, "http://b.test/", "http://proxy.test:3128"),
        ({"HTTP_PROXY": "http://proxy.test"}, "https://b.test/", None),
        ({"HTTP_PROXY": "", "ALL_PROXY": "  "}, "http://b.test/", None),
        ({"HTTP_PROXY": "http://a.test", "http_proxy": "http://b.test"}, "http://c.test/", "http://b.test"),
        ({"HTTP_PROXY": "http://a.test", "ALL_PROXY": "nonsense://x"}, "http://c.test/", "http://a.test"),
        ({"ALL_PROXY": "socks://u:p@a.test:1"}, "https://c.test/", "socks5://u:p@a.test:1"),
        ({"ALL_PROXY": "SOCKS://a.test:1"}, "https://c.test/", "socks5://a.test:1"),
        ({"ALL_PROXY": "socks5h://a.test:1"}, "https://c.test/", "socks5h://a.test:1"),
        ({"HTTPS_PROXY": "HTTP://[::1]:3128/"}, "https://c.test/", "http://[::1]:3128/"),
    ],
)
def test_the_proxy_of_a_url(values: dict[str, str], url: str, expected: str | None, monkeypatch: Any) -> None:
    monkeypatch.setattr(proxies, "supports_socks", lambda: True)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    proxy = ProxyChoice.of_environment().proxy_for(url)
    assert (None if proxy is None else proxy.url()) == expected


def test_certificates_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    authorities = tmp_path / "authorities"
    authorities.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(authorities))
    with pytest.raises(BadSetting, match="holds no certificates") as raised:
        tls_context()
    assert "openssl rehash" in raised.value.advice
    first = Path(certifi.where()).read_text(encoding="utf-8").split("-----END CERTIFICATE-----")[0]
    (authorities / "0a775a30.0").write_text(first + "-----END CERTIFICATE-----\n", encoding="utf-8")
    tls_context()
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere{os.pathsep}{authorities}")
    tls_context()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())  # the file wins, as in httpx
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    tls_context()


def test_a_setting_that_no_request_needs_breaks_nothing(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    for kind in ("sync", "async"):  # aiohttp's transport wants its TLS context at once
        assert len(Door(kind, emu)("generate", "a cat").images) == 1


@pytest.mark.parametrize("url", ["http://a%zz/v1", "http://xn--/v1", "http://" + "a" * 70 + "..b/v1", "http://[::1/v1"])
def test_a_base_url_that_no_client_can_call(url: str) -> None:
    with (
        pytest.raises((BadRequestError, APIConnectionError)) as raised,
        APIMaster("sk-key", base_url=url, max_retries=0) as client,
    ):
        client.generate("a cat")
    assert raised.value.billed == "no"


Send = Callable[[httpx.Request], httpx.Response]


def answering(emu: Emulator, **settings: Any) -> APIMaster:
    return APIMaster(emu.api_key, base_url=emu.base_url, max_retries=0, http_client=httpx.Client(**settings))


def raising(error: Exception) -> Send:
    def handle(request: httpx.Request) -> httpx.Response:
        raise error

    return handle


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"headers": {"x-note": "a\nb"}}, APIConnectionError),  # h11 can't write it
        ({"proxy": CLOSED}, APIConnectionError),
        ({"event_hooks": {"response": [lambda response: 1 / 0]}}, OutcomeUnknownError),
        ({"transport": httpx.MockTransport(raising(httpx.ReadTimeout("")))}, OutcomeUnknownError),
        ({"transport": httpx.MockTransport(raising(httpx.ConnectError("no route")))}, APIConnectionError),
        ({"transport": httpx.MockTransport(raising(KeyError("a bug")))}, OutcomeUnknownError),
    ],
)
def test_a_client_of_the_callers_own(emu: Emulator, options: dict[str, Any], expected: type[APIMasterError]) -> None:
    with pytest.raises(expected) as raised:
        answering(emu, **options).generate("a cat")
    assert type(raised.value) is expected


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("error", [httpx.ConnectError("odd"), httpx.LocalProtocolError("odd"), ValueError("odd")])
def test_what_fails_after_bytes_left_is_never_called_free(
    kind: str, error: Exception, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection knows: these errors look as if nothing had been sent."""

    class Interrupted:
        length = 100

        def __iter__(self) -> Iterator[bytes]:
            yield b"{"
            raise error

        async def __aiter__(self) -> Any:
            yield b"{"
            raise error

    monkeypatch.setattr(
        "apimaster._flows.buying.generation_call",
        lambda *args, **options: Call("POST", "/images/generations/async", body=Interrupted()),
    )
    assert type(Door(kind, emu).error("generate", "a cat")) is OutcomeUnknownError


TEXT = st.text(st.characters(exclude_characters="\0"), max_size=20)
WORDS = st.sampled_from(
    ["http://", "socks://", "[", "]", "::1", "/", "128", "@", ":", "9", ",", "*", ".", "%", "x", "é", " "]
)
VALUES = st.one_of(TEXT, st.lists(WORDS, max_size=8).map("".join))
NAMES = st.sampled_from(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), kind=st.sampled_from(["sync", "async"]))
def test_no_environment_raises_anything_else(values: dict[str, str], kind: str, emu: Emulator) -> None:
    emu.reset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            try:
                os.fsencode(value)
            except UnicodeEncodeError:
                continue  # no environment holds it
            patch.setenv(name, value)
        # What it names is a proxy that this test must not call, so the transport ends where a connection begins.
        patch.setattr("socket.getaddrinfo", refuse)
        with contextlib.suppress(APIConnectionError):
            assert Door(kind, emu, max_retries=0)("models")


def refuse(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    if host == "127.0.0.1":
        return resolve(host, port, *args, **options)
    raise OSError("no such name")


@settings(deadline=None)
@given(user=st.text("abc:/@#?%é", min_size=1, max_size=8), rest=VALUES)
def test_no_message_shows_a_password(user: str, rest: str) -> None:
    for value in (f"http://{user}{SECRET}@{rest}", f"{user}:{SECRET}@{rest}", f"odd://{user}{SECRET}@{rest}"):
        proxy = Proxy("HTTP_PROXY", value)
        assert SECRET not in proxy.shown + refusal(proxy)


def refusal(proxy: Proxy) -> str:
    """What is said about a proxy; empty if it is accepted."""
    try:
        proxy.url()
    except BadSetting as fault:
        return f"{fault} {fault.advice}"
    return ""
