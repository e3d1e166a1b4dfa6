"""Services that are declared at module level or as a class, and added to a context later.

A declaration is data. Adding it calls `add_service`, `add_group` and `add_endpoint`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Unpack, overload

from micro._endpoint.endpoint import Endpoint
from micro._endpoint.options import EndpointDefaults
from micro._errors import ConfigError
from micro._handlers import declared as marks
from micro._handlers.declared import EndpointDeclaration, GroupDeclaration, ServiceDeclaration
from micro._handlers.middleware import Middleware
from micro._handlers.typed import AnyHandler
from micro._protocol import subjects
from micro._service.groups import EndpointOwner
from micro._service.instance import DoneHandler, ErrorHandler

if TYPE_CHECKING:
    from micro._service.contracts import ContractRegistry, OnIncompatible
    from micro._service.service import Service

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")

DESCRIPTION = "description"
"""The metadata of an endpoint that has the docstring of its function."""


class GroupOptions(EndpointDefaults, total=False):
    """The options of `add_group`, for declarations."""

    queue_group: str | None
    pending_bytes_limit_by_endpoint: int | None
    pending_msgs_limit_by_endpoint: int | None
    middlewares: Iterable[Middleware] | None


class ServiceOptions(GroupOptions, total=False):
    """The options of `add_service`, for declarations."""

    description: str | None
    metadata: dict[str, str] | None
    now: Callable[[], datetime] | None
    id_generator: Callable[[], str] | None
    api_prefix: str | None
    error_handler: ErrorHandler | None
    done_handler: DoneHandler | None
    contracts: ContractRegistry | None
    on_incompatible: OnIncompatible
    max_threads: int


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


class DeclaredEndpoint(NamedTuple):
    """A declared endpoint with its handler."""

    declared: EndpointDeclaration
    handler: AnyHandler


class _Declaring:
    """Base class of declared services and groups: declares endpoints and groups."""

    def __init__(self, group: GroupDeclaration | None) -> None:
        self._group = group
        self._endpoints: list[DeclaredEndpoint] = []

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

        def declare(function: F) -> F:
            declared = _declare(function, options, self._group)
            self._endpoints.append(DeclaredEndpoint(declared, function))
            return marks.mark_endpoint(function, declared)

        return declare if function is None else declare(function)

    def group(self, name: str, **options: Unpack[GroupOptions]) -> DeclaredGroup:
        """Declare a group: endpoints that share a subject prefix and defaults.

        Args:
            name: The prefix, tokens separated by dots.
            **options: The options of `add_group`.

        Raises:
            ConfigError: The name is not acceptable.
            TypeError: There is no such option.
        """
        inner = DeclaredGroup(_checked_group(name, options, self._group))
        inner._endpoints = self._endpoints  # noqa: SLF001 - the same class; in order of declaration
        return inner


class DeclaredGroup(_Declaring):
    """A declared group of endpoints; made by `micro.group` or `DeclaredService.group`."""


class DeclaredService(_Declaring):
    """A declared service; made by `micro.service`, added by `Context.add`.

    As a decorator of a class, it makes the methods with `@micro.endpoint` its endpoints.
    """

    def __init__(self, declared: ServiceDeclaration) -> None:
        super().__init__(None)
        self.declared = declared

    @property
    def name(self) -> str:
        """The name of the service."""
        return self.declared.name

    @property
    def endpoints(self) -> tuple[DeclaredEndpoint, ...]:
        """The declared endpoints with their handlers, in order."""
        return tuple(self._endpoints)

    def __call__(self, api: C) -> C:
        """Declare a class, or a Protocol, as this service; return it as it is.

        Raises:
            ConfigError: The value is no class.
        """
        if not isinstance(api, type):
            raise ConfigError(f"invalid service {api!r}: expected a class")
        declared = self.declared
        if declared.options.get("description") is None and (text := _docstring(api)):
            options = {**declared.options, "description": text}
            declared = declared._replace(options=options)
        marks.mark_service(api, declared)
        return api


def service(name: str, version: str, **options: Unpack[ServiceOptions]) -> DeclaredService:
    """Declare a service, at module level or as the decorator of a class.

        shop = micro.service("shop", "1.0.0")

        @shop.endpoint
        async def place(order: Order) -> Receipt: ...

    Args:
        name: The name of the service: letters, digits, `-` and `_`.
        version: Its semantic version.
        **options: The options of `add_service`.

    Raises:
        ConfigError: The name or the version is not acceptable.
        TypeError: There is no such option.
    """
    subjects.check_name("service", name)
    subjects.check_version(version)
    _check_options(options, ServiceOptions)
    return DeclaredService(ServiceDeclaration(name, version, dict(options)))


def group(name: str, **options: Unpack[GroupOptions]) -> DeclaredGroup:
    """Declare a group for the methods of a class: `orders = micro.group("orders")`.

    Args:
        name: The prefix, tokens separated by dots.
        **options: The options of `add_group`.

    Raises:
        ConfigError: The name is not acceptable.
        TypeError: There is no such option.
    """
    return DeclaredGroup(_checked_group(name, options, None))


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

    def declare(function: F) -> F:
        return marks.mark_endpoint(function, _declare(function, options, None))

    return declare if function is None else declare(function)


def is_declared(value: object) -> bool:
    """Return whether a value is a declared service: an object, a class or its instance."""
    return isinstance(value, DeclaredService) or marks.service_of(value) is not None


async def add_declared(
    value: object,
    options: Mapping[str, Any],
    add_service: Callable[..., Awaitable[Service]],
) -> Service:
    """Add a declared service with its groups and endpoints.

    Args:
        value: The declared service, a class that needs no arguments, or an instance.
        options: Options that replace those of the declaration.
        add_service: Adds the service.

    Raises:
        ConfigError: The value is no declared service, or a declaration is not acceptable.
    """
    _check_options(options, ServiceOptions)
    declared, endpoints = _read(value)
    added = await add_service(declared.name, declared.version, **{**declared.options, **options})
    groups: dict[int, EndpointOwner] = {}
    for each in endpoints:
        owner = _owner(each.declared.group, added, groups)
        await owner.add_endpoint(each.declared.name, each.handler, **each.declared.options)
    return added


def _read(value: object) -> tuple[ServiceDeclaration, Iterable[DeclaredEndpoint]]:
    if isinstance(value, DeclaredService):
        return value.declared, value.endpoints
    declared = marks.service_of(value)
    if declared is None:
        raise ConfigError(f"invalid service {value!r}: expected one declared by micro.service")
    instance = _instance(value) if isinstance(value, type) else value
    marked = marks.endpoints_of(type(instance)).items()
    return declared, [DeclaredEndpoint(mark, getattr(instance, name)) for name, mark in marked]


def _instance(api: type) -> object:
    try:
        return api()
    except TypeError as error:
        raise ConfigError(f"cannot make service {api.__qualname__!r}: {error}") from error


def _owner(
    declared: GroupDeclaration | None, added: Service, groups: dict[int, EndpointOwner]
) -> EndpointOwner:
    """Return the service, or the group of a declaration, which is added when it is first needed."""
    if declared is None:
        return added
    if id(declared) not in groups:
        parent = _owner(declared.parent, added, groups)
        groups[id(declared)] = parent.add_group(declared.name, **declared.options)
    return groups[id(declared)]


def _declare(
    function: Callable[..., Any], options: Mapping[str, Any], group: GroupDeclaration | None
) -> EndpointDeclaration:
    _check_options(options, EndpointOptionsGiven)
    given: dict[str, Any] = dict(options)
    name = subjects.check_name("endpoint", given.pop("name", getattr(function, "__name__", "")))
    metadata = given.get("metadata") or {}
    if DESCRIPTION not in metadata and (text := _docstring(function)):
        given["metadata"] = {**metadata, DESCRIPTION: text}
    return EndpointDeclaration(name, given, group)


def _checked_group(
    name: str, options: GroupOptions, parent: GroupDeclaration | None
) -> GroupDeclaration:
    subjects.check_prefix("group name", name)
    _check_options(options, GroupOptions)
    return GroupDeclaration(name, dict(options), parent)


def _check_options(given: Mapping[str, Any], known: type) -> None:
    names: frozenset[str] = known.__optional_keys__  # type: ignore[attr-defined]  # a TypedDict
    if unknown := sorted(given.keys() - names):
        raise TypeError(f"unknown options {unknown!r}: expected some of {sorted(names)!r}")


def _docstring(value: Any) -> str:
    return inspect.cleandoc(value.__doc__) if isinstance(value.__doc__, str) else ""
