"""Template functions of payloads."""

from __future__ import annotations

import re

import pytest

from micro import ConfigError
from micro.cli._payloads.templates import fill


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        (b"{{Count}} {{.Count}} {{ Count }}", rb"7 7 7"),
        (b"{{Random 3 5}} {{Random(4, 4)}}", rb"[A-Za-z0-9]{3,5} [A-Za-z0-9]{4}"),
        (b"{{ID}}", rb"[0-9a-f]{22}"),
        (b"{{Unix}} {{UnixNano}}", rb"\d{10} \d{19}"),
        (b"{{Time}}", rb"\d\d:\d\d:\d\d"),
        (b"{{TimeStamp}}", rb"\d{4}-\d\d-\d\dT.*\+00:00"),
    ],
)
def test_functions_are_replaced(template: bytes, pattern: bytes) -> None:
    assert re.fullmatch(pattern, fill(template, 7))


@pytest.mark.parametrize("text", [b"{{name}}", b"{{Name}}", b'{"a": {"b": {}}}', b"{{", b"\xff"])
def test_other_braces_stay(text: bytes) -> None:
    assert fill(text, 1) == text


def test_ids_differ() -> None:
    first, second = fill(b"{{ID}} {{ID}}", 1).split()
    assert first != second


@pytest.mark.parametrize("text", ["{{Random}}", "{{Random 5 3}}", "{{Random 1 9999999}}"])
def test_wrong_lengths_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid template '.*': expected Random with"):
        fill(text.encode(), 1)
