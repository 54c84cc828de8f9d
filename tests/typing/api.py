"""Typed uses of the public names. Nothing runs this file: mypy reads it, and a user's editor sees what it sees."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from typing_extensions import assert_type

from apimaster import (
    Account,
    APIMaster,
    APIMasterError,
    AsyncAPIMaster,
    Charge,
    Charges,
    GeneratedImage,
    ImageRequest,
    ImageResult,
    PriceList,
    Progress,
    RateLimitError,
    Task,
    TaskTimeoutError,
)
from apimaster.webhooks import (
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookEndpoint,
    WebhookEvent,
    WebhookReply,
    WebhookWaiter,
    parse_webhook,
)


def blocking() -> None:
    with APIMaster(api_key="key", base_url="http://127.0.0.1:1/v1") as client:
        assert_type(client, APIMaster)
        result = client.generate("a cat", aspect_ratio="16:9", resolution="2K", n=2, references=["a.png", b"bytes"])
        assert_type(result, ImageResult)
        assert_type(result.cost, Decimal | None)
        assert_type(result.images[0], GeneratedImage)
        client.generate("a cat", aspect_ratio="1920x1080", mode="auto")  # pixels are any text, modes are not
        client.generate("a cat", resolution="3K")  # type: ignore[arg-type]
        client.submit("a cat", resolution="2k")  # type: ignore[arg-type]
        client.generate("a cat", mode="fast")  # type: ignore[arg-type]
        task = client.submit(ImageRequest(prompt="a cat"), webhook="ep_1")
        assert_type(task, Task)
        assert_type(client.wait(task, save_to=Path("out"), on_progress=lambda progress: None), ImageResult)
        assert_type(client.wait(task.id, model=task.model, timeout=10), ImageResult)
        assert_type(client.retrieve(task.id), Task)
        assert_type(client.download(result.images[0], "cat.png"), Path | str)
        assert_type(client.read(result.images[0]), bytes)
        assert_type(client.models(), list[str])
        assert_type(client.edit("a hat", references=["a.png", b"bytes"], mask=Path("m.png"), n=2), ImageResult)
        client.edit("a hat")  # type: ignore[call-arg]
        client.edit("a hat", references=["a.png"], mask=["m.png"])  # type: ignore[arg-type]
        assert_type(client.upload("cat.png"), str)
        client.generate("a cat", references_by="upload")
        client.generate("a cat", references_by="url")  # type: ignore[arg-type]
        assert_type(client.account(), Account)
        assert_type(client.account().available, Decimal | None)
        assert_type(client.charges(since=1.5), Charges)
        assert_type(client.charges()[0], Charge)
        assert_type(client.price_list(), PriceList)
        assert_type(client.price_list(model="gpt-image-2").price("gpt-image-2", "2K"), Decimal | None)
        made = client.webhooks.create("https://example.com/hooks", save_secret=Path("secrets.json"))
        assert_type(made, CreatedWebhookEndpoint)
        assert_type(client.webhooks.list(), tuple[WebhookEndpoint, ...])
        assert_type(client.webhooks.event("evt_1").payload, WebhookEvent | None)
        assert_type(parse_webhook(b"", {}, made.secrets), WebhookEvent)
        assert_type(parse_webhook(b"", {}, [made.signing_secret, "older"]), WebhookEvent)


def by_webhook(body: bytes, headers: dict[str, str]) -> None:
    waiter = WebhookWaiter({"k1": "secret"}, endpoint_id="whep_1", margin=10)
    WebhookWaiter(lambda: "secret")
    WebhookWaiter(5)  # type: ignore[arg-type]
    assert_type(waiter.handle(body, headers), WebhookReply)
    status, answer = waiter.handle(body, headers)
    assert_type(status, int)
    assert_type(answer, bytes)
    assert_type(APIMaster(webhook_waiter=waiter).with_options(webhook_waiter=waiter), APIMaster)
    assert_type(AsyncAPIMaster().with_options(webhook_waiter=waiter), AsyncAPIMaster)
    APIMaster(webhook_waiter="whep_1")  # type: ignore[arg-type]


async def asynchronous() -> None:
    async def on_progress(progress: Progress) -> None:
        assert_type(progress.task, Task | None)

    async with AsyncAPIMaster(api_key="key", transport="aiohttp") as client:
        assert_type(client, AsyncAPIMaster)
        assert_type(await client.generate("a cat", mode="sync", on_progress=on_progress), ImageResult)
        assert_type(await client.edit("a hat", references=[b"bytes"]), ImageResult)
        assert_type(await client.submit("a cat"), Task)
        assert_type(await client.upload(b"bytes", timeout=10), str)
        assert_type(await client.webhooks.rotate("whep_1"), RotatedWebhookSecret)


def errors(error: APIMasterError) -> None:
    if isinstance(error, RateLimitError):
        assert_type(error.retry_after, float | None)
    if isinstance(error, TaskTimeoutError):
        assert_type(error.task, Task | None)
    if error.billed == "maybe":
        print(error.message)
