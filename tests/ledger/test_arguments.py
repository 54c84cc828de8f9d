"""Wrong arguments: the same clear refusal on both backends, before anything is sent or written."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from apimaster import APIMaster, AsyncAPIMaster, BadRequestError, Task
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

NUL = "a\0b"
HALF = "a\ud83d"
LONG = "k" * 3000
HUGE = 10**5000  # more digits than Python writes

# What no text can be, wherever the ledger takes one; the words are part of the message.
NO_TEXTS: list[tuple[Any, str]] = [
    (5, "text that is not empty, not 5"),
    (None, "text that is not empty, not None"),
    (b"k", "text that is not empty, not b'k'"),
    (["k"], "text that is not empty, not ['k']"),
    ("", "text that is not empty, not ''"),
    (" \n", "text that is not empty"),
    (NUL, "holds a NUL character at position 2"),
    (HALF, "holds half of a character (the lone surrogate U+D83D) at position 2"),
    (LONG, "text of at most 2,048 bytes, not 'kkk"),
]
NO_COUNTS: list[tuple[Any, str]] = [
    (value, "must be a whole number, 0 to 2,147,483,647, not")
    for value in (-1, 2**31, 2**70, HUGE, 1.0, "1", True, math.nan, [1])
]
NO_TIMES: list[tuple[Any, str]] = [
    (value, "must be a datetime, or unix seconds, not")
    for value in ("yesterday", date(2026, 1, 1), True, math.nan, math.inf, HUGE, [1], datetime.min, timedelta(1))
]
NO_AGES: list[tuple[Any, str]] = [
    (value, "must be seconds, 0 or more, a timedelta, or a datetime, not")
    for value in (
        "x",
        None,
        True,
        -1,
        math.nan,
        math.inf,
        HUGE,
        date(2026, 1, 1),
        timedelta(-1),
        datetime.min,
        Decimal(1),
    )
]
NO_AMOUNTS: list[tuple[Any, str]] = [
    (value, "must be an amount of US dollars, 0 to 1,000,000,000,000, not")
    for value in (-1, "-0.01", "ten", "", True, math.nan, math.inf, "1e999999", 10**13, HUGE, [1], b"1", "1,5")
] + [("1e-20000", "at most 100 decimals")]
NO_STATES: list[tuple[Any, str]] = [
    (3, "state 3 is not known; accepted: planned, claimed,"),
    ("nonsense", "state 'nonsense' is not known"),
    ("", "state '' is not known"),
    (["failed", "nonsense"], "state 'nonsense' is not known"),
    (["failed", 3], "state 3 is not known"),
    ([["failed"]], "state ['failed'] is not known"),
    (b"failed", "state 102 is not known"),
    (True, "state True is not known"),
]
NO_FLAGS: list[tuple[Any, str]] = [(value, "must be True or False, not") for value in ("no", 1, 0.0, [])]
NO_TASKS: list[tuple[Any, str]] = [
    *(
        (value, "task must be a task or its id, not")
        for value in (5, "", " ", "a b", ["t"], b"t", Task(id=" ", model="m"))
    ),
    (NUL, "task holds a NUL"),
    (HALF, "task holds half of a character"),
    (LONG, "task must be a text of at most 2,048 bytes"),
    (Task.model_construct(id=HALF, model="m"), "task holds half"),
]

Ask = Callable[[Ledger, Any], Any]
METHODS: list[tuple[str, Ask, list[tuple[Any, str]]]] = [
    ("get", lambda ledger, key: ledger.get(key), NO_TEXTS),
    ("get index", lambda ledger, index: ledger.get("k", index), [*NO_COUNTS, (None, "index must be")]),
    (
        "purchases key",
        lambda ledger, key: ledger.purchases(key=key),
        [each for each in NO_TEXTS if each[0] is not None],
    ),
    ("purchases state", lambda ledger, state: ledger.purchases(state=state), NO_STATES),
    (
        "purchases budget",
        lambda ledger, budget: ledger.purchases(budget=budget),
        [each for each in NO_TEXTS if each[0] is not None],
    ),
    ("purchases since", lambda ledger, since: ledger.purchases(since=since), NO_TIMES),
    ("purchases newest_first", lambda ledger, newest: ledger.purchases(newest_first=newest), NO_FLAGS),
    ("set_budget", lambda ledger, name: ledger.set_budget(name, usd=1), NO_TEXTS),
    ("set_budget usd", lambda ledger, usd: ledger.set_budget("b", usd=usd), NO_AMOUNTS),
    ("set_budget images", lambda ledger, images: ledger.set_budget("b", images=images), NO_COUNTS),
    ("resolve", lambda ledger, key: ledger.resolve(key, charged=False), NO_TEXTS),
    ("resolve index", lambda ledger, index: ledger.resolve("k", index=index, charged=False), NO_COUNTS),
    ("resolve charged", lambda ledger, charged: ledger.resolve("k", charged=charged), NO_FLAGS),
    ("resolve task", lambda ledger, task: ledger.resolve("k", task=task), NO_TASKS),
    ("prune", lambda ledger, age: ledger.prune(age), NO_AGES),
    ("note", lambda ledger, name: ledger.note(name), NO_TEXTS),
    ("set_note", lambda ledger, name: ledger.set_note(name, "text"), NO_TEXTS),
    ("change_note", lambda ledger, name: ledger.change_note(name, lambda _: "text"), NO_TEXTS),
    (
        "change_note text",
        lambda ledger, text: ledger.change_note("name", lambda _: text),
        [(5, "a note must be a text, not 5"), (NUL, "a note holds a NUL"), (HALF, "a note holds half")],
    ),
    (
        "set_note text",
        lambda ledger, text: ledger.set_note("name", text),
        [(5, "a note must be a text, not 5"), (NUL, "a note holds a NUL"), (HALF, "a note holds half")],
    ),
]


@pytest.mark.parametrize(("ask", "refused"), [each[1:] for each in METHODS], ids=[each[0] for each in METHODS])
def test_methods_refuse(ledger: Ledger, ask: Ask, refused: list[tuple[Any, str]]) -> None:
    for value, words in refused:
        with pytest.raises(BadRequestError) as caught:
            ask(ledger, value)
        assert words in caught.value.message, value
        assert len(caught.value.message) < 250
    assert ledger.call(lambda backend: backend.note("name")).result() is None
    assert list(ledger.purchases()) == []
    assert ledger.budgets() == ()


OPTIONS: list[tuple[str, Any, str]] = [
    *(("idempotency_key", value, "1 to 512 characters") for value, _ in NO_TEXTS if value is not None),
    ("idempotency_key", "k" * 513, "1 to 512 characters"),
    *(("budget", value, words) for value, words in NO_TEXTS if value is not None),
]


def test_options_of_a_purchase(ledger: Ledger, emulator: Emulator, client_for: Callable[[Ledger], APIMaster]) -> None:
    client = client_for(ledger)
    for name, value, words in OPTIONS:
        for buy in (client.generate, client.submit):
            with pytest.raises(BadRequestError) as caught:
                buy("a castle", **{name: value})
            assert words in caught.value.message, value
    assert list(ledger.purchases()) == []
    assert not emulator.bill.charges
    assert client.generate("a castle", idempotency_key="\U0001f3f0" * 512).cost  # the longest key, for both backends


def test_keys_of_settle(ledger: Ledger, emulator: Emulator, client_for: Callable[[Ledger], APIMaster]) -> None:
    client = client_for(ledger)
    requests = len(emulator.requests)

    async def settle(*keys: Any) -> None:
        async with AsyncAPIMaster(emulator.api_key, base_url=emulator.base_url, ledger=ledger) as other:
            await other.settle(*keys)

    for value, words in NO_TEXTS:
        for ask in (client.settle, lambda *keys: asyncio.run(settle(*keys))):
            with pytest.raises(BadRequestError) as caught:
                ask("k", value)
            assert ("takes keys one by one" if isinstance(value, list) else words) in caught.value.message, value
    with pytest.raises(BadRequestError) as caught:
        client.settle(["k"])  # type: ignore[arg-type]  # a mistake that is easily made
    assert caught.value.advice == "Write client.settle(*keys)."
    with pytest.raises(BadRequestError, match="timeout must be a number of seconds"):
        client.settle("k", timeout=HUGE)
    assert len(emulator.requests) == requests


SPANS = (-1, math.nan, math.inf, 1e10, HUGE, "60", None, True, [1])
OPENED: list[tuple[str, Any, str]] = [
    *(
        (name, value, f"{name} must be a number of seconds")
        for name in ("heartbeat", "lease", "patience")
        for value in SPANS
    ),
    *(("settle_after", value, "settle_after must be a number of seconds") for value in SPANS),
    ("heartbeat", 0, "heartbeat must be a number of seconds, above 0 and at most 1,000,000,000, not 0"),
    *(("max_open_submits", value, "must be a whole number, 1 to") for value in (0, -1, 2.0, "3", True, None, HUGE)),
    *(("store_prompts", value, words) for value, words in NO_FLAGS),
]


def test_options_of_open(place: str) -> None:
    for name, value, words in OPENED:
        with pytest.raises(BadRequestError) as caught:
            Ledger.open(place, **{name: value})
        assert words in caught.value.message, value


@pytest.mark.parametrize(
    "place", [None, 5, 0, b"purchases.db", b"", "", " ", NUL, ["purchases.db"], [], True, False], ids=repr
)
def test_places(place: Any, emulator: Emulator) -> None:
    for ask in (
        Ledger.open,
        Ledger.shared,
        lambda place: APIMaster("key", base_url=emulator.base_url, ledger="\0" if place in (None, "") else place),
        lambda place: APIMaster("key", base_url=emulator.base_url).with_options(ledger=place or 0),
    ):
        with pytest.raises(BadRequestError, match="accepted: a path"):
            ask(place)


def test_what_is_accepted(ledger: Ledger) -> None:
    class Name(str, Enum):
        MARKETING = "marketing"

    class State(str, Enum):
        FAILED = "failed"

    budget = ledger.set_budget(Name.MARKETING, usd=10**12, images=2**31 - 1)
    assert (budget.name, budget.max_usd, budget.max_images) == ("marketing", 10**12, 2**31 - 1)
    exact = Decimal(sum([0.1]))  # 55 decimals
    assert ledger.set_budget("marketing", usd=exact).max_usd == exact
    assert str(ledger.set_budget("marketing", usd="-0").max_usd) == "0"
    for state in (State.FAILED, ["failed", "saved"], {"failed"}, (), iter(["failed"])):
        assert list(ledger.purchases(state=state)) == []  # type: ignore[arg-type]
    for since in (0, -1.5, datetime.now(), datetime.now(timezone.utc), datetime.min.replace(tzinfo=timezone.utc)):
        assert list(ledger.purchases(since=since)) == []
    for age in (0, 1e9, timedelta(days=30), timedelta.max, datetime.now()):
        assert ledger.prune(age) == 0
    ledger.set_note("name", "")
    assert ledger.note("name") == ""
