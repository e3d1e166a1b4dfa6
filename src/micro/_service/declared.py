"""Services that are declared at module level or as a class, and added to a context later.

A declaration is data. Adding it calls `add_service`, `add_group` and `add_endpoint`,
`add_subscriber` or `add_consumer`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from micro._endpoint.endpoint import Endpoint
from micro._endpoint.options import EndpointDefaults
from micro._errors import ConfigError
from micro._handlers import declared as marks
from micro._handlers.declared import GroupDeclaration, Kind, ServiceDeclaration
from micro._handlers.middleware import Middleware
from micro._protocol import subjects
from micro._service.decorators import DeclaredHandler, Declaring, check_options, docstring_of
from micro._service.groups import EndpointOwner
from micro._service.instance import DoneHandler, ErrorHandler

if TYPE_CHECKING:
    from micro._service.contracts import ContractRegistry, OnIncompatible
    from micro._service.service import Service

C = TypeVar("C")


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


class _Grouping(Declaring):
    """Base class of declared services and groups: declares handlers and groups."""

    def group(self, name: str, **options: Unpack[GroupOptions]) -> DeclaredGroup:
        """Declare a group: handlers that share a subject prefix and defaults.

        Args:
            name: The prefix, tokens separated by dots.
            **options: The options of `add_group`.

        Raises:
            ConfigError: The name is not acceptable.
            TypeError: There is no such option.
        """
        return DeclaredGroup(_checked_group(name, options, self._group), self._handlers)


class DeclaredGroup(_Grouping):
    """A declared group of handlers; made by `micro.group` or `DeclaredService.group`."""


class DeclaredService(_Grouping):
    """A declared service; made by `micro.service`, added by `Context.add`.

    As a decorator of a class, it makes the methods with `@micro.endpoint`, `@micro.subscriber` and
    `@micro.consumer` its handlers.
    """

    def __init__(self, declared: ServiceDeclaration) -> None:
        super().__init__(None, [])
        self.declared = declared

    @property
    def name(self) -> str:
        """The name of the service."""
        return self.declared.name

    @property
    def handlers(self) -> tuple[DeclaredHandler, ...]:
        """The declarations with their handlers, in order."""
        return tuple(self._handlers)

    def __call__(self, api: C) -> C:
        """Declare a class, or a Protocol, as this service; return it as it is.

        Raises:
            ConfigError: The value is no class.
        """
        if not isinstance(api, type):
            raise ConfigError(f"invalid service {api!r}: expected a class")
        declared = self.declared
        if declared.options.get("description") is None and (text := docstring_of(api)):
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
    check_options(options, ServiceOptions)
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
    return DeclaredGroup(_checked_group(name, options, None), [])


def is_declared(value: object) -> bool:
    """Return whether a value is a declared service: an object, a class or its instance."""
    return isinstance(value, DeclaredService) or marks.service_of(value) is not None


async def add_declared(
    value: object,
    options: Mapping[str, Any],
    add_service: Callable[..., Awaitable[Service]],
) -> Service:
    """Add a declared service with its groups and handlers.

    Args:
        value: The declared service, a class that needs no arguments, or an instance.
        options: Options that replace those of the declaration.
        add_service: Adds the service.

    Raises:
        ConfigError: The value is no declared service, or a declaration is not acceptable.
    """
    check_options(options, ServiceOptions)
    declared, handlers = _read(value)
    added = await add_service(declared.name, declared.version, **{**declared.options, **options})
    groups: dict[int, EndpointOwner] = {}
    for each in handlers:
        owner = _owner(each.declared.group, added, groups)
        add = _ADD[each.declared.kind]
        await add(owner, each.declared.name, handler=each.handler, **each.declared.options)
    return added


_ADD: dict[Kind, Callable[..., Awaitable[Endpoint]]] = {
    "endpoint": EndpointOwner.add_endpoint,
    "subscriber": EndpointOwner.add_subscriber,
    "consumer": EndpointOwner.add_consumer,
}


def _read(value: object) -> tuple[ServiceDeclaration, Iterable[DeclaredHandler]]:
    if isinstance(value, DeclaredService):
        return value.declared, value.handlers
    declared = marks.service_of(value)
    if declared is None:
        raise ConfigError(f"invalid service {value!r}: expected one declared by micro.service")
    instance = _instance(value) if isinstance(value, type) else value
    found = marks.handlers_of(type(instance))
    return declared, [
        DeclaredHandler(each, getattr(instance, name)) for name, each in found.items()
    ]


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


def _checked_group(
    name: str, options: GroupOptions, parent: GroupDeclaration | None
) -> GroupDeclaration:
    subjects.check_prefix("group name", name)
    check_options(options, GroupOptions)
    return GroupDeclaration(name, dict(options), parent)
