"""Headless Chromium, spoken to in the DevTools protocol over a pipe: no driver, no package."""

import base64
import itertools
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Any, Self

from tests.ops.tools import find

# The browser reads from file 3 and writes to file 4; messages are JSON, each followed by a zero.
START = 'from_us=$1 to_us=$2; shift 2; exec "$0" "$@" 3<&"$from_us" 4>&"$to_us"'
KEYS = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "End": 35,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


class Browser:
    """One process, with a profile of its own in `folder` and a camera that sees `camera`."""

    def __init__(self, folder: Path, camera: Path) -> None:
        """Start it.

        Args:
            folder: for its profile and its log.
            camera: a file of JPEGs one after another, `.mjpeg`.
        """
        our_commands, to_browser = os.pipe()
        from_browser, its_answers = os.pipe()
        self._log = (folder / "chromium.log").open("w")
        self.process = subprocess.Popen(
            [
                *("bash", "-c", START, find("chromium"), str(our_commands), str(its_answers)),
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"),
                *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
                *(f"--use-file-for-fake-video-capture={camera}", "--hide-scrollbars"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--no-first-run"),
            ],
            pass_fds=(our_commands, its_answers),
            stderr=self._log,
            stdout=self._log,
        )
        os.close(our_commands)
        os.close(its_answers)
        self._send_file = os.fdopen(to_browser, "wb")
        self._read_file = os.fdopen(from_browser, "rb")
        self._numbers = itertools.count(1)
        self._answers: dict[int, Queue[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.send("Browser.close")
        self.process.wait(30)
        self._reader.join()
        for file in (self._send_file, self._read_file, self._log):
            file.close()

    def _read(self) -> None:
        rest = b""
        while chunk := self._read_file.read1(65_536):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                elif page := self.pages.get(message.get("sessionId", "")):
                    page.events.append(message)
                    page.hear(message)

    def post(self, method: str, session: str = "", **parameters: Any) -> Queue[dict[str, Any]]:
        """Send a command; return where its answer will be."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        answer = self._answers[number] = Queue()
        self._send_file.write(json.dumps(message).encode() + b"\0")
        self._send_file.flush()
        return answer

    def send(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        answer = self.post(method, session, **parameters).get(timeout=120)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str, width: int = 1280, height: int = 900, theme: str = "light") -> "Page":
        """Open a page in a context of its own: no cookies, no storage, nothing cached."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        allowed = ["clipboardReadWrite", "clipboardSanitizedWrite", "videoCapture"]
        self.send("Browser.grantPermissions", permissions=allowed, browserContextId=context)
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self.pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            page.send(f"{domain}.enable")
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": theme}]
        page.send("Emulation.setEmulatedMedia", features=features)
        page.send("Page.bringToFront")
        page.send("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete'")
        return page


class Page:
    """A page as a visitor has it: looks, clicks, keys, and what its console says.

    Attributes:
        events: what the browser has told of it so far.
        refuse: a problem document with which to answer `/cartoonize` in the service's place.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.refuse: dict[str, Any] | None = None
        self._browser, self._session = browser, session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command about this page; return its result."""
        return self._browser.send(method, self._session, **parameters)

    def hear(self, event: dict[str, Any]) -> None:
        """Answer a request that is held up, as `answer_with` says."""
        if event["method"] == "Fetch.requestPaused" and self.refuse:
            headers = [
                {"name": "Content-Type", "value": "application/problem+json"},
                {"name": "Retry-After", "value": "7"},
            ]
            self._browser.post(
                "Fetch.fulfillRequest",
                self._session,
                requestId=event["params"]["requestId"],
                responseCode=self.refuse["status"],
                responseHeaders=headers,
                body=base64.b64encode(json.dumps(self.refuse).encode()).decode(),
            )

    def answer_with(self, problem: dict[str, Any]) -> None:
        """Answer `/cartoonize` with a problem document from now on, in the service's place."""
        self.refuse = problem
        self.send("Fetch.enable", patterns=[{"urlPattern": "*/cartoonize"}])

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript, awaiting what it promises; return its value."""
        done = self.send(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 90) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"still not {expression}: {self.text('body')}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is rendered."""
        text: str = self.evaluate(f"document.querySelector({selector!r}).innerText")
        return text

    def shown(self, selector: str) -> bool:
        """Whether an element is rendered."""
        return bool(self.evaluate(f"document.querySelector({selector!r}).checkVisibility()"))

    def click(self, selector: str) -> None:
        """Click an element."""
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def choose(self, name: str, value: str) -> None:
        """Choose a value of the form's radio buttons of that name."""
        self.click(f'input[name="{name}"][value="{value}"]')

    def upload(self, *files: Path) -> None:
        """Give files to the file field, as its dialog does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, *keys: str) -> None:
        """Press keys one after another."""
        for key in keys:
            named = {"key": key, "windowsVirtualKeyCode": KEYS[key], "code": key}
            text = {"Enter": "\r", " ": " "}.get(key)
            down = {**named, "type": "keyDown", **({"text": text} if text else {})}
            self.send("Input.dispatchKeyEvent", **down)
            self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page, PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[str]:
        """Return what the console has: lines, exceptions, what the browser itself reports."""
        lines = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.consoleAPICalled":
                lines.append(str(parameters["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                lines.append(str(parameters["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded":
                lines.append(parameters["entry"]["text"])
        return lines
