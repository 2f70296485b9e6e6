"""Chromium driven by its DevTools protocol over two pipes, so that a test can use a page."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from browser import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 300.0


class BrowserPage:
    """A tab of a browser."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + LIMIT_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._back], [], [], left)[0]:
                piece = os.read(self._back, 1 << 20)
                assert piece, "the browser ended"
                self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        if answer.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(answer["params"]["exceptionDetails"])[:400])
        if answer.get("method") == "Log.entryAdded":
            entry = answer["params"]["entry"]
            if entry["level"] == "error":
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        return answer

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, which may be a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.wait_for(f"document.readyState === 'complete' && location.href.startsWith({url!r})")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        deadline = time.monotonic() + LIMIT_S
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (
                f"{condition}: {self.run('document.body.innerText')}"
            )
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Click the first element of a selector."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def click_and_load(self, selector: str) -> None:
        """Click, and wait for the next page."""
        self.run("window.isOld = true")
        self.click(selector)
        self.wait_for("!window.isOld && document.readyState === 'complete'")

    def choose_files(self, selector: str, files: list[Path]) -> None:
        """Give files to an input, as a person who chooses them."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(one) for one in files])

    def drop_files(self, selector: str, files: list[Path]) -> None:
        """Drop files and folders on an element, as from a window of files."""
        box = self.run(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(one) for one in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def press(self, key: str) -> None:
        """Press a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def set_width(self, width_px: int, height_px: int, *, is_phone: bool = False) -> None:
        """Change the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px,
            deviceScaleFactor=1, mobile=is_phone,
        )  # fmt: skip

    def take_picture(self, file: Path) -> None:
        """Write what the window shows as a PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))


@contextmanager
def open_browser(browser: str, folder: Path) -> Iterator[BrowserPage]:
    """Start Chromium without a window, and end it."""
    theirs, to = os.pipe()
    back, theirs_back = os.pipe()
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        # Chromium reads descriptor 3 and writes descriptor 4.
        ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{theirs_back}', "bash", *command],
        pass_fds=(theirs, theirs_back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(theirs_back)
    try:
        yield BrowserPage(to, back)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
