"""What a caller may ask for: spellings that are understood, and refusals that say what is accepted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apimaster import BadRequestError, ImageRequest, ReferenceImageError


@pytest.mark.parametrize(
    ("asked", "ratio", "resolution"),
    [
        ({"aspect_ratio": "16x9"}, "16:9", None),
        ({"aspect_ratio": "16 : 9"}, "16:9", None),
        ({"aspect_ratio": "16×9"}, "16:9", None),
        ({"aspect_ratio": "1920:1080"}, "16:9", None),
        ({"aspect_ratio": "7:3"}, "21:9", None),
        ({"aspect_ratio": "AUTO"}, "auto", None),
        ({"aspect_ratio": "1920x1080"}, "16:9", "2K"),
        ({"aspect_ratio": "1920x1080px", "resolution": "1k"}, "16:9", "1K"),
        ({"aspect_ratio": "9000x9000", "resolution": "4K"}, "1:1", "4K"),
        ({"resolution": "2k"}, None, "2K"),
        ({"resolution": "0.5k"}, None, "0.5K"),
        ({"resolution": "512"}, None, "0.5K"),
        ({"resolution": "512px"}, None, "0.5K"),
        ({"resolution": " 4096 px "}, None, "4K"),
        ({"model": "gpt-image-2", "aspect_ratio": "1881x836"}, "1881x836", None),
        ({"model": "something-new", "aspect_ratio": "5:3"}, "5:3", None),
    ],
)
def test_spellings(asked: dict[str, str], ratio: str | None, resolution: str | None) -> None:
    request = ImageRequest(prompt="a cat", **asked)
    assert (request.aspect_ratio, request.resolution) == (ratio, resolution)


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"prompt": "  "}, BadRequestError, ["prompt", "empty"]),
        ({"prompt": 3}, BadRequestError, ["prompt", "string", "3"]),
        ({"model": " "}, BadRequestError, ["model", "empty"]),
        ({"aspect_ratio": "5:3"}, BadRequestError, ["aspect_ratio", "'5:3'", "16:9", "1:8", "auto"]),
        ({"aspect_ratio": "wide"}, BadRequestError, ["'wide'", "21:9"]),
        ({"aspect_ratio": "0:9"}, BadRequestError, ["'0:9'"]),
        ({"aspect_ratio": "9000x9000"}, BadRequestError, ["9000x9000", "4096x4096"]),
        ({"resolution": "8K"}, BadRequestError, ["resolution", "'8K'", "0.5K, 1K, 2K, 4K"]),
        ({"n": 0}, BadRequestError, ["n must", "1 to 100", "0"]),
        ({"n": 101}, BadRequestError, ["1 to 100", "101"]),
        ({"n": "2"}, BadRequestError, ["whole number", "'2'"]),
        ({"n": True}, BadRequestError, ["whole number", "True"]),
        ({"references": ["a.png"] * 15}, ReferenceImageError, ["15", "at most 14"]),
        ({"references": ["ftp://host/a.png"]}, ReferenceImageError, ["ftp://host/a.png", "accepted"]),
        ({"google_search": "perhaps"}, BadRequestError, ["google_search", "boolean", "perhaps"]),
        ({"extra_body": {"n": 4}}, BadRequestError, ["extra_body", "'n'", "n="]),
        ({"extra_body": {"size": "1:1"}}, BadRequestError, ["'size'", "aspect_ratio="]),
        ({"aspectratio": "1:1"}, BadRequestError, ["aspectratio", "accepted", "aspect_ratio"]),
    ],
)
def test_refusals_name_the_field_the_value_and_what_is_accepted(
    asked: dict[str, Any], kind: type[BadRequestError], words: list[str]
) -> None:
    with pytest.raises(kind) as refused:
        ImageRequest(**{"prompt": "a cat", **asked})
    assert type(refused.value) is kind
    assert isinstance(refused.value, ValueError)
    assert (refused.value.billed, refused.value.retryable) == ("no", False)
    for word in words:
        assert word in str(refused.value)


def test_cost_is_exact_and_for_all_images() -> None:
    assert ImageRequest(prompt="a cat", n=3).cost == Decimal("0.1125")
    assert ImageRequest(prompt="a cat", n=3, resolution="4K").cost == Decimal("0.225")
    assert ImageRequest(prompt="a cat", model="something-new").cost is None


def test_json_holds_no_bytes_and_comes_back_equal() -> None:
    request = ImageRequest(
        prompt="a cat",
        aspect_ratio="16:9",
        resolution="2k",
        n=2,
        references=["a.png", "https://example.com/b.png", b"picture bytes"],
        google_search=True,
        webhook="ep_1",
        extra_body={"seed": 7},
    )
    text = request.model_dump_json()
    assert "picture bytes" not in text
    assert "picture bytes" not in repr(request)
    assert ImageRequest.model_validate_json(text) == request


def test_one_reference_may_come_without_a_list() -> None:
    assert [str(each) for each in ImageRequest(prompt="a cat", references="a.png").references] == ["a.png"]
    assert ImageRequest(prompt="a cat", references=None).references == ()


def test_a_request_can_be_changed_into_another() -> None:
    first = ImageRequest(prompt="a cat", aspect_ratio="16:9", references=[b"1"])
    assert ImageRequest.build(first, {"n": None}) is first
    second = ImageRequest.build(first, {"n": 2, "resolution": "2k"})
    assert (second.prompt, second.aspect_ratio, second.n, second.resolution) == ("a cat", "16:9", 2, "2K")
    assert second.references == first.references


def test_requests_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ImageRequest(prompt="a cat").prompt = "a dog"  # type: ignore[misc]
