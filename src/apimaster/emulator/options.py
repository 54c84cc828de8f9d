"""The emulator's options: what a caller may write, and the checked values that the emulator works with.

The constructor, the command line and the control routes accept the same spellings (``latency="2-6"``,
``faults="rate_limited=0.1"``), because all of them are read here or in the modules named here.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, TypedDict, get_args

from ..catalog import MEBIBYTE, known_specs
from .channels import Channel
from .dialects import Dialect
from .fault_rates import parse_fault_rates
from .latency import Latency, parse_latency
from .like import NOBODY, Likeness, read_likeness
from .prices import Prices, parse_prices

DEFAULT_KEY: Final = "sk-emulator"
DEFAULT_URL_LIFETIME: Final = 24 * 3600.0
REQUEST_LIMIT: Final = 32 * MEBIBYTE
UPLOAD_LIMIT: Final = 20 * MEBIBYTE

Pictures = Literal["full", "plain", "small"]
PictureFormat = Literal["png", "jpeg", "webp"]


class Settings(TypedDict, total=False):
    """The keyword arguments of `Emulator`, as a caller may write them; `Emulator` documents each."""

    host: str
    port: int
    latency: float | str | tuple[float, float] | Latency
    sigma: float
    dialect: str | Dialect
    faults: str | Mapping[str, float] | None
    seed: int
    like: str | os.PathLike[str] | Likeness | None
    api_keys: str | Sequence[str] | None
    balance: Decimal | str | int | None
    pictures: Pictures
    picture_format: PictureFormat
    url_lifetime: float
    cdn: bool
    models: Sequence[str]
    prices: Mapping[str, Mapping[str, Decimal | str | int]] | None
    history: int
    account_routes: bool
    price_routes: bool
    log_limit: int | None
    log_delay: float
    webhook_routes: bool
    webhook_models: Sequence[str] | None
    webhook_pause: float
    webhook_timeout: float
    endpoint_limit: int
    channel: str | Channel
    request_limit: int
    upload_limit: int
    upload_lifetime: float


@dataclass(frozen=True, slots=True)
class Options:
    """The same options, checked and parsed by `make_options`."""

    host: str
    port: int
    latency: Latency
    dialect: Dialect
    fault_rates: Mapping[str, float]
    seed: int
    like: Likeness
    api_keys: tuple[str, ...] | None
    balance: Decimal | None
    pictures: Pictures
    picture_format: PictureFormat
    url_lifetime: float
    cdn: bool
    models: tuple[str, ...]
    prices: Prices
    history: int
    account_routes: bool
    price_routes: bool
    log_limit: int | None
    log_delay: float
    webhook_routes: bool
    webhook_models: tuple[str, ...] | None
    webhook_pause: float
    webhook_timeout: float
    endpoint_limit: int
    channel: Channel
    request_limit: int
    upload_limit: int
    upload_lifetime: float


def make_options(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    latency: float | str | tuple[float, float] | Latency = 0.0,
    sigma: float = 0.0,
    dialect: str | Dialect = "tracked",
    faults: str | Mapping[str, float] | None = None,
    seed: int = 0,
    like: str | os.PathLike[str] | Likeness | None = None,
    api_keys: str | Sequence[str] | None = DEFAULT_KEY,
    balance: Decimal | str | int | None = None,
    pictures: Pictures = "full",
    picture_format: PictureFormat = "png",
    url_lifetime: float = DEFAULT_URL_LIFETIME,
    cdn: bool = False,
    models: Sequence[str] | None = None,
    prices: Mapping[str, Mapping[str, Decimal | str | int]] | None = None,
    history: int = 20_000,
    account_routes: bool = True,
    price_routes: bool = True,
    log_limit: int | None = 20,
    log_delay: float = 0.0,
    webhook_routes: bool = True,
    webhook_models: Sequence[str] | None = None,
    webhook_pause: float = 5.0,
    webhook_timeout: float = 10.0,
    endpoint_limit: int = 20,
    channel: str | Channel = "any",
    request_limit: int = REQUEST_LIMIT,
    upload_limit: int = UPLOAD_LIMIT,
    upload_lifetime: float = DEFAULT_URL_LIFETIME,
) -> Options:
    """Check every option.

    Raises:
        ValueError: an option has a value that is not accepted; the message names the option, the value and what
            is accepted.
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
    if log_limit is not None and log_limit < 1:
        raise ValueError(f"log_limit {log_limit!r} must be at least 1, or None for no limit")
    if not 0 <= log_delay < math.inf:
        raise ValueError(f"log_delay {log_delay!r} must be a number of seconds, 0 or more")
    for name, seconds in (("webhook_pause", webhook_pause), ("webhook_timeout", webhook_timeout)):
        if not 0 < seconds < math.inf:
            raise ValueError(f"{name} {seconds!r} must be a number of seconds, more than 0")
    if endpoint_limit < 1:
        raise ValueError(f"endpoint_limit {endpoint_limit!r} must be at least 1")
    offered = tuple(each for spec in known_specs() for each in spec.ids) if models is None else tuple(models)
    if unknown := [model for model in webhook_models or () if model not in offered]:
        raise ValueError(f"webhook_models holds {unknown[0]!r}, which models does not")
    for name, limit in (("request_limit", request_limit), ("upload_limit", upload_limit)):
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"{name} {limit!r} must be a number of bytes, at least 1")
    if not upload_lifetime > 0:
        raise ValueError(f"upload_lifetime {upload_lifetime!r} must be more than 0 seconds")
    keys = (api_keys,) if isinstance(api_keys, str) else None if api_keys is None else tuple(api_keys)
    if keys is not None and not all(key and key.isascii() and key.isprintable() and " " not in key for key in keys):
        raise ValueError("api_keys must be printable ASCII without spaces; None accepts every key")
    return Options(
        host=host,
        port=port,
        latency=parse_latency(latency, sigma),
        dialect=Dialect.parse(dialect),
        fault_rates=parse_fault_rates(faults),
        seed=seed,
        like=NOBODY if like is None else like if isinstance(like, Likeness) else read_likeness(like),
        api_keys=keys,
        balance=None if balance is None else _dollars(balance),
        pictures=pictures,
        picture_format=picture_format,
        url_lifetime=url_lifetime,
        cdn=cdn,
        models=offered,
        prices=parse_prices(prices, offered),
        history=history,
        account_routes=account_routes,
        price_routes=price_routes,
        log_limit=log_limit,
        log_delay=log_delay,
        webhook_routes=webhook_routes,
        webhook_models=None if webhook_models is None else tuple(webhook_models),
        webhook_pause=float(webhook_pause),
        webhook_timeout=float(webhook_timeout),
        endpoint_limit=endpoint_limit,
        channel=Channel.parse(channel),
        request_limit=request_limit,
        upload_limit=upload_limit,
        upload_lifetime=upload_lifetime,
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
    """True for ``localhost`` and for loopback addresses, which only this machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
