"""`micro generate client` and `micro asyncapi`: documents made of declarations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from micro._errors import ConfigError
from micro._protocol.models import ServiceInfo
from micro.cli._completion import complete_name
from micro.cli._discover import no_answer
from micro.cli._flags import Discovery, Session

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


async def generate(
    connection: Discovery,
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
    from micro._documents.operations import newest
    from micro._documents.python_client import python_client

    async with connection.open() as link:
        infos = await _infos(link, service)
    _write(python_client(newest(infos)), out)


async def asyncapi(
    connection: Discovery,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE|MODULE:SETUP",
            help="Only this running service; or the program, which needs no server.",
            autocompletion=complete_name,
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Write the AsyncAPI 3.0 document of running services, or of a program.

    A program is imported as by `micro run`, and its setup function runs without a server: services
    and endpoints are declared, and nothing is subscribed.

    Examples:
      micro asyncapi
      micro asyncapi shop --out shop.json
      micro asyncapi app:setup
    """
    from micro._documents import asyncapi as documents

    if target is not None and ":" in target:
        from micro._program.rehearsal import rehearse
        from micro.cli._run.target import load_setup

        if not (infos := await rehearse(load_setup(target))):
            raise ConfigError(f"{target!r} adds no service")
        document = documents.asyncapi(infos)
    else:
        async with connection.open() as link:
            document = documents.of_server(link.nc, await _infos(link, target))
    _write(documents.as_text(document), out)


async def _infos(link: Session, service: str | None) -> list[ServiceInfo]:
    infos = await link.client.info(service, max_interval=link.stall)
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
