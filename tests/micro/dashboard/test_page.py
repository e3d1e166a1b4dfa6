"""The page in a browser, by keyboard only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Keys

from micro.testing import nats_server

from .browser import Browser
from .conftest import COMMAND, running
from .services import MARKUP

SERVICES = (sys.executable, str(Path(__file__).parent / "services.py"))

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with nats_server() as server:
        yield server.url


@pytest.fixture(scope="module")
def address(server: str) -> Iterator[str]:
    with running(*COMMAND, f"--server={server}") as line:
        yield json.loads(line)["url"]


@pytest.fixture
def opened(page: Browser, address: str) -> Iterator[Browser]:
    """Open the page as a new visitor; a message on the console fails the test."""
    page.driver.get(address)
    page.run("localStorage.clear()")
    page.driver.get(address)
    page.console()
    yield page
    assert page.console() == []


def test_services_come_and_go(opened: Browser, server: str) -> None:
    opened.until(lambda: "No services yet" in opened.text("main"))
    with running(*SERVICES, "shop", server):
        opened.until(lambda: "shop" in opened.text("#services"))
        opened.until(lambda: "1 instance" in opened.text("#totals"))
        shown = opened.text("main")
    opened.until(lambda: "No services yet" in opened.text("main"))

    assert "1.2.3" in shown
    assert "place" in shown


def test_a_request_is_made_with_the_keyboard(opened: Browser, server: str) -> None:
    with running(*SERVICES, "shop", server):
        opened.until(lambda: "place" in opened.text("main"))
        opened.tab_to("tbody a[href$='/place/place']")
        opened.type(Keys.ENTER)
        opened.until(lambda: opened.run("return document.activeElement.closest('form') !== null"))
        opened.type("ada")
        opened.tab_to("fieldset.top fieldset > button")
        opened.type(Keys.SPACE)  # adds an item and focuses its first field
        opened.type("A-7")
        opened.tab_to("select")
        opened.type("e")
        opened.tab_to("#fields .check input[type=checkbox]")
        opened.type(Keys.SPACE)
        opened.type(Keys.ENTER, held=Keys.CONTROL)
        opened.until(lambda: "Reply" in opened.text("#reply"))
        reply = opened.text("#reply pre")
        focus_stays = opened.run("return document.activeElement.closest('form') !== null")
        schema = opened.run("return document.querySelector('#facts details pre').textContent")
        # The counters of the table are updated without a reload.
        opened.until(lambda: opened.text("tr.selected td:nth-of-type(2)") == "1")

    assert json.loads(reply) == {
        "customer": "ada",
        "items": [{"sku": "A-7", "quantity": 1}],
        "shipping": "express",
        "gift": True,
        "note": None,
    }
    assert "ms" in opened.text("#reply h3")
    assert focus_stays
    assert json.loads(schema)["title"] == "Order"


def test_an_error_of_the_service_is_shown(opened: Browser, server: str) -> None:
    with running(*SERVICES, "shop", server):
        opened.run("location.hash = '#/shop/place/place'")
        opened.until(lambda: opened.run("return document.activeElement.closest('form') !== null"))
        opened.type("mallory", Keys.ENTER)
        opened.until(lambda: "Error 402" in opened.text("#reply"))
        shown = opened.text("#reply")
        opened.until(lambda: "402 \N{MULTIPLICATION SIGN} 1" in opened.text("#facts"))

    assert "card declined" in shown
    assert "Retry-After" in shown


def test_a_phone_shows_one_pane_at_a_time(opened: Browser, server: str) -> None:
    def shown() -> list[str]:
        script = "return [...document.querySelectorAll('nav, main, aside')]"
        script += ".filter((pane) => pane.offsetWidth > 0).map((pane) => pane.localName)"
        panes = opened.run(script)
        assert opened.run("return document.documentElement.scrollWidth <= innerWidth")
        assert isinstance(panes, list)
        return panes

    opened.resize(390, 600)
    with running(*SERVICES, "shop", server):
        opened.until(lambda: "shop" in opened.text("#services"))
        panes = [shown()]
        for link in (
            "#services a",
            "tbody a[href$='/place/place']",
            "#facts .close",
            "main .back",
        ):
            opened.run("document.querySelector(arguments[0]).click()", link)
            opened.until(lambda: shown() != panes[-1])
            panes.append(shown())
        opened.run("location.hash = '#/shop/place/place'")
        opened.until(lambda: "customer" in opened.text("#fields"))
        opened.run("document.querySelector('#ask').requestSubmit()")
        opened.until(lambda: "Reply" in opened.text("#reply"))
        reply_in_view = opened.in_view("#reply h3")
    opened.resize(1440, 900)

    assert panes == [["nav"], ["main"], ["aside"], ["main"], ["nav"]]
    assert reply_in_view


def test_panes_scroll_by_themselves(opened: Browser, server: str) -> None:
    opened.resize(1440, 300)
    with running(*SERVICES, "shop", server):
        opened.run("location.hash = '#/shop/place/place'")
        opened.until(lambda: "customer" in opened.text("#fields"))
        opened.run("document.querySelector('aside').scrollTop = 200")
        tops = opened.run(
            "return ['html', 'main', 'aside'].map((one) => document.querySelector(one).scrollTop)"
        )
    opened.resize(1440, 900)

    assert tops == [0, 0, 200]


def test_without_a_schema_it_is_a_text(opened: Browser, server: str) -> None:
    with running(*SERVICES, "shop", server):
        opened.run("location.hash = '#/shop/echo/echo'")
        opened.until(
            lambda: opened.run("return document.activeElement.matches('#fields textarea')")
        )
        opened.type("hello")
        opened.tab_to("summary:not(#facts summary)")
        opened.type(Keys.ENTER)
        opened.tab_to("#headers")
        opened.type("Trace: 7")
        opened.tab_to("#send")
        opened.type(Keys.ENTER)
        opened.until(lambda: "Reply" in opened.text("#reply"))

    assert opened.text("#reply pre") == "hello"
    assert "Trace\n7" in opened.text("#reply dl")


def test_the_theme_follows_the_system_until_one_is_chosen(opened: Browser) -> None:
    def ground() -> str:
        return opened.style("body", "backgroundColor")

    opened.prefer("light")
    light = opened.until(ground)
    opened.prefer("dark")
    dark = ground()
    opened.tab_to("#theme")
    opened.type(Keys.ENTER)
    chosen = ground()
    opened.run("location.reload()")
    opened.until(lambda: opened.text("#theme") == "Dark")
    kept = ground()
    opened.prefer("light")

    assert light != dark
    assert chosen == kept == light


def test_what_services_say_is_text(opened: Browser, server: str) -> None:
    with running(*SERVICES, "hostile", server), running(*SERVICES, "shop", server):
        opened.until(lambda: MARKUP in opened.text("#services"))
        opened.run("document.querySelector('#services a').click()")
        opened.until(lambda: MARKUP in opened.text("main h2"))
        description = opened.text("main .description")
        opened.run("document.querySelector('tbody a').click()")
        opened.until(lambda: MARKUP in opened.text("#facts h2"))
        facts = opened.text("#facts")
        opened.run("location.hash = '#/shop/place/place'")
        opened.until(lambda: "items" in opened.text("#fields"))
        opened.run("document.querySelector('fieldset fieldset > button').click()")
        hint = opened.text("#fields fieldset fieldset small")

    assert description == MARKUP
    assert f"{MARKUP} \N{MULTIPLICATION SIGN} 1" in facts
    assert hint == MARKUP
    assert opened.run("return document.title") == "micro dashboard"
    assert (
        opened.run("return document.querySelectorAll('main img, aside img, nav img').length") == 0
    )


def test_every_control_has_a_name(opened: Browser, server: str) -> None:
    with running(*SERVICES, "shop", server):
        opened.run("location.hash = '#/shop/place/place'")
        opened.until(lambda: "items" in opened.text("#fields"))
        opened.run("document.querySelector('fieldset fieldset > button').click()")
        tree = opened.command("Accessibility.getFullAXTree")["nodes"]

    controls = {"button", "checkbox", "combobox", "link", "region", "searchbox", "textbox", "table"}
    seen = {node["role"]["value"] for node in tree if not node["ignored"]} & controls
    unnamed = [
        node
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] in controls
        and not node.get("name", {}).get("value")
    ]
    assert seen == controls
    assert unnamed == []
