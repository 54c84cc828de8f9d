"""What ``import langchain_apimaster`` takes, as a whole process, beside LangChain's ``BaseTool`` and the core."""

from __future__ import annotations

import subprocess
import sys

from .common import goal, prepare, race, ratio_of, table

PARTS = "from langchain_core.tools import BaseTool; import apimaster"
PROGRAMS = {
    PARTS: PARTS,
    "import langchain_apimaster": "import langchain_apimaster",
    "from langchain_core.tools import BaseTool": "from langchain_core.tools import BaseTool",
    "python alone": "pass",
}


def main(rounds: int = 9) -> None:
    def starter(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True)

    contenders = {name: (lambda program=program: starter(program)) for name, program in PROGRAMS.items()}
    wall, _ = race(contenders, rounds=rounds, calls=1)  # the calls before the first round write the byte code
    table("import of the LangChain package, whole process", wall, PARTS, scale=1e3, unit="ms")
    ratio = ratio_of(wall["import langchain_apimaster"], wall[PARTS])
    goal("import langchain_apimaster, ratio to BaseTool and the core", ratio, 1.1)


if __name__ == "__main__":
    prepare()
    main()
