"""A headless Chromium, driven over the WebDriver protocol (W3C)."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from micro.testing import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

TAB, ENTER, CONTROL, SPACE = "\ue004", "\ue007", "\ue009", " "

# Without these flags Chromium contacts other servers, and needs a sandbox, which root lacks.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One window of Chromium."""

    def __init__(self, driver: _Driver, session: str) -> None:
        self._driver = driver
        self._session = session

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._driver.call(method, f"/session/{self._session}{path}", body)

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a JavaScript function and return its value."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """Return the visible text of the first element that matches."""
        text = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        assert isinstance(text, str)
        return text

    def style(self, selector: str, name: str) -> str:
        """Return a computed style."""
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return str(self.run(script, selector, name))

    def type(self, *keys: str, held: str = "") -> None:
        """Press keys in turn at the focus, while `held` is down."""
        actions = [{"type": "keyDown", "value": held}] if held else []
        for key in "".join(keys):
            actions += [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        actions += [{"type": "keyUp", "value": held}] if held else []
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._call("POST", "/actions", {"actions": [source]})

    def tab_to(self, selector: str, *, limit: int = 60) -> None:
        """Press Tab until the focus is on an element."""
        for _ in range(limit):
            if self.run("return document.activeElement.matches(arguments[0])", selector):
                return
            self.type(TAB)
        raise AssertionError(f"no way to {selector} by Tab")

    def until(self, wanted: Callable[[], Any], *, within: float = 30) -> Any:
        """Wait until a condition holds, and return its value."""
        deadline = time.monotonic() + within
        while not (value := wanted()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came true; the page says:\n{self.text('body')}")
            time.sleep(0.05)
        return value

    def prefer(self, scheme: str) -> None:
        """Set the colour scheme of the system, "dark" or "light"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def console(self) -> list[str]:
        """Return the new messages of the console, policy violations included."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def screenshot(self) -> bytes:
        """Return the window as PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))


class _Driver:
    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, None if method != "POST" else json.dumps(body or {}))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if self.call("GET", "/status")["ready"]:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("chromedriver does not start")


@contextmanager
def browser(driver_binary: str, chromium_binary: str, profile: str) -> Iterator[Browser]:
    """Run Chromium with an empty profile folder."""
    port = free_port()
    process = subprocess.Popen(
        [driver_binary, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        driver = _Driver(port)
        driver.wait_until_ready(process)
        options = {
            "binary": chromium_binary,
            "args": [*FLAGS, f"--user-data-dir={profile}", "--window-size=1440,900"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = driver.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Browser(driver, made["sessionId"])
        finally:
            driver.call("DELETE", f"/session/{made['sessionId']}")
    finally:
        process.terminate()
        process.wait(30)
