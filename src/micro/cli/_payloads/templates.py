"""The template functions of the NATS CLI in payloads and headers, such as `{{Count}}`."""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime

from micro._errors import ConfigError

_FUNCTION = re.compile(rb"\{\{\s*\.?([A-Z][A-Za-z]*)((?:[ (,]\s*\d+)*)\s*\)?\s*\}\}")
_LETTERS = string.ascii_letters + string.digits

MAX_RANDOM = 1_000_000
"""Limit on the length of a random text."""


def fill(text: bytes, count: int) -> bytes:
    """Return a text with its functions replaced; anything else in braces stays as it is.

    `Count` is the number of the request from 1; `ID` a unique text; `Unix`, `UnixNano`, `Time` and
    `TimeStamp` (RFC 3339) the present time; `Random MIN MAX` letters and digits.

    Raises:
        ConfigError: The two lengths of `Random` are missing or wrong.
    """

    def replace(match: re.Match[bytes]) -> bytes:
        name, numbers = match[1].decode(), [int(n) for n in re.findall(rb"\d+", match[2])]
        if name == "Count":
            return b"%d" % count
        if name == "Random":
            return _random(match[0].decode(), numbers)
        return _PRESENT[name]().encode() if name in _PRESENT and not numbers else match[0]

    return _FUNCTION.sub(replace, text) if b"{{" in text else text


def _random(template: str, numbers: list[int]) -> bytes:
    if len(numbers) != 2 or not numbers[0] <= numbers[1] <= MAX_RANDOM:
        raise ConfigError(
            f"invalid template {template!r}: expected Random with the least and the greatest "
            f"length, at most {MAX_RANDOM:,}"
        )
    low, high = numbers
    length = low + secrets.randbelow(high - low + 1)
    return "".join(secrets.choice(_LETTERS) for _ in range(length)).encode()


_PRESENT: dict[str, Callable[[], str]] = {
    "ID": lambda: secrets.token_hex(11),
    "Unix": lambda: str(int(time.time())),
    "UnixNano": lambda: str(time.time_ns()),
    "Time": lambda: datetime.now().astimezone().strftime("%H:%M:%S"),
    "TimeStamp": lambda: datetime.now(UTC).isoformat(timespec="milliseconds"),
}
