"""The decorators that declare handlers: endpoints, subscribers and consumers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar, Unpack, overload

from micro._endpoint.endpoint import Endpoint
from micro._endpoint.options import EndpointDefaults
from micro._events.terms import check_js_name
from micro._handlers import declared as marks
from micro._handlers.declared import GroupDeclaration, HandlerDeclaration, Kind
from micro._handlers.middleware import Middleware
from micro._handlers.request import Request
from micro._handlers.typed import AnyHandler
from micro._protocol import subjects

if TYPE_CHECKING:
    from nats.js.api import StreamConfig

F = TypeVar("F", bound=Callable[..., Any])

DESCRIPTION = "description"
"""The metadata of a handler that has the docstring of its function."""


class EndpointOptionsGiven(EndpointDefaults, total=False):
    """The options of `add_endpoint`, for declarations."""

    name: str
    subject: str | None
    queue_group: str | None
    metadata: dict[str, str] | None
    pending_bytes_limit: int | None
    pending_msgs_limit: int | None
    middlewares: Iterable[Middleware] | None
    stats_handler: Callable[[Endpoint], Any] | None
    allow_wildcards: bool


class SubscriberOptionsGiven(EndpointDefaults, total=False):
    """The options of `add_subscriber`, for declarations."""

    name: str
    queue_group: str | None
    metadata: dict[str, str] | None
    middlewares: Iterable[Middleware] | None
    allow_wildcards: bool


class ConsumerOptionsGiven(TypedDict, total=False):
    """The options of `add_consumer`, for declarations."""

    name: str
    subjects: str | Iterable[str]
    durable: str | None
    batch: int
    max_in_flight: int | None
    ack_wait: float | None
    max_deliver: int | None
    backoff: Iterable[float]
    dead_letter: str | None
    ordered_by: Callable[[Request], object] | None
    ensure_stream: bool | Mapping[str, Any] | StreamConfig
    metadata: dict[str, str] | None
    middlewares: Iterable[Middleware] | None
    timeout: float | None


class DeclaredHandler(NamedTuple):
    """A declaration with its handler."""

    declared: HandlerDeclaration
    handler: AnyHandler


class Declaring:
    """Base class of declared services and groups: declares their handlers.

    Args:
        group: The group that the handlers stand in.
        handlers: Takes the declarations, in order.
    """

    def __init__(self, group: GroupDeclaration | None, handlers: list[DeclaredHandler]) -> None:
        self._group = group
        self._handlers = handlers

    @overload
    def endpoint(self, function: F, /) -> F: ...

    @overload
    def endpoint(self, /, **options: Unpack[EndpointOptionsGiven]) -> Callable[[F], F]: ...

    def endpoint(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Declare a function as an endpoint, which keeps the name and form that it has.

        Use it as `@shop.endpoint`, or with options as `@shop.endpoint(timeout=2)`.

        Args:
            function: The handler. Its name is the name of the endpoint, and its docstring is
                `description` in the metadata of the endpoint.
            **options: The options of `add_endpoint`, and `name`.

        Raises:
            ConfigError: The name is not acceptable.
            TypeError: There is no such option.
        """
        declare = self._declaring("endpoint", options, EndpointOptionsGiven)
        return declare if function is None else declare(function)

    def subscriber(
        self, subject: str, **options: Unpack[SubscriberOptionsGiven]
    ) -> Callable[[F], F]:
        """Declare a function as a subscriber: `@shop.subscriber("orders.opened")`.

        Args:
            subject: The last part of the subject, behind the group's.
            **options: The options of `add_subscriber`, and `name`.

        Raises:
            ConfigError: The name is not acceptable.
            TypeError: There is no such option.
        """
        return self._declaring("subscriber", options, SubscriberOptionsGiven, subject=subject)

    def consumer(self, stream: str, **options: Unpack[ConsumerOptionsGiven]) -> Callable[[F], F]:
        """Declare a function as a consumer: `@shop.consumer("ORDERS", max_deliver=5)`.

        Args:
            stream: The stream.
            **options: The options of `add_consumer`, and `name`.

        Raises:
            ConfigError: The name, or that of the stream, is not acceptable.
            TypeError: There is no such option.
        """
        check_js_name("stream", stream)
        return self._declaring("consumer", options, ConsumerOptionsGiven, stream=stream)

    def _declaring(
        self, kind: Kind, options: Mapping[str, Any], known: type, **place: str
    ) -> Callable[[F], F]:
        check_options(options, known)

        def declare(function: F) -> F:
            declared = _declaration(kind, function, {**place, **options}, self._group)
            self._handlers.append(DeclaredHandler(declared, function))
            return marks.mark_handler(function, declared)

        return declare


@overload
def endpoint(function: F, /) -> F: ...


@overload
def endpoint(**options: Unpack[EndpointOptionsGiven]) -> Callable[[F], F]: ...


def endpoint(
    function: F | None = None, /, **options: Unpack[EndpointOptionsGiven]
) -> F | Callable[[F], F]:
    """Declare a method of a class as an endpoint of the service that the class is.

    Use it as `@micro.endpoint`, or with options as `@micro.endpoint(timeout=2)`.

    Args:
        function: The handler. Its name is the name of the endpoint, and its docstring is
            `description` in the metadata of the endpoint.
        **options: The options of `add_endpoint`, and `name`.

    Raises:
        ConfigError: The name is not acceptable.
        TypeError: There is no such option.
    """
    declare: Callable[[F], F] = Declaring(None, []).endpoint(**options)
    return declare if function is None else declare(function)


def subscriber(subject: str, **options: Unpack[SubscriberOptionsGiven]) -> Callable[[F], F]:
    """Declare a method of a class as a subscriber of the service that the class is.

    Use it as `@micro.subscriber("orders.opened")`.

    Args:
        subject: The subject.
        **options: The options of `add_subscriber`, and `name`.

    Raises:
        ConfigError: The name is not acceptable.
        TypeError: There is no such option.
    """
    return Declaring(None, []).subscriber(subject, **options)


def consumer(stream: str, **options: Unpack[ConsumerOptionsGiven]) -> Callable[[F], F]:
    """Declare a method of a class as a consumer of the service that the class is.

    Use it as `@micro.consumer("ORDERS", subjects="orders.new")`.

    Args:
        stream: The stream.
        **options: The options of `add_consumer`, and `name`.

    Raises:
        ConfigError: The name, or that of the stream, is not acceptable.
        TypeError: There is no such option.
    """
    return Declaring(None, []).consumer(stream, **options)


def check_options(given: Mapping[str, Any], known: type) -> None:
    """Check that all options are known.

    Raises:
        TypeError: There is no such option.
    """
    names: frozenset[str] = known.__optional_keys__  # type: ignore[attr-defined]  # a TypedDict
    if unknown := sorted(given.keys() - names):
        raise TypeError(f"unknown options {unknown!r}: expected some of {sorted(names)!r}")


def docstring_of(value: Any) -> str:
    """Return the docstring of a class or function without its indentation; empty without one."""
    return inspect.cleandoc(value.__doc__) if isinstance(value.__doc__, str) else ""


def _declaration(
    kind: Kind,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    group: GroupDeclaration | None,
) -> HandlerDeclaration:
    given: dict[str, Any] = dict(options)
    name = subjects.check_name(kind, given.pop("name", getattr(function, "__name__", "")))
    metadata = given.get("metadata") or {}
    if DESCRIPTION not in metadata and (text := docstring_of(function)):
        given["metadata"] = {**metadata, DESCRIPTION: text}
    return HandlerDeclaration(kind, name, given, group)
