"""Connection settings, resolved from options, contexts of the NATS CLI and the environment."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from micro._backoff import Backoff
from micro._connection.credentials import (
    Credentials,
    Token,
    UserPassword,
    combine,
    creds,
    jwt,
    nkey,
)
from micro._connection.nats_contexts import read_context, selected_context
from micro._connection.reconnect_order import ReconnectHandler
from micro._connection.secrets import read_text, shown
from micro._connection.urls import split_servers
from micro._errors import ConfigError

_DEFAULTS: dict[str, Any] = {
    "servers": ("nats://localhost:4222",),
    "ping_interval": 10,
    "max_outstanding_pings": 2,
    "connect_timeout": 2,
    "backoff": Backoff(),
    "retry": False,
}
# Environment variable -> key of a context.
_ENVIRONMENT = {
    "NATS_URL": "url",
    "NATS_USER": "user",
    "NATS_PASSWORD": "password",
    "NATS_TOKEN": "token",
    "NATS_CREDS": "creds",
    "NATS_CREDS_DATA": "creds_data",
    "NATS_NKEY": "nkey",
    "NATS_JWT": "user_jwt",
    "NATS_SEED": "user_seed",
    "NATS_TOKEN_FILE": "token_file",
    "NATS_PASSWORD_FILE": "password_file",
    "NATS_CA": "ca",
    "NATS_CERT": "cert",
    "NATS_KEY": "key",
}
# Key of a context -> keyword argument of nats-py with the same value.
_PLAIN = {"inbox_prefix": "inbox_prefix", "tls_first": "tls_handshake_first"}


@dataclass(frozen=True)
class ConnectOption:
    """One connection option, made by a function of `micro.options`.

    Attributes:
        kind: The name of that function. The values are not part of the `repr`.
    """

    kind: str
    values: Mapping[str, Any] = field(repr=False)


class Settings(NamedTuple):
    """Resolved connection settings.

    Attributes:
        servers: URLs without credentials; they may appear in messages.
        retry: Whether to repeat the first connection until it succeeds.
    """

    servers: tuple[str, ...]
    retry: bool
    backoff: Backoff
    credentials: Credentials | None
    tls: TlsFiles | ssl.SSLContext | None
    plain: Mapping[str, Any]

    @property
    def encrypted(self) -> bool:
        """Whether a connection without TLS is refused."""
        schemes = {url.partition("://")[0] for url in self.servers}
        first = self.plain.get("tls_handshake_first")
        return self.tls is not None or bool(first) or bool(schemes & {"tls", "wss"})

    def ssl_context(self) -> ssl.SSLContext:
        """Return a TLS context; files are read again.

        Raises:
            ConfigError: A TLS file can no longer be used.
        """
        tls = TlsFiles(None, None, None) if self.tls is None else self.tls
        return tls.context() if isinstance(tls, TlsFiles) else tls

    def keywords(self, servers: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the keyword arguments for `nats.aio.client.Client.connect` of one client.

        Without callbacks, credentials and TLS: the transports add these at each attempt.

        Args:
            servers: The servers in the order of the attempts; by default all, in random order.
        """
        if servers is None:
            servers = random.sample(self.servers, len(self.servers))
        return {
            **self.plain,
            "servers": list(servers),
            "dont_randomize": True,
            "max_reconnect_attempts": self.backoff.max_attempts,
            "reconnect_to_server_handler": ReconnectHandler(self.backoff),
            # nats-py uses the handler for reconnects, and this delay for the first connection.
            "reconnect_time_wait": self.backoff.max_delay / len(self.servers),
        }


class TlsFiles(NamedTuple):
    """PEM files; without a CA the authorities of the system are trusted."""

    ca: Path | None
    cert: Path | None
    key: Path | None

    def context(self) -> ssl.SSLContext:
        """Read the files into a client context.

        Raises:
            ConfigError: A file cannot be read, or has another content.
        """
        given = {"CA": self.ca, "certificate": self.cert, "key": self.key}
        for what, path in given.items():
            if path is not None:
                read_text(path, what=f"TLS {what}")
        if self.key is not None and self.cert is None:
            raise ConfigError(f"TLS key {shown(self.key)} has no certificate: expected both")
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                # Without a password OpenSSL would ask on the terminal for an encrypted key.
                context.load_cert_chain(self.cert, self.key, password="")
        except (ssl.SSLError, ValueError, OSError) as error:
            paths = ", ".join(shown(path) for path in given.values() if path is not None)
            raise ConfigError(
                f"cannot use TLS files {paths}: "
                "expected PEM, and a key that fits the certificate and is not encrypted"
            ) from error
        return context


def resolve(options: Iterable[ConnectOption], environ: Mapping[str, str]) -> Settings:
    """Resolve the connection settings.

    The order of precedence: the options, the context that an option names, the environment, the
    context in `NATS_CONTEXT`, defaults. All credentials come from the first source that has any,
    a server URL included; a certificate and its key come from one source.

    Raises:
        ConfigError: A value is not acceptable, a file or package is missing, a context is unknown,
            or one source has two ways to authenticate.
    """
    explicit = _merge(options)
    named = explicit.pop("context", None)
    fallback = environ.get("NATS_CONTEXT") or None
    if explicit.pop("selected_context", False) and fallback is None:
        fallback = selected_context(environ)
    layers = [explicit]
    if named is not None:
        layers.append(_from_context(named, environ))
    layers.append(_from_environ(environ))
    if named is None and fallback is not None:
        layers.append(_from_context(fallback, environ))
    values = dict(_DEFAULTS)
    for layer in reversed(layers):
        values |= layer
    return _settings(values)


def _settings(values: dict[str, Any]) -> Settings:
    ca, (cert, key) = values.pop("ca", None), values.pop("cert", (None, None))
    tls = values.pop("ssl_context", None)
    if tls is None and (ca, cert, key) != (None, None, None):
        tls = TlsFiles(ca, cert, key)
        tls.context()  # the files are read again at each connect; errors show now
    credentials: Credentials | None = values.pop("credentials", None)
    if credentials is not None:
        credentials.check()
    if tls is not None and any(url.startswith("ws://") for url in values["servers"]):
        raise ConfigError("a ws:// server URL cannot use TLS: expected wss://")
    return Settings(
        servers=values.pop("servers"),
        retry=values.pop("retry"),
        backoff=values.pop("backoff"),
        credentials=credentials,
        tls=tls,
        plain=values,
    )


def _merge(options: Iterable[ConnectOption]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    ways: list[Credentials] = []
    for option in options:
        if not isinstance(option, ConnectOption):
            raise ConfigError(
                f"invalid connect option of type {type(option).__name__!r}: "
                "expected a value of micro.options, such as options.servers(...)"
            )
        merged |= option.values
        ways += [value for key, value in option.values.items() if key == "credentials"]
    if "ssl_context" in merged and merged.keys() & {"ca", "cert"}:
        raise ConfigError("contradictory options tls and ssl_context: give one of them")
    return _layer(merged, ways, source="the options")


def _layer(values: dict[str, Any], ways: list[Credentials], *, source: str) -> dict[str, Any]:
    """Separate the credentials of one source from its servers, and combine them."""
    layer = {key: value for key, value in values.items() if key != "credentials"}
    if "servers" in layer:
        layer["servers"], way = split_servers(layer["servers"])
        ways = ways if way is None else [*ways, way]
    credentials = combine(ways, source=source)
    if credentials is not None:
        layer["credentials"] = credentials
    return layer


def _from_context(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    return _from_names(read_context(name, environ), source=f"the NATS context {name!r}")


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {key: environ[name] for name, key in _ENVIRONMENT.items() if environ.get(name)}
    return _from_names(names, source="the environment")


def _from_names(names: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Convert the keys of a context (ADR-21) to a layer of settings."""
    layer = {ours: names[theirs] for theirs, ours in _PLAIN.items() if theirs in names}
    if "url" in names:
        layer["servers"] = tuple(url for url in names["url"].split(",") if url.strip())
    if "ca" in names:
        layer["ca"] = _path(names["ca"])
    if "cert" in names or "key" in names:
        layer["cert"] = tuple(_path(names[k]) if k in names else None for k in ("cert", "key"))
    return _layer(layer, _ways(names, source), source=source)


def _ways(names: Mapping[str, Any], source: str) -> list[Credentials]:
    ways: list[Credentials] = []
    text = names.get("creds_data", names.get("creds"))
    if text is not None:
        ways.append(creds(text))
    ways += _jwt_or_nkey(names, source)
    if "token" in names or "token_file" in names:
        ways.append(Token(names.get("token") or _path(names["token_file"])))
    password = names.get("password")
    if password is None and "password_file" in names:
        password = _path(names["password_file"])
    if "user" in names and password is not None:
        ways.append(UserPassword(names["user"], password))
    elif "user" in names:  # the NATS CLI uses a user without a password as a token
        ways.append(Token(names["user"]))
    elif password is not None:
        raise ConfigError(f"the password in {source} has no user: expected both")
    return ways


def _jwt_or_nkey(names: Mapping[str, Any], source: str) -> list[Credentials]:
    seed = names.get("user_seed", names.get("nkey"))
    if "user_jwt" not in names:
        return [] if seed is None else [nkey(seed)]
    if seed is None:
        raise ConfigError(f"the user JWT in {source} has no seed: expected 'user_seed' or 'nkey'")
    return [jwt(names["user_jwt"], seed)]


def _path(text: str) -> Path:
    return Path(text).expanduser()
