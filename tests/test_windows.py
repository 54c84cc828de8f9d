"""The package without what Windows lacks. The simulation takes it away from our modules alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import builtins, importlib, os, signal, sys, types
# Other packages have their own ways on Windows; only ours are to be tried.
import asyncio, click, httpx, httpcore, pydantic, rich.console, rich.live, rich.table, typer
import PIL.Image, starlette.applications, uvicorn.protocols.http.auto
import sysconfig

sysconfig.get_config_vars()

for name in ("register_at_fork", "fork", "O_NONBLOCK", "getuid", "geteuid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGQUIT"):
    delattr(signal, name)
found = builtins.__import__

def without_unix(name, *rest):
    if name in ("fcntl", "grp", "pwd", "resource", "termios"):
        if sys._getframe(1).f_globals.get("__name__", "").startswith("apimaster"):
            raise ImportError(name)
    return found(name, *rest)

locked = {}

def locking(descriptor, mode, size):
    inode, first = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
    places = {(inode, first + each) for each in range(size)}
    if mode == msvcrt.LK_UNLCK:
        assert all(locked.pop(place) == descriptor for place in places)
    elif places & set(locked):
        raise OSError("locked")
    else:
        locked.update(dict.fromkeys(places, descriptor))

msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_UNLCK, msvcrt.LK_NBLCK, msvcrt.locking = 0, 2, locking
sys.modules["msvcrt"] = msvcrt
builtins.__import__ = without_unix
sys.platform = "win32"
for name in ("apimaster", "apimaster.batch", "apimaster.cli.app", "apimaster.emulator.emulator", "apimaster.webhooks"):
    importlib.import_module(name)

import apimaster
from pathlib import Path
from apimaster.batch.lock import DirectoryLock
from apimaster.cli.signals import stop_signals

folder = Path(sys.argv[1])
first, second = DirectoryLock(folder), DirectoryLock(folder)
alone = first.acquire()
first.share()
print(alone, second.acquire(), DirectoryLock(folder).in_use())
print([each.name for each in stop_signals()])
with apimaster.APIMaster("sk-made-up", base_url="http://127.0.0.1:9/v1") as client:
    print(client.base_url)
"""


def test_nothing_needs_what_windows_lacks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    locked, signals, base_url = done.stdout.splitlines()
    assert locked == "True False (True, None)"
    assert signals == "['SIGINT', 'SIGTERM']"
    assert base_url == "http://127.0.0.1:9/v1"
