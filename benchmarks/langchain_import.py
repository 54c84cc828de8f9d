"""What ``import langchain_apimaster`` takes, as a whole process, beside LangChain's ``BaseTool`` and the core.

Python's collector looks through all objects now and then while modules are imported, for some 60 ms each time that it
does so thoroughly; whose import that falls into is chance: it depends on what was imported before. So the goal is
measured with the collector off, and the figures with it on stand beside.
"""

from __future__ import annotations

import subprocess
import sys

from .common import goal, prepare, race, ratio_of, table

PARTS = "from langchain_core.tools import BaseTool; import apimaster"
OURS = "import langchain_apimaster"
PROGRAMS = (PARTS, OURS, "from langchain_core.tools import BaseTool", "pass")
WITHOUT_COLLECTOR = "import gc; gc.disable(); "


def main(rounds: int = 9) -> None:
    def starter(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True)

    ratio = 0.0
    for before, title in (("", "collector on"), (WITHOUT_COLLECTOR, "collector off")):
        contenders = {name: (lambda program=before + name: starter(program)) for name in PROGRAMS}
        wall, _ = race(contenders, rounds=rounds, calls=1)  # the calls before the first round write the byte code
        table(f"import of the LangChain package, whole process, {title}", wall, PARTS, scale=1e3, unit="ms")
        ratio = ratio_of(wall[OURS], wall[PARTS])
        print(f"       ratio with the {title}: {ratio:.3g}")
    goal("import langchain_apimaster, ratio to BaseTool and the core", ratio, 1.1)


if __name__ == "__main__":
    prepare()
    main()
