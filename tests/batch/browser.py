"""Just enough of Chromium's DevTools protocol to test a page. It goes through two pipes, so it needs no package."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find() -> str | None:
    """The browser, or None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def install() -> str | None:
    """Install it from Debian's packages as root, as on a fresh machine or container; None if that can't be done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *words], stdout=subprocess.DEVNULL, check=False, timeout=600)
    return find()


class Browser:
    """One page in a headless browser. ``requests`` holds every URL that the page asked for."""

    def __init__(self, program: str, width: int = 1280, height: int = 860) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="apimaster-browser-", ignore_cleanup_errors=True)
        to_browser, from_browser = os.pipe(), os.pipe()

        def wire() -> None:  # in the child: it reads from 3 and writes to 4
            # Moved out of the way first: the pipes may be 3 and 4 themselves.
            reading, writing = os.dup(to_browser[0]), os.dup(from_browser[1])
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
            "--no-first-run", "--disable-background-networking", "--force-color-profile=srgb",
            f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [program, *options], preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        self._out = os.fdopen(to_browser[1], "wb", buffering=0)
        self._in = os.fdopen(from_browser[0], "rb")
        self._buffer = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command and its answer; events that come in between are noted."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.as_uri() + fragment)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """What ``script``, an expression or a promise, is in the page."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until ``condition`` is true in the page: checked once per frame, for ten seconds at most."""
        found = self.run(
            "new Promise((done) => { const ends = performance.now() + 10000; const look = () => "
            f"(({condition}) ? done(true) : performance.now() > ends ? done(false) : setTimeout(look, 16)); look(); }})"
        )
        assert found, f"this does not come true: {condition}"

    def press(self, key: str, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            code = {"Enter": 13, "Escape": 27}.get(key, 0)
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def shot(self, path: Path) -> None:
        """Save a screenshot."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()
        self._profile.cleanup()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._in.fileno(), 1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        notes: dict[str, Callable[[dict[str, Any]], None]] = {
            "Network.requestWillBeSent": lambda facts: self.requests.append(facts["request"]["url"]),
            "Runtime.exceptionThrown": lambda facts: self.complaints.append(str(facts["exceptionDetails"])),
            "Log.entryAdded": lambda facts: self.complaints.append(str(facts["entry"].get("text"))),
        }
        note = notes.get(event.get("method", ""))
        if note is not None:
            note(event["params"])
