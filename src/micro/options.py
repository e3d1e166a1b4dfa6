"""Options for the connection to NATS, given to `micro.run`, `Context.connect` and the like.

Each function returns a value; later ones replace earlier ones of the same kind:

    micro.run(setup, options.servers("nats://a:4222", "nats://b:4222"), options.token(secret))

What no option gives is filled from the environment, see `micro.options.context` for the order.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from micro._connection import credentials as ways
from micro._connection.backoff import Backoff
from micro._connection.settings import ConnectOption
from micro._errors import ConfigError

__all__ = [
    "ConnectOption",
    "connect_timeout",
    "context",
    "creds_file",
    "inbox_prefix",
    "jwt",
    "name",
    "nkey_file",
    "nkey_seed",
    "ping_interval",
    "reconnect",
    "retry",
    "selected_context",
    "servers",
    "ssl_context",
    "tls",
    "tls_first",
    "token",
    "user_password",
]

_Path = str | os.PathLike[str]


def servers(*urls: str) -> ConnectOption:
    """Connect to one of these servers, tried in random order.

    Args:
        urls: ``nats://``, ``tls://``, ``ws://`` or ``wss://`` and host; port 4222 if none is given.
            ``user:password@`` or ``token@`` before the host applies to all servers.
    """
    return ConnectOption("servers", {"servers": urls})


def name(value: str) -> ConnectOption:
    """Name the connection, as the server's monitoring shows it."""
    return ConnectOption("name", {"name": value})


def user_password(user: str, password: str) -> ConnectOption:
    """Authenticate with a user name and a password."""
    return _credentials("user_password", ways.UserPassword(user, ways.Secret(password)))


def token(value: str) -> ConnectOption:
    """Authenticate with a token."""
    return _credentials("token", ways.Token(ways.Secret(value)))


def creds_file(path: _Path) -> ConnectOption:
    """Authenticate with a credentials file of nsc, read again at each connect. Extra: nkeys."""
    return _credentials("creds_file", ways.CredsFile(_expand(path)))


def nkey_seed(seed: str) -> ConnectOption:
    """Authenticate with the seed of a user nkey (``SU...``). Extra: nkeys."""
    return _credentials("nkey_seed", ways.NkeySeed(ways.Secret(seed)))


def nkey_file(path: _Path) -> ConnectOption:
    """Authenticate with the user nkey whose seed a file holds, read at each connect. Extra: nkeys."""
    return _credentials("nkey_file", ways.NkeyFile(_expand(path)))


def jwt(value: str, seed: str) -> ConnectOption:
    """Authenticate with a user JWT and the nkey seed that belongs to it. Extra: nkeys."""
    return _credentials("jwt", ways.UserJwt(ways.Secret(value), ways.Secret(seed)))


def tls(
    *, ca: _Path | None = None, cert: _Path | None = None, key: _Path | None = None
) -> ConnectOption:
    """Use these PEM files when the server asks for TLS; they are read again at each new client.

    Args:
        ca: Authorities to trust in place of the system's.
        cert: Our certificate, for servers that verify clients.
        key: Its key, unless the certificate's file holds it; not encrypted.

    Raises:
        ConfigError: No file is given.
    """
    values: dict[str, Any] = {}
    if ca is not None:
        values["ca"] = _expand(ca)
    if cert is not None or key is not None:
        values["cert"] = tuple(None if path is None else _expand(path) for path in (cert, key))
    if not values:
        raise ConfigError(
            "no TLS file given: expected ca, cert or key; without them the system's CAs are used"
        )
    return ConnectOption("tls", values)


def ssl_context(value: ssl.SSLContext) -> ConnectOption:
    """Use this SSL context when the server asks for TLS."""
    return ConnectOption("ssl_context", {"ssl_context": value})


def tls_first() -> ConnectOption:
    """Start with the TLS handshake, for servers with ``handshake_first``."""
    return ConnectOption("tls_first", {"tls_handshake_first": True})


def inbox_prefix(value: str) -> ConnectOption:
    """Receive replies under this subject, ``_INBOX`` by default, as permissions may demand."""
    tokens = value.split(".")
    if not all(tokens) or any(char in " \t\r\n*>" for char in value):
        raise ConfigError(f"invalid inbox prefix {value!r}: expected a subject without wildcards")
    return ConnectOption("inbox_prefix", {"inbox_prefix": value})


def reconnect(
    *,
    first_delay: float = 0.01,
    factor: float = 2.0,
    max_delay: float = 0.5,
    jitter: float = 0.5,
    max_attempts: int = -1,
) -> ConnectOption:
    """Say how a lost connection is sought again.

    Args:
        first_delay: Seconds before the attempts of the first round over all servers.
        factor: How much longer each round waits than the one before.
        max_delay: Seconds that no delay exceeds.
        jitter: The part of a delay that chance may take away, 0 to 1.
        max_attempts: Attempts per server before the connection is given up; -1 means never.

    Raises:
        ConfigError: A value is out of its range.
    """
    backoff = Backoff(first_delay, factor, max_delay, jitter, max_attempts)
    backoff.check()
    return ConnectOption("reconnect", {"backoff": backoff})


def ping_interval(seconds: float = 10, max_outstanding: int = 2) -> ConnectOption:
    """Ping the server this often; leave it when so many pings have no answer.

    A server that froze is left after about ``seconds * (max_outstanding + 1)``.
    """
    _check_positive("ping interval", seconds)
    _check_positive("number of outstanding pings", max_outstanding)
    values = {"ping_interval": seconds, "max_outstanding_pings": max_outstanding}
    return ConnectOption("ping_interval", values)


def connect_timeout(seconds: float = 2) -> ConnectOption:
    """Give up an attempt to connect to one server after so many seconds."""
    _check_positive("connect timeout", seconds)
    return ConnectOption("connect_timeout", {"connect_timeout": seconds})


def retry(enabled: bool = True) -> ConnectOption:
    """Keep trying at start until a server is there, saying so every few seconds.

    Without it a program ends with the reason when no server can be reached.
    """
    return ConnectOption("retry", {"retry": enabled})


def context(value: str) -> ConnectOption:
    """Use a context of the NATS CLI by name (ADR-21).

    The order of precedence: options, this context, the environment (``NATS_URL``, ``NATS_CREDS``,
    ``NATS_NKEY``, ``NATS_USER``, ``NATS_PASSWORD``, ``NATS_TOKEN``, ``NATS_CA``, ``NATS_CERT``,
    ``NATS_KEY``), the context that ``NATS_CONTEXT`` names, defaults.
    """
    return ConnectOption("context", {"context": value})


def selected_context() -> ConnectOption:
    """Fall back on the context chosen by ``nats context select``, after all that `context` lists.

    For command line tools. A service should not change its server because somebody used a shell.
    """
    return ConnectOption("selected_context", {"selected_context": True})


def _credentials(kind: str, way: ways.Credentials) -> ConnectOption:
    return ConnectOption(kind, {"credentials": way})


def _expand(path: _Path) -> Path:
    return Path(path).expanduser()


def _check_positive(what: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"invalid {what} {value!r}: expected more than 0")
