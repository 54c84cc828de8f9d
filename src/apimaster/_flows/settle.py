"""Find out what became of purchases that nobody knows the outcome of: read the usage log, match, collect."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..account import Charge
from ..errors import APIMasterError
from ..ledger.purchase import Purchase, Settlement, purchase_from
from ..ledger.rows import Row, RowId
from ..ledger.schema import PAGE, Where, calls_reads, failed_reads, page_key, pruned
from ..ledger.settling import settle_steps
from ..ledger.steps import Settle
from ..ledger.usage_log import Log
from .account import LOG_PERIOD, reserve_log_read
from .account import dated_charges as read_charges
from .collect import collect, deliver
from .combine import Delivery
from .context import Context
from .image_run import CallOptions, ImageRun
from .operations import Await, Flow, Instant, Now, RunBlocking
from .purchase import LedgerLike, Record
from .purchase_errors import no_ledger
from .task_record import TaskRecord, record_of_task

if TYPE_CHECKING:
    from ..ledger.backend import Backend

_log = logging.getLogger("apimaster")

LOG_LIMIT: Final = 15
"""Readings in ``LOG_PERIOD``. The gateway answers about 20: some are left for other keys and ledgers at its address."""

CALLS_LIMIT: Final = 12
"""Readings in ``LOG_PERIOD`` that calls make by themselves: the others are left for people who ask."""

CALLS_PAUSE: Final = 20.0
"""Seconds between such readings: none before the third, and so many more before each later one of the period. Calls
that have to look again soon would else use up all readings in a minute, and nothing could be settled for the next 19.
"""

ASK_AGAIN: Final = 120.0
"""Seconds after a reading that failed in which calls don't ask by themselves: so they leave some readings, too."""

_ELSEWHERE: Final = "bought with another API key, or at another gateway: a client with that key there can settle it."

_READ_TIMEOUT: Final = 60.0


def settle(context: Context, keys: Sequence[str], options: CallOptions) -> Flow[Settlement]:
    """Settle the unknown purchases with these keys, or all of the account's; collect what was charged."""
    ledger = context.ledger
    if ledger is None:
        raise no_ledger("settle")
    begun: Instant = yield Now()
    if options.target is not None:
        yield RunBlocking(options.target.check)
    yield Await(ledger.start_reaping)
    unknown = yield from unknown_rows(context, ledger, keys)
    elsewhere, left_out = yield from _left_out(ledger, keys, unknown)
    wanted = {row.id for row in unknown} if keys else None
    note = "" if keys and not unknown else (yield from _read_and_settle(context, wanted))
    timeout = _READ_TIMEOUT if options.timeout is None else options.timeout
    run = ImageRun(options, begun, begun.monotonic + timeout, total=len(unknown))
    found: list[Purchase] = []
    for before in (*unknown, *elsewhere):
        purchase = yield from _purchase(ledger, before.id)
        if purchase is not None and purchase.task is not None and purchase.state == "submitted":
            record: Record = yield from record_of_task(ledger, purchase.task)
            yield from _recorded(record, collect(context, purchase.task, replace(run, record=record), begun=None))
            purchase = yield from _purchase(ledger, before.id)
        elif purchase is not None and purchase.state == "delivered" and options.target is not None:
            record = TaskRecord(ledger, [before.id], None)
            once = deliver(context, purchase.images, purchase.task, purchase.request, replace(run, record=record))
            yield from _recorded(record, once)
            purchase = yield from _purchase(ledger, before.id)
        if purchase is not None:
            found.append(purchase)
    return Settlement(
        recovered=tuple(each for each in found if each.state in ("submitted", "delivered", "saved")),
        not_charged=tuple(each for each in found if each.state == "failed"),
        still_unknown=tuple(each for each in found if each.state == "unknown"),
        note=note,
        left_out=left_out,
    )


def _left_out(
    ledger: LedgerLike, keys: Sequence[str], unknown: Sequence[Row]
) -> Flow[tuple[list[Row], tuple[str, ...]]]:
    """Purchases of other accounts that were asked for by their keys; and why these, and other keys, are left out."""
    own = {row.id for row in unknown}
    if not keys:
        others = [row for row in (yield from _rows(ledger, Where(states=("unknown",)))) if row.id not in own]
        count = "One unknown purchase was" if len(others) == 1 else f"{len(others)} unknown purchases were"
        return [], (f"{count} {_ELSEWHERE}",) if others else ()
    own_keys = {row.key for row in unknown}
    elsewhere: list[Row] = []
    reasons = []
    for key in dict.fromkeys(keys):
        if key in own_keys:
            continue
        rows = yield from _rows(ledger, Where(key=key))
        others = [row for row in rows if row.state == "unknown"]
        elsewhere += others
        known = ", ".join(f"{key!r} [{row.index}] is {row.state}" for row in rows) or f"there is no purchase {key!r}"
        reasons.append(f"The purchase {key!r} was {_ELSEWHERE}" if others else f"Nothing is unknown: {known}.")
    return elsewhere, tuple(reasons)


def settle_unknown(context: Context, timeout: float = _READ_TIMEOUT) -> Flow[str]:
    """Settle all unknown purchases of the account together: equal ones can only be told apart side by side.

    Gives the reason if the log could not be read. For calls that meet an unknown purchase: while the log can't be read,
    it is asked every two minutes at most, whichever calls of whichever processes want to know.
    """
    assert context.ledger is not None
    wait = yield from reserve_log_read(context.ledger, failed_reads(context.account), 1, ASK_AGAIN, count=False)
    if wait > 0:
        return f"It could not be read lately, and is asked again in {wait:.0f} s."
    wait = yield from reserve_log_read(
        context.ledger, calls_reads(context.account), CALLS_LIMIT, LOG_PERIOD, pause=CALLS_PAUSE
    )
    if wait > 0:
        return f"Other calls have just read it, and it is read again in {wait:.0f} s."
    return (yield from _read_and_settle(context, None, timeout))


def _read_and_settle(context: Context, wanted: Collection[RowId] | None, timeout: float = _READ_TIMEOUT) -> Flow[str]:
    """Read the usage log once, and record what it says of unknown purchases. Gives the reason if it could not be read.

    Then nothing is known of them that was not known before, and they stay as they are: each says why it is unknown.
    All of the account are compared side by side, since a charge may be that of another one; the verdicts of those in
    ``wanted`` are recorded, None: of all. ``timeout`` is seconds for the reading.
    """
    ledger = context.ledger
    assert ledger is not None
    account = context.account
    wait = yield from reserve_log_read(ledger, account, LOG_LIMIT, LOG_PERIOD)
    if wait > 0:
        return f"The usage log was read too often: it can be read again in {wait:.0f} s."
    # Before the log is read: what happens meanwhile is not in it.
    now: float = yield Await(lambda: ledger.call(lambda each: each.now()))
    instant: Instant = yield Now()
    try:
        # One reading is one request: a retry would count against the gateway's limit, too.
        once = replace(context, policy=replace(context.policy, max_retries=0))
        charges, date = yield from read_charges(once, timeout)
        read: Instant = yield Now()
    except APIMasterError as error:
        _log.warning("The usage log could not be read: %s", error.message)
        if timeout >= _READ_TIMEOUT:  # a shorter one says little of a log that is only slow
            yield from reserve_log_read(ledger, failed_reads(account), 1, ASK_AGAIN)
        return error.message
    # This machine's clock, unless the reply says the gateway's own, against the ledger's: the server's in PostgreSQL.
    offset = (read.wall if date is None else date) - (now + read.monotonic - instant.monotonic)
    # In this order: a purchase that becomes known meanwhile is in both, and the later reading counts. Another process
    # may be settling the same ones.
    on_their_way = yield from _rows(ledger, Where(account=account, states=("submitting",)))
    unknown = {row.id: row for row in (yield from unknown_rows(context, ledger))}
    known = yield from _known(context, ledger, charges)
    unknown |= {row.id: row for row in known if row.id in unknown}
    bought = Where(account=account, states=("submitted", "delivered", "saved"))
    newest: list[Row] = yield Await(lambda: ledger.call(lambda each: each.rows(bought, None, PAGE, newest=True)))
    candidates = [row for row in unknown.values() if row.state == "unknown"]
    gone: frozenset[str] = yield Await(lambda: ledger.call(partial(_pruned, account)))
    log = Log(charges, known, now, ledger.settle_after, offset, on_their_way, newest, gone, _host_of(context.base_url))
    verdicts: list[Settle] = yield RunBlocking(lambda: settle_steps(candidates, log))
    begun_at = {row.id: row.begun_at for row in (*known, *unknown.values())}
    others = set() if wanted is None else {row.id for row in candidates} - set(wanted)
    # All at once, so that few commits hold them.
    written = [
        ledger.take(replace(verdict, begun_at=begun_at[verdict.id])) for verdict in verdicts if verdict.id not in others
    ]
    for future in written:
        yield Await(lambda future=future: future)  # type: ignore[misc]
    return ""


def _known(context: Context, ledger: LedgerLike, charges: Sequence[Charge]) -> Flow[list[Row]]:
    """The account's purchases that the log may name: by tasks, those of earlier attempts too, or by pictures alone."""
    tasks = tuple({charge.task_id for charge in charges if charge.task_id is not None})
    known: list[Row] = []
    for start in range(0, len(tasks), PAGE):
        part = tasks[start : start + PAGE]
        known += yield from _rows(ledger, Where(account=context.account, task_ids=part))
    oldest = min((float(charge.at) for charge in charges if charge.at > 0), default=None)
    since = None if oldest is None else oldest - 2 * 86400  # clocks may differ
    known += yield from _rows(ledger, Where(account=context.account, retried=True, changed_since=since))
    known += yield from _rows(
        ledger, Where(account=context.account, without_task=True, states=("delivered", "saved"), changed_since=since)
    )
    return list({row.id: row for row in known}.values())


def _host_of(base_url: str) -> str:
    return urlsplit(base_url).netloc.rpartition("@")[2].lower()


def _pruned(account: str, backend: Backend) -> frozenset[str]:
    return frozenset(name for each in (account, "") for name in json.loads(backend.note(pruned(each)) or "[]"))


def unknown_rows(context: Context, ledger: LedgerLike, keys: Sequence[str] = ()) -> Flow[list[Row]]:
    """The account's unknown purchases, those with these keys or all of them, oldest first."""
    if not keys:
        return (yield from _rows(ledger, Where(states=("unknown",), account=context.account)))
    found: list[Row] = []
    for key in keys:
        found += yield from _rows(ledger, Where(key=key, states=("unknown",), account=context.account))
    return found


def _rows(ledger: LedgerLike, where: Where) -> Flow[list[Row]]:
    rows: list[Row] = []
    while True:
        after = page_key(rows[-1]) if rows else None
        page: list[Row] = yield Await(
            lambda after=after: ledger.call(lambda each: each.rows(where, after, PAGE))  # type: ignore[misc]
        )
        rows += page
        if len(page) < PAGE:
            return rows


def _purchase(ledger: LedgerLike, row_id: RowId) -> Flow[Purchase | None]:
    key, index = row_id
    rows = yield from _rows(ledger, Where(key=key, index=index))
    return purchase_from(rows[0]) if rows else None


def _recorded(record: Record, flow: Flow[Delivery]) -> Flow[None]:
    """Collect what settling has found; what fails is recorded, and stops nothing else."""
    try:
        yield from flow
    except APIMasterError as error:
        _log.warning("A picture that settling has found could not be collected: %s", error.message)
        yield from record.failed(error)
