"""One endpoint: its subscription, its requests, and what discovery says of it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client as NatsClient

from micro._dispatch import Dispatcher
from micro._errors import ConfigError
from micro._limits import Limits
from micro._listener import Listener
from micro._middleware import Middleware, fold
from micro._parked import ParkedTasks
from micro._path import path_of
from micro._request_log import RequestLog
from micro._subjects import MAX_METADATA_BYTES
from micro._typed import AnyHandler, bind

logger = logging.getLogger("micro.endpoint")

REQUEST_SCHEMA = "micro.request.schema"
RESPONSE_SCHEMA = "micro.response.schema"
WAITING_PER_SLOT = 8
LEAST_WAITING = 64


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """What an endpoint is, after inheritance; None means the framework's default."""

    service: str
    instance: str
    name: str
    subject: str
    queue_group: str
    metadata: dict[str, str]
    pending_bytes_limit: int | None
    pending_msgs_limit: int | None
    max_in_flight: int | None
    timeout: float | None
    reply_prefixes: tuple[str, ...] | None
    middlewares: tuple[Middleware, ...]
    stats_handler: Callable[[Endpoint], Any] | None

    def limits(self) -> Limits:
        """Return the limits; by default eight requests may wait for each that runs.

        Raises:
            ConfigError: A limit is negative, or nothing could run.
        """
        running = Limits.max_in_flight if self.max_in_flight is None else self.max_in_flight
        waiting = self.pending_msgs_limit
        if waiting is None:
            waiting = max(LEAST_WAITING, WAITING_PER_SLOT * running)
        size = self.pending_bytes_limit
        if size is None:
            size = Limits.pending_bytes
        if running < 1:
            raise ConfigError(f"invalid max_in_flight {running!r}: expected at least 1")
        if waiting < 0 or size < 0:
            raise ConfigError(
                f"invalid pending limits {waiting!r} messages, {size!r} bytes: expected at least 0"
            )
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"invalid timeout {self.timeout!r}: expected seconds above 0")
        prefixes = self.reply_prefixes
        return Limits(
            max_in_flight=running,
            pending_msgs=waiting,
            pending_bytes=size,
            timeout=self.timeout,
            reply_prefixes=None if prefixes is None else tuple(p.encode() for p in prefixes),
        )


class Endpoint:
    """One endpoint of a running service; made by ``add_endpoint``."""

    def __init__(
        self,
        nc: NatsClient,
        config: EndpointConfig,
        handler: AnyHandler,
        *,
        pool: ParkedTasks,
        report: Callable[[BaseException], None],
        left: Callable[[Endpoint], None],
    ) -> None:
        bound = bind(handler)
        self._config = config
        self._left = left
        self._schemas = _schemas(
            {REQUEST_SCHEMA: bound.request_schema(), RESPONSE_SCHEMA: bound.response_schema()}
        )
        self._dispatcher = Dispatcher(
            RequestLog(config.service, config.name, config.instance),
            fold(bound.call, config.middlewares, bound.direct),
            limits=config.limits(),
            pool=pool,
            path=path_of(nc),
            report=report,
        )
        self._listener = self._listen(nc)
        self._former: list[Listener] = []  # on connections that are being left
        self._data: Any = None
        self._stopping = False

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self._config.name

    @property
    def subject(self) -> str:
        """The subject it listens on, group prefix included."""
        return self._config.subject

    @property
    def queue_group(self) -> str:
        """The queue group it is a member of; empty when none."""
        return self._config.queue_group

    async def start(self) -> None:
        """Subscribe; returns when the server has the subscription. ``add_endpoint`` calls it."""
        await self._join(self._listener)

    async def stop(self, timeout: float = 30.0) -> None:
        """Stop this endpoint without losing a request: leave the queue group, drain, leave INFO.

        May be called from its own handlers, and twice: from a handler while a stop is under way it
        returns at once, since that stop waits for the handler.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled and answered 503.
        """
        if self._stopping and self._dispatcher.is_calling():
            return
        self._stopping = True
        self._left(self)
        await self.leave()
        await self.drain(timeout)

    async def move(self, nc: NatsClient) -> None:
        """Go on listening on another connection; nothing is lost between the two."""
        listener = self._listen(nc)
        await self._join(listener)
        former, self._listener = self._listener, listener
        self._former.append(former)
        self._dispatcher.answer_through(path_of(nc))
        await former.linger()
        await former.leave()
        await former.close()
        self._former.remove(former)

    async def leave(self) -> None:
        """Receive no more requests but those under way; `Endpoint.stop` calls it."""
        await asyncio.gather(*(each.leave() for each in (self._listener, *self._former)))

    async def drain(self, timeout: float) -> None:
        """Finish what has been received, within a number of seconds; `Endpoint.stop` calls it."""
        await asyncio.gather(*(each.close() for each in (self._listener, *self._former)))
        await self._dispatcher.drain(timeout)

    async def abort(self) -> None:
        """Cancel the requests in flight and answer them with 503."""
        await self._dispatcher.abort()

    def reset(self) -> None:
        """Reset the counters."""
        self._dispatcher.counters.reset()

    def _listen(self, nc: NatsClient) -> Listener:
        config = self._config
        return Listener(nc, config.subject, config.queue_group, self._dispatcher)

    async def _join(self, listener: Listener) -> None:
        owner = f"endpoint {self._config.name!r} of service {self._config.service!r}"
        await listener.join(owner)

    def describe(self, *, schemas: bool = True) -> dict[str, Any]:
        """Return the endpoint's part of INFO; without ``schemas`` their hashes stand for them."""
        config = self._config
        found = {
            key if schemas else f"{key}.sha256": text if schemas else _sha256(text)
            for key, text in self._schemas.items()
        }
        return {
            "name": config.name,
            "subject": config.subject,
            "queue_group": config.queue_group,
            "metadata": {**found, **config.metadata},
        }

    async def refresh(self) -> None:
        """Ask the statistics handler for new ``data``; if it fails the endpoint has none."""
        handler = self._config.stats_handler
        if handler is None:
            return
        try:
            found = handler(self)
            found = await found if inspect.isawaitable(found) else found
            json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
        except Exception:
            logger.exception("%s/%s: stats_handler failed", self._config.service, self.name)
            found = None
        self._data = found

    def measure(self) -> dict[str, Any]:
        """Return the endpoint's part of STATS, with the ``data`` found last."""
        config = self._config
        found = {
            "name": config.name,
            "subject": config.subject,
            "queue_group": config.queue_group,
            **self._dispatcher.counters.snapshot(),
        }
        own = {**self._dispatcher.load(), **self._dispatcher.counters.details()}
        given = self._data if isinstance(self._data, dict) else {"user": self._data}
        return {**found, "data": {"micro": own, **(given if self._data is not None else {})}}


def _schemas(found: dict[str, Any]) -> dict[str, str]:
    texts = {
        key: json.dumps(schema, separators=(",", ":"))
        for key, schema in found.items()
        if schema is not None
    }
    return {key: text for key, text in texts.items() if len(text) < MAX_METADATA_BYTES}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
