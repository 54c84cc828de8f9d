"""What a caller may ask for: spellings that are understood, and refusals that say what is accepted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apimaster import BadRequestError, ImageRequest, ReferenceImageError
from apimaster.request import read_stored


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


BLANK = ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u3164", "\u200e\u200f", "\x07", "\x1b[0m", "\u0301", "\u00a0\u2028"]
BLANK += ["\x1b[1;31m \x1b[0m\r\n", "\x1b]0;a title\x07", "\x9b2J", "\u200d\ufe0f", "\u2800", "\ufffc"]
BLANK += ["\U000e0041\U000e007f", "\U000e0fff", "\ufffe", "\u115f\u1160\uffa0", "\u0940", "\u20e3", "\u180e\u180b"]


@pytest.mark.parametrize("prompt", BLANK, ids=ascii)
def test_a_prompt_without_a_visible_character_is_empty(prompt: str) -> None:
    with pytest.raises(BadRequestError, match="prompt is empty"):
        ImageRequest(prompt=prompt)
    with pytest.raises(BadRequestError, match="prompt is empty"):
        ImageRequest.build(ImageRequest(prompt="a cat"), {"prompt": prompt})


@pytest.mark.parametrize(
    "prompt",
    [
        *("5", "?", "\u200bcat", "\x1b[31mcat\x1b[0m", "\x1b]0;cat", "e\u0301", "\u2764\ufe0f", "1\ufe0f\u20e3"),
        "\U0001f469\u200d\U0001f680",  # a woman astronaut
        "\U0001f1eb\U0001f1f7",  # the flag of France
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
        "\U0001fac8",  # an emoji that older versions of Python do not know
        "\u0915\u094d\u200d\u0937",  # Devanagari with a joiner
        "\u0642\u0650\u0637\u0651",  # Arabic with marks
        "\u200f\u05d7\u05ea\u05d5\u05dc",  # Hebrew after a mark of direction
        "\u0e41\u0e21\u0e27",  # Thai
        "\u732b",
        "\uace0\uc591\uc774",
        "\ue000",  # for private use: a font may draw it
    ],
    ids=ascii,
)
def test_every_script_and_emoji_is_a_prompt(prompt: str) -> None:
    assert ImageRequest(prompt=prompt).prompt == prompt


def test_a_blank_prompt_of_an_earlier_version_can_still_be_read() -> None:
    """A ledger in which it was bought would not be readable otherwise."""
    stored = ImageRequest(prompt="a cat", resolution="2K").model_dump_json(exclude_none=True)
    found = read_stored(stored.replace("a cat", "\u200b"))
    assert (found.prompt, found.resolution) == ("\u200b", "2K")
    assert read_stored(stored) == ImageRequest(prompt="a cat", resolution="2K")
    with pytest.raises(ValueError, match="resolution"):
        read_stored(stored.replace("2K", "8K"))


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
