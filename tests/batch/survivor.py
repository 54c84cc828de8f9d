"""Runs batches in child processes that may be killed at any moment. Driven by ``test_survival.py``, over stdin.

One line on stdin is one run: a folder, a base URL, and after how many seconds it is killed (or nothing), parted by
tabs. The imports are done once and each run is a fork, so that a run begins within milliseconds. The answer is the
wait status of the child.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path

from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch

LINES = 40


async def main(directory: Path, base_url: str) -> None:
    """One run of the batch: the same list each time."""
    requests = [{"prompt": f"{directory.name} picture {number}", "resolution": "0.5K"} for number in range(LINES)]
    async with AsyncAPIMaster("sk-emulator", base_url=base_url) as client:
        batch = AsyncBatch(client, directory, concurrency=24, timeout=30)
        async for _ in batch.run(requests):
            pass


def run(directory: str, base_url: str) -> None:
    """In the child: a batch, and then the end, without the parent's clean-up."""
    code = 1
    try:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        asyncio.run(main(Path(directory), base_url))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for command in sys.stdin:
        folder, url, moment = command.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            run(folder, url)
        if moment:
            time.sleep(float(moment))  # the moment is what this is about
            os.kill(
                child, signal.SIGKILL
            )  # it has not been waited for: this pid is nobody else's, even if it has ended
        print(os.waitpid(child, 0)[1], flush=True)
