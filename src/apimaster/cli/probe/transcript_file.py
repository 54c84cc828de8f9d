"""The file of a probe: written anew after each exchange, so that neither Ctrl-C nor a kill loses what is known.

Only the owner may read it (mode 0600), although it holds no secret.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...emulator.recorded import PURCHASES
from ...emulator.transcript import Exchange, Purchase, Transcript
from ...errors import BadRequestError

DEFAULT_NAME: Final = "probe.json"


class TranscriptFile:
    """A transcript and its file.

    Attributes:
        failure: why the file could not be written last time; None if it could.

    Args:
        transcript: what is written; it grows.
        path: where; None: the first of ``probe.json``, ``probe-2.json``, … that does not exist.

    Raises:
        BadRequestError: the file exists, or can't be written.
    """

    def __init__(self, transcript: Transcript, path: str | None) -> None:
        self.transcript = transcript
        self.failure: BadRequestError | None = None
        self.path = _new_file(path)
        self.write()

    @property
    def folder(self) -> Path:
        """Where the pictures go: beside the file."""
        return self.path.with_name(f"{self.path.stem}-pictures")

    def add(self, exchange: Exchange) -> None:
        """Add an exchange, and write the file.

        A file that can't be written must not hide the reply to a purchase, so the fault is kept in ``failure``. After
        a purchase the file is not written here, since whoever made the purchase adds the task id and writes at once.
        """
        self.transcript.exchanges.append(exchange)
        if exchange.route in PURCHASES.values():
            return
        try:
            self.write()
        except BadRequestError as fault:
            self.failure = fault

    def buy(self, purchase: Purchase) -> None:
        """Note that a purchase is about to be sent, and write the file."""
        self.transcript.purchases.append(purchase)
        self.write()

    def rename(self, step: str, name: str) -> None:
        """Give another name to a step that is to be made again, with its exchanges and its purchase."""
        transcript = self.transcript
        transcript.exchanges = [
            replace(each, step=name) if each.step == step else each for each in transcript.exchanges
        ]
        for purchase in transcript.purchases:
            if purchase.step == step:
                purchase.step = name
        self.write()

    def write(self) -> None:
        """Replace the file as a whole.

        Raises:
            BadRequestError: it can't be written.
        """
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        text = json.dumps(self.transcript.document(), indent=1, ensure_ascii=True)
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except OSError as fault:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise _unwritable(self.path, fault) from fault


def _new_file(path: str | None) -> Path:
    """Create the file, empty, so that no other one is overwritten."""
    number = 1
    while True:
        name = path or (DEFAULT_NAME if number == 1 else DEFAULT_NAME.replace(".", f"-{number}."))
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if path is not None:
                raise BadRequestError(f"{path} exists", advice="Name a new file with --out.") from None
            number += 1
        except OSError as fault:
            raise _unwritable(Path(name), fault) from None
        else:
            return Path(name)


def _unwritable(path: Path, fault: OSError) -> BadRequestError:
    return BadRequestError(
        f"the transcript {path} can't be written: {fault.strerror or fault}",
        advice="Name a file in another folder with --out.",
    )
