"""Liveness and readiness of a program, over HTTP or as an object (for Kubernetes and others).

    async def setup(ctx: micro.Context) -> None:
        ctx.add_check("database", database.ping)
        await ctx.enter(HealthServer(ctx, "0.0.0.0", 8080))

or `micro run app:setup --health :8080`.

    GET /healthz    alive: a message goes through the NATS server and back. 200, else 503.
    GET /readyz     ready: alive, a service runs, none has stopped or lost a subscription,
                    and every check is passed

The body is `{"status": "ok", "checks": {"nats": "ok", "services": "ok", "database": "ok"}}`. A
check that does not pass is `failed` or `timed out`; the reason is only in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

from micro._errors import MicroError
from micro._program.context import Check, Context
from micro._ratelimit import LimitedLog
from micro._wire.fence import fence

__all__ = ["Health", "HealthServer", "Report"]

logger = logging.getLogger("micro.health")

OK = "ok"
MAX_HEAD = 8192
"""Limit on the bytes of a request before its body."""


@dataclass(frozen=True)
class Report:
    """The outcomes of the checks by name: `ok`, `failed` or `timed out`."""

    checks: Mapping[str, str]

    @property
    def healthy(self) -> bool:
        """Whether all checks passed."""
        return all(outcome == OK for outcome in self.checks.values())

    def as_dict(self) -> dict[str, object]:
        """Return the report as the JSON body of an answer."""
        return {"status": OK if self.healthy else "failed", "checks": dict(self.checks)}


class Health:
    """The health of the program of a context.

    Args:
        context: The context.
        timeout: Seconds for the round trip and for each check.
    """

    def __init__(self, context: Context, *, timeout: float = 2.0) -> None:
        self._context = context
        self._timeout = timeout
        self._log = LimitedLog(logger)

    async def live(self) -> Report:
        """Check that a message goes through the server and back."""
        return await self._all({"nats": self._round_trip})

    async def ready(self) -> Report:
        """Check that requests can be handled: round trip, services and all checks."""
        own: dict[str, Check] = {"nats": self._round_trip, "services": self._services_run}
        return await self._all({**self._context.checks, **own})

    async def _round_trip(self) -> None:
        # Longer than the limit of a check, so that the check ends first and says "timed out".
        await fence(self._context.client, 2 * self._timeout, reconnects=False)

    def _services_run(self) -> bool:
        services = self._context.services
        stopping = self._context.cancelled() or any(service.stopped() for service in services)
        refused = any(service.refused() for service in services)
        return bool(services) and not stopping and not refused

    async def _all(self, checks: Mapping[str, Check]) -> Report:
        outcomes = await asyncio.gather(*(self._one(*check) for check in checks.items()))
        return Report(dict(zip(checks, outcomes, strict=True)))

    async def _one(self, name: str, check: Check) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                passed = check()
                passed = await passed if inspect.isawaitable(passed) else passed
        except TimeoutError:
            self._log.log(logging.WARNING, name, "check %r timed out", name)
            return "timed out"
        except MicroError as error:
            self._log.log(logging.WARNING, name, "check %r failed: %s", name, error)
            return "failed"
        except Exception as error:  # noqa: BLE001 - a check of the user may raise anything
            self._log.log(logging.WARNING, name, "check %r failed", name, error=error)
            return "failed"
        return "failed" if passed is False else OK


class HealthServer:
    """The HTTP server of `/healthz` and `/readyz`; an async context manager.

    Args:
        context: The context of the program; enter the server into it, before the services.
        host: The address to listen on, such as `0.0.0.0` for all of IPv4.
        port: The port; 0 for a free one, see `port`.
        timeout: Seconds for the round trip and for each check.
    """

    def __init__(self, context: Context, host: str, port: int, *, timeout: float = 2.0) -> None:
        health = Health(context, timeout=timeout)
        self._paths = {"/healthz": health.live, "/readyz": health.ready}
        self._address = host, port
        self._timeout = timeout
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        if self._server is None:
            return self._address[1]
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            MicroError: The address cannot be listened on.
        """
        host, port = self._address
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD)
        except OSError as error:
            reason = error.strerror or error
            raise MicroError(f"cannot listen on {host}:{port} for health: {reason}") from error
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # never: asyncio calls this in a task
            return
        self._tasks.add(task)
        try:
            async with asyncio.timeout(2 * self._timeout + 1):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError) as error:
            logger.debug("health: %s", str(error) or type(error).__name__)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _reply(HTTPStatus.BAD_REQUEST)
        line = head.partition(b"\r\n")[0].split(b" ")
        if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
            return _reply(HTTPStatus.BAD_REQUEST)
        method, target = line[0], line[1].partition(b"?")[0].decode("latin-1")
        check = self._paths.get(target)
        if check is None:
            return _reply(HTTPStatus.NOT_FOUND)
        if method not in (b"GET", b"HEAD"):
            return _reply(HTTPStatus.METHOD_NOT_ALLOWED, extra="Allow: GET, HEAD\r\n")
        report = await check()
        status = HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return _reply(status, report.as_dict(), with_body=method == b"GET")


def _reply(
    status: HTTPStatus,
    body: Mapping[str, object] | None = None,
    *,
    with_body: bool = True,
    extra: str = "",
) -> bytes:
    data = json.dumps({"status": status.phrase.lower()} if body is None else body).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n"
        f"Cache-Control: no-store\r\n{extra}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (data if with_body else b"")
