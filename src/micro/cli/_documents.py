"""`micro generate client`: documents made of what services say of themselves."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError
from micro._protocol.models import ServiceInfo
from micro.cli._completion import complete_name
from micro.cli._discover import no_answer
from micro.cli._flags import Connection
from micro.cli._output import execute

Service = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE", help="The name of a running service.", autocompletion=complete_name
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Write to a file.", show_default=False),
]


class Kind(StrEnum):
    """What can be generated."""

    client = "client"


def generate(
    connection: Connection,
    kind: Annotated[Kind, typer.Argument(metavar="client", help="What to generate.")],
    service: Service,
    out: Out = None,
) -> None:
    """Generate a client: the models of a service and a Protocol for `Client.bind`.

    The service may be written in any language; its INFO needs the schemas. The same service gives
    the same bytes.

    Examples:
      micro generate client shop --out shop.py
      micro generate client shop | diff shop.py -
    """
    execute(_client(connection, service, out), as_json=False)


async def _client(connection: Connection, service: str, out: Path | None) -> None:
    from micro._documents.operations import newest
    from micro._documents.python_client import python_client

    _write(python_client(newest(await _infos(connection, service))), out)


async def _infos(connection: Connection, service: str | None) -> list[ServiceInfo]:
    async with ToolConnection(connection.settings()) as link:
        infos = await Client(link.nc).info(
            service, max_wait=connection.limit, max_interval=connection.stall
        )
    if not infos:
        raise no_answer(link, service)
    return infos


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {str(out)!r}: {error.strerror}") from error
