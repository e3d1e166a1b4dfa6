"""The flags that many commands share."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer

from micro import options
from micro._client.client import Client
from micro._connection.credentials import creds, nkey
from micro._connection.settings import ConnectOption, Settings, resolve
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro.cli._output import execute

_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}


def parse_duration(text: str | float) -> float:
    """Return the seconds, more than 0, of `5`, `0.5`, `5s`, `500ms`, `2m` or `1h`."""
    # Typer passes defaults through here, too, as numbers.
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|)", str(text).strip())
    if match is None or not float(match[1]):
        raise typer.BadParameter("expected a duration such as 5, 0.5, 500ms, 5s or 2m")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class Address:
    """The listening address of an HTTP server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str | Address) -> Address:
    """Parse `127.0.0.1:9100`, `[::1]:9100`, or `:9100` for all interfaces."""
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]*):(\d{1,5})", str(text).strip())
    if match is None or int(match[2]) > 65535:
        raise typer.BadParameter("expected HOST:PORT, such as 127.0.0.1:9100")
    return Address(match[1].strip("[]") or "0.0.0.0", int(match[2]))  # noqa: S104 - documented


def flag(*names: str, metavar: str, help: str) -> Any:
    """Declare a connection flag, in the panel of all connection flags."""
    return typer.Option(
        *names, metavar=metavar, help=help, show_default=False, rich_help_panel="Connection"
    )


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=parse_duration,
        help="Time to wait for the connection and for answers: 5s, 500ms, 2m. Discovery waits all "
        "of it, by default until no further answer arrives for a second.",
        show_default=False,
        rich_help_panel="Connection",
    ),
]

Interval = Annotated[
    float,
    typer.Option(
        "--interval", metavar="TIME", parser=parse_duration, help="Time between two updates."
    ),
]

LIMIT = 5.0
"""Seconds to wait for the connection and for answers without `--timeout`."""

STALL = 1.0
"""Seconds without a further answer that end a question without `--timeout`."""


@dataclass(frozen=True)
class Connection:
    """The connection flags of the NATS CLI; the environment or a context replaces None."""

    server: Annotated[
        str | None, flag("--server", "-s", metavar="URLS", help="Server URLs, or NATS_URL.")
    ] = field(default=None, repr=False)
    user: Annotated[
        str | None, flag("--user", metavar="NAME", help="User, or a token, or NATS_USER.")
    ] = field(default=None, repr=False)
    password: Annotated[
        str | None, flag("--password", metavar="SECRET", help="Password, or NATS_PASSWORD.")
    ] = field(default=None, repr=False)
    creds: Annotated[
        str | None, flag("--creds", metavar="FILE", help="Credentials file, or NATS_CREDS.")
    ] = None
    nkey: Annotated[
        str | None, flag("--nkey", metavar="FILE", help="File with an nkey seed, or NATS_NKEY.")
    ] = None
    tlscert: Annotated[
        str | None, flag("--tlscert", metavar="FILE", help="TLS certificate, or NATS_CERT.")
    ] = None
    tlskey: Annotated[
        str | None, flag("--tlskey", metavar="FILE", help="Its private key, or NATS_KEY.")
    ] = None
    tlsca: Annotated[
        str | None, flag("--tlsca", metavar="FILE", help="CA certificates, or NATS_CA.")
    ] = None
    context: Annotated[
        str | None, flag("--context", metavar="NAME", help="NATS CLI context, or NATS_CONTEXT.")
    ] = None
    timeout: Timeout = None

    @property
    def limit(self) -> float:
        """Seconds to wait for the connection and for answers."""
        return LIMIT if self.timeout is None else self.timeout

    @property
    def stall(self) -> float | None:
        """Seconds without a further answer that end a question; None to wait until the limit."""
        return STALL if self.timeout is None else None

    def options(self) -> list[ConnectOption]:
        """Return the given flags as connect options.

        Raises:
            ConfigError: The password has no user.
        """
        given: list[ConnectOption] = []
        if self.server is not None:
            given.append(options.servers(*self.server.split(",")))
        if self.user is not None and self.password is not None:
            given.append(options.user_password(self.user, self.password))
        elif self.user is not None:  # as with the NATS CLI
            given.append(options.token(self.user))
        elif self.password is not None:
            raise ConfigError("--password needs --user")
        if self.creds is not None:
            given.append(ConnectOption("creds", {"credentials": creds(self.creds)}))
        if self.nkey is not None:
            given.append(ConnectOption("nkey", {"credentials": nkey(self.nkey)}))
        if (self.tlsca, self.tlscert, self.tlskey) != (None, None, None):
            given.append(options.tls(ca=self.tlsca, cert=self.tlscert, key=self.tlskey))
        if self.context is not None:
            given.append(options.context(self.context))
        return [*given, options.connect_timeout(self.limit)]

    def settings(self) -> Settings:
        """Return the settings of a command, which include the selected context of the NATS CLI.

        Raises:
            ConfigError: The flags, environment or context are not acceptable (see `resolve`).
        """
        given = [options.name("micro CLI"), options.selected_context(), *self.options()]
        return resolve(given, os.environ)


Retry = Annotated[bool, typer.Option("--retry", help="Wait for a server that does not run yet.")]


class LogLevel(StrEnum):
    """The lowest level of log lines to show."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


@dataclass(frozen=True)
class Serving(Connection):
    """The flags of a command that runs services: also their health checks and their log."""

    retry: Retry = False
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="The lowest level of log lines to show.")
    ] = LogLevel.info
    health: Annotated[
        Address | None,
        typer.Option(
            "--health",
            metavar="HOST:PORT",
            parser=parse_address,
            help="Serve /healthz and /readyz; for a single process.",
        ),
    ] = None
    log_json: Annotated[bool, typer.Option("--json", help="Log as JSON, a line each.")] = False


@dataclass(frozen=True)
class Discovery(Connection):
    """The flags of a command that finds services: also the prefix of their discovery subjects."""

    prefix: Annotated[
        str,
        typer.Option(
            "--prefix",
            metavar="SUBJECT",
            help="Prefix of the discovery subjects of the services.",
            rich_help_panel="Connection",
        ),
    ] = DEFAULT_API_PREFIX

    def open(self) -> Session:
        """Return a connection that is opened by `async with`."""
        return Session(self)


class Session(ToolConnection):
    """The connection of a command that finds services.

    Args:
        flags: The flags of the command.

    Attributes:
        client: A client that finds the services of the prefix, and waits until the limit.
        limit: Seconds to wait for the connection and for answers.
        stall: Seconds without a further answer that end a question; None to wait until the limit.

    Raises:
        ConfigError: The flags, environment or context are not acceptable (see `resolve`).
    """

    def __init__(self, flags: Discovery) -> None:
        super().__init__(flags.settings())
        self.client = Client(self.nc, flags.limit, flags.prefix)
        self.limit = flags.limit
        self.stall = flags.stall


def add_command(
    app: typer.Typer, command: Callable[..., Awaitable[None] | None], **settings: Any
) -> None:
    """Add a function to the command line; its docstring is the help.

    A parameter `connection`, a `Connection` of any kind, becomes one flag per field. An async
    function runs in an event loop, and its errors become exit codes, see `execute`.
    """
    run = _executed(command) if inspect.iscoroutinefunction(command) else command
    app.command(help=make_help(command), **settings)(_with_connection(run))


def make_help(command: Callable[..., object]) -> str:
    """Return a docstring in the form of typer: a line per paragraph, examples unchanged."""
    text, examples, rest = (inspect.getdoc(command) or "").partition("Examples:\n")
    lines = re.sub(r"(?<=\S)\n(?=\S)", " ", text)
    return lines + (f"\b\n{examples}{rest}" if examples else "")


def _executed(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**values: Any) -> None:
        execute(command(**values), as_json=values.get("as_json", False))

    return run


def _with_connection(command: Callable[..., Any]) -> Callable[..., Any]:
    own = inspect.signature(command, eval_str=True)
    if "connection" not in own.parameters:
        return command
    kind = own.parameters["connection"].annotation
    fields = inspect.signature(kind, eval_str=True).parameters
    others = [param for name, param in own.parameters.items() if name != "connection"]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        connection = kind(**{name: values.pop(name) for name in fields})
        command(**values, connection=connection)

    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*others, *fields.values())]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return run
