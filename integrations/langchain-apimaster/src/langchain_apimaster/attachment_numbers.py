"""Which number an image of a conversation has: the same one for as long as there is the thread.

A history is trimmed, summarized or forked. ``attachment:1`` must not become another image by that, because an edit of
it costs money. So the ledger notes for each thread in which message each number was seen first, with a digest of the
image, and all processes with this ledger count alike:

==================================  ==============================================================================
an image                            has
==================================  ==============================================================================
in a message that was seen before   its number. If it is new there, and stands where an image was that the message no
                                    longer holds, it has the number of that one
seen in a message that is not       that number, if the order fits: some applications hand over the whole history
there now                           with new ids each time, and a message that is edited gets a new id. An image of
                                    another history (``history.py``) does not count
that is new                         the next number
==================================  ==============================================================================

A number is given again only where it is certain that it was given in another history. A number whose image is not there
is refused. Without a thread, numbers count what is there.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .attachments import Attachment, attached_images, message_digest, messages_with_parts
from .history import NEVER, Moment
from .store import digest_of

if TYPE_CHECKING:
    from .call import Call
    from .open_ledger import OpenLedger

MAX_GONE: Final = 300
"""How many images that are gone a thread remembers, the newest ones, so that a note stays small."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An image that has a number. Without a message and a fingerprint, it stands for all that were forgotten."""

    number: int
    message_id: str = ""
    fingerprint: str = ""
    seen: Moment = NEVER


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbers of a conversation.

    Attributes:
        numbers: of the images that are there, in the order of the conversation.
        last: the highest number that an image of this history may have had.
        again: numbers of other messages whose image is there again: which one it is.
        known: all images of the thread that have a number.
    """

    numbers: tuple[int, ...]
    last: int
    again: dict[int, int]
    known: tuple[Numbered, ...] = ()

    def place_of(self, number: int) -> int | None:
        """Which of the images that are there a number means; None: it is not there."""
        return self.numbers.index(number) if number in self.numbers else self.again.get(number)


Number: TypeAlias = Callable[[Sequence[Attachment]], Numbering]


class AttachmentNumbers:
    """The numbers in all threads of a namespace. Safe to share between threads and processes.

    Args:
        ledger: where they are noted.
        namespace: the tenant.
    """

    def __init__(self, ledger: OpenLedger, namespace: str) -> None:
        self._ledger = ledger
        self._namespace = namespace

    def number(self, call: Call, attachments: Sequence[Attachment]) -> Numbering:
        """The numbers of the images that are there; new images get one. Blocks.

        Raises:
            LedgerError: the ledger can't be used.
        """
        if call.thread_id is None:
            return counted(attachments)
        ledger, name = self._ledger.get(), self._name(call.thread_id)
        known = _read(ledger.note(name))
        there = {each.message_id for each in attachments}
        others = call.history.others([each.seen for each in known if each.message_id not in there])
        left = {each for each in known if each.message_id not in there and each.seen in others}
        found = numbered(known, attachments, call.history.now, left)
        if found.known == known:
            return found

        def change(before: str | None) -> str:
            nonlocal found
            found = numbered(_read(before), attachments, call.history.now, left)
            return _written(found.known)

        ledger.change_note(name, change)
        return found

    def see(self, call: Call) -> None:
        """Give the images of a conversation their numbers, before its history is trimmed. Blocks.

        If all messages were seen before, it looks at no image and writes nothing.

        Raises:
            LedgerError: the ledger can't be used.
        """
        messages = list(messages_with_parts(call.caller.messages() or ()))
        if call.thread_id is None or not messages:
            return
        seen = {each.message_id for each in _read(self._ledger.get().note(self._name(call.thread_id)))}
        if attached_images([each for each in messages if not each.id or message_digest(each) not in seen]):
            self.number(call, attached_images(messages))

    def _name(self, thread_id: str) -> str:
        thread = hashlib.sha256(thread_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"langchain attachments {digest_of(self._namespace)} {thread}"


def counted(attachments: Sequence[Attachment]) -> Numbering:
    """The numbers where nothing else is known: they count what is there."""
    return Numbering(tuple(range(1, len(attachments) + 1)), len(attachments), {})


def numbered(
    known: Sequence[Numbered], attachments: Sequence[Attachment], now: Moment, left: Collection[Numbered] = ()
) -> Numbering:
    """The numbers of the images that are there.

    Args:
        known: all images of the thread that have a number, by number.
        attachments: the images that are there, in the order of the conversation.
        now: the moment.
        left: those of ``known`` that belong to another history.
    """
    apart = {*left, *_passed_over(known, attachments)}
    found = _recognized(known, attachments, apart)
    recognized = set(found.values())
    last = max((each.number for each in known if each not in left or each in recognized), default=0)
    there: dict[int, Numbered] = {}
    for place, attachment in enumerate(attachments):
        before = found.get(place)
        number = last + 1
        if before is not None and before.number not in there:  # it is there if two histories were joined
            number = before.number
        message = attachment.message_id or ("" if before is None else before.message_id)
        seen = now if before is None else before.seen
        there[number] = Numbered(number, message, attachment.fingerprint, seen)
        last = max(last, number)
    gone = [each for each in known if each not in recognized]
    return Numbering(tuple(there), last, _again(gone, apart, attachments), _kept(there.values(), gone))


def _passed_over(known: Sequence[Numbered], attachments: Sequence[Attachment]) -> set[Numbered]:
    """What did not count when an image that is there got its number, so that it belonged to another history.

    In one history a later image has a higher number. In the next turn of a fork nothing else may prove it.
    """
    there = {each.message_id for each in attachments if each.message_id}
    here = [each for each in known if each.message_id in there and each.seen.checkpoint]
    return {
        each
        for each in known
        if each.seen.checkpoint and each.message_id not in there
        if any(own.number <= each.number and own.seen.checkpoint > each.seen.checkpoint for own in here)
    }


def _recognized(
    known: Sequence[Numbered], attachments: Sequence[Attachment], left: Collection[Numbered]
) -> dict[int, Numbered]:
    """Which of the images that are there have a number: by their places in the conversation."""
    found: dict[int, Numbered] = {}
    before: defaultdict[str, list[Numbered]] = defaultdict(list)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for each in known:
        before[each.message_id].append(each)
    for place, attachment in enumerate(attachments):
        is_new = not attachment.message_id or attachment.message_id not in before
        places["" if is_new else attachment.message_id].append(place)
    others = places.pop("", [])
    for message, own in places.items():
        found |= _in_message(before[message], attachments, own)
    elsewhere = [each for each in known if each not in left and each.message_id not in places]
    alike = _alike(elsewhere, attachments, others)
    highest = 0  # number of the images before
    for place in range(len(attachments)):
        if place in alike and alike[place].number > highest:
            found[place] = alike[place]
        highest = max(highest, found[place].number if place in found else 0)
    return found


def _in_message(
    known: Sequence[Numbered], attachments: Sequence[Attachment], places: Sequence[int]
) -> dict[int, Numbered]:
    """The images that a message had before: the same image first, and only then another one in its place."""
    found: dict[int, Numbered] = {}
    rest = dict(enumerate(known))
    pairs = list(enumerate(places)) if len(known) == len(places) else []  # else the places have moved
    for at, place in pairs:
        if known[at].fingerprint == attachments[place].fingerprint:
            found[place] = rest.pop(at)
    for place in places:
        alike = (at for at, each in rest.items() if each.fingerprint == attachments[place].fingerprint)
        same = None if place in found else next(alike, None)
        if same is not None:
            found[place] = rest.pop(same)
    found |= {place: rest[at] for at, place in pairs if place not in found and at in rest}
    return found


def _alike(known: Sequence[Numbered], attachments: Sequence[Attachment], places: Sequence[int]) -> dict[int, Numbered]:
    """The same images in the same order."""
    found: dict[int, Numbered] = {}
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for at, each in reversed(list(enumerate(known))):
        alike[each.fingerprint].append(at)
    begin = 0
    for place in places:
        fits = alike.get(attachments[place].fingerprint, [])
        while fits and fits[-1] < begin:
            fits.pop()
        if fits:
            found[place] = known[fits[-1]]
            begin = fits[-1] + 1
    return found


def _again(gone: Sequence[Numbered], left: Collection[Numbered], attachments: Sequence[Attachment]) -> dict[int, int]:
    """The numbers of images that were attached again in another message. One that meant two images means none."""
    places = {each.fingerprint: place for place, each in enumerate(attachments)}
    images: defaultdict[int, set[str]] = defaultdict(set)
    for each in gone:
        images[each.number].add(each.fingerprint)
    return {
        each.number: places[each.fingerprint]
        for each in gone
        if each not in left and each.fingerprint in places and len(images[each.number]) == 1
    }


def _kept(there: Iterable[Numbered], gone: Sequence[Numbered]) -> tuple[Numbered, ...]:
    """What to note: all images that are there, and the newest of the others."""
    ordered = sorted(gone, key=_order)
    forgotten = ordered[: max(0, len(gone) - MAX_GONE)]
    placeholder = [Numbered(forgotten[-1].number)] if forgotten else []
    return tuple(sorted([*there, *placeholder, *ordered[len(forgotten) :]], key=_order))


def _order(each: Numbered) -> tuple[object, ...]:
    return (each.number, each.seen.checkpoint, each.message_id, each.fingerprint)


def _read(stored: str | None) -> tuple[Numbered, ...]:
    return tuple(
        Numbered(number, message, fingerprint, Moment(*seen))
        for number, message, fingerprint, seen in json.loads(stored or "[]")
    )


def _written(known: Sequence[Numbered]) -> str:
    return json.dumps([astuple(each) for each in known], separators=(",", ":"))
