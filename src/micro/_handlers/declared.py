"""Declarations of services and handlers as data, kept at the classes and functions themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from micro._protocol import subjects

F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["endpoint", "subscriber", "consumer"]
"""What a handler is declared as."""

_HANDLER = "__micro_handler__"
_SERVICE = "__micro_service__"


class GroupDeclaration(NamedTuple):
    """A declared group.

    Attributes:
        name: Its subject prefix, without that of its parent.
        options: The arguments of `add_group`.
        parent: The group that it stands in.
    """

    name: str
    options: Mapping[str, Any]
    parent: GroupDeclaration | None

    @property
    def prefix(self) -> str:
        """The subject prefix, with that of the parent."""
        return subjects.join("" if self.parent is None else self.parent.prefix, self.name)


class HandlerDeclaration(NamedTuple):
    """A declared endpoint, subscriber or consumer.

    Attributes:
        kind: What it is.
        name: Its name.
        options: The arguments of `add_endpoint`, `add_subscriber` or `add_consumer`.
        group: The group that it stands in.
    """

    kind: Kind
    name: str
    options: Mapping[str, Any]
    group: GroupDeclaration | None

    @property
    def subject(self) -> str:
        """The subject of an endpoint, with the prefix of the group."""
        own = self.options.get("subject")
        prefix = "" if self.group is None else self.group.prefix
        return subjects.join(prefix, self.name if own is None else own)


class ServiceDeclaration(NamedTuple):
    """A declared service.

    Attributes:
        name: Its name.
        version: Its version.
        options: The arguments of `add_service`.
    """

    name: str
    version: str
    options: Mapping[str, Any]


def mark_handler(function: F, declared: HandlerDeclaration) -> F:
    """Keep the declaration of a handler at its function."""
    setattr(function, _HANDLER, declared)
    return function


def mark_service(api: type, declared: ServiceDeclaration) -> None:
    """Keep the declaration of a service at its class."""
    setattr(api, _SERVICE, declared)


def service_of(api: object) -> ServiceDeclaration | None:
    """Return the declaration of a class or of its instance; None without one."""
    declared = getattr(api, _SERVICE, None)
    return declared if isinstance(declared, ServiceDeclaration) else None


def handlers_of(api: type) -> dict[str, HandlerDeclaration]:
    """Return the declared handlers of a class by the names of their methods, in order.

    A method that overrides a declared one has its declaration.
    """
    found: dict[str, HandlerDeclaration] = {}
    for base in reversed(api.__mro__):
        for name, value in vars(base).items():
            declared = getattr(value, _HANDLER, None)
            if isinstance(declared, HandlerDeclaration):
                found[name] = declared
    return found


def public_methods(api: type) -> Iterator[str]:
    """Yield the names of the public methods of a class, in order."""
    names: dict[str, None] = {}
    for base in reversed(api.__mro__):
        if base.__module__ not in ("builtins", "typing"):
            names |= {name: None for name, value in vars(base).items() if _is_method(name, value)}
    yield from names


def _is_method(name: str, value: object) -> bool:
    return not name.startswith("_") and inspect.isfunction(value)
