"""A real browser for pages: Chromium without a window, told over a pipe what to do and what was meant by a person's hand."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")

_BEGIN = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
for place, pipe in enumerate(pipes, 3):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts two pipes where a browser looks for them, and becomes the browser."""


class Browser:
    """One page in a browser; mouse and keys act as a person's do."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self._orders, self._answers = orders, answers
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.order("Page.enable")

    def order(self, method: str, **params: Any) -> Any:
        """Give one order of the DevTools protocol, and return its result."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": params}
        if self._session:
            order["sessionId"] = self._session
        self._orders.write(json.dumps(order).encode() + b"\0")
        self._orders.flush()
        while (said := self._hear()).get("id") != self._number:
            pass
        assert "error" not in said, said
        return said["result"]

    def show(self, page: Path, *, width: int = 1000, height: int = 700, dark: bool = False) -> None:
        """Load a page, and wait until it is drawn."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.order("Emulation.setEmulatedMedia", features=scheme)
        self.order("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.order("Page.navigate", url=page.absolute().as_uri())
        while self._hear().get("method") != "Page.loadEventFired":
            pass
        self.settle()

    def settle(self) -> None:
        """Wait until two frames are drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript."""
        said = self.order("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press the mouse at the first place, move it through the others, and let go."""
        self._mouse("mousePressed", *path[0], button="left", clickCount=1)
        for x, y in path[1:]:
            self._mouse("mouseMoved", x, y, button="left", buttons=1)
        self._mouse("mouseReleased", *path[-1], button="left", clickCount=1)
        self.settle()

    def move(self, x: float, y: float) -> None:
        """Move the mouse to a place."""
        self._mouse("mouseMoved", x, y)
        self.settle()

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        place = f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
        place += "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        self.drag([tuple(self.run(place))])

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.order("Page.captureScreenshot", format="png")["data"]))

    def _mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.order("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            heard = os.read(self._answers.fileno(), 1 << 20)
            assert heard, "the browser has gone"
            self._rest += heard
        said, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(said))


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own; skips the test where none is installed."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None or sys.platform == "win32":  # whose pipes are others
        pytest.skip(f"no browser here to look at pages with: none of {', '.join(_NAMES)} is installed")
    hears, orders = os.pipe()
    answers, says = os.pipe()
    command = [found, *_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    begin = [sys.executable, "-S", "-c", _BEGIN, str(hears), str(says), *command]
    process = subprocess.Popen(begin, pass_fds=(hears, says), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(hears)
    os.close(says)
    try:
        with os.fdopen(orders, "wb") as writer, os.fdopen(answers, "rb") as reader:
            yield Browser(writer, reader)
    finally:
        process.terminate()
        process.wait(30)
