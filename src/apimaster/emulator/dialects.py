"""How the emulator words its responses. The gateway itself words them in more than one way, which ``docs/endpoint.md``
lists.

A dialect is a set of traits. It is written as words joined by ``+``: ``tracked``, ``legacy+url_list``,
``mixed``, ``tracked+upper_case+no_envelope``. ``mixed`` draws the traits of polls anew for every task.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from .words import Words, read_words, write_words

WORDS: Final[Words] = MappingProxyType(
    {
        "tracked": {"polls": "tracked"},
        "legacy": {"polls": "legacy"},
        "batch": {"polls": "batch"},
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
"""Every word and the traits that it sets."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How responses are worded.

    Attributes:
        polls: ``tracked`` (``succeeded``, and a failure without a reason), ``legacy`` (``completed``, progress,
            estimated time, ``expires_at``, and a reason), or ``batch``, as Midjourney's: an id ``imagine_batch_…``, the
            task's fields at the top, ``pending_timeout`` as a further state.
        mixed: draw the traits of polls anew for every task.
        upper_case: status words are in capitals.
        url_list: a picture's ``url`` is a list; None: a list in ``legacy`` polls only.
        envelope: the task sits in ``data``; otherwise it is the whole response. In the response to a submit it is the
            whole one only with ``batch``.
        unknown_words: running tasks report status words that no client knows.
        finished_word: replaces ``succeeded`` or ``completed``.
        running_words: replace the words of tasks that have not ended, in turn.
        sync_as_task: the one-shot route answers with a task.
        submit_as_image: the submit route answers with a finished picture.
        code: the submit response holds ``code``; otherwise ``created``.
        b64: pictures come as ``b64_json``, even if the client asked for URLs.
        sync_n: the one-shot route delivers ``n`` pictures; otherwise one.
        task_n: tasks deliver ``n`` pictures; otherwise one, as at the gateway.
        async_route: the submit route exists; otherwise it answers 404.
        lying_ending: URLs end in ``.jpg``, whatever the format of the picture.
        extra_fields: responses hold fields that the vendor does not document, such as those of a request that went to
            another channel.
    """

    polls: Literal["tracked", "legacy", "batch"] = "tracked"
    mixed: bool = False
    upper_case: bool = False
    url_list: bool | None = None
    envelope: bool = True
    unknown_words: bool = False
    finished_word: str | None = None
    running_words: tuple[str, ...] = ()
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
        """Read a text such as ``"legacy+url_string"``; commas and spaces separate words, too.

        Raises:
            ValueError: a word is unknown; the message lists the known words.
        """
        if isinstance(value, Dialect):
            return value
        return cls(**read_words("dialect", value, WORDS))

    def images_for(self, n: int, *, submit: bool) -> int:
        """How many pictures a client gets that asks for ``n`` in a one-shot call or, with ``submit``, in a submit."""
        honoured = self.task_n if submit or self.sync_as_task else self.sync_n
        return n if honoured else 1

    @property
    def urls_are_lists(self) -> bool:
        """Whether a picture's ``url`` is a list of strings."""
        return self.polls == "legacy" if self.url_list is None else self.url_list

    def for_task(self, rng: random.Random) -> Dialect:
        """The dialect of one task: this one, or a random one if this one is mixed."""
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
        """The words of this dialect, joined by ``+``, as `parse` reads them."""
        return write_words(self, Dialect(), WORDS) or "tracked"
