"""Images from the APIMaster endpoint: Nano Banana 2 and its other models."""

from .account import Account, Charge, Charges
from .async_client import AsyncAPIMaster
from .client import APIMaster
from .errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ContentPolicyError,
    DownloadError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    LedgerError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ReferenceImageError,
    ResultExpiredError,
    TaskTimeoutError,
)
from .pricing import ModelPrice, PriceList
from .request import ImageRequest, Webhook
from .results import GeneratedImage, ImageFailure, ImageResult, Progress, Task

__all__ = [
    "APIConnectionError",
    "APIMaster",
    "APIMasterError",
    "Account",
    "AsyncAPIMaster",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "Charge",
    "Charges",
    "ContentPolicyError",
    "DownloadError",
    "GeneratedImage",
    "GenerationFailedError",
    "ImageFailure",
    "ImageRequest",
    "ImageResult",
    "InsufficientBalanceError",
    "InternalServerError",
    "LedgerError",
    "ModelPrice",
    "NoImageError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PriceList",
    "Progress",
    "RateLimitError",
    "ReferenceImageError",
    "ResultExpiredError",
    "Task",
    "TaskTimeoutError",
    "Webhook",
]
