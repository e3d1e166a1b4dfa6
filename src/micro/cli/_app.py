"""The command line: all commands in one application."""

from __future__ import annotations

from typing import Annotated

import typer

from micro._version import __version__
from micro.cli._bench import bench
from micro.cli._dashboard import dashboard
from micro.cli._discover import info, ls, ping
from micro.cli._doctor import doctor
from micro.cli._documents import asyncapi, generate
from micro.cli._exporter import exporter
from micro.cli._flags import add_command, make_help
from micro.cli._new.command import new
from micro.cli._request import request
from micro.cli._run.command import run
from micro.cli._server import server
from micro.cli._services import SETTINGS, etcd, registry
from micro.cli._stats import stats, top

app = typer.Typer(
    no_args_is_help=True,
    # A traceback goes into a bug report: plain, and without the values of local variables.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    new,
    run,
    ls,
    ping,
    info,
    stats,
    top,
    dashboard,
    request,
    bench,
    exporter,
    doctor,
    generate,
    asyncapi,
):
    add_command(app, command)
for service in (registry, etcd):
    add_command(app, service, **SETTINGS)
add_command(app, server, context_settings={"allow_extra_args": True})  # arguments of nats-server


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run NATS micro-services, and inspect and call services in any language.

    Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no answer, 4 timed out,
    5 the service answered with an error, 130 interrupted.
    """


app.callback(help=make_help(root))(root)
