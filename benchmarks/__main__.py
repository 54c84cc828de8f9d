"""``python -m benchmarks [name …]``: run all benchmarks, or those that are named; exit code 1 if a goal was missed."""

from __future__ import annotations

import importlib
import sys

from .common import HERE, MISSED, prepare

PARTS = {"__init__", "__main__", "common", "server"}

if __name__ == "__main__":
    prepare()
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PARTS)
    wanted = sys.argv[1:] or names
    for name in wanted:
        if name not in names:
            sys.exit(f"no benchmark {name!r}; there are: {', '.join(names)}")
    sys.argv[1:] = []  # some benchmarks have arguments of their own
    for name in wanted:
        importlib.import_module(f"benchmarks.{name}").main()
    print(f"\n{len(MISSED)} goals missed" + "".join(f"\n  {name}" for name in MISSED))
    sys.exit(bool(MISSED))
