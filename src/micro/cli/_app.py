"""All commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from micro._version import __version__
from micro.cli import (
    _bench,
    _dashboard,
    _discover,
    _doctor,
    _exporter,
    _request,
    _run,
    _server,
    _stats,
)
from micro.cli._flags import make_help

app = typer.Typer(
    no_args_is_help=True,
    # A traceback of ours is for a bug report: plain, and without the values of locals in it.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (
    _run,
    _discover,
    _stats,
    _dashboard,
    _request,
    _bench,
    _exporter,
    _server,
    _doctor,
):
    _module.register(app)


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
    """Run NATS micro-services, and look at and ask the ones that run, in any language.

    Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 nobody answered, 4 timed out,
    5 the service answered with an error, 130 interrupted.
    """


app.callback(help=make_help(root))(root)
