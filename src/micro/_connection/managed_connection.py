"""The connection of a program: watched, and replaced when nats-py gives it up."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any
from urllib.parse import urlparse

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._connection import transports
from micro._connection.callbacks import Callbacks
from micro._connection.first_connection import FirstConnection
from micro._connection.handshake import Handshake
from micro._connection.settings import ConnectOption, Settings, resolve
from micro._errors import ConnectError, MicroError
from micro._ratelimit import LimitedLog, kind_of
from micro._wire import nats_py
from micro._wire.client_state import state_of
from micro._wire.fence import fence

logger = logging.getLogger("micro.link")

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the state of the client."""

LEAVE_DELAY = 5.0
"""Seconds before the rest of the connection leaves a server in lame duck mode."""

CHECK_INTERVAL = 10.0
"""Seconds between two round trips that test the connection."""

CHECK_TIMEOUT = 15.0
"""Seconds after which a silent connection is given up."""

REBUILD_DELAY = 2.0
"""Seconds between two attempts to replace a closed connection."""

_FAILURES = (MicroError, nats.errors.Error, OSError)


class ManagedConnection:
    """The connection of a context.

    nats-py reconnects, but closes the connection on some errors of the server, can stop reading
    without an error, and stays on a server in lame duck mode until that disconnects it. This class
    replaces a closed connection, with credentials that are read again; makes a silent connection
    reconnect; and leaves a server in lame duck mode at once.

    Args:
        client: The first NATS client.
        callbacks: Receives the events of the connection.
        move: Moves all services to another client.
        lost: Called when the connection is closed and will not be replaced.
    """

    def __init__(
        self,
        client: NatsClient,
        callbacks: Callbacks,
        *,
        move: Callable[[NatsClient], Awaitable[None]],
        lost: Callable[[MicroError], None],
    ) -> None:
        self._client = client
        self._callbacks = callbacks
        self._move = move
        self._lost = lost
        self._options: tuple[ConnectOption, ...] = ()
        self._settings: Settings | None = None
        self._bridge: NatsClient | None = None
        self._last_server = ""
        self._closing = False
        self._replacing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = LimitedLog(logger)

    @property
    def client(self) -> NatsClient:
        """The NATS client; another one after a replacement of the connection."""
        return self._client

    async def connect(self, options: Iterable[ConnectOption]) -> None:
        """Make the connection.

        Raises:
            ConnectError: No server can be reached, or a server refuses the connection.
            ConfigError: The options are not acceptable.
        """
        self._options = tuple(options)
        self._settings = resolve(self._options, os.environ)
        await self._open(self._client, self._settings)
        logger.info("connected to %s", ", ".join(self._settings.servers))
        self._spawn(self._watch())

    def adopt(self) -> None:
        """Watch a client that the user has connected; it is neither replaced nor closed."""
        self._spawn(self._watch_adopted())

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._settings is None:
            return
        for client in (self._bridge, self._client):
            if client is not None:
                await _shut(client)

    async def _open(
        self, client: NatsClient, settings: Settings, servers: Sequence[str] | None = None
    ) -> None:
        transports.install(client, settings)
        first = FirstConnection(settings)
        await first.make(client, self._callbacks_of(client, first), servers)
        self._note_server(client)

    def _callbacks_of(
        self, client: NatsClient, first: FirstConnection
    ) -> dict[str, Callable[..., Awaitable[None]]]:
        """Return the callbacks of a client; short, because nats-py awaits them where it reads."""

        def of(event: Callable[[NatsClient], None]) -> Callable[[], Awaitable[None]]:
            async def call() -> None:
                event(client)

            return call

        async def on_error(error: Exception) -> None:
            (self.error if first.made else first.failed)(error)

        async def on_closed() -> None:
            if first.made:
                self._closed(client)

        return {
            "error_cb": on_error,
            "disconnected_cb": of(self._disconnected),
            "reconnected_cb": of(self._reconnected),
            "closed_cb": on_closed,
            "lame_duck_mode_cb": of(self._lame_duck),
        }

    def _note_server(self, client: NatsClient) -> None:
        url = client.connected_url
        if url is not None and client is not self._bridge:
            self._last_server = url.netloc

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            client = self._client
            if self._replacing:
                continue
            if client.is_closed:
                self._closed(client)  # without an event: closed while it was taken over
            elif (reason := nats_py.abandonment(client)) is not None:
                logger.error("nats-py has stopped reconnecting: %s", reason)
                await _shut(client)
            elif nats_py.is_deaf(client):
                logger.error("nats-py has stopped reading, reconnecting")
                await client.force_reconnect()
            elif client.is_connected and loop.time() - checked >= CHECK_INTERVAL:
                await self._check(client)
                checked = loop.time()

    async def _check(self, client: NatsClient) -> None:
        try:
            await fence(client, CHECK_TIMEOUT, reconnects=False)
        except ConnectError as error:
            if client.is_connected:
                logger.error("connection is silent, reconnecting: %s", error)
                await client.force_reconnect()

    async def _watch_adopted(self) -> None:
        while not self._client.is_closed:  # noqa: ASYNC110 - its callbacks belong to the user
            await asyncio.sleep(LOOK_INTERVAL)
        reason = self._client.last_error or "the program closed it"
        self._lost(ConnectError(f"the connection is closed for good: {reason}"))

    def error(self, error: Exception) -> None:
        """Pass on an asynchronous error of the connection."""
        reason = str(error) or type(error).__name__  # a time-out of asyncio has no text
        self._log.log(logging.WARNING, kind_of(reason), "connection: %s", reason)
        self._callbacks.call("error", error)

    def _disconnected(self, client: NatsClient) -> None:
        """Pass on that the connection is lost."""
        if client is self._client:
            if not self._closing:
                logger.warning("disconnected from the server")
            self._callbacks.call("disconnected")

    def _reconnected(self, client: NatsClient) -> None:
        """Pass on that the connection is back; services return to it from another server."""
        if client is self._client:
            self._note_server(client)
            logger.info("reconnected to the server")
            self._callbacks.call("reconnected")
            if self._bridge is not None:
                self._spawn(self._return(self._bridge))

    def _closed(self, client: NatsClient) -> None:
        """Replace a connection that nats-py closed, unless its attempts are limited."""
        if client is not self._client or self._settings is None or self._replacing:
            return
        if self._closing:
            self._callbacks.call("closed")
            return
        self._replacing = True
        reason = client.last_error
        if self._settings.backoff.max_attempts == -1:
            logger.error("connection closed, making a new one: %s", reason)
            self._spawn(self._rebuild())
        else:
            self._callbacks.call("closed")
            self._lost(ConnectError(f"the connection is closed for good: {reason}"))

    def _lame_duck(self, client: NatsClient) -> None:
        """Leave a server that has announced its shutdown."""
        if client is self._client and self._bridge is None and not self._closing:
            self._spawn(self._evacuate())

    def _known_servers(self) -> list[str]:
        """Return the URLs of all known servers in random order, the last good one first."""
        settings, last = self._settings, self._last_server
        if settings is None:
            return []
        handshake = Handshake(settings)
        urls = dict.fromkeys(handshake.target(uri).geturl() for uri in self._client.servers)
        urls |= dict.fromkeys(settings.servers)
        shuffled = random.sample(list(urls), len(urls))
        return sorted(shuffled, key=lambda url: urlparse(url).netloc != last)

    async def _rebuild(self) -> None:
        servers = self._known_servers()
        while True:
            client = type(self._client)()
            try:
                settings = resolve(self._options, os.environ)
                await self._open(client, settings._replace(retry=True), servers)
                await self._move(client)
                _check_open(client)
            except _FAILURES as error:
                self._log.log(logging.ERROR, "rebuild", "no new connection yet: %s", error)
                await _shut(client)
                await asyncio.sleep(REBUILD_DELAY)
            else:
                state_of(self._client).successor = client
                self._settings, self._client = settings, client
                self._replacing = False
                self._reconnected(client)
                return

    async def _evacuate(self) -> None:
        """Move to another server at once; return when nats-py has reconnected."""
        current = self._client.connected_url
        others = [
            url
            for url in self._known_servers()
            if current is None or urlparse(url).netloc != current.netloc
        ]
        if self._settings is None or not others:
            logger.warning("server is shutting down, and no other one is known")
            return
        client, bridge = self._client, type(self._client)()
        reconnects = client.stats["reconnects"]
        try:
            await self._open(bridge, self._settings._replace(retry=False), others)
            await self._move(bridge)
            _check_open(bridge)
        except _FAILURES as error:
            logger.warning("server is shutting down, and no other one takes us: %s", error)
            await _shut(bridge)
            return
        logger.info("server is shutting down, moved to %s", ", ".join(others))
        self._bridge = bridge
        if client.stats["reconnects"] == reconnects:
            await asyncio.sleep(LEAVE_DELAY)  # for the answers to requests of handlers
            if client.stats["reconnects"] == reconnects and client.is_connected:
                await client.force_reconnect()
        elif client.is_connected:
            await self._return(bridge)  # nats-py reconnected before the move ended

    async def _return(self, bridge: NatsClient) -> None:
        await self._move(self._client)
        self._bridge = None
        await _shut(bridge)


def _check_open(client: NatsClient) -> None:
    """Raise ConnectError if a connection was closed while it was taken over."""
    if client.is_closed:
        raise ConnectError(f"the new connection was closed: {client.last_error}")


async def _shut(client: NatsClient) -> None:
    try:
        await client.close()
    # nats-py raises these after a lost connection, AssertionError before the first attempt.
    except (OSError, TypeError, AssertionError) as error:
        logger.debug("close: %s", error)
