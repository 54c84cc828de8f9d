"""Which pictures a client has uploaded, under which URLs, and how large a request may be.

One picture is uploaded once per client and hour, however many calls, threads and event loops want it at once: the first
to ask uploads it, and the others wait for that. Two pictures are one if their SHA-256 is the same. To hash 140 MB takes
as long as to send them, so files are hashed only when that can matter: if another picture has the same size and the
same samples of its bytes, and is not the same unchanged file. Pictures in memory are hashed at once, since nobody keeps
their bytes to hash them later. A file that has changed or is gone by then counts as another picture.

Nothing here does network I/O or reads a clock; what reads files says that it blocks.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from ..catalog import MEBIBYTE
from ..errors import APIMasterError, ReferenceImageError
from .checked import CheckedReference

REQUEST_LIMIT: Final = 32 * MEBIBYTE
"""Bytes of a whole request, until the gateway refuses a smaller one (docs/endpoint.md, "References")."""

LEAST_LIMIT: Final = MEBIBYTE
"""A 413 for fewer bytes says nothing about other requests: no gateway for pictures takes so little."""

LIMIT_LASTS: Final = 3600.0
"""Seconds for which a refused size holds: another proxy, or another setting, may take it then."""

REFUSAL_LASTS: Final = 600.0
"""Seconds for which pictures are not put inside requests for a model that has refused them there."""

LIFETIME: Final = 3600.0
"""Seconds for which the URL of an upload is used. How long the gateway keeps one is not documented."""

LONGEST_WAIT: Final = 300.0
"""Seconds for which others wait for an upload that is under way; after that, another one uploads the picture."""

_MOST: Final = 10_000


@dataclass(slots=True, eq=False)
class Upload:
    """One upload.

    Attributes:
        picture: the picture, without the bytes of one in memory.
        process: the process that began it.
        url: its public URL, once it has ended well.
        at: when it was begun, in monotonic seconds.
        ended: whether it is over.
        error: why it failed; it may end with neither URL nor error, if whoever began it was stopped.
    """

    picture: CheckedReference
    process: int
    url: str = ""
    at: float = 0.0
    ended: bool = False
    error: APIMasterError | None = None

    def is_of_use(self, now: float) -> bool:
        """Whether its URL can be used, or it is under way and may still end well."""
        if self.ended:
            return bool(self.url) and now - self.at < LIFETIME
        # The thread that began it is not in a forked process.
        return self.process == os.getpid() and now - self.at < LONGEST_WAIT

    def is_of_file(self, picture: CheckedReference) -> bool:
        """Whether it is of the same, unchanged file."""
        mine = self.picture
        return mine.path is not None and (mine.path, mine.changed_ns) == (picture.path, picture.changed_ns)

    def has_digest(self, digest: str) -> bool:
        """Whether its bytes have this digest. Blocking: it may have to hash them."""
        try:
            self.picture = self.picture.hashed()
        except ReferenceImageError:
            return False
        return self.picture.digest == digest


class UploadedPictures:
    """The uploads of one client, and what the gateway has refused. Safe to share between threads.

    Attributes:
        request_limit: bytes that a whole request may have, as far as nothing was refused.
    """

    def __init__(self) -> None:
        self.request_limit = REQUEST_LIMIT
        self._refused_size: tuple[int, float] | None = None
        self._refused_inside: dict[str, float] = {}  # when, by model
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, list[Upload]] = OrderedDict()  # by fingerprint

    def limit(self, now: float) -> int:
        """Bytes that a whole request may have. ``now`` is monotonic seconds."""
        with self._lock:
            return self._limit(now)

    def _limit(self, now: float) -> int:
        if self._refused_size is None or now - self._refused_size[1] >= LIMIT_LASTS:
            return self.request_limit
        return min(self.request_limit, self._refused_size[0] - 1)

    def lower_limit(self, refused: int, now: float) -> None:
        """The gateway refused a request of so many bytes for its size."""
        with self._lock:
            if LEAST_LIMIT <= refused <= self._limit(now):
                self._refused_size = refused, now

    def refused_inside(self, model: str, now: float) -> None:
        """The gateway takes no pictures inside a request for this model."""
        with self._lock:
            self._refused_inside[model] = now

    def may_be_inside(self, model: str, now: float) -> bool:
        """Whether pictures may be inside a request for this model, as far as is known."""
        with self._lock:
            refused = self._refused_inside.get(model)
        return refused is None or now - refused >= REFUSAL_LASTS

    def has(self, picture: CheckedReference, now: float) -> bool:
        """Whether the picture has been uploaded, and its URL can be used. Blocking, as ``begin``."""
        for upload in self._candidates(picture, now):
            if upload.ended:
                if upload.is_of_file(picture):
                    return True
                picture = picture.hashed()
                if upload.has_digest(picture.digest):
                    return True
        return False

    def begin(self, picture: CheckedReference, now: float) -> tuple[Upload, bool]:
        """The upload of a picture, and whether it is the caller's own, who then has to ``end`` it.

        Blocking: it may hash files. ``now`` is monotonic seconds.
        """
        others: set[Upload] = set()
        while True:
            found = self._candidates(picture, now)
            for upload in found:
                if upload in others:
                    continue
                if not upload.is_of_file(picture):
                    picture = picture.hashed()
                    if not upload.has_digest(picture.digest):
                        others.add(upload)
                        continue
                return upload, False
            with self._lock:
                kept = [each for each in self._uploads.get(picture.fingerprint, ()) if each.is_of_use(now)]
                if others.issuperset(kept):
                    own = Upload(replace(picture, data=None), os.getpid(), at=now)
                    self._uploads[picture.fingerprint] = [*kept, own]
                    self._uploads.move_to_end(picture.fingerprint)
                    while len(self._uploads) > _MOST:
                        self._uploads.popitem(last=False)
                    return own, True

    def end(self, upload: Upload, outcome: str | APIMasterError | None) -> None:
        """An upload has ended with this URL or error, or was stopped (None)."""
        with self._lock:
            if isinstance(outcome, str):
                upload.url = outcome
            elif outcome is not None:
                upload.error = outcome
            upload.ended = True

    def forget(self, url: str) -> None:
        """The gateway does not know this URL any more."""
        with self._lock:
            for fingerprint, uploads in list(self._uploads.items()):
                self._uploads[fingerprint] = [each for each in uploads if each.url != url]

    def _candidates(self, picture: CheckedReference, now: float) -> list[Upload]:
        with self._lock:
            return [each for each in self._uploads.get(picture.fingerprint, ()) if each.is_of_use(now)]


class OwnUploads:
    """The uploads that one call has begun. Whatever stops the call ends them: so nobody waits for what never comes.

    The thread that begins one may be at it, or that sends one may be in the midst of it, when the call is stopped.
    """

    def __init__(self, pictures: UploadedPictures) -> None:
        self._pictures = pictures
        self._lock = threading.Lock()
        self._begun: list[Upload] = []
        self._stopped = False

    def begin(self, picture: CheckedReference, now: float) -> tuple[Upload, bool]:
        """As ``UploadedPictures.begin``. Blocking."""
        upload, own = self._pictures.begin(picture, now)
        with self._lock:
            stopped = self._stopped
            if own and not stopped:
                self._begun.append(upload)
        if own and stopped:
            self._pictures.end(upload, None)
        return upload, own

    def stop(self) -> None:
        """The call is stopped: its uploads end, unless they have ended before."""
        with self._lock:
            self._stopped = True
            begun, self._begun = self._begun, []
        for upload in begun:
            if not upload.ended:
                self._pictures.end(upload, None)
