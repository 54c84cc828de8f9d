"""What the emulator refuses, as the gateway does; its settings; its pictures; what it costs to import."""

from __future__ import annotations

import base64
import io
import random
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from apimaster.catalog import ASPECT_RATIOS, AUTO, DEFAULT_MODEL, RESOLUTIONS, spec_for
from apimaster.emulator import Dialect, Emulator
from apimaster.emulator.checks import pixels_for
from apimaster.emulator.dialects import WORDS
from apimaster.emulator.fault_rates import parse_faults
from apimaster.emulator.options import Latency, make_options, parse_latency
from apimaster.emulator.records import ReferenceSeen
from apimaster.emulator.render import Drawing, render

SYNC = "/images/generations"
ORDER = {"model": DEFAULT_MODEL, "prompt": "A fox in the snow"}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def picture(kind: str, size: tuple[int, int] = (30, 20)) -> bytes:
    output = io.BytesIO()
    Image.new("RGB", size, "red").save(output, kind)
    return output.getvalue()


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with Emulator(pictures="plain") as emu, httpx.Client(base_url=emu.base_url, verify=NO_TLS) as made:
        made.headers["authorization"] = f"Bearer {emu.api_key}"
        yield made
        assert len(emu.bill) == len([record for record in emu.requests if record.status == 200])


@pytest.mark.parametrize(
    ("fields", "said"),
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
def test_what_is_refused_and_why(client: httpx.Client, fields: dict[str, Any], said: str) -> None:
    body = {name: value for name, value in {**ORDER, **fields}.items() if value is not None}
    for path in (SYNC, SYNC + "/async"):
        reply = client.post(path, json=body)
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert said in error["message"]
        assert reply.headers["x-request-id"] in error["message"]
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"", "application/json"), (b"{", "application/json"), (b"[]", "application/json"), (b"\xff", "application/json"),
     (b"a=b", "application/x-www-form-urlencoded")],
)  # fmt: skip
def test_bodies_that_are_no_json_object(client: httpx.Client, content: bytes, content_type: str) -> None:
    reply = client.post(SYNC, content=content, headers={"content-type": content_type})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_a_model_that_nobody_serves(client: httpx.Client) -> None:
    reply = client.post(SYNC, json={**ORDER, "model": "dall-e-9"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_not_found")
    with Emulator(models=["dall-e-9"], pictures="plain") as emu:
        headers = {"authorization": f"Bearer {emu.api_key}"}
        reply = httpx.post(emu.base_url + SYNC, json={**ORDER, "model": "dall-e-9"}, headers=headers, verify=NO_TLS)
        assert reply.status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"resolution": "2k"},
        {"n": 4},
        {"google_search": False, "google_image_search": True, "client_reference_id": "mine"},
        {"notifications": {"webhook": {"endpoint_id": "we_1", "events": ["task.completed"]}}},
        {"seed": 7, "something": {"else": None}},
        {"image_urls": [uri(picture("PNG")), uri(picture("JPEG"), "image/jpeg"), uri(picture("WEBP"), "image/jpg")]},
        {"image_urls": ["https://example.com/a.png", "HTTP://example.com/b"], "size": "auto"},
        {"model": "gpt-image-2", "size": "1881x836", "quality": "high"},
        {"model": "gpt-image-2", "size": "5:3", "n": 10},
    ],
)
def test_what_is_taken(client: httpx.Client, fields: dict[str, Any]) -> None:
    reply = client.post(SYNC, json={**ORDER, **fields})
    assert reply.status_code == 200, reply.text


def test_a_large_body_of_references(client: httpx.Client) -> None:
    noise = io.BytesIO()
    side = 700
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(noise, "PNG")
    reply = client.post(SYNC, json={**ORDER, "image_urls": [uri(noise.getvalue())] * 3})
    assert reply.status_code == 200


# --- pixels and pictures ----------------------------------------------------------------------------------


def test_pixels() -> None:
    spec, other = spec_for(DEFAULT_MODEL), spec_for("gpt-image-2")
    for ratio in ASPECT_RATIOS:
        for resolution in RESOLUTIONS:
            expected = spec.pixels("1:1" if ratio == AUTO else ratio, resolution)
            assert pixels_for(spec, ratio, resolution) == expected
    wide = [ReferenceSeen("url"), ReferenceSeen("data", width=1900, height=1000)]
    assert pixels_for(spec, AUTO, "1K", wide) == (1376, 768)  # auto follows the first whose pixels are known
    assert pixels_for(other, "1881x836", "1K") == (1881, 836)
    assert pixels_for(other, "2:1", "1K") == (1448, 724)


@pytest.mark.parametrize(("picture_format", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize("ratio", ["1:1", "8:1", "1:8", "21:9"])
def test_pictures_have_their_pixels_and_differ_with_the_seed(ratio: str, picture_format: Any, name: str) -> None:
    width, height = spec_for(DEFAULT_MODEL).pixels(ratio, "0.5K") or (0, 0)
    words = "A very long prompt, with WordsThatGoOnAndOnWithoutABlankInThem " * 9 + "日落 🌅"

    def draw(seed: str, kind: Any = "full") -> bytes:
        thumbs = [picture("PNG"), b"not a picture"]
        return render(Drawing(seed, words, "caption", width, height, thumbs, references=14), kind, picture_format)

    data = draw("a")
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.size) == (name, (width, height))
        colours = image.convert("RGB").resize((32, 32)).getcolors(1024) or ()
        assert len(colours) > 50  # a scene, not a flat colour
        if name == "PNG":
            assert image.info["Description"] == words
    assert draw("a") == data
    assert draw("b") != data
    with Image.open(io.BytesIO(draw("a", "plain"))) as image:
        assert image.size == (width, height)
    with Image.open(io.BytesIO(draw("a", "small"))) as image:
        assert max(image.size) == 64


def test_the_prompt_is_written_on_the_picture() -> None:
    def white_pixels(prompt: str) -> int:
        data = render(Drawing("same", prompt, "", 512, 512), "full", "png")
        with Image.open(io.BytesIO(data)) as image:
            return sum(image.convert("L").crop((0, 256, 512, 512)).histogram()[250:])

    assert white_pixels("A lighthouse at night") > white_pixels("") + 300


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
def test_latencies_that_can_not_be(given: Any) -> None:
    with pytest.raises(ValueError, match="latency"):
        parse_latency(given)


def test_drawn_latencies() -> None:
    dice = random.Random(1)
    assert all(2 <= parse_latency("2-6").draw(dice) <= 6 for _ in range(100))
    scattered = sorted(parse_latency("2~0.3").draw(dice) for _ in range(2001))
    assert 1.9 < scattered[1000] < 2.1
    assert scattered[0] < 1.2
    assert scattered[-1] > 3.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "'0.0.0.0' is not this machine"),
        ({"host": "example.com"}, "is not this machine"),
        ({"port": 70000}, "port 70000"),
        ({"dialect": "klingon"}, "'klingon' is not known; accepted, joined by '\\+': tracked, legacy"),
        ({"faults": "klingon=0.1"}, "'klingon' is not known"),
        ({"faults": "hang=lots"}, "hang='lots' is no probability"),
        ({"faults": {"hang": 1.5}}, "hang=1.5 is no probability"),
        ({"faults": "hang=0.6,redirect=0.6"}, "probability 1.2 together"),
        ({"pictures": "nice"}, "full, plain, small"),
        ({"picture_format": "gif"}, "png, jpeg, webp"),
        ({"url_lifetime": 0}, "url_lifetime 0"),
        ({"history": 0}, "history 0"),
        ({"api_keys": ["a b"]}, "api_keys"),
        ({"api_keys": ""}, "api_keys"),
        ({"balance": "lots"}, "balance 'lots'"),
        ({"balance": -1}, "balance -1"),
        ({"balance": "Infinity"}, "balance 'Infinity'"),
    ],
)
def test_settings_that_can_not_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_options(**settings)


def test_a_setting_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="colour"):
        Emulator(colour="red")  # type: ignore[call-arg]


def test_dialects_and_chances_as_they_are_written() -> None:
    assert Dialect.parse("legacy + url_string, upper_case") == Dialect(polls="legacy", url_list=False, upper_case=True)
    assert str(Dialect()) == "tracked"
    for word in WORDS:
        assert Dialect.parse(str(Dialect.parse(word))) == Dialect.parse(word)
    assert str(Dialect.parse("upper_case+legacy")) == "legacy+upper_case"
    assert parse_faults(" hang = 0.5 ,, task_failed") == {"hang": 0.5, "task_failed": 1.0}
    assert parse_faults(None) == {}


# --- what it costs ----------------------------------------------------------------------------------------


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_plugin_and_the_package_load_nothing_until_asked() -> None:
    heavy = "('starlette', 'uvicorn', 'PIL', 'apimaster.emulator.emulator')"
    code = f"import sys, apimaster.emulator.pytest_plugin; print([m for m in {heavy} if m in sys.modules])"
    assert run(code) == "[]\n"


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    from apimaster.emulator import Emulator\n"
        "except ImportError as error:\n    print(error)\n"
    )
    assert "pip install 'apimaster[emulator]'" in run(code)
