"""The time of ``import apimaster``, as a whole process, beside httpx and pydantic with five small models."""

from __future__ import annotations

import subprocess
import sys

from .common import goal, prepare, race, ratio_of, table

MODELS = """
import httpx
from pydantic import BaseModel
class A(BaseModel):
    name: str
    count: int = 1
class B(BaseModel):
    url: str | None = None
    size: tuple[int, int] = (1, 1)
class C(BaseModel):
    parts: list[A] = []
class D(BaseModel):
    first: B
    values: dict[str, float] = {}
class E(BaseModel):
    inner: C
    flag: bool = False
"""
PROGRAMS = {
    "httpx and five pydantic models": MODELS,
    "import apimaster": "import apimaster",
    "import openai": "import openai",
    "python alone": "pass",
}


def main(rounds: int = 9) -> None:
    def starter(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True)

    contenders = {name: (lambda program=program: starter(program)) for name, program in PROGRAMS.items()}
    wall, _ = race(contenders, rounds=rounds, calls=1)  # the calls before the first round write the byte code
    base = "httpx and five pydantic models"
    table("import, whole process", wall, base, scale=1e3, unit="ms")
    goal("import apimaster, ratio to httpx and pydantic", ratio_of(wall["import apimaster"], wall[base]), 1.1)


if __name__ == "__main__":
    prepare()
    main()
