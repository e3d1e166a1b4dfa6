"""The request form of the page: fields, outcome, headers and the command."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from selenium.webdriver import Keys

from .browser import Browser

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.usefixtures("shop"),
]


def choose(opened: Browser, endpoint: str) -> None:
    opened.run(f"location.hash = '#/shop/{endpoint}/{endpoint}'")
    opened.until(lambda: opened.run("return document.activeElement.closest('form') !== null"))


def click(opened: Browser, text: str) -> None:
    opened.run(
        "[...document.querySelectorAll('#ask button')]"
        ".find((one) => one.innerText === arguments[0]).click()",
        text,
    )


def replied(opened: Browser, title: str) -> str:
    opened.until(lambda: title in opened.text("#reply h3"))
    return opened.text("#reply pre")


def payload(opened: Browser) -> Any:
    """Return what the form would send."""
    opened.run("document.querySelector('.switch input').click()")
    text = opened.until(
        lambda: opened.run("return document.querySelector('#fields textarea').value")
    )
    opened.run("document.querySelector('.switch input').click()")
    return json.loads(text)


def test_a_request_is_made_with_the_keyboard(opened: Browser) -> None:
    opened.until(lambda: "place" in opened.text("main"))
    opened.tab_to("tbody a[href$='/place/place']")
    opened.type(Keys.ENTER)
    opened.until(lambda: opened.run("return document.activeElement.closest('form') !== null"))
    opened.type("ada")
    opened.tab_to("fieldset.top fieldset > button")
    opened.type(Keys.SPACE)  # adds an item and focuses its first field
    opened.type("A-7")
    opened.tab_to("select[id$=shipping]")
    opened.type("e")
    opened.tab_to("#fields .check input[type=checkbox]")
    opened.type(Keys.SPACE)
    opened.type(Keys.ENTER, held=Keys.CONTROL)
    reply = replied(opened, "Reply")
    schema = opened.run("return document.querySelector('#facts details pre').textContent")
    # The counters of the table are updated without a reload.
    opened.until(lambda: int(opened.text("tr.selected td:nth-of-type(2)")) > 0)

    assert json.loads(reply) == {
        "customer": "ada",
        "items": [{"sku": "A-7", "quantity": 1}],
        "payment": None,
        "billing": None,
        "shipping": "express",
        "gift": True,
        "note": None,
    }
    assert "ms" in opened.text("#reply h3")
    assert opened.in_view("#reply h3")
    assert opened.run("return document.activeElement.closest('form') !== null")
    assert json.loads(schema)["title"] == "Order"


def test_an_error_of_the_service_is_shown(opened: Browser) -> None:
    choose(opened, "place")
    opened.type("mallory", Keys.ENTER)
    opened.until(lambda: "Error 402" in opened.text("#reply"))
    shown = opened.text("#reply")
    opened.until(lambda: "402 \N{MULTIPLICATION SIGN} 1" in opened.text("#facts"))

    assert "card declined" in shown
    assert "Retry-After" in shown


def test_wrong_values_are_told_beside_their_fields(opened: Browser) -> None:
    choose(opened, "place")
    opened.run("document.querySelector('fieldset fieldset > button').click()")
    opened.run("document.querySelector('select[id*=payment]').focus()")
    opened.type("c")  # a card
    opened.until(lambda: "number" in opened.text("#fields"))
    opened.tab_to("#field-47-payment-47-number")
    opened.type("many")
    opened.run("document.querySelector('#ask').requestSubmit()")
    replied(opened, "Error 400")
    errors = opened.run(
        "return Object.fromEntries([...document.querySelectorAll('.field')]"
        ".filter((one) => one.querySelector('[aria-invalid]'))"
        ".map((one) => [one.querySelector('label').firstChild.data,"
        " one.querySelector('.error').innerText]))"
    )
    opened.run("document.querySelector('#field-47-customer').focus()")
    opened.type("ada")
    opened.until(lambda: opened.text("#field-47-customer-error") == "")

    assert errors.keys() == {"customer", "sku", "number"}
    assert errors["customer"] == "Field required"
    assert "valid integer" in errors["number"]


def test_optional_parts_are_left_out_unless_filled(opened: Browser) -> None:
    choose(opened, "place")
    untouched = payload(opened)
    click(opened, "Add billing")
    opened.until(lambda: opened.has_focus("#field-47-billing-47-city"))
    opened.type("Oslo")
    filled = payload(opened)
    click(opened, "Leave out billing")

    assert untouched == {"items": []}
    assert filled == {"items": [], "billing": {"city": "Oslo"}}
    assert payload(opened) == untouched


def test_an_example_fills_the_form(opened: Browser) -> None:
    choose(opened, "place")
    click(opened, "Fill in an example")
    example = payload(opened)
    opened.run("document.querySelector('#ask').requestSubmit()")
    reply = json.loads(replied(opened, "Reply"))

    assert example["payment"] == {"kind": "card", "number": 1}
    assert example["items"] == [{"sku": "text", "quantity": 1}]
    assert reply["payment"] == example["payment"]


def test_the_request_as_a_command_is_the_same(opened: Browser) -> None:
    choose(opened, "echo")
    opened.type("it's {{ here }}")
    opened.run("document.querySelector('#headers').value = 'Trace: 7'")
    click(opened, "Copy as command")
    command = opened.until(lambda: opened.text("#command pre"))
    server = opened.text("#server").split(" ")[0]

    assert shlex.split(command) == [
        *("micro", "request", "--header", "Trace:7", "--server", server, "--no-templates"),
        *("--", "echo", "it's {{ here }}"),
    ]


def test_headers_are_kept_on_request_for_one_service_in_one_tab(opened: Browser) -> None:
    def headers() -> Any:
        return opened.run("return document.querySelector('#headers').value")

    def send_with(kept: bool) -> None:
        choose(opened, "echo")
        opened.run(
            "document.querySelector('#headers').value = 'Token: s';"
            "document.querySelector('#keep').checked = arguments[0];"
            "document.querySelector('#ask').requestSubmit()",
            kept,
        )
        opened.until(lambda: "Token\ns" in opened.text("#reply dl"))

    send_with(kept=False)
    choose(opened, "place")
    opened.until(lambda: "customer" in opened.text("#fields"))
    forgotten = headers()
    send_with(kept=True)
    choose(opened, "place")
    opened.until(lambda: "customer" in opened.text("#fields"))
    kept = headers()

    assert forgotten == ""
    assert kept == "Token: s"
    assert opened.run("return JSON.stringify(localStorage)") == "{}"
    opened.run("sessionStorage.clear()")


def test_without_a_schema_it_is_a_text(opened: Browser) -> None:
    choose(opened, "echo")
    opened.type("hello")
    opened.tab_to("summary:not(#facts summary)")
    opened.type(Keys.ENTER)
    opened.tab_to("#headers")
    opened.type("Trace: 7")
    opened.tab_to("#send")
    opened.type(Keys.ENTER)

    assert replied(opened, "Reply") == "hello"
    assert "Trace\n7" in opened.text("#reply dl")
