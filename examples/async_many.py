"""Several prompts at once on asyncio, where one that fails does not stop the others."""

import asyncio
from decimal import Decimal

from apimaster import APIMasterError, AsyncAPIMaster, ImageResult, Progress

PROMPTS = {
    "spring": "A birch grove in spring, oil on canvas",
    "summer": "A birch grove in summer, oil on canvas",
    "autumn": "A birch grove in autumn, oil on canvas",
}


async def draw(client: AsyncAPIMaster, name: str, prompt: str) -> ImageResult | None:
    """One picture; its task's id is printed as soon as it is known, since it is paid for from then on."""

    def tell(progress: Progress) -> None:
        if progress.stage == "queued" and progress.task is not None:
            print(f"{name}: task {progress.task.id}")

    try:
        result = await client.generate(prompt, save_to=f"seasons/{name}.png", on_progress=tell)
    except APIMasterError as error:
        print(f"{name}: {error} (billed: {error.billed})")
        return None
    print(f"{name}: {result.images[0].path}")
    return result


async def main() -> None:
    """Draw all of them with one client: it bounds how much goes on at once."""
    async with AsyncAPIMaster() as client:
        results = await asyncio.gather(*(draw(client, name, prompt) for name, prompt in PROMPTS.items()))
    arrived = [result for result in results if result is not None]
    cost = sum((result.cost or Decimal(0) for result in arrived), Decimal(0))
    print(f"{len(arrived)} of {len(PROMPTS)} arrived, for ${cost}")


asyncio.run(main())
