"""The page in a browser: services, panes, keys and texts of services."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver import Keys

from .browser import Browser
from .conftest import SERVICES, running
from .services import MARKUP

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True)]


def test_services_come_and_go(opened: Browser, server: str) -> None:
    opened.until(lambda: "No services yet" in opened.text("main"))
    with running(*SERVICES, "shop", server):
        opened.until(lambda: "shop" in opened.text("#services"))
        opened.until(lambda: "1 instance" in opened.text("#totals"))
        opened.until(lambda: "place" in opened.text("main"))
        opened.run("document.querySelector('#services a[href$=shop]').click()")
        opened.until(lambda: "1.2.3" in opened.text("main h2"))
    opened.until(lambda: "No instance of shop answers" in opened.text("main"))


def test_what_is_wrong_now_is_listed(opened: Browser, server: str) -> None:
    with running(*SERVICES, "shop", server):
        with running(*SERVICES, "shop", server, "1.0.0"):
            opened.until(lambda: "1 of 2 instances, the newest is 1.2.3" in opened.text("main"))
        opened.until(lambda: "version 1.0.0 does not answer any more" in opened.text("main"))
        opened.run(
            "fetch('/api/request', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            " body: JSON.stringify({subject: 'place', data: '{}'})})"
        )
        opened.until(lambda: "the last: 400:invalid request" in opened.text("main"))
        badge = opened.text("#services a")
        opened.run("document.querySelector('[aria-label=\\'Missing instances\\'] button').click()")
        opened.until(lambda: "does not answer any more" not in opened.text("main"))
        opened.driver.refresh()
        opened.until(lambda: "1.2.3" in opened.text("#services"))
        dismissed = "does not answer any more" not in opened.text("main")

    assert "problems" in badge
    assert dismissed


@pytest.mark.usefixtures("shop")
def test_a_search_covers_services_endpoints_and_metadata(opened: Browser) -> None:
    def hits(wanted: str) -> str:
        opened.run(
            "const input = document.querySelector('#search'); input.value = arguments[0];"
            "input.dispatchEvent(new Event('input'))",
            wanted,
        )
        return opened.text("#services")

    opened.until(lambda: "shop" in opened.text("#services"))

    assert "shop" in hits("SHOP blue")
    by_owner = hits("shop ada")
    assert "echo" in by_owner
    assert "place" not in by_owner
    assert "Nothing has all of these words" in hits("shop red")


@pytest.mark.usefixtures("shop")
def test_a_column_sorts_its_table(opened: Browser) -> None:
    def names() -> Any:
        return opened.run(
            "return [...document.querySelectorAll('tbody .name')].map((one) => one.innerText)"
        )

    opened.run("location.hash = '#/shop'")
    opened.until(lambda: names() == ["echo", "place"])
    opened.run("document.querySelector('thead button').click()")
    opened.until(lambda: names() == ["place", "echo"])

    assert opened.run("return document.querySelector('thead th').ariaSort") == "descending"


@pytest.mark.usefixtures("shop")
def test_arrow_keys_reach_services_endpoints_and_the_form(opened: Browser) -> None:
    opened.until(lambda: "shop" in opened.text("#services"))
    opened.type("/")
    opened.until(lambda: opened.has_focus("#search"))
    opened.type(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    opened.until(lambda: opened.has_focus("#services a[href$=shop]"))
    opened.type(Keys.ARROW_RIGHT)
    opened.until(lambda: opened.has_focus("main a[href$='/echo/echo']"))
    opened.type(Keys.ARROW_DOWN)
    opened.until(lambda: opened.has_focus("main a[href$='/place/place']"))
    opened.type(Keys.ARROW_RIGHT)
    opened.until(lambda: opened.has_focus("#fields input"))
    opened.type(Keys.ESCAPE)
    opened.until(lambda: opened.has_focus("main a[href$='/place/place']"))
    opened.type(Keys.ARROW_LEFT)
    opened.until(lambda: opened.has_focus("#services a[href$=shop]"))


@pytest.mark.usefixtures("shop")
def test_a_phone_shows_one_pane_at_a_time(opened: Browser) -> None:
    def shown() -> list[str]:
        script = "return [...document.querySelectorAll('nav, main, aside')]"
        script += ".filter((pane) => pane.offsetWidth > 0).map((pane) => pane.localName)"
        panes = opened.run(script)
        assert opened.run("return document.documentElement.scrollWidth <= innerWidth")
        assert isinstance(panes, list)
        return panes

    opened.resize(390, 600)
    opened.until(lambda: "shop" in opened.text("#services"))
    panes = [shown()]
    for link in (
        "#services a[href$=shop]",
        "tbody a[href$='/place/place']",
        "#facts .close",
        "main .back",
        "#services a[href='#overview']",
    ):
        opened.run("document.querySelector(arguments[0]).click()", link)
        opened.until(lambda: shown() != panes[-1])
        panes.append(shown())

    assert panes == [["nav"], ["main"], ["aside"], ["main"], ["nav"], ["main"]]


@pytest.mark.usefixtures("shop")
def test_panes_scroll_by_themselves(opened: Browser) -> None:
    opened.resize(1440, 300)
    opened.run("location.hash = '#/shop/place/place'")
    opened.until(lambda: "customer" in opened.text("#fields"))
    opened.run("document.querySelector('aside').scrollTop = 200")
    tops = opened.run(
        "return ['html', 'main', 'aside'].map((one) => document.querySelector(one).scrollTop)"
    )

    assert tops == [0, 0, 200]


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


def test_what_services_say_is_text(opened: Browser, server: str, shop: None) -> None:
    with running(*SERVICES, "hostile", server):
        opened.until(lambda: MARKUP in opened.text("#services"))
        opened.run("document.querySelector('#services a[href*=img]').click()")
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


@pytest.mark.usefixtures("shop")
def test_every_control_has_a_name(opened: Browser) -> None:
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


@pytest.mark.usefixtures("shop")
def test_the_api_of_a_service_is_a_page_with_a_download(opened: Browser) -> None:
    opened.run("location.hash = '#/shop'")
    opened.until(lambda: "API document" in opened.text("main"))
    opened.run("document.querySelector('a[href*=\"api.html\"]').click()")
    opened.until(lambda: "shop.place" in opened.text("main"))
    link = opened.run("return document.querySelector('a[download]').getAttribute('href')")

    assert link == "/api/asyncapi.json?service=shop"
    assert "InvalidMembers" in opened.text("main")
    assert opened.console() == []
