"""What the emulator refuses, as the gateway does; its settings; its pictures; what importing it loads."""

from __future__ import annotations

import base64
import io
import random
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import httpx
import pytest
from gateway_http import SUBMIT, SYNC, client_of, format_and_size
from PIL import Image

import apimaster
from apimaster import emulator
from apimaster.catalog import ASPECT_RATIOS, AUTO, DEFAULT_MODEL, RESOLUTIONS, spec_for
from apimaster.emulator import Dialect, Emulator, Latency
from apimaster.emulator.dialects import WORDS
from apimaster.emulator.fault_rates import parse_fault_rates
from apimaster.emulator.latency import parse_latency
from apimaster.emulator.options import make_options
from apimaster.emulator.picture import Drawing, DrawingAbandoned, draw_picture
from apimaster.emulator.records import ReceivedReference
from apimaster.emulator.validation import pixels_for

REQUEST = {"model": DEFAULT_MODEL, "prompt": "A fox in the snow"}


def picture(kind: str, size: tuple[int, int] = (30, 20)) -> bytes:
    output = io.BytesIO()
    Image.new("RGB", size, "red").save(output, kind)
    return output.getvalue()


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with Emulator(pictures="plain") as emu, client_of(emu) as made:
        yield made
        assert len(emu.bill) == len([record for record in emu.requests if record.status == 200])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": None}, "model is required"),
        ({"model": 3}, "model must be a string"),
        ({"model": "gpt-5.5"}, "not served by the Images API"),
        ({"prompt": None}, "prompt is required"),
        ({"prompt": "  "}, "prompt is required"),
        ({"prompt": ["x"]}, "prompt must be a string"),
        ({"size": "17:9"}, "size must be one of auto, 1:1"),
        ({"size": "1920x1080"}, "size must be one of"),
        ({"size": 1024}, "size must be a string"),
        ({"resolution": "8K"}, "resolution must be one of 0.5K, 1K, 2K, 4K"),
        ({"n": 0}, "n must be from 1 to 4"),
        ({"n": 5}, "n must be from 1 to 4"),
        ({"n": "2"}, "n must be an integer"),
        ({"n": True}, "n must be an integer"),
        ({"n": 1.5}, "n must be an integer"),
        ({"google_search": "yes"}, "google_search must be a boolean"),
        ({"google_image_search": 1}, "google_image_search must be a boolean"),
        ({"client_reference_id": 7}, "client_reference_id must be a string"),
        ({"response_format": "png"}, "response_format must be url or b64_json"),
        ({"notifications": {"webhook": {}}}, "endpoint_id is required"),
        ({"notifications": {"webhook": {"endpoint_id": "we", "events": "all"}}}, "must be a list"),
        ({"image_urls": "https://example.com/a.png"}, "image_urls must be an array"),
        ({"image_urls": ["https://example.com/a.png"] * 15}, "at most 14"),
        ({"model": "gpt-image-2", "image_urls": ["https://example.com/a.png"] * 17}, "at most 16"),
        ({"image_urls": ["ftp://example.com/a.png"]}, "image_urls[0]: not an http(s) URL"),
        ({"image_urls": ["/etc/passwd"]}, "not an http(s) URL"),
        ({"image_urls": ["https://exa mple.com/"]}, "not an http(s) URL"),
        ({"image_urls": ["https://[broken/"]}, "not an http(s) URL"),
        ({"image_urls": [3]}, "a URL or a data URI is required"),
        ({"image_urls": ["data:image/png,abc"]}, "must be data:image/…;base64"),
        ({"image_urls": [uri(picture("GIF"), "image/gif")]}, "'image/gif' is not supported"),
        ({"image_urls": [uri(picture("GIF"))]}, "could not be decoded"),
        ({"image_urls": [uri(b"")]}, "could not be decoded"),
        ({"image_urls": ["data:image/png;base64,a!b"]}, "base64 data is broken"),
        ({"image_urls": [uri(picture("PNG") + bytes(10 * 1024 * 1024))]}, "at most 10 MB"),
    ],
)
def test_the_emulator_refuses_a_request_and_says_why(client: httpx.Client, fields: dict[str, Any], reason: str) -> None:
    body = {name: value for name, value in {**REQUEST, **fields}.items() if value is not None}
    for path in (SYNC, SUBMIT):
        response = client.post(path, json=body)
        assert response.status_code == 400
        error = response.json()["error"]
        assert reason in error["message"]
        assert response.headers["x-request-id"] in error["message"]
        assert error["type"] == "invalid_request_error"


SUCCESSOR = {**REQUEST, "model": "gemini-nano-banana-2.1"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"resolution": "0.5K"}, "resolution must be one of 1K, 2K, 4K"),
        ({"n": 2}, "n must be from 1 to 1"),
        ({"size": "1000x100"}, "size must be one of 1:1"),
        ({"size": "5:3"}, "size must be one of 1:1"),
        ({"mask_url": "https://example.com/m.png"}, "mask_url is not supported"),
        ({"image_urls": ["https://example.com/a.png"] * 15}, "at most 14"),
    ],
)
def test_the_successor_is_refused_what_the_client_would_never_send(
    client: httpx.Client, fields: dict[str, Any], reason: str
) -> None:
    response = client.post(SYNC, json={**SUCCESSOR, **fields})
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]


@pytest.mark.parametrize("fields", [{}, {"size": "auto"}, {"size": "500x500"}, {"size": "1:1", "n": 1}], ids=str)
def test_the_successor_draws_a_square_and_reports_its_usage(fields: dict[str, Any]) -> None:
    with Emulator(pictures="plain") as emu, client_of(emu) as other:
        reply = other.post(SYNC, json={**SUCCESSOR, **fields}).json()
        assert emu.jobs[0].request.pixels == (1024, 1024)
        usage = reply["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
        assert "usage" not in other.post(SYNC, json=REQUEST).json()


def test_a_model_that_refuses_unknown_fields(client: httpx.Client) -> None:
    request = {**REQUEST, "model": "midjourney-v8.2", "seed": 7}
    response = client.post(SYNC, json=request)
    assert (response.status_code, "seed" in response.text) == (400, True)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"", "application/json"), (b"{", "application/json"), (b"[]", "application/json"), (b"\xff", "application/json"),
     (b"a=b", "application/x-www-form-urlencoded")],
)  # fmt: skip
def test_a_body_has_to_be_a_json_object(client: httpx.Client, content: bytes, content_type: str) -> None:
    response = client.post(SYNC, content=content, headers={"content-type": content_type})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


def test_the_emulator_serves_only_its_models(client: httpx.Client) -> None:
    response = client.post(SYNC, json={**REQUEST, "model": "dall-e-9"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_not_found")
    with Emulator(models=["dall-e-9"], pictures="plain") as emu, client_of(emu) as other:
        assert other.post(SYNC, json={**REQUEST, "model": "dall-e-9"}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"resolution": "2k"},
        {"n": 4},
        {"google_search": False, "google_image_search": True, "client_reference_id": "mine"},
        {"seed": 7, "something": {"else": None}},
        {"image_urls": [uri(picture("PNG")), uri(picture("JPEG"), "image/jpeg"), uri(picture("WEBP"), "image/jpg")]},
        {"image_urls": ["https://example.com/a.png", "HTTP://example.com/b"], "size": "auto"},
        {"model": "gpt-image-2", "size": "1881x836", "quality": "high"},
        {"model": "gpt-image-2", "size": "5:3", "n": 10},
    ],
)
def test_the_emulator_accepts_a_request(client: httpx.Client, fields: dict[str, Any]) -> None:
    response = client.post(SYNC, json={**REQUEST, **fields})
    assert response.status_code == 200, response.text


def test_the_emulator_accepts_a_large_body_of_references(client: httpx.Client) -> None:
    noise = io.BytesIO()
    side = 400
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(
        noise, "PNG", compress_level=0
    )
    response = client.post(SYNC, json={**REQUEST, "image_urls": [uri(noise.getvalue())] * 3})
    assert response.status_code == 200


# --- pixels and pictures ----------------------------------------------------------------------------------


def test_the_size_of_a_picture_follows_from_ratio_and_resolution() -> None:
    spec, other = spec_for(DEFAULT_MODEL), spec_for("gpt-image-2")
    for ratio in ASPECT_RATIOS:
        for resolution in RESOLUTIONS:
            expected = spec.pixels("1:1" if ratio == AUTO else ratio, resolution)
            assert pixels_for(spec, ratio, resolution) == expected
    wide = [ReceivedReference("url"), ReceivedReference("data", width=1900, height=1000)]
    assert pixels_for(spec, AUTO, "1K", wide) == (1376, 768)  # auto follows the first reference whose size is known
    assert pixels_for(other, "1881x836", "1K") == (1881, 836)
    assert pixels_for(other, "2:1", "1K") == (1448, 724)


LONG_PROMPT = "A very long prompt, with WordsThatGoOnAndOnWithoutASpaceInThem " * 9 + "日落 🌅"


@pytest.mark.parametrize(("picture_format", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize("ratio", ["1:1", "8:1", "1:8", "21:9"])
def test_pictures_have_the_exact_size(ratio: str, picture_format: Any, name: str) -> None:
    width, height = spec_for(DEFAULT_MODEL).pixels(ratio, "0.5K") or (0, 0)
    thumbnails = [picture("PNG"), b"not a picture"]
    drawing = Drawing("seed", LONG_PROMPT, "caption", width, height, thumbnails, references=14)
    with Image.open(io.BytesIO(draw_picture(drawing, "full", picture_format))) as image:
        image.load()
        assert (image.format, image.size) == (name, (width, height))
        colours = image.convert("RGB").resize((32, 32)).getcolors(1024) or ()
        assert len(colours) > 50  # a landscape, not a single colour
        if name == "PNG":
            assert image.info["Description"] == LONG_PROMPT
    assert format_and_size(draw_picture(drawing, "plain", picture_format)) == (name, (width, height))
    assert max(format_and_size(draw_picture(drawing, "small", picture_format))[1]) == 64


@pytest.mark.parametrize("kind", ["full", "small"])
@pytest.mark.parametrize("picture_format", ["png", "jpeg", "webp"])
def test_the_same_seed_gives_the_same_picture(kind: Any, picture_format: Any) -> None:
    def draw(seed: str) -> bytes:
        return draw_picture(Drawing(seed, "A fox in the snow", "caption", 256, 128), kind, picture_format)

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")


def test_the_prompt_is_written_on_the_picture() -> None:
    def white_pixels(prompt: str) -> int:
        data = draw_picture(Drawing("same", prompt, "", 512, 512), "full", "png")
        with Image.open(io.BytesIO(data)) as image:
            return sum(image.convert("L").crop((0, 256, 512, 512)).histogram()[250:])

    assert white_pixels("A lighthouse at night") > white_pixels("") + 300


class SetAfter(threading.Event):
    """An event that is set from a certain question on."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.questions = questions

    def is_set(self) -> bool:
        self.questions -= 1
        return self.questions < 0


@pytest.mark.parametrize("step", [0, 1, 2, 5])  # 0 and 1 are the background and the text, then come pieces of the PNG
def test_an_abandoned_drawing_ends_after_the_step_that_is_under_way(step: int) -> None:
    abandoned = SetAfter(step)
    with pytest.raises(DrawingAbandoned):
        draw_picture(Drawing("seed", "A fox in the snow", "", 256, 128), "full", "png", abandoned)
    assert abandoned.questions == -1  # nothing went on afterwards


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (2, Latency(2, 2)),
        ("2", Latency(2, 2)),
        (" 2.5s ", Latency(2.5, 2.5)),
        (".5", Latency(0.5, 0.5)),
        ("2-6", Latency(2, 6)),
        ("2 - 6 s", Latency(2, 6)),
        ((1, 3), Latency(1, 3)),
        ("2~0.3", Latency(2, 2, sigma=0.3)),
        ("3 polls", Latency(polls=3)),
        ("1 poll", Latency(polls=1)),
        ("Manual", Latency(manual=True)),
    ],
)
def test_latencies(given: Any, expected: Latency) -> None:
    assert parse_latency(given) == expected


@pytest.mark.parametrize("given", ["soon", "", "-1", "6-2", -1, (3, 1), float("inf"), float("nan"), "1e3", "2-6-8"])
def test_latencies_that_the_emulator_refuses(given: Any) -> None:
    with pytest.raises(ValueError, match="latency"):
        parse_latency(given)


def test_drawn_latencies() -> None:
    rng = random.Random(1)
    assert all(2 <= parse_latency("2-6").draw(rng) <= 6 for _ in range(100))
    scattered = sorted(parse_latency("2~0.3").draw(rng) for _ in range(2001))
    assert 1.9 < scattered[1000] < 2.1
    assert scattered[0] < 1.2
    assert scattered[-1] > 3.5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"host": "0.0.0.0"}, "'0.0.0.0' is not this machine"),
        ({"host": "example.com"}, "is not this machine"),
        ({"port": 70000}, "port 70000"),
        ({"dialect": "klingon"}, "'klingon' is not known; accepted, joined by '\\+': tracked, legacy"),
        ({"faults": "klingon=0.1"}, "'klingon' is not known"),
        ({"faults": "hang=lots"}, "hang='lots' is not a probability"),
        ({"faults": {"hang": 1.5}}, "hang=1.5 is not a probability"),
        ({"faults": "hang=0.6,redirect=0.6"}, "probability 1.2 together"),
        ({"pictures": "nice"}, "full, plain, small"),
        ({"picture_format": "gif"}, "png, jpeg, webp"),
        ({"url_lifetime": 0}, "url_lifetime 0"),
        ({"history": 0}, "history 0"),
        ({"log_limit": 0}, "log_limit 0"),
        ({"log_delay": -1}, "log_delay -1"),
        ({"log_delay": float("nan")}, "log_delay nan"),
        ({"api_keys": ["a b"]}, "api_keys"),
        ({"api_keys": ""}, "api_keys"),
        ({"balance": "lots"}, "balance 'lots'"),
        ({"balance": -1}, "balance -1"),
        ({"balance": "Infinity"}, "balance 'Infinity'"),
    ],
)
def test_settings_that_the_emulator_refuses(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_options(**settings)


def test_an_unknown_setting() -> None:
    with pytest.raises(TypeError, match="colour"):
        Emulator(colour="red")  # type: ignore[call-arg]


def test_spellings_of_dialects_and_fault_rates() -> None:
    assert Dialect.parse("legacy + url_string, upper_case") == Dialect(polls="legacy", url_list=False, upper_case=True)
    assert str(Dialect()) == "tracked"
    for word in WORDS:
        assert Dialect.parse(str(Dialect.parse(word))) == Dialect.parse(word)
    assert str(Dialect.parse("upper_case+legacy")) == "legacy+upper_case"
    assert parse_fault_rates(" hang = 0.5 ,, task_failed") == {"hang": 0.5, "task_failed": 1.0}
    assert parse_fault_rates(None) == {}


# --- what importing it loads ------------------------------------------------------------------------------

EXTRA = ("starlette", "uvicorn", "PIL")


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator and its extra look as if this process had not imported them."""
    monkeypatch.setattr(apimaster, "emulator", emulator)  # which the import below replaces
    for name in list(sys.modules):
        if name.partition(".")[0] in EXTRA or name.startswith("apimaster.emulator"):
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("nothing_imported")
def test_the_plugin_and_the_package_load_nothing_that_nobody_uses() -> None:
    import_module("apimaster.emulator.pytest_plugin")
    loaded = [name for name in sys.modules if name.partition(".")[0] in EXTRA or name.startswith("apimaster.emulator")]
    assert sorted(loaded) == ["apimaster.emulator", "apimaster.emulator.pytest_plugin"]


@pytest.mark.usefixtures("nothing_imported")
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)  # as if it was not installed
    with pytest.raises(ImportError, match=r"needs starlette.* pip install 'apimaster\[emulator\]'"):
        import_module("apimaster.emulator").Emulator  # noqa: B018  # the import happens here


def test_every_public_name_can_be_imported() -> None:
    for name in emulator.__all__:
        assert getattr(emulator, name) is not None
    assert emulator.Job is emulator.ImageJob  # the old name
