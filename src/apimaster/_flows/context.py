"""The context that the flows of one client share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._polling.history import History
from .._polling.rate_limit import RateLimiter
from .purchase import LedgerLike
from .retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Context:
    """Settings and state that the flows of one client share.

    ``purchases`` is the policy for calls that buy, None if it is ``policy`` too; ``headers`` go on every call to the
    gateway; ``account`` is the fingerprint under which ``ledger`` knows the gateway and the key, and
    ``alias`` another name by which it finds the purchases of these flows.
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
