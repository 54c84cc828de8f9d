"""Edits: at least one reference image, and a mask for the models that take one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from doors import DOORS, Door
from PIL import Image

from apimaster import APIMaster, ImageRequest, ReferenceImageError
from apimaster._references.checked import CheckedReference, check_references
from apimaster._wire.messages import generation_call
from apimaster.catalog import KNOWN_MODELS, spec_for
from apimaster.emulator import Emulator
from apimaster.emulator.picture import MASK_RED
from apimaster.errors import APIMasterError, BadRequestError
from apimaster.ledger.digest import request_digest, stored_request
from apimaster.request import read_stored

pytestmark = pytest.mark.usefixtures("without_pauses")

MASKED = "gpt-image-2"
URL = "https://example.com/a.png"
MASK_URL = "https://example.com/mask.png"
SIZE = (64, 48)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(size: tuple[int, int] = SIZE, kind: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", size, (20, 90, 160)), kind)


def mask_image(size: tuple[int, int] = SIZE) -> Image.Image:
    """Opaque, but for its right half, which is to be changed."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (size[0] // 2, 0, size[0], size[1]))
    return image


def mask(size: tuple[int, int] = SIZE) -> bytes:
    return encoded(mask_image(size))


def black_and_white(kind: str, mode: str = "L") -> bytes:
    image = Image.new("L", SIZE, 0)
    image.paste(255, (SIZE[0] // 2, 0, *SIZE))
    return encoded(image.convert(mode), kind)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def purchases(server: Emulator) -> list[Any]:
    return [request for request in server.requests if request.route in ("sync", "submit")]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, server: Emulator) -> Door:
    server.reset()
    return Door(request.param, server)


@pytest.fixture
def client(server: Emulator) -> APIMaster:
    server.reset()
    return APIMaster(server.api_key, base_url=server.base_url)


# --- what is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_an_edit_is_a_generation_with_references(door: Door, server: Emulator, mode: str) -> None:
    result = door("edit", "make the cat blue", references=[photo(), URL], mode=mode, resolution="2K")
    (purchase,) = purchases(server)
    assert purchase.path == f"/v1/images/generations{'' if mode == 'sync' else '/async'}"
    assert [reference.kind for reference in purchase.references] == ["data", "url"]
    assert (purchase.mask, "mask_url" in purchase.body) == (None, False)
    assert result.cost == server.bill.total > 0


def test_an_edit_with_a_mask(door: Door, server: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    file.write_bytes(mask())
    result = door("edit", "a hat", references=photo(), mask=file, model=MASKED, n=2, save_to=tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == len(result.images) == 2
    for purchase in purchases(server):
        assert purchase.mask is not None
        assert (purchase.mask.sha256, purchase.mask.width, purchase.mask.height) == (sha256(mask()), *SIZE)
        assert [reference.sha256 for reference in purchase.references] == [sha256(photo())]
        assert purchase.body["model"] == MASKED
    assert result.request is not None
    assert str(result.request.mask) == str(file)


FORMS: dict[str, Callable[[Path], Any]] = {
    "a path": lambda file: file,
    "the text of a path": str,
    "bytes": lambda file: file.read_bytes(),
    "an open file": lambda file: io.BytesIO(file.read_bytes()),
    "a data URI": lambda file: data_uri(file.read_bytes()),
    "a PIL image": lambda file: mask_image(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["generate", "edit", "submit"])
def test_a_mask_may_have_any_form_of_a_reference(
    client: APIMaster, server: Emulator, tmp_path: Path, method: str, form: str
) -> None:
    file = tmp_path / "mask.png"
    file.write_bytes(mask())
    getattr(client, method)("a hat", references=[photo()], mask=FORMS[form](file), model=MASKED)
    (purchase,) = purchases(server)
    assert purchase.mask is not None
    assert (purchase.mask.kind, purchase.mask.width, purchase.mask.height) == ("data", *SIZE)
    if form != "a PIL image":
        assert purchase.mask.sha256 == sha256(mask())


@pytest.mark.parametrize(
    ("references", "given"),
    [([photo()], MASK_URL), ([URL], MASK_URL), ([URL], mask()), ([URL, photo((9, 9))], mask())],
    ids=["a URL", "all URLs", "a mask of a URL", "the second reference has other pixels"],
)
def test_urls_go_out_as_they_are(client: APIMaster, server: Emulator, references: list[Any], given: Any) -> None:
    client.edit("a hat", references=references, mask=given, model=MASKED)
    (purchase,) = purchases(server)
    assert purchase.mask is not None
    assert (purchase.mask.url == MASK_URL) == (given == MASK_URL)
    assert len(purchase.references) == len(references)


@pytest.mark.parametrize(
    "given",
    [
        black_and_white("PNG"),
        black_and_white("PNG", "1"),
        black_and_white("PNG", "RGB"),
        black_and_white("JPEG"),
        black_and_white("WEBP", "RGB"),
        photo(),
    ],
    ids=["grey", "one bit", "black and white in colour", "JPEG without alpha", "WebP", "the reference itself"],
)
def test_a_mask_of_any_accepted_kind_is_sent_as_it_is(client: APIMaster, server: Emulator, given: bytes) -> None:
    client.edit("a hat", references=[photo()], mask=given, model=MASKED)
    (purchase,) = purchases(server)
    assert purchase.mask is not None
    assert purchase.mask.sha256 == sha256(given)


def test_one_file_may_be_reference_and_mask(client: APIMaster, server: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "cut-out.png"
    file.write_bytes(mask())
    client.edit("a hat", references=[file], mask=file, model=MASKED)
    (purchase,) = purchases(server)
    assert purchase.mask is not None
    assert [purchase.mask.sha256, purchase.references[0].sha256] == [sha256(mask())] * 2


def test_a_photo_that_lies_on_its_side_takes_an_upright_mask(client: APIMaster, server: Emulator) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(Image.new("RGB", SIZE, "green"), "JPEG", exif=exif)
    client.edit("a hat", references=[lying], mask=mask(SIZE[::-1]), model=MASKED)
    assert len(purchases(server)) == 1


def test_a_mask_is_read_once_for_all_images_of_a_call(client: APIMaster, server: Emulator) -> None:
    class Counted(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.reads += bool(found)
            return found

    file = Counted(mask())
    assert len(client.edit("a hat", references=[photo()], mask=file, model=MASKED, n=4).images) == 4
    assert file.reads == 1
    assert [each.mask and each.mask.sha256 for each in purchases(server)] == [sha256(mask())] * 4


def test_a_model_that_the_table_does_not_know_may_take_a_mask(tmp_path: Path) -> None:
    with (
        Emulator(models=["new-model"], pictures="plain") as emu,
        APIMaster(emu.api_key, base_url=emu.base_url) as client,
    ):
        client.edit("a hat", references=[photo()], mask=mask(), model="new-model")
        assert purchases(emu)[0].mask is not None


def test_the_body_holds_the_mask_beside_the_references(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    file.write_bytes(mask())
    request = ImageRequest(prompt="a hat", model=MASKED, references=[URL, photo()], mask=file)
    assert [str(each) for each in request.pictures[::2]] == [URL, str(file)]
    body = generation_call(request, checked(request), submit=True).body
    assert not isinstance(body, (bytes, type(None)))
    raw = b"".join(body)
    assert len(raw) == body.length
    document = json.loads(raw)
    assert document["image_urls"] == [URL, data_uri(photo())]
    assert document["mask_url"] == data_uri(mask())
    of_urls = ImageRequest(prompt="a hat", model=MASKED, references=[URL], mask=MASK_URL)
    body = generation_call(of_urls, checked(of_urls), submit=True).body
    assert isinstance(body, bytes)
    assert json.loads(body)["mask_url"] == MASK_URL


def checked(request: ImageRequest) -> tuple[CheckedReference, ...]:
    return check_references(request.references, max_count=16, max_bytes=1 << 20, model=request.model, mask=request.mask)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_edit_takes_the_route_that_its_model_needs(
    client: APIMaster, server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Literal["sync", "async"]
) -> None:
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": {MASKED: {"edit_route": "edits"}}}))
    monkeypatch.setenv("APIMASTER_CATALOG", str(file))
    client.edit("a hat", references=[photo()], mask=mask(), model=MASKED, mode=mode)
    client.generate("a cat", model=MASKED, mode=mode)
    client.edit("a hat", references=[photo()], mode=mode)
    tail = "" if mode == "sync" else "/async"
    edit, generation = f"/v1/images/edits{tail}", f"/v1/images/generations{tail}"
    assert [each.path for each in purchases(server)] == [edit, generation, generation]
    assert purchases(server)[0].mask is not None
    assert len(server.bill.charges) == 3


# --- how it travels ----------------------------------------------------------------------------------------


def test_a_mask_is_uploaded_like_a_reference(door: Door, server: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    file.write_bytes(mask())
    result = door("edit", "a hat", references=[photo(), URL], mask=file, model=MASKED, n=2, references_by="upload")
    assert len(result.images) == 2
    assert len(server.requests_to("upload")) == 2
    for purchase in purchases(server):
        assert purchase.mask is not None
        assert (purchase.mask.kind, purchase.mask.sha256) == ("upload", sha256(mask()))
        assert [each.kind for each in purchase.references] == ["upload", "url"]
        assert purchase.body["mask_url"].startswith("http")
    assert result.request is not None
    assert str(result.request.mask) == str(file)


def test_one_file_for_both_is_uploaded_once(client: APIMaster, server: Emulator, tmp_path: Path) -> None:
    file = written(tmp_path, mask())
    client.edit("a hat", references=[file], mask=file, model=MASKED, references_by="upload")
    assert len(server.requests_to("upload")) == 1
    (purchase,) = purchases(server)
    assert purchase.body["image_urls"] == [purchase.body["mask_url"]]


def test_a_channel_that_takes_no_data_uris_gets_the_mask_by_upload(door: Door, tmp_path: Path) -> None:
    with Emulator(pictures="plain", channel="no_data_uris") as emu:
        door = Door(door.kind, emu)
        result = door("edit", "a hat", references=[URL], mask=mask(), model=MASKED)
        assert len(result.images) == 1
        refused, taken = purchases(emu)
        assert (refused.status, taken.status) == (400, 200)
        assert (taken.mask.kind, taken.mask.sha256) == ("upload", sha256(mask()))
        assert len(emu.bill.charges) == 1


def test_the_mask_counts_in_the_size_of_a_request(client: APIMaster, server: Emulator) -> None:
    padded = mask() + bytes(1_600_000)  # as base64, it is beyond the limit
    with Emulator(pictures="plain", request_limit=2_000_000) as emu:
        with APIMaster(emu.api_key, base_url=emu.base_url, model=MASKED) as small:
            small.edit("a hat", references=[photo()], mask=padded)
            small.edit("another hat", references=[photo()], mask=padded)
        assert [each.status for each in purchases(emu)] == [413, 200, 200], "the limit is learned"
        assert [each.mask and each.mask.kind for each in purchases(emu)[1:]] == ["upload"] * 2
        assert len(emu.bill.charges) == 2


def test_a_key_stands_for_the_mask_however_it_travels(server: Emulator, tmp_path: Path) -> None:
    server.reset()
    given: dict[str, Any] = {"references": [photo()], "mask": mask(), "model": MASKED, "idempotency_key": "k"}
    with APIMaster(server.api_key, base_url=server.base_url, ledger=tmp_path / "ledger.db") as client:
        client.edit("a hat", **given, references_by="upload")
        assert client.edit("a hat", **given, references_by="inline").replayed
        with pytest.raises(BadRequestError, match="stands for another request"):
            client.edit("a hat", **{**given, "mask": black_and_white("PNG")}, references_by="upload")
    assert len(purchases(server)) == 1


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("references", [(), [], None])
def test_an_edit_needs_a_reference(door: Door, server: Emulator, references: Any) -> None:
    error = door.error("edit", "a hat", references=references)
    assert isinstance(error, ReferenceImageError)
    assert "an edit needs at least one reference image" in error.message
    assert "call generate" in error.advice
    assert error.billed == "no"
    assert not server.requests


def test_an_edit_of_a_request_keeps_its_references_unless_others_are_given(client: APIMaster, server: Emulator) -> None:
    request = ImageRequest(prompt="a hat", references=[URL])
    client.edit(request, references=[photo()])
    client.edit(request, references=request.references)
    assert [each.references[0].kind for each in purchases(server)] == ["data", "url"]
    with pytest.raises(ReferenceImageError, match="references is empty"):
        client.edit(request, references=[])


WITHOUT_MASKS = [model for model in KNOWN_MODELS if not spec_for(model).masks]


@pytest.mark.parametrize("model", WITHOUT_MASKS)
def test_a_model_without_masks_refuses_one_and_names_a_model_that_takes_it(
    client: APIMaster, server: Emulator, model: str
) -> None:
    with pytest.raises(ReferenceImageError) as caught:
        client.edit("a hat", references=[photo()], mask=mask(), model=model)
    message = caught.value.message
    assert "takes no mask" in message
    assert spec_for(model).id in message
    assert "up to 14 reference images" in message
    assert f"a model that takes all of it: {MASKED}" in caught.value.advice
    assert not server.requests


def test_a_mask_without_a_reference_is_refused() -> None:
    for references in ((), None):
        with pytest.raises(ReferenceImageError, match="mask is given without a reference image") as caught:
            ImageRequest(prompt="a hat", model=MASKED, references=references, mask=MASK_URL)
        assert f"Pass the picture to change as a reference image; {MASKED}" in caught.value.advice


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a list": (lambda folder: [mask()], "mask is a list, not one picture"),
    "a tuple": (lambda folder: ("mask.png", mask()), "mask is a tuple, not one picture"),
    "a number": (lambda folder: 7, "mask: a reference can't be made from a int"),
    "an empty text": (lambda folder: "", "mask: a reference is an empty string"),
    "true": (lambda folder: True, "mask: a reference can't be made from a bool"),
    "another scheme": (lambda folder: "s3://bucket/mask.png", "can't fetch from s3://"),
    "a secret in the URL": (lambda folder: "https://me:pass@example.com/m.png", "user name or password"),
    "broken base64": (lambda folder: "data:image/png;base64,a!b", "a data URI holds something that is not base64"),
    "no such file": (lambda folder: folder / "no.png", r"the mask \(.*no\.png\): there is no such file"),
    "a folder": (lambda folder: folder, r"the mask \(.*\): it is a folder|the mask \(.*\) is not a regular file"),
    "an empty file": (lambda folder: written(folder, b""), r"the mask \(.*\) is empty"),
    "empty bytes": (lambda folder: b"", r"the mask \(.*\) is empty"),
    "too large": (lambda folder: mask() + bytes(10 << 20), r"the mask \(.*\) is larger than the 10 MiB"),
    "cut short": (lambda folder: mask()[:-9], r"the mask \(.*\): this PNG picture is cut short"),
    "a GIF": (lambda folder: photo(kind="GIF"), r"the mask \(.*\): this is GIF"),
    "not a picture": (lambda folder: b"mask", r"the mask \(.*\): these bytes are not in a known"),
    "only a digest": (lambda folder: f"sha256:{sha256(mask())}", r"the mask \(.*\) was loaded from JSON"),
    "other pixels": (
        lambda folder: mask((32, 48)),
        r"the mask \(.*\) is 32×48 pixels, and the first reference \(.*\) is 64×48",
    ),
    "turned": (lambda folder: mask(SIZE[::-1]), "is 48×64 pixels"),
}


def written(folder: Path, data: bytes) -> Path:
    file = folder / "mask.png"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("case", REFUSED)
def test_a_mask_that_cant_be_used_is_refused_before_anything_is_sent(
    client: APIMaster, server: Emulator, tmp_path: Path, case: str
) -> None:
    given, pattern = REFUSED[case]
    with pytest.raises(ReferenceImageError, match=pattern) as caught:
        client.edit("a hat", references=[photo()], mask=given(tmp_path), model=MASKED)
    assert caught.value.billed == "no"
    assert not server.requests


def test_extra_body_can_not_hold_a_mask() -> None:
    with pytest.raises(BadRequestError, match="must not hold 'mask_url'") as caught:
        ImageRequest(prompt="a hat", model=MASKED, references=[URL], extra_body={"mask_url": MASK_URL})
    assert "mask=" in caught.value.advice


def test_a_mask_that_changes_after_the_check_stops_the_request(tmp_path: Path) -> None:
    file = written(tmp_path, mask())
    request = ImageRequest(prompt="a hat", model=MASKED, references=[photo()], mask=file)
    body = generation_call(request, checked(request), submit=True).body
    assert not isinstance(body, (bytes, type(None)))
    file.write_bytes(mask((10, 10)))
    with pytest.raises(ReferenceImageError, match=r"\(the mask\) was changed"):
        b"".join(body)


# --- what a key stands for ---------------------------------------------------------------------------------

# Digests of version 1: rows in ledgers have them.
OLD_DIGESTS = {
    "plain": ({}, "88f7d016513149ec8142f5f2fb87dba8e3f5ce22ade50330b26bfca9e4c3560b"),
    "with references": (
        {"references": [URL, "https://example.com/b.png"]},
        "f6d86c1c60bbf8e82eb699ae4f4cf6e33d0d49ba5127e8ccf3c8715704533ca0",
    ),
}


def test_a_key_stands_for_the_mask_too(server: Emulator, tmp_path: Path) -> None:
    server.reset()
    file = written(tmp_path, mask())
    given = {"references": [photo()], "model": MASKED, "idempotency_key": "k"}
    place = tmp_path / "ledger.db"
    with APIMaster(server.api_key, base_url=server.base_url, ledger=place) as client:
        client.edit("a hat", mask=file, **given)
        for same in (mask(), data_uri(mask()), io.BytesIO(mask())):  # its bytes count, however they are given
            assert client.edit("a hat", mask=same, **given).replayed
            assert client.generate("a hat", mask=same, **given).replayed
        others: list[Any] = [None, black_and_white("PNG"), photo(), MASK_URL]
        for other in others:
            with pytest.raises(BadRequestError) as caught:
                client.edit("a hat", mask=other, **given)
            assert caught.value.code == "idempotency_key_reused"
        assert len(purchases(server)) == 1
        client.edit("a hat", mask=file, **{**given, "idempotency_key": "four"}, n=4)
        assert client.edit("a hat", mask=file, **{**given, "idempotency_key": "four"}, n=4).replayed
        assert len(purchases(server)) == 5
        assert client.ledger is not None
        stored = client.ledger.get("k")
        assert stored is not None
        assert str(stored.request.mask) == str(file)


def test_a_key_stands_for_a_mask_that_an_adapter_drops(server: Emulator, tmp_path: Path) -> None:
    """A Router of LiteLLM may choose a model that takes none; what its caller asked for counts all the same."""
    server.reset()
    other = black_and_white("PNG")
    asked, with_another = (
        ImageRequest(prompt="a hat", model=MASKED, references=[photo()], mask=given) for given in (mask(), other)
    )
    with APIMaster(server.api_key, base_url=server.base_url, ledger=tmp_path / "ledger.db") as client:

        def buy(compared: ImageRequest, **given: Any) -> bool:
            adapter = client.with_options(purchase_asked=compared)
            return adapter.generate("a hat", references=[photo()], idempotency_key="k", **given).replayed

        assert not buy(asked)
        assert buy(asked)
        assert buy(asked, mask=mask(), model=MASKED)
        for dropped in ({}, {"mask": other, "model": MASKED}):
            with pytest.raises(BadRequestError, match="stands for another request"):
                buy(with_another, **dropped)
    assert len(purchases(server)) == 1


def test_a_mask_is_no_second_reference_to_a_key() -> None:
    both = ImageRequest(prompt="a hat", model=MASKED, references=[URL, MASK_URL])
    masked = ImageRequest(prompt="a hat", model=MASKED, references=[URL], mask=MASK_URL)
    assert request_digest(both, checked(both)) != request_digest(masked, checked(masked))


@pytest.mark.parametrize("case", OLD_DIGESTS)
def test_a_request_without_a_mask_has_the_digest_that_it_always_had(case: str) -> None:
    fields, digest = OLD_DIGESTS[case]
    request = ImageRequest(prompt="a castle", model="gpt-image-2", resolution="2K", **fields)
    assert request_digest(request, checked(request)) == digest


def test_a_stored_request_has_its_mask_or_says_that_it_had_one() -> None:
    request = ImageRequest(prompt="a hat", model=MASKED, references=[URL], mask=mask())
    again = read_stored(stored_request(request, prompts=True))
    assert (str(again.mask), again.references) == (f"sha256:{sha256(mask())}", request.references)
    hidden = json.loads(stored_request(request, prompts=False))["mask"]
    assert hidden.startswith("sha256:"), "that there is one is kept, since settling depends on it"
    assert sha256(mask()) not in hidden
    assert "mask" not in json.loads(stored_request(ImageRequest(prompt="a hat"), prompts=True))
    assert ImageRequest.model_validate_json(request.model_dump_json()) == request


# --- the emulator ------------------------------------------------------------------------------------------


def reds(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as image:
        return sum(count for count, colour in image.convert("RGB").getcolors(1 << 24) or () if colour == MASK_RED)


def test_the_drawn_picture_shows_the_mask() -> None:
    with Emulator(pictures="full") as emu, APIMaster(emu.api_key, base_url=emu.base_url, model=MASKED) as client:

        def drawn(**fields: Any) -> int:
            return reds(client.read(client.edit("a hat", references=[photo()], **fields).images[0]))

        assert drawn() == 0
        right_half, nothing, all_of_it = (
            drawn(mask=given)
            for given in (mask(), encoded(Image.new("L", SIZE, 0)), encoded(Image.new("RGBA", SIZE, (0, 0, 0, 0))))
        )
        frame = drawn(mask=MASK_URL)
        assert 0 < nothing <= frame < right_half < all_of_it
        assert drawn(mask=black_and_white("JPEG")) > frame
        assert drawn(mask=mask(), references_by="upload") > frame


def test_a_request_for_an_image_shows_the_kind_of_error_of_all_its_faults() -> None:
    with pytest.raises(APIMasterError) as caught:
        ImageRequest(prompt="a hat", model=MASKED, references=[URL], mask=[1], n=0)
    assert "mask is a list" in caught.value.message
    assert "n must be" in caught.value.message
    assert not isinstance(caught.value, ReferenceImageError)
