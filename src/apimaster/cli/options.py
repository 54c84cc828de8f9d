"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class ReferencesByName(str, Enum):
    """The values of ``--references-by``."""

    AUTO = "auto"
    INLINE = "inline"
    UPLOAD = "upload"


AspectRatio = Annotated[
    str | None,
    typer.Option("--aspect-ratio", "-a", metavar="W:H", help="1:1, 16:9, …, auto, or pixels such as 1920x1080."),
]
Resolution = Annotated[
    str | None, typer.Option("--resolution", "-r", metavar="TIER", help="0.5K, 1K (the default), 2K or 4K.")
]
Count = Annotated[int, typer.Option("-n", metavar="COUNT", help="How many images; each is a charge of its own.")]
Model = Annotated[str | None, typer.Option("--model", metavar="ID", help="The model; default: Nano Banana 2.")]
Out = Annotated[str, typer.Option("--out", "-o", metavar="PATH", help="A file, or a folder.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="For the whole call; default: by resolution."),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Replaces APIMASTER_BASE_URL and the config file.")
]
LedgerPlace = Annotated[
    str | None, typer.Option("--ledger", metavar="PATH|URL", help="The ledger; replaces APIMASTER_LEDGER.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
Emulator = Annotated[bool, typer.Option("--emulator", help="Draw on this machine: no key, no network, no money.")]
ReferencesBy = Annotated[
    ReferencesByName,
    typer.Option("--references-by", help="How local references go out: auto uploads what is too large for a request."),
]
