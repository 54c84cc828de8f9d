"""What the command says and how it ends where no gateway is needed: exit codes, paragraphs, resume lines, live line."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path

import pytest

from apimaster import errors
from apimaster.cli import error_output, exit_codes, printing, progress
from apimaster.cli.resume import Resume, Stopped
from apimaster.results import GeneratedImage, ImageFailure, ImageResult, Progress, Task

TASK = Task(id="task_1", model="gemini-3.1-flash-image-preview", status="running")
IMAGE = GeneratedImage(url="https://cdn.test/1.png", task_id="task_1")


def all_errors() -> list[type[errors.APIMasterError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, errors.APIMasterError) and each is not errors.APIMasterError]


EXPECTED = {
    "APIConnectionError": 5,
    "BadRequestError": 2,
    "ContentPolicyError": 2,
    "ReferenceImageError": 2,
    "AuthenticationError": 3,
    "PermissionDeniedError": 3,
    "InsufficientBalanceError": 4,
    "BudgetExceededError": 4,
    "NotFoundError": 5,
    "RateLimitError": 5,
    "InternalServerError": 6,
    "GenerationFailedError": 6,
    "NoImageError": 7,
    "OutcomeUnknownError": 7,
    "TaskTimeoutError": 7,
    "DownloadError": 7,
    "ResultExpiredError": 7,
}


def test_every_error_has_an_exit_code() -> None:
    assert {kind.__name__: exit_codes.exit_code(kind("x")) for kind in all_errors()} == EXPECTED


@pytest.mark.parametrize("kind", all_errors())
@pytest.mark.parametrize("billed", ["maybe", "yes"])
def test_what_may_be_paid_for_ends_with_7_whatever_its_class(kind: type[errors.APIMasterError], billed: str) -> None:
    assert exit_codes.exit_code(kind("x", billed=billed)) == 7


@pytest.mark.parametrize(
    ("billed", "expected"), [((), 0), (("no",), 6), (("no", "no"), 6), (("no", "maybe"), 7), (("yes",), 7)]
)
def test_the_exit_code_of_a_part(billed: tuple[str, ...], expected: int) -> None:
    failures = tuple(
        ImageFailure(index=index, error="E", message="m", billed=each, retryable=False)
        for index, each in enumerate(billed)
    )
    assert exit_codes.exit_code_of(failures) == expected


@pytest.mark.parametrize("kind", all_errors())
def test_a_paragraph_says_what_happened_and_whether_it_was_charged(kind: type[errors.APIMasterError]) -> None:
    said = printing.paragraph(kind("It broke"))
    assert said.startswith("It broke. ")
    assert {
        "no": "Nothing was charged.",
        "maybe": "It may have been charged",
        "yes": "It is paid for",
    }[kind.billed] in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.RateLimitError("Slow down", retry_after=30.0), ["a pause of 30 s", "again is safe"]),
        (errors.AuthenticationError("Bad key"), ["`apimaster doctor`"]),
        (errors.PermissionDeniedError("Not this model"), ["`apimaster models`"]),
        (errors.InsufficientBalanceError("No money"), ["run the same command again"]),
        (errors.InternalServerError("Broken"), ["again is safe"]),
        (errors.DownloadError("Lost", images=(IMAGE,)), ["It is at https://cdn.test/1.png"]),
        (errors.APIConnectionError("No way"), ["`apimaster doctor`", "again is safe"]),
    ],
)
def test_a_paragraph_says_what_to_do(error: errors.APIMasterError, words: list[str]) -> None:
    for word in words:
        assert word in printing.paragraph(error)


def test_a_paragraph_does_not_say_twice_that_nothing_was_charged() -> None:
    assert (
        printing.paragraph(errors.ContentPolicyError("Refused; nothing was charged."))
        == "Refused; nothing was charged."
    )


@pytest.mark.parametrize(
    ("billed", "word"), [("maybe", "again is safe"), ("yes", "again is safe"), ("maybe", "Then run")]
)
def test_nobody_is_told_to_pay_twice(billed: str, word: str) -> None:
    for kind in all_errors():
        assert word not in printing.paragraph(kind("It broke", billed=billed))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "price unknown"),
        ("0", "$0.00"),
        ("0.0375", "$0.0375"),
        ("0.05", "$0.05"),
        ("0.1500", "$0.15"),
        ("0.3750", "$0.375"),
        ("3", "$3.00"),
        ("1E+1", "$10.00"),
        ("1234.5", "$1234.50"),
    ],
)
def test_dollars(amount: str | None, shown: str) -> None:
    assert printing.dollars(None if amount is None else Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("out", "total", "index", "expected"),
    [
        (".", 1, 0, "apimaster task task_1 --wait -o ."),
        ("cat.png", 1, 0, "apimaster task task_1 --wait -o cat.png"),
        ("cat.png", 3, 2, "apimaster task task_1 --wait -o cat-3.png"),
        ("out/", 3, 2, "apimaster task task_1 --wait -o out/"),
        ("out", 3, 2, "apimaster task task_1 --wait -o out"),
        ("my cats/a b.png", 2, 0, "apimaster task task_1 --wait -o 'my cats/a b-1.png'"),
        ("../v1.2/", 2, 0, "apimaster task task_1 --wait -o ../v1.2/"),
        ("s3://bucket/cat.png", 2, 1, "apimaster task task_1 --wait -o s3://bucket/cat-2.png"),
    ],
)
def test_the_line_that_resumes(out: str, total: int, index: int, expected: str) -> None:
    assert Resume(out, total=total).command(TASK, index) == expected


def test_the_line_that_resumes_keeps_model_and_base_url(tmp_path: Path) -> None:
    other = TASK.model_copy(update={"model": "gpt-image-2"})
    line = Resume("a.png", "http://127.0.0.1:1/v1").command(other, 0)
    assert shlex.split(line)[-4:] == ["--model", "gpt-image-2", "--base-url", "http://127.0.0.1:1/v1"]


def test_a_folder_with_a_dot_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures.2026"
    folder.mkdir()
    assert Resume(str(folder), total=2).command(TASK, 1).endswith(f"-o {folder}")


@pytest.mark.parametrize(
    ("task", "offered"),
    [
        (TASK, True),
        (TASK.model_copy(update={"status": "succeeded", "images": (IMAGE,)}), True),
        (TASK.model_copy(update={"status": "succeeded"}), False),
        (TASK.model_copy(update={"status": "failed"}), False),
        (TASK.model_copy(update={"id": ""}), False),
    ],
)
def test_only_what_has_something_to_give_is_offered(task: Task, offered: bool) -> None:
    assert bool(Resume(".").commands([(0, task)])) == offered


def test_what_an_interrupt_says(capsys: pytest.CaptureFixture[str]) -> None:
    stop = Stopped(None, ["apimaster task task_1 --wait -o ."], unsettled=1, saved=["a.png"])
    assert error_output.stopped(stop, as_json=False) == 130
    said = capsys.readouterr()
    assert said.out == ""
    for words in ("Interrupted.", "paid for", "usage log", "Saved before that: a.png", "To pick it up: apimaster task"):
        assert words in said.err


@pytest.mark.parametrize(
    ("stop", "billed"),
    [
        (Stopped(None), "no"),
        (Stopped(None, unsettled=1), "maybe"),
        (Stopped(None, ["line"], unsettled=1), "yes"),
        (Stopped(None, unsettled=1, emulated=True), "no"),
    ],
)
def test_an_interrupt_as_json(stop: Stopped, billed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_output.stopped(stop, as_json=True) == 130
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["type"], error["billed"], error["retryable"]) == ("Interrupted", billed, billed == "no")
    assert error["resume"] == list(stop.resume)


def step(stage: str, index: int = 0, **more: object) -> Progress:
    return Progress.model_validate({"stage": stage, "index": index, **more})


def test_the_live_line_of_one_picture() -> None:
    watch = progress.Watch(1, "$0.0375")
    assert watch.summary() == "starting · 0 s · $0.0375"
    watch.note(step("submitting"))
    assert watch.summary().startswith("submitting · ")
    watch.note(step("running", percent=45.0, task=TASK))
    assert watch.summary().startswith("running 45 % · ")
    watch.note(step("downloading", percent=100.0, task=TASK, image=IMAGE))
    assert watch.summary().startswith("saving · ")


def test_the_live_line_of_several() -> None:
    watch = progress.Watch(4, "price unknown")
    for index, stage in enumerate(["done", "running", "queued"]):
        watch.note(step(stage, index))
    assert watch.summary() == "1 of 4 done, 1 queued, 1 running · 0 s · price unknown"


def test_what_is_known_when_it_is_interrupted() -> None:
    watch = progress.Watch(5, "")
    saved = IMAGE.model_copy(update={"path": Path("a.png")})
    watch.note(step("submitting", 4))
    watch.note(step("done", 0, task=TASK, image=saved))
    watch.note(step("done", 1, image=IMAGE))
    watch.note(step("failed", 2, task=TASK.model_copy(update={"id": "task_2"})))
    watch.note(step("running", 3, task=TASK.model_copy(update={"id": "task_3"})))
    assert [(index, task.id) for index, task in watch.under_way] == [(3, "task_3")]
    assert watch.unsettled == 1
    assert watch.saved == ["a.png"]
    assert watch.numbers == {"task_1": 0, "task_2": 2, "task_3": 3}


def test_plain_lines_come_once_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    watch = progress.Watch(2, "")
    for percent in (10.0, 20.0, 30.0):
        watch.note(step("running", 1, percent=percent, task=TASK))
    watch.note(step("done", 1, task=TASK))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == [
        "image 2 of 2: running task_1",
        "image 2 of 2: done task_1",
    ]


def test_rows_are_aligned_and_summed() -> None:
    images = tuple(
        IMAGE.model_copy(update={"path": name, "width": 1024, "height": 768, "media_type": "image/jpeg"})
        for name in ("a.jpg", "long.jpg")
    )
    result = ImageResult(images=(*images, IMAGE), cost=Decimal("0.1125"), model="m")
    assert printing.rows(result) == [
        "a.jpg                   1024×768  JPEG  $0.0375",
        "long.jpg                1024×768  JPEG  $0.0375",
        "https://cdn.test/1.png                  $0.0375",
        "3 of 3 images, $0.1125",
    ]


def test_the_row_of_one_picture_has_no_sum() -> None:
    assert printing.rows(ImageResult(images=(IMAGE,), cost=None, model="m")) == [
        "https://cdn.test/1.png      price unknown"
    ]
