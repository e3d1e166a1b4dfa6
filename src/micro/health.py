"""Liveness and readiness of a program, over HTTP or as an object (for Kubernetes and others).

    async def setup(ctx: micro.Context) -> None:
        ctx.add_check("database", database.ping)
        await ctx.enter(HealthServer(ctx, "0.0.0.0", 8080))

or `micro run app:setup --health :8080`.

    GET /healthz    alive: the event loop turns, and blocking handlers end. 200, else 503.
    GET /readyz     ready: a message goes through the NATS server and back, a service runs, none has
                    stopped or lost a subscription, and every check passes

The body is `{"status": "ok", "checks": {"nats": "ok", "services": "ok", "database": "ok"}}`. A
check that does not pass is `failed` or `timed out`; the reason is only in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from micro._errors import MicroError
from micro._http_server import Answer, HttpServer, Route
from micro._program.context import Check, Context
from micro._ratelimit import LimitedLog
from micro._wire.fence import fence

__all__ = ["Health", "HealthServer", "Report"]

logger = logging.getLogger("micro.health")

OK = "ok"

MAX_STALL = 60.0
"""Seconds without the end of a call in a pool of threads that is full."""


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
        """Check the program itself: its event loop, and the threads of its blocking handlers.

        An outage of NATS does not fail it, since a restart would not end the outage.
        """
        return await self._all({"loop": _turn, "threads": self._threads_run})

    async def ready(self) -> Report:
        """Check that requests can be handled: round trip, services and all checks."""
        own: dict[str, Check] = {"nats": self._round_trip, "services": self._services_run}
        return await self._all({**self._context.checks, **own})

    async def _round_trip(self) -> None:
        # Longer than the limit of a check, so that the check ends first and says "timed out".
        await fence(self._context.client, 2 * self._timeout, reconnects=False)

    def _threads_run(self) -> bool:
        pools = (service.__instance__.config.threads for service in self._context.services)
        return all(pool.stalled_for() < MAX_STALL for pool in pools)

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


async def _turn() -> None:
    await asyncio.sleep(0)


class HealthServer(HttpServer):
    """The HTTP server of `/healthz` and `/readyz`; an async context manager.

    Args:
        context: The context of the program; enter the server into it, before the services.
        host: The address to listen on, such as `0.0.0.0` for all of IPv4.
        port: The port; 0 for a free one, see `port`.
        timeout: Seconds for the round trip and for each check.
    """

    def __init__(self, context: Context, host: str, port: int, *, timeout: float = 2.0) -> None:
        health = Health(context, timeout=timeout)
        routes = {"/healthz": _route(health.live), "/readyz": _route(health.ready)}
        super().__init__(routes, host, port, purpose="health", timeout=2 * timeout + 1)


def _route(check: Callable[[], Awaitable[Report]]) -> Route:
    async def answer(headers: Mapping[str, str]) -> Answer:
        return answer_of(await check())

    return answer


def answer_of(report: Report) -> Answer:
    """Return the answer that carries a report."""
    status = HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(json.dumps(report.as_dict()).encode(), status=status)
