"""The overhead of a langchain-apimaster tool over a trivial ``BaseTool`` with the same schema and core call.

The core call makes one picture and saves it. The tool adds a purchase in a ledger in the store, which counts against a
budget, a record of the picture, the references that a model may name, the message, and the facts for the application.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool

from apimaster import APIMaster, AsyncAPIMaster, ImageResult
from langchain_apimaster import APIMasterGenerateImageTool

from .common import KEY, PROMPT, Server, goal, prepare, race, race_async, ratio_of, table

ARGUMENTS = {"prompt": PROMPT, "aspect_ratio": "auto", "resolution": "1K"}
BASE = "a trivial BaseTool around the same core call"
BARE = "the core call alone"
OURS = "langchain_apimaster"


class Trivial(BaseTool):
    """No ids, no records, no budget, no error messages."""

    name: str = "generate_image"
    description: str = "Make a picture."
    response_format: Any = "content_and_artifact"
    client: Any = None
    async_client: Any = None
    folder: str = ""

    def _run(self, prompt: str, aspect_ratio: str, resolution: str, n: int = 1, **others: Any) -> Any:
        return content_and_artifact(
            self.client.generate(prompt, aspect_ratio=aspect_ratio, resolution=resolution, n=n, save_to=self.folder)
        )

    async def _arun(self, prompt: str, aspect_ratio: str, resolution: str, n: int = 1, **others: Any) -> Any:
        return content_and_artifact(
            await self.async_client.generate(
                prompt, aspect_ratio=aspect_ratio, resolution=resolution, n=n, save_to=self.folder
            )
        )


def content_and_artifact(result: ImageResult) -> tuple[str, dict[str, Any]]:
    image = result.images[0]
    return f"{image.path}: {image.width}×{image.height}, ${result.cost}", {"path": str(image.path), "url": image.url}


def main(rounds: int = 9, calls: int = 15) -> None:
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        server.set(task_seconds=0)
        asyncio.run(compare(server, Path(folder), rounds, calls))


async def compare(server: Server, folder: Path, rounds: int, calls: int) -> None:
    client = APIMaster(KEY, base_url=server.base_url)
    async_client = AsyncAPIMaster(KEY, base_url=server.base_url)
    ours = APIMasterGenerateImageTool(client=client, async_client=async_client, store=folder / "ours")
    trivial = Trivial(
        args_schema=ours.args_schema, client=client, async_client=async_client, folder=f"{folder / 'trivial'}/"
    )
    numbers = itertools.count()

    def call() -> dict[str, Any]:
        return {"type": "tool_call", "name": "generate_image", "args": ARGUMENTS, "id": f"call_{next(numbers)}"}

    wall, cpu = await asyncio.to_thread(
        race,
        {
            BARE: lambda: client.generate(**ARGUMENTS, save_to=f"{folder / 'bare'}/"),  # type: ignore[arg-type]
            BASE: lambda: trivial.invoke(call()),
            OURS: lambda: ours.invoke(call()),
            f"{OURS}, without a tool call": lambda: ours.invoke(ARGUMENTS),
        },
        rounds=rounds,
        calls=calls,
    )
    table("one tool call, sync, wall", wall, BASE)
    table("one tool call, sync, CPU of the client", cpu, BASE)

    async def bare() -> object:
        return await async_client.generate(**ARGUMENTS, save_to=f"{folder / 'bare'}/")  # type: ignore[arg-type]

    async def with_trivial() -> object:
        return await trivial.ainvoke(call())

    async def with_ours() -> object:
        return await ours.ainvoke(call())

    contenders = {BARE: bare, BASE: with_trivial, OURS: with_ours}
    async_wall, async_cpu = await race_async(contenders, rounds=rounds, calls=calls, at_once=1)
    table("one tool call, async, wall", async_wall, BASE)
    table("one tool call, async, CPU of the client", async_cpu, BASE)
    client.close()
    await async_client.aclose()
    goal("LangChain tool call, sync, ratio to a trivial tool", ratio_of(wall[OURS], wall[BASE]), 1.15)
    goal("LangChain tool call, async, ratio to a trivial tool", ratio_of(async_wall[OURS], async_wall[BASE]), 1.15)


if __name__ == "__main__":
    prepare()
    main()
