"""Download a picture that is paid for: from its URL, then from the gateway's durable copy.

A download is free, so the client retries it after every passing fault. It sends the key with the first request at most,
and only to the base URL's origin: it follows a redirect without the key. The bytes must be a whole picture; an HTML
page that calls itself image/png is a fault like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, cast
from urllib.parse import urljoin, urlsplit

from .._images.inspect import NotAPicture
from .._storage.target import MemorySink, SavedPicture, Target
from .._wire.messages import output_path
from ..errors import DownloadError, ResultExpiredError, sentence
from ..request import ImageRequest
from ..results import GeneratedImage
from .context import Context
from .operations import Broken, Fetch, Flow, Instant, NotSent, Now, Refused, Reply, RunBlocking, Sink, Sleep

T = TypeVar("T")

_log = logging.getLogger("apimaster")

MAX_PICTURE_BYTES: Final = 256 * 1024 * 1024
"""The largest picture that a model makes, 12288×1536, is 57 MB of raw pixels: more than this is no picture."""

FETCH_TIMEOUT: Final = 120.0
DOWNLOAD_TIMEOUT: Final = 300.0
"""Seconds for ``download`` and ``read``, retries included."""

GRACE: Final = 10.0
"""Seconds that a download gets at least: the client does not give up a paid picture at the last moment."""

_MAX_REDIRECTS: Final = 5
_GONE: Final = frozenset({401, 403, 404, 410})
_PASSING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Destination:
    """The place where one picture is saved, and its name if the caller gave none."""

    target: Target
    stem: str
    position: int = 0
    total: int = 1


def save(
    context: Context, image: GeneratedImage, destination: Destination, *, request: ImageRequest | None, deadline: float
) -> Flow[GeneratedImage]:
    """Download ``image`` to ``destination``, and return it with its path, media type and pixels.

    Raises:
        DownloadError: it could not be downloaded or saved. It is paid for: never generate it again.
    """
    try:
        pending = yield RunBlocking(
            lambda: destination.target.open(destination.stem, position=destination.position, total=destination.total)
        )
    except OSError as error:
        raise DownloadError(_lost(image, f"it could not be written: {error}"), images=(image,)) from error
    try:
        saved: SavedPicture = yield from _fill(context, image, pending, pending.commit, deadline)
    except Exception:
        yield RunBlocking(pending.discard)
        raise
    except BaseException:
        pending.discard()  # the driver has closed the flow, which may not yield any more
        raise
    deviations = _deviations(saved, request)
    for deviation in deviations:
        # Not warnings.warn: a program that turns warnings into errors must not lose a paid picture to one.
        _log.warning("%s: %s", saved.path, deviation)
    return image.model_copy(
        update={
            "path": saved.path,
            "media_type": saved.picture.media_type,
            "width": saved.picture.width,
            "height": saved.picture.height,
            "deviations": deviations,
        }
    )


def download(context: Context, image: GeneratedImage, target: Target) -> Flow[Path | str]:
    """Download ``image`` to the place that the caller names."""
    now: Instant = yield Now()
    yield RunBlocking(target.check)
    stem = f"{image.task_id}-{image.output_index}" if image.task_id else f"image-{now.wall:.0f}-{image.index}"
    destination = Destination(target, stem)
    saved = yield from save(context, image, destination, request=None, deadline=now.monotonic + DOWNLOAD_TIMEOUT)
    return cast("Path | str", saved.path)


def read(context: Context, image: GeneratedImage) -> Flow[bytes]:
    """Download ``image`` and return its bytes, checked to be a whole picture."""
    now: Instant = yield Now()
    sink = MemorySink(MAX_PICTURE_BYTES)
    return (yield from _fill(context, image, sink, sink.commit, now.monotonic + DOWNLOAD_TIMEOUT))


def _fill(context: Context, image: GeneratedImage, sink: Sink, finish: Callable[[], T], deadline: float) -> Flow[T]:
    """Download the picture into ``sink`` from the first source that has it, then ``finish`` it."""
    expired = True
    reason = "it has no URL"
    if image._data is not None:
        data = image._data

        def keep() -> T:
            sink.reset()
            sink.write(data)
            return finish()

        try:
            return (yield from _finish(image, keep))
        except NotAPicture as error:
            expired, reason = False, f"the bytes inside the reply are not a whole picture: {error}"
    for url in _sources(context, image):
        attempt = 0
        while True:
            attempt += 1
            now: Instant = yield Now()
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s: attempt %d, from %s", _name(image), attempt, without_query(url))
            fault = yield from _get(url, sink, min(FETCH_TIMEOUT, max(GRACE, deadline - now.monotonic)), context)
            if fault is None:
                try:
                    return (yield from _finish(image, finish))
                except NotAPicture as error:
                    fault = _Fault(f"the bytes are not a whole picture: {error}", "not a whole picture", passing=True)
            reason = fault.reason
            expired &= fault.gone
            now = yield Now()
            pause = context.policy.backoff(attempt)
            if not fault.passing or attempt > context.policy.max_retries or now.monotonic + pause >= deadline + GRACE:
                _log.debug("%s: no retry from there after %s", _name(image), fault.kind)
                break
            _log.debug("%s: retry in %.2f s after %s", _name(image), pause, fault.kind)
            yield Sleep(pause)
    kind = ResultExpiredError if expired and (image.url or image.task_id) else DownloadError
    raise kind(_lost(image, reason), images=(image,))


def _finish(image: GeneratedImage, finish: Callable[[], T]) -> Flow[T]:
    try:
        done: T = yield RunBlocking(finish)
    except OSError as error:
        raise DownloadError(_lost(image, f"it could not be written: {error}"), images=(image,)) from error
    return done


def _sources(context: Context, image: GeneratedImage) -> list[str]:
    found = [image.url] if image.url else []
    if image.task_id:
        durable = context.base_url + output_path(image.task_id, image.output_index)
        found += [durable] if durable not in found else []
    return found


@dataclass(frozen=True, slots=True)
class _Fault:
    """The reason why a download failed: a sentence for the caller, and a few words without a URL for the log."""

    reason: str
    kind: str
    passing: bool = False
    gone: bool = False


def _get(url: str, sink: Sink, timeout: float, context: Context) -> Flow[_Fault | None]:
    """One attempt, redirects included: None if the whole body is in the sink, else the fault."""
    for redirects in range(_MAX_REDIRECTS):
        sink.reset()
        try:
            reply: Reply = yield Fetch(url, sink, timeout, MAX_PICTURE_BYTES, keyed=redirects == 0)
        except NotSent as error:
            if error.advice:
                reason = f"{sentence(str(error))} {error.advice}"
                return _Fault(reason, "a setting of this machine")
            return _Fault(f"the connection failed: {error}", "a broken connection", passing=True)
        except Broken as error:
            return _Fault(f"the connection failed: {error}", "a broken connection", passing=True)
        except (Refused, NotAPicture) as error:
            return _Fault(str(error), "a refusal by the client")
        except OSError as error:
            return _Fault(f"it could not be written: {error}", "a failed write")
        location = reply.headers.get("location")
        if reply.status in (301, 302, 303, 307, 308) and location:
            url = urljoin(url, location)
            continue
        if 200 <= reply.status < 300:
            return None
        passing = reply.status >= 500 or reply.status in _PASSING
        status = f"HTTP {reply.status}"
        return _Fault(f"its URL answered {status}", status, passing=passing, gone=reply.status in _GONE)
    return _Fault(f"its URL redirected more than {_MAX_REDIRECTS} times", "too many redirects")


def _deviations(saved: SavedPicture, request: ImageRequest | None) -> tuple[str, ...]:
    wanted = None if request is None else request.pixels
    found = (saved.picture.width, saved.picture.height)
    if request is None or wanted is None or found == wanted:
        return ()
    asked = f"{request.aspect_ratio} at {request.resolution or '1K'}"
    return (f"asked for {asked}, {wanted[0]}×{wanted[1]} pixels; delivered {found[0]}×{found[1]}",)


def _name(image: GeneratedImage) -> str:
    return f"task {image.task_id}, output {image.output_index}" if image.task_id else f"image {image.index}"


def without_query(url: str) -> str:
    """A URL for a log: the query of a signed URL is as good as a key, and so is the part before an ``@``."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it comes from the gateway, and may be anything
        return "something that is not a URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _lost(image: GeneratedImage, reason: str) -> str:
    where = f" of task {image.task_id}" if image.task_id else ""
    return f"The picture{where} was made and could not be downloaded: {reason}."
