"""`micro request`: a request to a subject, or to an endpoint by name."""

from __future__ import annotations

import time
from typing import Annotated

import nats.errors
import typer

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError
from micro._protocol import subjects as _subjects
from micro._protocol.models import ServiceInfo
from micro.cli._discover import complete_name, no_answer
from micro.cli._flags import Connection, Json
from micro.cli._output import (
    NoAnswerError,
    execute,
    print_json,
    read_payload,
    shown_payload,
    write_payload,
)


def request(
    connection: Connection,
    target: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Subject, or the endpoint with --service.")
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Payload; - reads standard input.")
    ] = "",
    service: Annotated[
        str | None,
        typer.Option(
            "--service",
            metavar="NAME",
            help="The service; SUBJECT is the name of its endpoint.",
            autocompletion=complete_name,
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a request and print the payload of the answer.

    An error answer ends with exit code 5, with its code and description on standard error.

    Examples:
      micro request echo hello
      micro request --service math add '{"a": 1, "b": 2}'
      micro request upload - < picture.png
      micro request echo hi -H Trace:7 --json
    """
    payload = read_payload(data)
    execute(_request(connection, target, payload, service, header or [], as_json), as_json=as_json)


async def _request(
    connection: Connection,
    target: str,
    payload: bytes,
    service: str | None,
    header: list[str],
    as_json: bool,
) -> None:
    headers = dict(map(_parse_header, header))
    async with ToolConnection(connection.settings()) as link:
        client = Client(link.nc)
        subject = target
        if service is not None:
            subject = await look_up(link, service, target, connection)
        check_subject(subject)
        start = time.perf_counter()
        try:
            reply = await client.request(subject, payload, headers, connection.limit)
        except nats.errors.NoRespondersError:
            hint = "`micro info` lists the subjects of services"
            raise NoAnswerError(f"no service listens on {subject!r}; {hint}") from None
        except TimeoutError as error:
            raise _explain(link, subject, connection.limit) from error
        elapsed = time.perf_counter() - start
    if as_json:
        print_json(
            {
                "subject": subject,
                "data": shown_payload(reply.data),
                "headers": dict(reply.headers or {}),
                "elapsed_ms": round(elapsed * 1000, 3),
            }
        )
    else:
        write_payload(reply.data)


LOOK_UP_STALL = 0.3
"""Seconds without a further answer that end the search for a subject."""


async def look_up(link: ToolConnection, service: str, endpoint: str, connection: Connection) -> str:
    """Ask a service for the subject of an endpoint.

    Raises:
        NoAnswerError: No instance answered, or none has this endpoint.
        ConfigError: Endpoints of this name listen on different subjects.
    """
    client = Client(link.nc)
    instances = await client.info(service, connection.limit, max_interval=LOOK_UP_STALL)
    if not instances:
        raise no_answer(link, service)
    return find_subject(instances, service, endpoint)


def find_subject(instances: list[ServiceInfo], service: str, endpoint: str) -> str:
    """Return the subject of an endpoint from the INFO of the instances of a service.

    Raises:
        NoAnswerError: No instance has this endpoint.
        ConfigError: Endpoints of this name listen on different subjects.
    """
    endpoints = [info for instance in instances for info in instance.endpoints]
    subjects = sorted({info.subject for info in endpoints if info.name == endpoint})
    if not subjects:
        names = ", ".join(sorted({info.name for info in endpoints})) or "none"
        raise NoAnswerError(
            f"service {service!r} has no endpoint {endpoint!r}: expected one of {names}"
        )
    if len(subjects) > 1:
        raise ConfigError(
            f"endpoint {endpoint!r} of service {service!r} has several subjects: "
            f"name one of {', '.join(subjects)} without --service"
        )
    return subjects[0]


def check_subject(subject: str) -> None:
    """Check the subject of a request; a `$` subject of the server is acceptable.

    Raises:
        ConfigError: The subject is malformed or has wildcards.
    """
    _subjects.check_subject(subject, allow_wildcards=True)
    if {"*", ">"} & set(subject.split(".")):
        raise ConfigError(f"invalid subject {subject!r}: expected one without wildcards")


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"invalid header {text!r}: expected NAME:VALUE")
    return name.strip(), value.strip()


def _explain(link: ToolConnection, subject: str, timeout: float) -> Exception:
    """Return the reason of a request without answer."""
    refusal = link.refusal("publish", subject)
    if refusal is not None:
        return ConfigError(f"the server refuses the request: {refusal}")
    return TimeoutError(f"no answer from {subject!r} within {timeout:g} s")
