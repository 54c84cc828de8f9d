"""The operations that a flow may yield, and what it is sent for each: all that it can ask of the outside world.

==============  ==========================================  ======================================
operation       what the driver does                        what the flow gets
==============  ==========================================  ======================================
Send            one HTTP exchange with the gateway          Reply, or NotSent / Broken is thrown in
Fetch           one GET, streamed into a sink               Reply (body empty on success), or Refused
Sleep           waits, in seconds                           None
Now             reads the monotonic and the wall clock      Instant
RunBlocking     runs a blocking function off the loop       what it returns
Gather          runs flows side by side, bounded            a list of results or exceptions
Notify          calls the caller's progress callback        None
==============  ==========================================  ======================================

The list is short on purpose: what these operations can't express (open a socket, read a clock) does not belong in a
flow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ..results import Progress

T = TypeVar("T")


class Body(Protocol):
    """A request body of known length that can be iterated again, so that a retry sends all of it."""

    @property
    def length(self) -> int:
        """Bytes in all."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Sink(Protocol):
    """Where a download goes: plain blocking calls; the asyncio driver makes them in a thread."""

    def reset(self) -> None:
        """Start over: what was written so far is dropped."""

    def write(self, data: bytes) -> object:
        """Take the next piece; an exception ends the download and reaches the flow as it is."""


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request to the gateway: ``path`` is relative to the base URL and starts with a slash."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: header names are lower case, ``body`` is the whole body (bounded by the driver)."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Instant:
    """``monotonic`` is for durations, ``wall`` (unix seconds) for dates that the gateway sends."""

    monotonic: float
    wall: float


class NotSent(Exception):  # a fact about an exchange, not an error a caller sees
    """The connection never opened: nothing left this machine. Thrown into the flow."""


class Broken(Exception):  # the same
    """The connection broke or timed out after the request went out. Thrown into the flow."""


class Refused(Exception):
    """The driver will not do this: a forbidden address, or more bytes than allowed. Thrown into the flow."""


@dataclass(frozen=True, slots=True)
class Send:
    """One exchange with the gateway. ``long`` marks a call that is held open while a picture is drawn.

    ``headers`` are the caller's own, beside those that every call has.
    """

    call: Call
    timeout: float
    long: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One GET of an absolute URL into ``sink``, at most ``max_bytes``. Redirects are answered, not followed.

    ``keyed`` asks for the key; the driver adds it only where the URL's origin is the base URL's.
    """

    url: str
    sink: Sink
    timeout: float
    max_bytes: int
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Read the clocks."""


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """Run a blocking function: where it is in the sync driver, in a thread in the asyncio one."""

    function: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Gather:
    """Run flows side by side, at most ``limit`` at once; an APIMasterError of one does not stop the others."""

    flows: Sequence[Flow[Any]]
    limit: int


@dataclass(frozen=True, slots=True)
class Notify:
    """Hand ``progress`` to the caller's callback; an awaitable that it returns is awaited by the asyncio driver."""

    callback: Callable[[Progress], Awaitable[object] | object]
    progress: Progress


Operation = Send | Fetch | Sleep | Now | RunBlocking | Gather | Notify

# What a flow gets back depends on what it yielded, which a type can't say: so Any, narrowed where it is used.
Flow: TypeAlias = Generator[Operation, Any, T]
