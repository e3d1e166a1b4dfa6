"""The adding of subscribers and consumers to services and groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack, cast

from micro._endpoint.endpoint import Endpoint, EndpointConfig, Home, ServedEndpoint
from micro._endpoint.options import EndpointDefaults, EndpointOptions
from micro._events.consumer import Consumer, ServedConsumer
from micro._events.event import ServedSubscriber
from micro._events.terms import BACKOFF, BATCH, HANDLER_LIMIT, Terms
from micro._handlers.middleware import Middleware
from micro._handlers.request import Request
from micro._handlers.typed import AnyHandler
from micro._protocol import subjects
from micro._wire.paths import Path

if TYPE_CHECKING:
    from nats.js.api import StreamConfig

Make = Callable[[Path, EndpointConfig, AnyHandler, Home], ServedEndpoint]
"""Makes an endpoint of its declaration."""

AddEndpoint = Callable[[EndpointConfig, AnyHandler, Make], Awaitable[Endpoint]]

UNBOUNDED = 2**40
"""Stands for no limit where another one holds: a consumer never pulls more than it may have."""

KIND = "micro.kind"
STREAM = "micro.stream"
DURABLE = "micro.durable"


class Scope(NamedTuple):
    """The place that endpoints are added to: a service or a group.

    Attributes:
        service: The name of the service.
        instance: The id of the instance.
        prefix: The prefix of their subjects; empty for none.
        options: The options that they inherit.
    """

    service: str
    instance: str
    prefix: str
    options: EndpointOptions


class EventOwner:
    """Base class of services and groups: adds handlers of events.

    Args:
        scope: The place that they are added to.
        add: Adds an endpoint to the service.
    """

    def __init__(self, scope: Scope, add: AddEndpoint) -> None:
        self._scope = scope
        self._add = add

    async def add_subscriber(  # noqa: PLR0913 - the documented signature
        self,
        name: str,
        subject: str,
        handler: AnyHandler,
        queue_group: str | None = None,
        metadata: dict[str, str] | None = None,
        *,
        middlewares: Iterable[Middleware] | None = None,
        allow_wildcards: bool = False,
        **options: Unpack[EndpointDefaults],
    ) -> Endpoint:
        """Add a subscriber: a handler for the messages on one subject, which get no answer.

        Core NATS delivers a message at most once, and loses it when no subscriber runs. Returns
        when the server has the subscription.

        Args:
            name: The name of the subscriber: letters, digits, `-` and `_`.
            subject: The last part of the subject, behind the group's.
            handler: Raw or typed, as of an endpoint; its result is ignored.
            queue_group: Inherited by default, so that one instance gets each message; empty for
                none, so that every instance gets every message.
            metadata: Strings; at most 128 KiB.
            middlewares: Middlewares inside those of group and service, first one outermost.
            allow_wildcards: Accept `>`, a leading `*` and a leading `$` in the subject.
            **options: Options of `EndpointDefaults`, such as `max_in_flight` and `timeout`.

        Raises:
            ConfigError: A value is not acceptable, or there is such a subscriber already.
            StoppedError: The service is not running.
            PermissionDeniedError: The server refuses the subscription.
            ConnectError: The server does not answer.
        """
        scope = self._scope
        narrowed = scope.options.narrowed(
            queue_group=queue_group, middlewares=middlewares, **options
        )
        config = EndpointConfig(
            scope.service,
            scope.instance,
            subjects.check_name("subscriber", name),
            subjects.check_subject(
                subjects.join(scope.prefix, subject),
                allow_wildcards=allow_wildcards,
            ),
            {KIND: "subscriber", **subjects.check_metadata(metadata)},
            replace(narrowed, reply_prefixes=None),
            None,
            scope.prefix,
            event=True,
        )
        return await self._add(config, handler, ServedSubscriber)

    async def add_consumer(  # noqa: PLR0913 - the documented signature
        self,
        name: str,
        handler: AnyHandler,
        *,
        stream: str,
        subjects: str | Iterable[str] = (),
        durable: str | None = None,
        batch: int = BATCH,
        max_in_flight: int | None = None,
        ack_wait: float | None = None,
        max_deliver: int | None = None,
        backoff: Iterable[float] = BACKOFF,
        dead_letter: str | None = None,
        ordered_by: Callable[[Request], object] | None = None,
        ensure_stream: bool | Mapping[str, Any] | StreamConfig = False,
        metadata: dict[str, str] | None = None,
        middlewares: Iterable[Middleware] | None = None,
        timeout: float | None = None,
    ) -> Consumer:
        """Add a JetStream consumer: a handler for the messages of a stream, at least once each.

        A message is acknowledged when its handler has returned. When the handler raises, the
        message comes again after a delay of `backoff`, up to `max_deliver` times. A payload that
        the handler's type does not allow, and a message whose handler raises `Reject`, come never
        again. What is given up becomes a dead letter. The messages of handlers that run long are
        kept from other instances. A stop finishes what runs, and hands the rest back at once.

        A consumer that is gone is looked for, and made again, until the service stops.

        Args:
            name: The name of the consumer: letters, digits, `-` and `_`.
            handler: Raw or typed, as of an endpoint; its result is ignored. A parameter annotated
                with `micro.Delivery` has the number of the delivery and the sequence.
            stream: The stream.
            subjects: The subjects to consume, behind the group's prefix; all by default.
            durable: The name at the server, shared by all instances; `<service>-<name>` by default.
            batch: Messages that may be pulled before there is a free place for them.
            max_in_flight: Messages that run side by side; inherited, 512 unless set.
            ack_wait: Seconds after which the server delivers a message of a dead instance again;
                30 for a new consumer, else as it is.
            max_deliver: Deliveries after which a message is given up; unlimited by default.
            backoff: Seconds before the next deliveries; the last entry repeats.
            dead_letter: The subject of messages that are given up; a stream must have it. Their
                headers are the original ones with the reason, the count and the origin.
            ordered_by: Returns the key of a message, such as its subject. Messages of one key run
                one after the other in this instance, a failed one again before the next.
            ensure_stream: True creates the stream with the subjects if it does not exist; a mapping
                or a `StreamConfig` gives its settings.
            metadata: Strings; at most 128 KiB.
            middlewares: Middlewares inside those of group and service, first one outermost.
            timeout: Seconds that a handler may take; then it is cancelled, and its message comes
                again. 600 unless inherited.

        Raises:
            ConfigError: A value is not acceptable; the stream, or a stream for dead letters, does
                not exist; or the consumer is of another kind.
            StoppedError: The service is not running.
            PermissionDeniedError: The server refuses the inbox.
            ConnectError: The server, or JetStream, does not answer.
        """
        scope = self._scope
        terms = Terms(
            stream=stream,
            durable=_durable(scope, name) if durable is None else durable,
            subjects=_filters(scope, subjects),
            batch=batch,
            ack_wait=ack_wait,
            max_deliver=max_deliver,
            backoff=tuple(backoff),
            dead_letter=dead_letter,
            ordered_by=ordered_by,
            ensure_stream=_settings(ensure_stream),
        )
        config = _consumer_config(
            scope,
            name,
            terms,
            {} if metadata is None else metadata,
            scope.options.narrowed(
                max_in_flight=max_in_flight, middlewares=middlewares, timeout=timeout
            ),
        )
        consumer = await self._add(config, handler, partial(ServedConsumer, terms))
        return cast(Consumer, consumer)


def _durable(scope: Scope, name: str) -> str:
    return "-".join((scope.service, *filter(None, scope.prefix.split(".")), name))


def _filters(scope: Scope, given: str | Iterable[str]) -> tuple[str, ...]:
    listed = (given,) if isinstance(given, str) else tuple(given)
    return tuple(subjects.join(scope.prefix, subject) for subject in listed)


def _settings(given: bool | Mapping[str, Any] | StreamConfig) -> bool | Mapping[str, Any]:
    if isinstance(given, bool | Mapping):
        return given
    return cast(Mapping[str, Any], given.as_dict())


def _consumer_config(
    scope: Scope, name: str, terms: Terms, metadata: dict[str, str], options: EndpointOptions
) -> EndpointConfig:
    own = {KIND: "consumer", STREAM: terms.stream, DURABLE: terms.durable}
    return EndpointConfig(
        scope.service,
        scope.instance,
        subjects.check_name("consumer", name),
        ",".join(terms.subjects) or ">",
        {**own, **subjects.check_metadata(metadata)},
        replace(
            options,
            queue_group=terms.durable,
            reply_prefixes=None,
            pending_msgs_limit=UNBOUNDED,
            pending_bytes_limit=UNBOUNDED,
            timeout=HANDLER_LIMIT if options.timeout is None else options.timeout,
        ),
        None,
        scope.prefix,
        event=True,
        origin=f"{terms.stream}/{terms.durable}",
    )
