"""Which of several calls for the same thing in one assistant message a call is.

Under a key of the application's, the ids of messages and tool calls don't count: a run that is repeated has others. So
calls for the same thing are told apart by their place among each other, which is the same in each repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call


def place_among_equals(call: Call, equals: Sequence[int], next_number: Callable[[], int]) -> int:
    """0 for the first call, 1 for the second, and so on; 0 as well where the message is not visible.

    Args:
        call: the call.
        equals: where in the message the calls stand that ask for the same, this one included.
        next_number: counts the calls with the same id and the same request in one run, in the order in which they
            begin. It is asked only where nothing else tells them apart, and then it does not matter which is which.
    """
    mine = [at for at in equals if call.message_calls[at].get("id") == call.caller.call_id]
    if not mine:
        return 0
    if len(mine) == 1:
        return equals.index(mine[0])
    if call.dispatch is None:
        return equals.index(mine[next_number() % len(mine)])
    # LangGraph dispatches the calls without an answer one by one, in the order of the message.
    answered = call.caller.answered()
    waiting = [at for at, each in enumerate(call.message_calls) if each.get("id") not in answered]
    at = waiting[call.dispatch] if call.dispatch < len(waiting) else None
    return equals.index(at if at in mine else mine[call.dispatch % len(mine)])
