"""Chromium without a window, driven by the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from websockets.sync.client import connect

_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ),
]


class Browser:
    """A browser with a profile of its own, in a language."""

    def __init__(self, language: str = "en-US") -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        assert program, "chromium is missing: on Debian, apt-get install chromium"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = [
            f"--user-data-dir={self._profile.name}",
            "--remote-debugging-port=0",
            f"--accept-lang={language}",
        ]
        self._process = subprocess.Popen(
            [program, *_FLAGS, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._pages: list[Page] = []
        told = Path(self._profile.name) / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not told.exists() or "\n" not in told.read_text():
            assert self._process.poll() is None, "chromium did not start"
            assert time.monotonic() < end, "chromium does not listen"
            time.sleep(0.05)
        self._address = f"http://127.0.0.1:{told.read_text().split()[0]}"

    def open(self, url: str, key: str | None = None, width: int = 1280, height: int = 900) -> Page:
        """A new tab; `key` is the password that it gives when it is asked for one."""
        target = httpx2.put(f"{self._address}/json/new?about:blank", timeout=30).json()
        page = Page(target["webSocketDebuggerUrl"], key)
        self._pages.append(page)
        page.resize(width, height)
        page.go(url)
        return page

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        for page in self._pages:
            page.close()
        self._process.terminate()
        self._process.wait(30)
        self._profile.cleanup()


class Page:
    """A tab. `requests` are the addresses that it asked for, `problems` what its console complains of."""

    def __init__(self, address: str, key: str | None) -> None:
        self._end = contextlib.ExitStack()
        self._socket = self._end.enter_context(connect(address, max_size=None, proxy=None))
        self._number = 0
        self._key = key
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Fetch.enable", handleAuthRequests=True)

    def _send(self, method: str, values: dict[str, Any]) -> int:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": values}))
        return self._number

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        number = self._send(method, values)
        while True:
            message = json.loads(self._socket.recv(60))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            if "method" in message:
                self._hear(message["method"], message["params"])

    def _hear(self, event: str, values: dict[str, Any]) -> None:
        if event == "Fetch.requestPaused":
            self._send("Fetch.continueRequest", {"requestId": values["requestId"]})
        elif event == "Fetch.authRequired":
            answer: dict[str, Any] = {"response": "CancelAuth"}
            if self._key is not None:
                answer = {"response": "ProvideCredentials", "username": "", "password": self._key}
                self._key = None  # what was refused once is not said again
            self._send(
                "Fetch.continueWithAuth", {"requestId": values["requestId"], "authChallengeResponse": answer}
            )
        elif event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(values["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(values["args"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(values["entry"]))

    def run(self, script: str) -> Any:
        """The value of an expression; of a promise what it comes to."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, (script, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"not true after {seconds} s: {script}; {self.problems}"
            time.sleep(0.05)
        return value

    def watch(self, seconds: float) -> None:
        """Lets time pass; what the page asks for waits while nobody listens here."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run("0")
            time.sleep(0.02)

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        self.wait(f"Boolean(document.querySelector({json.dumps(selector)}))")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Types over what a field holds."""
        self.run(
            f"(() => {{ const f = document.querySelector({json.dumps(selector)}); f.focus(); f.select(); }})()"
        )
        self.call("Input.insertText", text=text)

    def put(self, selector: str, path: Path) -> None:
        """Chooses a file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def choose(self, selector: str, value: str) -> None:
        self.run(
            f"(() => {{ const f = document.querySelector({json.dumps(selector)}); f.value = {json.dumps(value)};"
            "f.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def press(self, key: str) -> None:
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def dark(self, is_dark: bool) -> None:
        value = "dark" if is_dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def picture(self, path: Path) -> None:
        """A PNG of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._end.close()
