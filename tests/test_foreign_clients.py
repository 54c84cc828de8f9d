"""Clients that nobody here wrote, driven against the emulator: `openai`, and the `llm-apimaster` plugin of `llm`."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from gateway_http import size_of, without_key

from apimaster.catalog import DEFAULT_MODEL, KNOWN_MODELS
from apimaster.emulator import Emulator


@pytest.fixture
def emu(server: Emulator) -> Emulator:
    server.reset()
    return server


# --- openai -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(server: Emulator) -> Iterator[Any]:
    with openai.OpenAI(api_key=server.api_key, base_url=server.base_url, max_retries=0) as made:
        yield made


def test_openai_generates_by_url(emu: Emulator, client: Any) -> None:
    answer = client.images.generate(
        model=DEFAULT_MODEL, prompt="An orange cat", size="16:9", extra_body={"resolution": "2K", "google_search": True}
    )
    (image,) = answer.data
    assert size_of(without_key.get(image.url).content) == (2752, 1536)
    assert answer.created > 1_700_000_000
    assert emu.bill.total == Decimal("0.05")
    assert emu.requests[0].body["google_search"] is True


@pytest.mark.apimaster_emulator(pictures="full")  # which differ from each other
def test_openai_generates_several_as_base64(apimaster_emulator: Emulator) -> None:
    emu = apimaster_emulator
    with openai.OpenAI(api_key=emu.api_key, base_url=emu.base_url, max_retries=0) as client:
        answer = client.images.generate(
            model=DEFAULT_MODEL, prompt="x", n=2, response_format="b64_json", extra_body={"resolution": "0.5K"}
        )
    first, second = (base64.b64decode(image.b64_json) for image in answer.data)
    assert size_of(first) == size_of(second) == (512, 512)
    assert first != second
    assert emu.bill.total == Decimal("0.075")


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
    emu: Emulator, client: Any, fault: str, error: type[Exception], code: str | None
) -> None:
    emu.script(fault)
    with pytest.raises(error) as caught:
        client.images.generate(model=DEFAULT_MODEL, prompt="x")
    assert getattr(caught.value, "code", None) == code
    if code is not None:
        assert caught.value.request_id == emu.requests[0].id  # type: ignore[attr-defined]


def test_openai_learns_that_chat_is_the_wrong_route(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="Images API"):
        client.chat.completions.create(model=DEFAULT_MODEL, messages=[{"role": "user", "content": "a cat"}])


def test_openai_repeats_a_paid_call_and_the_bill_shows_it(emu: Emulator) -> None:
    """This is why apimaster has a client of its own: openai pays twice for one picture."""
    emu.script("cut_after_acceptance")
    with openai.OpenAI(api_key=emu.api_key, base_url=emu.base_url, max_retries=1) as client:
        assert len(client.images.generate(model=DEFAULT_MODEL, prompt="x").data) == 1
    assert len(emu.bill.standing) == 2


def test_openai_asynchronously(emu: Emulator) -> None:
    async def generate() -> int:
        async with openai.AsyncOpenAI(api_key=emu.api_key, base_url=emu.base_url, max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.images.generate(model=DEFAULT_MODEL, prompt=f"cat {n}") for n in range(8))
            )
            return sum(len(answer.data) for answer in answers)

    assert asyncio.run(generate()) == 8
    assert len(emu.bill.charges) == 8


# --- llm-apimaster ----------------------------------------------------------------------------------------

Run = Callable[..., list[tuple[str, list[int]]]]


@pytest.fixture
def llm(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `llm apimaster …` commands, unchanged; returns how each ended ("ok" or an error) and what it slept.

    The plugin sleeps 12 s before its first poll and 4 s between polls. Here it does not sleep.
    """
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    for name, value in {
        "LLM_USER_PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "APIMASTER_API_KEY": emu.api_key,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    from llm.cli import cli

    def run(*commands: list[str]) -> list[tuple[str, list[int]]]:
        outcomes = []
        for words in commands:
            slept: list[int] = []
            monkeypatch.setattr("llm_apimaster.time", SimpleNamespace(**{**vars(time), "sleep": slept.append}))
            try:
                cli.main(args=["apimaster", *words], standalone_mode=False)
                outcomes.append(("ok", slept))
            except Exception as error:
                outcomes.append((getattr(error, "message", str(error)), slept))
        return outcomes

    return run


def test_the_llm_plugin(emu: Emulator, llm: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emu.dialect, emu.latency = "legacy", "2 polls"
    base = ["--base-url", emu.base_url]
    outcomes = llm(
        ["refresh", *base],
        ["models", "--kind", "image"],
        ["image", "a cat at sunset", "-m", DEFAULT_MODEL, "--size", "16:9", "-o", "cat.png", *base],
        ["image", "a cat", "-m", "gpt-image-2", "--resolution", "2k", "--async", "-o", "two.png", *base],
        ["image", "a cat", "-m", DEFAULT_MODEL, "--size", "5:1", *base],
    )
    printed = capsys.readouterr().out
    assert f"Cached {len(KNOWN_MODELS) + 1} models" in printed
    assert DEFAULT_MODEL in printed
    assert [ending for ending, _ in outcomes[:4]] == ["ok"] * 4
    assert outcomes[3][1] == [12, 4, 4]
    assert "HTTP 400" in outcomes[4][0]
    assert "size must be one of" in outcomes[4][0]
    assert size_of((tmp_path / "cat.png").read_bytes()) == (1376, 768)
    assert size_of((tmp_path / "two.png").read_bytes()) == (2048, 2048)
    assert [entry.model for entry in emu.bill.entries] == [DEFAULT_MODEL, "gpt-image-2"]
    assert emu.complaints == []


def test_the_llm_plugin_survives_some_faults_and_reports_the_others(
    emu: Emulator, llm: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    emu.dialect, emu.latency = "legacy", "1 poll"
    base = ["--base-url", emu.base_url]
    asynchronously = ["image", "a cat", "-m", "gpt-image-2", "--async", "-o", "cat.png", *base]
    emu.script("ok", "gateway_timeout_408")
    emu.script("ok", "ok", "task_failed_object", on="task")  # the job of the second command goes on
    emu.script("poll_cut", "poll_503")
    outcomes = llm(asynchronously, ["image", "a cat", "-o", "no.png", *base], asynchronously)
    assert "cat.png" in capsys.readouterr().out
    assert outcomes[0] == ("ok", [12, 4, 4, 4])
    assert "--async" in outcomes[1][0]
    assert "upstream refused the job" in outcomes[2][0]
    assert emu.pending_faults == 0
