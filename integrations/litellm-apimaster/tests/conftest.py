"""The doors: every way in which a caller reaches the provider through LiteLLM, never the handler itself.

Sending a call through a door gives back what the caller sees; the emulator knows what the gateway saw.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Read by LiteLLM when it is imported: no fetching of prices, no long pauses between attempts.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_MODE="PRODUCTION",
    INITIAL_RETRY_DELAY="0.01",
    MAX_RETRY_DELAY="0.02",
    JITTER="0",
)
os.environ.setdefault("NO_PROXY", "127.0.0.1")

import litellm
import pytest
from litellm import Router
from litellm.proxy.types_utils.utils import get_instance_fn
from openai import OpenAI
from PIL import Image

import litellm_apimaster
from apimaster.emulator import Emulator

if "TIKTOKEN_CACHE_DIR" not in os.environ:
    # LiteLLM 1.80 ships the tokenizer that its chat calls load, and forgets to say where.
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = "apimaster/nano-banana-2"
MASTER_KEY = "sk-gateway"
KEYS = ("sk-first", "sk-second")
PROXY_PYTHON = "LITELLM_PROXY_PYTHON"
STARTS_WITHIN = 120.0

litellm.suppress_debug_info = True


@dataclass(frozen=True)
class Answer:
    """What a caller gets: pictures, and the cost in US dollars as LiteLLM tells it."""

    data: list[Any]
    cost: float | None
    raw: Any


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(api_keys=KEYS, pictures="small") as running:
        yield running


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator with a clean bill, and the provider registered for it."""
    emulator.reset()
    # LiteLLM takes 30 callbacks, and every Router of a test run adds its own.
    litellm.logging_callback_manager._reset_all_callbacks()
    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY", "APIMASTER_BASE_URL", "APIMASTER_RETRY_UNKNOWN_OUTCOMES"):
        monkeypatch.delenv(name, raising=False)
    litellm_apimaster.register(retry_unknown_outcomes=False)
    monkeypatch.setattr(litellm, "drop_params", False)
    return emulator


def deployment(gateway: Emulator, name: str = "image", key: str = KEYS[0], **defaults: Any) -> dict[str, Any]:
    params = {"model": MODEL, "api_key": key, "api_base": gateway.base_url, **defaults}
    return {"model_name": name, "litellm_params": params}


@pytest.fixture
def deploy(gateway: Emulator) -> Callable[..., dict[str, Any]]:
    """A deployment of the emulator for a Router's ``model_list``."""
    return lambda *args, **kwargs: deployment(gateway, *args, **kwargs)


@pytest.fixture
def account(gateway: Emulator) -> dict[str, Any]:
    """What a call of LiteLLM's functions needs to reach the emulator."""
    return {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}


def of_litellm(response: Any) -> Answer:
    return Answer(list(response.data), response._hidden_params.get("response_cost"), response)


async def with_logs(call: Any) -> Any:
    """Await a call, and let LiteLLM's own background tasks finish before the loop ends."""
    try:
        return await call
    finally:
        await asyncio.sleep(0)


def sdk(action: str, gateway: Emulator, request: Any) -> Callable[..., Answer]:
    here = {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}
    return lambda **said: of_litellm(getattr(litellm, f"image_{action}")(**here, **said))


def sdk_async(action: str, gateway: Emulator, request: Any) -> Callable[..., Answer]:
    here = {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}
    return lambda **said: of_litellm(asyncio.run(with_logs(getattr(litellm, f"aimage_{action}")(**here, **said))))


def router(action: str, gateway: Emulator, request: Any) -> Callable[..., Answer]:
    made = Router(model_list=[deployment(gateway)], num_retries=0)
    return lambda **said: of_litellm(getattr(made, f"image_{action}")(model="image", **said))


def router_async(action: str, gateway: Emulator, request: Any) -> Callable[..., Answer]:
    made = Router(model_list=[deployment(gateway)], num_retries=0)
    call = getattr(made, f"aimage_{action}")
    return lambda **said: of_litellm(asyncio.run(with_logs(call(model="image", **said))))


OPENAI_NAMES = {"prompt", "image", "mask", "size", "n", "quality", "response_format", "user", "style", "background"}


def proxy_door(action: str, gateway: Emulator, request: Any) -> Callable[..., Answer]:
    proxy = request.getfixturevalue("proxy")

    def call(**said: Any) -> Answer:
        body = said.pop("extra_body", {}) | {name: said.pop(name) for name in set(said) - OPENAI_NAMES}
        if isinstance(said.get("image"), bytes):
            said["image"] = ("picture.png", said["image"])
        if action == "edit" and "image_urls" in body:
            # An edit is a form, and LiteLLM's proxy keeps only the last of several fields of one name.
            body["image_urls"] = json.dumps(body["image_urls"])
        act = {"generation": "generate", "edit": "edit"}[action]
        raw = getattr(proxy.client.images.with_raw_response, act)(model="nano-banana-1", extra_body=body, **said)
        cost = raw.headers.get("x-litellm-response-cost")
        return Answer(list(raw.parse().data), None if cost in (None, "None", "") else float(cost), raw)

    return call


DOORS = {"sdk": sdk, "sdk async": sdk_async, "router": router, "router async": router_async, "proxy": proxy_door}


@pytest.fixture(params=DOORS)
def generate(request: pytest.FixtureRequest, gateway: Emulator) -> Callable[..., Answer]:
    """``image_generation``, through each door."""
    return DOORS[request.param]("generation", gateway, request)


# A Router has no blocking image_edit.
@pytest.fixture(params=[name for name in DOORS if name != "router"])
def edit(request: pytest.FixtureRequest, gateway: Emulator) -> Callable[..., Answer]:
    """``image_edit``, through each door."""
    return DOORS[request.param]("edit", gateway, request)


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG that a gateway accepts."""
    found = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(found, "PNG")
    return found.getvalue()


@pytest.fixture(scope="session")
def picture_uri(picture: bytes) -> str:
    """The same as a data URI."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


@pytest.fixture
def orders(gateway: Emulator) -> Callable[[], list[Any]]:
    """The purchases that the emulator received, oldest first."""
    return lambda: [seen for seen in gateway.requests if seen.route in ("submit", "sync")]


@dataclass(frozen=True)
class Proxy:
    """A running LiteLLM proxy."""

    url: str
    log: Path

    @property
    def client(self) -> OpenAI:
        return OpenAI(api_key=MASTER_KEY, base_url=f"{self.url}/v1", max_retries=2)

    def get(self, path: str) -> str:
        asked = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {MASTER_KEY}"})
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return str(reply.read().decode())


@contextmanager
def running_proxy(config: Path, folder: Path, environment: dict[str, str]) -> Iterator[Proxy]:
    """LiteLLM's proxy as a process of its own, by the interpreter that ``LITELLM_PROXY_PYTHON`` names or this one."""
    python = os.environ.get(PROXY_PYTHON, sys.executable)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "proxy.log"
    words = [python, "-c", "from litellm import run_server; run_server()"]
    words += ["--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/health/liveliness", process, log)
        yield Proxy(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):  # noqa: PERF203  # not there yet: that is what is waited for
            if process.poll() is not None or time.monotonic() > ends:
                pytest.fail(f"the proxy did not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)


def handlers_must_be_files() -> bool:
    """LiteLLM's older proxies look for a custom handler in a file beside the configuration, and nowhere else."""
    return "Could not find module file" in inspect.getsource(get_instance_fn)


SINGLE = """
  - model_name: nano-banana-1
    litellm_params: {{ model: apimaster/nano-banana-2, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
"""


@pytest.fixture(scope="session")
def proxy(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example's configuration, as a gateway operator runs it, plus one model with a single deployment."""
    if PROXY_PYTHON not in os.environ and not all(map(find_spec, ("apscheduler", "fastapi", "orjson"))):
        pytest.skip(f"needs litellm[proxy] here, or {PROXY_PYTHON} naming a Python that has it and this package")
    folder = tmp_path_factory.mktemp("proxy")
    example = (EXAMPLES / "litellm_proxy" / "config.yaml").read_text(encoding="utf-8")
    single = SINGLE.format(key=KEYS[0], url=emulator.base_url)
    config = folder / "config.yaml"
    # One test's refused key must not keep the next one waiting.
    text = example.replace("router_settings:\n", "router_settings:\n  disable_cooldowns: true\n")
    text = text.replace("model_list:\n", f"model_list:\n{single}")
    if handlers_must_be_files():
        (folder / "apimaster_handler.py").write_text("from litellm_apimaster import apimaster_llm\n", encoding="utf-8")
        text = text.replace("litellm_apimaster.apimaster_llm", "apimaster_handler.apimaster_llm")
    config.write_text(text, encoding="utf-8")
    environment = {
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "APIMASTER_API_KEY": KEYS[0],
        "APIMASTER_API_KEY_2": KEYS[1],
        "APIMASTER_BASE_URL": emulator.base_url,
        "NO_PROXY": "127.0.0.1",
    }
    with running_proxy(config, folder, environment) as running:
        yield running
