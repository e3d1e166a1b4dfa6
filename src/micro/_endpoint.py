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

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro import _permissions, _transport
from micro._dispatch import Dispatcher, Limits
from micro._errors import ConfigError
from micro._fence import fence
from micro._middleware import Middleware, compose
from micro._request import NatsRequest
from micro._subjects import MAX_METADATA_BYTES
from micro._typed import AnyHandler, bind
from micro._workers import Workers

logger = logging.getLogger("micro.endpoint")

REQUEST_SCHEMA = "micro.request.schema"
RESPONSE_SCHEMA = "micro.response.schema"
WAITING_PER_SLOT = 8
LEAST_WAITING = 64


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """What an endpoint is, after inheritance; None means the framework's default."""

    service: str
    name: str
    subject: str
    queue_group: str
    metadata: dict[str, str]
    pending_bytes_limit: int | None
    pending_msgs_limit: int | None
    max_in_flight: int | None
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
        return Limits(max_in_flight=running, pending_msgs=waiting, pending_bytes=size)


class Endpoint:
    """One endpoint of a running service; made by ``add_endpoint``."""

    def __init__(
        self,
        nc: NatsClient,
        config: EndpointConfig,
        handler: AnyHandler,
        *,
        workers: Workers,
        report: Callable[[BaseException], None],
        left: Callable[[Endpoint], None],
    ) -> None:
        bound = bind(handler)
        self._nc = nc
        self._config = config
        self._left = left
        self._schemas = _schemas(
            {REQUEST_SCHEMA: bound.request_schema(), RESPONSE_SCHEMA: bound.response_schema()}
        )
        self._dispatcher = Dispatcher(
            f"{config.service}/{config.name}",
            compose(bound.call, config.middlewares),
            limits=config.limits(),
            workers=workers,
            nc=nc,
            report=report,
        )
        self._subscription: Subscription | None = None
        self._data: Any = None

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
        config = self._config
        _permissions.forget(self._nc, [config.subject])
        self._subscription = await self._nc.subscribe(
            config.subject, queue=config.queue_group, cb=self._receive
        )
        try:
            await fence(self._nc)
            owner = f"endpoint {config.name!r} of service {config.service!r}"
            _permissions.check(self._nc, [config.subject], owner)
        except BaseException:
            await self._unsubscribe()
            raise

    async def stop(self, timeout: float = 30.0) -> None:
        """Stop this endpoint without losing a request: leave the queue group, drain, leave INFO.

        May be called from its own handler, and twice.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled and answered 503.
        """
        self._left(self)
        await self.leave()
        await settle(self._nc)
        await self.drain(timeout)

    async def leave(self) -> None:
        """Ask the server to send no more requests; `Endpoint.stop` calls it."""
        if self._subscription is not None and self._nc.is_connected:
            await _transport.leave(self._nc, self._subscription)

    async def drain(self, timeout: float) -> None:
        """Finish what has been received, within a number of seconds; `Endpoint.stop` calls it."""
        subscription = self._subscription
        while subscription is not None and subscription.pending_msgs and not self._nc.is_closed:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)  # received, and about to be admitted
        await self._unsubscribe()
        await self._dispatcher.drain(timeout)

    async def abort(self) -> None:
        """Cancel the requests in flight and answer them with 503."""
        await self._dispatcher.abort()

    def reset(self) -> None:
        """Reset the counters."""
        self._dispatcher.counters.reset()

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                logger.debug("%s: unsubscribe: %s", self.subject, error)

    async def _receive(self, msg: Msg) -> None:
        await self._dispatcher.receive(NatsRequest(msg.subject, msg.reply, msg.data, msg.headers))

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
            json.dumps(found, allow_nan=False)
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
        return found if self._data is None else {**found, "data": self._data}


async def settle(nc: NatsClient) -> None:
    """Wait until the server has processed what was sent, unless there is no server to wait for."""
    if nc.is_connected:
        try:
            await fence(nc, reconnects=False)
        except OSError as error:
            logger.warning("cannot confirm with the server: %s", error)


def _schemas(found: dict[str, Any]) -> dict[str, str]:
    texts = {
        key: json.dumps(schema, separators=(",", ":"))
        for key, schema in found.items()
        if schema is not None
    }
    return {key: text for key, text in texts.items() if len(text) < MAX_METADATA_BYTES}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
