"""Many images from a list, durably: nothing is paid for twice, and nothing that was paid for is lost."""

from .api import AsyncBatch, Batch
from .blocking import BatchRun
from .items import BatchItem
from .lines import InvalidLines
from .lock import DirectoryLocked
from .plan import Plan
from .run import AsyncRun
from .steps import LedgerError

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
