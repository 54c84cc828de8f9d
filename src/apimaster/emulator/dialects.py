"""How the emulator words its replies. The gateway speaks more than one way (wire contract, section 4).

A dialect is a set of traits. It is written as words joined by ``+``: ``tracked``, ``legacy+url_list``,
``mixed``, ``tracked+upper_case+no_envelope``. ``mixed`` draws the poll traits anew for every task.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

WORDS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "tracked": {"polls": "tracked"},
        "legacy": {"polls": "legacy"},
        "mixed": {"mixed": True},
        "upper_case": {"upper_case": True},
        "url_list": {"url_list": True},
        "url_string": {"url_list": False},
        "no_envelope": {"envelope": False},
        "unknown_words": {"unknown_words": True},
        "success_word": {"finished_word": "success"},
        "sync_as_task": {"sync_as_task": True},
        "submit_as_image": {"submit_as_image": True},
        "no_code": {"code": False},
        "b64": {"b64": True},
        "n_ignored": {"sync_n": False},
        "n_honoured": {"task_n": True},
        "no_async": {"async_route": False},
        "lying_ending": {"lying_ending": True},
        "extra_fields": {"extra_fields": True},
    }
)
"""Every word, and the traits that it sets."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How replies are worded.

    Attributes:
        polls: ``tracked`` (``succeeded``, and a failure without a reason) or ``legacy`` (``completed``, progress,
            estimated time, ``expires_at``, and a reason).
        mixed: draw the poll traits anew for every task.
        upper_case: status words in capitals.
        url_list: a picture's ``url`` is a list; None: as the poll dialect does by itself (legacy: a list).
        envelope: the object sits in ``data``; otherwise it is the reply itself.
        unknown_words: running tasks report words that no client has seen.
        finished_word: overrides ``succeeded`` or ``completed``.
        sync_as_task: the one-shot route answers with a task.
        submit_as_image: the submit route answers with a finished picture.
        code: the submit reply holds ``code``; otherwise ``created``.
        b64: pictures come as ``b64_json`` even where nobody asked for it.
        sync_n: the one-shot route delivers ``n`` pictures; otherwise one.
        task_n: tasks deliver ``n`` pictures; otherwise one, as the gateway does.
        async_route: the submit route exists; otherwise it answers 404.
        lying_ending: URLs end in ``.jpg`` whatever the picture is.
        extra_fields: replies carry fields that the contract does not list.
    """

    polls: Literal["tracked", "legacy"] = "tracked"
    mixed: bool = False
    upper_case: bool = False
    url_list: bool | None = None
    envelope: bool = True
    unknown_words: bool = False
    finished_word: str | None = None
    sync_as_task: bool = False
    submit_as_image: bool = False
    code: bool = True
    b64: bool = False
    sync_n: bool = True
    task_n: bool = False
    async_route: bool = True
    lying_ending: bool = False
    extra_fields: bool = False

    @classmethod
    def parse(cls, value: str | Dialect) -> Dialect:
        """Read ``"legacy+url_string"``; commas and blanks separate words too.

        Raises:
            ValueError: an unknown word; the message lists the known ones.
        """
        if isinstance(value, Dialect):
            return value
        changes: dict[str, Any] = {}
        for word in value.replace("+", " ").replace(",", " ").split():
            if word not in WORDS:
                raise ValueError(f"dialect {word!r} is not known; accepted, joined by '+': {', '.join(WORDS)}")
            changes.update(WORDS[word])
        return cls(**changes)

    @property
    def urls_are_lists(self) -> bool:
        """Whether a picture's ``url`` is a list of strings."""
        return self.polls == "legacy" if self.url_list is None else self.url_list

    def for_task(self, rng: random.Random) -> Dialect:
        """The dialect of one task: itself, or one drawn from all poll traits if it is mixed."""
        if not self.mixed:
            return self
        return replace(
            self,
            mixed=False,
            polls=rng.choice(("tracked", "legacy")),
            upper_case=rng.random() < 0.3,
            url_list=rng.choice((None, True, False)),
            envelope=rng.random() < 0.7,
            unknown_words=rng.random() < 0.3,
            finished_word=rng.choice((None, None, "success")),
        )

    def __str__(self) -> str:
        """The words that make this dialect, joined by ``+``; `parse` reads them again."""
        default = Dialect()
        words = [
            word
            for word, traits in WORDS.items()
            if all(getattr(self, name) == value != getattr(default, name) for name, value in traits.items())
        ]
        return "+".join(words) or "tracked"
