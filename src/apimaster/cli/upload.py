"""``apimaster upload``: from local pictures to public URLs, which are good as references for an hour."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from .. import AsyncAPIMaster, ImageRequest
from ..adapters import check_reference
from ..catalog import MAX_REFERENCE_BYTES
from ..errors import APIMasterError
from . import options, printing
from .client_runner import Endpoint, run_with_client
from .exit_codes import OK
from .resume import CommandStopped, ResumeCommand

_AT_ONCE: Final = 4


def upload(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="JPEG, PNG or WebP, up to 10 MB each.", show_default=False)
    ],
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="For each upload; default: 300.")
    ] = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Upload pictures, and print their public URLs, one a line. It is free.

    A URL is good as a --ref for an hour. `generate` and `batch` upload what they need by themselves.
    """
    for number, path in enumerate(paths, 1):  # all of them before the first is sent
        (reference,) = ImageRequest(prompt="upload", references=(path,)).references
        check_reference(reference, number, MAX_REFERENCE_BYTES)

    async def work(client: AsyncAPIMaster) -> list[str | APIMasterError]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(path: str) -> str | APIMasterError:
            async with slots:
                try:
                    return await client.upload(path, timeout=timeout)
                except APIMasterError as error:
                    return error

        return await asyncio.gather(*map(one, paths))

    found = run_with_client(work, Endpoint(base_url=base_url), resume=ResumeCommand("."))
    failed = next((each for each in found if isinstance(each, APIMasterError)), None)
    pairs = [(path, url) for path, url in zip(paths, found, strict=True) if isinstance(url, str)]
    if as_json and failed is None:
        printing.print_json({"uploads": [{"path": path, "url": url} for path, url in pairs]})
    elif failed is None:
        for _, url in pairs:
            printing.print_result(url)
    else:  # stdout would not say which URL is whose
        for path, url in pairs:
            printing.print_message(f"Uploaded: {printing.one_line(path)}: {url}")
        raise CommandStopped(failed)
    return OK
