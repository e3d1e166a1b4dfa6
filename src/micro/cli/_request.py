"""`micro request`: a request to a subject, or to an endpoint by name."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nats.errors
import typer
from nats.aio.msg import Msg

from micro._client.replies import Until
from micro._errors import ConfigError
from micro._protocol import subjects as _subjects
from micro._protocol.models import ServiceInfo
from micro.cli._completion import complete_name, complete_target
from micro.cli._discover import no_answer
from micro.cli._flags import Discovery, Json, Session
from micro.cli._output import (
    Exit,
    NoAnswerError,
    execute,
    fail,
    print_json,
    read_payload,
    shown_payload,
    write_payload,
)
from micro.cli._payloads.templates import fill


@dataclass(frozen=True)
class _Wanted:
    """What to send, and how many answers to wait for.

    Attributes:
        target: The subject, or the name of an endpoint of `service`.
        service: The name of the service, or None.
        payload: The payload, perhaps with template functions.
        headers: The headers, in the same form.
        templates: Whether the functions are replaced.
        count: The number of requests.
        replies: The number of answers to each; 0 for all that arrive in time.
    """

    target: str
    service: str | None
    payload: bytes
    headers: list[str]
    templates: bool
    count: int
    replies: int

    def message(self, number: int) -> tuple[bytes, dict[str, str]]:
        """Return the payload and headers of a request."""
        if not self.templates:
            return self.payload, dict(map(_parse_header, self.headers))
        headers = [os.fsdecode(fill(os.fsencode(header), number)) for header in self.headers]
        return fill(self.payload, number), dict(map(_parse_header, headers))


def request(  # noqa: PLR0913 - flags of a command
    connection: Discovery,
    target: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="Subject, or the endpoint with --service.",
            autocompletion=complete_target,
        ),
    ],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="Payload; - reads standard input.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="A file with the payload.", dir_okay=False
        ),
    ] = None,
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
    count: Annotated[int, typer.Option("--count", min=1, help="Number of requests.")] = 1,
    replies: Annotated[
        int,
        typer.Option(
            "--replies", min=0, help="Answers to wait for; 0 for all until none arrives any more."
        ),
    ] = 1,
    templates: Annotated[
        bool, typer.Option("--templates/--no-templates", help="Replace {{Count}} and others.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Send a request and print the payload of the answer.

    An error answer ends with exit code 5, with its code and description on standard error.

    DATA and headers may have the functions {{Count}}, {{ID}}, {{Unix}}, {{UnixNano}}, {{Time}},
    {{TimeStamp}} and {{Random 5 10}}. Files and standard input are sent as they are.

    Examples:
      micro request echo hello
      micro request --service math add '{"a": 1, "b": 2}'
      micro request upload -f picture.png
      micro request echo hi -H Trace:7 --json
      micro request orders.place '{"id": {{Count}}}' --count 10
      micro request cache.clear --replies 0
    """
    if file is not None and data is not None:
        fail("give DATA or --file, not both", Exit.USAGE, as_json=as_json)
    given = "" if data is None else data
    try:
        payload = read_payload(given) if file is None else file.read_bytes()
    except OSError as error:
        fail(f"cannot read {str(file)!r}: {error.strerror}", Exit.USAGE, as_json=as_json)
    filled = templates and file is None and given != "-"
    wanted = _Wanted(target, service, payload, header or [], filled, count, replies)
    execute(_request(connection, wanted, as_json), as_json=as_json)


async def _request(connection: Discovery, wanted: _Wanted, as_json: bool) -> None:
    wanted.message(1)  # mistakes are told before anything else
    single = wanted.count == 1 and wanted.replies == 1
    async with connection.open() as link:
        subject = wanted.target
        if wanted.service is not None:
            subject = await look_up(link, wanted.service, subject)
        check_subject(subject)
        for number in range(1, wanted.count + 1):
            start = time.perf_counter()
            async with aclosing(_answers(link, subject, wanted, number)) as answers:
                async for reply in answers:
                    elapsed = time.perf_counter() - start
                    _print(reply, subject, elapsed, as_json=as_json, single=single)


async def _answers(
    link: Session, subject: str, wanted: _Wanted, number: int
) -> AsyncGenerator[Msg, None]:
    payload, headers = wanted.message(number)
    try:
        if wanted.replies == 1:
            yield await link.client.request(subject, payload, headers, link.limit)
            return
        until = Until(
            max_wait=link.limit,
            max_count=wanted.replies or None,
            max_interval=None if wanted.replies else link.stall,
        )
        arrived = 0
        async with link.client.request_many(subject, payload, headers, until=until) as replies:
            async for reply in replies:
                arrived += 1
                yield reply
        if replies.reason == "no responders":
            raise nats.errors.NoRespondersError
        if 0 < arrived < wanted.replies:
            what = f"{arrived} of {wanted.replies} answers from {subject!r}"
            raise TimeoutError(f"{what} within {link.limit:g} s")
        if arrived == 0:
            raise nats.errors.TimeoutError
    except nats.errors.NoRespondersError:
        hint = "`micro info` lists the subjects of services"
        raise NoAnswerError(f"no service listens on {subject!r}; {hint}") from None
    except nats.errors.TimeoutError as error:
        raise _explain(link, subject) from error


def _print(reply: Msg, subject: str, elapsed: float, *, as_json: bool, single: bool) -> None:
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
        write_payload(reply.data, line=not single)


LOOK_UP_STALL = 0.3
"""Seconds without a further answer that end the search for a subject."""


async def look_up(link: Session, service: str, endpoint: str) -> str:
    """Ask a service for the subject of an endpoint.

    Raises:
        NoAnswerError: No instance answered, or none has this endpoint.
        ConfigError: Endpoints of this name listen on different subjects.
    """
    instances = await link.client.info(service, max_interval=LOOK_UP_STALL)
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


def _explain(link: Session, subject: str) -> Exception:
    """Return the reason of a request without answer."""
    refusal = link.refusal("publish", subject)
    if refusal is not None:
        return ConfigError(f"the server refuses the request: {refusal}")
    return TimeoutError(f"no answer from {subject!r} within {link.limit:g} s")
