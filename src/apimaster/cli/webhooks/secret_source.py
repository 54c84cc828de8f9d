"""Where the receiver's webhook secrets come from: a file that may change while it runs, or an environment variable.

Never the command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from ...errors import BadRequestError
from ...webhooks import WebhookSecrets, read_secrets
from ..printing import print_message
from .actions import SECRET_VARIABLE

_READ_AGAIN: Final = 300.0  # seconds: a secret that was replaced ends without a change of the file


class SecretSource:
    """Returns the secrets that are valid now, when it is called."""

    def __init__(self, file: Path | None) -> None:
        """``file`` as ``read_secrets`` takes it; None: the environment variable APIMASTER_WEBHOOK_SECRET.

        Raises:
            BadRequestError: there is no secret.
        """
        self._file = file
        self._version: object = None
        self._read_at = 0.0
        self._known: WebhookSecrets = os.environ.get(SECRET_VARIABLE, "").strip()
        if file is not None:
            self._read(file)
        elif not self._known:
            raise BadRequestError(
                "there is no webhook secret",
                advice=f"Name a file with --secret-file, or set {SECRET_VARIABLE}; the gateway shows the secret when "
                "the endpoint is made.",
            )

    def __call__(self) -> WebhookSecrets:
        """The secrets; the known ones stay valid if the file can't be read for a moment."""
        if self._file is not None and (
            time.monotonic() - self._read_at > _READ_AGAIN or self._version != _version(self._file)
        ):
            try:
                self._read(self._file)
            except BadRequestError as error:
                self._read_at = time.monotonic()
                print_message(f"The secrets that were read before stay in use: {error.message}")
        return self._known

    def _read(self, file: Path) -> None:
        self._version, self._read_at = _version(file), time.monotonic()
        self._known = read_secrets(file)


def _version(file: Path) -> object:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size
