"""Pictures under every name and in every form in which clients hand them over: they arrive, or the call is refused.

No call may be charged without the pictures that its caller handed over.
"""

from __future__ import annotations

import base64
import io
import json
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from apimaster import GeneratedImage

NAMES = [
    *("image", "images", "image_url", "image_urls", "input_image", "input_images", "reference_image"),
    *("reference_images", "references", "imageUrls", "init_image"),
]
URL = "https://example.com/a.png"


@pytest.fixture
def received(gateway):
    """A function that returns how many references the last purchase had, or None if nothing was bought."""

    def count() -> int | None:
        assert len(gateway.bill.charges) == len([each for each in gateway.requests if each.route == "submit"])
        submits = gateway.requests_to("submit")
        return len(submits[-1].references) if submits else None

    return count


def upload(png: bytes) -> Any:
    """A file as FastAPI hands it over."""
    from starlette.datastructures import UploadFile

    return UploadFile(io.BytesIO(png), filename="a.png")


def forms_of(png: bytes, uri: str) -> dict[str, tuple[Any, int]]:
    """What callers in this process hand over, and how many pictures it is."""
    encoded = uri.partition(",")[2]
    return {
        "a URL": (URL, 1),
        "a data URI": (uri, 1),
        "base64": (encoded, 1),
        "url-safe base64": (base64.urlsafe_b64encode(png).decode().rstrip("="), 1),
        "bytes": (png, 1),
        "an open file": (io.BytesIO(png), 1),
        "an upload": (("a.png", png), 1),
        "an upload with its type": (("a.png", io.BytesIO(png), "image/png"), 1),
        "a list": ([uri, png], 2),
        "a tuple of files": ((io.BytesIO(png), io.BytesIO(png)), 2),
        "a tuple of bytes": ((png, png), 2),
        "a tuple of URLs": ((URL, uri), 2),
        "a tuple of a URL and a file": ((URL, io.BytesIO(png)), 2),
        "a list of tuples": ([("a.png", png), ("b.png", io.BytesIO(png))], 2),
        "a JSON list": (json.dumps([uri, URL]), 2),
        "an object": ({"image_url": uri}, 1),
        "an object in an object": ({"type": "image_url", "image_url": {"url": URL}}, 1),
        "a list of objects": ([{"image_url": uri}, {"url": URL}, {"b64_json": encoded}], 3),
        "Anthropic's": ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded}}, 1),
        "a FastAPI upload": (upload(png), 1),
        "a PIL image": (Image.open(io.BytesIO(png)), 1),
    }


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(out, "PNG")
    return out.getvalue()


FORMS = list(forms_of(picture(), "data:image/png;base64,AAAA"))
IN_PROCESS = ["sdk", "sdk async", "router async"]


@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_arrives(form, action, through, png, data_uri, received):
    value, expected = forms_of(png, data_uri)[form]
    through("sdk", action)(prompt="x", image=value)
    assert received() == expected


@pytest.mark.parametrize("door", IN_PROCESS)
@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_arrives(name, action, door, through, data_uri, received):
    missing = {"image": None} if action == "edit" else {}  # LiteLLM wants this argument of an edit
    through(door, action)(prompt="x", **{**missing, name: [data_uri, URL]})
    assert received() == 2


def test_pictures_under_several_names_are_all_sent(account, gateway, png, data_uri, received):
    litellm.image_edit(image=png, image_urls=[URL], images=[data_uri], prompt="x", **account)
    assert received() == 3
    assert gateway.requests_to("submit")[-1].references[0].kind != "url", "those of image come first"


@pytest.mark.parametrize("door", IN_PROCESS)
@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"image[]": URL}, 2),
        ({"image[]": [URL, URL]}, 3),
        ({"image[]": None}, 1),
        ({"image[]": {"url": URL}}, 2),
        ({"image[0]": URL}, 2),
        ({"images[]": URL}, 2),
        ({"images": [URL], "image[]": URL}, 3),
    ],
    ids=str,
)
def test_pictures_under_a_name_with_brackets_are_sent_too(more, expected, action, door, through, png, received):
    through(door, action)(prompt="x", image=png, **more)
    assert received() == expected


def test_uploads_under_a_name_with_brackets_are_sent_too(account, gateway, png, received):
    for value, expected in ((png, 2), (("a.png", png), 2), ((io.BytesIO(png), io.BytesIO(png)), 3)):
        litellm.image_edit(prompt="x", image=[png], **{"image[]": value}, **account)
        assert received() == expected
        gateway.reset()


@pytest.mark.parametrize("door", IN_PROCESS)
@pytest.mark.parametrize("action", ["generation", "edit"])
@pytest.mark.parametrize("name", ["image", "images"])
def test_a_generator_of_pictures_is_read_once(name, action, door, through, png, received):
    missing = {"image": None} if action == "edit" else {}
    through(door, action)(prompt="x", size="1:1", **{**missing, name: (each for each in [png, URL])})
    assert received() == 2


def test_the_pictures_of_a_call_take_the_place_of_a_deployments(deploy, gateway, data_uri, received):
    router = litellm.Router(model_list=[deploy(image_urls=[URL, URL])], num_retries=0)
    router.image_generation(model="image", prompt="x")
    assert received() == 2
    router.image_generation(model="image", prompt="x", images=[data_uri])
    assert received() == 1


def test_a_picture_of_the_cores_client_arrives(account, gateway, png, received, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png)
    litellm.image_edit(image=[GeneratedImage(path=path), GeneratedImage(url=URL)], prompt="x", **account)
    assert received() == 2


def test_a_path_is_read_only_under_the_name_image(account, gateway, png, received, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png)
    litellm.image_edit(image=[str(path), Path(path)], prompt="x", **account)
    assert received() == 2
    with pytest.raises(litellm.BadRequestError, match="not accepted as a reference image"):
        litellm.image_generation(images=[str(path)], prompt="x", **account)
    assert len(gateway.bill.charges) == 1


NO_PICTURE: list[Any] = [[], None, [None], "", "  ", (), [""], ["", None], b"", {}, [[]]]


OF_GOOGLE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


@pytest.mark.parametrize("value", [OF_GOOGLE, [OF_GOOGLE], {"file_data": {"file_uri": OF_GOOGLE}}], ids=repr)
def test_a_file_that_only_google_can_fetch_is_refused_by_name(value, account, gateway):
    with pytest.raises(litellm.BadRequestError, match=r"files/abc.*only its provider|only its provider.*files/abc"):
        litellm.image_edit(prompt="x", image=value, **account)
    assert not gateway.requests


@pytest.mark.parametrize("door", IN_PROCESS)
@pytest.mark.parametrize("value", NO_PICTURE, ids=repr)
def test_an_edit_without_a_picture_is_refused(value, door, through, gateway):
    with pytest.raises(litellm.BadRequestError, match="Nothing was charged"):
        through(door, "edit")(prompt="x", image=value)
    assert not gateway.requests


def test_an_edit_needs_a_picture_and_says_so(account, gateway):
    with pytest.raises(litellm.BadRequestError, match=r"an edit needs a picture.*image_generation"):
        litellm.image_edit(prompt="x", image=None, **account)
    assert not gateway.requests


@pytest.mark.parametrize(
    "value",
    [[None], [""], [URL, None], b"", {}, {"a": 1}, [[]], {"file_id": "file-1"}, 5, "gs://a/b.png", "a.png", OF_GOOGLE],
    ids=repr,
)
@pytest.mark.parametrize("name", ["image_urls", "images"])
def test_a_picture_that_is_not_there_or_cannot_be_fetched_is_refused(name, value, account, gateway):
    with pytest.raises(litellm.BadRequestError, match="Nothing was charged"):
        litellm.image_generation(prompt="x", **{name: value}, **account)
    assert not gateway.requests


@pytest.mark.parametrize("value", [None, "", [], ()], ids=repr)
def test_a_generation_may_say_that_it_has_none(value, account, gateway, received):
    litellm.image_generation(prompt="x", image=value, **account)
    assert received() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pic", "data:image/png;base64,AAAA"),
        ("attachments", [URL]),
        ("attachments", ["https://example.com/a.JPG?x=1"]),
        ("photo_link", "https://example.com/a"),
        ("inputs", [{"type": "image_url", "image_url": {"url": URL}}]),
        ("inputs", {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}),
        ("blob", b"bytes"),
        ("upload", io.BytesIO(b"bytes")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_picture_under_an_unknown_name_is_refused_by_name(name, value, account, gateway):
    with pytest.raises(litellm.BadRequestError, match=f"{name}: a picture is not accepted under this name"):
        litellm.image_generation(prompt="x", **{name: value}, **account)
    assert not gateway.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [("style_preset", "woodcut"), ("callback_url", "https://example.com/done"), ("images_per_row", 3)],
)
def test_what_is_no_picture_is_passed_on(name, value, account, gateway):
    litellm.image_generation(prompt="x", **{name: value}, **account)
    assert gateway.requests_to("submit")[-1].body[name] == value


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8) | st.just(URL)
KEYS = st.sampled_from(["url", "type", "data", "image_url", "source", "file_id"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=4
)
FIELDS = st.sampled_from([*NAMES, "image[0]", "image[1]", "images[0][url]", "image[]", "size", "n", "x", "stream"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(arguments=st.dictionaries(FIELDS, VALUES, max_size=3))
def test_whatever_is_handed_over_is_sent_or_refused(arguments, account, gateway):
    gateway.dialect = "submit_as_image"
    gateway.reset()
    refusal = ""
    try:
        litellm.image_generation(prompt="x", **arguments, **account)
    except litellm.BadRequestError as error:
        refusal = str(error)
    if refusal:
        assert not gateway.bill.charges
        assert "Nothing was charged" in refusal
    elif any(URL in str(value) for name, value in arguments.items() if name.partition("[")[0] in NAMES):
        assert gateway.requests_to("submit")[-1].references


# --- a client of the proxy -------------------------------------------------------------------------------------------


def post(proxy: Any, path: str, **request: Any) -> httpx.Response:
    headers = {"Authorization": "Bearer sk-gateway"}
    return httpx.post(f"{proxy.url}{path}", headers=headers, timeout=60, **request)


# Older proxies want a file in the field ``image``, and refuse the request without one themselves.
WANTS_A_FILE = tuple(map(int, version("litellm").split(".")[:2])) < (1, 100)


def expect(response: httpx.Response, expected: int | None, received: Any, *, has_file: bool) -> None:
    """So many references were bought, or the request was refused: None."""
    if WANTS_A_FILE and not has_file:
        assert (response.status_code, received()) == (422, None), response.text
        return
    assert (response.status_code, received()) == ((200, expected) if expected else (400, None)), response.text
    assert expected or "Nothing was charged" in response.text


def body() -> dict[str, str]:
    return {"model": "nano-banana-1", "prompt": f"x {uuid.uuid4()}"}


GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


@pytest.mark.parametrize("name", NAMES)
def test_json_to_the_proxy(name, proxy, gateway, data_uri, received):
    for value in (data_uri, [data_uri]):
        expect(post(proxy, GENERATIONS, json={**body(), name: value}), 1, received, has_file=True)
    gateway.reset()
    expect(post(proxy, EDITS, json={**body(), name: [{"image_url": data_uri}]}), 1, received, has_file=False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["image"], 1),
        (["image", "image"], 2),
        (["image[]", "image[]"], 2),
        (["image[0]", "image[1]"], 2),
        (["image[1]", "image[0]", "image[2]"], 3),
        (["images[0]", "images[1]"], 2),
        (["image", "reference_images[0]"], 2),
        # Of these, the proxy keeps one. So nobody can tell whether there were more.
        (["images"], None),
        (["images", "images"], None),
        (["images[]", "images[]"], None),
        (["image_url"], None),
        (["image[a]"], None),
        (["file"], None),
        (["whatever"], None),
        (["image", "whatever"], None),
        ([], None),
    ],
    ids=str,
)
def test_forms_to_the_proxy(fields, expected, proxy, gateway, png, received):
    files = [(name, (f"{number}.png", png, "image/png")) for number, name in enumerate(fields)]
    response = post(proxy, EDITS, data=body(), files=files or [("user", (None, "somebody"))])
    expect(response, expected, received, has_file=bool({"image", "image[]"} & set(fields)))
    if not expected and response.status_code == 400:
        named = [name for name in fields if name != "image"]
        assert not named or named[0].partition("[")[0] in response.text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"image_urls": json.dumps([URL, URL])}, 2),
        ({"images[0][image_url]": URL, "images[1][image_url]": URL}, 2),
        ({"image_urls[0]": URL, "image_urls[1]": URL}, 2),
        ({"image_urls": URL}, None),
        ({"image_urls[]": URL}, None),
        ({"image_url": [URL, URL]}, None),
        ({"images[0][image_url]": URL, "images[0]": URL, "images[]": URL}, None),
    ],
    ids=str,
)
def test_texts_of_forms_to_the_proxy(fields, expected, proxy, gateway, received):
    response = post(proxy, EDITS, data=body() | fields, files=[("user", (None, "somebody"))])
    expect(response, expected, received, has_file=False)


def test_empty_fields_of_a_form_ask_for_nothing(proxy, gateway, png, received):
    empty = ("size", "n", "quality", "response_format", "aspect_ratio", "resolution", "style", "user")
    same = {"background": "auto", "moderation": "auto", "output_format": "png", "quality": "auto", "size": "auto"}
    off = {"stream": "false", "partial_images": "0"}
    files = [("image", ("a.png", png, "image/png"))]
    for fields in (dict.fromkeys(empty, ""), same | off):
        assert post(proxy, EDITS, data=body() | fields, files=files).status_code == 200
        assert received() == 1
