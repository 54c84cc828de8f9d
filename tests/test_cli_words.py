"""What the command prints and how it ends, without a gateway: exit codes, paragraphs, resume lines, the live line."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path

import pytest

from apimaster import errors
from apimaster.batch.image_list import LineFault, invalid_lines
from apimaster.cli import error_output, exit_codes, printing, progress
from apimaster.cli.resume import CommandStopped, ResumeCommand
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
    "LedgerError": 5,
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


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *(("model_not_found", 2), ("task_not_exist", 2), ("webhook_endpoint_not_found", 2)),
        *(("webhook_event_not_found", 2), ("invalid_url", 5), ("", 5), (None, 5)),
    ],
)
def test_an_unknown_id_is_a_fault_of_the_command_line(code: str | None, expected: int) -> None:
    assert exit_codes.exit_code(errors.NotFoundError("x", status_code=404, code=code)) == expected
    assert exit_codes.exit_code(errors.NotFoundError("x", status_code=404, code=code, billed="maybe")) == 7


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
    assert exit_codes.exit_code_for_failures(failures) == expected


@pytest.mark.parametrize("kind", all_errors())
@pytest.mark.parametrize("resume_with", ["", "apimaster task"])
def test_a_paragraph_says_what_happened_what_it_cost_and_what_to_do(
    kind: type[errors.APIMasterError], resume_with: str
) -> None:
    error = kind("It broke")
    advice = error_output.command_advice(error, resume_with=resume_with)
    paragraph = error_output.error_paragraph(error, resume_with=resume_with)
    assert paragraph == f"It broke. {errors.describe_charge(error.billed)} {advice}"
    assert "client." not in paragraph, "advice for a shell, not for Python"
    assert error_output.error_document(error, 1, resume_with=resume_with)["error"]["advice"] == advice


SAFE = "It is safe to run the same command again"
LOOK_FIRST = "Look at the account's usage log before you ask again"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.RateLimitError("Slow down", retry_after=30.0), [f"{SAFE} in 30 s."]),
        (errors.RateLimitError("Slow down"), [f"{SAFE} later."]),
        (errors.AuthenticationError("Bad key", status_code=401), ["`apimaster doctor`"]),
        (errors.AuthenticationError("No key"), ["into APIMASTER_API_KEY", "`apimaster doctor`"]),
        (errors.PermissionDeniedError("Not this model"), ["`apimaster models`"]),
        (errors.NotFoundError("Nothing there"), ["`apimaster doctor`"]),
        (errors.InsufficientBalanceError("No money"), ["Top up the account, then run the same command again."]),
        (errors.InternalServerError("Broken"), [SAFE]),
        (errors.GenerationFailedError("Broken"), [SAFE, "change the prompt"]),
        (errors.DownloadError("Lost", images=(IMAGE,)), ["It is at https://cdn.test/1.png", "a second charge"]),
        (errors.APIConnectionError("No way"), ["`apimaster doctor`", "it is safe to run the same command again"]),
        (errors.BadRequestError("Odd", advice="Use 2K."), ["Use 2K."]),
        (errors.NoImageError("Empty"), [LOOK_FIRST]),
        (errors.OutcomeUnknownError("Gone"), [LOOK_FIRST]),
        (errors.InternalServerError("Broken", billed="maybe"), [LOOK_FIRST]),
    ],
)
def test_a_paragraph_says_what_to_do(error: errors.APIMasterError, words: list[str]) -> None:
    for word in words:
        assert error_output.error_paragraph(error).count(word) == 1


def test_what_is_paid_for_is_picked_up_with_a_command() -> None:
    error = errors.TaskTimeoutError("The wait ended", task=TASK)
    assert error_output.command_advice(error, resume_with="apimaster task") == (
        "Pick it up with `apimaster task`, which is free: a new request would be a second charge."
    )
    assert error_output.command_advice(error) == "A new request would be a second charge."


def test_faults_of_a_list_keep_their_lines() -> None:
    error = invalid_lines([LineFault(2, "prompt is empty"), LineFault(1, "too large", "Split it.")])
    assert error_output.error_paragraph(error).splitlines() == [
        "2 faults in the list:",
        "  line 1: too large. Split it.",
        "  line 2: prompt is empty",
        "Nothing was charged. Correct these lines.",
    ]
    assert str(error) == error_output.error_paragraph(error)


@pytest.mark.parametrize("billed", ["maybe", "yes"])
@pytest.mark.parametrize("resume_with", ["", "apimaster task"])
def test_the_command_never_advises_to_pay_twice(billed: str, resume_with: str) -> None:
    for kind in all_errors():
        paragraph = error_output.error_paragraph(kind("It broke", billed=billed), resume_with=resume_with).lower()
        for words in ("is safe", "run the same command", "again later", "try again"):
            assert words not in paragraph


def test_one_of_several_that_is_missing() -> None:
    failure = ImageFailure.of(1, errors.OutcomeUnknownError("It broke"))
    assert error_output.failure_paragraph(failure) == f"It broke. It may have been charged. {failure.advice}"
    failure = ImageFailure.of(1, errors.GenerationFailedError("It broke"))
    assert error_output.failure_paragraph(failure) == "It broke. Nothing was charged."


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
        ("1234.5", "$1,234.50"),
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
    assert ResumeCommand(out, total=total).for_task(TASK, index) == expected


def test_the_line_that_resumes_keeps_model_and_base_url(tmp_path: Path) -> None:
    other = TASK.model_copy(update={"model": "gpt-image-2"})
    line = ResumeCommand("a.png", "http://127.0.0.1:1/v1").for_task(other, 0)
    assert shlex.split(line)[-4:] == ["--model", "gpt-image-2", "--base-url", "http://127.0.0.1:1/v1"]


def test_a_folder_with_a_dot_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures.2026"
    folder.mkdir()
    assert ResumeCommand(str(folder), total=2).for_task(TASK, 1).endswith(f"-o {folder}")


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
    assert bool(ResumeCommand(".").for_tasks([(0, task)])) == offered


def test_what_an_interrupt_says(capsys: pytest.CaptureFixture[str]) -> None:
    stop = CommandStopped(None, ["apimaster task task_1 --wait -o ."], unconfirmed=1, saved=["a.png"])
    assert error_output.report_stop(stop, as_json=False) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "Interrupted. What was submitted goes on and is paid for. A request may have gone out without an answer, and "
        f"may be charged. Pick it up with `apimaster task`, which is free. {errors.OutcomeUnknownError.advice}",
        "Saved before that: a.png",
        "To pick it up: apimaster task task_1 --wait -o .",
    ]


@pytest.mark.parametrize(
    ("stop", "billed"),
    [
        (CommandStopped(None), "no"),
        (CommandStopped(None, unconfirmed=1), "maybe"),
        (CommandStopped(None, ["line"], unconfirmed=1), "yes"),
        (CommandStopped(None, unconfirmed=1, emulated=True), "no"),
    ],
)
def test_an_interrupt_as_json(stop: CommandStopped, billed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_output.report_stop(stop, as_json=True) == 130
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["type"], error["billed"], error["retryable"]) == ("Interrupted", billed, billed == "no")
    assert bool(error["advice"]) == (billed != "no")
    assert error["resume"] == list(stop.resume)


def step(stage: str, index: int = 0, **more: object) -> Progress:
    return Progress.model_validate({"stage": stage, "index": index, **more})


def test_the_live_line_of_one_picture() -> None:
    view = progress.ProgressView(1, "$0.0375")
    assert view.summary() == "starting · 0 s · $0.0375"
    view.update(step("submitting"))
    assert view.summary().startswith("submitting · ")
    view.update(step("running", percent=45.0, task=TASK))
    assert view.summary().startswith("running 45 % · ")
    view.update(step("downloading", percent=100.0, task=TASK, image=IMAGE))
    assert view.summary().startswith("saving · ")


def test_the_live_line_of_several() -> None:
    view = progress.ProgressView(4, "price unknown")
    for index, stage in enumerate(["done", "running", "queued"]):
        view.update(step(stage, index))
    assert view.summary() == "1 of 4 done, 1 queued, 1 running · 0 s · price unknown"


def test_what_is_known_when_it_is_interrupted() -> None:
    view = progress.ProgressView(5, "")
    saved = IMAGE.model_copy(update={"path": Path("a.png")})
    view.update(step("submitting", 4))
    view.update(step("done", 0, task=TASK, image=saved))
    view.update(step("done", 1, image=IMAGE))
    view.update(step("failed", 2, task=TASK.model_copy(update={"id": "task_2"})))
    view.update(step("running", 3, task=TASK.model_copy(update={"id": "task_3"})))
    assert [(index, task.id) for index, task in view.under_way] == [(3, "task_3")]
    assert view.unconfirmed == 1
    assert view.saved == ["a.png"]
    assert view.image_numbers == {"task_1": 0, "task_2": 2, "task_3": 3}


def test_plain_lines_come_once_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    view = progress.ProgressView(2, "")
    for percent in (10.0, 20.0, 30.0):
        view.update(step("running", 1, percent=percent, task=TASK))
    view.update(step("done", 1, task=TASK))
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
    assert printing.result_rows(result) == [
        "a.jpg                   1024×768  JPEG  $0.0375",
        "long.jpg                1024×768  JPEG  $0.0375",
        "https://cdn.test/1.png                  $0.0375",
        "3 of 3 images, $0.1125",
    ]


def test_the_row_of_one_picture_has_no_sum() -> None:
    assert printing.result_rows(ImageResult(images=(IMAGE,), cost=None, model="m")) == [
        "https://cdn.test/1.png      price unknown"
    ]
