"""Fixtures: an emulator, a LiteLLM proxy, and each entry point through which a caller of LiteLLM reaches the provider.

An entry point is one of LiteLLM's functions, a Router or the proxy, never a method of the provider itself. A call
through it returns what the caller gets; the emulator records what the gateway receives.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import os
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

# LiteLLM reads these when it is imported: fetch no prices, and make no long pauses before a retry.
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
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.proxy.types_utils.utils import get_instance_fn
from openai import OpenAI
from PIL import Image
from ports import reserve_port
from quick_polls import poll_at_once

import litellm_apimaster
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

if "TIKTOKEN_CACHE_DIR" not in os.environ:
    # LiteLLM 1.80 ships the tokenizer that its chat calls load, but does not tell tiktoken where.
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = "apimaster/nano-banana-2"
MASTER_KEY = "sk-gateway"
KEYS = ("sk-first", "sk-second")
PROXY_PYTHON = "LITELLM_PROXY_PYTHON"
START_TIMEOUT = 120.0

litellm.suppress_debug_info = True


@pytest.hookimpl(tryfirst=True)  # before the marker is asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs a proxy, which takes many seconds to start, is slow."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        values = getattr(getattr(item, "callspec", None), "params", {}).values()
        needed = [*getattr(item, "fixturenames", ()), *(value for value in values if isinstance(value, str))]
        if {"proxy", "proxies", "start_proxy", "proxy_at_place"} & set(needed):
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Response:
    """What a caller gets: images, the cost in US dollars as LiteLLM reports it, and LiteLLM's own response."""

    data: list[Any]
    cost: float | None
    raw: Any


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    poll_at_once(monkeypatch)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    # Without routes for webhooks it takes any endpoint id: the provider passes ids on and registers no endpoint.
    with Emulator(api_keys=KEYS, pictures="small", webhook_routes=False) as running:
        yield running


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator with an empty bill; the provider is registered and retries no unknown outcome."""
    emulator.reset()
    # LiteLLM accepts 30 callbacks at most, and every Router of a test run adds its own.
    litellm.logging_callback_manager._reset_all_callbacks()
    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY", "APIMASTER_BASE_URL", "APIMASTER_RETRY_UNKNOWN_OUTCOMES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("APIMASTER_LEDGER", "sqlite://")
    litellm_apimaster.register(retry_unknown_outcomes=False)
    monkeypatch.setattr(litellm, "drop_params", False)
    return emulator


def deployment(gateway: Emulator, name: str = "image", key: str = KEYS[0], **defaults: Any) -> dict[str, Any]:
    params = {"model": MODEL, "api_key": key, "api_base": gateway.base_url, **defaults}
    return {"model_name": name, "litellm_params": params}


@pytest.fixture
def deploy(gateway: Emulator) -> Callable[..., dict[str, Any]]:
    """A function that makes a deployment for a Router's ``model_list``; the deployment calls the emulator."""
    return lambda *args, **kwargs: deployment(gateway, *args, **kwargs)


@pytest.fixture
def account(gateway: Emulator) -> dict[str, Any]:
    """The arguments with which LiteLLM's functions reach the emulator: model, key and base URL."""
    return {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}


def to_response(response: Any) -> Response:
    return Response(list(response.data), response._hidden_params.get("response_cost"), response)


async def await_with_background_tasks(call: Any) -> Any:
    """Await a call, and let LiteLLM's own background tasks finish before the loop ends."""
    try:
        return await call
    finally:
        await asyncio.sleep(0)


def sdk_caller(action: str, gateway: Emulator, request: Any) -> Callable[..., Response]:
    account = {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}
    return lambda **arguments: to_response(getattr(litellm, f"image_{action}")(**account, **arguments))


def async_sdk_caller(action: str, gateway: Emulator, request: Any) -> Callable[..., Response]:
    account = {"model": MODEL, "api_key": KEYS[0], "api_base": gateway.base_url}
    return lambda **arguments: to_response(
        asyncio.run(await_with_background_tasks(getattr(litellm, f"aimage_{action}")(**account, **arguments)))
    )


def router_caller(action: str, gateway: Emulator, request: Any) -> Callable[..., Response]:
    router = Router(model_list=[deployment(gateway)], num_retries=0)
    return lambda **arguments: to_response(getattr(router, f"image_{action}")(model="image", **arguments))


def async_router_caller(action: str, gateway: Emulator, request: Any) -> Callable[..., Response]:
    router = Router(model_list=[deployment(gateway)], num_retries=0)
    call = getattr(router, f"aimage_{action}")
    return lambda **arguments: to_response(asyncio.run(await_with_background_tasks(call(model="image", **arguments))))


OPENAI_PARAMS = {"prompt", "image", "mask", "size", "n", "quality", "response_format", "user", "style", "background"}


def proxy_caller(action: str, gateway: Emulator, request: Any) -> Callable[..., Response]:
    proxy = request.getfixturevalue("proxy")

    def call(**arguments: Any) -> Response:
        body = arguments.pop("extra_body", {}) | {name: arguments.pop(name) for name in set(arguments) - OPENAI_PARAMS}
        if isinstance(arguments.get("image"), bytes):
            arguments["image"] = ("image.png", arguments["image"])
        if action == "edit" and "image_urls" in body:
            # The client sends an edit as a form, and LiteLLM's proxy keeps only the last of several fields of one name.
            body["image_urls"] = json.dumps(body["image_urls"])
        method = {"generation": "generate", "edit": "edit"}[action]
        raw = getattr(proxy.client.images.with_raw_response, method)(
            model="nano-banana-1", extra_body=body, **arguments
        )
        cost = raw.headers.get("x-litellm-response-cost")
        return Response(list(raw.parse().data), None if cost in (None, "None", "") else float(cost), raw)

    return call


ENTRY_POINTS = {
    "sdk": sdk_caller,
    "sdk async": async_sdk_caller,
    "router": router_caller,
    "router async": async_router_caller,
    "proxy": proxy_caller,
}


@pytest.fixture(params=ENTRY_POINTS)
def generate(request: pytest.FixtureRequest, gateway: Emulator) -> Callable[..., Response]:
    """``image_generation`` through each entry point."""
    return ENTRY_POINTS[request.param]("generation", gateway, request)


@pytest.fixture
def through(request: pytest.FixtureRequest, gateway: Emulator) -> Callable[[str, str], Callable[..., Response]]:
    """A function that gives the caller for an entry point and an action: ``through("sdk", "edit")``."""
    return lambda entry_point, action: ENTRY_POINTS[entry_point](action, gateway, request)


# A Router has no blocking image_edit.
@pytest.fixture(params=[name for name in ENTRY_POINTS if name != "router"])
def edit(request: pytest.FixtureRequest, gateway: Emulator) -> Callable[..., Response]:
    """``image_edit`` through each entry point."""
    return ENTRY_POINTS[request.param]("edit", gateway, request)


@pytest.fixture(scope="session")
def png() -> bytes:
    """A PNG that the gateway accepts as a reference image."""
    out = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def data_uri(png: bytes) -> str:
    """The same PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


@pytest.fixture
def purchases(gateway: Emulator) -> Callable[[], list[Any]]:
    """A function that returns the requests to buy images that the gateway received, oldest first."""
    return lambda: [received for received in gateway.requests if received.route in ("submit", "sync")]


@dataclass(frozen=True)
class Proxy:
    """A running LiteLLM proxy."""

    url: str
    log: Path
    pid: int

    @property
    def client(self) -> OpenAI:
        return OpenAI(api_key=MASTER_KEY, base_url=f"{self.url}/v1", max_retries=2)

    def get(self, path: str) -> str:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {MASTER_KEY}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return str(response.read().decode())


@contextmanager
def running_proxy(config: Path, folder: Path, environment: dict[str, str], workers: int = 1) -> Iterator[Proxy]:
    """LiteLLM's proxy in a process of its own, run by this Python or the one that ``LITELLM_PROXY_PYTHON`` names."""
    python = os.environ.get(PROXY_PYTHON, sys.executable)
    port_holder = reserve_port()
    port = port_holder.getsockname()[1]
    log = folder / "proxy.log"
    command = [python, "-c", "from litellm import run_server; run_server()"]
    command += ["--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", str(workers)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        wait_until_reachable(f"http://127.0.0.1:{port}/health/liveliness", process, log)
        yield Proxy(f"http://127.0.0.1:{port}", log, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        port_holder.close()


def wait_until_reachable(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):  # noqa: PERF203  # not reachable yet, so try again
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the proxy did not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)


def handler_must_be_in_a_file() -> bool:
    """Whether the proxy looks for a custom handler only in a file beside the configuration, as older versions do."""
    return "Could not find module file" in inspect.getsource(get_instance_fn)


SINGLE_DEPLOYMENT = """
  - model_name: nano-banana-1
    litellm_params: {{ model: apimaster/nano-banana-2, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
  - model_name: gpt-image
    litellm_params: {{ model: apimaster/gpt-image-2, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
  - model_name: successor
    litellm_params: {{ model: apimaster/nano-banana-2.1, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
"""


@pytest.fixture(scope="session")
def proxy(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with the example's configuration, and with one more model that has a single deployment."""
    if PROXY_PYTHON not in os.environ and not all(map(find_spec, ("apscheduler", "fastapi", "orjson"))):
        pytest.skip(f"needs litellm[proxy] here, or {PROXY_PYTHON} set to a Python that has it and this package")
    folder = tmp_path_factory.mktemp("proxy")
    example = (EXAMPLES / "litellm_proxy" / "config.yaml").read_text(encoding="utf-8")
    single = SINGLE_DEPLOYMENT.format(key=KEYS[0], url=emulator.base_url)
    config = folder / "config.yaml"
    # Otherwise a deployment whose key the gateway refused in one test would be cooling down in the next.
    text = example.replace("router_settings:\n", "router_settings:\n  disable_cooldowns: true\n")
    text = text.replace("model_list:\n", f"model_list:\n{single}")
    if handler_must_be_in_a_file():
        (folder / "apimaster_handler.py").write_text("from litellm_apimaster import apimaster_llm\n", encoding="utf-8")
        text = text.replace("litellm_apimaster.apimaster_llm", "apimaster_handler.apimaster_llm")
    config.write_text(text, encoding="utf-8")
    environment = {
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "APIMASTER_API_KEY": KEYS[0],
        "APIMASTER_API_KEY_2": KEYS[1],
        "APIMASTER_BASE_URL": emulator.base_url,
        "APIMASTER_LEDGER": str(folder / "ledger.db"),
        "NO_PROXY": "127.0.0.1",
    }
    with running_proxy(config, folder, environment) as running:
        yield running


@pytest.fixture(scope="session")
def start_proxy(emulator: Emulator) -> Callable[..., Any]:
    """A function that runs a proxy for as long as a block lasts; ``{handler}`` in its configuration is filled in."""

    @contextmanager
    def start(text: str, folder: Path, environment: dict[str, str], workers: int = 1) -> Iterator[Proxy]:
        handler = "litellm_apimaster.apimaster_llm"
        if handler_must_be_in_a_file():
            (folder / "handler.py").write_text("from litellm_apimaster import apimaster_llm\n", encoding="utf-8")
            handler = "handler.apimaster_llm"
        config = folder / "config.yaml"
        filled = text.format(model=MODEL, key=KEYS[0], url=emulator.base_url, handler=handler)
        config.write_text(filled, encoding="utf-8")
        with running_proxy(config, folder, {"NO_PROXY": "127.0.0.1", **environment}, workers) as running:
            yield running

    return start


@pytest.fixture
def own_ledger(gateway: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger for each test: for tests that all use one key, or one prompt."""
    place = tmp_path / "ledger.db"
    monkeypatch.setenv("APIMASTER_LEDGER", str(place))
    with Ledger.open(place) as opened:
        yield opened


@pytest.fixture
def own_logging_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM 1.80 runs callbacks on the first event loop of this process that logged; each test has its own loop."""
    for attribute in ("_queue", "_sem", "_worker_task"):
        monkeypatch.setattr(GLOBAL_LOGGING_WORKER, attribute, None)
