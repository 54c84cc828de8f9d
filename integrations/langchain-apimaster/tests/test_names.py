"""How models write the names of pictures: what can mean one thing only is understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_apimaster.names import attachment_in, names_in, plain_name

A, B = ("img_aaaaaaaaaaaa", "img_bbbbbbbbbbbb")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (A, [A]),
        ([A, B], [A, B]),
        ([f'["{A}"]'], [A]),
        ([f'["{A}", "{B}"]', "attachment:1"], [A, B, "attachment:1"]),
        (f'["{A}"]', [A]),
        (json.dumps(json.dumps([A, B])), [A, B]),
        ([[A], [B]], [A, B]),
        (f"{A},{B}", [A, B]),
        (f"[{A}, {B}]", [A, B]),
        ([f"{A}, {B}"], [A, B]),
        (f"{A} {B}", [A, B]),
        ("attachment:1, attachment 2; attachment:latest", ["attachment:1", "attachment 2", "attachment:latest"]),
        ({"id": A}, [A]),
        ([{"id": A}, {"image_id": B}], [A, B]),
        (json.dumps([{"id": A}]), [A]),
        (json.dumps({"id": A}), [A]),
        ({"type": "image", "url": "https://example.com/a.png"}, ["https://example.com/a.png"]),
        ("", []),
        ("[]", []),
        ([], []),
        # what may be one name, or is none, stays as it is
        ("https://example.com/a,b.png", ["https://example.com/a,b.png"]),
        ("my cat, asleep.png", ["my cat, asleep.png"]),
        (f"{A},my cat.png", [f"{A},my cat.png"]),
        ("attachment: 1", ["attachment: 1"]),
        ([{"id": A, "url": "https://example.com/a.png"}], [{"id": A, "url": "https://example.com/a.png"}]),
        ([""], [""]),
        ([5, None, b"x"], [5, None, b"x"]),
    ],
    ids=repr,
)
def test_the_names_in_what_a_model_gave(given: Any, names: list[Any]) -> None:
    assert names_in(given) == names


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("attachment:1", "1"),
        ("attachment: 1", "1"),
        ("attachment #1", "1"),
        ("attachment:#1", "1"),
        ("attachment:1.png", "1"),
        ("attachment:latest.JPG", "latest"),
        ("attachment[1]", "1"),
        ("attachment(1)", "1"),
        ("Attachment [2]", "2"),
        ("(attachment:1)", "1"),
        ("[attachment:1]", "1"),
        ("{attachment:1}", "1"),
        ("**attachment:1**", "1"),
        ("**attachment[1]**", "1"),
        ("attachment:1.", "1"),
        ("attachment:-2,", "-2"),
        ("attachment -1", "-1"),
        ("attachment: -1", "-1"),
        ("`attachment:Last`", "last"),
        ("[the cat](attachment:3)", "3"),
        ("attachment:1.5", None),
        ("attachment:1-2", None),
        ("attachment_1.png", None),  # it may be a file
        ("attachment 1.png", None),
        ("attachment", None),
        ("attachment:one", None),
        ("attachment:12345", None),
        ("my attachment:1", None),
    ],
)
def test_the_names_of_attachments(name: str, number: str | None) -> None:
    assert attachment_in(plain_name(name)) == number


@pytest.mark.parametrize("around", ["{}", "({})", "**{}**", "_{}_", "{}.", "`{}`", "[{}]", "<{}>", '"{}",', "![a]({})"])
@pytest.mark.parametrize("name", [A, f"{A}.png"])
def test_the_marks_around_an_id_are_taken_off(name: str, around: str) -> None:
    assert plain_name(around.format(name)) == name


@pytest.mark.parametrize("name", ["(cat).png", "_cat_", "https://example.com/a_(b).", "cat.", "*", "./img.png"])
def test_other_names_keep_their_marks(name: str) -> None:
    assert plain_name(name) == name


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_model_gives_becomes_a_list(value: Any) -> None:
    found = names_in(value)
    assert isinstance(found, list)
    assert [names_in(each) for each in found if isinstance(each, str) and each] == [
        [each] for each in found if isinstance(each, str) and each
    ]
