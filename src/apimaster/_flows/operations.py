"""The operations that a flow may yield, and the answer to each. A flow has no other contact with the outside world.

==============  ==========================================  ======================================
operation       what the driver does                        what the flow gets
==============  ==========================================  ======================================
Send            one HTTP exchange with the gateway          Reply, or NotSent / Broken is thrown in
Fetch           one GET, streamed into a sink               Reply (body empty on success), or Refused
Sleep           waits, in seconds, or less if it is woken   None
Now             reads the monotonic and the wall clock      Instant
RunBlocking     runs a blocking function off the loop       what it returns
Await           waits for the future of another thread      what it holds, or its exception is thrown in
Gather          runs flows side by side, bounded            a list of results or exceptions
Notify          calls the caller's progress callback        None
==============  ==========================================  ======================================

The list is short on purpose: a step that these operations can't express, such as opening a socket, does not belong in a
flow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

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
    """The destination of a download. Its methods block; the asyncio driver calls them in a thread."""

    def reset(self) -> None:
        """Start over, and drop the bytes that were written so far."""

    def write(self, data: bytes) -> object:
        """Take the next piece; an exception ends the download and reaches the flow as it is."""


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request to the gateway: ``path`` is relative to the base URL and starts with a slash.

    With ``beside_v1`` it is relative to the base URL without its ``/v1``. A ``public`` call goes without the key.
    ``max_bytes`` limits its reply; None: the driver's own limit. ``content_type`` is that of the body.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    beside_v1: bool = False
    public: bool = False
    max_bytes: int | None = None
    content_type: str = "application/json"

    @property
    def size(self) -> int:
        """Bytes of the body."""
        if self.body is None:
            return 0
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply. Header names are in lower case; ``body`` is the whole body, whose size the driver limits."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Instant:
    """``monotonic`` is for durations, ``wall`` (unix seconds) for dates that the gateway sends."""

    monotonic: float
    wall: float


class NotSent(Exception):  # a fact about an exchange, not an error that a caller sees
    """Nothing left this machine. Thrown into the flow.

    ``advice`` says which setting of this machine to correct; without one it is the network's doing, and may pass.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Broken(Exception):  # the same
    """The connection broke or timed out after the request went out. Thrown into the flow."""


class Refused(Exception):
    """The driver refuses this: a forbidden address, or more bytes than allowed. Thrown into the flow."""


@dataclass(frozen=True, slots=True)
class Send:
    """One exchange with the gateway. ``long`` marks a call that stays open while a picture is drawn.

    ``headers`` are the caller's own, in addition to those of every call.
    """

    call: Call
    timeout: float
    long: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One GET of an absolute URL into ``sink``, at most ``max_bytes``. The driver does not follow redirects.

    ``keyed`` asks for the key; the driver adds it only if the URL's origin is the base URL's.
    """

    url: str
    sink: Sink
    timeout: float
    max_bytes: int
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds, and no longer than it takes until ``until`` is done, which any thread may do."""

    seconds: float
    until: Future[None] | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """Read the clocks."""


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """Run a blocking function: on the same thread in the sync driver, in another one in the asyncio driver."""

    function: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Await:
    """Start something that another thread does, such as a step of the ledger, and wait for it.

    It is done even if the flow is stopped meanwhile.
    """

    start: Callable[[], Future[Any]]


@dataclass(frozen=True, slots=True)
class Gather:
    """Run flows side by side, at most ``limit`` at once; an APIMasterError of one does not stop the others."""

    flows: Sequence[Flow[Any]]
    limit: int


@dataclass(frozen=True, slots=True)
class Notify:
    """Call the caller's callback with ``progress``; the asyncio driver awaits an awaitable that it returns."""

    callback: Callable[[Progress], Awaitable[object] | object]
    progress: Progress


Operation = Send | Fetch | Sleep | Now | RunBlocking | Await | Gather | Notify

# The answer depends on the operation, which a type can't express: so Any, narrowed where it is used.
Flow: TypeAlias = Generator[Operation, Any, T]
