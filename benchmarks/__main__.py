"""``python -m benchmarks [name …]``: run all benchmarks, or the named ones; exit code 1 if one misses a goal.

Each runs in a process of its own: the imports of one (300,000 objects for LiteLLM alone) would make the garbage
collector's rounds longer for the next.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

from .common import HERE, MISSED, prepare

PARTS = {"__init__", "__main__", "common", "server"}


def one(name: str) -> int:
    prepare()
    sys.argv[1:] = []  # some benchmarks have arguments of their own
    importlib.import_module(f"benchmarks.{name}").main()
    print(f"\n{len(MISSED)} goals of {name} missed" + "".join(f"\n  {goal}" for goal in MISSED), flush=True)
    return int(bool(MISSED))


def main(wanted: list[str]) -> int:
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PARTS)
    for name in wanted:
        if name not in names:
            sys.exit(f"no benchmark {name!r}; there are: {', '.join(names)}")
    if len(wanted) == 1:
        return one(wanted[0])
    command = [sys.executable, "-m", "benchmarks"]
    failed = [
        name for name in wanted or names if subprocess.run([*command, name], cwd=HERE.parent, check=False).returncode
    ]
    print(f"\ngoals missed in: {', '.join(failed)}" if failed else "\nall goals reached")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
