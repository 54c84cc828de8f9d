"""What the image jobs of one run share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import APIMasterError
from ..ledger.steps import Step
from .error_actions import ErrorAction

if TYPE_CHECKING:
    from .. import AsyncAPIMaster
    from ..ledger import Ledger
    from .image_job import ImageJob


@dataclass(slots=True)
class RunContext:
    """What the image jobs of a run share.

    Attributes:
        client: buys, waits and downloads.
        directory: the batch's folder.
        ledger: the batch's ledger.
        budget: the name of the batch's budget.
        timeout: seconds for one image; None: by resolution.
        decide: what to do about an error before there is a task; called once for each.
        on_submit_end: called when a submit was answered and the answer is in the ledger, with whether it was accepted.
    """

    client: AsyncAPIMaster
    directory: Path
    ledger: Ledger
    budget: str
    timeout: float | None
    decide: Callable[[ImageJob, APIMasterError], ErrorAction]
    on_submit_end: Callable[[ImageJob, bool], None]
    submitting_client: AsyncAPIMaster = field(init=False)
    """The same client without repeated submits: the batch answers refusals for all images together."""

    def __post_init__(self) -> None:
        self.client = self.client.with_options(ledger=self.ledger, flush_pictures=True)
        self.submitting_client = self.client.with_options(purchase_retries=0)

    @property
    def max_retries(self) -> int:
        """How often an image is submitted again after the gateway failed it, unbilled."""
        return self.client.retry_policy.max_retries

    def backoff(self, attempt: int) -> float:
        """Seconds before the retry that follows failed attempt number ``attempt``."""
        return self.client.retry_policy.backoff(attempt)

    async def take(self, step: Step) -> Any:
        """Take a step in the ledger, and wait for its answer."""
        return await asyncio.wrap_future(self.ledger.take(step))
