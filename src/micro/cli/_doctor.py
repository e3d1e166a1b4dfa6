"""`micro doctor`: the faults of a connection, each with a fix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

import nats.errors
import typer

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConnectError, MicroError, PermissionDeniedError
from micro._handlers.request import Request
from micro._native import choice
from micro._service.captures import capturing_stream
from micro._service.service import Service, add_service
from micro._wire import nats_py, permissions
from micro._wire.fence import fence
from micro.cli._flags import STALL, Connection, Json
from micro.cli._output import Exit, print_json, print_line

SERVICE = "micro-doctor"
_ROUND_TRIPS = 5
MAX_SUBJECTS = 200
"""Limit on the subjects that are looked up in the streams of the account."""


class Status(StrEnum):
    """The outcome of a check; a warning is right for some users."""

    ok = "ok"
    warning = "warning"
    failed = "failed"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: The name of the check.
        status: The outcome.
        detail: The observation.
        fix: The remedy; empty if none is needed.
    """

    check: str
    status: Status
    detail: str
    fix: str = ""


async def doctor(connection: Connection, as_json: Json = False) -> None:
    """Check connection, permissions and discovery, and name a fix for each fault.

    The exit code is 1 if a check failed; a warning is no failure.

    Examples:
      micro doctor
      micro doctor --server nats://10.0.0.1:4222 --creds service.creds
      micro doctor --json
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _print(finding)

    await _examine(connection, note)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.status is Status.failed for finding in findings):
        raise typer.Exit(Exit.FAILED)


def _print(finding: Finding) -> None:
    colour = {Status.ok: "green", Status.warning: "yellow", Status.failed: "red"}[finding.status]
    print_line(f"{finding.status.value:8}", style=colour, end="")
    print_line(f"{finding.check}: {finding.detail}")
    if finding.fix:
        print_line(f"        fix: {finding.fix}")


async def _examine(connection: Connection, note: Callable[[Finding], None]) -> None:
    """Run the checks in order, as far as the earlier ones allow."""
    try:
        settings = connection.settings()
    except MicroError as error:
        note(Finding("settings", Status.failed, str(error), "correct the flag, file or variable"))
        return
    way = "no credentials" if settings.credentials is None else settings.credentials.kind
    note(Finding("settings", Status.ok, f"{', '.join(settings.servers)} with {way}"))
    note(Finding("native", Status.ok, f"the wire runs in {choice.description}"))
    try:
        async with ToolConnection(settings) as link:
            await _examine_link(link, connection.limit, note)
    except ConnectError as error:
        note(Finding("connection", Status.failed, str(error), _mend_connection(str(error))))


async def _examine_link(
    link: ToolConnection, timeout: float, note: Callable[[Finding], None]
) -> None:
    note(await _connection(link))
    note(_encrypted(link))
    inbox = await _inbox(link, timeout)
    note(inbox)
    service = add_service(link.nc, SERVICE, "1.0.0", description="Checks a connection")
    try:
        await service.start()
    except PermissionDeniedError as error:
        verbs = ", ".join(f'"$SRV.{verb}", "$SRV.{verb}.>"' for verb in ("PING", "INFO", "STATS"))
        fix = f"nothing for a caller; to run services, allow the user to subscribe to {verbs}"
        note(Finding("service", Status.warning, str(error), fix))
    else:
        async with service:
            note(Finding("service", Status.ok, "discovery subjects can be subscribed to"))
            if _answers_arrive(inbox):
                note(await _discovery(link, service, timeout))
                note(await _request(link, service, timeout))
    if _answers_arrive(inbox):
        async for finding in _others(link, timeout):
            note(finding)


async def _connection(link: ToolConnection) -> Finding:
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(_ROUND_TRIPS):
        start = loop.time()
        await fence(link.nc)
        times.append((loop.time() - start) * 1000)
    server = link.describe()
    detail = (
        f"{server['url']}, nats-server {server['version']}, "
        f"round trip {min(times):.2f} ms, payloads up to {link.nc.max_payload:,} bytes"
    )
    return Finding("connection", Status.ok, detail)


def _encrypted(link: ToolConnection) -> Finding:
    url = link.nc.connected_url
    host = "" if url is None else url.hostname or ""
    if getattr(nats_py.transport_of(link.nc), "encrypted", False):
        return Finding("encrypted", Status.ok, "the connection uses TLS")
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return Finding("encrypted", Status.ok, "no TLS, and none is needed on this machine")
    fix = "give a tls:// URL or --tlsca, unless the network on the way is trusted"
    return Finding("encrypted", Status.warning, "the connection does not use TLS", fix)


NO_SUBSCRIPTION = "the user may not subscribe to its inbox: "


async def _inbox(link: ToolConnection, timeout: float) -> Finding:
    """Send a message to an own inbox, as every answer does."""
    inbox = link.nc.new_inbox()
    prefix = f"{inbox.rpartition('.')[0]}.>"
    arrived = asyncio.Event()

    async def receive(_: object) -> None:
        arrived.set()

    await link.nc.subscribe(inbox, cb=receive)
    await fence(link.nc)
    await link.nc.publish(inbox, b"")
    await fence(link.nc)
    denied = link.refusal("subscription", inbox)
    refused = link.refusal("publish", inbox)
    if denied is not None:
        fix = (
            f"nothing for a service that asks no others; for callers allow {prefix!r}, "
            "or use the inbox prefix the user is allowed (a context's inbox_prefix)"
        )
        return Finding("inbox", Status.warning, NO_SUBSCRIPTION + denied, fix)
    if refused is not None:
        fix = (
            "nothing for a caller, or for a service with allow_responses; "
            'for other services allow the user to publish to "_INBOX.>"'
        )
        return Finding("inbox", Status.warning, refused, fix)
    try:
        await asyncio.wait_for(arrived.wait(), timeout)
    except TimeoutError:
        fix = "look for a subject mapping that takes it elsewhere"
        detail = f"a message to {inbox} did not come back within {timeout:g} s"
        return Finding("inbox", Status.failed, detail, fix)
    return Finding("inbox", Status.ok, f"messages to {prefix} come back")


def _answers_arrive(inbox: Finding) -> bool:
    return inbox.status is not Status.failed and not inbox.detail.startswith(NO_SUBSCRIPTION)


def _refused_answer(link: ToolConnection, check: str) -> Finding | None:
    """Return the failure of a check if the server refused an answer of our own service."""
    prefix = link.nc.new_inbox().rpartition(".")[0].lower()
    for text in link.complaints:
        match permissions.refusal(text):
            case permissions.Refusal("publish", str(subject)) if subject.startswith(prefix):
                fix = 'set allow_responses, or allow the user to publish to "_INBOX.>"'
                return Finding(check, Status.failed, f"it cannot answer: {text}", fix)
    return None


async def _discovery(link: ToolConnection, service: Service, timeout: float) -> Finding:
    """Find our own service as other programs would."""
    id = service.info().id
    link.complaints.clear()
    instances = await Client(link.nc).ping(SERVICE, max_wait=timeout, max_interval=0.3)
    await fence(link.nc)
    if any(instance.id == id for instance in instances):
        return Finding("discovery", Status.ok, "our own service answers to PING")
    refusal = link.refusal("publish", f"$SRV.PING.{SERVICE}")
    if refusal is not None:
        fix = 'nothing for a service; for tools allow the user to publish to "$SRV.>"'
        return Finding("discovery", Status.warning, refusal, fix)
    detail = f"PING had {len(instances)} answers, none of them ours"
    fix = "look for a subject mapping, an import or a leaf node that takes $SRV elsewhere"
    failed = Finding("discovery", Status.failed, detail, fix)
    return _refused_answer(link, "discovery") or failed


async def _request(link: ToolConnection, service: Service, timeout: float) -> Finding:
    """Send a request to an own endpoint, so that the whole way there and back is seen."""

    async def echo(request: Request) -> None:
        await request.respond(request.data())

    subject = f"{SERVICE}.{service.info().id}"
    mine = "if the user may {} the subjects of its own services, nothing"
    try:
        await service.add_endpoint("echo", echo, subject)
    except PermissionDeniedError as error:
        fix = mine.format("subscribe to")
        return Finding("request", Status.warning, str(error), fix)
    link.complaints.clear()
    try:
        await Client(link.nc).request(subject, timeout=timeout)
    except (MicroError, nats.errors.Error) as error:
        refusal = link.refusal("publish", subject)
        if refusal is not None:
            return Finding("request", Status.warning, refusal, mine.format("publish to"))
        fix = "look for a subject mapping or an import that takes the request elsewhere"
        failed = Finding("request", Status.failed, f"no answer from ourselves: {error}", fix)
        return _refused_answer(link, "request") or failed
    return Finding("request", Status.ok, "an endpoint of our own answers")


async def _others(link: ToolConnection, timeout: float) -> AsyncIterator[Finding]:
    """Look at the services that can be discovered, and at streams that capture their subjects."""
    link.complaints.clear()
    answers = await Client(link.nc).info(max_wait=timeout, max_interval=STALL)
    if link.refusal("publish", "$SRV.INFO") is not None:
        return  # no operator
    infos = [info for info in answers if info.name != SERVICE]
    detail = f"{len(infos)} other instances of {len({info.name for info in infos})} services answer"
    fix = (
        'if services of another account are missing: export their "$SRV.>" with '
        "response_type: Stream, as the default lets one answer through"
    )
    yield Finding("others", Status.ok, detail, "" if len(infos) > 1 else fix)
    for subject in sorted({end.subject for info in infos for end in info.endpoints})[:MAX_SUBJECTS]:
        try:
            stream = await capturing_stream(link.nc, subject, timeout)
        except (nats.errors.Error, ValueError):  # no JetStream
            return
        if stream is not None:
            detail = f"stream {stream!r} captures {subject!r}: callers get a PubAck"
            fix = "take the subject out of the stream, or give the endpoint another one"
            yield Finding("stream", Status.warning, detail, fix)


def _mend_connection(reason: str) -> str:
    text = reason.lower()
    if "authorization" in text or "authentication" in text or "nkey" in text:
        return "check user, password, token, --creds or --nkey: the server does not know them"
    if "certificate" in text or "ssl" in text:
        return "give the CA of the server's certificate with --tlsca, and --tlscert if it asks"
    if "refused" in text or "connect call failed" in text:
        return "start a server with `micro server`, or name a running one with --server"
    if any(part in text for part in ("name or service", "name resolution", "nodename")):
        return "check the host name given with --server, NATS_URL or the context"
    return "check --server, the network on the way, and whether the server asks for --tlsca"
