"""The setup functions of programs, which declared services can stand for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from micro._errors import ConfigError
from micro._program.context import Context
from micro._service.declared import DeclaredService, is_declared

Setup = Callable[[Context], Coroutine[Any, Any, None]]
"""An async function of the context that adds services."""

Program = Setup | DeclaredService | type | Sequence[object]
"""A setup function, a declared service, or several of them."""


def declared_setup(value: object) -> Setup | None:
    """Return the function that adds a declared service, or each of a list; None for other values.

    Raises:
        ConfigError: The list is empty, or has a value that is no declared service.
    """
    if is_declared(value):
        services: Sequence[object] = [value]
    elif isinstance(value, list | tuple):
        services = value
    else:
        return None
    if not services or not all(map(is_declared, services)):
        raise ConfigError(f"invalid services {value!r}: expected some declared by micro.service")

    async def add(context: Context) -> None:
        for each in services:
            await context.add(each)

    return add


def setup_of(program: Program) -> Setup:
    """Return the setup function of a program.

    Raises:
        ConfigError: A service is not declared.
    """
    setup = declared_setup(program)
    if setup is not None:
        return setup
    if isinstance(program, type) or not callable(program):
        raise ConfigError(
            f"invalid program {program!r}: expected a setup function or a declared service"
        )
    return cast(Setup, program)
