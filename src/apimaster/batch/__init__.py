"""Many images from a list, durably: each is paid for at most once, and what was paid for is never lost."""

from ..errors import LedgerError
from .api import AsyncBatch, Batch
from .async_run import AsyncRun
from .blocking_run import BatchRun
from .image_list import InvalidLines
from .items import BatchItem
from .lock import DirectoryLocked
from .plan import Plan

__all__ = [
    "AsyncBatch",
    "AsyncRun",
    "Batch",
    "BatchItem",
    "BatchRun",
    "DirectoryLocked",
    "InvalidLines",
    "LedgerError",
    "Plan",
]
