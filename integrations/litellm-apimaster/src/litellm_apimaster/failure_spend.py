"""What a call that failed has bought: in LiteLLM's failure events, and in what its proxy books.

A wait may end after the purchase, and a picture may be made that can't be fetched. LiteLLM (from 1.101 on) lets a
provider name the cost of a failure. Two readers want it:

- Callbacks get an event of each attempt, before LiteLLM decides whether another one follows.
- A proxy with a database books each request once, when it is over: its response, or the failure of its last attempt.
  It books no earlier attempt.

So in such a proxy the last attempt has to report. Where another one may follow, the event of this one reports nothing.
The later attempt does, or the callback below, which the proxy asks before it books a failure: by the request, since the
error of another attempt may be the one that its caller gets. Everywhere else, the event of each attempt reports.

Earlier versions of LiteLLM set the cost of every failure to 0. There, the call that gets the picture reports it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.litellm_logging import Logging

from .call import Call
from .call_arguments import FROM_PROXY, body_of_client
from .purchases import Plan
from .spend_report import SpendReport

NAMES_COST_OF_FAILURE: Final = hasattr(Logging, "record_partial_usage_for_failure")
"""Whether this LiteLLM lets a provider name the cost of a failure."""

_log = logging.getLogger("litellm_apimaster")

Place: TypeAlias = Literal["event", "end of request", "nowhere"]

_PROXY: Final = "litellm.proxy.proxy_server"
_BOOKKEEPER: Final = "_ProxyDBLogger"
_USAGE: Final = "combined_usage_object"
_COST: Final = "response_cost"
_CALL_ID: Final = "litellm_call_id"
_MAX_REQUESTS: Final = 1000
_EVENTS: Final = ("sync_failure", "async_failure")
# Settings of the proxy's Router by which another attempt follows an error after which the caller may have paid.
_MORE_ATTEMPTS: Final = ("fallbacks", "retry_policy", "model_group_retry_policy", "enable_weighted_failover")


class NoTokens(litellm.Usage):  # type: ignore[misc]  # LiteLLM's classes carry no types
    """Without a usage, LiteLLM takes a failure for one that cost nothing. This endpoint counts no tokens."""


class FailedCost:
    """What a failed call reports. It outlives the call, so it holds nothing of the request, which may have pictures."""

    def __init__(self) -> None:
        self.report: SpendReport | None = None
        self.place: Place = "nowhere"
        self.reported = Decimal(0)

    def at_end(self) -> Decimal:
        """US dollars to book for the request, which ends with this failure. Blocks."""
        if self.report is not None and self.place == "end of request":
            self.reported = self.report.cost() or Decimal(0)
            self.place = "event"
        return self.reported


class FailedCall:
    """Reports what a call has bought, if it fails: at most once, and not if it is stopped before anybody learns it."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._cost = FailedCost()

    def report(self, plan: Plan, error: Exception) -> None:
        """The call fails with ``error``: report the cost in the event that LiteLLM is about to make. Blocks."""
        if not NAMES_COST_OF_FAILURE or getattr(error, "billed", "maybe") == "no":
            return
        try:
            self._report_in_event(plan)
        except Exception:  # noqa: BLE001 -- what this uses of LiteLLM may change, and the caller needs to know ``error``
            _log.exception("The cost of a failed call was not reported.")

    def _report_in_event(self, plan: Plan) -> None:
        cost = self._cost
        cost.place = _place(self._call)
        if cost.place == "nowhere":
            return
        cost.report = plan.report(None)
        if cost.place == "event":
            cost.reported = cost.report.cost() or Decimal(0)
            if cost.reported:
                self._call.logging.record_partial_usage_for_failure(_no_tokens(), float(cost.reported))
                if _callback not in litellm.input_callback:
                    litellm.input_callback.append(_callback)

    def give_up(self) -> None:
        """Nobody learns of the failure: leave the report to another call. Does not wait."""
        if self._cost.report is not None:
            self._cost.report.give_up()

    def hand_to(self, error: Any) -> None:
        """``error`` is LiteLLM's, for the caller: it tells what the event reports."""
        error.reported_cost = float(self._cost.reported)
        call_id = self._call.arguments.get(_CALL_ID)
        if self._cost.report is not None and FROM_PROXY in self._call.arguments and call_id:
            _of_requests.keep(str(call_id), self._cost)


class FailureBooking(CustomLogger):
    """Tells the proxy what a request has cost that failed. It logs nothing."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: dict[str, Any]) -> None:
        """Another attempt begins, maybe at another provider, and shares the notes of one that has reported: clear them.

        Otherwise LiteLLM would take the tokens of that failure for those of this attempt.
        """
        if isinstance(kwargs.get(_USAGE), NoTokens):
            del kwargs[_USAGE]
            kwargs[_COST] = None

    async def async_post_call_failure_hook(  # type: ignore[override]  # LiteLLM passes all of it by name
        self, *, request_data: dict[str, Any], **_: Any
    ) -> None:
        """Put the cost where the proxy's own callback, which comes after this one, looks for it."""
        failed = _of_requests.take(str(request_data.get(_CALL_ID)))
        if not failed:
            return
        cost = await asyncio.to_thread(lambda: sum((each.at_end() for each in failed), Decimal(0)))
        if cost:
            request_data[_USAGE] = _no_tokens()
            request_data[_COST] = float(cost)


class FailedRequests:
    """The failed attempts of requests that are not over, by LiteLLM's call id, which all attempts of one share.

    Nobody says when a request ends well, so the oldest are forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: dict[str, list[FailedCost]] = {}

    def keep(self, call_id: str, failed: FailedCost) -> None:
        with self._lock:
            self._attempts.setdefault(call_id, []).append(failed)
            while len(self._attempts) > _MAX_REQUESTS:
                del self._attempts[next(iter(self._attempts))]

    def take(self, call_id: str) -> list[FailedCost]:
        """The attempts of a request, which is over now."""
        with self._lock:
            return self._attempts.pop(call_id, [])


_callback: Final = FailureBooking()
_of_requests: Final = FailedRequests()


def register_failure_booking(arguments: Mapping[str, Any]) -> None:
    """Make sure that the proxy asks, if the call comes from one. Cheap, as each call does it."""
    if NAMES_COST_OF_FAILURE and FROM_PROXY in arguments and _callback not in litellm.callbacks:
        litellm.callbacks.insert(0, _callback)  # before the one that books


def _place(call: Call) -> Place:
    """Where the cost of a call that fails now is reported."""
    told = not all(call.logging.should_run_logging(event_type=event) for event in _EVENTS)
    if FROM_PROXY not in call.arguments:
        return "nowhere" if told else "event"
    bookkeeper: Any = next((each for each in litellm.callbacks if type(each).__name__ == _BOOKKEEPER), None)
    if bookkeeper is not None and bookkeeper._should_track_errors_in_db() is False:
        return "nowhere"  # its operator has chosen ``disable_error_logs``
    if bookkeeper is not None and (told or _another_attempt_may_follow(call.arguments)):
        return "end of request"
    return "nowhere" if told else "event"


def _another_attempt_may_follow(arguments: Mapping[str, Any]) -> bool:
    router = getattr(sys.modules.get(_PROXY), "llm_router", None)
    return (
        any(getattr(router, name, None) for name in _MORE_ATTEMPTS)
        or _names_fallbacks(router, arguments.get("model_info"))
        or arguments.get("order") is not None
        or bool(body_of_client(arguments).get("fallbacks"))
    )


def _names_fallbacks(router: Any, model_info: Any) -> bool:
    """Whether the deployment of this attempt has fallbacks of its own, which LiteLLM tries within the attempt."""
    own = model_info.get("id") if isinstance(model_info, Mapping) else None
    deployments = getattr(router, "model_list", None) or ()
    return any(
        each["litellm_params"].get("fallbacks")
        for each in deployments
        if own is not None and (each.get("model_info") or {}).get("id") == own
    )


def _no_tokens() -> NoTokens:
    return NoTokens(prompt_tokens=0, completion_tokens=0, total_tokens=0)
