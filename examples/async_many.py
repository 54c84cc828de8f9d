"""Generate several pictures at once with asyncio. If one fails, the others go on."""

import asyncio
from decimal import Decimal

from apimaster import APIMasterError, AsyncAPIMaster, ImageResult, Progress

PROMPTS = {
    "spring": "A birch grove in spring, oil on canvas",
    "summer": "A birch grove in summer, oil on canvas",
    "autumn": "A birch grove in autumn, oil on canvas",
}


async def generate(client: AsyncAPIMaster, name: str, prompt: str) -> ImageResult | None:
    """Generate one picture, and print the id of its task as soon as there is one: from then on it is paid for."""

    def print_task(progress: Progress) -> None:
        if progress.stage == "queued" and progress.task is not None:
            print(f"{name}: task {progress.task.id}")

    try:
        result = await client.generate(prompt, save_to=f"seasons/{name}.png", on_progress=print_task)
    except APIMasterError as error:
        print(f"{name}: {error} (billed: {error.billed})")
        return None
    print(f"{name}: {result.images[0].path}")
    return result


async def main() -> None:
    """Generate all pictures with one client, which limits how many requests run at once."""
    async with AsyncAPIMaster() as client:
        results = await asyncio.gather(*(generate(client, name, prompt) for name, prompt in PROMPTS.items()))
    arrived = [result for result in results if result is not None]
    cost = sum((result.cost or Decimal(0) for result in arrived), Decimal(0))
    print(f"{len(arrived)} of {len(PROMPTS)} arrived, for ${cost}")


asyncio.run(main())
