"""The receiver of ``apimaster webhooks listen``: verifies deliveries, and handles each event once.

An event counts as handled only after its action has succeeded. Until then the answer is a 500 or 503, so the gateway
delivers it again: a failing command and a crash cost time, not an event. The number of attempts is bounded: an event
that fails again and again is given up with a 200, since no further delivery would change that. If somebody has it
delivered once more on purpose, it is tried again.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from ...errors import BadRequestError
from ...webhooks import (
    VERIFICATION,
    WebhookSecrets,
    WebhookVerificationError,
    challenge_response,
    parse_webhook,
)
from ..printing import one_line, print_message
from .actions import Action, ActionFailed, Delivery
from .handled_events import HandledEvents

Answer = tuple[int, bytes]

CLAIM_MARGIN: Final = 15.0
"""Seconds beyond the action's own time for which an event is kept from others."""

_DONE: Final = (200, b"{}")
_BUSY: Final = (503, b'{"error": "This event is being handled."}')


class Receiver:
    """Handles deliveries, some at once. It belongs to one event loop.

    Attributes:
        stdout_is_gone: called if nobody reads its output any more.
        stopping: whether to begin with no further event.
    """

    def __init__(
        self,
        secrets: Callable[[], WebhookSecrets],
        events: HandledEvents,
        action: Action,
        *,
        timeout: float,
        attempts: int,
        at_once: int,
    ) -> None:
        """``timeout``: seconds of one action. ``attempts``: how often an event is tried. ``at_once``: events."""
        self._secrets = secrets
        self._events = events
        self._action = action
        self._claim_time = timeout + CLAIM_MARGIN
        self._attempts = attempts
        self._slots = asyncio.Semaphore(at_once)
        self._under_way: set[str] = set()
        self._refused = 0
        self.stdout_is_gone: Callable[[], None] = lambda: None
        self.stopping: Callable[[], bool] = lambda: False

    async def handle(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer one delivery."""
        try:
            event = parse_webhook(body, headers, self._secrets())
            if event.type == VERIFICATION:
                print_message("The gateway verifies this endpoint.")
                return _answer(200, challenge_response(event))
        except WebhookVerificationError as error:
            self._refused += 1
            if self._refused & (self._refused - 1) == 0:  # anybody can send these: the first, second, fourth, eighth …
                print_message(f"A delivery was refused (the {self._refused}. so far): {one_line(error.message)}")
            return _answer(400, {"error": str(error)})
        except BadRequestError as error:  # a challenge without its text
            return _answer(400, {"error": error.message})
        if event.id in self._under_way:
            return _BUSY
        self._under_way.add(event.id)
        try:
            if await asyncio.to_thread(self._events.is_done, event.id):
                return _DONE  # without waiting for a command that is under way
            async with self._slots:
                if self.stopping():
                    return _answer(503, {"error": "The receiver stops."})
                # To its end, whatever becomes of the connection: the event is claimed.
                return await asyncio.shield(self._handle_once(Delivery(event, body, headers)))
        except sqlite3.Error as fault:
            print_message(f"The file of handled events can't be used: {fault}")
            return _answer(503, {"error": "The receiver can't handle events now."})
        finally:
            self._under_way.discard(event.id)

    async def _handle_once(self, delivery: Delivery) -> Answer:
        event_id = delivery.event.id
        name = one_line(event_id)[:80]
        claim = await asyncio.to_thread(self._events.claim, event_id, self._claim_time)
        if claim == "done":
            return _DONE
        if claim == "running":
            return _BUSY
        try:
            await self._action(delivery)
        except ActionFailed as fault:
            return await self._failed(event_id, name, fault)
        except BrokenPipeError:
            await asyncio.to_thread(self._events.failed, event_id)
            self.stdout_is_gone()
            return _answer(500, {"error": "The receiver stops."})
        await asyncio.to_thread(self._events.done, event_id)
        return _DONE

    async def _failed(self, event_id: str, name: str, fault: ActionFailed) -> Answer:
        if not fault.counts:
            await asyncio.to_thread(self._events.not_tried, event_id)
            print_message(f"Event {name} was not handled: {fault}")
            return _answer(500, {"error": "The event was not handled."})
        attempts = await asyncio.to_thread(self._events.failed, event_id)
        if attempts < self._attempts:
            print_message(f"Event {name}, attempt {attempts} of {self._attempts}: {fault}")
            return _answer(500, {"error": "The event was not handled."})
        await asyncio.to_thread(self._events.start_over, event_id)
        print_message(f"Event {name} is given up after {attempts} attempts: {fault}")
        return _answer(200, {"error": "The event was given up."})


def _answer(status: int, document: dict[str, str]) -> Answer:
    return status, json.dumps(document).encode()
