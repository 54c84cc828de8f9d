"""The texts for the model: each error has one, and none leaks a signature."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

import apimaster
from apimaster import APIMasterError, ImageFailure, Task
from langchain_apimaster import ImageToolError, StoredImage
from langchain_apimaster.messages import describe, describe_task, explain

SIGNED = "GET https://cdn.example.com/a.png?X-Amz-Signature=abcdef&Expires=1 gave\n403"
CHARGE = re.compile("Nothing was charged|It was charged|charge was given back|may have been charged|is paid for")


def kinds(base: type[APIMasterError]) -> list[type[APIMasterError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize("kind", kinds(APIMasterError))
def test_every_error_says_what_it_cost_and_whether_to_try_again(kind: type[APIMasterError]) -> None:
    error = kind(f"The gateway said: {SIGNED}", task=Task(id="task_1", model="m"))
    text = explain(error)
    assert any(word in text for word in ("charge", "paid for"))
    assert any(word in text.lower() for word in ("try", "do not ask", "correct the request"))
    assert ("task_1" in text) is (kind.__name__ in ("TaskTimeoutError", "DownloadError"))
    assert "abcdef" not in text
    assert "\n" not in text
    assert error.billed != "maybe" or ("may have been charged" in text and "Do not try again" in text)
    assert len(CHARGE.findall(text)) == 1, "once, not twice"
    raised: Any = pickle.loads(pickle.dumps(ImageToolError(error)))
    assert (str(raised), raised.error.billed) == (text, error.billed)


def test_every_kind_of_error_is_public() -> None:
    # Modules that callers import by name, such as the batch, have errors of their own.
    ours = [kind for kind in kinds(APIMasterError) if kind.__module__ == "apimaster.errors"]
    assert {kind.__name__ for kind in ours} <= set(apimaster.__all__)


def test_long_texts_are_cut() -> None:
    assert len(explain(apimaster.BadRequestError("a" * 5000))) < 400
    image = StoredImage(id="img_aaaaaaaaaaaa", path="", deviations=("b" * 5000,))
    failure = ImageFailure(index=1, error="X", message=SIGNED, billed="maybe", retryable=False)
    text = describe([image], [failure])
    assert len(text) < 800
    assert "One more did not arrive: GET https://cdn.example.com/a.png?… gave 403. It may have been charged." in text
    assert "Do not ask for it again by yourself." in text


def test_a_task_is_described_with_its_progress() -> None:
    text = describe_task(Task(id="task_1", model="m", status="running", progress=45.4))
    assert text.startswith("Task task_1 is being drawn, 45 % done. It is paid for")
    assert describe_task(Task(id="task_1", model="m")).startswith("Task task_1 is waiting its turn. ")
