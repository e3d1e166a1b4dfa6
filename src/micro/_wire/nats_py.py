"""All use of private names of nats-py; no other module touches them.

`unusable` checks the names before a client connects. If a release of nats-py has changed one, the
client takes the public path, which works without any of them.

One behaviour is public but not documented: the `future` of a subscription receives every message at
once, whereas a callback needs a queue and a task for each subscription. `gives_messages_at_once`
tests that behaviour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from typing import Any, cast

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import Transport

from micro._native import accelerated
from micro._protocol.headers import decode_headers
from micro._protocol.subjects import check_length
from micro._wire.frames import Message

logger = logging.getLogger("micro.transport")

# Attributes of a client that has not connected, and their values then.
_CLIENT: dict[str, Any] = {
    "_transport": None,
    "_pending": [],
    "_pending_data_size": 0,
    "_max_pending_size": 0,
    "_subs": {},
}
_CLIENT_METHODS = ("_send_unsubscribe", "_process_headers")
_QUEUE = "_pending_queue"
_TRANSPORT = (  # its abstract methods
    "connect connect_tls write writelines read readline drain wait_closed close at_eof __bool__"
)


def unusable(nc: NatsClient) -> str | None:
    """Return the first name of nats-py that has changed, None if none has."""
    for name, expected in _CLIENT.items():
        if not hasattr(nc, name) or getattr(nc, name) != expected:
            return f"Client.{name}"
    for name in _CLIENT_METHODS:
        if not callable(getattr(nc, name, None)):
            return f"Client.{name}"
    subscription = Subscription(nc, 7, "a")
    if sid(subscription) != 7:
        return "Subscription._id"
    if not isinstance(getattr(subscription, _QUEUE, None), asyncio.Queue):
        return f"Subscription.{_QUEUE}"
    if not takes_transport(nc):
        return "Transport"
    return None if gives_messages_at_once() else "Subscription.future"


class _Inlet:
    """Stands in for the future of a subscription: passes each message to a function.

    A guarded client builds no `Msg` for such a subscription; see `guard`.
    """

    __slots__ = ("_receive",)

    def __init__(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive

    def set_result(self, message: Message | Msg) -> None:
        self._receive(message if message.__class__ is tuple else _raw(cast(Msg, message)))

    def cancelled(self) -> bool:
        return False


@cache
def gives_messages_at_once() -> bool:
    """Return whether nats-py passes every message of a subscription to its future."""
    received: list[Message] = []
    try:
        nc = NatsClient()
        nc._subs[7] = Subscription(nc, 7, "a", future=cast(Any, _Inlet(received.append)))
        for _ in range(2):
            steps = nc._process_msg(7, b"a", b"", b"", b"")
            try:
                steps.send(None)
            except StopIteration:
                continue
            steps.close()
        return len(received) == 2 and 7 in nc._subs
    except Exception as error:  # noqa: BLE001 - a release may have changed anything
        logger.debug("nats-py does not give messages to futures: %s", error)
        return False


async def subscribe(
    nc: NatsClient, subject: str, queue: str, receive: Callable[[Message], None]
) -> Subscription:
    """Subscribe and pass each message to a function as soon as it is read.

    Raises:
        ConfigError: The subject and the queue group are too long.
    """
    check_length("subject with queue group", subject, queue)
    if not gives_messages_at_once():

        async def call(msg: Msg) -> None:
            receive(_raw(msg))

        return await nc.subscribe(subject, queue=queue, cb=call)
    subscription = await nc.subscribe(subject, queue=queue, future=cast(Any, _Inlet(receive)))
    if isinstance(getattr(subscription, _QUEUE, None), asyncio.Queue):
        subscription._pending_queue = _NO_MESSAGES  # it takes three times the memory of an endpoint
    return subscription


_NO_MESSAGES: asyncio.Queue[Msg] = asyncio.Queue()


def _raw(msg: Msg) -> Message:
    return msg.subject.encode(), msg.reply.encode(), msg.data, msg.headers


@accelerated
def msg(nc: NatsClient, message: Message) -> Msg:
    """Return a message in the form that users of nats-py know."""
    subject, reply, data, headers = message
    if isinstance(headers, bytes):
        headers = decode_headers(headers)
    reply_text = reply.decode(errors="replace") if reply else ""
    return Msg(nc, subject.decode(errors="replace"), reply_text, data, headers or None)


def sid(subscription: Subscription) -> int | None:
    """Return the id of a subscription on the wire."""
    return getattr(subscription, "_id", None)


def knows(nc: NatsClient, sid: int | None) -> bool:
    """Return whether a client still has a subscription; closing it ends all of them."""
    return sid is None or sid in getattr(nc, "_subs", (sid,))


async def leave(nc: NatsClient, subscription: Subscription) -> None:
    """Ask the server to end a subscription, and keep it for messages under way.

    `unsubscribe()` of nats-py drops such messages, and `drain()` waits with a PING that overtakes
    the UNSUB. Call a fence next, then `unsubscribe()`.
    """
    send = getattr(nc, "_send_unsubscribe", None)
    if send is None:
        await subscription.drain()  # type: ignore[no-untyped-call]  # it has no annotations
    else:
        await send(sid(subscription))


def transport_of(nc: NatsClient) -> Transport | None:
    """Return the transport of a client; None before it connects."""
    return getattr(nc, "_transport", None)


def put_transport(nc: NatsClient, transport: Transport) -> None:
    """Set the transport of a client that has not connected yet."""
    nc._transport = transport


def takes_transport(nc: NatsClient) -> bool:
    """Return whether a client uses a transport of ours."""
    return hasattr(nc, "_transport") and Transport.__abstractmethods__ == set(_TRANSPORT.split())


def max_pending_size(nc: NatsClient) -> int:
    """Return the size of a client's send buffer in bytes."""
    return getattr(nc, "_max_pending_size", 0)


def take_pending(nc: NatsClient) -> list[bytes]:
    """Take the send buffer of a client."""
    pending: list[bytes] = nc._pending
    if pending:
        nc._pending = []
        nc._pending_data_size = 0
    return pending


def _wrap(nc: NatsClient, name: str, around: Callable[[Any], Callable[..., Any]]) -> None:
    """Replace a method of a client, if it has that, by one around it; once for each client."""
    method = getattr(nc, name, None)
    if method is not None and not hasattr(method, _MARK):
        replacement = around(method)
        setattr(replacement, _MARK, True)
        setattr(nc, name, replacement)


_MARK = "__micro__"


def watch_errors(nc: NatsClient, record: Callable[[NatsClient, Exception], None]) -> None:
    """Call `record` with each asynchronous error, before the error callback of the client's owner.

    The public API keeps only the last error. A second call for a client does nothing.
    """

    def around(call: Callable[[Exception], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def record_and_call(error: Exception) -> None:
            record(nc, error)
            await call(error)

        return record_and_call

    _wrap(nc, "_error_cb", around)


def guard(nc: NatsClient) -> None:
    """Keep the reading of nats-py alive when it fails to read a message. Once per client.

    Headers are then read by our own rules, and a message that cannot be built is left out.
    """

    def around_build(build: Callable[..., Msg | None]) -> Callable[..., Msg | Message | None]:
        def build_or_skip(
            sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
        ) -> Msg | Message | None:
            if getattr(nc._subs.get(sid), "_future", None).__class__ is _Inlet:
                return subject, reply, data, headers  # making a `Msg` costs more than all of ours
            try:
                return build(sid, subject, reply, data, headers)
            except UnicodeDecodeError as error:
                logger.debug("%r: message left out: %s", subject, error)
                return None

        return build_or_skip

    def around_headers(process: Callable[[Any], _Headers]) -> Callable[[Any], _Headers]:
        async def process_or_decode(headers: bytes) -> dict[str, str] | None:
            try:
                return await process(headers)
            except (ValueError, IndexError):  # UnicodeDecodeError is a ValueError
                return decode_headers(headers)

        return lambda headers: process_or_decode(headers) if headers else process(headers)

    _never_wait_for_flusher(nc)
    if hasattr(nc, "_subs") and hasattr(nc, "_build_message"):
        _wrap(nc, "_build_message", around_build)
        _wrap(nc, "_process_headers", around_headers)


_Headers = Coroutine[Any, Any, dict[str, str] | None]


def _never_wait_for_flusher(nc: NatsClient) -> None:
    """Have a client ask for a flush only once: it would wait when a stalled server takes no data.

    nats-py does so itself for messages, but not for SUB and UNSUB.
    """

    def around(flush: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def flush_once(force_flush: bool = False) -> Any:
            queue: asyncio.Queue[Any] | None = nc._flush_queue
            flusher: asyncio.Task[Any] | None = getattr(nc, "_flusher_task", None)
            alive = flusher is not None and not flusher.done()
            if alive and not force_flush and queue is not None and not queue.empty():
                return None
            return await flush(force_flush)

        return flush_once

    if hasattr(nc, "_flush_queue"):
        _wrap(nc, "_flush_pending", around)


def abandonment(nc: NatsClient) -> str | None:
    """Return why a client, neither closed nor connected, no longer tries to connect; else None."""
    task: asyncio.Task[None] | None = getattr(nc, "_reconnection_task", None)
    if nc.is_closed or nc.is_connected or task is None or not task.done():
        return None
    error = None if task.cancelled() else task.exception()
    return "its task has ended" if error is None else type(error).__name__


def is_deaf(nc: NatsClient) -> bool:
    """Return whether a client is connected, and its reading task has ended."""
    task: asyncio.Task[None] | None = getattr(nc, "_reading_task", None)
    return nc.is_connected and task is not None and task.done()


def server_info(nc: NatsClient) -> dict[str, Any]:
    """Return the INFO of the connected server."""
    return getattr(nc, "_server_info", {})


def follow_cluster(nc: NatsClient) -> None:
    """Have a client forget discovered servers that have left the cluster. Once per connection.

    nats-py only adds the servers of an INFO. An INFO without any says nothing.
    """

    def around(process: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def process_and_prune(info: dict[str, Any], initial_connection: bool = False) -> None:
            await process(info, initial_connection)
            known = set(info.get("connect_urls") or ())
            if known:
                nc._server_pool[:] = [
                    server
                    for server in nc._server_pool
                    if not server.discovered
                    or server is nc._current_server
                    or server.uri.netloc in known
                ]

        return process_and_prune

    if hasattr(nc, "_server_pool"):
        _wrap(nc, "_process_info", around)


LIMIT_REACHED = "maximum subscriptions exceeded"
"""An error of the server after which it keeps the connection, and nats-py closes it."""


def keep_open(nc: NatsClient) -> None:
    """Have a client report errors after which the server keeps the connection. Once per client."""

    def around(process: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def process_or_report(err_msg: str) -> None:
            if LIMIT_REACHED not in err_msg.lower():
                await process(err_msg)
                return
            error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
            nc._err = error
            await nc._error_cb(error)

        return process_or_report

    _wrap(nc, "_process_err", around)


async def subscribe_again(nc: NatsClient, subscription: Subscription) -> None:
    """Send the SUB of a subscription once more; the server ignores one that it still has."""
    command = f"SUB {subscription.subject} {subscription.queue} {sid(subscription)}\r\n"
    await nc._send_command(command.encode())
    await nc._flush_pending()
