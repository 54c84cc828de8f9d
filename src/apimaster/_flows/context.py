"""The context that the flows of one client share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._polling.history import History
from .._polling.rate_limit import RateLimiter
from .._references.uploaded import UploadedPictures
from ..errors import APIMasterError
from .purchase import LedgerLike
from .retry import RetryPolicy
from .spellings import Spellings
from .task_events import WaiterLike

if TYPE_CHECKING:
    from ..request import ImageRequest, ReferencesBy


@dataclass(frozen=True, slots=True)
class Context:
    """Settings and state that the flows of one client share.

    ``purchases`` is the policy for calls that buy, None if it is ``policy`` too; ``headers`` go on every call to the
    gateway; ``account`` is the fingerprint under which ``ledger`` knows the gateway and the key, and
    ``alias`` another name by which it finds the purchases of these flows; ``asked`` is what it compares under a key,
    None if that is the request itself. ``plan_again`` says whether a purchase that
    failed at no cost stays planned in the ledger; with ``flush_pictures`` a picture is on the disk before it counts as
    saved. ``spellings`` knows which ids of a model the gateway takes; ``waiter`` takes webhooks. ``references_by`` is
    how local references go out where a call does not say, and ``uploads`` knows which were uploaded before.
    ``repeats`` is False for a client whose purchases go out once, in one form, whatever the gateway answers.
    """

    base_url: str
    policy: RetryPolicy
    history: History
    rate_limiter: RateLimiter
    purchases: RetryPolicy | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ledger: LedgerLike | None = None
    account: str = ""
    alias: str | None = None
    asked: ImageRequest | None = None
    plan_again: Callable[[APIMasterError], bool] | None = None
    flush_pictures: bool = False
    spellings: Spellings = field(default_factory=Spellings)
    waiter: WaiterLike | None = None
    references_by: ReferencesBy = "auto"
    uploads: UploadedPictures = field(default_factory=UploadedPictures)
    repeats: bool = True
