"""README.md and docs/command-line.md: every block runs, every table says what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer

import apimaster
from apimaster import errors
from apimaster.catalog import ASPECT_RATIOS, DEFAULT_MODEL, RESOLUTIONS, spec_for
from apimaster.cli.app import app
from apimaster.cli.app import run as run_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_LINES = (
    'pip install uv && uvx --from ".[cli,emulator]" apimaster generate '
    '"An orange cat at sunset, watercolor" --emulator -o cat.png',
    "pip install uv && uv run pytest",
)


def blocks(text: str, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(text) if found == language]


def commands() -> list[str]:
    """Every line of every shell block, of the README and the manual."""
    return [line for text in (README, MANUAL) for block in blocks(text, "sh") for line in block.splitlines()]


def table(text: str, first_cell: str) -> list[list[str]]:
    """The rows of the table whose heading begins with this cell, without the heading."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            next(lines)
            break
    else:
        raise AssertionError(f"no table begins with {first_cell!r}")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture
def reader(tmp_path: Path, apimaster_emulator: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder and the environment of somebody who tries what is written, with the emulator as the gateway."""
    for name, value in {**apimaster_emulator.env, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_block_is_of_a_kind_that_is_not_run() -> None:
    for text in (README, MANUAL):
        assert {language for language, _ in BLOCK.findall(text)} <= {"python", "sh"}


def test_the_first_screen() -> None:
    first_block = next(iter(blocks(README, "sh")))
    assert tuple(first_block.splitlines()) == FIRST_LINES
    before = README[: README.index("| `resolution` |")]
    assert len(before.splitlines()) <= 40
    program = blocks(README, "python")[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 10


PROGRAMS = [code for code in blocks(README, "python") if "apimaster_emulator" not in code]
TESTS = [code for code in blocks(README, "python") if "apimaster_emulator" in code]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_python_blocks(number: int, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = PROGRAMS[number]
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})  # our own text
    if "save_to=" in code:
        assert [path for path in reader.rglob("*.png") if path.stat().st_size > 1000]
    for name in re.findall(r"# (\S+\.png(?:, \S+\.png)*)$", code, re.MULTILINE):
        assert capsys.readouterr().out.splitlines()[:-1] == name.split(", ")


@pytest.mark.parametrize("number", range(len(TESTS)))
def test_python_blocks_that_are_tests(number: int, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS[number])
    pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_the_webhook_block_answers(tmp_path: Path) -> None:
    code = next(code for code in blocks(README, "python") if "parse_webhook" in code)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # our own text
    import json
    import time

    from apimaster.webhooks import WebhookVerificationError, sign

    body = json.dumps({"id": "evt_1", "type": "webhook.endpoint_verification", "data": {"challenge": "c"}}).encode()
    headers = sign(body, "secret", timestamp=int(time.time()))
    assert names["receive"](body, headers, "secret") == {"challenge": "c"}
    with pytest.raises(WebhookVerificationError):
        names["receive"](body, headers, "another")


def test_shell_lines(reader: Path, apimaster_emulator: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """In one folder, in order: later lines use what earlier ones made. `.ci/run` runs the first two as they are."""
    for line in commands():
        if line == FIRST_LINES[1] or line.startswith(("apimaster emulator", "apimaster webhooks listen")):
            continue  # this is pytest; and both run until Ctrl-C: other tests start such lines
        here = line.removeprefix('pip install uv && uvx --from ".[cli,emulator]" ')
        # The id in the manual is made up: put one there that exists.
        here = re.sub(r"task_\w+", lambda _: submit(apimaster_emulator), here)
        if here.startswith("apimaster ") and not set(here) & set("|<>&;$`"):
            code = run_command(shlex.split(here)[1:])
        else:
            code = subprocess.run(["sh", "-euc", here], timeout=120, check=False).returncode
        assert code == 0, f"{line}\n{capsys.readouterr()}"
    assert (reader / "cat.png").stat().st_size > 10_000
    assert len(list((reader / "foxes").iterdir())) == 2
    assert len(list((reader / "album").rglob("*.png"))) == 2


def submit(emulator: Any) -> str:
    with apimaster.APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
        return client.submit("An orange cat").id


def test_the_table_of_prices() -> None:
    spec = spec_for(DEFAULT_MODEL)
    rows = table(README, "`resolution`")
    assert [re.findall(r"`(.*?)`", row[0])[0] for row in rows] == list(RESOLUTIONS)
    heading = next(line for line in README.splitlines() if line.startswith("| `resolution` |"))
    ratios = [cell.strip() for cell in heading.strip("|").split("|")][1:-1]
    for tier, row in zip(RESOLUTIONS, rows, strict=True):
        assert row[1:-1] == ["{}×{}".format(*(spec.pixels(ratio, tier) or ())) for ratio in ratios]
        price = spec.price(tier)
        assert price is not None
        assert Decimal(row[-1].removeprefix("$")) == price
    said = README[README.index("`aspect_ratio` is one of") :].split(", or a size")[0]
    assert re.findall(r"`([^`]+)`", said)[1:] == list(ASPECT_RATIOS)


def test_the_table_of_errors() -> None:
    documented: dict[str, str] = {}
    for names, billed, _advice in table(README, "error"):
        documented.update(dict.fromkeys(re.findall(r"`(\w+)`", names), billed))
    kinds = {name: each for name, each in vars(errors).items() if name.endswith("Error")}
    del kinds["APIMasterError"]  # the base of all
    assert documented == {name: kind.billed for name, kind in kinds.items()}


def test_the_tables_of_exit_codes() -> None:
    readme, manual = table(README, "exit code"), table(MANUAL, "exit code")
    assert [row[0] for row in manual] == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130"]
    assert readme == [row for row in manual if row[0] != "1"]


def test_the_manual_names_every_option_and_no_other() -> None:
    group = typer.main.get_command(app)
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", MANUAL, re.MULTILINE | re.DOTALL))
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        parts = getattr(command, "commands", {"": command}).values()
        parameters = [each for part in parts for each in part.params]
        own = {
            option for each in parameters for option in (*each.opts, *each.secondary_opts) if option.startswith("-")
        } - {"-h", "--help"}
        assert set(re.findall(r"`(-{1,2}[a-z][a-z-]*)`", sections[name])) == own, name


def test_every_extra_is_in_the_table() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    assert {row[0].strip("`") for row in table(README, "extra")} == set(re.findall(r"^(\w+) =", section, re.MULTILINE))


def test_links_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{name}: {target}"
