"""The account's own books: what a key may spend, and its usage log, as the gateway serves them beside ``/v1``.

The log is worked out from the image jobs when somebody reads it, so it costs nothing until then:

==================================  ====================================================================
an image job                        its rows
==================================  ====================================================================
a task                              consumed, when it is accepted; refunded, when it has failed
a one-shot call                     consumed, when its picture is done, even if the client is long gone
a one-shot call that has failed     error, without an amount: the reservation never became a charge
==================================  ====================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from .bill import Bill
from .clock import Clock
from .image_jobs import ImageJob, ImageJobs
from .options import Options
from .response_bodies import dump

QUOTA_PER_DOLLAR: Final = 500_000
ROWS: Final = 1000
LOG_PERIOD: Final = 20 * 60.0
"""Seconds in which one address may read the log ``log_limit`` times."""

_CONSUMED: Final = 2
_ERROR: Final = 5
_REFUNDED: Final = 6


@dataclass(frozen=True, slots=True)
class _Row:
    at: float
    kind: int
    job: ImageJob


class AccountBooks:
    """The usage log and the figures of each key; the limit on reads of the log."""

    def __init__(
        self, options: Options, clock: Clock, bill: Bill, jobs: ImageJobs, urls: Callable[[ImageJob], Sequence[str]]
    ) -> None:
        self._options = options
        self._clock = clock
        self._bill = bill
        self._jobs = jobs
        self._urls = urls
        self._reads: dict[str, deque[float]] = {}

    def clear(self) -> None:
        """Forget who has read the log; its rows go with the image jobs."""
        self._reads.clear()

    def admit(self, address: str) -> bool:
        """Whether this address may read the log now; a refused read does not count."""
        limit = self._options.log_limit
        if limit is None:
            return True
        now = self._clock.now()
        reads = self._reads.setdefault(address, deque())
        while reads and reads[0] <= now - LOG_PERIOD:
            reads.popleft()
        if len(reads) >= limit:
            return False
        reads.append(now)
        return True

    def usage_body(self, key: int, balance: Decimal | None) -> bytes:
        """The figures of one key. The balance is the account's, so the charges of other keys lower it, too."""
        self._jobs.book_due_refunds()
        signed = {"charge": 1, "refund": -1}
        used = sum((signed[entry.kind] * entry.amount for entry in self._bill.entries if entry.key == key), Decimal(0))
        # Without a limit the gateway counts down from nothing.
        available = -used if balance is None else balance - self._bill.total
        figures = {
            "object": "token_usage",
            "name": f"emulator-{key + 1}",
            "total_granted": _quota(used + available),
            "total_used": _quota(used),
            "total_available": _quota(available),
            "unlimited_quota": balance is None,
            "model_limits": {},
            "model_limits_enabled": False,
            "expires_at": 0,
        }
        return dump({"code": True, "message": "ok", "data": figures})

    def log_body(self, key: int) -> bytes:
        """The newest rows of one key, newest first."""
        latest = self._clock.now() - self._options.log_delay
        rows = [row for job in self._jobs.all() if job.key == key for row in self._rows(job) if row.at <= latest]
        rows.reverse()  # of two rows of the same moment, the later one comes first
        rows.sort(key=lambda row: row.at, reverse=True)
        return dump({"success": True, "message": "", "data": [self._document(row) for row in rows[:ROWS]]})

    def _rows(self, job: ImageJob) -> Iterator[_Row]:
        self._jobs.book_refund(job)  # also notes whether the job has ended by now
        failed = job.outcome in ("failed", "cancelled")
        if job.tracked:
            yield _Row(job.created, _CONSUMED, job)
            if failed and job.ended_at is not None:
                yield _Row(job.ended_at, _REFUNDED, job)
        elif job.ended_at is not None:
            yield _Row(job.ended_at, _ERROR if failed else _CONSUMED, job)

    def _document(self, row: _Row) -> dict[str, Any]:
        job = row.job
        price = Decimal(0) if row.kind == _ERROR else (job.request.price or Decimal(0)) * job.images
        asked = f"size {job.request.aspect_ratio}, resolution {job.request.resolution}, n {job.request.n}"
        return {
            "created_at": int(job.created_wall + row.at - job.created),
            "type": row.kind,
            "content": asked if row.kind == _CONSUMED else _failure(job),
            "model_name": job.request.model,
            "quota": _quota(price),
            "use_time": 0 if job.tracked else round(row.at - job.created),
            "request_id": "" if row.kind == _REFUNDED else job.request_id,
            "other": dump(self._details(row)).decode(),
        }

    def _details(self, row: _Row) -> dict[str, Any]:
        job = row.job
        details: dict[str, Any] = {"task_id": job.id} if job.tracked else {}
        if row.kind == _REFUNDED:
            return details
        details["request_data"] = _request_data(job)
        if row.kind == _CONSUMED and job.ended_at is not None:
            if job.outcome in ("failed", "cancelled"):
                details["billing_refunded"] = True
            elif urls := self._urls(job):
                details["result_url"] = urls[0]
        return details


def _request_data(job: ImageJob) -> dict[str, Any]:
    request = job.request
    data: dict[str, Any] = {"model": request.model, "prompt": request.prompt, "n": request.n, **request.as_sent}
    if "resolution" in data:
        data["resolution"] = data["resolution"].lower()
    data["effective_resolution"] = request.resolution.lower()
    if urls := [reference.url for reference in request.references if reference.url is not None]:
        data["image_urls"] = urls
    return data


def _failure(job: ImageJob) -> str:
    reason = job.reason.get("message") if job.reason is not None and not isinstance(job.reason, str) else job.reason
    return f"image generation failed: {reason}" if reason else "image generation failed"


def _quota(dollars: Decimal) -> int:
    return int(dollars * QUOTA_PER_DOLLAR)
