"""Programs as processes of their own, with real pids, signals, pipes and exit codes, but without the cold start.

A fresh interpreter that imports the command takes a second or two of CPU. So one server process imports everything
once, and each program is a fork of it: with its own folder, environment and standard streams, and with SIGINT as a
program that is started from a terminal has it, also where the shell that started the tests ignores SIGINT.

``start`` takes what follows ``python`` on a command line (``-m module``, ``-c program`` or a script) and gives a
``Child``, which behaves as ``subprocess.Popen`` does; ``run`` waits for it, as ``subprocess.run`` does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

_MODULES = (
    *("anyio._backends._asyncio", "h2.connection", "httpcore._backends.anyio", "httpcore._backends.auto"),
    *("PIL.PngImagePlugin", "PIL.WebPImagePlugin", "pydantic.type_adapter", "rich.live", "rich.spinner"),
    *("typer._adapters", "uvicorn.lifespan.off", "uvloop", "importlib.resources.readers", "resource"),
)
"""What the package imports late; a module that is not installed is left out."""


# --- in the tests ------------------------------------------------------------------------------------------


class Child:
    """A program that runs. Until ``wait``, the server keeps its exit status, and so no other process gets its pid."""

    def __init__(self, server: _Server, pid: int, alive: int, streams: list[IO[str] | None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = streams
        self._server = server
        self._alive = alive
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float = 60) -> int:
        """The exit code, once it has ended; after ``timeout`` seconds it is killed, and that is an error."""
        code = self._wait(timeout)
        if code is None:
            self.kill()
            self._wait(10)
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def _wait(self, timeout: float) -> int | None:
        # Only the child has the other end of this pipe: however it ends, that closes the pipe.
        ended = self.returncode is not None or select.select([self._alive], [], [], timeout)[0]
        with self._lock:
            if ended and self.returncode is None:
                os.close(self._alive)
                self.returncode = os.waitstatus_to_exitcode(self._server.ask({"wait": self.pid}))
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        with self._lock:
            if self.returncode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """All that it still writes, and its end."""
        watchdog = threading.Timer(timeout, self.kill)
        watchdog.start()
        try:
            if self.stdin is not None:
                self.stdin.close()
            errors: list[str] = []
            reader = threading.Thread(target=lambda: errors.append(self.stderr.read() if self.stderr else ""))
            reader.start()
            printed = self.stdout.read() if self.stdout else ""
            reader.join()
        finally:
            watchdog.cancel()
        self.wait()
        return printed, errors[0]

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.wait()


def start(
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Child:
    """Start a program. A stream is ``subprocess.PIPE``, a file descriptor, or None for ours (stdin: an empty one)."""
    ours: list[IO[str] | None] = []
    theirs: list[int] = []
    for number, stream in enumerate((stdin, stdout, stderr)):
        if stream == subprocess.PIPE:
            reading, writing = os.pipe()
            mine, given = (writing, reading) if number == 0 else (reading, writing)
            ours.append(os.fdopen(mine, "w" if number == 0 else "r", encoding="utf-8", buffering=1))
        else:
            given = os.open(os.devnull, os.O_RDONLY) if (stream, number) == (None, 0) else os.dup(stream or number)
            ours.append(None)
        theirs.append(given)
    alive, sign_of_life = os.pipe()
    request = {"start": list(words), "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
    try:
        pid = _server().ask(request, [*theirs, sign_of_life])
    finally:
        for descriptor in (*theirs, sign_of_life):
            os.close(descriptor)
    return Child(_server(), pid, alive, ours)


def run(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with what it prints."""
    with start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as child:
        printed, errors = child.communicate()
    return subprocess.CompletedProcess(list(words), child.wait(), printed, errors)


class _Server:
    """The process that forks, asked over a socket: one question, one number as the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        atexit.register(self.close)

    def ask(self, question: dict[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(question).encode() + b"\n"], list(descriptors))
            return int(self._socket.recv(100))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


_starting = threading.Lock()


def _server() -> _Server:
    with _starting:  # threads that come together must not start one each
        return _only_server()


@cache
def _only_server() -> _Server:
    return _Server()


# --- in the server -----------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> list[str] | None:
    """Answer until the tests end (None). In a child it returns the words of the program to run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        if not message:
            return None
        while not message.endswith(b"\n"):
            message += connection.recv(1 << 16)
        question = json.loads(message)
        if "wait" in question:
            connection.send(str(os.waitpid(question["wait"], 0)[1]).encode())
            continue
        child = os.fork()
        if child == 0:
            connection.close()
            _become(question, descriptors)
            words: list[str] = question["start"]
            return words
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(child).encode())


def _become(question: dict[str, Any], descriptors: list[int]) -> None:
    """Make the fork what a fresh process would be; the last descriptor stays open as a sign of life."""
    for number in range(3):
        os.dup2(descriptors[number], number)
        os.close(descriptors[number])
    os.environ.clear()
    os.environ.update(question["env"])
    os.chdir(question["cwd"])
    raw = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _writer(1, raw=raw, errors="strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _writer(2, raw=raw, errors="backslashreplace")  # type: ignore[misc]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _writer(number: int, *, raw: bool, errors: str) -> io.TextIOWrapper:
    binary = os.fdopen(number, "wb", 0 if raw else -1, closefd=False)
    lines = number == 2 or os.isatty(number)
    return io.TextIOWrapper(binary, encoding="utf-8", errors=errors, line_buffering=lines, write_through=raw)


def run_program(words: list[str]) -> None:
    """What ``python`` does with these words."""
    kind, *rest = words
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


def run_to_the_end(words: list[str]) -> None:
    """Run a program and end as Python does, but without its taking apart every object, which takes 50 ms of CPU."""
    code: int | str | None = 0
    try:
        run_program(words)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads of the program
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        traceback.print_exc()
        code = 120
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def import_everything() -> None:
    """Import the package, and what it imports late."""
    for module in pkgutil.walk_packages(apimaster.__path__, "apimaster."):
        if not module.name.endswith((".__main__", ".aiohttp", ".pytest_plugin")):
            importlib.import_module(module.name)
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    import importlib
    import pkgutil

    import apimaster

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then close the socket
    import_everything()
    gc.collect()
    gc.freeze()  # what is loaded stays shared between all forks
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    if program is not None:
        run_to_the_end(program)
