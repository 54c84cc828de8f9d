"""Waiting by webhook over HTTP: the emulator delivers to the waiter's ASGI application, well or badly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import listening_waiter

from apimaster import APIMaster, AsyncAPIMaster, ImageResult
from apimaster.emulator import Emulator

BAD = ("delivery_lost", "delivery_duplicated", "delivery_forged")


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(latency=0.2, pictures="small", webhook_pause=0.1) as running:
        yield running


async def many(emu: Emulator, waiter: Any, count: int) -> list[Any]:
    """The outcomes of ``count`` tasks at once."""
    async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter) as client:
        calls = (client.generate(f"cat {number}") for number in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("count", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_when_every_second_webhook_goes_wrong_all_tasks_end_right_and_no_forged_one_is_believed(
    emu: Emulator, count: int
) -> None:
    emu.set_faults({"task_failed": 0.1})
    with listening_waiter(emu, margin=0.5) as waiter:
        emu.script(*[{"fault": name, "on": "delivery"} for bad in BAD for name in (bad, "ok")] * (count // 6 + 1))
        outcomes = asyncio.run(many(emu, waiter, count))
    jobs = {job.id: job for job in emu.jobs}
    ended = {"succeeded": 0, "failed": 0}
    for outcome in outcomes:
        if isinstance(outcome, ImageResult):
            task = outcome.tasks[0]
            assert outcome.images[0].url is not None
            assert task.id in outcome.images[0].url or "/imgs/" in outcome.images[0].url
            assert "forged" not in outcome.images[0].url
        else:
            assert type(outcome).__name__ == "GenerationFailedError", outcome
            task = outcome.task
        ended[task.status] += 1
        assert (jobs[task.id].outcome == "failed") == (task.status == "failed")
    assert ended["succeeded"] + ended["failed"] == len(jobs) == count
    assert ended["failed"] > count // 20
    assert len(emu.bill.charges) == count
    assert len(emu.bill.refunds) == ended["failed"]
    faults = [delivery.fault for delivery in emu.webhook_deliveries]
    assert all(faults.count(bad) > count // 8 for bad in BAD)
    assert any(delivery.status == 400 for delivery in emu.webhook_deliveries), "the forged ones were refused"
    # A sixth of the deliveries are lost; the others saved their polls.
    assert len(emu.requests_to("poll")) < 0.5 * count


def test_a_blocking_client_waits_without_a_poll(emu: Emulator) -> None:
    with (
        listening_waiter(emu) as waiter,
        APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter) as client,
    ):
        result = client.generate("a cat", n=3)
        task = client.submit("a dog")
        emu.settle_webhooks()
        assert client.wait(task).images
        client.close()
    assert len(result.images) == 3
    assert emu.requests_to("poll") == []


def test_a_channel_that_draws_several_brings_the_same_by_webhook_as_by_poll(emu: Emulator) -> None:
    emu.channel = "several"  # type: ignore[assignment]
    with (
        listening_waiter(emu) as waiter,
        APIMaster(emu.api_key, base_url=emu.base_url, webhook_waiter=waiter) as client,
    ):
        by_webhook = client.generate("a cat")
        assert emu.requests_to("poll") == []
        pictures = [client.read(image) for image in by_webhook.images]
        with APIMaster(emu.api_key, base_url=emu.base_url) as plain:
            by_poll = plain.wait(by_webhook.tasks[0].id)
    assert len(pictures) == len(by_poll.images) == 2
    assert all(pictures)
    assert [image.output_index for image in by_webhook.images] == [image.output_index for image in by_poll.images]
    assert [entry.images for entry in emu.bill.charges] == [1]
