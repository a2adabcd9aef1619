"""A headless Chromium driven over a pipe (its DevTools protocol); no network, no port."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
# The browser reads commands from descriptor 3 and writes to 4.
WRAP = """
import fcntl, os, sys
r, w = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(r, 3), os.dup2(w, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page that was opened: what it complained about, what it asked of the network."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session
        self.problems: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, params, self._session)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; a promise is awaited."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, condition: Callable[[], bool], patience: float = 20.0) -> bool:
        """Whether the condition comes to hold: the browser tells of things after they happened."""
        end = time.monotonic() + patience
        while not condition() and time.monotonic() < end:
            self.evaluate("new Promise(done => setTimeout(done, 50))")  # hears events meanwhile
        return condition()

    def screenshot(self, path: Path, whole: bool = True) -> None:
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def heard(self, event: dict[str, Any]) -> None:
        """Sorts an event of the browser."""
        params, method = event["params"], event["method"]
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.problems.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


class Browser:
    """Started on entry, ended on exit. `patience`: seconds for any answer."""

    def __init__(self, executable: str, profile: Path, patience: float = 60.0):
        self.patience, self._count = patience, 0
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._pages: dict[str, Page] = {}
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRAP, str(theirs_in), str(theirs_out), executable, *FLAGS,
             f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in), os.close(theirs_out)
        threading.Thread(target=self._listen, daemon=True).start()

    def open(
        self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False,
        ready: str = "document.readyState === 'complete'",
    ) -> Page:  # fmt: skip
        """The page in a window of this size, when `ready` holds or patience has ended."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = self._pages[session["sessionId"]] = Page(self, session["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        page.call("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + self.patience
        while not page.problems and time.monotonic() < end and not page.evaluate(ready):
            time.sleep(0.1)
        page.evaluate("new Promise(done => setTimeout(done, 300))")  # what is told a little later
        return page

    def call(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """The result of a command; events that come first go to their pages."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._events.get(timeout=self.patience)
            assert answer is not None, "the browser ended"
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            if (page := self._pages.get(answer.get("sessionId", ""))) and "method" in answer:
                page.heard(answer)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._out)

    def _listen(self) -> None:
        rest = b""
        with os.fdopen(self._in, "rb", buffering=0) as stream:
            while chunk := stream.read(1 << 16):
                *whole, rest = (rest + chunk).split(b"\0")
                for message in whole:
                    self._events.put(json.loads(message))
        self._events.put(None)
