"""LiteLLM proxies that share a ledger and take any key for a virtual key, and stock clients of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI

AUTH = """
from litellm.proxy._types import UserAPIKeyAuth

async def accept(request, api_key):
    if api_key.startswith("jwt-"):  # as LiteLLM does with a JWT: there is no virtual key
        return UserAPIKeyAuth(api_key=None, user_id=api_key, team_id="team")
    return UserAPIKeyAuth(api_key=api_key)
"""
CONFIG = """
model_list:
  - model_name: image
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
  - model_name: mixed
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}", resolution: 2K }}
    model_info: {{ mode: image_generation }}
  - model_name: mixed
    litellm_params: {{ model: apimaster/gemini-3.1-flash-image, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
  - model_name: broken
    litellm_params: {{ model: openai/broken, api_key: sk-made-up, api_base: "http://127.0.0.1:9" }}
    model_info: {{ mode: image_generation }}
router_settings:
  fallbacks: [{{ broken: [image] }}]
  num_retries: 0
litellm_settings:
  custom_provider_map:
    - {{ provider: apimaster, custom_handler: {handler} }}
general_settings:
  custom_auth: auth.accept
"""
COST = "x-litellm-response-cost"


@contextmanager
def shared_proxy(start_proxy: Callable[..., Any], place: str, folder: Path, **options: Any) -> Iterator[Any]:
    """A proxy with the ledger at ``place``, for as long as the block lasts; ``start_proxy`` is the fixture."""
    (folder / "auth.py").write_text(AUTH, encoding="utf-8")
    environment = {"APIMASTER_LEDGER": place, "LITELLM_MASTER_KEY": "sk-gateway"}
    with start_proxy(CONFIG, folder, environment, **options) as started:
        # A proxy's first request takes seconds.
        client_of([started], timeout=60).images.generate(model="image", prompt="warm")
        yield started


def client_of(proxies: list[Any], key: str = "sk-anna", **options: Any) -> OpenAI:
    """The stock client; each of its requests goes to the next of the proxies."""
    ports = itertools.cycle([httpx.URL(proxy.url).port for proxy in proxies])

    def send_to_the_next(request: httpx.Request) -> None:
        request.url = request.url.copy_with(port=next(ports))

    http_client = httpx.Client(event_hooks={"request": [send_to_the_next]}, trust_env=False)
    return OpenAI(api_key=key, base_url=f"{proxies[0].url}/v1", http_client=http_client, **options)


def generate(client: OpenAI, **options: Any) -> Any:
    return client.images.with_raw_response.generate(model="image", prompt="a red kite", **options)


def url_of(response: Any) -> str:
    return str(response.parse().data[0].url)


def cost_of(response: Any) -> float:
    return float(response.headers.get(COST, 0))  # the proxy leaves the header out if it is 0
