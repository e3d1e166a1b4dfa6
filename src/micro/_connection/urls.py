"""Server URLs: checked, completed, and separated from their credentials."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from urllib.parse import SplitResult, unquote, urlsplit

from micro._connection.credentials import Credentials, Secret, Token, UserPassword
from micro._errors import ConfigError

_SCHEMES = ("nats", "tls", "ws", "wss")


def split_servers(urls: Sequence[str]) -> tuple[tuple[str, ...], Credentials | None]:
    """Split URLs into complete URLs without credentials, and the credentials.

    Credentials in a URL apply to every server, discovered servers included.

    Raises:
        ConfigError: A URL is malformed, schemes exclude each other, or credentials differ.
    """
    if not urls:
        raise ConfigError("no server URL given: expected at least one, such as 'nats://host:4222'")
    parts = [_parse(url) for url in urls]
    _check_schemes({part.scheme for part in parts})
    ways = {way for part in parts if (way := _credentials(part)) is not None}
    if len(ways) > 1:
        raise ConfigError("server URLs carry different credentials: expected the same for all")
    return tuple(_without_credentials(part) for part in parts), ways.pop() if ways else None


def _parse(url: str) -> SplitResult:
    # The text before the last "@" may be a secret: no message shows it.
    text = url.strip()
    shown = text.rpartition("@")[2]
    try:
        part = urlsplit(text if "://" in text else f"nats://{text}")
        valid = bool(part.hostname) and part.port != 0 and part.path in ("", "/")
    except ValueError as error:
        raise ConfigError(f"invalid server URL {shown!r}: {error}") from None
    if part.scheme not in _SCHEMES:
        expected = ", ".join(_SCHEMES)
        raise ConfigError(f"invalid server URL {shown!r}: expected one of the schemes {expected}")
    if not valid and part.scheme in ("nats", "tls"):
        raise ConfigError(f"invalid server URL {shown!r}: expected 'nats://host:port'")
    return part


def _check_schemes(schemes: set[str]) -> None:
    if not schemes & {"ws", "wss"}:
        return
    if schemes & {"nats", "tls"}:
        raise ConfigError("WebSocket and other server URLs do not go together: expected one kind")
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError("WebSocket server URLs need the package aiohttp: pip install aiohttp")


def _credentials(part: SplitResult) -> Credentials | None:
    if not part.username:
        return None
    if part.password is None:
        return Token(Secret(unquote(part.username)))
    return UserPassword(unquote(part.username), Secret(unquote(part.password)))


def _without_credentials(part: SplitResult) -> str:
    place = part.netloc.rpartition("@")[2]
    if part.scheme in ("nats", "tls"):
        if part.port is None:
            place = f"{place.rstrip(':')}:4222"
        return f"{part.scheme}://{place}"
    return part._replace(netloc=place).geturl()
