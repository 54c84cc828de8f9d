"""The ``apimaster`` command. It needs the extra ``cli`` (typer and rich); the rest of the package does not."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"typer", "rich", "click"})


def main() -> None:
    """Run the command with this process's arguments, and end the process with its exit code."""
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"The apimaster command needs {missing.name}, which is not installed. "
            'Install it with: pip install "apimaster[cli]"\n'
        )
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
