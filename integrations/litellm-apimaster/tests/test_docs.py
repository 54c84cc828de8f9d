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

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
EXAMPLES = HERE.parents[1] / "examples"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCK.findall(README) if language == "python"]


@pytest.fixture
def run(gateway, proxy, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Runs a program as its reader would, but in this process: LiteLLM takes seconds to import."""
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


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_block_of_the_readme_runs(number, run, gateway, tmp_path):
    program = tmp_path / "block.py"
    program.write_text(PYTHON[number], encoding="utf-8")
    assert run(program).strip()
    assert gateway.bill.standing


def test_the_readmes_proxy_configuration_is_one():
    (text,) = [code for language, code in BLOCK.findall(README) if language == "yaml"]
    config = yaml.safe_load(text)
    example = yaml.safe_load((EXAMPLES / "litellm_proxy" / "config.yaml").read_text(encoding="utf-8"))
    for key in ("litellm_settings", "general_settings"):
        assert config[key] == example[key]


def test_the_readmes_prices_are_right(gateway):
    rows = re.findall(r"^\| ([\dK., ]+) \| (0\.\d+) \|$", README, re.MULTILINE)
    assert rows
    for tiers, price in rows:
        for tier in tiers.split(", "):
            answer = litellm.image_generation(
                model="apimaster/nano-banana-2",
                prompt="a kite",
                resolution=tier,
                api_key="sk-first",
                api_base=gateway.base_url,
            )
            assert answer._hidden_params["response_cost"] == float(price)


@pytest.mark.parametrize("name", ["litellm/functions.py", "litellm/router.py", "litellm_proxy/client.py"])
def test_an_example_runs(name, run, gateway, tmp_path):
    assert "$0." in run(EXAMPLES / name, *([str(tmp_path)] if "client" in name else []))
    assert gateway.bill.standing
