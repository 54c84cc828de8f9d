"""The command against the emulator: what it prints, what it saves, how it ends, and what that costs."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import reserve_port

from apimaster import APIMaster, ImageResult, Task
from apimaster._images.inspect import inspect
from apimaster.cli.app import run
from apimaster.cli.signals import stop_signals
from apimaster.emulator import Emulator

PROMPT = "An orange cat at sunset, watercolor"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test in a folder of its own, with a bare environment; signal handlers as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("APIMASTER_API_KEY", "APIMASTER_KEY", "APIMASTER_BASE_URL", "APIMASTER_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    number = signal.SIGTERM
    before = signal.getsignal(number)
    yield
    signal.signal(number, before)


@pytest.fixture
def emulator(apimaster_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The gateway that the command uses by default."""
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    return apimaster_emulator


class CommandOutput:
    """What one command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def document(self) -> Any:
        """The one JSON object on stdout: one line, and nothing beside it."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str) -> CommandOutput:
        code = run(list(words))
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "\x1b" not in printed.out + printed.err  # not a terminal: no control codes
        return CommandOutput(code, printed.out, printed.err)

    return call


def size_of(path: Path | str) -> tuple[int, int]:
    picture = inspect(Path(path).read_bytes())
    return picture.width, picture.height


def test_one_picture(command: Any, emulator: Emulator) -> None:
    printed = command("generate", PROMPT, "-o", "cat.png")
    assert printed.code == 0
    assert printed.out == "cat.png  1024×1024  PNG  $0.0375\n"
    assert size_of("cat.png") == (1024, 1024)
    assert "queued task_" in printed.err
    assert len(emulator.bill.charges) == 1


def test_every_option_reaches_the_gateway(command: Any, emulator: Emulator) -> None:
    assert command("generate", "a cat", "-o", "cat.png", "-r", "0.5k").code == 0
    printed = command(
        *("generate", PROMPT, "--aspect-ratio", "16x9", "--resolution", "512px", "--ref", "cat.png"),
        *("--ref", "https://example.com/a.png", "--mode", "sync", "--google-search", "--google-image-search"),
        *("--model", "nano-banana-2", "--out", "out/", "--timeout", "60", "--json"),
    )
    assert printed.code == 0, printed.err
    sent = [request for request in emulator.requests if request.method == "POST"][-1]
    body = dict(sent.body)
    references = body.pop("image_urls")
    assert references[0].startswith("data:image/png;base64,")
    assert references[1] == "https://example.com/a.png"
    assert body == {
        "model": "gemini-3.1-flash-image-preview",
        "prompt": PROMPT,
        "size": "16:9",
        "resolution": "0.5K",
        "google_search": True,
        "google_image_search": True,
    }
    assert sent.path.endswith("/images/generations")
    image = printed.document["images"][0]
    assert (image["width"], image["height"]) == size_of(image["path"]) == (688, 384)


def test_a_mask_reaches_the_gateway(command: Any, emulator: Emulator) -> None:
    assert command("generate", "a cat", "-o", "cat.png", "-r", "0.5k").code == 0
    words = ("generate", PROMPT, "--ref", "cat.png", "--mask", "cat.png", "--model", "gpt-image-2")
    assert command(*words, "-o", "hat.png").code == 0
    sent = emulator.requests_to("submit")[-1]
    assert sent.mask is not None
    assert sent.mask.sha256 == sent.references[0].sha256


def test_what_is_not_set_is_not_sent(command: Any, emulator: Emulator) -> None:
    assert command("generate", PROMPT).code == 0
    sent = next(request for request in emulator.requests if request.method == "POST")
    assert sent.body == {"model": "gemini-3.1-flash-image-preview", "prompt": PROMPT}
    assert len(list(Path().glob("task_*.png"))) == 1


def test_several_pictures(command: Any, emulator: Emulator) -> None:
    printed = command("generate", PROMPT, "-n", "3", "-r", "2K", "-a", "1:8", "-o", "cat.png")
    assert printed.code == 0
    assert printed.out.splitlines() == [
        "cat-1.png  768×6144  PNG  $0.05",
        "cat-2.png  768×6144  PNG  $0.05",
        "cat-3.png  768×6144  PNG  $0.05",
        "3 of 3 images, $0.15",
    ]
    assert "image 2 of 3: " in printed.err
    assert len(emulator.bill.charges) == 3


def test_json_is_a_result(command: Any, emulator: Emulator) -> None:
    document = command("generate", PROMPT, "-o", "cat.png", "--json").document
    assert (document["emulated"], document["resume"]) == (False, [])
    assert document["cost"] == "0.0375"
    result = ImageResult.model_validate(document)
    assert result.request is not None
    assert result.request.prompt == PROMPT
    assert size_of(str(result.images[0].path)) == (1024, 1024)
    assert emulator.api_key not in json.dumps(document)


# What goes wrong -> exit code, billed, how many charges stand. Two seconds suffice for what is repeated.
FAULTS = [
    ("bad_request", 2, "no", 0),
    ("moderation", 2, "no", 0),
    ("too_large", 2, "no", 0),
    ("unauthorized", 3, "no", 0),
    ("model_forbidden", 3, "no", 0),
    ("no_balance_402", 4, "no", 0),
    ("no_balance_403", 4, "no", 0),
    ("rate_limited_far", 5, "no", 0),
    ("not_found", 5, "no", 0),
    ("unavailable_503", 6, "no", 0),
    ("generation_failed_502", 6, "no", 0),
    ("task_failed", 6, "no", 0),
    ("task_failed_object", 6, "no", 0),
    ("task_moderated", 2, "no", 0),
    ("gateway_timeout_408", 7, "maybe", 1),
    ("proxy_504_html", 7, "maybe", 1),
    ("proxy_524_empty", 7, "maybe", 1),
    ("cut_after_acceptance", 7, "maybe", 1),
    ("empty_success", 7, "maybe", 1),
    ("task_no_image", 7, "maybe", 1),
    ("task_never_ends", 7, "yes", 1),
]


@pytest.mark.parametrize(("fault", "code", "billed", "charges"), FAULTS)
def test_exit_codes(
    fault: str, code: int, billed: str, charges: int, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(faults={fault: 1.0}) as emulator:
        monkeypatch.setenv("APIMASTER_API_KEY", emulator.api_key)
        words = ["generate", PROMPT, "--base-url", emulator.base_url, "--timeout", "2", "-o", "cat.png"]
        printed = command(*words, "--json")
        assert len(emulator.bill.standing) == charges
    error = printed.document["error"]
    assert (printed.code, error["exit_code"], error["billed"]) == (code, code, billed)
    assert error["message"]
    assert error["advice"]
    assert "client." not in error["advice"], "advice for a shell, not for Python"
    assert not Path("cat.png").exists()
    if error["resume"]:
        assert error["resume"][0].startswith(f"apimaster task {error['task']['id']} --wait -o cat.png")
    assert bool(error["resume"]) == (fault == "task_never_ends")


def test_nothing_listens(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-made-up")
    with reserve_port() as holder:
        url = f"http://127.0.0.1:{holder.getsockname()[1]}/v1"
        printed = command("generate", PROMPT, "--base-url", url, "--timeout", "1")
    assert printed.code == 5
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"Error: Could not reach {url}")
    assert "apimaster doctor" in printed.err


def test_no_key(command: Any) -> None:
    printed = command("generate", PROMPT)
    assert printed.code == 3
    assert "APIMASTER_API_KEY" in printed.err
    assert command("generate", PROMPT, "--json").document["error"]["type"] == "AuthenticationError"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", PROMPT, "-a", "7:5"], "aspect_ratio '7:5' is not accepted"),
        (["generate", PROMPT, "-r", "8K"], "resolution '8K' is not known"),
        (["generate", PROMPT, "-n", "0"], "n must be"),
        (["generate", PROMPT, "-n", "two"], "-n"),
        (["generate", "  "], "prompt is empty"),
        (["generate"], "prompt"),
        (["generate", PROMPT, "--mode", "later"], "--mode"),
        (["generate", PROMPT, "--ref", "missing.png"], "missing.png"),
        (["generate", PROMPT, "--mask", "m.png", "--model", "gpt-image-2"], "mask is given without a reference image"),
        (["generate", PROMPT, "--ref", "https://a.example/a.png", "--mask", "m.png"], "takes no mask"),
        (
            [
                *("generate", PROMPT, "--ref", "https://a.example/a.png"),
                *("--mask", "no-mask.png", "--model", "gpt-image-2"),
            ],
            "the mask (no-mask.png): there is no such file",
        ),
        (["generate", PROMPT, "--colour", "red"], "--colour"),
        (["generate", PROMPT, "--emulator", "--base-url", "http://127.0.0.1:1/v1"], "exclude each other"),
        (["generate", PROMPT, "--base-url", "nowhere"], "base_url"),
        (["task", "task_1", "-o", "x.png"], "-o needs --wait"),
        (["emulator", "--latency", "soon"], "latency 'soon'"),
        (["emulator", "--faults", "rain=1"], "fault 'rain' is not known"),
        (["emulator", "--balance", "much"], "balance 'much'"),
        (["emulator", "--port", "70000"], "port 70000"),
        (["paint"], "paint"),
        (["--colour"], "--colour"),
    ],
)
def test_usage_errors(words: list[str], message: str, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-made-up")
    printed = command(*words)
    assert printed.code == 2
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.startswith("Error: ")
    assert printed.err.count("\n") == 1
    if words[0] in ("generate", "task"):
        error = command(*words, "--json").document["error"]
        assert message in error["message"]
        assert (error["billed"], error["exit_code"]) == ("no", 2)


def test_some_of_several(command: Any, emulator: Emulator) -> None:
    emulator.script("ok", "task_failed", "ok", on="task")
    printed = command("generate", PROMPT, "-n", "3", "-o", "out/")
    assert printed.code == 6
    assert printed.out.splitlines()[-1] == "2 of 3 images, $0.075"
    assert "is missing: " in printed.err
    assert "Nothing was charged." in printed.err
    assert len(list(Path("out").iterdir())) == 2


def test_one_of_several_not_fetched(command: Any, emulator: Emulator) -> None:
    for place in ("download", "output"):
        emulator.script("download_404", on=place)
    printed = command("generate", PROMPT, "-n", "2", "-o", "cat.png")
    assert printed.code == 7
    assert len(list(Path().glob("*.png"))) == 1
    assert "is missing: " in printed.err
    line = re.search(r"^To pick it up: apimaster (.*)$", printed.err, re.MULTILINE)
    assert line is not None
    assert command(*line[1].split()).code == 0
    assert sorted(path.name for path in Path().glob("*.png")) == ["cat-1.png", "cat-2.png"]
    assert len(emulator.bill.charges) == 2


def test_a_picture_of_another_size_is_reported(command: Any, emulator: Emulator) -> None:
    emulator.script("download_wrong_pixels")
    printed = command("generate", PROMPT, "-a", "16:9", "-o", "cat.png")
    assert printed.code == 0
    assert re.search(r"^Note: cat\.png: asked for 16:9 at 1K, .*; delivered \d+×\d+\.$", printed.err, re.MULTILINE)


def test_some_of_several_not_fetched(command: Any, emulator: Emulator) -> None:
    for place in ("download", "output"):
        emulator.script("download_404", on=place, times=2)
    printed = command("generate", PROMPT, "-n", "2", "-o", "out/", "--json")
    assert printed.code == 7
    error = printed.document["error"]
    assert (error["type"], error["billed"]) == ("ResultExpiredError", "yes")
    assert len(error["resume"]) == 2
    for line in error["resume"]:
        assert command(*line.split()[1:]).code == 0
    assert len(list(Path("out").iterdir())) == 2
    assert len(emulator.bill.charges) == 2


def submit(emulator: Emulator, **more: Any) -> Task:
    with APIMaster(emulator.api_key, base_url=emulator.base_url) as client:
        return client.submit(PROMPT, **more)


def test_a_task_is_picked_up(command: Any, emulator: Emulator) -> None:
    task = submit(emulator, resolution="2K")
    printed = command("task", task.id, "--wait", "-o", "island.png")
    assert printed.code == 0
    assert printed.out == "island.png  2048×2048  PNG  $0.05\n"
    document = command("task", task.id, "--wait", "-o", "again/", "--json").document
    assert ImageResult.model_validate(document).images[0].width == 2048
    assert len(emulator.bill.charges) == 1


def test_a_look_at_a_task(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator(latency="manual", dialect="legacy") as emulator:
        monkeypatch.setenv("APIMASTER_BASE_URL", emulator.base_url)
        monkeypatch.setenv("APIMASTER_API_KEY", emulator.api_key)
        good, bad = submit(emulator), submit(emulator)
        printed = command("task", good.id)
        assert printed.code == 0
        assert printed.out.split()[:2] in ([good.id, "queued"], [good.id, "running"])
        emulator.finish(good.id)
        printed = command("task", good.id)
        assert printed.out.splitlines()[0] == f"{good.id}  succeeded"
        assert printed.out.splitlines()[1].startswith("http")
        emulator.fail(bad.id)
        printed = command("task", bad.id)
        assert printed.code == 6
        assert "The charge was refunded." in printed.err
        assert Task.model_validate(command("task", bad.id, "--json").document).status == "failed"


@pytest.mark.parametrize(
    ("model", "use"),
    [("nope", "Use another model"), ("gpt-image-2", "Use another model"), (None, "gemini-nano-banana")],
)
@pytest.mark.apimaster_emulator(models=("midjourney-v8.2",))
def test_a_model_that_is_not_offered(command: Any, emulator: Emulator, model: str | None, use: str) -> None:
    words = ["generate", PROMPT, *(["--model", model] if model else [])]
    printed = command(*words)
    assert printed.code == 2
    assert use in printed.err
    assert "`apimaster models` lists what the gateway offers." in printed.err
    assert "doctor" not in printed.err
    error = command(*words, "--json").document["error"]
    assert (error["code"], error["exit_code"], error["billed"]) == ("model_not_found", 2, "no")
    assert "doctor" not in error["advice"]
    assert not emulator.bill.entries


def test_a_404_of_a_wrong_base_url_stays_unreachable(command: Any, emulator: Emulator) -> None:
    for words in (["generate", PROMPT, "--mode", "sync"], ["task", "task_1"]):
        printed = command(*words, "--base-url", f"{emulator.base_url.removesuffix('/v1')}/v2")
        assert printed.code == 5


def test_an_unknown_task(command: Any, emulator: Emulator) -> None:
    printed = command("task", "task_unknown", "--wait")
    assert printed.code == 2
    assert "Check the id task_unknown" in printed.err
    assert "To pick it up" not in printed.err
    error = command("task", "task_unknown", "--json").document["error"]
    assert (error["type"], error["billed"], error["resume"]) == ("NotFoundError", "no", [])


def test_models(command: Any, emulator: Emulator) -> None:
    printed = command("models")
    assert printed.code == 0
    assert "gemini-3.1-flash-image-preview" in printed.out.splitlines()
    assert command("models", "--json").document["models"] == printed.out.splitlines()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            [],
            [
                "0.5K    1:1      512×512  $0.0375",
                "  1K    1:1    1024×1024  $0.0375",
                "  2K    1:1    2048×2048  $0.05",
                "  4K    1:1    4096×4096  $0.075",
            ],
        ),
        (["-r", "4k", "-n", "10"], ["  4K    1:1    4096×4096  10 images: $0.75"]),
        (["-a", "1920x1080"], ["  2K   16:9    2752×1536  $0.05"]),
        (["-a", "auto", "-r", "2K"], ["  2K   auto  size chosen by the model  $0.05"]),
        (["--model", "gpt-image-2", "-r", "1K"], ["  1K    1:1  size chosen by the model  price unknown"]),
    ],
)
def test_cost(words: list[str], lines: list[str], command: Any) -> None:
    assert command("cost", *words).out.splitlines() == lines


def test_the_cost_of_a_picture_says_which_list_it_is_from(command: Any) -> None:
    words = "list price of 2026-09-22"
    printed = command("generate", PROMPT, "--emulator", "-o", "cat.png")
    assert f"Cost by the {words}" in printed.err
    assert command("generate", PROMPT, "--emulator", "-o", "two.png", "--json").document["price_list"] == words


def test_cost_as_json(command: Any) -> None:
    document = command("cost", "-r", "2K", "-n", "4", "--json").document
    assert document["price_list"] == "list price of 2026-09-22"
    assert document["costs"] == [
        {
            "resolution": "2K",
            "aspect_ratio": "1:1",
            "width": 2048,
            "height": 2048,
            "n": 4,
            "each": "0.05",
            "cost": "0.20",
        }
    ]


def test_the_emulator_in_the_process(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nothing listens there: it must be left out
    monkeypatch.setenv("NO_PROXY", "")
    printed = command("generate", PROMPT, "--emulator", "-o", "cat.png")
    assert printed.code == 0, printed.err
    assert printed.out == "cat.png  1024×1024  PNG  $0.0375\n"
    assert "no money was spent" in printed.err
    assert size_of("cat.png") == (1024, 1024)
    assert command("generate", PROMPT, "--emulator", "-o", "two.png", "--json").document["emulated"] is True


def test_a_platform_without_sigterm(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGTERM")
    assert "SIGTERM" not in [number.name for number in stop_signals()]
    assert command("cost").code == 0


def test_version_and_help(command: Any) -> None:
    assert command("--version").out.startswith("apimaster 0.")
    assert command("--help").out.startswith("Usage: apimaster")
    assert command("generate", "-h").out.startswith("Usage: apimaster generate")
    nothing = command()
    assert nothing.code == 2
    assert "Usage: apimaster" in nothing.out + nothing.err


def test_a_fault_of_the_command_itself(command: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_result: ImageResult) -> list[str]:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr("apimaster.cli.printing.result_rows", broken)
    printed = command("generate", PROMPT, "-o", "cat.png")
    assert printed.code == 1
    assert "a fault of the apimaster command itself: ZeroDivisionError: made up" in printed.err
    monkeypatch.setenv("APIMASTER_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        command("generate", PROMPT, "-o", "cat.png")
