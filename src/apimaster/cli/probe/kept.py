"""What of a reply a transcript keeps: names of fields, and the form that each of them must have."""

from __future__ import annotations

import re
from typing import Final

FIELDS: Final = frozenset(
    """
    id object data model models prompt n size resolution quality created created_at completed completed_at owned_by
    error message type param code status task_id progress estimated_time actual_time cost credits_cost result images
    url urls b64_json expires_at revised_prompt z_index usage prompt_tokens completion_tokens total_tokens
    official_fallback success name total_granted total_used total_available unlimited_quota model_limits
    model_limits_enabled model_name quota use_time request_id content other request_data effective_resolution
    image_urls result_url billing_refunded supported events api_version filename content_type bytes kind
    client_reference_id messages model_price model_ratio completion_ratio quota_type group_ratio usable_group
    supported_endpoint_types supported_endpoint enable_groups vendor_id description tags icon vendors auto_groups
    uptime latency price prices trace task task_url outputs output_id authentication notifications webhook endpoint_id
    """.split()  # noqa: SIM905  # a list of words reads better in lines
)
"""The names of fields that this package, or the vendor's pages and clients, know of."""
WORDS: Final = frozenset({"status", "type", "code", "object"})
"""Fields with words of the protocol."""
MODELS: Final = frozenset({"model", "model_name"})
"""Fields with model ids."""
SIZES: Final = frozenset({"size", "resolution", "effective_resolution", "quality"})
"""Fields with sizes in one of the forms of `SIZE`."""
NUMBERS: Final = frozenset({"type", "progress", "estimated_time", "actual_time", "n", "z_index", "quota_type"})
"""Fields with numbers that say nothing about the account."""
LIST_PRICES: Final = frozenset({"model_price", "model_ratio"})
"""Of the public price list, which is the same for everybody."""
OWN_NUMBERS: Final = frozenset({"quota", "use_time", "cost"})
"""Kept only in what the probe itself paid for."""
TIMES: Final = frozenset({"created", "created_at", "completed", "completed_at", "expires_at"})
"""Fields with unix seconds; that they are such is all that is kept."""
EVENTS: Final = frozenset({"task.completed", "task.failed", "webhook.endpoint_verification"})
MEDIA_TYPES: Final = frozenset(
    {"application/json", "text/html", "text/plain", "text/event-stream", "application/xml", "text/xml"}
    | {"application/octet-stream", "image/png", "image/jpeg", "image/webp", "image/gif"}
)
FAMILIES: Final = re.compile(
    r"(?:gemini-[a-z0-9.]{1,12}-[a-z-]*image[a-z-]*|gemini-nano-banana(?:-[0-9.]{1,5})?|nano-banana(?:-[a-z0-9.]{1,5})?"
    r"|gpt-image-[0-9.]{1,4}(?:-mini)?|midjourney-(?:niji-)?v?[0-9.]{1,4}|imagen-[0-9.]{1,4}"
    r"|doubao-seedream-[0-9]-[0-9](?:-[a-z]{1,8})?-[0-9]{6})"
)
"""Ids of image models, which are public; other ids may name a customer's own model."""
WORD: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
SMALL_NUMBER: Final = re.compile(r"\d{1,3}")
SIZE: Final = re.compile(r"auto|\d{1,5}[:x]\d{1,5}|(?:0\.5|[124])[kK]|low|medium|high")
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
TASK_ID: Final = re.compile(r"(?:task|imagine_batch)_[0-9A-Za-z]{8,64}")
REQUEST_IDS: Final = frozenset({"x-request-id", "x-oneapi-request-id", "cf-ray"})
"""Headers of which a transcript says only that they are there."""
FOREIGN_ROWS: Final = 2
"""Rows of the usage log that are not the probe's own, for their shape."""
ITEMS: Final = 3
"""Items of any other array."""
DEPTH: Final = 12
