"""Batches against the emulator: limits, refusals, used-up balances, resuming, iterating."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx
from PIL import Image

from apimaster import (
    APIConnectionError,
    APIMaster,
    AsyncAPIMaster,
    AuthenticationError,
    BudgetExceededError,
    DownloadError,
    ImageRequest,
    InsufficientBalanceError,
    RateLimitError,
)
from apimaster.batch import (
    AsyncBatch,
    Batch,
    BatchItem,
    InvalidLines,
    LedgerError,
    image_job,
    throttle,
)
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError
from apimaster.ledger.sqlite import SQLiteBackend

PRICE = Decimal("0.0375")


def requests(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"picture {number}", "id": f"p{number}", "resolution": "0.5K", **fields} for number in range(count)
    ]


def run(
    emulator: Emulator, directory: Path, requested: Any, *, concurrency: int = 16, retries: int = 3, **options: Any
) -> list[BatchItem]:
    """One run on asyncio."""

    async def work() -> list[BatchItem]:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, max_retries=retries) as client:
            batch = AsyncBatch(client, directory, concurrency=concurrency, timeout=20)
            return [item async for item in batch.run(requested, **options)]

    return asyncio.run(work())


def states(directory: Path) -> Counter[str]:
    with APIMaster("sk", base_url="http://127.0.0.1:1/v1") as client:
        return Counter(item.state for item in Batch(client, directory).items())


@pytest.mark.apimaster_emulator(pictures="small", latency="0.01-0.1", dialect="mixed")
def test_a_batch_from_blocking_code(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    requested = [
        "a cat",
        ImageRequest(prompt="a dog", resolution="0.5K"),
        {"prompt": "a fish", "id": "fish", "tags": ["x"]},
    ]
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        batch = Batch(client, tmp_path / "out")
        plan = batch.run(requested).plan()
        assert (plan.planned, plan.cost) == (3, PRICE * 3)
        assert not (tmp_path / "out").exists(), "a plan leaves nothing behind"
        found = {item.id: item for item in batch.run(requested)}
        assert {item.state for item in found.values()} == {"saved"}
        fish = found["fish"]
        assert (fish.tags, fish.line, fish.cost, fish.billed) == (("x",), 3, PRICE, "yes")
        with Image.open(tmp_path / "out" / str(fish.path)) as picture:
            assert picture.size == (fish.width, fish.height)
        again = list(batch.run(requested))
        assert {item.id for item in again} == set(found)
        batch.run(None).finish()
    assert apimaster_emulator.bill.total == PRICE * 3, "nothing was made twice"
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert (tmp_path / "out" / "index.html").stat().st_size > 10_000


@pytest.mark.apimaster_emulator(
    pictures="small", latency="0.01-0.1", faults="task_failed=0.3,server_error_500=0.1,proxy_502_html=0.05", seed=5
)
def test_the_cost_limit_holds_to_the_cent(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    tiers = ["0.5K", "1K", "2K", "4K"]
    requested = [{"prompt": f"picture {number}", "resolution": tiers[number % 4]} for number in range(100)]
    highest = Decimal(0)
    running = Decimal(0)
    limit = Decimal("2.10")
    with pytest.raises(BudgetExceededError, match="not submitted"):
        run(apimaster_emulator, tmp_path, requested, concurrency=64, max_cost=limit)
    for entry in apimaster_emulator.bill.entries:
        running += entry.amount if entry.kind == "charge" else -entry.amount
        highest = max(highest, running)
    assert highest <= limit
    assert limit - highest < Decimal("0.075"), "and is used up, as far as whole images allow"
    found = states(tmp_path)
    assert found["failed"] > 10
    assert found["planned"] > 10
    # A later run keeps the limit, and one with a higher limit goes on from there.
    with pytest.raises(BudgetExceededError):
        run(apimaster_emulator, tmp_path, None, concurrency=64)
    assert apimaster_emulator.bill.total <= limit
    run(apimaster_emulator, tmp_path, None, concurrency=64, max_cost=100, retry_failed=True)
    assert states(tmp_path)["planned"] == 0


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_image_limit_counts_what_was_paid(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script({"fault": "task_failed", "times": 2})
    with pytest.raises(BudgetExceededError):
        run(apimaster_emulator, tmp_path, requests(10), max_images=4)
    assert states(tmp_path) == {"saved": 4, "failed": 2, "planned": 4}
    assert len(apimaster_emulator.bill.standing) == 4


@pytest.mark.apimaster_emulator(pictures="small", latency="0.05-0.2", balance="0.30")
def test_without_balance_it_stops_submitting_and_keeps_collecting(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(InsufficientBalanceError):
        run(apimaster_emulator, tmp_path, requests(20))
    assert states(tmp_path) == {"saved": 8, "planned": 12}


@pytest.mark.apimaster_emulator(pictures="small", latency="0.2")
def test_a_revoked_key_leaves_everything_to_be_resumed(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script({"fault": "ok", "times": 3}, {"fault": "unauthorized", "times": 50})
    apimaster_emulator.script({"fault": "poll_401", "times": 50})
    with pytest.raises(AuthenticationError):
        run(apimaster_emulator, tmp_path, requests(6), concurrency=3)
    assert states(tmp_path) == {"submitted": 3, "planned": 3}
    apimaster_emulator.clear_script()
    run(apimaster_emulator, tmp_path, None)
    assert states(tmp_path) == {"saved": 6}
    assert len(apimaster_emulator.bill.charges) == 6


@pytest.mark.apimaster_emulator(pictures="small", latency="0.05")
def test_too_many_requests_is_one_pause_for_all(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script({"fault": "rate_limited", "retry_after": 0.3, "times": 10})
    run(apimaster_emulator, tmp_path, requests(24), concurrency=12)
    assert states(tmp_path) == {"saved": 24}
    assert len(apimaster_emulator.bill.charges) == 24
    refused = [record.at for record in apimaster_emulator.requests if record.status == 429]
    assert len(refused) == 10
    submits = [record.at for record in apimaster_emulator.requests if record.path.endswith("/async")]
    quiet = [later - earlier for earlier, later in itertools.pairwise(submits)]
    assert max(quiet) >= 0.25, "after the first burst the batch submits nothing for as long as the gateway asked"


@pytest.mark.apimaster_emulator(pictures="small")
def test_every_kind_of_end(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    ends = {
        "moderation": "failed",
        "task_failed_text": "failed",
        "task_no_image": "unknown",
        "proxy_504_html": "unknown",
        "cut_before_acceptance": "unknown",
        "generation_failed_502": "saved",  # refunded, so the batch submits it again
        "unavailable_503": "saved",
        "poll_garbage": "saved",
        "download_truncated": "saved",
    }
    for fault in ends:
        apimaster_emulator.script(fault, prompt=fault)
    requested = [{"prompt": fault, "id": fault} for fault in ends]
    found = {item.id: item for item in run(apimaster_emulator, tmp_path, requested)}
    assert {name: item.state for name, item in found.items()} == ends
    assert found["task_failed_text"].error_type == "GenerationFailedError"
    assert "upstream refused" in str(found["task_failed_text"].error)
    assert found["moderation"].cost == 0
    assert found["proxy_504_html"].cost == PRICE
    assert found["generation_failed_502"].attempts == 2


@pytest.mark.apimaster_emulator(pictures="small")
def test_failed_and_unknown_images_are_retried_only_on_request(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script("task_failed", prompt="picture 0")
    apimaster_emulator.script("proxy_502_html", prompt="picture 1")
    run(apimaster_emulator, tmp_path, requests(3))
    run(apimaster_emulator, tmp_path, requests(3))
    assert states(tmp_path) == {"failed": 1, "unknown": 1, "saved": 1}
    run(apimaster_emulator, tmp_path, None, retry_failed=True)
    assert states(tmp_path) == {"unknown": 1, "saved": 2}
    with pytest.raises(BudgetExceededError):  # the limit still counts what the unknown one may have cost
        run(apimaster_emulator, tmp_path, None, retry_unknown=True, max_cost="0.1125")
    run(apimaster_emulator, tmp_path, None, retry_unknown=True, max_cost="0.15")
    assert states(tmp_path) == {"saved": 3}


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
def test_leaving_early_writes_down_what_is_under_way(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    async def work() -> None:
        client = AsyncAPIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url)
        async with client, AsyncBatch(client, tmp_path, concurrency=4).run(requests(10)) as going:
            consumer = asyncio.ensure_future(anext_of(going))
            while len(apimaster_emulator.bill.charges) < 4:
                await asyncio.sleep(0.01)
            going.halt()
            with pytest.raises(StopAsyncIteration):
                await consumer

    asyncio.run(work())
    assert states(tmp_path) == {"submitted": 4, "planned": 6}
    apimaster_emulator.finish()
    found = run_while_finishing(apimaster_emulator, tmp_path)
    assert len(found) == 10
    assert states(tmp_path) == {"saved": 10}
    assert len(apimaster_emulator.bill.charges) == 10


async def anext_of(going: Any) -> Any:
    return await going.__anext__()


def run_while_finishing(emulator: Emulator, directory: Path) -> list[BatchItem]:
    over = threading.Event()

    def finish() -> None:
        while not over.wait(0.02):
            emulator.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    try:
        return run(emulator, directory, None)
    finally:
        over.set()
        thread.join()


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
def test_a_blocking_loop_that_breaks_off(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        apimaster_emulator.script({"fault": "moderation"})
        with Batch(client, tmp_path, concurrency=3).run(requests(8)) as going:
            for item in going:
                assert item.state == "failed"
                break
        with pytest.raises(StopIteration):
            next(going)
    found = states(tmp_path)
    assert found["failed"] == 1
    assert found["unknown"] == 0
    assert found["submitted"] == len(apimaster_emulator.bill.standing)


def test_a_gateway_that_is_not_there_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SHORTEST_PAUSE", 0.02)
    with APIMaster("sk", base_url="http://127.0.0.1:9/v1") as client:
        with pytest.raises(APIConnectionError, match="Nothing was sent"):
            Batch(client, tmp_path, concurrency=2).run(["x", "y"]).finish()
        assert states(tmp_path) == {"planned": 2}


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
def test_tasks_of_another_gateway_are_not_asked_for_here(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        going = Batch(client, tmp_path, timeout=0.5).run(requests(1))
        assert [item.state for item in going] == ["submitted"], "the wait ended, and the task goes on"
    elsewhere = APIMaster("sk", base_url="http://127.0.0.1:9/v1")
    with elsewhere, pytest.raises(BadRequestError, match="under way at http://127"):
        Batch(elsewhere, tmp_path).run().finish()


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_ledger_that_cannot_be_written_ends_the_run(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SQLiteBackend.apply
    left = iter(range(5))

    def apply(self: SQLiteBackend, steps: Any, worker: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise LedgerError("The ledger can't be used: disk full.")
        return whole(self, steps, worker, **options)

    monkeypatch.setattr(SQLiteBackend, "apply", apply)
    with pytest.raises(LedgerError, match="disk full"):
        run(apimaster_emulator, tmp_path, requests(30), concurrency=2)
    charges = len(apimaster_emulator.bill.charges)
    assert charges <= 4
    found = states(tmp_path)
    assert found["planned"] + found["failed"] <= 30 - charges, "the ledger has everything that was charged"


@pytest.mark.apimaster_emulator(pictures="small", dialect="tracked")
def test_references_in_memory_survive_the_process(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 30), "teal")
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        batch = Batch(client, tmp_path)
        (item,) = list(batch.run([ImageRequest(prompt="x", references=[picture])]))
        assert item.state == "saved"
        (kept,) = (tmp_path / "references").iterdir()
        assert str(item.request.references[0]) == str(kept)
        assert len(list(batch.run([ImageRequest(prompt="x", references=[picture])]))) == 1
    assert len(apimaster_emulator.bill.charges) == 1


@pytest.mark.apimaster_emulator(pictures="small", dialect="tracked")
def test_a_mask_in_memory_survives_the_process(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    picture, mask = Image.new("RGB", (40, 30), "teal"), Image.new("L", (40, 30), 255)
    request = ImageRequest(prompt="x", model="gpt-image-2", references=[picture], mask=mask)
    with APIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
        (item,) = list(Batch(client, tmp_path).run([request]))
        assert (item.state, item.request.mask is None) == ("saved", False)
        assert len(list((tmp_path / "references").iterdir())) == 2
        (purchase,) = apimaster_emulator.requests_to("submit")
        assert purchase.mask is not None
        again = ImageRequest(prompt="x", model="gpt-image-2", references=[picture], mask=mask)
        assert len(list(Batch(client, tmp_path).run([again]))) == 1
    assert len(apimaster_emulator.bill.charges) == 1
    (line,) = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["mask"] == str(item.request.mask)


def test_bad_arguments_send_nothing(tmp_path: Path) -> None:
    with APIMaster("sk", base_url="http://127.0.0.1:9/v1") as client:
        with pytest.raises(BadRequestError, match="concurrency"):
            Batch(client, tmp_path, concurrency=0)
        batch = Batch(client, tmp_path / "new")
        with pytest.raises(InvalidLines, match="line 2: prompt is empty"):
            batch.run(["x", " "])
        with pytest.raises(BadRequestError, match="a list of prompts"):
            batch.run("x")
        with pytest.raises(BadRequestError, match="no batch"):
            batch.run().finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_picture_that_cannot_be_fetched_stays_paid_for(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script({"fault": "download_500"}, {"fault": "download_500", "on": "output"}, prompt="picture 0")
    for place in ("download", "output"):
        apimaster_emulator.script({"fault": "download_500", "on": place, "times": 50}, prompt="picture 1")
    found = {item.id: item for item in run(apimaster_emulator, tmp_path, requests(2), retries=0)}
    assert found["p0"].state == "saved", "fetched again, at no cost"
    kept = found["p1"]
    assert (kept.state, kept.error_type, kept.billed, kept.cost) == ("delivered", "DownloadError", "yes", PRICE)
    apimaster_emulator.clear_script()
    run(apimaster_emulator, tmp_path, None)
    assert states(tmp_path) == {"saved": 2}
    assert len(apimaster_emulator.bill.charges) == 2


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_picture_that_is_gone_for_good_is_unknown_and_paid(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    for place in ("download", "output"):
        apimaster_emulator.script({"fault": "download_expired", "on": place, "times": 50})
    (item,) = run(apimaster_emulator, tmp_path, requests(1), retries=0)
    assert (item.state, item.error_type, item.billed) == ("unknown", "ResultExpiredError", "yes")
    polls = [record for record in apimaster_emulator.requests if record.path.rpartition("/")[2] == item.task.id]
    assert len(polls) >= 2, "the batch polled the task again for a new address first"


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_full_disk_stops_the_submitting(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(image_job.shutil, "disk_usage", lambda path: Usage)
    for place in ("download", "output"):
        apimaster_emulator.script({"fault": "download_500", "on": place, "times": 50})
    with pytest.raises(DownloadError):
        run(apimaster_emulator, tmp_path, requests(10), concurrency=2, retries=0)
    found = states(tmp_path)
    assert found["planned"] >= 6
    assert found["delivered"] + found["planned"] == 10


@pytest.mark.parametrize("dialect", ["submit_as_image", "submit_as_image+b64", "no_async", "no_async+sync_as_task"])
def test_answers_that_hold_the_picture_and_gateways_without_tasks(dialect: str, tmp_path: Path) -> None:
    with Emulator(pictures="small", dialect=dialect) as apimaster_emulator:
        _all_saved(apimaster_emulator, tmp_path)


def _all_saved(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    assert {item.state for item in run(apimaster_emulator, tmp_path, requests(3))} == {"saved"}
    assert len(apimaster_emulator.bill.charges) == 3


def test_a_blocking_client_with_a_client_of_its_own_is_refused(tmp_path: Path) -> None:
    with httpx.Client() as given, pytest.raises(BadRequestError, match="http_client"):
        Batch(APIMaster("sk", base_url="http://127.0.0.1:9/v1", http_client=given), tmp_path)


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_pause_of_a_day_is_the_end_of_the_run(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script({"fault": "rate_limited_far", "times": 20})
    with pytest.raises(RateLimitError):
        run(apimaster_emulator, tmp_path, requests(3))
    assert states(tmp_path) == {"planned": 3}


@pytest.mark.apimaster_emulator(pictures="small", latency="0.01-0.05", faults="download_500=0.2,task_failed=0.2")
def test_nothing_blocks_the_loop(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    async def work() -> Counter[str]:
        with blockbuster_ctx("apimaster.batch"):
            async with AsyncAPIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
                return Counter([item.state async for item in AsyncBatch(client, tmp_path).run(requests(20))])

    assert sum(asyncio.run(work()).values()) == 20


@pytest.mark.apimaster_emulator(pictures="small")
def test_what_settling_finds_is_saved_by_the_next_run(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    apimaster_emulator.script("cut_after_acceptance", prompt="picture 1")
    run(apimaster_emulator, tmp_path, requests(3))
    assert states(tmp_path) == {"saved": 2, "unknown": 1}
    settings = {"base_url": apimaster_emulator.base_url, "ledger": tmp_path / "ledger.db"}
    with APIMaster(apimaster_emulator.api_key, **settings) as client:
        settled = client.settle()
    assert [purchase.key for purchase in settled.recovered] == [f"{tmp_path.name}/p1"]
    assert states(tmp_path) == {"saved": 2, "delivered": 1}
    (item,) = [item for item in run(apimaster_emulator, tmp_path, None) if item.id == "p1"]
    assert (item.state, item.path) == ("saved", "images/p1.png")
    assert len(apimaster_emulator.bill.charges) == 3


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_picture_of_a_dead_run_is_collected_without_its_reference_image(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.png"
    Image.new("RGB", (40, 30), "teal").save(reference)
    for place in ("download", "output"):
        apimaster_emulator.script({"fault": "download_500", "on": place, "times": 50})
    folder = tmp_path / "album"
    run(apimaster_emulator, folder, requests(2, references=[str(reference)]), retries=0)
    assert states(folder) == {"delivered": 2}
    reference.unlink()
    apimaster_emulator.clear_script()
    run(apimaster_emulator, folder, None)
    assert states(folder) == {"saved": 2}
    assert len(apimaster_emulator.bill.charges) == 2


@pytest.mark.apimaster_emulator(pictures="small")
def test_a_reference_image_that_is_gone_fails_its_image_until_it_is_back(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.png"
    Image.new("RGB", (40, 30), "teal").save(reference)
    folder = tmp_path / "album"
    requested = requests(2)
    requested[1]["references"] = [str(reference)]
    with pytest.raises(BudgetExceededError):
        run(apimaster_emulator, folder, requested, max_images=0)
    assert {item.attempts for item in run_items(folder)} == {0}
    reference.unlink()
    found = {item.id: item for item in run(apimaster_emulator, folder, None, max_images=9)}
    assert (found["p0"].state, found["p1"].state, found["p1"].error_type) == ("saved", "failed", "ReferenceImageError")
    Image.new("RGB", (30, 40), "navy").save(reference)
    run(apimaster_emulator, folder, None, retry_failed=True)
    assert states(folder) == {"saved": 2}, "another picture than when it was planned, which is no matter"


def run_items(directory: Path) -> list[BatchItem]:
    with APIMaster("sk", base_url="http://127.0.0.1:1/v1") as client:
        return list(Batch(client, directory).items())
