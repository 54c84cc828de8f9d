"""The APIMaster gateway on this machine: a real HTTP server with its quirks, faults and a bill.

    from apimaster.emulator import Emulator

    with Emulator() as emu:
        client = APIMaster(emu.api_key, base_url=emu.base_url)

Needs the extra ``emulator`` (Starlette, uvicorn, Pillow); importing this package alone imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bill import Bill, Entry
    from .dialects import Dialect
    from .emulator import Emulator, serve
    from .fault import Fault
    from .faults import FAULTS
    from .jobs import Job
    from .options import Latency
    from .records import RecordedRequest

_HOMES = {
    "Bill": "bill",
    "Dialect": "dialects",
    "Emulator": "emulator",
    "Entry": "bill",
    "FAULTS": "faults",
    "Fault": "fault",
    "Job": "jobs",
    "Latency": "options",
    "RecordedRequest": "records",
    "serve": "emulator",
}
_NEEDED = frozenset({"starlette", "uvicorn", "PIL", "anyio", "h11", "click"})

__all__ = [
    "FAULTS",
    "Bill",
    "Dialect",
    "Emulator",
    "Entry",
    "Fault",
    "Job",
    "Latency",
    "RecordedRequest",
    "serve",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise ModuleNotFoundError(
            f"the emulator needs {error.name}, which is not installed: pip install 'apimaster[emulator]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
