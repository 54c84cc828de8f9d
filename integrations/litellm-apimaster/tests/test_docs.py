"""The README's code blocks and the examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import litellm
import pytest
import yaml

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
EXAMPLES = HERE.parents[1] / "examples"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCK.findall(README) if language == "python"]


def run(words: list[str], gateway: Any, proxy: Any, folder: Path) -> str:
    environment = {
        "APIMASTER_API_KEY": "sk-first",
        "APIMASTER_API_KEY_2": "sk-second",
        "APIMASTER_BASE_URL": gateway.base_url,
        "LITELLM_MASTER_KEY": "sk-gateway",
        "LITELLM_GATEWAY": f"{proxy.url}/v1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_block_of_the_readme_runs(number, gateway, proxy, tmp_path):
    said = run(["-c", PYTHON[number]], gateway, proxy, tmp_path)
    assert said.strip()
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
def test_an_example_runs(name, gateway, proxy, tmp_path):
    said = run([str(EXAMPLES / name), *([str(tmp_path)] if "client" in name else [])], gateway, proxy, tmp_path)
    assert "$0." in said
    assert gateway.bill.standing
