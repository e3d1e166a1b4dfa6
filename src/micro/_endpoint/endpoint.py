"""One endpoint: its subscription, its requests, and what discovery says of it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, NamedTuple

from micro._endpoint.dispatcher import Dispatcher
from micro._endpoint.options import EndpointOptions
from micro._endpoint.request_log import RequestLog
from micro._endpoint.task_pool import TaskPool
from micro._handlers.bound_handler import BoundHandler
from micro._handlers.middleware import fold
from micro._handlers.typed import AnyHandler, bind
from micro._protocol.subjects import MAX_METADATA_BYTES
from micro._wire.frames import Message
from micro._wire.paths import Path
from micro._wire.subscription import Listener

logger = logging.getLogger("micro.endpoint")

REQUEST_SCHEMA = "micro.request.schema"
RESPONSE_SCHEMA = "micro.response.schema"


class EndpointConfig(NamedTuple):
    """What an endpoint is, after inheritance."""

    service: str
    instance: str
    name: str
    subject: str
    metadata: dict[str, str]
    options: EndpointOptions
    stats_handler: Callable[[Endpoint], Any] | None


class Home(NamedTuple):
    """What a service shares with all its endpoints.

    Attributes:
        pool: The tasks that requests run in.
        report: Told of each failed request.
        left: Told of each endpoint that stops.
    """

    pool: TaskPool
    report: Callable[[BaseException], None]
    left: Callable[[Endpoint], None]


class Endpoint:
    """One endpoint of a running service; made by ``add_endpoint``."""

    def __init__(self, path: Path, config: EndpointConfig, handler: AnyHandler, home: Home) -> None:
        bound = bind(handler)
        self._config = config
        self._bound = bound
        self._home = home
        self._schemas = _schemas(bound)
        self._path = path
        self._listener = self._listen(path)
        self._former: tuple[Listener, ...] = ()  # on connections that are being left
        self._data: Any = None
        self._stopping = False

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        """Made for the first request, or whoever asks: most endpoints of a large service are idle."""
        config = self._config
        return Dispatcher(
            RequestLog(config.service, config.name, config.instance),
            fold(self._bound.call, config.options.middlewares, self._bound.direct),
            options=config.options,
            pool=self._home.pool,
            path=self._path,
            report=self._home.report,
        )

    def receive(self, messages: list[Message]) -> None:
        """Take in requests; the listener calls it."""
        self._dispatcher.receive(messages)

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
        return self._config.options.queue_group

    def start(self) -> Coroutine[Any, Any, None]:
        """Subscribe; returns when the server has the subscription. ``add_endpoint`` calls it."""
        return self._listener.join(self._owner())

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
        self._home.left(self)
        await self.leave()
        await self.drain(timeout)

    async def move(self, path: Path) -> None:
        """Go on listening on another connection; nothing is lost between the two."""
        listener = self._listen(path)
        await listener.join(self._owner())
        former, self._listener = self._listener, listener
        self._former = (*self._former, former)
        self._path = path
        self._dispatcher.answer_through(path)
        await former.linger()
        await former.leave()
        await former.close()
        self._former = tuple(each for each in self._former if each is not former)

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

    def _listen(self, path: Path) -> Listener:
        return Listener(path, self.subject, self.queue_group, self.receive)

    def _owner(self) -> str:
        return f"endpoint {self._config.name!r} of service {self._config.service!r}"

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
            "queue_group": self.queue_group,
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
            "queue_group": self.queue_group,
            **self._dispatcher.counters.snapshot(),
        }
        own = {**self._dispatcher.load(), **self._dispatcher.counters.details()}
        given = self._data if isinstance(self._data, dict) else {"user": self._data}
        return {**found, "data": {"micro": own, **(given if self._data is not None else {})}}


def _schemas(handler: BoundHandler) -> dict[str, str]:
    found = {}
    for key, schema in (
        (REQUEST_SCHEMA, handler.request_schema()),
        (RESPONSE_SCHEMA, handler.response_schema()),
    ):
        text = "" if schema is None else json.dumps(schema, separators=(",", ":"))
        if text and len(text) < MAX_METADATA_BYTES:
            found[key] = text
    return found


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
