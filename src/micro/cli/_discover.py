"""`micro ls`, `micro ping` and `micro info`: the running services and their endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError, MicroError
from micro._protocol.models import PingInfo, ServiceInfo
from micro.cli._completion import complete_name
from micro.cli._flags import Discovery, Json
from micro.cli._output import NoAnswerError, print_json, print_line, print_rows
from micro.cli._payloads.schema_table import fields_of

SCHEMA_SUFFIX = ".schema"
SCHEMA_TITLES = {"micro.request.schema": "request", "micro.response.schema": "response"}

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Only this service.", autocompletion=complete_name),
]
Id = Annotated[str | None, typer.Argument(metavar="ID", help="Only this instance of it.")]


async def ls(connection: Discovery, as_json: Json = False) -> None:
    """List the running services.

    Examples:
      micro ls
      micro ls --server nats://10.0.0.1:4222 --json
    """
    async with connection.open() as link:
        instances = await link.client.info(max_interval=link.stall)
    if link.complaints and not instances:
        raise no_answer(link)
    services = _by_version(instances)
    if as_json:
        print_json(services)
        return
    counts = ["Instances", "Endpoints"]
    if any("events" in service for service in services):
        counts.append("Events")
    rows = [
        (one["name"], one["version"], *_counted(one, counts), one["description"])
        for one in services
    ]
    print_rows(rows, "Service", "Version", *counts, "Description", right=counts)


async def ping(connection: Discovery, name: Name = None, as_json: Json = False) -> None:
    """Measure the round trip time to each instance.

    Examples:
      micro ping
      micro ping echo --timeout 500ms
    """
    async with connection.open() as link:
        pings = link.client.ping_iter(name, max_interval=link.stall)
        start = time.perf_counter()
        async with pings as replies:
            answers = [(reply, (time.perf_counter() - start) * 1000) async for reply in replies]
    if not answers:
        raise no_answer(link, name)
    if as_json:
        print_json([{**reply.as_dict(), "rtt_ms": round(rtt, 3)} for reply, rtt in answers])
        return
    rows = [(reply.name, reply.version, reply.id, f"{rtt:.2f} ms") for reply, rtt in answers]
    print_rows(rows, "Service", "Version", "Instance", "RTT", right=("RTT",))


class SchemaForm(StrEnum):
    """The form of the schemas of endpoints."""

    table = "table"
    raw = "raw"
    none = "none"


async def info(
    connection: Discovery,
    name: Name = None,
    id: Id = None,
    schema: Annotated[
        SchemaForm, typer.Option("--schema", help="The form of the schemas of endpoints.")
    ] = SchemaForm.table,
    as_json: Json = False,
) -> None:
    """Show the endpoints, subjects, metadata and schemas of services.

    Examples:
      micro info
      micro info echo
      micro info echo --schema raw
      micro info echo VMKS6MHK1A3NX9OB6ZL5AB --json
    """
    async with connection.open() as link:
        infos = link.client.info_iter(name, max_interval=link.stall)
        instances = []
        async with infos as answers:
            async for info in answers:
                if id is None or info.id == id:
                    instances.append(info)
                if info.id == id:  # ids are unique: no other instance answers to this one
                    break
    if not instances:
        raise no_answer(link, name, id)
    instances.sort(key=_order)
    if as_json:
        print_json([info.as_dict() for info in instances])
        return
    for info in instances:
        _print_info(info, schema)


def _counted(service: dict[str, Any], columns: list[str]) -> list[str]:
    values = {"events": 0, **service, "instances": len(service["instances"])}
    return [str(values[column.lower()]) for column in columns]


def _by_version(instances: Iterable[ServiceInfo]) -> list[dict[str, Any]]:
    services: dict[tuple[str, str], dict[str, Any]] = {}
    for info in sorted(instances, key=_order):
        service = services.setdefault(
            (info.name, info.version),
            {
                "name": info.name,
                "version": info.version,
                "description": info.description,
                "endpoints": len(info.endpoints),
                **({"events": len(info.events)} if info.events else {}),
                "instances": [],
            },
        )
        service["instances"].append(info.id)
    return list(services.values())


def _order(instance: PingInfo) -> tuple[str, str, str]:
    return instance.name, instance.version, instance.id


def _print_info(info: ServiceInfo, schema: SchemaForm) -> None:
    print_line(f"{info.name} {info.version}  instance {info.id}", style="bold")
    if info.description:
        print_line(f"  {info.description}")
    for key, value in info.own_metadata.items():
        print_line(f"  {key}: {value}")
    rows = [(f"  {end.name}", end.subject, end.queue_group) for end in info.endpoints]
    print_rows(rows, "  Endpoint", "Subject", "Queue group")
    if info.events:
        events = [(f"  {one.name}", one.subject, one.queue_group) for one in info.events]
        print_rows(events, "  Event handler", "Subject", "Queue group")
    for endpoint in info.handlers:
        for key, value in endpoint.metadata.items():
            if schema is SchemaForm.raw or not key.endswith(SCHEMA_SUFFIX):
                print_line(f"  {endpoint.name}  {key}: {value}")
            elif schema is SchemaForm.table:
                _print_schema(endpoint.name, key, value)
    print_line("")


def _print_schema(endpoint: str, key: str, text: str) -> None:
    """Print a schema as a table, or as it is if it is none."""
    title = f"  {endpoint}  {SCHEMA_TITLES.get(key, key)}"
    try:
        fields = fields_of(text)
    except (ValueError, RecursionError):
        print_line(f"{title}: {text}")
        return
    if fields[0].path == "":
        print_line(f"{title}: {fields[0].type}")
        return
    print_line(title)
    words = {True: "yes", False: ""}
    rows = [(f"    {f.path}", f.type, words[f.required], f.default) for f in fields]
    print_rows(rows, "    Field", "Type", "Required", "Default")


def no_answer(link: ToolConnection, name: str | None = None, id: str | None = None) -> MicroError:
    """Return the error of a question that no instance answered or the server refused."""
    if link.complaints:
        return ConfigError(f"the server refuses the question: {link.complaints[0]}")
    if name is None:
        return NoAnswerError("no service answered; `micro doctor` checks the connection")
    which = "" if id is None else f" {id!r}"
    hint = (
        "`micro ls` lists the running services" if id is None else f"`micro ping {name}` lists them"
    )
    return NoAnswerError(f"no instance{which} of service {name!r} answered; {hint}")
