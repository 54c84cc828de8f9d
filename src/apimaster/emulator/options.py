"""The emulator's settings: what they may be, and how they are written on a command line.

Everything that a person types (``--latency 2-6``, ``--faults rate_limited=0.1``) is read here, so that the
constructor, the command line and the control route accept the same spellings.
"""

from __future__ import annotations

import ipaddress
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, TypedDict, get_args

from ..catalog import KNOWN_MODELS
from .dialects import Dialect
from .fault_rates import parse_faults

DEFAULT_KEY: Final = "sk-emulator"
DEFAULT_URL_LIFETIME: Final = 24 * 3600.0

Pictures = Literal["full", "plain", "small"]
PictureFormat = Literal["png", "jpeg", "webp"]

_NUMBER: Final = r"(\d+(?:\.\d+)?|\.\d+)"
_RANGE: Final = re.compile(rf"{_NUMBER}(?:\s*-\s*{_NUMBER})?(?:\s*~\s*{_NUMBER})?\s*s?")
_POLLS: Final = re.compile(r"(\d+)\s*polls?")
_LATENCY_HELP: Final = "seconds (2), a range (2-6), a median with log-normal scatter (2~0.3), '3 polls', or 'manual'"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a job takes.

    Attributes:
        low: seconds, at least.
        high: seconds, at most; drawn evenly between the two.
        sigma: scatter: the drawn time is multiplied by ``exp(gauss(0, sigma))``.
        polls: if set, a job is finished at this look plus one, whatever the time: 0 means at the first look.
        manual: if set, a job ends only when the test says so (``emu.finish``).
    """

    low: float = 0.0
    high: float = 0.0
    sigma: float = 0.0
    polls: int | None = None
    manual: bool = False

    @property
    def estimate(self) -> int:
        """Whole seconds that a gateway would expect a job to take, without knowing how it will turn out."""
        return max(1, math.ceil(self.high)) if not self.manual and self.polls is None else 60

    def draw(self, rng: random.Random) -> float:
        """Seconds for one job; infinite where time does not end it."""
        if self.manual:
            return math.inf
        seconds = self.low if self.high == self.low else rng.uniform(self.low, self.high)
        return seconds * math.exp(rng.gauss(0.0, self.sigma)) if self.sigma else seconds


def parse_latency(value: float | str | tuple[float, float] | Latency, sigma: float = 0.0) -> Latency:
    """Read a latency: a number of seconds, ``"2-6"``, ``"2~0.3"``, ``"3 polls"``, ``"manual"`` or a pair.

    Raises:
        ValueError: none of these, negative, or an upper end below the lower.
    """
    if isinstance(value, Latency):
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "manual":
            return Latency(manual=True)
        if polls := _POLLS.fullmatch(text):
            return Latency(polls=int(polls[1]))
        found = _RANGE.fullmatch(text)
        if found is None:
            raise ValueError(f"latency {value!r} can't be read; accepted: {_LATENCY_HELP}")
        low = float(found[1])
        high = float(found[2]) if found[2] else low
        sigma = float(found[3]) if found[3] else sigma
    elif isinstance(value, tuple):
        low, high = value
    else:
        low = high = float(value)
    if not (0 <= low <= high < math.inf) or not 0 <= sigma < math.inf:
        raise ValueError(f"latency {value!r} must be finite, not negative, and not end before it begins")
    return Latency(low, high, sigma)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that can be set on one emulator; made by `make_options`, which checks it."""

    host: str
    port: int
    latency: Latency
    dialect: Dialect
    faults: Mapping[str, float]
    seed: int
    api_keys: tuple[str, ...] | None
    balance: Decimal | None
    pictures: Pictures
    picture_format: PictureFormat
    url_lifetime: float
    cdn: bool
    models: tuple[str, ...]
    history: int


class Settings(TypedDict, total=False):
    """The keyword arguments of `Emulator`, as a person may write them; what they mean stands there."""

    host: str
    port: int
    latency: float | str | tuple[float, float] | Latency
    sigma: float
    dialect: str | Dialect
    faults: str | Mapping[str, float] | None
    seed: int
    api_keys: str | Sequence[str] | None
    balance: Decimal | str | int | None
    pictures: Pictures
    picture_format: PictureFormat
    url_lifetime: float
    cdn: bool
    models: Sequence[str]
    history: int


def make_options(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    latency: float | str | tuple[float, float] | Latency = 0.0,
    sigma: float = 0.0,
    dialect: str | Dialect = "tracked",
    faults: str | Mapping[str, float] | None = None,
    seed: int = 0,
    api_keys: str | Sequence[str] | None = DEFAULT_KEY,
    balance: Decimal | str | int | None = None,
    pictures: Pictures = "full",
    picture_format: PictureFormat = "png",
    url_lifetime: float = DEFAULT_URL_LIFETIME,
    cdn: bool = False,
    models: Sequence[str] = KNOWN_MODELS,
    history: int = 20_000,
) -> Options:
    """Check every setting.

    Raises:
        ValueError: a setting is not accepted; the message names the value, the setting and what is.
    """
    if not is_loopback(host):
        raise ValueError(f"host {host!r} is not this machine; accepted: 127.0.0.1, ::1, localhost")
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port!r} is not a port; accepted: 0 (any free one) to 65535")
    if pictures not in get_args(Pictures):
        raise ValueError(f"pictures {pictures!r} is not known; accepted: {', '.join(get_args(Pictures))}")
    if picture_format not in get_args(PictureFormat):
        raise ValueError(
            f"picture_format {picture_format!r} is not known; accepted: {', '.join(get_args(PictureFormat))}"
        )
    if not url_lifetime > 0:
        raise ValueError(f"url_lifetime {url_lifetime!r} must be more than 0 seconds")
    if history < 1:
        raise ValueError(f"history {history!r} must be at least 1")
    keys = (api_keys,) if isinstance(api_keys, str) else None if api_keys is None else tuple(api_keys)
    if keys is not None and not all(key and key.isascii() and key.isprintable() and " " not in key for key in keys):
        raise ValueError("api_keys must be printable ASCII without blanks; None accepts every key")
    return Options(
        host=host,
        port=port,
        latency=parse_latency(latency, sigma),
        dialect=Dialect.parse(dialect),
        faults=parse_faults(faults),
        seed=seed,
        api_keys=keys,
        balance=None if balance is None else _dollars(balance),
        pictures=pictures,
        picture_format=picture_format,
        url_lifetime=url_lifetime,
        cdn=cdn,
        models=tuple(models),
        history=history,
    )


def _dollars(value: Decimal | str | int) -> Decimal:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"balance {value!r} is not an amount of US dollars; accepted: 5 or 0.50")
    return amount


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and for addresses of this machine that nobody else can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
