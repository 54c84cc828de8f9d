"""Several secrets while one is replaced, and a table of forgeries: none of them is believed."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from apimaster.errors import BadRequestError
from apimaster.webhooks import WebhookVerificationError, parse_webhook, sign

OLD, NEW, FOREIGN = "whsec-old", "whsec-new", "whsec-of-another-account"
NOW = 1_790_000_000
BODY = json.dumps({"id": "evt_1", "type": "task.completed", "data": {"task_id": "task_1", "model": "m"}}).encode()


def hexes(secret: str, body: bytes = BODY, timestamp: int | str = NOW) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()


def headers(signature: str, timestamp: int | str = NOW) -> dict[str, str]:
    return {"X-APIMaster-Timestamp": str(timestamp), "X-APIMaster-Signature": signature}


SECRETS: dict[str, Any] = {
    "by key id": {"k1": OLD, "k2": NEW},
    "a list": [NEW, OLD],
    "a tuple": (OLD, NEW),
    "hidden": [SecretStr(OLD), SecretStr(f"{NEW}\n")],
    "hidden by key id": {"k1": SecretStr(OLD), " k2 ": SecretStr(NEW)},
    "one of an unknown key id": {"": NEW, "k1": OLD},
}


@pytest.mark.parametrize("secrets", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "signature",
    [
        f"v1={hexes(OLD)},kid=k1",
        f"v1={hexes(NEW)},kid=k2",
        f"v1={hexes(NEW)}",
        f"v1={hexes(OLD)},v1={hexes(NEW)},kid=k2",
        f"v1={hexes(OLD)},kid=k1,v1={hexes(NEW)},kid=k2",
        f"v1={hexes(FOREIGN)},kid=k9,v1={hexes(NEW)},kid=k2",
        f"kid=k2 , V1= {hexes(NEW).upper()} ,v2=whatever",
    ],
)
def test_any_of_several_secrets_may_have_signed(secrets: Any, signature: str) -> None:
    assert parse_webhook(BODY, headers(signature), secrets, now=NOW).id == "evt_1"


def test_a_sequence_takes_any_key_id() -> None:
    assert parse_webhook(BODY, headers(f"v1={hexes(NEW)},kid=of-tomorrow"), [OLD, NEW], now=NOW).id == "evt_1"
    assert parse_webhook(BODY, headers(f"v1={hexes(NEW)},kid=of-tomorrow"), {"": NEW}, now=NOW).id == "evt_1"
    with pytest.raises(WebhookVerificationError, match="signed with the key 'of-tomorrow'; known keys: k1, k2"):
        parse_webhook(BODY, headers(f"v1={hexes(NEW)},kid=of-tomorrow"), {"k1": OLD, "k2": NEW}, now=NOW)


OTHER_BODY = BODY.replace(b"task_1", b"task_2")
FORGERIES: dict[str, tuple[bytes, Mapping[str, str]]] = {
    "another body": (OTHER_BODY, headers(f"v1={hexes(NEW)},kid=k2")),
    "a body with a blank more": (BODY + b" ", headers(f"v1={hexes(NEW)},kid=k2")),
    "an empty body": (b"", headers(f"v1={hexes(NEW)},kid=k2")),
    "a body that begins later": (BODY[1:], headers(f"v1={hexes(NEW)},kid=k2")),
    "a point moved between timestamp and body": (b"0." + BODY, headers(f"v1={hexes(NEW)},kid=k2", NOW // 10)),
    "another timestamp": (BODY, headers(f"v1={hexes(NEW)},kid=k2", NOW + 1)),
    "a timestamp with a blank inside": (BODY, headers(f"v1={hexes(NEW)},kid=k2", f"{NOW} 0")),
    "a timestamp in other digits": (BODY, headers(f"v1={hexes(NEW)},kid=k2", "１７９０００００００")),
    "a timestamp of half a character": (BODY, headers(f"v1={hexes(NEW)},kid=k2", "\ud800")),
    "no timestamp": (BODY, headers(f"v1={hexes(NEW)},kid=k2", "")),
    "a foreign secret": (BODY, headers(f"v1={hexes(FOREIGN)},kid=k2")),
    "a foreign secret without a key id": (BODY, headers(f"v1={hexes(FOREIGN)}")),
    "a foreign secret under a known key id and its own": (BODY, headers(f"v1={hexes(FOREIGN)},kid=k2,kid=k9")),
    "the empty secret": (BODY, headers(f"v1={hexes('')},kid=k2")),
    "the key id as the secret": (BODY, headers(f"v1={hexes('k2')},kid=k2")),
    "an unknown key id": (BODY, headers(f"v1={hexes(FOREIGN)},kid=k9")),
    "an empty signature": (BODY, headers("v1=,kid=k2")),
    "no signature": (BODY, headers("kid=k2")),
    "an empty header": (BODY, headers("")),
    "another version": (BODY, headers(f"v2={hexes(NEW)},kid=k2")),
    "half a signature": (BODY, headers(f"v1={hexes(NEW)[:32]},kid=k2")),
    "a signature and a letter": (BODY, headers(f"v1={hexes(NEW)}0,kid=k2")),
    "a signature in other letters": (BODY, headers("v1=é€\ud800,kid=k2")),
    "one letter changed": (BODY, headers(f"v1={hexes(NEW)[:-1]}{'0' if hexes(NEW)[-1] != '0' else '1'},kid=k2")),
    "the body's plain digest": (BODY, headers(f"v1={hmac.new(NEW.encode(), BODY, 'sha256').hexdigest()},kid=k2")),
    "a signature in another header": (BODY, {"X-APIMaster-Timestamp": str(NOW), "X-Signature": f"v1={hexes(NEW)}"}),
    "a thousand signatures": (BODY, headers(",".join([f"v1={hexes(FOREIGN)}"] * 1000 + [f"v1={hexes(NEW)}"]))),
    "a replay": (BODY, headers(f"v1={hexes(NEW, timestamp=NOW - 301)},kid=k2", NOW - 301)),
    "a delivery of tomorrow": (BODY, headers(f"v1={hexes(NEW, timestamp=NOW + 86400)},kid=k2", NOW + 86400)),
    "a number too long for a clock": (BODY, headers(f"v1={hexes(NEW, timestamp='9' * 400)},kid=k2", "9" * 400)),
    "a body nested without end": (b"[" * 200_000, headers(f"v1={hexes(NEW, body=b'[' * 200_000)},kid=k2")),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("secrets", [{"k1": OLD, "k2": NEW}, [OLD, NEW], NEW], ids=["mapping", "list", "text"])
def test_a_forgery_is_not_believed(name: str, secrets: Any) -> None:
    body, given = FORGERIES[name]
    with pytest.raises(WebhookVerificationError) as caught:
        parse_webhook(body, given, secrets, now=NOW)
    shown = f"{caught.value} {caught.value!r} {caught.value.__dict__}"
    assert not any(secret in shown for secret in (OLD, NEW, FOREIGN))
    assert hexes(NEW) not in shown


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([], "secret is empty"),
        ((), "secret is empty"),
        ({}, "secret is empty"),
        ([NEW, ""], "secret is empty"),
        ([NEW, " \n"], "secret is empty"),
        (SecretStr(""), "secret is empty"),
        ({"k2": NEW, "": " "}, "secret is empty"),
        (None, "of the type NoneType; accepted: a text, a mapping"),
        (NEW.encode(), "of the type bytes"),
        (bytearray(NEW.encode()), "of the type bytearray"),
        (7, "of the type int"),
        ([NEW.encode()], "one webhook secret is of the type bytes"),
        ({"k2": None}, "one webhook secret is of the type NoneType"),
        ({"k2": {"secret": NEW}}, "one webhook secret is of the type dict"),
        (["\ud800"], "half a character"),
        ({NEW}, "of the type set"),
    ],
)
def test_secrets_that_are_none_are_a_fault_of_the_receiver(secrets: Any, words: str) -> None:
    given = sign(BODY, NEW, timestamp=NOW, key_id="k2")
    for signature in (given, {**given, "X-APIMaster-Signature": f"v1={hexes('')}"}):
        with pytest.raises(BadRequestError, match=words) as caught:
            parse_webhook(BODY, signature, secrets, now=NOW)
        assert NEW not in str(caught.value)
