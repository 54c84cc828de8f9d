"""Which charges of the usage log an unknown purchase may be, and which of several purchases gets which charge. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..catalog import DEFAULT_RESOLUTION, one_shot_limit, same_model
from ..request import ImageRequest, read_stored
from .digest import is_digest, text_digest
from .rows import Row

if TYPE_CHECKING:
    from ..account import Charge

SLACK: Final = 30.0
"""Seconds by which the two clocks may differ after they were compared."""
ABOUT: Final = 900.0
"""Seconds: what "about that time" means."""
HAVE_PICTURES: Final = ("delivered", "saved")

_LONG: Final = 200
"""Characters of a prompt from which on a log may have cut it short without a sign."""

_MAYBE_CHARGES: Final = ("charge", "other")
_LONGEST_ONE_SHOT: Final = one_shot_limit("4K")


@dataclass(slots=True)
class Candidate:
    """An unknown purchase, its request, and the charges that it may be.

    Attributes:
        row: the purchase.
        request: what it asked for.
        charges: they fit, and come from the time at which the gateway may have charged it.
        nearby: they fit, and come from up to 15 minutes before or after that time.
        contested: one of ``charges`` may be that of a purchase which is on its way.
        of_another: one of ``charges`` may be that of a purchase which does not say which charge is its own: one that a
            newer version made, or whose pictures came as bytes.
        gateway: host and port of the gateway, where uploads lie; empty if they are not known.
        slow: the gateway draws the picture before it answers, and charges it then.
        vague: a charge from that time does not say what it was for.
        unreadable: a row of the log may be its own charge: it is of a kind that this version does not know, or a charge
            from about that time that does not say what it was for, that words the prompt differently, or that names
            references which are probably not its own.
    """

    row: Row
    request: ImageRequest
    gateway: str = ""
    charges: list[Charge] = field(default_factory=list)
    nearby: list[Charge] = field(default_factory=list)
    contested: bool = False
    of_another: bool = False
    slow: bool = False
    vague: bool = False
    unreadable: bool = False

    @property
    def begun(self) -> float:
        """Unix seconds: when its request went out."""
        return begun_of(self.row)

    @property
    def latest(self) -> float:
        """Unix seconds: when the gateway has charged it at the latest, if it has."""
        draws = self.row.one_shot or self.slow
        return unknown_since(self.row) + (one_shot_limit(self.request.resolution) if draws else 0.0)

    def is_from_its_time(self, at: float) -> bool:
        """Whether it may have been charged at this moment, by the ledger's clock."""
        return self.begun - SLACK <= at <= self.latest + SLACK

    def is_from_about_its_time(self, at: float) -> bool:
        """The same with 15 minutes more on both sides."""
        return self.begun - ABOUT <= at <= self.latest + ABOUT

    def look_at(self, charges: Sequence[Charge], offset: float) -> None:
        """Note which of these charges, which belong to nobody, may be this purchase.

        ``offset`` is seconds by which the gateway's clock is ahead.
        """
        for charge in charges:
            at = charge.at - offset
            # A row whose time can't be read was perhaps not read at all: then its kind says nothing either.
            if charge.at <= 0:
                self.unreadable |= charge.kind in _MAYBE_CHARGES and may_fit(charge, self.request)
            elif charge.kind == "other":
                self.unreadable |= self._is_about(charge, at)
            elif charge.kind == "charge" and self.is_from_its_time(at):
                if charge.prompt is None:
                    self.vague |= may_fit(charge, self.request)
                elif not fits(charge, self.request):
                    self.unreadable |= _resembles(charge, self.request)
                elif _names_foreign_references(charge, self.request, self.gateway):
                    self.unreadable = True
                else:
                    self.charges.append(charge)
            elif charge.kind == "charge" and not charge.refunded and self._is_about(charge, at):
                self.nearby.append(charge)
            elif charge.kind == "charge" and self.is_from_about_its_time(at):
                may_be = may_fit if charge.prompt is None else _resembles
                self.unreadable |= may_be(charge, self.request)

    def _is_about(self, charge: Charge, at: float) -> bool:
        return charge.prompt is not None and self.is_from_about_its_time(at) and fits(charge, self.request)

    def compare_with(self, on_their_way: Sequence[Rival], unnamed: Sequence[Rival], offset: float) -> None:
        """Note whether a charge of this purchase may be that of one which does not say which charge is its own."""
        for rival in on_their_way:
            self.contested |= self.row.id != rival.row.id and any(
                charge.at - offset >= rival.begun - SLACK and rival.may_own(charge) for charge in self.charges
            )
        for rival in unnamed:
            self.of_another |= any(
                rival.begun - SLACK <= charge.at - offset <= rival.latest + SLACK and rival.may_own(charge)
                for charge in self.charges
            )


@dataclass(frozen=True, slots=True)
class Rival:
    """A purchase that may own a charge, and is not looked for: what it asked for, if this version can read it."""

    row: Row
    request: ImageRequest | None

    @classmethod
    def of(cls, row: Row) -> Rival:
        """The rival that a row is. Its request is read once, whatever it is compared with."""
        return cls(row, request_of(row))

    @property
    def begun(self) -> float:
        """Unix seconds: when its request went out."""
        return begun_of(self.row)

    @property
    def latest(self) -> float:
        """Unix seconds: when the gateway has charged it at the latest."""
        if self.row.state in HAVE_PICTURES:
            return self.row.updated_at
        return unknown_since(self.row) + (_LONGEST_ONE_SHOT if self.row.one_shot else 0.0)

    def may_own(self, charge: Charge) -> bool:
        """Whether a charge may be for what it asked for."""
        return self.request is None or fits(charge, self.request)


def begun_of(row: Row) -> float:
    """Unix seconds: when the request of this purchase went out."""
    return row.created_at if row.begun_at is None else row.begun_at


def unknown_since(row: Row) -> float:
    """Unix seconds: when the request of this purchase ended without an answer."""
    return row.updated_at if row.unknown_since is None else row.unknown_since


def request_of(row: Row) -> ImageRequest | None:
    """What a row asks for; None if this version can't read it: a newer one, which shares the ledger, wrote it."""
    try:
        return read_stored(row.request)
    except ValueError:
        return None


def fits(charge: Charge, request: ImageRequest) -> bool:
    """Whether a charge is for what this request asks for."""
    stored = not is_digest(request.prompt)
    prompt = charge.prompt if stored else text_digest(charge.prompt or "")
    if (prompt, charge.aspect_ratio) != (request.prompt, request.aspect_ratio):
        return False
    if not same_model(charge.model, request.model):  # the gateway may have taken another spelling of the id
        return False
    return _resolutions_fit(charge, request) and not (stored and _is_of_other_references(charge, request))


def _resolutions_fit(charge: Charge, request: ImageRequest) -> bool:
    if request.resolution is None and charge.resolution is None:
        return True  # the model's default, whatever it comes to
    resolution = charge.resolution or charge.effective_resolution or DEFAULT_RESOLUTION
    return resolution == (request.resolution or DEFAULT_RESOLUTION)


def _is_of_other_references(charge: Charge, request: ImageRequest) -> bool:
    """Whether the log names references that are certainly not those of the request."""
    if not request.references:
        return bool(charge.image_urls)
    urls = [str(each) for each in request.references]
    all_urls = all(each.is_url for each in request.references)
    return all_urls and bool(charge.image_urls) and list(charge.image_urls) != urls


def _names_foreign_references(charge: Charge, request: ImageRequest, gateway: str) -> bool:
    """Whether the log names references that are neither public URLs of the request nor uploads at the gateway.

    For a request with local pictures they are probably those of another call; only probably, since nobody promises
    where uploads lie.
    """
    if not gateway or is_digest(request.prompt):  # with the prompt, the ledger left out the references
        return False
    own = {str(each) for each in request.references if each.is_url}
    return any(url not in own and _host(url) != gateway for url in charge.image_urls or ())


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:  # it comes from outside
        return ""


def _resembles(charge: Charge, request: ImageRequest) -> bool:
    """Whether the log may have written the prompt of this request differently: trimmed, or cut short."""
    prompt = charge.prompt or ""
    asked, written = " ".join(request.prompt.split()), " ".join(prompt.rstrip(".…").split())
    may_be_cut = prompt.endswith(("…", "...")) or len(prompt) >= _LONG
    alike = written == asked.rstrip(".…") or (may_be_cut and bool(written) and asked.startswith(written))
    return alike and prompt != request.prompt and fits(charge.model_copy(update={"prompt": request.prompt}), request)


def true_cost(charge: Charge) -> Decimal | None:
    """What the gateway took, in US dollars; None if the log names no amount: then the list price still counts.

    Zero is no amount either. A budget that counted it would let a caller spend what is not there.
    """
    return charge.cost if charge.cost > 0 else None


def once_a_task(charges: Sequence[Charge]) -> list[Charge]:
    """The charges without those whose task another one has: a log that names one twice has charged it once."""
    rows: set[object] = set()
    found = []
    for charge in charges:
        row = (charge.kind, charge.task_id, charge.at, charge.prompt)
        if charge.task_id is None or row not in rows:
            found.append(charge)
        rows.add(row)
    return found


def may_fit(charge: Charge, request: ImageRequest) -> bool:
    """Whether a charge may be for this request, as far as it says what it was for."""
    if charge.prompt is None:
        return charge.model is None or same_model(charge.model, request.model)
    return fits(charge, request)


def connected(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Purchases that share a charge, directly or through others."""
    left = list(candidates)
    while left:
        group = [left.pop(0)]
        charges = {id(charge) for charge in group[0].charges}
        while more := [each for each in left if charges & {id(charge) for charge in each.charges}]:
            for each in more:
                left.remove(each)
                charges |= {id(charge) for charge in each.charges}
            group += more
        yield group


def charges_of(group: Sequence[Candidate]) -> list[Charge]:
    """The charges of a group, the earliest first."""
    return sorted({id(charge): charge for each in group for charge in each.charges}.values(), key=lambda each: each.at)


def divided(group: Sequence[Candidate]) -> list[tuple[Candidate, Charge]] | None:
    """Each charge of the group with the purchase that gets it; None if there is a charge too many.

    Each purchase may be any charge in a span of time. So the earliest charge goes to the purchase whose span ends
    first: that finds an owner for each charge if that is possible at all. Among purchases whose spans end together,
    the earlier one gets it.
    """
    left = sorted(group, key=lambda each: (each.latest, each.begun))
    pairs = []
    for charge in charges_of(group):
        owner = next((each for each in left if any(charge is own for own in each.charges)), None)
        if owner is None:
            return None
        left.remove(owner)
        pairs.append((owner, charge))
    return pairs
