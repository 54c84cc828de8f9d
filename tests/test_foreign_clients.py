"""Clients that nobody here wrote, driven against the emulator: `openai`, and the `llm-apimaster` plugin of `llm`."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from apimaster.catalog import DEFAULT_MODEL, KNOWN_MODELS
from apimaster.emulator import Emulator

openai = pytest.importorskip("openai")

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.width, image.height


# --- openai -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(apimaster_emulator: Emulator) -> Iterator[Any]:
    with openai.OpenAI(api_key=apimaster_emulator.api_key, base_url=apimaster_emulator.base_url, max_retries=0) as made:
        yield made


def test_openai_generates_by_url(apimaster_emulator: Emulator, client: Any) -> None:
    answer = client.images.generate(
        model=DEFAULT_MODEL, prompt="An orange cat", size="16:9", extra_body={"resolution": "2K", "google_search": True}
    )
    (image,) = answer.data
    assert size_of(httpx.get(image.url, verify=NO_TLS).content) == (2752, 1536)
    assert answer.created > 1_700_000_000
    assert apimaster_emulator.bill.total == Decimal("0.05")
    assert apimaster_emulator.requests[0].body["google_search"] is True


def test_openai_generates_several_as_base64(apimaster_emulator: Emulator, client: Any) -> None:
    answer = client.images.generate(
        model=DEFAULT_MODEL, prompt="x", n=2, response_format="b64_json", extra_body={"resolution": "0.5K"}
    )
    first, second = (base64.b64decode(image.b64_json) for image in answer.data)
    assert size_of(first) == size_of(second) == (512, 512)
    assert first != second
    assert apimaster_emulator.bill.total == Decimal("0.075")


def test_openai_lists_models(client: Any) -> None:
    assert {model.id for model in client.models.list()} >= set(KNOWN_MODELS)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("moderation", openai.BadRequestError, "sensitive_words_detected"),
        ("unauthorized", openai.AuthenticationError, "invalid_token"),
        ("no_balance_403", openai.PermissionDeniedError, "insufficient_user_quota"),
        ("unprocessable", openai.UnprocessableEntityError, "unprocessable_entity"),
        ("rate_limited", openai.RateLimitError, "rate_limit_exceeded"),
        ("unavailable_503", openai.InternalServerError, "get_channel_failed"),
        ("proxy_504_html", openai.InternalServerError, None),
        ("cut_after_acceptance", openai.APIConnectionError, None),
    ],
)
def test_openai_understands_the_errors(
    apimaster_emulator: Emulator, client: Any, fault: str, error: type[Exception], code: str | None
) -> None:
    apimaster_emulator.script(fault)
    with pytest.raises(error) as caught:
        client.images.generate(model=DEFAULT_MODEL, prompt="x")
    assert getattr(caught.value, "code", None) == code
    if code is not None:
        assert caught.value.request_id == apimaster_emulator.requests[0].id  # type: ignore[attr-defined]


def test_openai_is_told_that_chat_is_the_wrong_door(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="Images API"):
        client.chat.completions.create(model=DEFAULT_MODEL, messages=[{"role": "user", "content": "a cat"}])


def test_openai_repeats_a_paid_call_and_the_bill_shows_it(apimaster_emulator: Emulator) -> None:
    """Why a client of its own is worth having: this one pays twice for one picture."""
    apimaster_emulator.script("cut_after_acceptance")
    with openai.OpenAI(
        api_key=apimaster_emulator.api_key, base_url=apimaster_emulator.base_url, max_retries=1
    ) as client:
        assert len(client.images.generate(model=DEFAULT_MODEL, prompt="x").data) == 1
    assert len(apimaster_emulator.bill.standing) == 2


def test_openai_asynchronously(apimaster_emulator: Emulator) -> None:
    async def generate() -> int:
        async with openai.AsyncOpenAI(
            api_key=apimaster_emulator.api_key, base_url=apimaster_emulator.base_url, max_retries=0
        ) as client:
            answers = await asyncio.gather(
                *(client.images.generate(model=DEFAULT_MODEL, prompt=f"cat {n}") for n in range(8))
            )
            return sum(len(answer.data) for answer in answers)

    assert asyncio.run(generate()) == 8
    assert len(apimaster_emulator.bill.charges) == 8


# --- llm-apimaster ----------------------------------------------------------------------------------------

# The plugin sleeps 12 s before its first look and 4 s between looks. The driver runs the unchanged command with a
# shorter `time.sleep` and writes down what the plugin asked for.
DRIVER = """
import json, sys, time
slept, sleep = [], time.sleep
time.sleep = lambda seconds: (slept.append(seconds), sleep(min(seconds, 0.02)))
from llm.cli import cli
outcomes = []
for words in json.load(sys.stdin):
    slept.clear()
    try:
        cli.main(args=words, standalone_mode=False)
        outcomes.append(["ok", list(slept)])
    except Exception as error:
        outcomes.append([getattr(error, "message", str(error)), list(slept)])
json.dump(outcomes, sys.stderr)
"""


def llm(emulator: Emulator, home: Path, *commands: list[str]) -> tuple[str, list[list[Any]]]:
    """Run `llm apimaster …` commands, one after the other in one process; what they print, and how they ended."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"LLM_USER_PATH": str(home), "APIMASTER_API_KEY": emulator.api_key, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps([["apimaster", *words] for words in commands]),
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    outcomes: list[list[Any]] = json.loads(done.stderr.splitlines()[-1])
    return done.stdout, outcomes


needs_llm = pytest.mark.skipif(find_spec("llm_apimaster") is None, reason="llm-apimaster is not installed")


@needs_llm
@pytest.mark.apimaster_emulator(dialect="legacy", latency="2 polls")
def test_the_llm_plugin(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    base = ["--base-url", apimaster_emulator.base_url]
    said, outcomes = llm(
        apimaster_emulator,
        tmp_path,
        ["refresh", *base],
        ["models", "--kind", "image"],
        ["image", "a cat at sunset", "-m", DEFAULT_MODEL, "--size", "16:9", "-o", "cat.png", *base],
        ["image", "a cat", "-m", "gpt-image-2", "--resolution", "2k", "--async", "-o", "two.png", *base],
        ["image", "a cat", "-m", DEFAULT_MODEL, "--size", "5:1", *base],
    )
    assert f"Cached {len(KNOWN_MODELS) + 1} models" in said
    assert DEFAULT_MODEL in said
    assert [outcome[0] for outcome in outcomes[:4]] == ["ok"] * 4
    assert outcomes[3][1] == [12, 4, 4]  # as long as it would have waited
    assert "HTTP 400" in outcomes[4][0]
    assert "size must be one of" in outcomes[4][0]
    assert size_of((tmp_path / "cat.png").read_bytes()) == (1376, 768)
    assert size_of((tmp_path / "two.png").read_bytes()) == (2048, 2048)
    assert [entry.model for entry in apimaster_emulator.bill.entries] == [DEFAULT_MODEL, "gpt-image-2"]
    assert apimaster_emulator.complaints == []


@needs_llm
@pytest.mark.apimaster_emulator(dialect="legacy", latency="1 poll")
def test_the_llm_plugin_survives_what_it_can_and_reports_what_it_can_not(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    base = ["--base-url", apimaster_emulator.base_url]
    asynchronously = ["image", "a cat", "-m", "gpt-image-2", "--async", "-o", "cat.png", *base]
    apimaster_emulator.script("ok", "gateway_timeout_408")
    apimaster_emulator.script("ok", "ok", "task_failed_object", on="task")  # the second one's job goes on
    apimaster_emulator.script("poll_cut", "poll_503")
    said, outcomes = llm(
        apimaster_emulator, tmp_path, asynchronously, ["image", "a cat", "-o", "no.png", *base], asynchronously
    )
    assert "cat.png" in said
    assert outcomes[0] == ["ok", [12, 4, 4, 4]]
    assert "--async" in outcomes[1][0]
    assert "upstream refused the job" in outcomes[2][0]
    assert apimaster_emulator.pending_faults == 0
