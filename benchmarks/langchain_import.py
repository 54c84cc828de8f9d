"""The time of ``import langchain_apimaster``, as a whole process, beside LangChain's ``BaseTool`` and the core.

During imports, Python's garbage collector sometimes goes through all objects, which takes some 60 ms. Chance decides in
whose import that happens. So the goal is measured with the collector off; the table shows the figures with it on, too.
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
