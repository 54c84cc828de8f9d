"""References that fit: inside the request, by upload, or refused before anything is sent. Over HTTP to the emulator."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import DOORS, Door
from large_pictures import MEGABYTE, padded_files, padded_png
from PIL import Image

from apimaster import APIMaster, AsyncAPIMaster, ImageRequest
from apimaster._references.checked import check_file
from apimaster._references.uploaded import UploadedPictures
from apimaster._wire.uploads import upload_call
from apimaster.emulator import Emulator
from apimaster.errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    ReferenceImageError,
)

PROMPT = "A boat between two lighthouses"
URL = "https://pictures.example/boat.png"
MODES = ("auto", "sync")
REFUSED_INSIDE = {
    "fault": "reply",
    "status": 400,
    "body": json.dumps({"error": {"message": "image_urls[0]: data URIs are not supported", "code": "invalid_request"}}),
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(pictures="plain", request_limit=100_000) as running:
        yield running


@pytest.fixture
def emu(emulator: Emulator, without_pauses: None) -> Emulator:
    emulator.reset()
    return emulator


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, emu: Emulator) -> Door:
    return Door(request.param, emu)


def purchases(emu: Emulator) -> list[Any]:
    return [record for record in emu.requests if record.route in ("sync", "submit")]


def kinds(record: Any) -> list[str]:
    return [reference.kind for reference in record.references]


def digests(record: Any) -> list[str | None]:
    return [reference.sha256 for reference in record.references]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SMALL = [padded_png(5_000, number) for number in range(3)]


# --- which form -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", DOORS)
def test_fourteen_references_of_ten_megabytes(kind: str, mode: str, tmp_path: Path) -> None:
    files = padded_files(tmp_path)
    with Emulator(pictures="plain") as emu:
        result = Door(kind, emu)("generate", PROMPT, references=files, mode=mode, save_to=tmp_path / "boat.png")
        assert result.images[0].path is not None
        (purchase,) = purchases(emu)
        assert digests(purchase) == [digest(file.read_bytes()) for file in files]
        assert kinds(purchase) == ["upload"] * 14
        assert purchase.body_size < 10_000
        assert len(emu.requests_to("upload")) == 14
        assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("mode", MODES)
def test_what_fits_goes_inside_the_request(door: Door, mode: str) -> None:
    door("generate", PROMPT, references=[SMALL[0], URL], mode=mode)
    (purchase,) = purchases(door.emu)
    assert kinds(purchase) == ["data", "url"]
    assert door.emu.requests_to("upload") == []


def form_size(*references: bytes) -> int:
    """The size of a request with these references inside it, read from one that the emulator got."""
    with Emulator(pictures="plain") as emu, APIMaster(emu.api_key, base_url=emu.base_url) as client:
        client.submit(PROMPT, references=references)
        size: int = purchases(emu)[0].body_size
        return size


@pytest.mark.parametrize(("below", "expected"), [(0, "data"), (1, "upload")])
def test_the_limit_is_that_of_the_whole_request(emu: Emulator, below: int, expected: str) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        client._context.uploads.request_limit = form_size(SMALL[0], SMALL[1]) - below
        client.generate(PROMPT, references=SMALL[:2])
    (purchase,) = purchases(emu)
    assert kinds(purchase) == [expected] * 2


@pytest.mark.parametrize("mode", MODES)
def test_by_upload_every_local_picture_is_uploaded(door: Door, mode: str, tmp_path: Path) -> None:
    file = tmp_path / "my private name.png"
    file.write_bytes(SMALL[1])
    references = [SMALL[0], URL, file, Image.open(file), SMALL[0]]
    door("generate", PROMPT, references=references, mode=mode, references_by="upload")
    (purchase,) = purchases(door.emu)
    assert kinds(purchase) == ["upload", "url", "upload", "upload", "upload"]
    found = digests(purchase)
    assert found[0] == found[4] == digest(SMALL[0])
    assert found[2] == digest(SMALL[1])
    uploads = door.emu.requests_to("upload")
    assert len(uploads) == 3  # a picture that is given twice is uploaded once
    assert len(door.emu.bill.charges) == 1


def test_no_file_name_leaves_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "my private name.png"
    file.write_bytes(SMALL[0])
    body = upload_call(check_file(file, "it", "it", MEGABYTE)).body
    assert body is not None
    sent = b"".join(body)  # type: ignore[arg-type]  # a body can be iterated
    assert len(sent) == body.length  # type: ignore[union-attr]
    assert b"private" not in sent
    assert b'filename="reference.png"' in sent


@pytest.mark.parametrize("references", [None, [], [URL]])
@pytest.mark.parametrize("by", ["auto", "inline", "upload"])
def test_without_local_pictures_nothing_is_uploaded(emu: Emulator, references: Any, by: Any) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by=by) as client:
        client.generate(PROMPT, references=references)
    assert [record.route for record in emu.requests][:1] == ["submit"]


def test_inline_is_refused_before_anything_is_sent(door: Door) -> None:
    large = padded_png(9 * MEGABYTE)
    error = door.error("generate", PROMPT, references=[large] * 3, references_by="inline")
    assert type(error) is ReferenceImageError
    assert (error.billed, error.code) == ("no", "request_too_large")
    assert "36.0 MiB" in error.message
    assert "9.0 MiB, 9.0 MiB, 9.0 MiB" in error.message
    assert "at most 32.0 MiB" in error.message
    assert "references_by" in error.advice
    assert door.emu.requests == []


@pytest.mark.parametrize("where", ["client", "with_options", "call"])
def test_where_the_form_may_be_chosen(door: Door, where: str) -> None:
    if where == "client":
        Door(door.kind, door.emu, references_by="upload")("generate", PROMPT, references=SMALL)
    elif where == "call":
        Door(door.kind, door.emu, references_by="inline")("submit", PROMPT, references=SMALL, references_by="upload")
    elif door.kind == "sync":
        with APIMaster(door.emu.api_key, base_url=door.emu.base_url) as client:
            client.with_options(references_by="upload").generate(PROMPT, references=SMALL)
    else:
        door.run(lambda client: client.with_options(references_by="upload").generate(PROMPT, references=SMALL))
    assert kinds(purchases(door.emu)[0]) == ["upload"] * 3


@pytest.mark.parametrize("wrong", ["Upload", "", "url", 1, True])
def test_other_forms_are_refused(emu: Emulator, wrong: Any) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url) as client:
        for call in (
            lambda: client.generate(PROMPT, references_by=wrong),
            lambda: client.submit(PROMPT, references_by=wrong),
            lambda: client.with_options(references_by=wrong),
            lambda: APIMaster(emu.api_key, base_url=emu.base_url, references_by=wrong),
            lambda: AsyncAPIMaster(emu.api_key, base_url=emu.base_url, references_by=wrong),
        ):
            with pytest.raises(BadRequestError, match="accepted: auto, inline, upload"):
                call()
    assert emu.requests == []


def test_a_gif_is_no_reference_by_upload_either(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "moving.gif"
    Image.new("RGB", (20, 20)).save(file)
    for error in (
        door.error("generate", PROMPT, references=[file], references_by="upload"),
        door.error("upload", file),
    ):
        assert type(error) is ReferenceImageError
        assert "GIF" in error.message
    assert door.emu.requests == []


# --- one upload for many ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_images_of_one_call_share_the_uploads(door: Door, mode: str) -> None:
    result = door("generate", PROMPT, references=SMALL, n=4, references_by="upload", mode=mode)
    assert len(result.images) == 4
    assert len(door.emu.requests_to("upload")) == 3
    for purchase in purchases(door.emu):
        assert digests(purchase) == [digest(each) for each in SMALL]
    assert len(door.emu.bill.charges) == 4


def test_a_client_uploads_a_picture_once(emu: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(SMALL[0])
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
        client.generate(PROMPT, references=[file])
        client.generate(PROMPT, references=[SMALL[0]])
        url = client.with_options(extra_headers={"x-a": "b"}).upload(file)
        same = client.as_async()

        async def more() -> None:
            async with same:
                await same.generate(PROMPT, references=[file])

        asyncio.run(more())
    assert len(emu.requests_to("upload")) == 1
    assert {record.references[0].url for record in purchases(emu)} == {url}


def test_threads_and_event_loops_join_one_upload(emu: Emulator) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
        asynchronous = client.as_async()
        start = threading.Barrier(6)
        results: list[Any] = []

        def blocking() -> None:
            start.wait()
            results.append(client.generate(PROMPT, references=SMALL))

        def awaiting() -> None:
            async def both() -> None:
                results.extend(
                    await asyncio.gather(*(asynchronous.generate(PROMPT, references=SMALL) for _ in range(3)))
                )

            start.wait()
            asyncio.run(both())

        threads = [threading.Thread(target=work) for work in (*[blocking] * 4, *[awaiting] * 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 10
    assert len(emu.requests_to("upload")) == 3
    assert len(emu.bill.charges) == 10


# --- what the gateway refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_413_is_repeated_once_with_uploads(door: Door, mode: str) -> None:
    large = padded_png(80_000)
    door("generate", PROMPT, references=[large, URL], mode=mode)
    first, second = purchases(door.emu)
    assert (first.status, second.status) == (413, 200)
    assert kinds(second) == ["upload", "url"]
    assert len(door.emu.bill.charges) == 1


def test_the_refused_size_lowers_the_limit() -> None:
    large = 1_600_000
    with (
        Emulator(pictures="plain", request_limit=2_000_000) as emu,
        APIMaster(emu.api_key, base_url=emu.base_url) as client,
    ):
        client.generate(PROMPT, references=[padded_png(large)])
        client.generate(PROMPT, references=[padded_png(large, 1)])
        assert [record.status for record in purchases(emu)] == [413, 200, 200]
        client.generate(PROMPT, references=[padded_png(30_000)])
        assert kinds(purchases(emu)[-1]) == ["data"]
        with pytest.raises(ReferenceImageError, match=r"takes at most 2\.0 MiB"):
            client.generate(PROMPT, references=[padded_png(large)], references_by="inline")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["too_large", "proxy_413_html", REFUSED_INSIDE])
def test_the_second_refusal_counts(door: Door, fault: Any, mode: str) -> None:
    door.emu.script(fault, times=None)
    error = door.error("generate", PROMPT, references=SMALL, mode=mode)
    assert (error.status_code, error.billed) == (400 if fault is REFUSED_INSIDE else 413, "no")
    assert [record.status for record in purchases(door.emu)] == [error.status_code] * 2
    assert len(door.emu.bill) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_channel_that_refuses_data_uris(door: Door, mode: str) -> None:
    door.emu.channel = "no_data_uris"  # type: ignore[assignment]
    result = door("generate", PROMPT, references=[URL, SMALL[0]], n=2, mode=mode)
    assert len(result.images) == 2
    assert [record.status for record in purchases(door.emu)].count(400) in (1, 2)  # the second may know by then
    assert len(door.emu.requests_to("upload")) == 1
    assert len(door.emu.bill.charges) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "settings"),
    [
        ("moderation", ContentPolicyError, {"references": SMALL}),
        ("prompt_blocked", ContentPolicyError, {"references": SMALL}),
        ("bad_request", BadRequestError, {"references": SMALL}),
        ("wrong_endpoint", BadRequestError, {"references": SMALL}),
        (REFUSED_INSIDE, BadRequestError, {"references": SMALL, "references_by": "inline"}),
        ("too_large", BadRequestError, {"references": SMALL, "references_by": "inline"}),
        ("bad_request", BadRequestError, {"references": SMALL, "references_by": "upload"}),
        ("too_large", BadRequestError, {"references": SMALL, "references_by": "upload"}),
        ("bad_request", BadRequestError, {"references": [URL]}),
        ("too_large", BadRequestError, {"references": [URL]}),
        ("too_large", BadRequestError, {}),
        ("unprocessable", BadRequestError, {"references": SMALL}),
        ("unauthorized", AuthenticationError, {"references": SMALL}),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_refusals_that_are_not_repeated(
    emu: Emulator, fault: Any, kind: type[APIMasterError], settings: dict[str, Any], mode: str
) -> None:
    emu.script(fault)
    error = Door("sync", emu).error("generate", PROMPT, mode=mode, **settings)
    assert type(error) is kind
    assert error.billed == "no"
    assert [record.status for record in purchases(emu)] == [error.status_code]


@pytest.mark.parametrize("fault", ["too_large", "proxy_413_html", REFUSED_INSIDE])
def test_a_refusal_of_pictures_inside_says_how_to_send_them_otherwise(door: Door, fault: Any) -> None:
    door.emu.script(fault)
    error = door.error("generate", PROMPT, references=SMALL, references_by="inline")
    assert type(error) is BadRequestError
    assert "references_by='auto'" in error.advice
    assert door.emu.requests_to("upload") == []


def test_a_mistake_in_the_request_shows_where_uploads_fail(door: Door) -> None:
    door.emu.script(REFUSED_INSIDE, "upload_503", times=None)
    error = door.error("generate", PROMPT, references=SMALL)
    assert type(error) is BadRequestError
    assert error.status_code == 400


@pytest.mark.parametrize(("fault", "status"), [("upload_404", 413), ("upload_500", 500)])
def test_where_a_request_is_too_large_and_uploads_fail(door: Door, fault: str, status: int) -> None:
    door.emu.script(fault, times=None)
    error = door.error("generate", PROMPT, references=[padded_png(80_000)])
    assert (error.status_code, error.billed) == (status, "no")
    assert len(purchases(door.emu)) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["auto", "upload"])
def test_an_upload_that_the_gateway_has_dropped_is_made_anew(emu: Emulator, mode: Any, by: Any) -> None:
    picture = padded_png(80_000)
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by=by) as client:
        client._context.uploads.request_limit = 100_000
        client.generate(PROMPT, references=[picture])
        emu.gateway.uploads.clear()
        result = client.generate(PROMPT, references=[picture], n=3, mode=mode)
        assert len(result.images) == 3
        assert len(emu.requests_to("upload")) == 2
        assert len(emu.bill.charges) == 4
        emu.script("bad_request", times=None)
        before = len(purchases(emu))
        with pytest.raises(BadRequestError):
            client.generate(PROMPT, references=[picture], mode=mode)
        assert len(purchases(emu)) == before + 2  # it may be gone again, and it is not
        assert len(emu.bill.charges) == 4


# --- uploads that fail -------------------------------------------------------------------------------------

PASSING = (
    *("upload_429", "upload_500", "upload_503", "upload_502_html", "upload_cut", "upload_truncated"),
    *("upload_html_200", "upload_garbage", "upload_no_url"),
)


@pytest.mark.parametrize("fault", PASSING)
def test_an_upload_is_retried_after_a_passing_fault(door: Door, fault: str) -> None:
    door.emu.script(fault, times=2, **({"retry_after": 0} if "429" in fault else {}))
    door("generate", PROMPT, references=SMALL[:1], references_by="upload")
    assert len(door.emu.requests_to("upload")) == 3
    assert len(door.emu.bill.charges) == 1


LASTING: list[tuple[str, type[APIMasterError], int | None]] = [
    ("upload_400", ReferenceImageError, 400),
    ("upload_413", ReferenceImageError, 413),
    ("upload_413_html", ReferenceImageError, 413),
    ("upload_401", AuthenticationError, 401),
    ("upload_404", NotFoundError, 404),
    ("upload_429", RateLimitError, 429),
    ("upload_500", InternalServerError, 500),
    ("upload_502_html", InternalServerError, 502),
    ("upload_cut", APIConnectionError, None),
    ("upload_garbage", InternalServerError, 200),
]


@pytest.mark.parametrize(("fault", "kind", "status"), LASTING)
def test_an_upload_that_fails_says_so_and_buys_nothing(
    door: Door, fault: str, kind: type[APIMasterError], status: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "boat.png"
    file.write_bytes(SMALL[0])
    door.emu.script(fault, times=None, **({"retry_after": 0} if "429" in fault else {}))
    error = door.error("generate", PROMPT, references=[URL, file], references_by="upload")
    assert type(error) is kind
    assert (error.status_code, error.billed, error.task) == (status, "no", None)
    assert error.message.startswith(f"reference 2 ({str(file)[:40]}")
    assert ", PNG) could not be uploaded: " in error.message
    assert ("references_by='inline'" in error.advice) == (fault == "upload_404")
    assert "task" not in error.advice
    assert "Nothing was charged." in str(error)
    assert door.emu.api_key not in str(error)
    assert purchases(door.emu) == []
    assert len(door.emu.requests_to("upload")) == (4 if error.retryable else 1)


def test_one_of_fourteen_fails(door: Door) -> None:
    pictures = [padded_png(3_000, number) for number in range(14)]
    door.emu.script({"fault": "ok", "on": "upload", "times": 5})
    door.emu.script("upload_400")
    error = door.error("generate", PROMPT, references=pictures, references_by="upload")
    assert type(error) is ReferenceImageError
    assert purchases(door.emu) == []
    assert len(door.emu.requests_to("upload")) < 14  # the others are of no use then
    assert len(door.emu.bill) == 0


def test_a_failed_upload_is_not_remembered(emu: Emulator) -> None:
    with APIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
        emu.script("upload_400")
        with pytest.raises(ReferenceImageError):
            client.generate(PROMPT, references=SMALL[:1])
        client.generate(PROMPT, references=SMALL[:1])
    assert [record.status for record in emu.requests_to("upload")] == [400, 200]


def test_an_upload_that_is_too_large_for_the_gateway() -> None:
    with Emulator(pictures="plain", upload_limit=4_000) as emu:
        error = Door("sync", emu).error("generate", PROMPT, references=SMALL[:1], references_by="upload")
        assert type(error) is ReferenceImageError
        assert (error.status_code, error.billed) == (413, "no")


def test_a_limit_that_not_even_the_urls_meet() -> None:
    with Emulator(pictures="plain", request_limit=100) as emu:
        error = Door("sync", emu).error("generate", PROMPT, references=[URL], extra_body={"x": "a" * 200})
        assert (type(error), error.status_code, error.billed) == (BadRequestError, 413, "no")


def test_the_time_of_the_call_holds_for_its_uploads(door: Door) -> None:
    door.emu.script("upload_hang", times=None)
    error = door.error("generate", PROMPT, references=SMALL[:1], references_by="upload", timeout=0.3)
    assert isinstance(error, APIConnectionError)
    assert error.billed == "no"
    assert purchases(door.emu) == []


def test_a_joined_upload_is_waited_for_no_longer_than_the_call(emu: Emulator) -> None:
    emu.script("upload_hang", times=None)

    async def calls() -> list[Any]:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, references_by="upload", max_retries=0) as client:
            return await asyncio.gather(
                client.generate(PROMPT, references=SMALL[:1], timeout=2),
                client.generate(PROMPT, references=SMALL[:1], timeout=0.3),
                return_exceptions=True,
            )

    errors = asyncio.run(calls())
    assert [type(error) for error in errors] == [APIConnectionError] * 2
    assert "another call" in errors[1].message
    assert len(emu.requests_to("upload")) == 1


def test_a_cancelled_upload_leaves_the_picture_to_the_next(emu: Emulator) -> None:
    emu.script("upload_hang")

    async def calls() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
            first = asyncio.ensure_future(client.generate(PROMPT, references=SMALL[:1]))
            while not emu.requests_to("upload"):
                await asyncio.sleep(0.001)
            second = asyncio.ensure_future(client.generate(PROMPT, references=SMALL[:1]))
            await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await second

    asyncio.run(calls())
    assert len(emu.requests_to("upload")) == 2
    assert len(emu.bill.charges) == 1


def test_a_call_that_is_cancelled_while_it_looks_for_uploads_leaves_none_behind(
    emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, entered, go_on = UploadedPictures.begin, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(30)
        return begin(*arguments)

    async def calls() -> None:
        async with AsyncAPIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
            monkeypatch.setattr(UploadedPictures, "begin", slow)
            first = asyncio.ensure_future(client.generate(PROMPT, references=SMALL[:1]))
            await asyncio.to_thread(entered.wait, 30)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            go_on.set()
            monkeypatch.setattr(UploadedPictures, "begin", begin)
            await client.generate(PROMPT, references=SMALL[:1], timeout=20)

    asyncio.run(calls())
    assert len(emu.requests_to("upload")) == 1
    assert len(emu.bill.charges) == 1


def test_an_interrupted_blocking_call_leaves_no_upload_behind(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emu.script("upload_hang", times=None)
    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name != "apimaster" or threading.current_thread() is not threading.main_thread():
            return join(thread, timeout)
        while not emu.requests_to("upload"):
            join(thread, 0.001)
        monkeypatch.setattr(threading.Thread, "join", join)
        raise KeyboardInterrupt

    with APIMaster(emu.api_key, base_url=emu.base_url, references_by="upload") as client:
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.generate(PROMPT, references=SMALL[:1])
        emu.reset()
        client.generate(PROMPT, references=SMALL[:1], timeout=20)
    assert len(emu.requests_to("upload")) == 1
    assert len(emu.bill.charges) == 1


def test_a_file_that_changes_before_its_upload(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(SMALL[0])
    import apimaster._flows.reference_form as form

    before: Callable[..., Any] = form.fingerprint_references

    def and_change(*arguments: Any) -> Any:
        hashed = yield from before(*arguments)
        file.write_bytes(padded_png(6_000))
        return hashed

    monkeypatch.setattr(form, "fingerprint_references", and_change)
    error = Door("sync", emu).error("generate", PROMPT, references=[file], references_by="upload")
    assert type(error) is ReferenceImageError
    assert "was changed" in error.message
    assert purchases(emu) == []
    assert emu.gateway.uploads.all() == []


# --- client.upload -----------------------------------------------------------------------------------------


def test_upload_returns_a_url_that_works_as_a_reference(door: Door) -> None:
    url = door("upload", SMALL[0])
    assert url.startswith(f"{door.emu.url}/uploads/")
    door("generate", PROMPT, references=[url])
    (purchase,) = purchases(door.emu)
    assert digests(purchase) == [digest(SMALL[0])]


def test_a_url_is_returned_as_it_is(door: Door) -> None:
    assert door("upload", URL) == URL
    assert door.emu.requests == []


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"", "empty"),
        (b"no picture", "JPEG, PNG and WebP"),
        ("no-such-file.png", "no such file"),
        (3, "can't be made from a int"),
        (padded_png(10 * MEGABYTE + 1), "larger than the 10 MiB"),
        ("ftp://host/a.png", "can't fetch from ftp"),
    ],
)
def test_what_upload_refuses(emu: Emulator, picture: Any, reason: str) -> None:
    error = Door("sync", emu).error("upload", picture)
    assert type(error) is ReferenceImageError
    assert reason in error.message
    assert emu.requests == []


@pytest.mark.parametrize("timeout", [-1, "soon", float("nan")])
def test_upload_refuses_times_that_are_none(emu: Emulator, timeout: Any) -> None:
    error = Door("sync", emu).error("upload", SMALL[0], timeout=timeout)
    assert type(error) is BadRequestError
    assert emu.requests == []


def test_how_references_go_out_is_no_part_of_the_request() -> None:
    assert not [name for name in ImageRequest.model_fields if "by" in name.split("_")]
