"""LiteLLM's response cache: it answers no request with the picture of another one, and keeps no URL that expires."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.caching.caching import Cache
from openai import OpenAI

MESSAGES: Any = [{"role": "user", "content": "a red kite"}]

# Two values of each parameter that changes the picture.
PARAMETERS: dict[str, tuple[Any, Any]] = {
    "aspect_ratio": ("1:1", "16:9"),
    "size": ("1:1", "16:9"),
    "resolution": ("1K", "2K"),
    "quality": ("low", "high"),
    "image_config": ({"aspect_ratio": "1:1"}, {"aspect_ratio": "16:9"}),
    "google_search": (True, False),
    "n": (1, 2),
    "image_urls": (["https://example.org/a.png"], ["https://example.org/b.png"]),
    "extra_body": ({"aspect_ratio": "1:1"}, {"aspect_ratio": "16:9"}),
}


@pytest.fixture
def cache(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's cache in memory, for all kinds of calls that it supports."""
    monkeypatch.setattr(litellm, "cache", Cache())


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_another_value_of_a_parameter_is_another_request(name, blocking, cache, account, gateway):
    for value in PARAMETERS[name]:
        arguments = {**account, "messages": MESSAGES, name: value}
        before = len(gateway.bill.charges)
        _ = litellm.completion(**arguments) if blocking else asyncio.run(litellm.acompletion(**arguments))
        assert len(gateway.bill.charges) > before


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("action", ["generation", "edit"])
def test_an_image_response_is_not_stored(action, blocking, cache, account, gateway, png):
    arguments = {**account, "prompt": "a red kite", **({"image": png} if action == "edit" else {})}

    def ask() -> Any:
        if blocking:
            return getattr(litellm, f"image_{action}")(**arguments)
        return asyncio.run(getattr(litellm, f"aimage_{action}")(**arguments))

    first, second = ask(), ask()
    assert first.data[0].url != second.data[0].url
    assert len(gateway.bill.charges) == 2


CONFIG = """
model_list:
  - model_name: image
    litellm_params: {{ model: {model}, api_key: {key}, api_base: "{url}" }}
    model_info: {{ mode: image_generation }}
litellm_settings:
  custom_provider_map:
    - {{ provider: apimaster, custom_handler: {handler} }}
  cache: true
  cache_params: {{ type: local }}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""


@pytest.fixture(scope="module")
def client(start_proxy: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder: Path = tmp_path_factory.mktemp("caching_proxy")
    environment = {"LITELLM_MASTER_KEY": "sk-gateway", "APIMASTER_LEDGER": str(folder / "ledger.db")}
    with start_proxy(CONFIG, folder, environment) as proxy:
        yield proxy.client


def test_a_proxy_answers_only_the_same_chat_from_its_cache(start_proxy, client, gateway):
    def ask(**body: Any) -> Any:
        answer: Any = client.chat.completions.create(model="image", messages=MESSAGES, extra_body=body)
        return answer.choices[0].message.model_extra["images"][0]["image_url"]["url"]

    wide, square, wide_again = (ask(aspect_ratio=ratio) for ratio in ("16:9", "1:1", "16:9"))
    assert wide == wide_again != square
    assert len(gateway.bill.charges) == 2


def test_a_proxy_stores_no_image_response(start_proxy, client, gateway, png):
    urls = {client.images.generate(model="image", prompt="a red kite").data[0].url for _ in range(2)}
    urls |= {client.images.edit(model="image", prompt="it", image=("a.png", png)).data[0].url for _ in range(2)}
    assert len(urls) == len(gateway.bill.charges) == 4
