"""One endpoint: its subscription, its requests, and its parts of INFO and STATS."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from micro._endpoint.dispatcher import CALLS, Dispatcher, Exchange
from micro._endpoint.options import EndpointOptions
from micro._endpoint.outcomes import Outcomes
from micro._endpoint.request_log import RequestLog
from micro._endpoint.schemas import Schemas
from micro._endpoint.task_pool import TaskPool
from micro._handlers.middleware import fold
from micro._handlers.threads import Threads
from micro._handlers.typed import AnyHandler, bind
from micro._protocol.adr32 import endpoint_info, endpoint_stats
from micro._ratelimit import LimitedLog
from micro._wire.frames import Message
from micro._wire.paths import Path
from micro._wire.subscription import Listener

if TYPE_CHECKING:
    from micro._streams.source import Source

logger = logging.getLogger("micro.endpoint")

RESPONSE_STREAM = "micro.response.stream"
"""Metadata of an endpoint that answers with many messages; the schema is then that of an item."""

REQUEST_STREAM = "micro.request.stream"
"""Metadata of an endpoint whose caller sends items; they have the keys `micro.request.items`."""


class EndpointConfig(NamedTuple):
    """The declaration of an endpoint, with inherited options.

    Attributes:
        service: The name of the service.
        instance: The id of the instance.
        name: The name of the endpoint.
        subject: Its subject, group prefix included.
        metadata: Its metadata.
        options: Its options.
        stats_handler: Makes the `data` of its STATS.
        group: The prefix of its group; empty without one.
        event: Whether its messages are events: nobody waits for answers.
        origin: The stream and the consumer that they come from; empty for a subscription.
    """

    service: str
    instance: str
    name: str
    subject: str
    metadata: dict[str, str]
    options: EndpointOptions
    stats_handler: Callable[[Endpoint], Any] | None
    group: str = ""
    event: bool = False
    origin: str = ""

    @property
    def key(self) -> str:
        """The key of the endpoint, of which a service has one."""
        return f"event {self.origin or self.subject}" if self.event else self.subject


class Home(NamedTuple):
    """What all endpoints of a service share.

    Attributes:
        pool: The tasks that requests run in.
        threads: The threads that blocking handlers run in.
        report: Called with the error of each failed request.
        left: Called with each endpoint that stops.
    """

    pool: TaskPool
    threads: Threads
    report: Callable[[BaseException], None]
    left: Callable[[ServedEndpoint], None]


class Endpoint:
    """One endpoint of a running service; made by `add_endpoint`."""

    __slots__ = ("_served",)

    def __init__(self, served: ServedEndpoint) -> None:
        self._served = served

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self._served.config.name

    @property
    def subject(self) -> str:
        """The subject it listens on, group prefix included."""
        return self._served.config.subject

    @property
    def queue_group(self) -> str:
        """The queue group it is a member of; empty when none."""
        return self._served.config.options.queue_group

    async def stop(self, timeout: float = 30.0) -> None:
        """Stop this endpoint without losing a request: leave the queue group, drain, leave INFO.

        A handler of the endpoint may call it. While a stop is under way it returns to a handler at
        once, since that stop waits for the handler.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled with 503.
        """
        await self._served.stop(timeout)

    def reset(self) -> None:
        """Reset the counters."""
        self._served.reset()


class ServedEndpoint:
    """An endpoint as its service sees it: subscription, requests, and its parts of INFO and STATS.

    Args:
        path: The path of the connection.
        config: The declaration.
        handler: The handler.
        home: What the endpoint shares with the others of its service.

    Attributes:
        config: The declaration.
        public: The endpoint as users see it.
    """

    __slots__ = (
        "__weakref__",
        "_bound",
        "_data",
        "_dispatcher_made",
        "_former",
        "_home",
        "_listener",
        "_log",
        "_path",
        "_schemas",
        "_source",
        "_stopping",
        "config",
        "public",
    )

    def __init__(self, path: Path, config: EndpointConfig, handler: AnyHandler, home: Home) -> None:
        bound = bind(handler, home.threads.run, config.options.codec)
        self.config = config
        self.public = Endpoint(self)
        self._bound = bound
        self._home = home
        self._schemas = Schemas(bound)
        self._path = path
        self._source: Source | None = None  # of a handler that streams
        self._dispatcher_made: Dispatcher | None = None
        self._listener = self._listen(path)
        self._former: tuple[Listener, ...] = ()  # on connections that are being left
        self._data: Any = None
        self._log: LimitedLog | None = None  # until something goes wrong
        self._stopping = False

    @property
    def _dispatcher(self) -> Dispatcher:
        """The dispatcher, made when it is first needed: most endpoints of a large service idle."""
        if self._dispatcher_made is None:
            config = self.config
            work = fold(
                self._bound.call,
                config.options.middlewares,
                self._bound.direct,
                exception_handlers=config.options.exception_handlers,
            )
            log = RequestLog(config.service, config.name, config.instance)
            self._dispatcher_made = Dispatcher(
                Outcomes(
                    log,
                    self._home.report,
                    wrapped=work.wrapped,
                    exception_handlers=config.options.exception_handlers,
                ),
                work,
                options=config.options,
                pool=self._home.pool,
                path=self._path,
                exchange=self._exchange(),
            )
        return self._dispatcher_made

    def _exchange(self) -> Exchange:
        """Return how requests are made and answered."""
        if not (self._bound.streams or self._bound.takes):
            return CALLS
        from micro._streams.source import Source

        self._source = Source(self._path)
        return Exchange(partial(starmap, self._source.make))

    def receive(self, messages: list[Message]) -> None:
        """Take in requests; the listener calls it."""
        (self._dispatcher_made or self._dispatcher).receive(messages)

    def start(self) -> Coroutine[Any, Any, None]:
        """Subscribe; return when the server has the subscription."""
        return self._listener.join(self._owner(), self._home.report)

    @property
    def refused(self) -> bool:
        """Whether the server has dropped the subscription; it is made again when possible."""
        return self._listener.refused

    async def stop(self, timeout: float) -> None:
        """Stop this endpoint; see `Endpoint.stop`."""
        if self._stopping and self._dispatcher.is_calling():
            return
        self._stopping = True
        self._home.left(self)
        await self.leave()
        await self.drain(timeout)

    async def move(self, path: Path) -> None:
        """Continue on another connection; no request is lost between the two."""
        listener = self._listen(path)
        await listener.join(self._owner(), self._home.report, insist=False)
        former, self._listener = self._listener, listener
        self._former = (*self._former, former)
        self._path = path
        self._dispatcher.answer_through(path)
        if self._source is not None:
            self._source.move(path)
        await former.linger()
        await former.leave()
        await former.close()
        self._former = tuple(each for each in self._former if each is not former)

    async def leave(self) -> None:
        """Ask the servers for no more requests; requests under way are still received."""
        await asyncio.gather(*(each.leave() for each in (self._listener, *self._former)))

    async def drain(self, timeout: float) -> None:
        """Finish the received requests within a number of seconds."""
        await asyncio.gather(*(each.close() for each in (self._listener, *self._former)))
        await self._dispatcher.drain(timeout)
        if self._source is not None:
            await self._source.close()

    async def abort(self) -> None:
        """Cancel the requests in flight and answer them with 503."""
        await self._dispatcher.abort()

    def answer_refused(self, subject: str) -> None:
        """Count an answer that the server has refused, if it is of this endpoint."""
        if self._dispatcher_made is not None:
            self._dispatcher_made.answer_refused(subject)

    def cut_off(self) -> None:
        """Answer 503 for the handlers that ignore their cancellation."""
        self._dispatcher.cut_off()

    def reset(self) -> None:
        """Reset the counters."""
        self._dispatcher.counters.reset()

    def _listen(self, path: Path) -> Listener:
        return Listener(path, self.config.subject, self.config.options.queue_group, self.receive)

    def _owner(self) -> str:
        return f"endpoint {self.config.name!r} of service {self.config.service!r}"

    def describe(self, *, schemas: bool = True) -> dict[str, Any]:
        """Return the endpoint's part of INFO; without `schemas` with hashes in their place."""
        config = self.config
        streamed = {RESPONSE_STREAM: "true"} if self._bound.streams else {}
        if self._bound.takes:
            streamed[REQUEST_STREAM] = "true"
        return endpoint_info(
            config.name,
            config.subject,
            config.options.queue_group,
            {**self._schemas.described(schemas=schemas), **streamed, **config.metadata},
        )

    async def refresh(self) -> None:
        """Ask the statistics handler for new `data`; if it fails the endpoint has none."""
        handler = self.config.stats_handler
        if handler is None:
            return
        try:
            data = handler(self.public)
            data = await data if inspect.isawaitable(data) else data
            json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        except Exception as error:  # noqa: BLE001 - of the user, logged
            if self._log is None:
                self._log = LimitedLog(logger)
            names = (self.config.service, self.config.name)
            text = "%s/%s: stats_handler failed"
            self._log.log(logging.ERROR, "stats_handler", text, *names, error=error)
            data = None
        self._data = data

    def details(self) -> dict[str, Any]:
        """Return the counters without a name in ADR-32."""
        own = {**self._dispatcher.load(), **self._dispatcher.counters.details()}
        return own if self._source is None else {**own, "items": self._source.items}

    def measure(self) -> dict[str, Any]:
        """Return the endpoint's part of STATS, with the latest `data` of the statistics handler."""
        config, counters = self.config, self._dispatcher.counters
        own = self.details()
        given = {} if self._data is None else self._data
        given = given if isinstance(given, dict) else {"user": given}
        return endpoint_stats(
            config.name,
            config.subject,
            config.options.queue_group,
            counters,
            {"micro": own, **given} if given or any(own.values()) else None,
        )
