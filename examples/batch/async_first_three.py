"""Leaves a batch early, on asyncio: it records what it submitted, and the next run collects that at no cost."""

import asyncio

from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch

PROMPTS = [f"A lighthouse in weather number {number}, ink drawing" for number in range(1, 7)]


async def main() -> None:
    """Take three pictures, then the rest."""
    async with AsyncAPIMaster() as client:
        batch = AsyncBatch(client, "lighthouses", concurrency=2)
        taken = 0
        async with batch.run(PROMPTS) as run:
            async for item in run:
                print("first:", item.path)
                taken += 1
                if taken == 3:
                    break
        async with batch.run() as run:  # without requests: what the folder lists
            rest = [item async for item in run]
    print(f"{sum(item.state == 'saved' for item in rest)} of {len(PROMPTS)} are saved")


asyncio.run(main())
