"""The signals that end a command: Ctrl-C (SIGINT), and SIGTERM, which stops a container or a CI job."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those of the two that the platform has and that this process does not ignore.

    A shell starts the background jobs of a script with SIGINT ignored, so that Ctrl-C ends the script and not its jobs.
    The command must not undo that.
    """
    known = [signal.Signals[name] for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]
    return tuple(number for number in known if signal.getsignal(number) is not signal.SIG_IGN)
