"""Bad input to ``client.webhooks``: refused with what is accepted, before anything is sent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apimaster import APIMaster, AsyncAPIMaster, BadRequestError, Task
from apimaster.webhooks import AsyncWebhooks, Webhooks
from apimaster.webhooks.endpoint_url import checked_url

PUBLIC, LOCAL = "https://apimaster.ai/v1", "http://127.0.0.1:8788/v1"


@pytest.fixture
def sent() -> list[httpx.Request]:
    return []


@pytest.fixture
def client(sent: list[httpx.Request]) -> Iterator[APIMaster]:
    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"data": [], "supported": True, "event": {}})

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        APIMaster("sk-made-up", base_url=PUBLIC, http_client=http) as made,
    ):
        yield made


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://example.com/hooks",
            "https://example.com:443/a?b=c",
            " https://EXAMPLE.com/ \n",
            "HTTPS://example.com",
        ),
        *(
            "https://8.8.8.8/hooks",
            "https://[2606:4700::1111]/hooks",
            "https://xn--bcher-kva.example.org/",
            "https://a.co.",
        ),
    ],
)
@pytest.mark.parametrize("base_url", [PUBLIC, LOCAL])
def test_urls_that_the_gateway_takes(url: str, base_url: str) -> None:
    assert checked_url(url, base_url) == url.strip()


NOT_PUBLIC = {
    "http://example.com/hooks": "begins with http://",
    "http://example.com:443/hooks": "begins with http://",
    "https://example.com:8443/hooks": "has the port 8443",
    "https://example.com:80/hooks": "has the port 80",
    "https://10.0.0.1/hooks": "not on the public internet",
    "https://192.168.1.1/": "not on the public internet",
    "https://169.254.169.254/latest": "not on the public internet",
    "https://100.64.0.1/": "not on the public internet",
    "https://[fd00::1]/": "not on the public internet",
    "https://[::ffff:10.0.0.1]/": "not on the public internet",
    "https://0.0.0.0/": "not on the public internet",
    "https://service.internal/": "not on the public internet",
    "https://printer.local/": "not on the public internet",
    "https://build/": "no public name",
    "https://1.2.3.4.5/": "no public name",
}
ON_THIS_MACHINE = [
    *(
        "http://127.0.0.1:8789/hooks",
        "https://127.0.0.1/",
        "http://localhost:5000",
        "http://[::1]:80/",
        "http://127.1/",
    ),
    *("http://app.localhost/", "http://2130706433/", "http://0x7f.1:9/"),
]
NEVER: dict[Any, str] = {
    "": "is ''",
    "  ": "is '  '",
    None: "is None",
    5: "of the type int",
    b"https://example.com": "of the type bytes",
    "example.com/hooks": "is 'example.com/hooks'",
    "//example.com/": "is '//example.com/'",
    "ftp://example.com/": "is 'ftp://example.com/'",
    "file:///etc/passwd": "is 'file:///etc/passwd'",
    "javascript:alert(1)": "is 'javascript:alert(1)'",
    "https://": "is 'https://'",
    "https:///hooks": "is 'https:///hooks'",
    "https://user:hunter2@example.com/": "holds a user name or a password",
    "https://@example.com/": "holds a user name or a password",
    "https://example.com/#top": "holds a fragment",
    "https://example.com/#": "holds a fragment",
    "https://example.com/a b": "holds a blank",
    "https://example.com\\@evil.com/": "backslash",
    "https://exa\nmple.com/": "holds a blank",
    "https://bücher.example.org/": "outside plain ASCII",
    "https://example.com/\ud800": "outside plain ASCII",
    "https://example.com:port/": "is not a URL",
    "https://example.com:99999/": "is not a URL",
    "https://[::1/": "is not a URL",
    "https://example.com/" + "a" * 3_000_000: "characters, more than 2048",
}


@pytest.mark.parametrize(("url", "words"), [*NOT_PUBLIC.items(), *NEVER.items()], ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("base_url", [PUBLIC, LOCAL])
def test_urls_that_the_gateway_refuses(url: Any, words: str, base_url: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        checked_url(url, base_url)
    assert words in caught.value.message
    assert "accepted: a public https URL on port 443" in caught.value.message
    assert len(caught.value.message) < 400
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("url", ON_THIS_MACHINE)
def test_this_machine_is_for_an_emulator_on_this_machine(url: str) -> None:
    for base_url in (LOCAL, "http://localhost:1/v1", "http://[::1]:1/v1"):
        assert checked_url(url, base_url) == url
    for base_url in (PUBLIC, "http://10.0.0.5:8788/v1", "https://127.0.0.1.example.com/v1"):
        with pytest.raises(BadRequestError):
            checked_url(url, base_url)


BAD_IDS: list[Any] = [
    *("", " ", ".", "..", "../v1/models", "whep_1/verify", "a/..", "whep_1?x=1", "whep_1#", "%2e%2e", "a b", "\u00e9"),
    *("whep\n1", "-", "x" * 201, "x" * 3_000_000, None, 5, True, b"whep_1", ["whep_1"], Task(id="task_1", model="m")),
]
BAD_CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (bad,), {}) for name in ("verify", "enable", "disable", "rotate") for bad in BAD_IDS),
    *((name, (bad,), {}) for name in ("event", "deliveries", "redeliver") for bad in BAD_IDS),
    *(("events", (), {"task": bad}) for bad in BAD_IDS if bad is not None and not isinstance(bad, Task)),
    *(("events", (), {"limit": bad}) for bad in (0, -1, 101, 10**400, 1.0, float("nan"), "5", None, True)),
    *(("events", (), {"offset": bad}) for bad in (-1, 2**53, 10**400, 1.5, float("inf"), "0", None, False)),
    *(("events", (), {"status": bad}) for bad in ("", " ", "two words", "a&b=c", "x" * 65, "\ud800", 5, b"failed", [])),
    *(("capabilities", (bad,), {}) for bad in ("", " ", "a\nb", "x" * 201, 5, b"m", [])),
    *(("create", (bad,), {}) for bad in ("", None, "http://example.com/", "http://127.0.0.1/")),
    *(
        ("create", ("https://example.com/",), {"save_secret": bad})
        for bad in ("", 5, "a\0b", b"file", "no/such/folder/f")
    ),
    *(("rotate", ("whep_1",), {"save_secret": bad}) for bad in ("", 5, "a\0b", ".", "no/such/folder/f")),
]


@pytest.mark.parametrize(
    ("name", "arguments", "options"), BAD_CALLS, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(BAD_CALLS)]
)
def test_bad_input_sends_nothing(
    client: APIMaster, sent: list[httpx.Request], name: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(BadRequestError) as caught:
        getattr(client.webhooks, name)(*arguments, **options)
    assert sent == []
    assert len(caught.value.message) < 500

    async def awaited() -> None:
        async with AsyncAPIMaster("sk-made-up", base_url=PUBLIC) as other:
            await getattr(other.webhooks, name)(*arguments, **options)

    with pytest.raises(BadRequestError) as again:
        asyncio.run(awaited())
    assert again.value.message == caught.value.message


def test_ids_may_be_objects_and_have_blanks_around_them(client: APIMaster, sent: list[httpx.Request]) -> None:
    client.webhooks.events(task=Task(id="task_1", model="m"), status=" failed ")
    client.webhooks.event(" evt:1.2~3-4_5 ")
    client.webhooks.capabilities("nano-banana-2")
    client.webhooks.capabilities()
    assert [request.url.raw_path.decode() for request in sent] == [
        "/v1/webhook-events?task_id=task_1&status=failed&limit=100",
        "/v1/webhook-events/evt%3A1.2~3-4_5",
        f"/v1/webhook-capabilities?model={client.model}",
        f"/v1/webhook-capabilities?model={client.model}",
    ]


def methods(kind: type) -> dict[str, Any]:
    return {name: each for name, each in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_both_have_the_same_methods() -> None:
    blocking, awaited = methods(Webhooks), methods(AsyncWebhooks)
    assert list(blocking) == list(awaited)
    assert set(blocking) == {
        *("capabilities", "create", "deliveries", "disable", "enable", "event", "events", "list", "redeliver"),
        *("rotate", "verify"),
    }
    for name, method in blocking.items():
        assert inspect.signature(method) == inspect.signature(awaited[name]), name
        assert method.__doc__ == awaited[name].__doc__, name
        assert method.__doc__
        assert inspect.iscoroutinefunction(awaited[name])
        assert not inspect.iscoroutinefunction(method)
    assert Webhooks.__doc__ == AsyncWebhooks.__doc__
    assert APIMaster.webhooks.__doc__ == AsyncAPIMaster.webhooks.__doc__


def test_it_shares_the_options_of_its_client(client: APIMaster, sent: list[httpx.Request]) -> None:
    client.with_options(extra_headers={"X-Trace": "t-1"}).webhooks.list()
    client.webhooks.list()
    assert [request.headers.get("X-Trace") for request in sent] == ["t-1", None]
    assert repr(client.webhooks) == f"Webhooks(base_url='{PUBLIC}')"
