"""Server URLs: checked, completed, and separated from their credentials."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, unquote, urlsplit

from micro._connection.credentials import Credentials, OfServers, Token, UserPassword
from micro._errors import ConfigError

_SCHEMES = ("nats", "tls", "ws", "wss")
_HOST = re.compile(r"[\w.-]{1,253}|[0-9a-f:.%\w]+", re.I)
# Texts of a URL that cannot hold a secret.
_HARMLESS = re.compile(r"([a-z]+://)?(\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9._-]{0,39})(:[a-z0-9]{0,5})?/?")


def split_list(urls: Iterable[str | Sequence[str]]) -> list[str]:
    """Return single URLs from URLs, lists of URLs and texts with commas.

    Raises:
        ConfigError: A URL is not a text.
    """
    single: list[str] = []
    for entry in urls:
        for text in entry if isinstance(entry, list | tuple) else [entry]:
            if not isinstance(text, str):
                raise ConfigError(
                    f"invalid server URL of type {type(text).__name__!r}: expected a text"
                )
            single += [part for part in text.split(",") if part.strip()]
    return single


def split_servers(
    urls: Iterable[str | Sequence[str]],
) -> tuple[tuple[str, ...], Credentials | None]:
    """Split URLs into complete URLs without credentials, and the credentials.

    Each server takes the credentials in its URL. A URL without any, and a discovered server, take
    those of the first URL that has some.

    Raises:
        ConfigError: A URL is malformed, or schemes exclude each other.
    """
    single = split_list(urls)
    if not single:
        raise ConfigError("no server URL given: expected at least one, such as 'nats://host:4222'")
    secret = any("@" in url for url in single)
    servers = [_parse(url, secret=secret) for url in single]
    _check_schemes({urlsplit(url).scheme for url, _ in servers})
    ways = {urlsplit(url).netloc: way for url, way in servers if way is not None}
    return tuple(url for url, _ in servers), OfServers(ways) if ways else None


def _parse(url: str, *, secret: bool) -> tuple[str, Credentials | None]:
    """Return the complete URL of a server without credentials, and the credentials in it."""
    # Everything before the last "@" belongs to the credentials, also "/", "?" and "#".
    prefix = re.match(r"([a-z]+)://", url.strip(), re.I)
    scheme = "nats" if prefix is None else prefix[1].lower()
    user_info, _, place = url.strip()[prefix.end() if prefix else 0 :].rpartition("@")
    shown = _shown(f"{scheme}://{place}" if prefix and not user_info else place, secret=secret)
    try:
        part = urlsplit(f"{scheme}://{place}")
        host = part.hostname or ""
        valid = _HOST.fullmatch(host) is not None and part.port != 0 and not _looks_secret(host)
    except ValueError as error:
        reason = f": {error}" if shown else ": expected 'nats://host:port'"
        raise ConfigError(f"invalid server URL{shown}{reason}") from None
    if scheme not in _SCHEMES:
        expected = ", ".join(_SCHEMES)
        raise ConfigError(f"invalid server URL{shown}: expected one of the schemes {expected}")
    tcp = scheme in ("nats", "tls")
    if not valid or (tcp and (part.path not in ("", "/") or part.query or part.fragment)):
        raise ConfigError(f"invalid server URL{shown}: expected '{scheme}://host:port'")
    return _complete(part, tcp=tcp), _credentials(user_info)


def _shown(text: str, *, secret: bool) -> str:
    """Return the part of a message that shows a URL; empty if the text may hold a secret."""
    # A comma in a password cuts a URL in two, so with an "@" somewhere digits only follow a colon.
    if not _HARMLESS.fullmatch(text) or _looks_secret(text):
        return ""
    if secret and not re.fullmatch(r"[^:]*(:[a-z0-9]{0,5})?/?", text):
        return ""
    return f" {text!r}"


def _looks_secret(text: str) -> bool:
    return any(re.search(r"^S[A-Z][A-Z2-7]{20,}$|^eyJ", label, re.I) for label in text.split("."))


def _check_schemes(schemes: set[str]) -> None:
    if not schemes & {"ws", "wss"}:
        return
    if schemes & {"nats", "tls"}:
        raise ConfigError("WebSocket and other server URLs do not go together: expected one kind")
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError(
            "WebSocket server URLs need the package aiohttp: pip install 'natsmicro[websocket]'"
        )


def _credentials(user_info: str) -> Credentials | None:
    user, colon, password = user_info.partition(":")
    if not user:
        return None
    return UserPassword(unquote(user), unquote(password)) if colon else Token(unquote(user))


def _complete(part: SplitResult, *, tcp: bool) -> str:
    if not tcp:
        return part.geturl()
    place = part.netloc
    return f"{part.scheme}://{place if part.port is not None else place.rstrip(':') + ':4222'}"
