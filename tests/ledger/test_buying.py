"""The clients with a ledger: who asks twice with one key pays once, and gets the same picture."""

from __future__ import annotations

import _thread
import asyncio
import io
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from apimaster import APIMaster, AsyncAPIMaster, GeneratedImage, ImageRequest, ImageResult
from apimaster._flows.retry import RetryPolicy
from apimaster.batch import Batch
from apimaster.emulator import Emulator
from apimaster.errors import (
    APIMasterError,
    BadRequestError,
    BudgetExceededError,
    DownloadError,
    GenerationFailedError,
    LedgerError,
    NoImageError,
    OutcomeUnknownError,
    ReferenceImageError,
    ResultExpiredError,
    TaskTimeoutError,
)
from apimaster.ledger import Ledger

ClientFor = Callable[..., APIMaster]


def charges(emulator: Emulator) -> int:
    return len(emulator.bill.charges)


def urls(result: ImageResult) -> list[str | None]:
    return [image.url for image in result.images]


def test_the_same_key_brings_the_same_picture(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", idempotency_key="order-17")
    again = client.generate("a castle", idempotency_key="order-17")
    assert (first.replayed, again.replayed) == (False, True)
    assert urls(first) == urls(again)
    assert first.tasks[0].id == again.tasks[0].id
    assert first.cost == again.cost == Decimal("0.0375")
    assert (first.replayed_cost, again.replayed_cost) == (0, again.cost)
    marks = {"replayed", "replayed_cost"}
    assert again.model_dump(exclude=marks) == first.model_dump(exclude=marks)
    assert charges(emulator) == 1


def test_without_a_key_each_call_buys_and_is_on_record(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    for _ in range(2):
        assert not client_for(ledger).generate("a castle").replayed
    assert charges(emulator) == 2
    assert [purchase.state for purchase in ledger.purchases()] == ["delivered"] * 2


def test_many_images_are_many_rows(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", n=3, idempotency_key="k")
    again = client.generate("a castle", n=3, idempotency_key="k")
    assert [purchase.index for purchase in ledger.purchases(key="k")] == [0, 1, 2]
    assert urls(first) == urls(again)
    assert again.replayed
    assert charges(emulator) == 3
    with pytest.raises(BadRequestError, match="another request"):
        client.generate("a castle", n=2, idempotency_key="k")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a house"},
        {"aspect_ratio": "16:9"},
        {"resolution": "2K"},
        {"google_search": True},
        {"model": "gemini-nano-banana-2.1"},
        {"references": ["https://example.org/a.png"]},
        {"extra_body": {"quality": "high"}},
        {"n": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_stands_for_one_request(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, change: dict[str, object]
) -> None:
    client = client_for(ledger)
    client.generate("a castle", idempotency_key="k")
    with pytest.raises(BadRequestError) as caught:
        client.generate(**{"prompt": "a castle", "idempotency_key": "k", **change})  # type: ignore[arg-type]
    assert caught.value.code == "idempotency_key_reused"
    assert caught.value.billed == "no"
    assert charges(emulator) == 1


def test_an_adapter_may_choose_model_and_sizes(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    """A key then stands for what the adapter's caller asked for; who joins is told what was bought."""
    asked = ImageRequest(prompt="a castle", n=2)
    client = client_for(ledger).with_options(purchase_asked=asked)
    first = client.generate(asked, resolution="2K", aspect_ratio="16:9", idempotency_key="k")
    again = client.generate(asked, model="gpt-image-2", idempotency_key="k")
    assert again.replayed
    assert again.images == first.images
    assert (again.model, again.cost, again.request) == (first.model, first.cost, first.request)
    assert [task.request for task in again.tasks] == [task.request for task in first.tasks]
    other = client.with_options(purchase_asked=ImageRequest(prompt="a house", n=2))
    with pytest.raises(BadRequestError, match="another request"):
        other.generate(asked, idempotency_key="k")
    assert charges(emulator) == 2


def test_defaults_are_filled_in(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    client.generate("a castle", idempotency_key="k")
    assert client.generate("a castle", resolution="1K", model="nano-banana-2", idempotency_key="k").replayed


def test_a_reference_counts_by_its_bytes(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, tmp_path: Path
) -> None:
    client = client_for(ledger)
    one, same, other = (tmp_path / name for name in ("one.png", "same.png", "other.png"))
    Image.new("RGB", (8, 8), "red").save(one)
    shutil.copy(one, same)
    Image.new("RGB", (8, 8), "blue").save(other)
    client.generate("a castle", references=[one], idempotency_key="k")
    assert client.generate("a castle", references=[same], idempotency_key="k").replayed
    assert client.generate("a castle", references=[one.read_bytes()], idempotency_key="k").replayed
    with pytest.raises(BadRequestError, match="another request"):
        client.generate("a castle", references=[other], idempotency_key="k")


@pytest.mark.parametrize("n", [1, 3])
def test_a_reference_that_cannot_be_read_leaves_the_key_free(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator, tmp_path: Path, n: int
) -> None:
    client = client_for(ledger)
    with pytest.raises(ReferenceImageError):
        client.generate("a castle", references=[tmp_path / "missing.png"], n=n, idempotency_key="k")
    found = list(ledger.purchases())
    assert [(each.state, each.billed) for each in found] == [("failed", "no")] * n
    assert all(each.error is not None and each.error.error == "ReferenceImageError" for each in found)
    assert not client.generate("a castle", n=n, idempotency_key="k").replayed
    assert charges(emulator) == n


def red_square() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(made, "PNG")
    return made.getvalue()


class SlowFile(io.BytesIO):
    """A reference that is read when somebody says so."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked, self.goes_on = threading.Event(), threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.set()
        assert self.goes_on.wait(60)
        return super().read(size)


def reads_its_reference(pool: ThreadPoolExecutor, client: APIMaster, slow: SlowFile) -> Future[ImageResult]:
    """A call with the key ``k`` that is reading its reference."""
    call = pool.submit(client.generate, "a castle", references=[slow], idempotency_key="k")
    assert slow.asked.wait(60)
    return call


def test_an_image_is_claimed_while_its_references_are_read(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator
) -> None:
    picture = red_square()
    slow, second = SlowFile(picture), client_for(ledger)
    with ThreadPoolExecutor(2) as pool:
        buys = reads_its_reference(pool, client_for(ledger), slow)
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.billed) == ("claimed", "no")
        joins = pool.submit(second.generate, "a castle", references=[picture], idempotency_key="k")
        slow.goes_on.set()
        assert urls(buys.result(60)) == urls(joins.result(60))
    assert sorted((buys.result().replayed, joins.result().replayed)) == [False, True]
    assert charges(emulator) == 1


def test_a_call_that_is_cancelled_while_its_references_are_read_leaves_the_key_free(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator
) -> None:
    picture = red_square()
    slow = SlowFile(picture)

    async def cancel() -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            call = asyncio.create_task(client.generate("a castle", references=[slow], n=3, idempotency_key="k"))
            await asyncio.to_thread(slow.asked.wait, 60)
            call.cancel()
            slow.goes_on.set()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(cancel())
    assert [(each.state, each.billed) for each in ledger.purchases()] == [("failed", "no")] * 3
    result = client_for(ledger).generate("a castle", references=[picture], n=3, idempotency_key="k")
    assert (len(result.images), charges(emulator)) == (3, 3)


def test_a_key_stands_for_one_request_while_its_references_are_read(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator
) -> None:
    slow, second = SlowFile(red_square()), client_for(ledger)
    other = {"references": [red_square()], "n": 2, "idempotency_key": "k"}
    with ThreadPoolExecutor(2) as pool:
        one = reads_its_reference(pool, client_for(ledger), slow)
        two = pool.submit(second.generate, "a house", **other)  # type: ignore[arg-type]
        while ledger.get("k", 1) is None:
            assert not two.done()
        slow.goes_on.set()
        assert one.result(60).images
        with pytest.raises(BadRequestError, match="stands for another request"):
            two.result(60)
    assert charges(emulator) == 1


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_the_replies_to_an_interrupted_call_are_recorded(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    """Ctrl-C does not wait for the threads of a call for several images; their replies come later."""
    caplog.set_level(level, "apimaster")  # at DEBUG, a flow looks at the clock after each reply
    emulator.script("slow_body", seconds=1, times=2)

    def interrupt() -> None:
        while charges(emulator) < 2:
            pass
        _thread.interrupt_main()

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        client_for(ledger).generate("a castle", n=2, idempotency_key="k")
    watcher.join()
    deadline = time.monotonic() + 30
    while not all(purchase.task for purchase in ledger.purchases()):
        assert time.monotonic() < deadline, list(ledger.purchases())
    assert len(client_for(ledger).generate("a castle", n=2, idempotency_key="k").images) == 2
    assert charges(emulator) == 2


@pytest.mark.parametrize("references", [False, True])
def test_images_that_had_not_begun_are_free_after_a_cancellation(
    ledger: Ledger, client_for: ClientFor, emulator: Emulator, references: bool
) -> None:
    """A call has eight images under way at once."""
    picture = red_square()
    request = ImageRequest(prompt="a castle", n=10, references=[picture] if references else [])
    emulator.latency = "manual"

    async def cancel() -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            call = asyncio.create_task(client.generate(request, idempotency_key="k"))
            while sum(1 for _ in ledger.purchases(state="submitted")) < 8:
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(cancel())
    assert not list(ledger.purchases(state=("claimed", "submitting")))
    emulator.latency = 0
    emulator.finish()
    assert len(client_for(ledger).generate(request, idempotency_key="k").images) == 10
    assert charges(emulator) == 10


@pytest.mark.parametrize("key", ["", "  ", "k" * 513, "a\0b", 17])
def test_a_key_is_a_text(ledger: Ledger, client_for: ClientFor, key: str) -> None:
    with pytest.raises(BadRequestError, match="idempotency_key"):
        client_for(ledger).generate("a castle", idempotency_key=key)


@pytest.mark.parametrize("option", [{"idempotency_key": "k"}, {"budget": "b"}])
def test_a_client_without_a_ledger_says_so(emulator: Emulator, option: dict[str, str]) -> None:
    with APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
        with pytest.raises(BadRequestError, match="needs a ledger"):
            client.generate("a castle", **option)  # type: ignore[arg-type]
        with pytest.raises(BadRequestError, match="needs a ledger"):
            client.settle()
    assert charges(emulator) == 0


def test_the_environment_names_the_ledger(emulator: Emulator, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_LEDGER", place)
    for replayed in (False, True):
        with APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
            assert client.generate("a castle", idempotency_key="k").replayed == replayed
            assert client.ledger is Ledger.shared(place)
    Ledger.shared(place).close()


# --- at the same moment -----------------------------------------------------------------------------------


def test_callers_at_the_same_moment_share_one_purchase(place: str, emulator: Emulator, client_for: ClientFor) -> None:
    emulator.latency = 0.2
    ledgers = [Ledger.open(place) for _ in range(2)]
    together = threading.Barrier(8)

    def ask(number: int) -> ImageResult:
        client = client_for(ledgers[number % 2])
        together.wait()
        return client.generate("a castle", idempotency_key="k")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))
    assert charges(emulator) == 1
    assert len({urls(result)[0] for result in results}) == 1
    assert sorted(result.replayed for result in results) == [False] + [True] * 7
    assert sum((result.cost or 0) - result.replayed_cost for result in results) == Decimal("0.0375")
    for ledger in ledgers:
        ledger.close()


def test_async_callers_share_it_too(ledger: Ledger, emulator: Emulator) -> None:
    async def ask() -> list[ImageResult]:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            return await asyncio.gather(
                *(client.generate("a castle", idempotency_key=f"k{number % 5}") for number in range(40))
            )

    results = asyncio.run(ask())
    assert charges(emulator) == 5
    assert sum(not result.replayed for result in results) == 5


def test_a_caller_that_is_cancelled_leaves_its_task_to_the_next(ledger: Ledger, emulator: Emulator) -> None:
    async def ask() -> ImageResult:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            emulator.latency = 60
            submitted = asyncio.Event()
            first = asyncio.create_task(
                client.generate("a castle", idempotency_key="k", on_progress=lambda each: each.task and submitted.set())
            )
            await submitted.wait()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            emulator.finish()
            return await client.generate("a castle", idempotency_key="k")

    result = asyncio.run(ask())
    assert result.replayed
    assert result.replayed_cost == 0, "nobody else reports it"
    assert charges(emulator) == 1


def test_a_caller_that_is_cancelled_before_the_request_takes_nothing(ledger: Ledger, emulator: Emulator) -> None:
    blocked = threading.Event()

    async def ask() -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            ledger.call(lambda backend: blocked.wait(10))
            first = asyncio.create_task(client.generate("a castle", idempotency_key="k"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            blocked.set()
            assert not (await client.generate("a castle", idempotency_key="k")).replayed

    asyncio.run(ask())
    assert charges(emulator) == 1


def test_a_caller_that_is_cancelled_between_two_attempts_has_bought_nothing(
    ledger: Ledger, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.set_budget("b", images=1)

    async def ask() -> None:
        pausing = asyncio.Event()

        def long_pause(*_: object) -> float:
            pausing.set()
            return 3600.0

        monkeypatch.setattr(RetryPolicy, "pause", long_pause)
        emulator.script("rate_limited")
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            options: dict[str, Any] = {"idempotency_key": "k", "budget": "b", "timeout": 7200}
            first = asyncio.create_task(client.generate("a castle", **options))
            await pausing.wait()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            purchase = ledger.get("k")
            assert purchase is not None
            assert (purchase.state, purchase.billed, ledger.budgets()[0].images) == ("failed", "no", 0)
            assert not (await client.generate("a castle", **options)).replayed

    asyncio.run(ask())
    assert charges(emulator) == 1


def test_a_ledger_that_is_closed_hides_neither_a_task_nor_a_cancellation(
    place: str, emulator: Emulator, client_for: ClientFor
) -> None:
    emulator.latency = 60
    ledger = Ledger.open(place)
    task = client_for(ledger).submit("a castle")

    async def ask() -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as client:
            submitted = asyncio.Event()
            call = asyncio.create_task(
                client.generate("a castle", on_progress=lambda each: each.task and submitted.set())
            )
            await submitted.wait()
            ledger.close()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(ask())
    emulator.finish()
    assert client_for(ledger).wait(task).images[0].url, "it is paid for"


@pytest.mark.parametrize("key", ["thumb-\udce9.png", "a\0b", "", " ", "x" * 513])
def test_a_key_that_no_ledger_can_hold_is_refused(ledger: Ledger, client_for: ClientFor, key: str) -> None:
    with pytest.raises(BadRequestError, match="idempotency_key"):
        client_for(ledger).generate("a castle", idempotency_key=key)


def test_waiting_for_another_caller_ends_at_the_deadline(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    emulator.latency = 60
    client = client_for(ledger)
    first = client.submit("a castle", idempotency_key="k")
    with pytest.raises(TaskTimeoutError) as caught:
        client_for(ledger).generate("a castle", idempotency_key="k", timeout=0)
    assert caught.value.task is not None
    assert caught.value.task.id == first.id


# --- what it became ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "state", "billed"),
    [
        ("moderation", BadRequestError, "failed", "no"),
        ("no_balance_403", APIMasterError, "failed", "no"),
        ("task_failed", GenerationFailedError, "failed", "no"),
        ("cut_after_acceptance", OutcomeUnknownError, "unknown", "maybe"),
        ("proxy_502_html", OutcomeUnknownError, "unknown", "maybe"),
        ("empty_success", NoImageError, "unknown", "maybe"),
        ("task_no_image", NoImageError, "unknown", "maybe"),
    ],
)
def test_how_a_purchase_ends(
    ledger: Ledger,
    emulator: Emulator,
    client_for: ClientFor,
    without_pauses: None,
    fault: str,
    error: type[APIMasterError],
    state: str,
    billed: str,
) -> None:
    ledger.set_budget("b", usd=1)
    client = client_for(ledger)
    emulator.script(fault)
    with pytest.raises(error):
        client.generate("a castle", idempotency_key="k", budget="b")
    purchase = ledger.get("k")
    assert purchase is not None
    assert purchase.error is not None
    assert (purchase.state, purchase.billed) == (state, billed)
    assert ledger.budgets()[0].images == (billed != "no")
    bought = charges(emulator)
    if billed == "no":
        assert not client.generate("a castle", idempotency_key="k", budget="b").replayed
        return
    with pytest.raises(OutcomeUnknownError) as caught:
        client.generate("a castle", idempotency_key="k", budget="b")
    assert caught.value.code == "purchase_unknown"
    assert "settle" in caught.value.advice
    assert charges(emulator) == bought


def test_a_wait_that_ends_early_is_taken_up_again(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    emulator.latency = 60
    client = client_for(ledger)
    with pytest.raises(TaskTimeoutError):
        client.generate("a castle", idempotency_key="k", timeout=0.2)
    emulator.finish()
    result = client.generate("a castle", idempotency_key="k")
    assert result.replayed
    assert result.replayed_cost == 0
    assert charges(emulator) == 1


def test_a_submitted_task_is_joined(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    task = client.submit("a castle", idempotency_key="k")
    assert client.submit("a castle", idempotency_key="k").id == task.id
    result = client.generate("a castle", idempotency_key="k")
    assert result.tasks[0].id == task.id
    assert client.submit("a castle", idempotency_key="k").status == "succeeded"
    assert charges(emulator) == 1


def test_waiting_for_a_task_by_its_id_is_on_record(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    task = client.submit("a castle", idempotency_key="k")
    client.wait(task.id)
    purchase = ledger.get("k")
    assert purchase is not None
    assert purchase.state == "delivered"


def test_a_one_shot_call_is_replayed(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", mode="sync", idempotency_key="k")
    assert urls(client.generate("a castle", mode="sync", idempotency_key="k")) == urls(first)
    assert charges(emulator) == 1


def test_a_gateway_without_an_async_route(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    emulator.dialect = "no_async"
    client = client_for(ledger)
    client.generate("a castle", idempotency_key="k")
    assert client.generate("a castle", idempotency_key="k").replayed
    assert charges(emulator) == 1


# --- files ------------------------------------------------------------------------------------------------


def test_a_replay_finds_the_file(ledger: Ledger, client_for: ClientFor, tmp_path: Path, emulator: Emulator) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    downloads = len(emulator.requests_to("download"))
    again = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert again.images[0].path == first.images[0].path
    assert again.images[0].width == first.images[0].width
    assert len(emulator.requests_to("download")) == downloads


def test_a_replay_saves_into_another_folder(ledger: Ledger, client_for: ClientFor, tmp_path: Path) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", idempotency_key="k", save_to=tmp_path / "one")
    again = client.generate("a castle", idempotency_key="k", save_to=tmp_path / "two")
    assert isinstance(first.images[0].path, Path)
    assert isinstance(again.images[0].path, Path)
    assert again.images[0].path.parent == tmp_path / "two"
    assert again.images[0].path.read_bytes() == first.images[0].path.read_bytes()


def test_a_replay_leaves_a_picture_behind_a_url_where_it_is(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    folder = f"memory://{secrets.token_hex(4)}/out/"
    first = client.generate("a castle", idempotency_key="k", save_to=folder)
    emulator.script("download_404", times=None)
    emulator.script("download_404", times=None, on="output")
    again = client.generate("a castle", idempotency_key="k", save_to=folder)
    assert again.images == first.images
    assert GeneratedImage.model_validate_json(first.images[0].model_dump_json()) == first.images[0]
    emulator.clear_script()
    fsspec.filesystem("memory").rm_file(str(first.images[0].path).removeprefix("memory:/"))
    downloads = len(emulator.requests_to("download"))
    assert client.generate("a castle", idempotency_key="k", save_to=folder).images == first.images
    assert len(emulator.requests_to("download")) == downloads + 1


def test_a_file_that_is_gone_is_fetched_again(ledger: Ledger, client_for: ClientFor, tmp_path: Path) -> None:
    client = client_for(ledger)
    first = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert isinstance(first.images[0].path, Path)
    first.images[0].path.unlink()
    assert client.generate("a castle", idempotency_key="k").images[0].path is None
    again = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert again.images[0].path == first.images[0].path
    assert first.images[0].path.exists()


def test_an_empty_file_is_no_picture(ledger: Ledger, client_for: ClientFor, tmp_path: Path) -> None:
    """A power failure leaves one, where the picture was not on the disk yet."""
    client = client_for(ledger)
    first = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert isinstance(first.images[0].path, Path)
    first.images[0].path.write_bytes(b"")
    again = client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert isinstance(again.images[0].path, Path)
    assert again.replayed
    assert again.images[0].path.stat().st_size > 0


def test_a_picture_that_nobody_has_any_more_says_so(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, tmp_path: Path, without_pauses: None
) -> None:
    client = client_for(ledger)
    client.generate("a castle", idempotency_key="k")
    emulator.script("download_404", times=None)
    emulator.script("download_404", times=None, on="output")
    with pytest.raises(ResultExpiredError) as caught:
        client.generate("a castle", idempotency_key="k", save_to=tmp_path)
    assert caught.value.billed == "yes"
    assert charges(emulator) == 1


# --- what is stored ---------------------------------------------------------------------------------------


def test_prompts_can_be_left_out(place: str, emulator: Emulator, client_for: ClientFor) -> None:
    with Ledger.open(place, store_prompts=False) as ledger:
        client = client_for(ledger)
        secret = "the secret castle"
        client.generate(secret, references=["https://example.org/hidden.png"], idempotency_key="k")
        emulator.script("moderation")
        with pytest.raises(BadRequestError):
            client.generate(f"{secret} 2", idempotency_key="k2")
        assert client.generate(secret, references=["https://example.org/hidden.png"], idempotency_key="k").replayed
        for purchase in ledger.purchases():
            stored = purchase.model_dump_json()
            assert "secret" not in stored
            assert "hidden" not in stored
            assert purchase.request.prompt.startswith("sha256:")


@pytest.mark.parametrize("said", ["0", "false", "No", " off "])
def test_prompts_can_be_left_out_of_each_ledger(
    tmp_path: Path, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Also of one that is opened by its place, and of a batch's own."""
    monkeypatch.setenv("APIMASTER_LEDGER_PROMPTS", said)
    path = tmp_path / "purchases.db"
    client_for(str(path)).generate("the secret castle", idempotency_key="k")
    assert len(list(Batch(client_for(None), tmp_path / "batch").run(["the secret castle"]))) == 1
    for place in (path, tmp_path / "batch" / "ledger.db"):
        with Ledger.open(place) as ledger:
            assert [purchase.request.prompt[:7] for purchase in ledger.purchases()] == ["sha256:"]


def test_prompts_are_not_stored_because_of_a_misspelling(
    tmp_path: Path, emulator: Emulator, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_LEDGER_PROMPTS", "flase")
    with pytest.raises(BadRequestError, match="APIMASTER_LEDGER_PROMPTS is 'flase'; accepted: 1, true"):
        client_for(str(tmp_path / "purchases.db")).generate("a castle")
    assert emulator.requests == []


def test_no_key_is_stored(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client_for(ledger).generate("a castle", idempotency_key="k")
    from apimaster.ledger.schema import Where

    (row,) = ledger.rows(Where(key="k"))
    assert emulator.api_key not in repr(row)


# --- a ledger that can't be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "expected"), [("max_page_count = 1", "full"), ("query_only = ON", "readonly")], ids=["full", "read-only"]
)
def test_a_disk_that_takes_nothing_stops_purchases_before_anything_is_sent(
    tmp_path: Path, emulator: Emulator, client_for: ClientFor, fault: str, expected: str
) -> None:
    with Ledger.open(tmp_path / "purchases.db") as ledger:
        client = client_for(ledger)
        client.generate("a castle", idempotency_key="k")
        ledger.call(lambda backend: backend._connection.execute(f"PRAGMA {fault}")).result()  # type: ignore[attr-defined]
        sent = len(emulator.requests)
        refused = client_for(ledger).generate
        with pytest.raises(LedgerError, match=expected) as caught:
            refused("a castle" * 10_000, idempotency_key="k2")
        assert caught.value.billed == "no"
        assert len(emulator.requests) == sent


def test_a_ledger_that_is_closed_stops_purchases(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    client = client_for(ledger)
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        client.generate("a castle", idempotency_key="k")
    assert charges(emulator) == 0


def test_what_is_paid_for_is_collected_even_if_the_ledger_breaks(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    client = client_for(ledger)
    result = client.generate("a castle", idempotency_key="k", on_progress=lambda each: each.task and ledger.close())
    assert result.images[0].url
    assert charges(emulator) == 1


def test_a_budget_that_is_used_up(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    ledger.set_budget("b", usd="0.08")
    client = client_for(ledger)
    result = client.generate("a castle", n=3, budget="b")
    assert len(result.images) == 2
    assert [failure.error for failure in result.failures] == ["BudgetExceededError"]
    with pytest.raises(BudgetExceededError, match="left"):
        client.generate("a house", budget="b")
    assert charges(emulator) == 2


def test_a_budget_in_dollars_says_how_to_buy_of_a_model_without_a_price(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor
) -> None:
    ledger.set_budget("b", usd=Decimal(1))
    with pytest.raises(BudgetExceededError, match="price of this image is not known") as caught:
        client_for(ledger).generate("a castle", model="gpt-image-2", budget="b")
    assert "APIMASTER_CATALOG" in caught.value.advice
    assert "a budget in images" in caught.value.advice
    assert charges(emulator) == 0


def test_another_account_does_not_poll_a_task_that_is_not_its_own(ledger: Ledger, client_for: ClientFor) -> None:
    with Emulator(api_keys=("key-number-one-of-two", "key-number-two-of-two")) as emulator:
        one, two = (
            APIMaster(key, base_url=emulator.base_url, ledger=ledger)
            for key in ("key-number-one-of-two", "key-number-two-of-two")
        )
        task = one.submit("a castle", idempotency_key="k")
        with pytest.raises(TaskTimeoutError, match="another account") as caught:
            two.generate("a castle", idempotency_key="k")
        assert caught.value.task is not None
        assert caught.value.task.id == task.id
        assert charges(emulator) == 1
        one.close()
        two.close()


def test_a_whole_request_may_be_given(ledger: Ledger, emulator: Emulator, client_for: ClientFor) -> None:
    request = ImageRequest(prompt="a castle")
    client = client_for(ledger)
    client.generate(request, idempotency_key="k")
    assert client.generate("a castle", idempotency_key="k").replayed


def test_a_picture_that_could_not_be_saved_stays_delivered(
    ledger: Ledger, emulator: Emulator, client_for: ClientFor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_for(ledger, max_retries=0)
    for place in ("download", "output"):
        emulator.script({"fault": "download_500", "on": place, "times": 50})
    task = client.submit("a castle", idempotency_key="k")
    for _ in range(2):
        with pytest.raises(DownloadError):
            client.wait(task, save_to=tmp_path / "castle.png")
        purchase = ledger.get("k")
        assert purchase is not None
        assert (purchase.state, purchase.billed) == ("delivered", "yes")
    assert "taken over" not in caplog.text
