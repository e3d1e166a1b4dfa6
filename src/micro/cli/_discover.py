"""``micro ls``, ``micro ping`` and ``micro info``: who is there, how far, and what it offers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Annotated, Any

import nats.errors
import typer

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError, MicroError
from micro._protocol.models import ServiceInfo
from micro.cli._flags import Connection, Json
from micro.cli._output import NoAnswerError, execute, print_json, print_line, print_rows

STALL = 0.3
"""Seconds without a further answer after which all have answered."""


def complete_name(incomplete: str) -> list[str]:
    """Offer the names of running services to a shell's completion, if that is quick."""
    connection = Connection(timeout=STALL)
    try:
        names = asyncio.run(_names(connection))
    except (MicroError, nats.errors.Error, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


async def _names(connection: Connection) -> list[str]:
    async with ToolConnection(connection.settings()) as link:
        found = await Client(link.nc).ping(max_wait=connection.timeout)
    return sorted({one.name for one in found})


Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Only this service.", autocompletion=complete_name),
]
Id = Annotated[str | None, typer.Argument(metavar="ID", help="Only this instance of it.")]


def ls(connection: Connection, as_json: Json = False) -> None:
    """List the services that run.

    Examples:
      micro ls
      micro ls --server nats://10.0.0.1:4222 --json
    """
    execute(_ls(connection, as_json), as_json=as_json)


def ping(connection: Connection, name: Name = None, as_json: Json = False) -> None:
    """Measure how long each instance takes to answer.

    Examples:
      micro ping
      micro ping echo --timeout 500ms
    """
    execute(_ping(connection, name, as_json), as_json=as_json)


def info(connection: Connection, name: Name = None, id: Id = None, as_json: Json = False) -> None:
    """Show what services offer: endpoints, subjects, metadata.

    Examples:
      micro info
      micro info echo
      micro info echo VMKS6MHK1A3NX9OB6ZL5AB --json
    """
    execute(_info(connection, name, id, as_json), as_json=as_json)


async def _ls(connection: Connection, as_json: bool) -> None:
    async with ToolConnection(connection.settings()) as link:
        found = await Client(link.nc).info(max_wait=connection.timeout, max_interval=STALL)
    if link.complaints and not found:
        raise nobody(link)
    services = _by_version(found)
    if as_json:
        print_json(services)
        return
    rows = [
        (s["name"], s["version"], str(len(s["instances"])), str(s["endpoints"]), s["description"])
        for s in services
    ]
    columns = ("Service", "Version", "Instances", "Endpoints", "Description")
    print_rows(rows, *columns, right=("Instances", "Endpoints"))


def _by_version(found: Iterable[ServiceInfo]) -> list[dict[str, Any]]:
    services: dict[tuple[str, str], dict[str, Any]] = {}
    for one in sorted(found, key=lambda one: (one.name, one.version, one.id)):
        service = services.setdefault(
            (one.name, one.version),
            {
                "name": one.name,
                "version": one.version,
                "description": one.description,
                "endpoints": len(one.endpoints),
                "instances": [],
            },
        )
        service["instances"].append(one.id)
    return list(services.values())


async def _ping(connection: Connection, name: str | None, as_json: bool) -> None:
    async with ToolConnection(connection.settings()) as link:
        asking = Client(link.nc).ping_iter(name, max_wait=connection.timeout, max_interval=STALL)
        start = time.perf_counter()
        async with asking as replies:
            answers = [(reply, (time.perf_counter() - start) * 1000) async for reply in replies]
    if not answers:
        raise nobody(link, name)
    if as_json:
        print_json([{**reply.as_dict(), "rtt_ms": round(rtt, 3)} for reply, rtt in answers])
        return
    rows = [(reply.name, reply.version, reply.id, f"{rtt:.2f} ms") for reply, rtt in answers]
    print_rows(rows, "Service", "Version", "Instance", "RTT", right=("RTT",))


async def _info(connection: Connection, name: str | None, id: str | None, as_json: bool) -> None:
    async with ToolConnection(connection.settings()) as link:
        client = Client(link.nc)
        found = await client.info(name, max_wait=connection.timeout, max_interval=STALL)
    found = sorted(
        (one for one in found if id is None or one.id == id),
        key=lambda one: (one.name, one.version, one.id),
    )
    if not found:
        raise nobody(link, name, id)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    for one in found:
        _print_info(one)


def _print_info(one: ServiceInfo) -> None:
    print_line(f"{one.name} {one.version}  instance {one.id}", style="bold")
    if one.description:
        print_line(f"  {one.description}")
    for key, value in one.metadata.items():
        print_line(f"  {key}: {value}")
    rows = [(f"  {end.name}", end.subject, end.queue_group) for end in one.endpoints]
    print_rows(rows, "  Endpoint", "Subject", "Queue group")
    for endpoint in one.endpoints:
        for key, value in endpoint.metadata.items():
            print_line(f"  {endpoint.name}  {key}: {value}")
    print_line("")


def nobody(link: ToolConnection, name: str | None = None, id: str | None = None) -> MicroError:
    """Return the error for a question that no instance answered, or that the server refused."""
    if link.complaints:
        return ConfigError(f"the server refuses the question: {link.complaints[0]}")
    if name is None:
        return NoAnswerError("no service answered; `micro doctor` checks whether any could")
    which = "" if id is None else f" {id!r}"
    hint = (
        "`micro ls` lists the services that run"
        if id is None
        else f"`micro ping {name}` lists them"
    )
    return NoAnswerError(f"no instance{which} of service {name!r} answered; {hint}")
