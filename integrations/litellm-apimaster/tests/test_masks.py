"""``image_edit`` with a mask: it arrives where the model takes one, and is refused by name elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from PIL import Image

from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

MASKED = "apimaster/gpt-image-2"
URL = "https://example.com/a.png"
MASK_URL = "https://example.com/mask.png"
SIZE = (32, 24)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


PHOTO = encoded(Image.new("RGB", SIZE, "teal"))
MASK = encoded(Image.new("RGBA", SIZE, (0, 0, 0, 0)))
OTHER_MASK = encoded(Image.new("L", SIZE, 255))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def masked(gateway: Emulator) -> dict[str, Any]:
    """The arguments with which LiteLLM's functions reach a model that takes masks."""
    return {"model": MASKED, "api_key": "sk-first", "api_base": gateway.base_url, "prompt": "a hat"}


def masks(gateway: Emulator) -> list[Any]:
    """What each purchase had for a mask."""
    return [request.mask for request in gateway.requests_to("submit")]


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


FORMS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda folder: MASK,
    "an open file": lambda folder: io.BytesIO(MASK),
    "a file tuple": lambda folder: ("mask.png", MASK),
    "a file tuple with its type": lambda folder: ("mask.png", io.BytesIO(MASK), "image/png"),
    "a list of one": lambda folder: [MASK],
    "a list of one tuple": lambda folder: [("mask.png", MASK)],
    "a path": lambda folder: written(folder),
    "the text of a path": lambda folder: str(written(folder)),
    "a data URI": lambda folder: uri(MASK),
    "base64": lambda folder: base64.b64encode(MASK).decode(),
    "an object as in a conversation": lambda folder: {"type": "image_url", "image_url": {"url": uri(MASK)}},
}


def written(folder: Path) -> Path:
    file = folder / "mask.png"
    file.write_bytes(MASK)
    return file


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_arrives_in_every_form(form: str, masked: dict[str, Any], gateway: Emulator, tmp_path: Path) -> None:
    given = FORMS[form](tmp_path)
    litellm.image_edit(image=PHOTO, mask=given, **masked)
    (found,) = masks(gateway)
    assert (found.sha256, len(gateway.requests_to("submit")[0].references)) == (sha256(MASK), 1)
    assert len(gateway.bill.charges) == 1


@pytest.mark.parametrize("name", ["mask", "mask_url"])
@pytest.mark.parametrize("place", ["argument", "extra_body"])
def test_a_mask_may_be_a_url_under_both_names(name: str, place: str, masked: dict[str, Any], gateway: Emulator) -> None:
    more: dict[str, Any] = {name: MASK_URL}
    litellm.image_edit(image=[URL], **(more if place == "argument" else {"extra_body": more}), **masked)
    litellm.image_generation(image=[URL], **(more if place == "argument" else {"extra_body": more}), **masked)
    assert [each.url for each in masks(gateway)] == [MASK_URL] * 2


def test_a_mask_arrives_asynchronously(masked: dict[str, Any], gateway: Emulator) -> None:
    asyncio.run(litellm.aimage_edit(image=PHOTO, mask=("mask.png", MASK), n=2, **masked))
    assert [each.sha256 for each in masks(gateway)] == [sha256(MASK)] * 2


def router_of(gateway: Emulator, *models: str, **more: Any) -> Router:
    params = [{"model": model, "api_key": "sk-first", "api_base": gateway.base_url, **more} for model in models]
    return Router(model_list=[{"model_name": "image", "litellm_params": each} for each in params], num_retries=2)


def test_all_attempts_of_a_router_have_the_mask(gateway: Emulator) -> None:
    gateway.script("generation_failed_502", "generation_failed_502", on="generate")
    router = router_of(gateway, MASKED)
    asyncio.run(router.aimage_edit(model="image", image=io.BytesIO(PHOTO), mask=io.BytesIO(MASK), prompt="a hat"))
    assert [each.sha256 for each in masks(gateway)] == [sha256(MASK)] * 3
    assert len(gateway.bill.standing) == 1


def test_the_mask_of_a_call_wins_over_that_of_its_deployment(gateway: Emulator) -> None:
    router = router_of(gateway, MASKED, mask_url=MASK_URL)
    for mask in (None, MASK):
        asyncio.run(router.aimage_edit(model="image", image=PHOTO, mask=mask, prompt="a hat"))
    assert [each.kind for each in masks(gateway)] == ["url", "data"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two of them": ({"mask": [MASK, MASK]}, "mask: 2 pictures are given, and a mask is one"),
    "two names": ({"mask": MASK, "mask_url": MASK_URL}, "mask and mask_url: 2 pictures are given"),
    "an empty one": ({"mask": b""}, r"the mask \(.*\) is empty"),
    "an empty entry": ({"mask": [None]}, "mask: picture 1 of 1 is empty"),
    "no picture": ({"mask": b"mask"}, r"the mask \(.*\): these bytes are not in a known"),
    "other pixels": ({"mask": encoded(Image.new("L", (9, 9)))}, "is 9×9 pixels, and the first reference"),
    "a path under the other name": ({"mask_url": "/etc/hostname"}, "'/etc/hostname' is not accepted"),
    "a number": ({"mask": 7}, "mask: a reference can't be made from a int"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mask_that_cant_be_used_is_an_error_and_costs_nothing(
    case: str, masked: dict[str, Any], gateway: Emulator
) -> None:
    given, pattern = REFUSED[case]
    with pytest.raises(litellm.BadRequestError, match=pattern):
        litellm.image_edit(image=PHOTO, **given, **masked)
    assert not gateway.requests_to("submit")


def test_a_mask_without_a_picture_is_refused(masked: dict[str, Any], gateway: Emulator) -> None:
    with pytest.raises(litellm.BadRequestError, match="mask is given without a reference image"):
        litellm.image_generation(mask=MASK, **masked)
    assert not gateway.requests


@pytest.mark.parametrize("name", ["mask", "mask_url"])
def test_another_model_refuses_it_and_names_one_that_takes_it(
    name: str, masked: dict[str, Any], gateway: Emulator
) -> None:
    given = {**masked, "model": "apimaster/nano-banana-2", name: MASK_URL}
    with pytest.raises(litellm.UnsupportedParamsError, match=rf"does not support: {name}.*gpt-image-2 takes a mask"):
        litellm.image_edit(image=PHOTO, **given)
    assert not gateway.requests


@pytest.mark.parametrize("nothing", [None, "", [], ()])
def test_an_empty_mask_asks_for_nothing(nothing: Any, masked: dict[str, Any], gateway: Emulator) -> None:
    for model in (MASKED, "apimaster/nano-banana-2"):
        litellm.image_edit(image=PHOTO, mask=nothing, **{**masked, "model": model})
    assert masks(gateway) == [None, None]


def test_a_mask_may_be_dropped_on_request(masked: dict[str, Any], gateway: Emulator) -> None:
    litellm.image_edit(image=PHOTO, mask=MASK, additional_drop_params=["mask"], **masked)
    litellm.image_edit(image=PHOTO, mask=MASK, drop_params=True, **{**masked, "model": "apimaster/nano-banana-2"})
    litellm.image_edit(image=PHOTO, mask=MASK, drop_params=True, **masked)
    assert [each is None for each in masks(gateway)] == [True, True, False]


def test_a_conversation_has_no_mask(masked: dict[str, Any], gateway: Emulator) -> None:
    content = [{"type": "text", "text": "a hat"}, {"type": "image_url", "image_url": {"url": URL}}]
    account = {name: value for name, value in masked.items() if name != "prompt"}
    with pytest.raises(litellm.UnsupportedParamsError, match="does not support: mask"):
        litellm.completion(messages=[{"role": "user", "content": content}], mask=MASK_URL, **account)
    assert not gateway.requests


@pytest.mark.parametrize("models", [(MASKED,), (MASKED, "apimaster/nano-banana-2")], ids=["one model", "two models"])
def test_an_idempotency_key_stands_for_the_mask(
    models: tuple[str, ...], gateway: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the Router chooses a model for which ``drop_params`` drops it."""
    place = tmp_path / "ledger.db"
    monkeypatch.setenv("APIMASTER_LEDGER", str(place))
    router = router_of(gateway, *models, drop_params=True)

    def edit(mask: Any, key: str = "k") -> None:
        call = router.aimage_edit(model="image", image=PHOTO, mask=mask, prompt="a hat", idempotency_key=key)
        asyncio.run(call)

    for _ in range(6):
        edit(MASK)
    for other in (OTHER_MASK, None, MASK_URL):
        for _ in range(3):
            with pytest.raises(Exception, match="stands for another request"):
                edit(other)
    assert len(gateway.requests_to("submit")) == 1
    edit(None, "another")
    assert len(gateway.requests_to("submit")) == 2
    with Ledger.open(place) as ledger:
        assert len(list(ledger.purchases())) == 2


class Recorder(CustomLogger):
    """Keeps what LiteLLM tells its callbacks of a request."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Any] = []

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.shown.append(kwargs["additional_args"]["complete_input_dict"])


def test_the_log_of_litellm_says_that_there_is_a_mask(
    masked: dict[str, Any], gateway: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(litellm, "callbacks", [recorder])
    litellm.image_edit(image=PHOTO, mask=MASK, **masked)
    (shown,) = recorder.shown
    assert (shown["mask"], shown["references"]) == (True, 1)
    assert sha256(MASK) not in str(shown)


def test_a_client_of_the_proxy_sends_a_mask_in_its_form(proxy: Any, gateway: Emulator) -> None:
    client = proxy.client
    client.images.edit(model="gpt-image", image=("a.png", PHOTO), mask=("mask.png", MASK), prompt="a hat")
    client.images.edit(model="gpt-image", image=[("a.png", PHOTO), ("b.png", PHOTO)], mask=MASK, prompt="two hats")
    assert [each.sha256 for each in masks(gateway)] == [sha256(MASK)] * 2
    assert [len(each.references) for each in gateway.requests_to("submit")] == [1, 2]
    with pytest.raises(Exception, match="gpt-image-2 takes a mask") as caught:
        client.images.edit(model="nano-banana-1", image=("a.png", PHOTO), mask=("mask.png", MASK), prompt="a hat")
    assert getattr(caught.value, "status_code", None) == 400
    assert len(gateway.bill.charges) == 2


def test_a_client_of_the_proxy_names_no_file_of_its_machine(proxy: Any, gateway: Emulator, tmp_path: Path) -> None:
    file = written(tmp_path)
    for name in ("mask", "mask_url"):
        body = {name: str(file), "image_urls": [URL]}
        with pytest.raises(Exception, match=r"not accepted|must be provided as a multipart|\b4\d\d\b"):
            proxy.client.images.generate(model="gpt-image", prompt="a hat", extra_body=body)
    assert not gateway.requests_to("submit")
