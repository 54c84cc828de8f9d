"""Uploads beside a ledger: a picture counts by its bytes, and what dies before its request has cost nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from large_pictures import padded_png

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError, InternalServerError
from apimaster.ledger import Ledger

ClientFor = Callable[..., APIMaster]

PICTURE = padded_png(5_000)
FORMS = ("inline", "upload")
REFUSED_INSIDE = {"fault": "reply", "status": 400, "body": '{"error": {"message": "data URIs are not supported"}}'}


def charges(emulator: Emulator) -> int:
    return len(emulator.bill.charges)


def uploads(emulator: Emulator) -> int:
    return len(emulator.requests_to("upload"))


def states(ledger: Ledger) -> dict[str, str]:
    return {purchase.key: purchase.state for purchase in ledger.purchases()}


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_a_key_stands_for_the_picture_in_either_form(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, first: Any, second: Any
) -> None:
    client_for(ledger).generate("a castle", references=[PICTURE], idempotency_key="k", references_by=first)
    before = uploads(emulator)
    again = client_for(ledger).generate("a castle", references=[PICTURE], idempotency_key="k", references_by=second)
    assert again.replayed
    assert charges(emulator) == 1
    assert uploads(emulator) == before  # what is bought needs no upload
    with pytest.raises(BadRequestError) as caught:
        client_for(ledger).generate("a castle", references=[PICTURE + b"\0"], idempotency_key="k", references_by=second)
    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("n", [1, 3])
def test_images_are_claimed_while_their_references_are_uploaded(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, n: int
) -> None:
    seen: list[list[str]] = []
    add = emulator.gateway.uploads.add

    def looking(file: Any) -> Any:
        seen.append([purchase.state for purchase in ledger.purchases()])
        return add(file)

    emulator.gateway.uploads.add = looking  # type: ignore[method-assign]
    try:
        client_for(ledger).generate("a castle", references=[PICTURE], references_by="upload", n=n)
    finally:
        del emulator.gateway.uploads.add
    assert seen == [["claimed"] * n]
    assert [purchase.state for purchase in ledger.purchases()] == ["delivered"] * n


@pytest.mark.parametrize("form", ["upload", "after a refusal"])
def test_a_call_that_is_cancelled_during_an_upload_has_bought_nothing(
    ledger: Ledger, emulator: Emulator, form: str
) -> None:
    ledger.set_budget("b", images=1)
    emulator.script("upload_hang")
    by: Any = "auto"
    if form == "upload":
        by = "upload"
    else:
        emulator.channel = "no_data_uris"  # type: ignore[assignment]

    async def ask() -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            wanted: dict[str, Any] = {"references": [PICTURE], "idempotency_key": "k", "budget": "b"}
            first = asyncio.create_task(client.generate("a castle", **wanted, references_by=by))
            while not emulator.requests_to("upload"):
                await asyncio.sleep(0.001)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert charges(emulator) == 0
            assert not (await client.generate("a castle", **wanted, references_by=by)).replayed

    asyncio.run(ask())
    assert charges(emulator) == 1
    assert states(ledger)["k"] == "delivered"


def test_an_upload_that_fails_leaves_the_key_free(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    emulator.script("upload_500", times=4)
    client = client_for(ledger, max_retries=3)
    with pytest.raises(InternalServerError):
        client.generate("a castle", references=[PICTURE], idempotency_key="k", references_by="upload")
    assert states(ledger)["k"] == "failed"
    client.generate("a castle", references=[PICTURE], idempotency_key="k", references_by="upload")
    assert charges(emulator) == 1


@pytest.mark.parametrize("fault", ["too_large", REFUSED_INSIDE])
@pytest.mark.parametrize("mode", ["auto", "sync"])
def test_a_repeat_by_upload_is_one_purchase(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, fault: Any, mode: Any
) -> None:
    ledger.set_budget("b", images=1)
    emulator.script(fault)
    result = client_for(ledger).generate("a castle", references=[PICTURE], idempotency_key="k", budget="b", mode=mode)
    assert len(result.images) == 1
    assert charges(emulator) == 1
    assert [purchase.state for purchase in ledger.purchases()] == ["delivered"]
    emulator.script(fault, times=2)
    with pytest.raises(BadRequestError):
        client_for(ledger).generate("a tower", references=[PICTURE], idempotency_key="l", mode=mode)
    assert states(ledger)["l"] == "failed"
    assert charges(emulator) == 1


def test_many_at_once_with_one_key_upload_once(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    clients = [client_for(ledger) for _ in range(6)]
    start = threading.Barrier(len(clients))
    results: list[Any] = []

    def ask(client: APIMaster) -> None:
        start.wait()
        results.append(client.generate("a castle", references=[PICTURE], idempotency_key="k", references_by="upload"))

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.images[0].url for result in results}) == 1
    assert (charges(emulator), uploads(emulator)) == (1, 1)


def test_a_batch_of_one_key_for_a_changed_file_is_refused_before_its_upload(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PICTURE)
    wanted: dict[str, Any] = {"references": [file], "idempotency_key": "k", "references_by": "upload", "n": 2}
    client_for(ledger).generate("a castle", **wanted)
    file.write_bytes(padded_png(6_000))
    with pytest.raises(BadRequestError):
        client_for(ledger).generate("a castle", **wanted)
    assert (charges(emulator), uploads(emulator)) == (2, 1)
