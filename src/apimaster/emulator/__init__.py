"""The APIMaster gateway on this machine: a real HTTP server with the gateway's quirks, faults and a bill.

    from apimaster.emulator import Emulator

    with Emulator() as emu:
        client = APIMaster(emu.api_key, base_url=emu.base_url)

It needs the extra ``emulator`` (Starlette, uvicorn, Pillow, python-multipart). Importing this package loads none of
them: each name is imported when somebody first uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bill import Bill, Entry
    from .channels import Channel
    from .dialects import Dialect
    from .emulator import Emulator, serve
    from .faults import FAULTS, Fault
    from .image_jobs import ImageJob
    from .image_jobs import ImageJob as Job
    from .latency import Latency
    from .records import RecordedRequest
    from .webhook_endpoints import WebhookEndpoint
    from .webhook_events import WebhookDelivery, WebhookEvent

# The module that defines each name.
_MODULES = {
    "Bill": "bill",
    "Channel": "channels",
    "Dialect": "dialects",
    "Emulator": "emulator",
    "Entry": "bill",
    "FAULTS": "faults",
    "Fault": "faults",
    "ImageJob": "image_jobs",
    "Latency": "latency",
    "RecordedRequest": "records",
    "WebhookDelivery": "webhook_events",
    "WebhookEndpoint": "webhook_endpoints",
    "WebhookEvent": "webhook_events",
    "serve": "emulator",
}
_OLD_NAMES = {"Job": "ImageJob"}
_EXTRA = frozenset({"starlette", "uvicorn", "PIL", "anyio", "h11", "click", "python_multipart"})

__all__ = [
    "FAULTS",
    "Bill",
    "Channel",
    "Dialect",
    "Emulator",
    "Entry",
    "Fault",
    "ImageJob",
    "Job",
    "Latency",
    "RecordedRequest",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "serve",
]


def __getattr__(name: str) -> Any:
    defined_as = _OLD_NAMES.get(name, name)
    module = _MODULES.get(defined_as)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f"{__name__}.{module}"), defined_as)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"the emulator needs {error.name}, which is not installed: pip install 'apimaster[emulator]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
