"""Parts that all benchmarks share: the server on the other core, interleaved rounds, medians, ratios of one run.

Each round gives a ratio (its contenders ran within the same second), and a benchmark prints the median of these:
single figures on a shared machine drift by a fifth, ratios of neighbours hardly do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MODEL = "gemini-3.1-flash-image-preview"
PROMPT = "An orange cat at sunset, watercolor"
FIELDS = {"model": MODEL, "prompt": PROMPT, "size": "16:9", "resolution": "1K"}
KEY = "sk-benchmark"
HEADERS = {"authorization": f"Bearer {KEY}"}


def prepare() -> None:
    """Pin this process to one core, forget proxies, and allow byte code on disk (else imports look much slower)."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {0})


def in_fresh_process(module: str, *arguments: str) -> Any:
    """Run ``python -m module arguments`` and return the JSON that it prints on its last line.

    A fresh process, since memory that a process frees stays with it, and would hide the next contender's.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=HERE.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Server:
    """The benchmark server in a process of its own, on the last core if there are several."""

    def __init__(self) -> None:
        core = (os.cpu_count() or 1) - 1
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), "--cpu", str(core)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def set(self, **settings: float) -> None:
        self.get("/_set?" + "&".join(f"{name}={value}" for name, value in settings.items()))

    def facts(self) -> Any:
        return self.get("/_facts")


def table(
    title: str, seconds: Mapping[str, Sequence[float]], base: str, *, scale: float = 1e6, unit: str = "µs"
) -> None:
    """Print minimum, median and the median ratio to ``base``, one line per contender."""
    print(f"\n{title} ({len(seconds[base])} rounds, {unit} per call)")
    for name, values in seconds.items():
        ratio = ratio_of(values, seconds[base])
        middle = statistics.median(values) * scale
        print(f"  {name:<44} min {min(values) * scale:9.1f}  median {middle:9.1f}  × {ratio:5.2f}")
    sys.stdout.flush()


def ratio_of(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of all rounds."""
    return statistics.median(mine / theirs for mine, theirs in zip(values, base, strict=True))


MISSED: list[str] = []


def goal(name: str, value: float, limit: float, *, at_least: bool = False) -> None:
    """Print one line that says whether a goal was reached, and remember it if it was not."""
    reached = value >= limit if at_least else value <= limit
    if not reached:
        MISSED.append(name)
    print(
        f"{'ok    ' if reached else 'MISSED'} {name}: {value:.3g} (goal {'≥' if at_least else '≤'} {limit:g})",
        flush=True,
    )


@contextlib.contextmanager
def stopwatch(wall: list[float], cpu: list[float], calls: int) -> Iterator[None]:
    """Append seconds per call, by the wall clock and by this process's CPU clock."""
    gc.collect()
    processor = time.process_time()
    clock = time.perf_counter()
    yield
    wall.append((time.perf_counter() - clock) / calls)
    cpu.append((time.process_time() - processor) / calls)


Results = tuple[dict[str, list[float]], dict[str, list[float]]]


def race(contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int, warm: int = 3) -> Results:
    """Time blocking callables, shuffled anew in each round; wall and CPU seconds per call by name.

    Each round makes ``warm`` calls before the timed ones.
    """
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            function = contenders[name]
            for _ in range(warm):
                function()
            with stopwatch(wall[name], cpu[name], calls):
                for _ in range(calls):
                    function()
    return wall, cpu


async def burst(function: Callable[[], Awaitable[object]], *, at_once: int, calls: int) -> None:
    """Make ``calls`` calls with ``at_once`` of them in flight."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            await function()

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def race_async(
    contenders: Mapping[str, Callable[[], Awaitable[object]]], *, rounds: int, calls: int, at_once: int
) -> Results:
    """The same for coroutine functions, with ``at_once`` calls in flight."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            await burst(contenders[name], at_once=at_once, calls=max(at_once, 3))
            with stopwatch(wall[name], cpu[name], calls):
                await burst(contenders[name], at_once=at_once, calls=calls)
    return wall, cpu


class Memory:
    """The peak of this process's resident memory from now on, above that of now (Linux)."""

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak; else that of the imports would count
        self._before = _status("VmRSS")

    def peak_mb(self) -> float:
        return (_status("VmHWM") - self._before) / 1024


def print_peak(send: Callable[[list[Path]], object], files: list[Path]) -> None:
    """Print the peak of a call that sends these files, in MB above the idle client."""
    send(files[:1])  # everything is loaded and connected
    memory = Memory()
    send(files)
    print(json.dumps(memory.peak_mb()))


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise LookupError(field)
