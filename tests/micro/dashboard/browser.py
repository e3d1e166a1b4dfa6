"""A window of headless Chromium with the steps that the tests of the page share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 60

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

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a JavaScript function and return its value."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """Return the visible text of the first element that matches."""
        text = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        assert isinstance(text, str)
        return text

    def has_focus(self, selector: str) -> bool:
        """Return whether the focus is on an element that matches."""
        return bool(self.run("return document.activeElement.matches(arguments[0])", selector))

    def in_view(self, selector: str) -> bool:
        """Return whether the top of an element can be seen."""
        script = """
            const node = document.querySelector(arguments[0])
            const { left, top, width, height } = node.getBoundingClientRect()
            return width > 0 && node.contains(document.elementFromPoint(
                left + width / 2, top + Math.min(height / 2, 10)))"""
        return bool(self.run(script, selector))

    def style(self, selector: str, name: str) -> str:
        """Return a computed style."""
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return str(self.run(script, selector, name))

    def type(self, *keys: str, held: str = "") -> None:
        """Press keys in turn at the focus, while `held` is down."""
        actions = ActionChains(self.driver, duration=0)
        if held:
            actions.key_down(held)
        actions.send_keys(*keys)
        if held:
            actions.key_up(held)
        actions.perform()

    def tab_to(self, selector: str, *, limit: int = 60) -> None:
        """Press Tab until the focus is on an element."""
        for _ in range(limit):
            if self.has_focus(selector):
                return
            self.type(Keys.TAB)
        raise AssertionError(f"no way to {selector} by Tab")

    def until(self, wanted: Callable[[], Any]) -> Any:
        """Wait until a condition holds, and return its value."""
        try:
            wait = WebDriverWait(self.driver, SECONDS, poll_frequency=0.05)
            return wait.until(lambda _: wanted())
        except TimeoutException:
            raise AssertionError(f"never came true; the page says:\n{self.text('body')}") from None

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
        return self.driver.execute_cdp_cmd(name, parameters)

    def console(self) -> list[str]:
        """Return the new messages of the console, policy violations included."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # so in selenium
        return [entry["message"] for entry in entries]


@contextmanager
def browser(driver_binary: str, chromium_binary: str, profile: str) -> Iterator[Browser]:
    """Run Chromium with an empty profile folder."""
    options = ChromeOptions()
    options.binary_location = chromium_binary
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1440,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(driver_binary))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
