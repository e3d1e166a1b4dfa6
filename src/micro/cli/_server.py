"""`micro server`: a nats-server in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from micro._errors import ConfigError
from micro.cli._flags import Json
from micro.cli._output import Exit, fail, print_json
from micro.testing import server_binary


def server(
    context: typer.Context,
    port: Annotated[
        int, typer.Option("--port", "-p", min=1, max=65535, help="The port to listen on.")
    ] = 4222,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    jetstream: Annotated[bool, typer.Option("--jetstream", help="Enable JetStream.")] = False,
    store_dir: Annotated[
        str | None,
        typer.Option("--store-dir", metavar="DIR", help="The folder of JetStream's data."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the bundled nats-server in the foreground until Ctrl-C.

    Arguments after -- go to nats-server. --host and --port override the host and port of a
    configuration file. NATS_SERVER_BIN names another binary.

    Examples:
      micro server
      micro server --port 4333 --jetstream --store-dir ./data
      micro server --port 4333 -- --config nats.conf -DV
    """
    if store_dir is not None and not jetstream:
        fail("--store-dir needs --jetstream", Exit.USAGE, as_json=as_json)
    try:
        binary = server_binary()
    except ConfigError as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    command = [binary, "--addr", host, "--port", str(port)]
    command += ["--jetstream"] if jetstream else []
    command += [] if store_dir is None else ["--store_dir", store_dir]
    url = f"nats://{host}:{port}"
    if as_json:
        print_json({"url": url, "pid": os.getpid()})
    else:
        typer.echo(f"nats-server on {url}; Ctrl-C stops it", err=True)
    sys.stdout.flush()
    # The server replaces this process, so signals and the exit code are its own.
    os.execv(binary, [*command, *context.args])  # noqa: S606 - no shell is wanted
