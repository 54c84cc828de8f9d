"""The README's code blocks and the examples run."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import litellm
import pytest
import yaml

PACKAGE = Path(__file__).parents[1]
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
EXAMPLES = PACKAGE.parents[1] / "examples"
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON_BLOCKS = [code for language, code in CODE_BLOCK.findall(README) if language == "python"]


@pytest.fixture
def run(gateway, proxy, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """A function that runs a program in this process, since LiteLLM takes seconds to import, and returns its output."""
    environment = {
        "APIMASTER_API_KEY": "sk-first",
        "APIMASTER_API_KEY_2": "sk-second",
        "APIMASTER_BASE_URL": gateway.base_url,
        "LITELLM_MASTER_KEY": "sk-gateway",
        "LITELLM_GATEWAY": f"{proxy.url}/v1",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run_program(path: Path, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run_program


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_a_code_block_of_the_readme_runs(number, run, gateway, tmp_path):
    program = tmp_path / "block.py"
    program.write_text(PYTHON_BLOCKS[number], encoding="utf-8")
    assert run(program).strip()
    assert gateway.bill.standing


def test_the_readme_configures_the_proxy_as_the_example_does():
    (text,) = [code for language, code in CODE_BLOCK.findall(README) if language == "yaml"]
    config = yaml.safe_load(text)
    example = yaml.safe_load((EXAMPLES / "litellm_proxy" / "config.yaml").read_text(encoding="utf-8"))
    for key in ("litellm_settings", "general_settings"):
        assert config[key] == example[key]


def test_the_readme_lists_the_prices_that_responses_report(gateway):
    rows = re.findall(r"^\| ([\dK., ]+) \| (0\.\d+) \|$", README, re.MULTILINE)
    assert rows
    for resolutions, price in rows:
        for resolution in resolutions.split(", "):
            response = litellm.image_generation(
                model="apimaster/nano-banana-2",
                prompt="a kite",
                resolution=resolution,
                api_key="sk-first",
                api_base=gateway.base_url,
            )
            assert response._hidden_params["response_cost"] == float(price)


@pytest.mark.parametrize("name", ["litellm/functions.py", "litellm/router.py", "litellm_proxy/client.py"])
def test_an_example_runs(name, run, gateway, tmp_path):
    assert "$0." in run(EXAMPLES / name, *([str(tmp_path)] if "client" in name else []))
    assert gateway.bill.standing
