"""How reference images of a call go out: ``references_by`` in a call, an ``extra_body`` and a deployment."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm
import pytest
from large_pictures import MEGABYTE, padded_files, padded_png
from litellm import Router

from apimaster.emulator import Emulator

PROMPT = "A boat between two lighthouses"
NUMBERS = itertools.count(100)


@pytest.fixture
def png() -> bytes:
    """A picture that no test before has uploaded: the provider's clients outlive a test."""
    return padded_png(3_000 + next(NUMBERS))


@pytest.fixture
def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def kinds(purchase: Any) -> list[str]:
    return [reference.kind for reference in purchase.references]


@pytest.mark.parametrize(
    "entry_point", ["sdk", "sdk async", "router async", pytest.param("proxy", marks=pytest.mark.slow)]
)
def test_fourteen_references_of_ten_megabytes(
    through: Any, gateway: Emulator, purchases: Callable[[], list[Any]], tmp_path: Path, entry_point: str
) -> None:
    images = [file.read_bytes() for file in padded_files(tmp_path, size=10 * MEGABYTE - next(NUMBERS))]
    pictures = [(f"{number}.png", image) for number, image in enumerate(images)] if entry_point == "proxy" else images
    response = through(entry_point, "edit")(prompt=PROMPT, image=pictures)
    assert len(response.data) == 1
    (purchase,) = purchases()
    assert kinds(purchase) == ["upload"] * 14
    assert len(gateway.bill.charges) == 1


def test_fourteen_files_in_a_generation(
    account: dict[str, Any], gateway: Emulator, purchases: Callable[[], list[Any]], tmp_path: Path
) -> None:
    files = padded_files(tmp_path, size=10 * MEGABYTE - next(NUMBERS))
    litellm.image_generation(prompt=PROMPT, image=[str(file) for file in files], **account)
    assert kinds(purchases()[0]) == ["upload"] * 14
    assert len(gateway.bill.charges) == 1


FORMS: list[tuple[dict[str, Any], str]] = [
    ({}, "data"),
    ({"references_by": "auto"}, "data"),
    ({"references_by": "inline"}, "data"),
    ({"references_by": "upload"}, "upload"),
    ({"extra_body": {"references_by": "upload"}}, "upload"),
    ({"references_by": None}, "data"),
    ({"references_by": ""}, "data"),
]


@pytest.mark.parametrize(("arguments", "kind"), FORMS)
def test_a_call_chooses_the_form(
    generate: Any, png: bytes, purchases: Callable[[], list[Any]], arguments: dict[str, Any], kind: str, data_uri: str
) -> None:
    generate(prompt=PROMPT, image_urls=[data_uri, "https://a.test/b.png"], **arguments)
    (purchase,) = purchases()
    assert kinds(purchase) == [kind, "url"]
    assert "references_by" not in purchase.body


def test_an_extra_body_wins_over_the_argument(
    account: dict[str, Any], data_uri: str, purchases: Callable[[], list[Any]]
) -> None:
    both: dict[str, Any] = {"references_by": "inline", "extra_body": {"references_by": "upload"}}
    litellm.image_generation(prompt=PROMPT, image_urls=[data_uri], **both, **account)
    assert kinds(purchases()[0]) == ["upload"]


def test_an_edit_chooses_the_form(edit: Any, png: bytes, purchases: Callable[[], list[Any]]) -> None:
    edit(prompt=PROMPT, image=png, references_by="upload")
    assert kinds(purchases()[0]) == ["upload"]


@pytest.mark.parametrize(("own", "kind"), [({}, "upload"), ({"references_by": "inline"}, "data")])
def test_the_call_wins_over_its_deployment(
    deploy: Any, data_uri: str, purchases: Callable[[], list[Any]], own: dict[str, Any], kind: str
) -> None:
    router = Router(model_list=[deploy(references_by="upload")], num_retries=0)
    router.image_generation(prompt=PROMPT, model="image", image_urls=[data_uri], **own)
    assert kinds(purchases()[0]) == [kind]


@pytest.mark.parametrize("wrong", ["pigeon", "Upload ", 3, True, ["upload"], {"a": 1}])
def test_other_forms_are_refused(account: dict[str, Any], gateway: Emulator, wrong: Any) -> None:
    with pytest.raises(litellm.BadRequestError, match="accepted: auto, inline, upload"):
        litellm.image_generation(prompt=PROMPT, references_by=wrong, **account)
    assert gateway.requests == []


def test_a_chat_uploads_too(account: dict[str, Any], data_uri: str, purchases: Callable[[], list[Any]]) -> None:
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": data_uri}}]
    litellm.completion(messages=[{"role": "user", "content": content}], references_by="upload", **account)
    assert kinds(purchases()[0]) == ["upload"]


def test_calls_of_one_account_share_their_uploads(
    account: dict[str, Any], gateway: Emulator, purchases: Callable[[], list[Any]]
) -> None:
    picture = padded_png(3_000 + next(NUMBERS))

    async def calls() -> None:
        await asyncio.gather(
            *(
                litellm.aimage_edit(prompt=f"{PROMPT} {number}", image=picture, references_by="upload", **account)
                for number in range(4)
            )
        )

    asyncio.run(calls())
    assert len(purchases()) == 4
    assert len(gateway.requests_to("upload")) == 1


def test_a_key_stands_for_the_same_call_in_either_form(
    account: dict[str, Any], gateway: Emulator, png: bytes, own_ledger: Any
) -> None:
    for by in ("inline", "upload"):
        litellm.image_edit(prompt=PROMPT, image=png, idempotency_key="k", references_by=by, **account)
    assert len(gateway.bill.charges) == 1


def test_drop_params_drops_no_form(
    account: dict[str, Any], data_uri: str, purchases: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "drop_params", True)
    litellm.image_generation(prompt=PROMPT, image_urls=[data_uri], references_by="upload", **account)
    assert kinds(purchases()[0]) == ["upload"]
