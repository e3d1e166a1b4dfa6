"""Options for the connection to NATS, for `micro.run`, `Context.connect` and `Context.run_forever`.

Each function returns an option; a later option replaces an earlier one of the same kind:

    micro.run(setup, options.servers("nats://a:4222", "nats://b:4222"), options.token(secret))

The environment has the rest; `micro.options.context` lists the order of precedence.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from micro._backoff import Backoff
from micro._connection import credentials as ways
from micro._connection.secrets import Function
from micro._connection.secrets import Given as Secret
from micro._connection.settings import ConnectOption
from micro._errors import ConfigError

__all__ = [
    "ConnectOption",
    "connect_timeout",
    "context",
    "creds",
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


def servers(*urls: str | Sequence[str]) -> ConnectOption:
    """Connect to one of these servers, tried in random order.

    Args:
        urls: `nats://`, `tls://`, `ws://` or `wss://`, the host, and the port, by default 4222.
            A list, or a text with commas, stands for several. `user:password@` or `token@` before
            the host belongs to that server; a server without takes those of the first URL with
            some.
    """
    return ConnectOption("servers", {"servers": urls})


def name(value: str) -> ConnectOption:
    """Name the connection in the monitoring of the server."""
    return ConnectOption("name", {"name": value})


def user_password(user: str | Function, password: Secret) -> ConnectOption:
    """Authenticate with a user name and a password.

    Args:
        user: The name, or a function that returns it.
        password: The password, a `pathlib.Path` of a file that has it, or a function, sync or
            async, that returns it. Files and functions are read at each attempt to connect.
    """
    return _credentials("user_password", ways.UserPassword(user, password))


def token(value: Secret) -> ConnectOption:
    """Authenticate with a token.

    Args:
        value: The token, a `pathlib.Path` of a file that has it, or a function, sync or async,
            that returns it. Files and functions are read at each attempt to connect.
    """
    return _credentials("token", ways.Token(value))


def creds(value: Secret) -> ConnectOption:
    """Authenticate with credentials of nsc: their text, or a function for it. Extra: nkeys."""
    return _credentials("creds", ways.Creds(value))


def creds_file(path: _Path) -> ConnectOption:
    """Authenticate with a credentials file of nsc, read at each attempt. Extra: nkeys."""
    return _credentials("creds_file", ways.Creds(_expand(path)))


def nkey_seed(seed: Secret) -> ConnectOption:
    """Authenticate with the seed of a user nkey (`SU...`). Extra: nkeys."""
    return _credentials("nkey_seed", ways.Nkey(seed))


def nkey_file(path: _Path) -> ConnectOption:
    """Authenticate with a file of a user nkey seed, read at each attempt. Extra: nkeys."""
    return _credentials("nkey_file", ways.Nkey(_expand(path)))


def jwt(value: Secret, seed: Secret) -> ConnectOption:
    """Authenticate with a user JWT and its nkey seed: texts, paths or functions. Extra: nkeys."""
    return _credentials("jwt", ways.UserJwt(value, seed))


def tls(
    *, ca: _Path | None = None, cert: _Path | None = None, key: _Path | None = None
) -> ConnectOption:
    """Require TLS with these PEM files; they are read again at each attempt to connect.

    Args:
        ca: Authorities to trust instead of those of the system.
        cert: The certificate of the client, for servers that verify clients.
        key: The key of the certificate, unless it is in the same file; not encrypted.

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
    """Require TLS with this SSL context."""
    return ConnectOption("ssl_context", {"ssl_context": value})


def tls_first() -> ConnectOption:
    """Require TLS, and start with its handshake, for servers with `handshake_first`."""
    return ConnectOption("tls_first", {"tls_handshake_first": True})


def inbox_prefix(value: str) -> ConnectOption:
    """Receive replies below this subject, by default `_INBOX`, as permissions may require."""
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
    """Set the delays between attempts to reconnect. A round tries every known server once.

    Args:
        first_delay: Seconds before the first round.
        factor: The ratio of the delays of two successive rounds.
        max_delay: The longest delay in seconds.
        jitter: The random share of a delay, 0 to 1.
        max_attempts: Attempts per server before the connection is given up; -1 means never.

    Raises:
        ConfigError: A value is out of its range.
    """
    backoff = Backoff(first_delay, factor, max_delay, jitter, max_attempts)
    backoff.check()
    return ConnectOption("reconnect", {"backoff": backoff})


def ping_interval(seconds: float = 10, max_outstanding: int = 2) -> ConnectOption:
    """Set the interval of pings, and the number of unanswered pings that ends the connection.

    A frozen server is left after about `seconds * (max_outstanding + 1)`.
    """
    _check_positive("ping interval", seconds)
    _check_positive("number of outstanding pings", max_outstanding)
    values = {"ping_interval": seconds, "max_outstanding_pings": max_outstanding}
    return ConnectOption("ping_interval", values)


def connect_timeout(seconds: float = 2) -> ConnectOption:
    """Limit an attempt to connect to one server to this number of seconds."""
    _check_positive("connect timeout", seconds)
    return ConnectOption("connect_timeout", {"connect_timeout": seconds})


def retry(enabled: bool = True) -> ConnectOption:
    """Repeat the first connection until it succeeds, with a log line every few seconds.

    Without this option a program ends with the reason if no server can be reached.
    """
    return ConnectOption("retry", {"retry": enabled})


def context(value: str) -> ConnectOption:
    """Use a context of the NATS CLI by name (ADR-21).

    The order of precedence: options, this context, the environment (`NATS_URL`, `NATS_CREDS`,
    `NATS_NKEY`, `NATS_USER`, `NATS_PASSWORD`, `NATS_TOKEN`, `NATS_CA`, `NATS_CERT`, `NATS_KEY`),
    the context in `NATS_CONTEXT`, defaults.
    """
    return ConnectOption("context", {"context": value})


def selected_context() -> ConnectOption:
    """Use the context selected by `nats context select` if nothing that `context` lists has one.

    For command line tools: a service should not depend on a selection made in a shell.
    """
    return ConnectOption("selected_context", {"selected_context": True})


def _credentials(kind: str, way: ways.Credentials) -> ConnectOption:
    return ConnectOption(kind, {"credentials": way})


def _expand(path: _Path) -> Path:
    return Path(path).expanduser()


def _check_positive(what: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"invalid {what} {value!r}: expected more than 0")
